//! Good copies and files of the Python program: what the host's commands put in the state's place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files::{self, Previous, WriteLock};
use super::{StatePaths, StoreError, stamp};
use crate::access::Access;
use crate::access::document::DamagedState;

/// A copy of the state that lies beside it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Copy {
    /// Where it is.
    pub path: PathBuf,
    /// When it was written.
    pub written_at: Timestamp,
    /// What is in it.
    pub state: CopyState,
}

/// What a copy of the state holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CopyState {
    /// It can be put back.
    Good {
        /// The account's name, if a password protects that state.
        username: Option<String>,
        /// How many API tokens it has.
        api_tokens: usize,
    },
    /// It cannot be read.
    Damaged {
        /// Why.
        problem: String,
    },
}

/// A copy could not be put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No copy beside the state can be read.
    #[error("there is no good copy beside {}", .0.display())]
    NoGoodCopy(PathBuf),
    /// The copy that was named cannot be read.
    #[error("{}: {damage}", path.display())]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        damage: DamagedState,
    },
    /// The state could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// A file could not be taken over.
pub type ImportError = RestoreError;

/// What was found in a file that was taken over.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Imported {
    /// The account's name, if a password protects that state.
    pub username: Option<String>,
    /// Whether the password's hash is of the old kind, to be upgraded at the next sign-in.
    pub weak_password_hash: bool,
    /// Whether a second factor is asked for.
    pub second_factor: bool,
    /// How many backup codes are left.
    pub backup_codes_left: usize,
    /// How many API tokens there are.
    pub api_tokens: usize,
    /// How many tokens are revoked.
    pub revoked_tokens: usize,
    /// Where the state that was there before lies now.
    pub previous: Option<PathBuf>,
}

/// Returns the copies beside the state, newest first.
pub fn copies(paths: &StatePaths) -> Vec<Copy> {
    let mut copies = Vec::from_iter(copies_beside(&paths.auth_json).filter_map(|path| {
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let written_at = Timestamp::try_from(modified.ok()?).ok()?;
        let state = match read(&path) {
            Ok(access) => CopyState::Good {
                username: access.account().map(|account| account.username.to_owned()),
                api_tokens: access.api_tokens().len(),
            },
            Err(error) => CopyState::Damaged {
                problem: error.to_string(),
            },
        };
        Some(Copy {
            path,
            written_at,
            state,
        })
    }));
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.written_at));
    for copy in &mut copies {
        let second = Timestamp::from_second(copy.written_at.as_second());
        copy.written_at = second.unwrap_or(copy.written_at);
    }
    copies
}

/// Puts a good copy in the state's place: the one that is named, or the newest.
///
/// What is in its place now is put aside. A running server takes over what it must not forget.
pub fn restore(
    paths: &StatePaths,
    copy: Option<&Path>,
    now: Timestamp,
) -> Result<(PathBuf, Option<PathBuf>), RestoreError> {
    let source = match copy {
        Some(path) => path.to_owned(),
        None => copies(paths)
            .into_iter()
            .find(|copy| matches!(copy.state, CopyState::Good { .. }))
            .map(|copy| copy.path)
            .ok_or_else(|| RestoreError::NoGoodCopy(paths.auth_json.clone()))?,
    };
    let access = read(&source)?;
    let previous = put(paths, access, Source::OwnCopy, now)?;
    Ok((source, previous))
}

/// Says what is in a file that could be taken over.
pub fn examine(file: &Path) -> Result<Imported, ImportError> {
    Ok(found(&read(file)?))
}

/// Takes over a state file of the Python program, or of another host.
pub fn import(paths: &StatePaths, file: &Path, now: Timestamp) -> Result<Imported, ImportError> {
    let access = read(file)?;
    let mut imported = found(&access);
    imported.previous = put(paths, access, Source::Elsewhere, now)?;
    Ok(imported)
}

fn found(access: &Access) -> Imported {
    let weak = access
        .account()
        .is_some_and(|account| account.hash.is_weak());
    Imported {
        username: access.account().map(|account| account.username.to_owned()),
        weak_password_hash: weak,
        second_factor: access.second_factor().is_some(),
        backup_codes_left: access.backup_codes_left(),
        api_tokens: access.api_tokens().len(),
        revoked_tokens: access.revocations().len(),
        previous: None,
    }
}

/// Returns the paths of the copies, in no order.
pub(super) fn copies_beside(state: &Path) -> impl Iterator<Item = PathBuf> {
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.bak");
    let directory = state.parent().map(fs::read_dir);
    let entries = directory.and_then(Result::ok).into_iter().flatten();
    entries.filter_map(move |entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?.to_owned();
        let is_copy = name.starts_with(&prefix) && path.extension() != Some("new".as_ref());
        is_copy.then_some(path)
    })
}

fn read(path: &Path) -> Result<Access, RestoreError> {
    let text = fs::read_to_string(path).map_err(|error| RestoreError::File {
        path: path.to_owned(),
        error,
    })?;
    Access::from_json(&text).map_err(|damage| RestoreError::Damaged {
        path: path.to_owned(),
        damage,
    })
}

/// Where a state that is put in place comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// An earlier version of what was in place.
    OwnCopy,
    /// Another program or host.
    Elsewhere,
}

/// Writes `access` in the state's place under the lock, and puts aside what was there.
fn put(
    paths: &StatePaths,
    mut access: Access,
    source: Source,
    now: Timestamp,
) -> Result<Option<PathBuf>, RestoreError> {
    let failed = |error: io::Error| RestoreError::Store(error.into());
    let _held = WriteLock::take(&paths.lock)?;
    match (read(&paths.auth_json), source) {
        (Ok(current), _) => {
            access.carry_over(&current);
        }
        // What was revoked or used since the copy was made is not known any more.
        (Err(_unreadable), Source::OwnCopy) => access.distrust(now),
        (Err(_unreadable), Source::Elsewhere) => {}
    }
    let text = access.to_json().map_err(|error| failed(error.into()))?;
    let previous = put_aside(&paths.auth_json, now).map_err(failed)?;
    files::replace_file(&paths.auth_json, &text, Previous::Dropped).map_err(failed)?;
    Ok(previous)
}

/// Copies the file to `<name>.bak-<UTC time>`, which a restore offers later if it is good.
pub(super) fn put_aside(path: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let aside = free_name(path, &format!(".bak-{}", stamp(now)))?;
    files::replace_file(&aside, &bytes, Previous::Dropped)?;
    Ok(Some(aside))
}

/// Returns a name that no copy has yet: two copies in one second are two files.
fn free_name(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    let numbered = (2..1000).map(|number| files::beside(path, &format!("{suffix}-{number}")));
    std::iter::once(files::beside(path, suffix))
        .chain(numbered)
        .find(|name| !name.exists())
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}
