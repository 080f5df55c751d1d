//! The claim code's file: there while no password is, gone once one is.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{self, Previous};
use crate::access::rights::Door;
use crate::access::setup::ClaimCode;

/// The code of this run of the server, in memory and in a file that only root reads.
#[derive(Clone, Debug)]
pub struct ClaimCodeFile {
    path: PathBuf,
    code: Arc<Mutex<Option<ClaimCode>>>,
}

impl ClaimCodeFile {
    /// Names the file; the code is made by [`Self::follow`].
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            code: Arc::default(),
        }
    }

    /// Returns the code, while one is valid.
    pub fn current(&self) -> Option<ClaimCode> {
        self.lock().clone()
    }

    /// Makes a code when there is no password, and ends it when there is one. A new code is given
    /// to `announce`.
    pub fn follow(&self, door: Door, announce: impl FnOnce(&ClaimCode)) -> io::Result<()> {
        let mut current = self.lock();
        match (door, &*current) {
            (Door::Protected, _) => {
                *current = None;
                files::remove_if_there(&self.path)
            }
            (Door::NotConfigured | Door::Open, Some(_)) => Ok(()),
            (Door::NotConfigured | Door::Open, None) => {
                let code = ClaimCode::generate().map_err(io::Error::other)?;
                let text = format!("{}\n", *code.expose());
                announce(&code);
                *current = Some(code);
                files::replace_file(&self.path, text.as_bytes(), Previous::Dropped)
            }
        }
    }

    /// Reads the code that a running server made.
    pub fn read(&self) -> io::Result<String> {
        fs::read_to_string(&self.path).map(|text| text.trim().to_owned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ClaimCode>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_lives_while_no_password_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = ClaimCodeFile::new(dir.path().join("claim-code"));
        let mut announced = 0;

        file.follow(Door::NotConfigured, |_code| announced += 1)
            .unwrap();
        let first = file.read().unwrap();
        assert!(file.current().unwrap().matches(&first));
        file.follow(Door::Open, |_code| announced += 1).unwrap();
        assert_eq!(file.read().unwrap(), first);
        assert_eq!(announced, 1);

        file.follow(Door::Protected, |_code| announced += 1)
            .unwrap();
        assert!(file.current().is_none());
        assert!(file.read().is_err());

        file.follow(Door::NotConfigured, |_code| announced += 1)
            .unwrap();
        assert_ne!(file.read().unwrap(), first);
        assert_eq!(announced, 2);
    }
}
