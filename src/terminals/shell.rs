//! One running shell: the task that reads it, types into it, and ends it.
//!
//! Output flows only as fast as the window takes it: one piece is read, decoded, kept, and handed
//! over before the next is read. What is typed never waits behind output. Without a window output
//! is read on, and only kept.

use std::future::pending;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout, timeout_at};

use super::connection::{Attachment, Closed};
use super::scrollback::Scrollback;
use super::utf8::Utf8Decoder;
use super::{Activity, End, Ended, Entry, Patience};
use crate::access::terminal::Holder;
use crate::host::pty::{Input, Output, Process, Shell, Size};

/// How many messages of input wait for a program that does not read.
const MOST_WAITING: usize = 4;
/// How long after a shell's exit its last output may take to come.
const QUIET: Duration = Duration::from_millis(50);
/// And to be taken.
const DRAIN: Duration = Duration::from_secs(3);

/// What a shell's task is told.
#[derive(Debug)]
pub(super) enum Order {
    /// A window is there.
    Attach(Attachment),
    /// A window is gone.
    Detach(u64),
    /// The window must go, and why.
    Part(Closed),
    /// The window has another size.
    Resize(Size),
    /// The shell must end.
    End(End),
}

/// A shell and all that flows through it.
pub(super) struct Running {
    output: Output,
    input: Input,
    process: Process,
    orders: mpsc::UnboundedReceiver<Order>,
    keys: mpsc::Receiver<Vec<u8>>,
    activity: Activity,
    patience: Patience,
    begun: Instant,
    flow: Flow,
}

/// What is on its way.
#[derive(Default)]
struct Flow {
    decoder: Utf8Decoder,
    scrollback: Scrollback,
    window: Option<Attachment>,
    unsent: Option<String>,
    untyped: Vec<u8>,
    /// Nobody can write any more.
    is_silent: bool,
    /// When the shell ends because nobody comes back.
    until: Option<tokio::time::Instant>,
}

/// What happened next.
enum Next {
    Ordered(Order),
    Exited(String),
    Overdue,
    Read,
    Other,
}

impl Running {
    /// Takes charge of a shell; returns what others know of it.
    pub(super) fn new(shell: Shell, holder: Holder, patience: Patience) -> (Self, Entry) {
        let (tell, orders) = mpsc::unbounded_channel();
        let (typing, keys) = mpsc::channel(MOST_WAITING);
        let activity = Activity::begin();
        let entry = Entry {
            holder,
            orders: tell,
            keys: typing,
            activity: activity.clone(),
        };
        let running = Self {
            output: shell.output,
            input: shell.input,
            process: shell.process,
            orders,
            keys,
            activity,
            patience,
            begun: Instant::now(),
            flow: Flow::default(),
        };
        (running, entry)
    }

    /// Runs until the shell has ended.
    pub(super) async fn run(mut self) -> Ended {
        let why = loop {
            match self.next().await {
                Next::Ordered(Order::End(why)) => break Some(why),
                Next::Ordered(order) => self.obey(order),
                Next::Exited(how) => {
                    self.deliver_the_rest(how).await;
                    break None;
                }
                Next::Overdue => break Some(End::Abandoned),
                Next::Read | Next::Other => {}
            }
        };
        let reason = match why {
            None => "exited",
            Some(why) => {
                self.flow.part(why.closed());
                // No more input, and no more output for those who still wait to write.
                self.process.end().await;
                why.name()
            }
        };
        Ended {
            reason,
            after: self.begun.elapsed(),
        }
    }

    /// Waits for whatever comes first; orders and input before output.
    async fn next(&mut self) -> Next {
        let flow = &mut self.flow;
        let may_read = flow.unsent.is_none() && !flow.is_silent;
        tokio::select! {
            biased;
            Some(order) = self.orders.recv() => Next::Ordered(order),
            status = self.process.wait() => Next::Exited(in_words(status)),
            () = at(flow.until) => Next::Overdue,
            typed = self.input.write(&flow.untyped), if !flow.untyped.is_empty() => {
                // Nobody reads any more where that fails: the shell's end comes by itself.
                let typed = typed.unwrap_or(flow.untyped.len());
                flow.untyped.drain(..typed.min(flow.untyped.len()));
                Next::Other
            }
            Some(keys) = self.keys.recv(), if flow.untyped.is_empty() => {
                flow.untyped = keys;
                Next::Other
            }
            is_there = hand_over(flow.window.as_ref(), &mut flow.unsent) => {
                if !is_there {
                    flow.unsent = None;
                }
                Next::Other
            }
            piece = self.output.read(), if may_read => {
                flow.take(piece);
                Next::Read
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Attach(window) => {
                self.flow.part(Closed::TakenOver);
                let before = self.flow.scrollback.text();
                self.flow.unsent = Some(before).filter(|text| !text.is_empty());
                self.flow.window = Some(window);
                self.flow.until = None;
                self.activity.note(|noted| noted.is_attached = true);
            }
            Order::Detach(number) => {
                let window = self.flow.window.as_ref();
                if window.is_some_and(|window| window.number == number) {
                    self.part(Closed::NotNow);
                }
            }
            Order::Part(why) => self.part(why),
            Order::Resize(size) => {
                if let Err(error) = self.input.resize(size) {
                    tracing::debug!(%error, "a terminal was not resized");
                }
            }
            Order::End(_) => {}
        }
    }

    /// Goes on without a window, for a while.
    fn part(&mut self, why: Closed) {
        self.flow.part(why);
        self.activity.note(|noted| noted.is_attached = false);
        let patience = if self.activity.standing().is_locked {
            self.patience.locked
        } else {
            self.patience.detached
        };
        self.flow.until = Some(tokio::time::Instant::now() + patience);
    }

    /// Shows what the shell has left behind. Its background jobs may hold the terminal, so this
    /// has an end of its own.
    async fn deliver_the_rest(&mut self, how: String) {
        let until = tokio::time::Instant::now() + DRAIN;
        let flow = &mut self.flow;
        loop {
            if let (Some(window), Some(text)) = (&flow.window, flow.unsent.take()) {
                let taken = timeout_at(until, window.output.send(text)).await;
                if !matches!(taken, Ok(Ok(()))) {
                    break;
                }
            }
            let Ok(piece) = timeout(QUIET, self.output.read()).await else {
                break;
            };
            if piece.is_empty() || tokio::time::Instant::now() >= until {
                break;
            }
            flow.take(piece);
        }
        if let (Some(window), Some(last)) = (&flow.window, flow.decoder.finish()) {
            let _gone_or_slow = timeout_at(until, window.output.send(last.to_string())).await;
        }
        flow.part(Closed::Exited(how));
    }
}

impl Flow {
    /// Takes a piece of output; an empty one means that nobody can write any more.
    fn take(&mut self, piece: &[u8]) {
        self.is_silent = piece.is_empty();
        let text = self.decoder.decode(piece);
        self.scrollback.push(&text);
        self.unsent = Some(text).filter(|text| !text.is_empty() && self.window.is_some());
    }

    /// Lets the window go. What it has not got is in the scrollback.
    fn part(&mut self, why: Closed) {
        self.unsent = None;
        if let Some(window) = self.window.take() {
            // The output ends before the reason is there.
            drop(window.output);
            let _gone_already = window.closed.send(why);
        }
    }
}

/// Hands the piece that waits to the window, once there is room; false where no window is there
/// any more. Without a piece or a window this waits for ever.
async fn hand_over(window: Option<&Attachment>, unsent: &mut Option<String>) -> bool {
    let (Some(window), true) = (window, unsent.is_some()) else {
        return pending().await;
    };
    let Ok(room) = window.output.reserve().await else {
        return false;
    };
    if let Some(text) = unsent.take() {
        room.send(text);
    }
    true
}

async fn at(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// Says how a shell ended: `exit status: 0`, `signal: 9 (SIGKILL)`.
fn in_words(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => {
            tracing::warn!(%error, "a shell could not be waited for");
            "unknown".to_owned()
        }
    }
}

impl End {
    fn closed(self) -> Closed {
        match self {
            Self::HolderGone => Closed::HolderGone,
            Self::Stopping => Closed::Stopping,
            Self::Left | Self::Abandoned => Closed::NotNow,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::HolderGone => "session_ended",
            Self::Left => "closed",
            Self::Abandoned => "abandoned",
            Self::Stopping => "server_stopping",
        }
    }
}
