//! The state on disk: read by everybody without waiting, changed by one writer, never lost.
//!
//! [`Store::update`] hands a change to the writer, which takes the lock that commands use too,
//! reads the file again if somebody else changed it, applies all waiting changes, writes once and
//! only then lets readers see them. The writer also looks at the file four times a second: hand
//! edits, commands and other nodes of a cluster all arrive that way.
//!
//! **Invariant:** what readers see is on disk, except where [`Store::update_or_keep`] says so.
//!
//! **Invariant:** a file that is damaged, unreadable or gone locks the state. It is never taken
//! for an empty one, and nothing overwrites it.
//!
//! **Invariant:** what was revoked or used is known twice before the answer, to the file and to a
//! copy of it, so that no damage to the one makes it count again. That there was no room for the
//! copy is told.

mod acme_files;
mod audit_log;
mod avatar_file;
mod claim_code;
mod files;
mod latest_copy;
mod limits;
mod recovery;
mod settings_file;
mod tls_files;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::oneshot;

pub use acme_files::{AcmeAccount, AcmeCertificate, AcmeFiles, AcmeMemory, OrderLock};
pub use audit_log::{AuditLog, AuditSettings};
pub use avatar_file::{AvatarFile, StoredAvatar};
pub use claim_code::ClaimCodeFile;
pub use limits::{Held, HeldCode, Limits};
pub use recovery::{
    Copy, CopyState, ImportError, Imported, RestoreError, copies, examine, import, restore,
};
pub use settings_file::{SettingsFileError, change_list};
pub use tls_files::{Look, PairText, TlsFiles, is_there, read_roots};

use crate::access::{Access, Use, Used};
use crate::clock::Clock;
use files::WriteLock;
use writer::{Job, Writer};

/// Where the parts of the state lie.
#[derive(Clone, Debug)]
pub struct StatePaths {
    /// Everything needed to authenticate.
    pub auth_json: PathBuf,
    /// What the names of its copies begin with.
    pub copies: PathBuf,
    /// The lock that commands and the server share.
    pub lock: PathBuf,
    /// The code that proves a far-away person to be root here.
    pub claim_code: PathBuf,
    /// The picture.
    pub avatar: PathBuf,
    /// Penalties that outlive a restart.
    pub limits: PathBuf,
}

impl StatePaths {
    /// Lays the parts out: on a replicated file system only what the nodes share.
    pub fn new(state_directory: &Path, data_directory: &Path) -> Self {
        let own = if files::is_replicated(state_directory) {
            data_directory
        } else {
            state_directory
        };
        Self {
            auth_json: state_directory.join("auth.json"),
            copies: own.join("auth.json"),
            lock: own.join("auth.lock"),
            claim_code: own.join("claim-code"),
            avatar: state_directory.join("avatar.bin"),
            limits: data_directory.join("limits.json"),
        }
    }
}

/// A change was not kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The state cannot be trusted.
    #[error("the state is locked: {0}")]
    Locked(Lock),
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
    /// The file is gone, perhaps only while an editor saves it.
    #[error("the state file is not there")]
    Gone,
    /// Another process holds the lock for too long.
    #[error("another process holds the state's lock")]
    Busy,
    /// The file system refused.
    #[error("the state could not be written: {0}")]
    Failed(Arc<io::Error>),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&error.kind()) {
            Self::Full
        } else {
            Self::Failed(Arc::new(error))
        }
    }
}

/// Why the state cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct Lock {
    /// The file that is at fault.
    pub file: PathBuf,
    /// The line, where the fault has one.
    pub line: Option<usize>,
    /// What is wrong, without anything that the file holds.
    pub problem: String,
}

/// What readers see.
#[derive(Clone, Debug)]
pub enum State {
    /// The rules as they are on disk.
    Ready(Arc<Access>),
    /// Nobody can be let in or told apart.
    Locked(Lock),
}

/// Whether what was changed is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is, and a crash cannot undo it.
    OnDisk,
    /// It is not yet; the writer tries again every ten seconds and when the server stops.
    InMemory,
}

/// What the writer tells about the state, in the order in which it happens.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The state can no longer be trusted.
    Locked(Lock),
    /// The state can be trusted again.
    Unlocked,
    /// Somebody else changed the file.
    Reloaded,
    /// A change is held in memory because the file could not be written.
    Unsaved(StoreError),
    /// What was held in memory is on disk now.
    Saved,
    /// The state is on disk, but the copy of it could not be written.
    Uncopied(StoreError),
}

/// Somebody who must know of every state that readers see, before they see the next.
pub trait Observer: Send + 'static {
    /// Is told the state that readers see from now on.
    fn saw(&self, state: &State);
    /// Is told what happened to it.
    fn noticed(&self, notice: &Notice);
}

struct Shared {
    state: ArcSwap<State>,
    uses: Mutex<HashMap<Used, Use>>,
    unsaved: AtomicBool,
}

/// The state and its one writer.
pub struct Store {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

/// How often the writer looks whether somebody else changed the file.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same on a replicated file system, where each look costs a round through the cluster.
const LOOK_EVERY_REPLICATED: Duration = Duration::from_secs(2);

impl Store {
    /// Reads the state and starts its writer. What was tightened on the way is told in sentences.
    ///
    /// A missing file is a fresh start. A damaged one is a locked state, not an error.
    pub fn open(
        paths: &StatePaths,
        clock: Clock,
        observer: impl Observer,
    ) -> io::Result<(Self, Vec<String>)> {
        let mut told = prepare(paths);
        let (state, version, undone) = writer::read_at_start(paths);
        if undone.is_some() {
            told.push(format!(
                "{} was changed so that something revoked or used would count again; it does not",
                paths.auth_json.display()
            ));
        }
        observer.saw(&state);
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(state),
            uses: Mutex::default(),
            unsaved: AtomicBool::new(undone.is_some()),
        });
        let look_every = if files::is_replicated(&paths.auth_json) {
            LOOK_EVERY_REPLICATED
        } else {
            LOOK_EVERY
        };
        let (jobs, waiting) = mpsc::channel();
        let writer = Writer::new(paths, Arc::clone(&shared), clock, observer, version);
        let writer = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run(&waiting, look_every))?;
        let store = Self {
            shared,
            jobs,
            writer: Mutex::new(Some(writer)),
        };
        Ok((store, told))
    }

    /// Returns what readers see now.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Returns the rules, unless they cannot be trusted.
    pub fn read(&self) -> Result<Arc<Access>, Lock> {
        match &**self.shared.state.load() {
            State::Ready(access) => Ok(Arc::clone(access)),
            State::Locked(lock) => Err(lock.clone()),
        }
    }

    /// Changes the state; returns when the change is on disk.
    ///
    /// The outer error is the disk's, the inner one the rule's; with either, nothing has changed.
    /// The rule may be asked twice, where a first write failed.
    /// Whoever stops waiting does not stop the change.
    pub async fn update<T, E>(
        &self,
        change: impl FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = Job::durable(change);
        self.send(job)?;
        let outcome = outcome.await.map_err(stopped)?;
        outcome.map(|done| done.map(|(value, _on_disk)| value))
    }

    /// Changes the state; where it cannot be written, the change is kept in memory and written
    /// later. For what must work on a full disk and may be lost with the process.
    pub async fn update_or_keep<T, E>(
        &self,
        change: impl FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<(T, Kept), E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = Job::kept(change);
        self.send(job)?;
        outcome.await.map_err(stopped)?
    }

    /// Changes the state from a command, which has nothing else to do meanwhile.
    pub fn update_now<T, E>(
        &self,
        change: impl FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (job, outcome) = Job::durable(change);
        self.send(job)?;
        let outcome = outcome.blocking_recv().map_err(stopped)?;
        outcome.map(|done| done.map(|(value, _on_disk)| value))
    }

    /// Notes in memory that a credential was used; it reaches the file with another change.
    pub fn note_use(&self, used: Use) {
        self.uses().insert(used.what.clone(), used);
    }

    /// Returns when and from where a credential was last used, where memory knows better than
    /// the file.
    pub fn last_use(&self, what: &Used) -> Option<Use> {
        self.uses().get(what).cloned()
    }

    /// Returns whether something is held in memory because it could not be written.
    pub fn is_unsaved(&self) -> bool {
        self.shared.unsaved.load(Ordering::Relaxed)
    }

    /// Writes what is only in memory and stops the writer.
    pub fn close(&self) {
        let _stopping_already = self.jobs.send(Job::Stop);
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _writer_panicked = writer.join();
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_gone| StoreError::Stopping)
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<Used, Use>> {
        self.shared.lock_uses()
    }
}

impl Shared {
    fn lock_uses(&self) -> MutexGuard<'_, HashMap<Used, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped(_gone: oneshot::error::RecvError) -> StoreError {
    StoreError::Stopping
}

/// Makes the directories, tightens what is looser than it should be, and says so.
fn prepare(paths: &StatePaths) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |path: &Path, outcome: io::Result<Option<String>>| match outcome {
        Ok(sentence) => told.extend(sentence),
        Err(error) => told.push(format!("{}: {error}", path.display())),
    };
    for file in [&paths.auth_json, &paths.limits, &paths.lock] {
        if let Some(directory) = file.parent() {
            tell(directory, files::private_directory(directory));
        }
    }
    for file in [
        &paths.auth_json,
        &paths.lock,
        &paths.claim_code,
        &paths.avatar,
        &paths.limits,
    ] {
        tell(file, files::tighten(file, 0o600));
    }
    for copy in recovery::copy_paths(&paths.copies) {
        tell(&copy, files::tighten(&copy, 0o600));
    }
    told
}

/// Puts a copy of the state aside as `auth.json.bak-<UTC time>`; none if there is no state.
pub fn put_aside(paths: &StatePaths, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let _held = WriteLock::take(&paths.lock).map_err(io::Error::other)?;
    recovery::put_aside(paths, now)
}

/// Makes a directory that only its owner may enter; says in a sentence what stood in the way.
pub fn make_private_directory(path: &Path) -> Option<String> {
    match files::private_directory(path) {
        Ok(sentence) => sentence,
        Err(error) => Some(format!("{}: {error}", path.display())),
    }
}

/// Takes from a file's mode what goes beyond `allowed`; says so in a sentence.
pub fn tighten(file: &Path, allowed: u32) -> Option<String> {
    match files::tighten(file, allowed) {
        Ok(sentence) => sentence,
        Err(error) => Some(format!("{}: {error}", file.display())),
    }
}

/// Stamps a name for a file that is put aside: `20260424T143211Z`.
fn stamp(now: Timestamp) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_cluster_only_the_state_and_the_picture_are_shared() {
        let shared = Path::new("/etc/pve/priv/proxmenux-monitor");
        let data = Path::new("/var/lib/proxmenux-monitor");
        let paths = StatePaths::new(shared, data);

        assert!(paths.auth_json.starts_with(shared) && paths.avatar.starts_with(shared));
        for own in [&paths.copies, &paths.lock, &paths.claim_code, &paths.limits] {
            assert!(own.starts_with(data), "{}", own.display());
        }
        let alone = StatePaths::new(Path::new("/root/state"), data);
        assert_eq!(alone.copies, alone.auth_json);
    }
}
