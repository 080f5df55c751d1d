//! Terminals: who has a ticket to one, which shells run, and what becomes of them when their
//! window is gone. In memory only, bounded.
//!
//! | to learn how | read |
//! |---|---|
//! | a ticket opens one socket, once | [`tickets`] |
//! | a shell's output and input flow, and when it ends | `shell` |
//! | bytes become text | `utf8` |
//! | what was written is shown again | `scrollback` |
//!
//! Whether a holder still may have a terminal is asked elsewhere: [`Terminals::end`] is told.
//!
//! **Invariant:** every shell ends: with its window after a while, with its holder, with us.

mod connection;
mod scrollback;
mod shell;
pub mod tickets;
mod utf8;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;

pub use connection::{Closed, Connection, Typist};
pub use tickets::Admission;

use crate::access::random::{self, RandomError};
use crate::access::terminal::{Holder, Who};
use crate::host::pty::{Login, Shell, Size};
use connection::attachment;
use shell::{Order, Running};
use tickets::Tickets;

/// How many shells run at once.
pub const MOST: usize = 16;
/// How many of them one session, token or address in open mode has.
pub const MOST_EACH: usize = 4;
/// How long the end of all shells is waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How often one looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a shell lives on without a window.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After the connection broke.
    pub detached: Duration,
    /// After it was locked because nobody typed.
    pub locked: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            detached: Duration::from_mins(1),
            locked: Duration::from_hours(8),
        }
    }
}

/// To which terminal somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A new one, which will have this id.
    New(String),
    /// One that runs.
    Running(String, Return),
}

impl Place {
    /// Returns the terminal's id.
    pub fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Running(id, _) => id,
        }
    }
}

/// How somebody comes back to a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// As before, which opens no lock.
    Unasked,
    /// Having proved again who they are.
    Confirmed,
}

/// What a running terminal asks of somebody who comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether nobody typed for so long that it was locked.
    pub is_locked: bool,
    /// Whether a window is there.
    pub is_attached: bool,
    /// For how long nobody has typed.
    pub idle: Duration,
}

/// Why a shell was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The session or token does not count any more.
    HolderGone,
    /// Its person closed it.
    Left,
    /// Nobody came back.
    Abandoned,
    /// The server stops.
    Stopping,
}

/// How a shell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why: `exited`, `session_ended`, `closed`, `abandoned`, `server_stopping`.
    pub reason: &'static str,
    /// After how long.
    pub after: Duration,
}

/// Whoever is told when a shell has ended.
pub type OnEnd = Box<dyn FnOnce(Ended) + Send>;

/// No ticket was given.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The terminal has ended, or is not this holder's.
    #[error("the terminal is gone")]
    Gone,
    /// There are as many as there may be.
    #[error("there are too many terminals")]
    TooMany,
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A terminal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The terminal has ended meanwhile.
    #[error("the terminal is gone")]
    Gone,
    /// There are as many as there may be.
    #[error("there are too many terminals")]
    TooMany,
    /// It was locked meanwhile.
    #[error("the terminal is locked")]
    Locked,
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
    /// The shell could not be started.
    #[error("the shell could not be started: {0}")]
    NotStarted(#[from] io::Error),
}

/// All terminals.
#[derive(Debug)]
pub struct Terminals {
    login: Login,
    patience: Patience,
    shared: Shared,
}

/// What the shells' tasks know of each other.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    tickets: Tickets,
    running: HashMap<String, Entry>,
    is_stopping: bool,
    connections: u64,
}

/// A running shell, seen from outside of its task.
struct Entry {
    holder: Holder,
    orders: mpsc::UnboundedSender<Order>,
    keys: mpsc::Sender<Vec<u8>>,
    activity: Activity,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?})", self.holder.who())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When somebody last typed, and whether that is over.
#[derive(Clone, Debug)]
struct Activity(Arc<Mutex<Noted>>);

#[derive(Clone, Copy, Debug)]
struct Noted {
    typed_at: Instant,
    is_locked: bool,
    is_attached: bool,
}

impl Activity {
    fn begin() -> Self {
        Self(Arc::new(Mutex::new(Noted {
            typed_at: Instant::now(),
            is_locked: false,
            is_attached: false,
        })))
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn standing(&self) -> Standing {
        let noted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            is_locked: noted.is_locked,
            is_attached: noted.is_attached,
            idle: noted.typed_at.elapsed(),
        }
    }
}

impl State {
    /// Returns the running terminal, if it is this one's.
    fn find(&self, id: &str, who: &Who) -> Option<&Entry> {
        let entry = self.running.get(id);
        entry.filter(|entry| entry.holder.who() == who)
    }

    fn has_room_for(&self, who: &Who) -> bool {
        let own = self.running.values();
        let own = own.filter(|entry| entry.holder.who() == who).count();
        self.running.len() < MOST && own < MOST_EACH
    }

    fn order(&self, id: &str, order: Order) {
        if let Some(entry) = self.running.get(id) {
            let _has_just_ended = entry.orders.send(order);
        }
    }
}

impl Terminals {
    /// Starts without any; shells will be this user's.
    pub fn new(login: Login, patience: Patience) -> Self {
        Self {
            login,
            patience,
            shared: Shared::default(),
        }
    }

    /// Gives a ticket to a new terminal.
    pub fn ticket_to_new(
        &self,
        holder: Holder,
        now: Timestamp,
    ) -> Result<(String, String), TicketError> {
        let id = random::hex::<8>()?;
        let mut state = self.shared.lock();
        if !state.has_room_for(holder.who()) {
            return Err(TicketError::TooMany);
        }
        let place = Place::New(id.clone());
        let ticket = state.tickets.issue(Admission { holder, place }, now)?;
        Ok((ticket, id))
    }

    /// Gives a ticket back to a terminal that runs.
    pub fn ticket_to_running(
        &self,
        holder: Holder,
        (id, how): (&str, Return),
        now: Timestamp,
    ) -> Result<String, TicketError> {
        let mut state = self.shared.lock();
        if state.find(id, holder.who()).is_none() {
            return Err(TicketError::Gone);
        }
        let place = Place::Running(id.to_owned(), how);
        let ticket = state.tickets.issue(Admission { holder, place }, now)?;
        Ok(ticket)
    }

    /// Says what a running terminal of this holder asks for; nothing where there is none.
    pub fn standing(&self, id: &str, who: &Who) -> Option<Standing> {
        let state = self.shared.lock();
        Some(state.find(id, who)?.activity.standing())
    }

    /// Takes a ticket, whatever comes of it.
    pub fn redeem(&self, ticket: &str, now: Timestamp) -> Option<Admission> {
        self.shared.lock().tickets.redeem(ticket, now)
    }

    /// Returns how many run.
    pub fn count(&self) -> usize {
        self.shared.lock().running.len()
    }

    /// Returns whether this one runs.
    pub fn is_running(&self, id: &str) -> bool {
        self.shared.lock().running.contains_key(id)
    }

    /// Starts a shell and connects to it. `on_end` is told when it has ended.
    pub fn open(
        &self,
        (id, holder): (&str, Holder),
        size: Size,
        on_end: OnEnd,
    ) -> Result<Connection, OpenError> {
        let mut state = self.shared.lock();
        if state.is_stopping {
            return Err(OpenError::Stopping);
        }
        if !state.has_room_for(holder.who()) || state.running.contains_key(id) {
            return Err(OpenError::TooMany);
        }
        // Within the lock, so that there are never more than may be.
        let shell = Shell::start(&self.login, size)?;
        let (running, entry) = Running::new(shell, holder, self.patience);
        state.running.insert(id.to_owned(), entry);
        let connection = state.attach(id).ok_or(OpenError::Gone)?;
        drop(state);
        let (shared, id) = (self.shared.clone(), id.to_owned());
        tokio::spawn(async move {
            let ended = running.run().await;
            on_end(ended);
            shared.lock().running.remove(&id);
        });
        Ok(connection)
    }

    /// Connects to a shell that runs; whoever was connected is not any more.
    pub fn come_back(
        &self,
        (id, how): (&str, Return),
        who: &Who,
        size: Option<Size>,
    ) -> Result<Connection, OpenError> {
        let mut state = self.shared.lock();
        if state.is_stopping {
            return Err(OpenError::Stopping);
        }
        let entry = state.find(id, who).ok_or(OpenError::Gone)?;
        match how {
            Return::Confirmed => entry.activity.note(|noted| {
                noted.is_locked = false;
                noted.typed_at = Instant::now();
            }),
            Return::Unasked if entry.activity.standing().is_locked => {
                return Err(OpenError::Locked);
            }
            Return::Unasked => {}
        }
        let connection = state.attach(id).ok_or(OpenError::Gone)?;
        if let Some(size) = size {
            connection.typist.resize(size);
        }
        Ok(connection)
    }

    /// Locks a terminal in which nobody types: its window goes, and comes back only when its
    /// person has proved again who they are.
    pub fn lock(&self, id: &str) {
        let state = self.shared.lock();
        if let Some(entry) = state.running.get(id) {
            entry.activity.note(|noted| noted.is_locked = true);
        }
        state.order(id, Order::Part(Closed::Locked));
    }

    /// Takes the window from a terminal for now.
    pub fn suspend(&self, id: &str) {
        self.shared.lock().order(id, Order::Part(Closed::NotNow));
    }

    /// Ends a shell.
    pub fn end(&self, id: &str, why: End) {
        self.shared.lock().order(id, Order::End(why));
    }

    /// Begins to end all shells; none is started any more.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        state.is_stopping = true;
        for id in state.running.keys() {
            state.order(id, Order::End(End::Stopping));
        }
    }

    /// Waits until all shells have ended.
    pub async fn stopped(&self) {
        let until = Instant::now() + STOP_PATIENCE;
        while self.count() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl State {
    fn attach(&mut self, id: &str) -> Option<Connection> {
        self.connections += 1;
        let number = self.connections;
        let entry = self.running.get(id)?;
        let (attachment, connection) = attachment(number, entry);
        entry.orders.send(Order::Attach(attachment)).ok()?;
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::pty::Surroundings;

    fn terminals(detached: u64) -> Terminals {
        let patience = Patience {
            detached: Duration::from_millis(detached),
            locked: Duration::from_millis(600),
        };
        Terminals::new(Login::of_service(&Surroundings::default()), patience)
    }

    fn holder(last_byte: u8) -> Holder {
        Holder::open_mode([192, 0, 2, last_byte].into())
    }

    fn open(terminals: &Terminals, id: &str) -> (Connection, mpsc::UnboundedReceiver<Ended>) {
        let (tell, told) = mpsc::unbounded_channel();
        let on_end = Box::new(move |ended| {
            let _test_is_over = tell.send(ended);
        });
        let opened = terminals.open((id, holder(1)), Size::default(), on_end);
        (opened.unwrap(), told)
    }

    async fn end(told: &mut mpsc::UnboundedReceiver<Ended>) -> Ended {
        let patience = Duration::from_secs(5);
        tokio::time::timeout(patience, told.recv())
            .await
            .unwrap()
            .unwrap()
    }

    #[tokio::test]
    async fn a_shell_without_a_window_ends_after_a_while_and_not_before() {
        let terminals = terminals(300);
        let (connection, mut told) = open(&terminals, "a");
        let begun = Instant::now();
        drop(connection);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let back = terminals.come_back(("a", Return::Unasked), holder(1).who(), None);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(terminals.is_running("a"), "somebody is there again");

        let left = Instant::now();
        drop(back.unwrap());
        let ended = end(&mut told).await;

        assert_eq!(ended.reason, "abandoned");
        assert!(
            left.elapsed() >= Duration::from_millis(290),
            "{:?}",
            left.elapsed()
        );
        assert!(left.elapsed() < Duration::from_millis(1500));
        assert!(ended.after <= begun.elapsed() + Duration::from_millis(50));
        terminals.stopped().await;
        let back = terminals.come_back(("a", Return::Unasked), holder(1).who(), None);
        assert!(matches!(back, Err(OpenError::Gone)));
    }

    #[tokio::test]
    async fn a_locked_shell_lives_longer_and_comes_back_only_to_who_confirmed() {
        let terminals = terminals(100);
        let (mut connection, mut told) = open(&terminals, "a");
        terminals.lock("a");
        assert_eq!((&mut connection.closed).await, Ok(Closed::Locked));
        drop(connection);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let who = holder(1);
        let unasked = terminals.come_back(("a", Return::Unasked), who.who(), None);
        assert!(matches!(unasked, Err(OpenError::Locked)));
        let other = terminals.come_back(("a", Return::Confirmed), holder(2).who(), None);
        assert!(matches!(other, Err(OpenError::Gone)), "somebody else's");

        let back = terminals
            .come_back(("a", Return::Confirmed), who.who(), None)
            .unwrap();
        let standing = terminals.standing("a", who.who()).unwrap();
        assert!(!standing.is_locked && standing.idle < Duration::from_millis(100));
        terminals.lock("a");
        drop(back);

        let locked = Instant::now();
        assert_eq!(end(&mut told).await.reason, "abandoned");
        assert!(
            locked.elapsed() > Duration::from_millis(500),
            "{:?}",
            locked.elapsed()
        );
    }

    #[tokio::test]
    async fn there_are_never_more_than_may_be() {
        let terminals = terminals(10_000);
        let quiet = || Box::new(|_ended| {});
        let mut open = Vec::new();
        for number in 0..MOST {
            let id = number.to_string();
            let who = holder(u8::try_from(number / MOST_EACH).unwrap());
            open.push(
                terminals
                    .open((&id, who), Size::default(), quiet())
                    .unwrap(),
            );
        }
        let full = terminals.open(("x", holder(99)), Size::default(), quiet());
        assert!(matches!(full, Err(OpenError::TooMany)));
        let now = Timestamp::UNIX_EPOCH;
        assert!(matches!(
            terminals.ticket_to_new(holder(99), now),
            Err(TicketError::TooMany)
        ));

        terminals.end("15", End::Left);
        while terminals.is_running("15") {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let other = terminals.open(("x", holder(0)), Size::default(), quiet());
        assert!(matches!(other, Err(OpenError::TooMany)), "four each");
        assert!(terminals.ticket_to_new(holder(99), now).is_ok());

        terminals.stop();
        let late = terminals.open(("x", holder(99)), Size::default(), quiet());
        assert!(matches!(late, Err(OpenError::Stopping)));
        terminals.stopped().await;
        assert_eq!(terminals.count(), 0);
    }
}
