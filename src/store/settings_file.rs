//! `monitor.toml`, when the page changes a setting: one key, with everything else as its owner wrote it.

use std::fs;
use std::io;
use std::path::Path;

use toml_edit::{Array, DocumentMut, value};

use super::StoreError;
use super::files::{self, Previous};

/// Writes a list of texts under a key of the settings file, which is made if it is not there.
pub fn set_list(path: &Path, key: &str, texts: &[String]) -> Result<(), StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let mut document = text.parse::<DocumentMut>().map_err(io::Error::other)?;
    let list = texts.iter().map(String::as_str).collect::<Array>();
    // A key before it, and the comment above that, stay where they are.
    match document.get_mut(key).and_then(|item| item.as_value_mut()) {
        Some(present) => {
            let decor = present.decor().clone();
            *present = list.into();
            *present.decor_mut() = decor;
        }
        None => {
            let _none_before = document.insert(key, value(list));
        }
    }
    files::replace_file(path, document.to_string().as_bytes(), Previous::Dropped)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_changes_and_the_rest_stays_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        let before = "# mine\nidle_minutes = 15 # short\ntrusted_proxies = [\"192.0.2.1/32\"] # the proxy\n\nhsts = true\n";
        files::replace_file(&path, before.as_bytes(), Previous::Dropped).unwrap();

        set_list(
            &path,
            "trusted_proxies",
            &["192.0.2.2/32".to_owned(), "2001:db8::/64".to_owned()],
        )
        .unwrap();

        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            before.replace(
                "[\"192.0.2.1/32\"]",
                "[\"192.0.2.2/32\", \"2001:db8::/64\"]"
            )
        );
    }

    #[test]
    fn a_missing_file_is_made_and_a_damaged_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor.toml");
        set_list(&path, "trusted_proxies", &["192.0.2.2/32".to_owned()]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "trusted_proxies = [\"192.0.2.2/32\"]\n"
        );

        files::replace_file(&path, b"= 1", Previous::Dropped).unwrap();
        assert!(set_list(&path, "trusted_proxies", &[]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"= 1");
    }
}
