//! `monitor.toml`, when the page changes a setting: one key, with everything else as its owner wrote it.

use std::fs;
use std::io;
use std::path::Path;

use toml_edit::{Array, DocumentMut, Value, value};

use super::StoreError;
use super::files::{self, Previous};
use super::tls_files::{LARGEST, read_regular};

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
/// key that is not there. `check` says whether the server could read the new text; if not, nothing is
/// written.
pub fn change_list<E>(
    path: &Path,
    key: &str,
    known: Vec<String>,
    change: impl FnOnce(Vec<String>) -> Result<Vec<String>, E>,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Result<Vec<String>, E>, SettingsFileError> {
    let damaged = |why: &str| SettingsFileError::Damaged(why.to_owned());
    let text = match read_regular(path, LARGEST) {
        Ok(text) => String::from_utf8(text).map_err(|_bytes| damaged("it is not UTF-8"))?,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(damaged("it is no file"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let document = text.parse::<DocumentMut>();
    let mut document = document.map_err(|error| damaged(error.message()))?;
    let present = match document.get_mut(key) {
        None => None,
        Some(item) => match item.as_array_mut() {
            Some(list) if list.iter().all(Value::is_str) => Some(list),
            Some(_) | None => return Err(damaged(&format!("`{key}` is no list of texts"))),
        },
    };
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
    let text = document.to_string();
    check(&text).map_err(SettingsFileError::Damaged)?;
    // A link goes on leading where it leads.
    let place = match fs::symlink_metadata(path) {
        Ok(_there) => fs::canonicalize(path)?,
        Err(_new) => path.to_owned(),
    };
    files::replace_file(&place, text.as_bytes(), Previous::Dropped)?;
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
        let change = |_before| Ok::<_, Infallible>(texts);
        let set = change_list(path, KEY, Vec::new(), change, |_text| Ok(()));
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
            let add = |mut list: Vec<String>| {
                list.push(text.to_owned());
                Ok::<_, Infallible>(list)
            };
            let added = change_list(&path, KEY, known, add, |_text| Ok(()));
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

        for damage in [
            "= 1",
            "trusted_proxies = \"192.0.2.1\"",
            "[trusted_proxies]",
            "[[trusted_proxies]]",
            "trusted_proxies = [\"192.0.2.1\", 5]",
        ] {
            files::replace_file(&path, damage.as_bytes(), Previous::Dropped).unwrap();
            let refused = set(&path, &[]);
            assert!(
                matches!(refused, Err(SettingsFileError::Damaged(_))),
                "{damage}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        }
    }

    #[test]
    fn what_the_server_could_not_read_is_not_written_and_a_device_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        let refuse = |_text: &str| Err("no".to_owned());
        let change = |_before| Ok::<_, Infallible>(Vec::new());
        let refused = change_list(&path, KEY, Vec::new(), change, refuse);
        assert!(matches!(refused, Err(SettingsFileError::Damaged(_))));
        assert!(!path.exists());

        for target in ["/dev/null", "/nonexistent"] {
            std::os::unix::fs::symlink(target, &path).unwrap();
            assert!(set(&path, &["192.0.2.2/32"]).is_err(), "{target}");
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
            fs::remove_file(&path).unwrap();
        }
    }
}
