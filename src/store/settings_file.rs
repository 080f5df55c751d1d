//! `monitor.toml`, when the page changes a setting: one key, with everything else as its owner wrote it.

use std::fs;
use std::io;
use std::path::Path;

use toml_edit::{Array, DocumentMut, Value, value};

use super::StoreError;
use super::files::{self, Previous};

/// The settings file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// It is not what it should be, so nothing of it is touched.
    #[error("the settings file is damaged: {0}")]
    Damaged(String),
    /// It could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for SettingsFileError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Changes a list of texts under a key of the settings file, which is made if it is not there.
///
/// `change` gets the list as the file has it, also if that was not read yet; `known` stands for a
/// key that is not there.
pub fn change_list<E>(
    path: &Path,
    key: &str,
    known: Vec<String>,
    change: impl FnOnce(Vec<String>) -> Result<Vec<String>, E>,
) -> Result<Result<Vec<String>, E>, SettingsFileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: &dyn std::fmt::Display| SettingsFileError::Damaged(error.to_string());
    let document = text.parse::<DocumentMut>();
    let mut document = document.map_err(|error| damaged(&error.message()))?;
    let present = document.get_mut(key).and_then(|item| item.as_array_mut());
    let before = present.as_ref().map_or(known, |list| texts_of(list));
    let after = match change(before) {
        Ok(after) => after,
        Err(refused) => return Ok(Err(refused)),
    };
    // A key before it, and the comments above that and within, stay where they are.
    if let Some(list) = present {
        make_like(list, &after);
    } else {
        let list = after.iter().map(String::as_str).collect::<Array>();
        let _none_before = document.insert(key, value(list));
    }
    // A link goes on leading where it leads.
    let place = fs::canonicalize(path).unwrap_or_else(|_new| path.to_owned());
    files::replace_file(&place, document.to_string().as_bytes(), Previous::Dropped)?;
    Ok(Ok(after))
}

fn texts_of(list: &Array) -> Vec<String> {
    let texts = list.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Takes out of a list what is not wanted, and puts in what is missing.
fn make_like(list: &mut Array, wanted: &[String]) {
    let is_wanted = |item: &Value| {
        item.as_str()
            .is_some_and(|text| wanted.iter().any(|it| it == text))
    };
    list.retain(is_wanted);
    let there = texts_of(list);
    list.extend(
        wanted
            .iter()
            .filter(|text| !there.contains(text))
            .map(String::as_str),
    );
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const KEY: &str = "trusted_proxies";

    fn set(path: &Path, texts: &[&str]) -> Result<Vec<String>, SettingsFileError> {
        let texts = Vec::from_iter(texts.iter().map(|text| (*text).to_owned()));
        let set = change_list(path, KEY, Vec::new(), |_before| Ok::<_, Infallible>(texts));
        set.map(|Ok(list)| list)
    }

    #[test]
    fn one_key_changes_and_the_rest_stays_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        let before = "# mine\nidle_minutes = 15 # short\ntrusted_proxies = [\"192.0.2.1/32\"] # the proxy\n\nhsts = true\n";
        files::replace_file(&path, before.as_bytes(), Previous::Dropped).unwrap();

        set(&path, &["192.0.2.2/32", "2001:db8::/64"]).unwrap();

        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            before.replace(
                "[\"192.0.2.1/32\"]",
                "[\"192.0.2.2/32\", \"2001:db8::/64\"]"
            )
        );
    }

    #[test]
    fn comments_within_the_list_stay_and_so_does_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (
            dir.path().join("real.toml"),
            dir.path().join("monitor.toml"),
        );
        let before =
            "trusted_proxies = [\n  # the proxy\n  \"192.0.2.1/32\",\n  \"192.0.2.9/32\",\n]\n";
        files::replace_file(&path, before.as_bytes(), Previous::Dropped).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();

        set(&link, &["192.0.2.1/32", "192.0.2.2/32"]).unwrap();

        let after = fs::read_to_string(&path).unwrap();
        assert!(after.contains("# the proxy\n  \"192.0.2.1/32\""), "{after}");
        assert!(
            after.contains("192.0.2.2/32") && !after.contains("192.0.2.9"),
            "{after}"
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_stands_in_the_file_counts_and_otherwise_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        let add = |text: &'static str| {
            let known = vec!["127.0.0.0/8".to_owned()];
            let added = change_list(&path, KEY, known, |mut list| {
                list.push(text.to_owned());
                Ok::<_, Infallible>(list)
            });
            added.map(|Ok(list)| list).unwrap()
        };
        assert_eq!(add("192.0.2.1/32"), ["127.0.0.0/8", "192.0.2.1/32"]);
        let by_hand = b"trusted_proxies = [\"192.0.2.7/32\"]\n";
        files::replace_file(&path, by_hand, Previous::Dropped).unwrap();
        assert_eq!(add("192.0.2.2/32"), ["192.0.2.7/32", "192.0.2.2/32"]);
    }

    #[test]
    fn a_missing_file_is_made_and_a_damaged_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        set(&path, &["192.0.2.2/32"]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "trusted_proxies = [\"192.0.2.2/32\"]\n"
        );

        files::replace_file(&path, b"= 1", Previous::Dropped).unwrap();
        let refused = set(&path, &[]);
        assert!(matches!(refused, Err(SettingsFileError::Damaged(_))));
        assert_eq!(fs::read(&path).unwrap(), b"= 1");
    }
}
