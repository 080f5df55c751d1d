//! A folder that looks like part of `/proc` or `/sys`, for tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

/// The folder; it is removed with the value.
pub(super) struct Tree(TempDir);

impl Tree {
    /// Makes a folder with these files in it.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    /// Writes one more file, or another text.
    #[expect(
        clippy::disallowed_methods,
        reason = "a fixture need not survive a crash"
    )]
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a shell script that stands in for a program, and returns its path.
    pub(super) fn program(&self, name: &str, script: &str) -> String {
        self.write(name, &format!("#!/bin/sh\n{script}"));
        let path = self.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}
