//! Good copies and files of the Python program: what the host's commands put in the state's place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files::{self, Previous, WriteLock};
use super::latest_copy::LatestCopy;
use super::{StatePaths, StoreError, stamp};
use crate::access::Access;
use crate::access::document::DamagedState;

/// A copy of the state.
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
    /// No copy can be read, or all are what is in place.
    #[error("there is no good copy of {}", .0.display())]
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

/// Returns the copies of the state, newest first.
pub fn copies(paths: &StatePaths) -> Vec<Copy> {
    let copies = read_copies(&paths.copies).into_iter().map(|copy| Copy {
        path: copy.path,
        written_at: Timestamp::from_second(copy.written_at.as_second()).unwrap_or(copy.written_at),
        state: match copy.content {
            Ok(access) => CopyState::Good {
                username: access.account().map(|account| account.username.to_owned()),
                api_tokens: access.api_tokens().len(),
            },
            Err(error) => CopyState::Damaged {
                problem: error.to_string(),
            },
        },
    });
    copies.collect()
}

/// A copy with what is in it.
struct ReadCopy {
    path: PathBuf,
    written_at: Timestamp,
    content: Result<Access, RestoreError>,
}

/// Reads all copies, newest first.
fn read_copies(base: &Path) -> Vec<ReadCopy> {
    let mut copies = Vec::from_iter(copy_paths(base).filter_map(|path| {
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        Some(ReadCopy {
            written_at: Timestamp::try_from(modified.ok()?).ok()?,
            content: read(&path),
            path,
        })
    }));
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.written_at));
    copies
}

/// Puts a good copy in the state's place: the one that is named, or the newest that is not what
/// is there already.
///
/// What is in its place now is put aside. What is spent by it or any copy stays spent.
pub fn restore(
    paths: &StatePaths,
    copy: Option<&Path>,
    now: Timestamp,
) -> Result<(PathBuf, Option<PathBuf>), RestoreError> {
    let source = match copy {
        Some(path) => path.to_owned(),
        None => {
            newest_other(paths).ok_or_else(|| RestoreError::NoGoodCopy(paths.auth_json.clone()))?
        }
    };
    let access = read(&source)?;
    let previous = put(paths, access, Source::OwnCopy, now)?;
    Ok((source, previous))
}

/// Returns the newest good copy of a state that is not in place now.
fn newest_other(paths: &StatePaths) -> Option<PathBuf> {
    let text = |access: &Access| access.to_json().ok();
    let in_place = read(&paths.auth_json).ok().map(|access| text(&access));
    let is_other = |content: &Result<Access, RestoreError>| {
        let content = content.as_ref().ok();
        content.is_some_and(|access| in_place.as_ref() != Some(&text(access)))
    };
    let mut copies = read_copies(&paths.copies).into_iter();
    let copy = copies.find(|copy| is_other(&copy.content))?;
    Some(copy.path)
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
pub(super) fn copy_paths(base: &Path) -> impl Iterator<Item = PathBuf> {
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.bak");
    let directory = base.parent().map(fs::read_dir);
    let entries = directory.and_then(Result::ok).into_iter().flatten();
    entries.filter_map(move |entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?.to_owned();
        let is_copy = name.starts_with(&prefix) && path.extension() != Some("new".as_ref());
        is_copy.then_some(path)
    })
}

/// Reads a copy, or another state file.
pub(super) fn read(path: &Path) -> Result<Access, RestoreError> {
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
///
/// What is in place may be unreadable, and no copy need be of the last change; so each of them is
/// asked what is spent.
fn put(
    paths: &StatePaths,
    mut access: Access,
    source: Source,
    now: Timestamp,
) -> Result<Option<PathBuf>, RestoreError> {
    let failed = |error: io::Error| RestoreError::Store(error.into());
    let _held = WriteLock::take(&paths.lock)?;
    let current = read(&paths.auth_json);
    let copies = read_copies(&paths.copies);
    for copy in copies.iter().filter_map(|copy| copy.content.as_ref().ok()) {
        access.keep_spent(copy);
    }
    let goes_on = current.as_ref().is_ok_and(|it| access.has_history_of(it));
    if let Ok(current) = &current {
        access.carry_over(current);
    }
    // Which sessions have ended since the copy was made is not known then.
    if source == Source::OwnCopy && !goes_on {
        access.distrust(now);
    }
    let text = access.to_json().map_err(|error| failed(error.into()))?;
    let previous = put_aside(paths, now).map_err(failed)?;
    let (mut latest, _state) = LatestCopy::find(paths, None);
    files::replace_file(&paths.auth_json, &text, Previous::Dropped).map_err(failed)?;
    let kept = latest.keep(&text, &access, now);
    if let Err(error) = kept.and_then(|()| latest.sync()) {
        tracing::warn!(%error, "the state is in place, but a copy of it could not be written");
    }
    Ok(previous)
}

/// Copies the file to `<name>.bak-<UTC time>`, which a restore offers later if it is good.
pub(super) fn put_aside(paths: &StatePaths, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let bytes = match fs::read(&paths.auth_json) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let aside = free_name(&paths.copies, now)?;
    files::replace_file(&aside, &bytes, Previous::Dropped)?;
    Ok(Some(aside))
}

/// Gives a copy the name that it keeps, `<name>.bak-<UTC time>`; one that is not there needs none.
pub(super) fn rename_aside(copy: &Path, base: &Path, now: Timestamp) -> io::Result<()> {
    match fs::rename(copy, free_name(base, now)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Returns a name that no copy has yet: two copies in one second are two files.
fn free_name(base: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let suffix = format!(".bak-{}", stamp(now));
    let numbered = (2..1000).map(|number| files::beside(base, &format!("{suffix}-{number}")));
    std::iter::once(files::beside(base, &suffix))
        .chain(numbered)
        .find(|name| !name.exists())
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::access::digest::Digest;
    use crate::access::totp;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn hash(word: &str) -> Digest {
        Digest::of(word.as_bytes())
    }

    fn state(note: &str) -> Value {
        json!({
            "declined": true,
            "jwt_secret": SECRET,
            "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            "backup_codes": [{ "code": hash("code").to_string(), "used": false }],
            "revoked_tokens": [],
            "note": note,
        })
    }

    fn spent(note: &str) -> Value {
        let mut state = state(note);
        state["backup_codes"][0]["used"] = true.into();
        state["revoked_tokens"] = json!([hash("token").to_string()]);
        state
    }

    struct Place {
        _dir: TempDir,
        paths: StatePaths,
    }

    impl Place {
        fn fresh() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let paths = StatePaths::new(dir.path(), &dir.path().join("data"));
            Self { _dir: dir, paths }
        }

        /// Writes a file beside the state, so many seconds after the first.
        fn put(&self, suffix: &str, content: &Value, seconds: u64) -> PathBuf {
            let path = files::beside(&self.paths.copies, suffix);
            let text = content.to_string();
            files::replace_file(&path, text.as_bytes(), Previous::Dropped).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(written).unwrap();
            path
        }

        fn restore(&self, copy: Option<&Path>) -> Result<PathBuf, RestoreError> {
            restore(&self.paths, copy, now()).map(|(source, _previous)| source)
        }

        fn in_place(&self) -> Access {
            read(&self.paths.auth_json).unwrap()
        }
    }

    fn is_spent(access: &Access) -> bool {
        access.backup_codes_left() == 0 && access.revocations().contains(&hash("token"))
    }

    #[test]
    fn any_copy_that_can_be_read_says_what_is_spent() {
        for damage in [Some("damaged"), None] {
            let place = Place::fresh();
            if let Some(damage) = damage {
                place.put("", &damage.into(), 9);
            }
            let old = place.put(".bak", &state("old"), 1);
            place.put(".bak-20260101T000000Z", &spent("older"), 0);
            place.put(".bak-latest", &"damaged too".into(), 2);

            assert_eq!(place.restore(None).unwrap(), old);

            let access = place.in_place();
            assert!(is_spent(&access));
            let next = totp::current_step(now()) + 1;
            assert!(access.spent_steps().contains(next, now()));
            let kept = read(&files::beside(&place.paths.copies, ".bak-latest"));
            assert!(is_spent(&kept.unwrap()), "the restored state has a copy");
        }
    }

    #[test]
    fn the_newest_copy_is_one_that_is_not_in_place() {
        let place = Place::fresh();
        place.put("", &state("two"), 2);
        place.put(".bak-latest", &state("two"), 3);
        let none = place.restore(None);
        assert!(matches!(none, Err(RestoreError::NoGoodCopy(_))), "{none:?}");
        let one = place.put(".bak", &state("one"), 1);

        assert_eq!(place.restore(None).unwrap(), one);

        assert_eq!(
            place.in_place().to_json().unwrap(),
            read(&one).unwrap().to_json().unwrap()
        );
    }

    #[test]
    fn a_readable_file_and_the_copies_both_say_what_is_spent() {
        let place = Place::fresh();
        place.put("", &state("edited while nobody ran"), 3);
        place.put(".bak-latest", &spent("two"), 2);
        let one = place.put(".bak", &state("one"), 1);

        place.restore(Some(&one)).unwrap();

        assert!(is_spent(&place.in_place()));
    }

    #[test]
    fn a_step_of_a_wrong_clock_does_not_hide_that_codes_are_spent() {
        let place = Place::fresh();
        place.put("", &"damaged".into(), 2);
        let mut copy = state("one");
        copy["last_totp_counter"] = (totp::current_step(now()) + 1000).into();
        place.put(".bak", &copy, 1);

        place.restore(None).unwrap();

        let current = totp::current_step(now());
        let access = place.in_place();
        assert!(access.spent_steps().contains(current, now()));
    }

    #[test]
    fn after_a_fresh_start_an_old_copy_is_no_less_distrusted() {
        let place = Place::fresh();
        place.put("", &json!({ "jwt_secret": "another".repeat(9) }), 9);
        place.put(".bak-20260101T000000Z", &spent("two"), 2);
        let one = place.put(".bak", &state("one"), 1);

        place.restore(Some(&one)).unwrap();

        let access = place.in_place();
        assert!(is_spent(&access));
        let current = totp::current_step(now());
        assert!(access.spent_steps().contains(current, now()));
    }

    #[test]
    fn a_file_from_elsewhere_un_spends_nothing_of_the_same_secret() {
        let place = Place::fresh();
        place.put("", &"damaged".into(), 2);
        place.put(".bak-latest", &spent("two"), 1);
        let file = place.put(".exported", &state("one"), 0);

        import(&place.paths, &file, now()).unwrap();

        assert!(is_spent(&place.in_place()));
    }
}
