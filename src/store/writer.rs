//! The one writer of `auth.json`: takes changes in turn, writes them together, watches the file.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::files::{self, Fingerprint, Previous, WriteLock};
use super::latest_copy::LatestCopy;
use super::{Kept, Lock, Notice, Observer, Shared, State, StatePaths, StoreError};
use crate::access::Access;
use crate::clock::Clock;

/// How many waiting changes are written at once.
const MOST_TOGETHER: usize = 256;
/// How often a change that is only in memory is tried again.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(10);
/// How long a file may be gone, as it is while an editor saves, before the state locks.
const MAY_BE_GONE: Duration = Duration::from_secs(2);
/// How often uses of sessions and tokens go to the file, at most.
const USES_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// How often what has expired is dropped.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What a change gives back: the rule's value and whether it is on disk, or the rule's refusal.
type Outcome<T, E> = Result<Result<(T, Kept), E>, StoreError>;

/// A change that waits for the writer.
pub(super) enum Job {
    /// Changes the state.
    Change(Box<dyn Change>),
    /// Writes what is only in memory and ends the writer.
    Stop,
}

/// A change whose types only its sender knows.
pub(super) trait Change: Send {
    /// Applies the rule; false if it refused. It is applied again where a write failed.
    fn apply(&mut self, access: &mut Access) -> bool;
    /// Whether the change may live in memory alone.
    fn may_stay_in_memory(&self) -> bool;
    /// Tells the sender how it went.
    fn finish(self: Box<Self>, kept: Result<Kept, StoreError>);
}

struct Waiting<T, E, F> {
    rule: F,
    outcome: Option<Result<T, E>>,
    may_stay_in_memory: bool,
    sender: oneshot::Sender<Outcome<T, E>>,
}

impl Job {
    /// A change that counts only once it is on disk.
    pub(super) fn durable<T, E, F>(rule: F) -> (Self, oneshot::Receiver<Outcome<T, E>>)
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    {
        Self::new(rule, false)
    }

    /// A change that counts even where the file cannot be written.
    pub(super) fn kept<T, E, F>(rule: F) -> (Self, oneshot::Receiver<Outcome<T, E>>)
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    {
        Self::new(rule, true)
    }

    fn new<T, E, F>(rule: F, may_stay_in_memory: bool) -> (Self, oneshot::Receiver<Outcome<T, E>>)
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut Access) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            rule,
            outcome: None,
            may_stay_in_memory,
            sender,
        };
        (Self::Change(Box::new(waiting)), receiver)
    }
}

impl<T, E, F> Change for Waiting<T, E, F>
where
    T: Send,
    E: Send,
    F: FnMut(&mut Access) -> Result<T, E> + Send,
{
    fn apply(&mut self, access: &mut Access) -> bool {
        self.outcome.insert((self.rule)(access)).is_ok()
    }

    fn may_stay_in_memory(&self) -> bool {
        self.may_stay_in_memory
    }

    fn finish(self: Box<Self>, kept: Result<Kept, StoreError>) {
        let outcome = match (self.outcome, kept) {
            (Some(Err(refusal)), _) => Ok(Err(refusal)),
            (Some(Ok(value)), Ok(kept)) => Ok(Ok((value, kept))),
            (Some(Ok(_)), Err(error)) => Err(error),
            (None, kept) => Err(kept.err().unwrap_or(StoreError::Stopping)),
        };
        let _nobody_waits = self.sender.send(outcome);
    }
}

/// What the writer knows of the file and its copy.
#[derive(Clone, Debug)]
pub(super) struct Version {
    fingerprint: Option<Fingerprint>,
    /// The file could not be read, perhaps only for now: the next look tries again.
    must_try_again: bool,
    /// The last state that could be trusted; what is read later must not undo it.
    good: Arc<Access>,
    copy: LatestCopy,
}

/// The file had lost something that the copy knows to be revoked or used: readers see it, the file
/// does not have it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undone;

/// Reads the file as a starting server does: a missing one is a fresh start.
///
/// The copy is to a start what memory is to a running server: what it knows is not undone by what
/// became of the file meanwhile.
pub(super) fn read_at_start(paths: &StatePaths) -> (State, Version, Option<Undone>) {
    let (state, version, undone) = read_beside_copy(paths);
    if undone.is_none() {
        return (state, version, undone);
    }
    // Perhaps another process has just written both, between the one and the other.
    let _held = WriteLock::take(&paths.lock);
    read_beside_copy(paths)
}

fn read_beside_copy(paths: &StatePaths) -> (State, Version, Option<Undone>) {
    let path = &paths.auth_json;
    let directory_is_there = path.parent().is_some_and(Path::is_dir);
    let fingerprint = Fingerprint::of(path).ok().flatten();
    let read = if directory_is_there {
        read(path)
    } else {
        let problem = "the state directory is not there".to_owned();
        Err(lock(path, None, problem))
    };
    let in_place = read.as_ref().ok().and_then(Option::as_ref);
    let (copy, copied) = LatestCopy::find(paths, in_place);
    let mut undone = None;
    let (state, good) = match read {
        Ok(Some(mut access)) => {
            let carried = copied.is_some_and(|copied| access.keep_spent(&copied));
            undone = carried.then_some(Undone);
            let access = Arc::new(access);
            (State::Ready(Arc::clone(&access)), access)
        }
        Ok(None) => (State::Ready(Arc::default()), known(copied)),
        Err(lock) => (State::Locked(lock), known(copied)),
    };
    let is_unread = matches!(&state, State::Locked(lock) if lock.line.is_none());
    let version = Version {
        fingerprint,
        must_try_again: directory_is_there && is_unread,
        good,
        copy,
    };
    (state, version, undone)
}

fn known(copied: Option<Access>) -> Arc<Access> {
    copied.map(Arc::new).unwrap_or_default()
}

/// Reads the file; none if it is not there.
fn read(path: &Path) -> Result<Option<Access>, Lock> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_dangling) => Err(lock(path, None, "it is a link to nothing".to_owned())),
                Err(_nothing_there) => Ok(None),
            };
        }
        Err(error) => {
            return Err(lock(
                path,
                None,
                format!("it cannot be read: {}", error.kind()),
            ));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        lock(path, Some(line), "not UTF-8".to_owned())
    })?;
    let access =
        Access::from_json(&text).map_err(|damage| lock(path, Some(damage.line), damage.problem))?;
    Ok(Some(access))
}

fn lock(path: &Path, line: Option<usize>, problem: String) -> Lock {
    Lock {
        file: path.to_owned(),
        line,
        problem,
    }
}

/// The writer's own side of the store.
pub(super) struct Writer<O> {
    paths: StatePaths,
    shared: Arc<Shared>,
    clock: Clock,
    observer: O,
    version: Version,
    gone_since: Option<Instant>,
    tried_at: Instant,
    uses_at: Timestamp,
    pruned_at: Timestamp,
}

impl<O: Observer> Writer<O> {
    pub(super) fn new(
        paths: &StatePaths,
        shared: Arc<Shared>,
        clock: Clock,
        observer: O,
        version: Version,
    ) -> Self {
        Self {
            paths: paths.clone(),
            shared,
            clock,
            observer,
            version,
            gone_since: None,
            tried_at: Instant::now(),
            uses_at: Timestamp::MIN,
            pruned_at: Timestamp::MIN,
        }
    }

    /// Serves changes and looks at the file between them, until it is told to stop.
    ///
    /// If it ended otherwise, nobody would hear of a revocation any more; so nobody is let in then.
    pub(super) fn run(self, jobs: &Receiver<Job>, look_every: Duration) {
        let shared = Arc::clone(&self.shared);
        let file = self.paths.auth_json.clone();
        if catch_unwind(AssertUnwindSafe(|| self.serve(jobs, look_every))).is_err() {
            let problem = "its writer ended unexpectedly; restart the server".to_owned();
            shared
                .state
                .store(Arc::new(State::Locked(lock(&file, None, problem))));
        }
    }

    fn serve(mut self, jobs: &Receiver<Job>, look_every: Duration) {
        if self.shared.unsaved.load(Ordering::Relaxed)
            && let Err(error) = self.write_changes_in_memory()
        {
            self.observer.noticed(&Notice::Unsaved(error));
        }
        let mut looked = Instant::now();
        loop {
            let pause = look_every.saturating_sub(looked.elapsed());
            match jobs.recv_timeout(pause) {
                Ok(Job::Change(first)) => {
                    let mut together = vec![first];
                    let stop = collect(jobs, &mut together);
                    self.commit(together);
                    if stop {
                        return self.stop();
                    }
                }
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return self.stop(),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    self.try_again();
                    self.tend_copy();
                    looked = Instant::now();
                }
            }
        }
    }

    /// Applies and writes changes that wait together.
    fn commit(&mut self, mut changes: Vec<Box<dyn Change>>) {
        let written = self.write_changes(&mut changes);
        match written {
            Err(
                error @ (StoreError::Full
                | StoreError::Gone
                | StoreError::Busy
                | StoreError::Failed(_)),
            ) => {
                self.keep_what_may(changes, &error);
            }
            Ok(()) | Err(StoreError::Locked(_) | StoreError::Stopping) => {
                for change in changes {
                    change.finish(written.clone().map(|()| Kept::OnDisk));
                }
            }
        }
    }

    fn write_changes(&mut self, changes: &mut [Box<dyn Change>]) -> Result<(), StoreError> {
        let _held = WriteLock::take(&self.paths.lock)?;
        self.read_again_if_changed()?;
        if self.gone_since.is_some() {
            return Err(StoreError::Gone);
        }
        let mut next = Access::clone(&*self.ready()?);
        if !apply(changes.iter_mut(), &mut next) {
            return Ok(());
        }
        self.write(next)
    }

    /// Keeps in memory what may live there; the rest has not happened.
    fn keep_what_may(&mut self, changes: Vec<Box<dyn Change>>, error: &StoreError) {
        let (mut kept, refused): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.may_stay_in_memory());
        for change in refused {
            change.finish(Err(error.clone()));
        }
        let Ok(current) = self.ready() else {
            for change in kept {
                change.finish(Err(error.clone()));
            }
            return;
        };
        let mut next = Access::clone(&*current);
        if apply(kept.iter_mut(), &mut next) {
            self.shared.unsaved.store(true, Ordering::Relaxed);
            self.show(next);
            self.observer.noticed(&Notice::Unsaved(error.clone()));
        }
        for change in kept {
            change.finish(Ok(Kept::InMemory));
        }
    }

    /// Writes `next` and shows it to readers once it is durable.
    fn write(&mut self, mut next: Access) -> Result<(), StoreError> {
        let now = self.clock.now();
        let uses_are_due = self.uses_at <= now - USES_EVERY || now < self.uses_at;
        let mut uses = Vec::new();
        if uses_are_due {
            uses.extend(self.shared.lock_uses().values().cloned());
            next.note_uses(&uses);
        }
        if self.pruned_at <= now - PRUNE_EVERY || now < self.pruned_at {
            next.prune(now);
            self.pruned_at = now;
        }
        let text = next.to_json().map_err(io::Error::from)?;
        let previous = files::beside(&self.paths.copies, ".bak");
        files::replace_file(&self.paths.auth_json, &text, Previous::Kept(&previous))?;
        self.keep_copy(&text, &next);
        self.version.fingerprint = Fingerprint::of(&self.paths.auth_json).ok().flatten();
        self.show(next);
        if uses_are_due {
            // What was used again meanwhile is for the next time.
            let mut noted = self.shared.lock_uses();
            for used in uses {
                if noted.get(&used.what) == Some(&used) {
                    noted.remove(&used.what);
                }
            }
            drop(noted);
            self.uses_at = now;
        }
        if self.shared.unsaved.swap(false, Ordering::Relaxed) {
            self.observer.noticed(&Notice::Saved);
        }
        Ok(())
    }

    /// Keeps a copy of what is in place; where that fails, what is in place counts all the same.
    fn keep_copy(&mut self, text: &[u8], access: &Access) {
        let is_told = self.version.copy.has_failed();
        let kept = self.version.copy.keep(text, access, self.clock.now());
        if let Err(error) = kept
            && !is_told
        {
            self.observer.noticed(&Notice::Uncopied(error.into()));
        }
    }

    /// Does for the copy, while nothing waits, what was not done when the file was written.
    fn tend_copy(&mut self) {
        if self.may_copy() {
            let _tried_again_later = self.copy_again();
        }
        if let Err(error) = self.version.copy.sync() {
            self.observer.noticed(&Notice::Uncopied(error.into()));
        }
    }

    fn copy_again(&mut self) -> Result<(), StoreError> {
        let _held = WriteLock::take(&self.paths.lock)?;
        self.read_again_if_changed()?;
        let access = self.ready()?;
        if self.may_copy() {
            let text = access.to_json().map_err(io::Error::from)?;
            self.keep_copy(&text, &access);
        }
        Ok(())
    }

    /// Returns whether the copy is due and readers see what is in place, no less and no more.
    fn may_copy(&self) -> bool {
        let is_there = self.version.fingerprint.is_some() && self.gone_since.is_none();
        let is_unsaved = self.shared.unsaved.load(Ordering::Relaxed);
        self.version.copy.is_due() && is_there && !is_unsaved && self.ready().is_ok()
    }

    /// Lets readers see a state that can be trusted.
    fn show(&mut self, access: Access) {
        let access = Arc::new(access);
        self.version.good = Arc::clone(&access);
        self.show_state(State::Ready(access));
    }

    fn show_state(&self, state: State) {
        self.observer.saw(&state);
        self.shared.state.store(Arc::new(state));
    }

    fn ready(&self) -> Result<Arc<Access>, StoreError> {
        match &**self.shared.state.load() {
            State::Ready(access) => Ok(Arc::clone(access)),
            State::Locked(lock) => Err(StoreError::Locked(lock.clone())),
        }
    }

    /// Looks whether somebody else changed the file.
    fn look(&mut self) {
        let seen = Fingerprint::of(&self.paths.auth_json);
        let unchanged = seen
            .as_ref()
            .is_ok_and(|seen| *seen == self.version.fingerprint);
        if unchanged && self.gone_since.is_none() && !self.version.must_try_again {
            return;
        }
        // Whoever holds the lock is about to change the file again; the next look will do.
        if let Ok(_held) = WriteLock::take(&self.paths.lock) {
            let _shown_to_readers = self.read_again_if_changed();
        }
    }

    /// Reads the file again if it is not the one that was read or written last.
    fn read_again_if_changed(&mut self) -> Result<(), StoreError> {
        let seen = Fingerprint::of(&self.paths.auth_json).ok().flatten();
        if seen.is_none() && self.version.fingerprint.is_some() {
            self.miss_the_file();
            return Ok(());
        }
        let was_gone = self.gone_since.take().is_some();
        if seen == self.version.fingerprint && !was_gone && !self.version.must_try_again {
            return Ok(());
        }
        self.version.fingerprint = seen;
        self.version.must_try_again = false;
        match read(&self.paths.auth_json) {
            Ok(Some(next)) => self.take_over(next),
            Ok(None) => Ok(()),
            Err(lock) => {
                self.version.must_try_again = lock.line.is_none();
                self.lock(lock);
                Ok(())
            }
        }
    }

    /// Shows a state that somebody else wrote, without undoing what must not be undone.
    fn take_over(&mut self, mut next: Access) -> Result<(), StoreError> {
        let was_locked = self.ready().is_err();
        let carried = next.carry_over(&self.version.good);
        let written = if carried {
            self.write(next.clone())
        } else {
            Ok(())
        };
        if !carried && let Ok(text) = next.to_json() {
            self.keep_copy(&text, &next);
        }
        if !carried || written.is_err() {
            self.shared.unsaved.store(carried, Ordering::Relaxed);
            self.show(next);
        }
        self.observer.noticed(if was_locked {
            &Notice::Unlocked
        } else {
            &Notice::Reloaded
        });
        written
    }

    /// Locks the state if the file has been gone for longer than an editor needs.
    fn miss_the_file(&mut self) {
        let since = *self.gone_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= MAY_BE_GONE {
            let problem = "it was removed while the server ran".to_owned();
            self.lock(lock(&self.paths.auth_json, None, problem));
        }
    }

    fn lock(&mut self, lock: Lock) {
        let known = matches!(&**self.shared.state.load(), State::Locked(known) if *known == lock);
        if known {
            return;
        }
        self.show_state(State::Locked(lock.clone()));
        self.observer.noticed(&Notice::Locked(lock));
    }

    /// Tries to write what is only in memory.
    fn try_again(&mut self) {
        if !self.shared.unsaved.load(Ordering::Relaxed) || self.tried_at.elapsed() < TRY_AGAIN_EVERY
        {
            return;
        }
        self.tried_at = Instant::now();
        let _still_unsaved = self.write_changes_in_memory();
    }

    fn write_changes_in_memory(&mut self) -> Result<(), StoreError> {
        let _held = WriteLock::take(&self.paths.lock)?;
        self.read_again_if_changed()?;
        if self.gone_since.is_some() {
            return Err(StoreError::Gone);
        }
        self.write(Access::clone(&*self.ready()?))
    }

    /// Writes what is only in memory, uses too, before the process ends.
    fn stop(&mut self) {
        let has_uses = !self.shared.lock_uses().is_empty();
        if self.shared.unsaved.load(Ordering::Relaxed) || has_uses {
            self.uses_at = Timestamp::MIN;
            if let Err(error) = self.write_changes_in_memory() {
                self.observer.noticed(&Notice::Unsaved(error));
            }
        }
        if let Err(error) = self.version.copy.sync() {
            self.observer.noticed(&Notice::Uncopied(error.into()));
        }
    }
}

/// Applies each rule to its own copy, so that one which refuses leaves nothing behind; true if
/// any was accepted.
fn apply<'a>(changes: impl Iterator<Item = &'a mut Box<dyn Change>>, access: &mut Access) -> bool {
    let mut any = false;
    for change in changes {
        let mut attempt = access.clone();
        // A rule that panics fails its own request; the writer goes on for the others.
        let accepted = catch_unwind(AssertUnwindSafe(|| change.apply(&mut attempt)));
        if accepted.unwrap_or(false) {
            *access = attempt;
            any = true;
        }
    }
    any
}

/// Takes the changes that wait already; true if the writer is to stop after them.
fn collect(jobs: &Receiver<Job>, together: &mut Vec<Box<dyn Change>>) -> bool {
    while together.len() < MOST_TOGETHER {
        match jobs.try_recv() {
            Ok(Job::Change(change)) => together.push(change),
            Ok(Job::Stop) => return true,
            Err(_none_waits) => return false,
        }
    }
    false
}
