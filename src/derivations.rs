//! The bounded pool that derives keys from passwords: the one slow thing here, kept from slowing
//! the rest.
//!
//! Each derivation takes tens of milliseconds of one core. The pool has one thread less than the
//! machine has cores, and two short queues: people who have signed in from their device before,
//! and everybody else. A full queue refuses at once, so that a storm of sign-ins neither delays
//! other requests nor grows memory.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::access::passwords::{
    CreateHashError, Password, PasswordHash, Verification, verify_nothing,
};
use crate::access::totp::{
    BackupCheck, BackupCode, BackupCodeRecord, BackupCodes, check_backup_code,
};

/// How many derivations wait in each queue.
const QUEUE_LENGTH: usize = 16;

/// How much a derivation gives way to the answers of other requests.
const NICENESS: i32 = 5;

/// Who waits for a derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A known device, or somebody on this host: served first.
    Known,
    /// Everybody else.
    Stranger,
}

/// What a password is verified against.
#[derive(Clone, Debug)]
pub enum Against {
    /// The account's hash.
    Hash(PasswordHash),
    /// Nothing, at the cost of this many iterations: there is no such account.
    Nothing {
        /// The iterations of the account there is, so that both cost the same.
        iterations: u32,
    },
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins are waiting")]
pub struct Busy;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queues {
    known: VecDeque<Job>,
    strangers: VecDeque<Job>,
    is_closed: bool,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
    count: AtomicU64,
}

/// The pool.
pub struct Derivations(Arc<Shared>);

impl Derivations {
    /// Starts as many threads as the machine has cores, less one, and at least one.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let shared = Arc::new(Shared {
            queues: Mutex::default(),
            wake: Condvar::new(),
            count: AtomicU64::new(0),
        });
        for _ in 0..cores.saturating_sub(1).max(1) {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("derivation".to_owned())
                .spawn(move || shared.work())?;
        }
        Ok(Self(shared))
    }

    /// Verifies a password, at the same cost whether the account exists or not.
    pub async fn verify(
        &self,
        priority: Priority,
        password: Password,
        against: Against,
    ) -> Result<Verification, Busy> {
        let verification = self
            .run(priority, move || match against {
                Against::Hash(hash) => hash.verify(&password),
                Against::Nothing { iterations } => verify_nothing(&password, iterations),
            })
            .await?;
        self.add(verification.derivations);
        Ok(verification)
    }

    /// Hashes a new password.
    pub async fn hash(
        &self,
        priority: Priority,
        password: Password,
    ) -> Result<Result<PasswordHash, CreateHashError>, Busy> {
        let hash = self
            .run(priority, move || PasswordHash::create(&password))
            .await?;
        self.add(1);
        Ok(hash)
    }

    /// Hashes a set of backup codes, and gives the codes back with it.
    pub async fn hash_backup_codes(
        &self,
        priority: Priority,
        codes: BackupCodes,
    ) -> Result<(BackupCodes, Result<Vec<BackupCodeRecord>, CreateHashError>), Busy> {
        let (codes, records) = self
            .run(priority, move || {
                let records = codes.hash();
                (codes, records)
            })
            .await?;
        let derived = records.as_ref().map_or(0, Vec::len);
        self.add(u32::try_from(derived).unwrap_or(u32::MAX));
        Ok((codes, records))
    }

    /// Looks a backup code up.
    pub async fn check_backup_code(
        &self,
        priority: Priority,
        codes: Vec<BackupCodeRecord>,
        code: BackupCode,
    ) -> Result<BackupCheck, Busy> {
        let check = self
            .run(priority, move || check_backup_code(&codes, &code))
            .await?;
        self.add(check.derivations);
        Ok(check)
    }

    /// Returns how many derivations were run.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn add(&self, derivations: u32) {
        self.0
            .count
            .fetch_add(u64::from(derivations), Ordering::Relaxed);
    }

    async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || {
            // Who hung up meanwhile gets no derivation for it.
            if !sender.is_closed() {
                let _nobody_waits = sender.send(work());
            }
        });
        self.0.push(priority, job)?;
        receiver.await.map_err(|_worker_gone| Busy)
    }
}

impl Drop for Derivations {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn push(&self, priority: Priority, job: Job) -> Result<(), Busy> {
        let mut queues = self.lock();
        let queue = match priority {
            Priority::Known => &mut queues.known,
            Priority::Stranger => &mut queues.strangers,
        };
        if queue.len() >= QUEUE_LENGTH {
            return Err(Busy);
        }
        queue.push_back(job);
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        // On Linux this is the calling thread's own: other requests come first (`nice(2)`).
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "derivations run at the priority of everything else");
        }
        while let Some(job) = self.next() {
            // Who waits hears of a panic by the end of the channel; the thread serves the next.
            let _panicked = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if let Some(job) = queues.known.pop_front() {
                return Some(job);
            }
            if let Some(job) = queues.strangers.pop_front() {
                return Some(job);
            }
            if queues.is_closed {
                return None;
            }
            queues = self
                .wake
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_full_queue_refuses_strangers_and_still_takes_the_known() {
        let pool = Derivations::start().unwrap();
        let (let_go, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        let threads = thread::available_parallelism()
            .unwrap()
            .get()
            .saturating_sub(1)
            .max(1);
        let mut waiting = Vec::new();
        for _ in 0..threads {
            let hold = Arc::clone(&hold);
            let job = move || hold.lock().unwrap().recv().unwrap_or_default();
            waiting.push(pool.0.push(Priority::Stranger, Box::new(job)));
        }
        while !pool.0.lock().strangers.is_empty() {
            thread::yield_now();
        }
        for _ in 0..QUEUE_LENGTH {
            assert!(pool.0.push(Priority::Stranger, Box::new(|| ())).is_ok());
        }

        let refused = pool.run(Priority::Stranger, || ()).await;

        assert_eq!(refused, Err(Busy));
        let (sender, done) = oneshot::channel();
        let known = Box::new(move || {
            let _told = sender.send("served");
        });
        pool.0.push(Priority::Known, known).unwrap();
        for _ in 0..threads {
            let_go.send(()).unwrap();
        }
        assert_eq!(done.await, Ok("served"));
    }

    #[tokio::test]
    async fn derivations_are_counted() {
        let pool = Derivations::start().unwrap();
        let password = Password::new("correct horse battery staple".to_owned());
        let against = Against::Nothing { iterations: 1 };

        let refused = pool.verify(Priority::Stranger, password, against).await;
        assert!(!refused.unwrap().matches);

        assert_eq!(pool.count(), 1);
    }
}
