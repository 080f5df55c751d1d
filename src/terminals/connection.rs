//! The two ends between a shell and the socket of its window.

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::shell::Order;
use super::{Activity, End, Entry};
use crate::host::pty::Size;

/// Why a window lost its shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The shell ended by itself; how, in words.
    Exited(String),
    /// The holder may not have it any more.
    HolderGone,
    /// Another window has it now.
    TakenOver,
    /// Nobody typed for too long.
    Locked,
    /// The server stops.
    Stopping,
    /// It cannot be had for now, or nobody knows why not.
    NotNow,
}

/// The shell's end.
#[derive(Debug)]
pub(super) struct Attachment {
    /// Which connection it is.
    pub(super) number: u64,
    /// Where output goes; one piece waits at most.
    pub(super) output: mpsc::Sender<String>,
    /// Where the reason of the end goes.
    pub(super) closed: oneshot::Sender<Closed>,
}

/// The window's end.
#[derive(Debug)]
pub struct Connection {
    /// What the shell writes; after its end, there is nothing more.
    pub output: mpsc::Receiver<String>,
    /// Why there is nothing more. Only after an exit is what waits in `output` still to be shown.
    pub closed: oneshot::Receiver<Closed>,
    /// What goes to the shell. The window is gone when this is dropped.
    pub typist: Typist,
}

/// What a window does to its shell.
#[derive(Debug)]
pub struct Typist {
    number: u64,
    orders: mpsc::UnboundedSender<Order>,
    keys: mpsc::Sender<Vec<u8>>,
    activity: Activity,
}

/// Makes both ends.
pub(super) fn attachment(number: u64, entry: &Entry) -> (Attachment, Connection) {
    let (output, receiver) = mpsc::channel(1);
    let (closed, reason) = oneshot::channel();
    let connection = Connection {
        output: receiver,
        closed: reason,
        typist: Typist {
            number,
            orders: entry.orders.clone(),
            keys: entry.keys.clone(),
            activity: entry.activity.clone(),
        },
    };
    let attachment = Attachment {
        number,
        output,
        closed,
    };
    (attachment, connection)
}

impl Typist {
    /// Types, if there is room at once; gives back what there is no room for.
    pub fn try_type(&self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        self.note();
        match self.keys.try_send(bytes) {
            Err(mpsc::error::TrySendError::Full(bytes)) => Err(bytes),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Types, and waits until there is room.
    pub async fn type_in(&self, bytes: Vec<u8>) {
        let _has_just_ended = self.keys.send(bytes).await;
        self.note();
    }

    /// Changes the size.
    pub fn resize(&self, size: Size) {
        let _has_just_ended = self.orders.send(Order::Resize(size));
    }

    /// Ends the shell, since its person does not want it any more.
    pub fn leave(&self) {
        let _has_just_ended = self.orders.send(Order::End(End::Left));
    }

    fn note(&self) {
        let now = Instant::now().into_std();
        self.activity.note(|noted| noted.typed_at = now);
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _has_just_ended = self.orders.send(Order::Detach(self.number));
    }
}
