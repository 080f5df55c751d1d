//! The limiter as the program uses it: shared, durable where a restart must forgive nobody, and
//! open to the command that lifts a penalty while the server runs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::files::{self, Fingerprint, Previous, WriteLock};
use crate::access::attempts::{
    Attempts, CodePlace, KnownDevice, Outcome, Penalty, Place, RefusalReason, Repeated,
    SavedAttempts, Source, Subject, TooMany,
};

/// Failures, places and penalties, with the file that keeps the penalties.
#[derive(Debug)]
pub struct Limits {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    attempts: Attempts,
    /// Whom the file remembered when we last read or wrote it.
    saved: BTreeSet<Subject>,
    version: Option<Fingerprint>,
}

impl Limits {
    /// Reads the penalties. A file that cannot be used is told in a sentence and put aside, since
    /// the limiter works without it, only from the start.
    pub fn open(path: PathBuf, now: Timestamp) -> (Self, Option<String>) {
        let version = Fingerprint::of(&path).ok().flatten();
        let (saved, told) = match read(&path) {
            Ok(saved) => (saved, None),
            Err(error) => (SavedAttempts::default(), Some(error.to_string())),
        };
        let subjects = saved.subjects().collect();
        let (attempts, told) = match Attempts::from_saved(saved, now) {
            Ok(attempts) => (attempts, told),
            Err(error) => (Attempts::new(), Some(error.to_string())),
        };
        let told = told.map(|problem| {
            let _kept_for_a_look = fs::rename(&path, files::beside(&path, ".damaged"));
            format!("{}: {problem}; counting begins anew", path.display())
        });
        let limits = Self {
            path,
            known: Mutex::new(Known {
                attempts,
                saved: subjects,
                version,
            }),
        };
        (limits, told)
    }

    /// Takes a place for one attempt; it goes back by itself unless it is reported as failed.
    pub fn begin(self: &Arc<Self>, source: &Source, now: Timestamp) -> Result<Held, TooMany> {
        let mut known = self.lock();
        let mut begun = known.attempts.begin(source, now);
        if matches!(&begun, Err(refused) if refused.reason == RefusalReason::Penalty)
            && self.take_over_lifts(&mut known, now)
        {
            begun = known.attempts.begin(source, now);
        }
        Ok(Held {
            limits: Arc::clone(self),
            place: Some(begun?),
        })
    }

    /// Takes a place for one second factor, counted durably before it is checked.
    pub fn begin_code(
        self: &Arc<Self>,
        device: KnownDevice,
        now: Timestamp,
    ) -> Result<HeldCode, TooMany> {
        let mut known = self.lock();
        let mut begun = known.attempts.begin_code(device, now);
        if matches!(&begun, Err(refused) if refused.reason == RefusalReason::Penalty)
            && self.take_over_lifts(&mut known, now)
        {
            begun = known.attempts.begin_code(device, now);
        }
        let place = begun?;
        if device == KnownDevice::No {
            self.write(&mut known, now);
        }
        drop(known);
        Ok(HeldCode {
            limits: Arc::clone(self),
            place: Some(place),
        })
    }

    /// Returns how many refusals of `address` the log line that is due now stands for.
    pub fn refusal_line(&self, address: IpAddr, now: Timestamp) -> Option<Repeated> {
        self.lock().attempts.refusal_line(address, now)
    }

    /// Lists the penalties that are on.
    pub fn penalties(&self, now: Timestamp) -> Vec<Penalty> {
        self.lock().attempts.penalties(now)
    }

    /// Lifts the penalties of a subject, or all of them; returns how many.
    pub fn lift(&self, subject: Option<&str>, now: Timestamp) -> io::Result<usize> {
        let mut known = self.lock();
        let _held = self.lock_file()?;
        self.take_over_lifts(&mut known, now);
        let lifted = match subject {
            Some(subject) => known.attempts.lift(subject, now),
            None => known.attempts.lift_all(now),
        };
        self.replace(&mut known)?;
        Ok(lifted)
    }

    /// Lifts here what a command lifted in the file; true if there was something.
    fn take_over_lifts(&self, known: &mut Known, now: Timestamp) -> bool {
        let seen = Fingerprint::of(&self.path).ok().flatten();
        if seen == known.version {
            return false;
        }
        let Ok(saved) = read(&self.path) else {
            return false;
        };
        let remembered: BTreeSet<Subject> = saved.subjects().collect();
        let lifted = Vec::from_iter(known.saved.difference(&remembered).copied());
        for subject in &lifted {
            known.attempts.lift(&subject.to_string(), now);
        }
        known.saved = remembered;
        known.version = seen;
        !lifted.is_empty()
    }

    /// Keeps what must outlive the process; a full disk weakens that, and nothing else.
    fn write(&self, known: &mut Known, now: Timestamp) {
        let written = aside(|| {
            let _held = self.lock_file()?;
            self.take_over_lifts(known, now);
            self.replace(known)
        });
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%path, %error, "penalties are not saved");
        }
    }

    fn replace(&self, known: &mut Known) -> io::Result<()> {
        let saved = known.attempts.to_saved();
        let text = serde_json::to_vec_pretty(&saved)?;
        files::replace_file(&self.path, &text, Previous::Dropped)?;
        known.saved = saved.subjects().collect();
        known.version = Fingerprint::of(&self.path)?;
        Ok(())
    }

    fn lock_file(&self) -> io::Result<WriteLock> {
        WriteLock::take(&files::beside(&self.path, ".lock")).map_err(io::Error::other)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets other tasks go on while the disk is waited for, where the runtime can.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _one_thread_or_none => work(),
    }
}

fn read(path: &Path) -> io::Result<SavedAttempts> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SavedAttempts::default()),
        Err(error) => Err(error),
    }
}

/// A place that goes back when it is dropped.
#[derive(Debug)]
pub struct Held {
    limits: Arc<Limits>,
    place: Option<Place>,
}

impl Held {
    /// Counts the attempt as a failure.
    pub fn fail(mut self, now: Timestamp) -> Outcome {
        let Some(place) = self.place.take() else {
            return Outcome::default();
        };
        let mut known = self.limits.lock();
        let outcome = known.attempts.failed(place, now);
        if !outcome.penalties.is_empty() {
            self.limits.write(&mut known, now);
        }
        outcome
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.limits.lock().attempts.give_back(place);
        }
    }
}

/// A second factor's place that goes back when it is dropped.
#[derive(Debug)]
pub struct HeldCode {
    limits: Arc<Limits>,
    place: Option<CodePlace>,
}

impl HeldCode {
    /// Counts the code as wrong.
    pub fn fail(mut self, now: Timestamp) -> Outcome {
        let Some(place) = self.place.take() else {
            return Outcome::default();
        };
        let mut known = self.limits.lock();
        let outcome = known.attempts.code_failed(place, now);
        self.limits.write(&mut known, now);
        outcome
    }
}

impl Drop for HeldCode {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let mut known = self.limits.lock();
            known.attempts.code_given_back(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn source() -> Source {
        Source::Address("192.0.2.9".parse().unwrap())
    }

    fn limits(dir: &tempfile::TempDir) -> Arc<Limits> {
        let (limits, told) = Limits::open(dir.path().join("limits.json"), now());
        assert_eq!(told, None);
        Arc::new(limits)
    }

    fn fail_until_refused(limits: &Arc<Limits>) -> u32 {
        for tries in 0..100 {
            match limits.begin(&source(), now()) {
                Ok(held) => {
                    let _penalty = held.fail(now());
                }
                Err(_refused) => return tries,
            }
        }
        panic!("never refused");
    }

    #[test]
    fn a_penalty_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(fail_until_refused(&limits(&dir)), 5);

        let again = limits(&dir);

        assert!(again.begin(&source(), now()).is_err());
        assert_eq!(again.penalties(now()).len(), 1);
        let later = now() + SignedDuration::from_secs(60);
        assert!(again.begin(&source(), later).is_ok());
    }

    #[test]
    fn a_dropped_place_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let limits = limits(&dir);
        for _ in 0..20 {
            drop(limits.begin(&source(), now()).unwrap());
        }
        let places = Vec::from_iter((0..5).map(|_| limits.begin(&source(), now()).unwrap()));
        assert!(limits.begin(&source(), now()).is_err());
        drop(places);
        assert!(limits.begin(&source(), now()).is_ok());
    }

    #[test]
    fn a_running_server_sees_a_penalty_lifted_by_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let server = limits(&dir);
        fail_until_refused(&server);

        let command = limits(&dir);
        assert_eq!(command.lift(Some("192.0.2.9"), now()).unwrap(), 1);

        assert!(server.begin(&source(), now()).is_ok());
    }

    #[test]
    fn a_lifted_penalty_does_not_come_back_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let server = limits(&dir);
        fail_until_refused(&server);
        assert_eq!(limits(&dir).lift(Some("192.0.2.9"), now()).unwrap(), 1);

        let other = Source::Address("192.0.2.10".parse().unwrap());
        while let Ok(held) = server.begin(&other, now()) {
            let _penalty = held.fail(now());
        }

        assert!(server.begin(&source(), now()).is_ok());
        let listed = limits(&dir).penalties(now());
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].subject.to_string(), "192.0.2.10");
    }

    #[test]
    fn a_code_is_counted_before_it_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let server = limits(&dir);
        for _ in 0..9 {
            let held = server.begin_code(KnownDevice::No, now()).unwrap();
            let _none_yet = held.fail(now());
        }
        let tenth = server.begin_code(KnownDevice::No, now()).unwrap();

        let after_a_crash = limits(&dir);

        assert!(after_a_crash.begin_code(KnownDevice::No, now()).is_err());
        assert!(after_a_crash.begin_code(KnownDevice::Yes, now()).is_ok());
        drop(tenth);
    }

    #[test]
    fn an_unusable_file_is_put_aside_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("limits.json");
        files::replace_file(&path, b"{]", Previous::Dropped).unwrap();

        let (limits, told) = Limits::open(path.clone(), now());

        assert!(told.unwrap().contains("limits.json"));
        assert!(files::beside(&path, ".damaged").exists());
        assert!(Arc::new(limits).begin(&source(), now()).is_ok());
    }
}
