//! Files that are whole or not there: created tight, replaced atomically, durable when said so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::StoreError;

/// What became of the file that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Previous<'a> {
    /// It is gone.
    Dropped,
    /// It has this name now.
    Kept(&'a Path),
}

/// Replaces `path` so that a crash leaves the old file or the new one, never a mix.
pub(super) fn replace_file(path: &Path, bytes: &[u8], previous: Previous<'_>) -> io::Result<()> {
    let new = beside(path, ".new");
    remove_if_there(&new)?;
    let mut file = create_tight(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    let replaced = written
        .and_then(|()| match previous {
            Previous::Kept(kept) => keep_previous(path, kept),
            Previous::Dropped => Ok(()),
        })
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = replaced {
        let _already_gone = fs::remove_file(&new);
        return Err(error);
    }
    sync_directory(path)
}

/// Makes `kept` the file that `path` is now: a second name for it where the file system has
/// those, a copy elsewhere.
fn keep_previous(path: &Path, kept: &Path) -> io::Result<()> {
    let copy = beside(kept, ".new");
    remove_if_there(&copy)?;
    match fs::hard_link(path, &copy) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_no_hard_links) => {
            let bytes = fs::read(path)?;
            let mut file = create_tight(&copy)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
        }
    }
    fs::rename(&copy, kept)
}

/// Replaces `path` so that the end of this process leaves the new file, or none at all; a power
/// cut may leave half of it, until it is synced.
///
/// The old file goes first: ext4 writes a file out at once that is renamed over another, and that
/// would be waited for here.
pub(super) fn replace_file_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    remove_if_there(&new)?;
    let written = create_tight(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| remove_if_there(path))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _already_gone = fs::remove_file(&new);
    }
    written
}

/// Creates a file that only its owner may read; fails if it is there.
fn create_tight(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Returns `path` with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file; one that is not there is removed already.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if is_replicated(directory) {
        // The cluster's file system replicates each rename before it returns, and has no fsync
        // for directories.
        return Ok(());
    }
    File::open(directory)?.sync_all()
}

/// Returns whether `path` is on the file system that Proxmox replicates over a cluster, which
/// sets owners and modes itself.
pub(super) fn is_replicated(path: &Path) -> bool {
    path.starts_with("/etc/pve")
}

/// Makes a directory that only its owner may enter, or tightens the one that is there.
///
/// Returns a sentence for the log where something was tightened.
pub(super) fn private_directory(path: &Path) -> io::Result<Option<String>> {
    if is_replicated(path) {
        return fs::metadata(path).map(|_there| None);
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    tighten(path, 0o700)
}

/// Takes from a file's mode what goes beyond `allowed`; a missing file is tight.
pub(super) fn tighten(path: &Path, allowed: u32) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode = metadata.mode() & 0o7777;
    if mode & !allowed == 0 || is_replicated(path) {
        return Ok(None);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & allowed))?;
    Ok(Some(format!(
        "{} was open to others (mode {mode:o}); it is {:o} now",
        path.display(),
        mode & allowed
    )))
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks at the file; none if it is not there.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The right to change the state, held for one read, change and write.
#[derive(Debug)]
pub(super) struct WriteLock(#[expect(dead_code, reason = "held for its drop")] File);

const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl WriteLock {
    /// Waits until no other process changes the state, for five seconds at most.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(StoreError::from)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Busy),
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_is_tight_and_its_last_version_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");

        let kept = beside(&path, ".bak");

        replace_file(&path, b"one", Previous::Kept(&kept)).unwrap();
        replace_file(&path, b"two", Previous::Kept(&kept)).unwrap();
        replace_file(&path, b"three", Previous::Kept(&kept)).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read(&kept).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no litter");
    }

    #[test]
    fn an_unsynced_file_is_tight_and_whole_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy");
        replace_file(&beside(&path, ".new"), b"half", Previous::Dropped).unwrap();

        replace_file_unsynced(&path, b"one").unwrap();
        replace_file_unsynced(&path, b"two").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no litter");
    }

    #[test]
    fn litter_of_a_crash_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        replace_file(&beside(&path, ".new"), b"half", Previous::Dropped).unwrap();
        replace_file(&beside(&path, ".bak.new"), b"half", Previous::Dropped).unwrap();

        let kept = beside(&path, ".bak");
        replace_file(&path, b"one", Previous::Kept(&kept)).unwrap();
        replace_file(&path, b"two", Previous::Kept(&kept)).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(&kept).unwrap(), b"one");
    }

    #[test]
    fn looser_modes_are_tightened_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        replace_file(&path, b"one", Previous::Dropped).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let told = tighten(&path, 0o600).unwrap().unwrap();

        assert!(told.contains("644"), "{told}");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(tighten(&path, 0o600).unwrap(), None);
        assert_eq!(tighten(&dir.path().join("missing"), 0o600).unwrap(), None);
    }

    #[test]
    fn the_lock_waits_for_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.lock");
        let held = WriteLock::take(&path).unwrap();
        let waiting = thread::spawn({
            let path = path.clone();
            move || WriteLock::take(&path).map(|_lock| ())
        });

        thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(held);

        assert!(waiting.join().unwrap().is_ok());
    }
}
