//! One window's socket: output one way, keys the other, and neither waits for the other.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::frames::{Frame, PONG};
use crate::terminals::{Closed, Connection, Typist};

/// How often the other end is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may say nothing, not even to that.
const DEAD_AFTER: Duration = Duration::from_secs(50);
/// How long the end of a connection may take.
const PARTING: Duration = Duration::from_secs(1);
/// How much output may be on its way to a window that says how much it has shown.
const MOST_UNSHOWN: u64 = 512 * 1024;
/// The largest piece of output: each byte of one read may become a character of three.
const LARGEST: u64 = 3 * crate::host::pty::PIECE as u64 + 16;
/// With this code a window says that its person does not want the shell any more.
const LEFT: u16 = 4000;

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

/// Lets a window and its shell talk until one of them is gone. `on_keys` is told of what is typed.
pub(super) async fn run(socket: WebSocket, connection: Connection, on_keys: impl FnMut()) {
    let Connection {
        output,
        closed,
        typist,
    } = connection;
    let (mut sink, mut source) = socket.split();
    let (progress, seen) = watch::channel(Progress::default());
    let (owe, owed) = mpsc::channel(4);
    let outgoing = Outgoing {
        sink: &mut sink,
        output,
        closed: Closing {
            closed,
            exited: None,
        },
        seen,
        owed,
        sent: 0,
    };
    let incoming = Incoming {
        source: &mut source,
        typist: &typist,
        progress,
        owe,
    };
    let why = tokio::select! {
        why = outgoing.run() => Some(why),
        () = incoming.run(on_keys) => None,
    };
    drop(typist);
    let parting = async {
        match why {
            Some(Outcome::Closed(why)) => say_good_bye(&mut sink, &mut source, why).await,
            Some(Outcome::Broken) => {}
            // What answers the other end's good-bye waits to be sent.
            None => drop(sink.close().await),
        }
    };
    let _gone_or_slow = timeout(PARTING, parting).await;
}

/// Turns a window away.
pub(super) async fn refuse(socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let parting = say_good_bye(&mut sink, &mut source, Closed::NotNow);
    let _gone_or_slow = timeout(PARTING, parting).await;
}

/// Says why, and waits until the other end has heard: what it sends meanwhile would otherwise
/// have the kernel throw the good-bye away.
async fn say_good_bye(sink: &mut Sink, source: &mut Source, why: Closed) {
    let (code, reason) = match why {
        Closed::Exited(how) => (LEFT, how.into()),
        Closed::HolderGone => (4001, Utf8Bytes::from_static("session_ended")),
        Closed::TakenOver => (4002, Utf8Bytes::from_static("taken_over")),
        Closed::Locked => (4003, Utf8Bytes::from_static("locked")),
        Closed::Stopping => (1001, Utf8Bytes::from_static("server_stopping")),
        Closed::NotNow => (1013, Utf8Bytes::from_static("not_now")),
    };
    let frame = Message::Close(Some(CloseFrame { code, reason }));
    if sink.send(frame).await.is_err() {
        return;
    }
    while let Some(Ok(_ignored)) = source.next().await {}
}

/// How far the window is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// How much it has shown, once it has said that.
    shown: Option<u64>,
    /// Whether what it types waits for a program that does not read. That program may be waiting
    /// for its output to go: then nothing is held back.
    is_stuck: bool,
}

impl Progress {
    fn has_room(self, sent: u64) -> bool {
        let on_the_way = |shown: u64| sent.saturating_sub(shown);
        let is_full = |shown| on_the_way(shown) + LARGEST > MOST_UNSHOWN;
        self.is_stuck || !self.shown.is_some_and(is_full)
    }
}

/// How sending ended.
enum Outcome {
    Closed(Closed),
    Broken,
}

/// The shell's good-bye; that of a shell that has ended by itself waits until all is shown.
struct Closing {
    closed: oneshot::Receiver<Closed>,
    exited: Option<String>,
}

impl Closing {
    /// Waits for a good-bye that lets nothing wait.
    async fn at_once(&mut self) -> Outcome {
        if self.exited.is_none() {
            match (&mut self.closed).await {
                Ok(Closed::Exited(how)) => self.exited = Some(how),
                Ok(why) => return Outcome::Closed(why),
                Err(_shell_is_gone) => return Outcome::Closed(Closed::NotNow),
            }
        }
        std::future::pending().await
    }

    /// Waits for any.
    async fn last(mut self) -> Outcome {
        if let Some(how) = self.exited.take() {
            return Outcome::Closed(Closed::Exited(how));
        }
        Outcome::Closed(self.closed.await.unwrap_or(Closed::NotNow))
    }
}

/// From the shell to the window.
struct Outgoing<'a> {
    sink: &'a mut Sink,
    output: mpsc::Receiver<String>,
    closed: Closing,
    seen: watch::Receiver<Progress>,
    /// Pings of the page that wait for their answer.
    owed: mpsc::Receiver<()>,
    sent: u64,
}

impl Outgoing<'_> {
    async fn run(mut self) -> Outcome {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        loop {
            let has_room = self.seen.borrow_and_update().has_room(self.sent);
            let may_send = has_room || self.closed.exited.is_some();
            let message = tokio::select! {
                biased;
                outcome = self.closed.at_once() => return outcome,
                Some(()) = self.owed.recv() => Message::Text(Utf8Bytes::from_static(PONG)),
                _ = pings.tick() => Message::Ping(axum::body::Bytes::new()),
                Ok(()) = self.seen.changed(), if !may_send => continue,
                text = self.output.recv(), if may_send => {
                    let Some(text) = text else {
                        return self.closed.last().await;
                    };
                    self.sent += text.len() as u64;
                    Message::Text(text.into())
                }
            };
            let sent = tokio::select! {
                biased;
                outcome = self.closed.at_once() => return outcome,
                sent = self.sink.send(message) => sent,
            };
            if sent.is_err() {
                return Outcome::Broken;
            }
        }
    }
}

/// From the window to the shell.
struct Incoming<'a> {
    source: &'a mut Source,
    typist: &'a Typist,
    progress: watch::Sender<Progress>,
    owe: mpsc::Sender<()>,
}

impl Incoming<'_> {
    async fn run(self, mut on_keys: impl FnMut()) {
        while let Ok(Some(Ok(message))) = timeout(DEAD_AFTER, self.source.next()).await {
            let keys = match message {
                Message::Text(text) => match Frame::of(&text) {
                    Frame::Keys => Vec::from(text.as_bytes()),
                    word
                    @ (Frame::Resize(_) | Frame::Ping | Frame::Shown(_) | Frame::Malformed) => {
                        self.obey(word);
                        continue;
                    }
                },
                Message::Binary(bytes) => Vec::from(bytes),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(frame) => {
                    if frame.is_some_and(|frame| frame.code == LEFT) {
                        self.typist.leave();
                    }
                    return;
                }
            };
            if !keys.is_empty() {
                on_keys();
                self.type_in(keys).await;
            }
        }
    }

    fn obey(&self, word: Frame) {
        match word {
            Frame::Resize(size) => self.typist.resize(size),
            Frame::Ping => {
                let _enough_are_owed = self.owe.try_send(());
            }
            Frame::Shown(bytes) => self.progress.send_modify(|progress| {
                progress.shown = progress.shown.max(Some(bytes));
            }),
            Frame::Keys | Frame::Malformed => {}
        }
    }

    async fn type_in(&self, keys: Vec<u8>) {
        let Err(keys) = self.typist.try_type(keys) else {
            return;
        };
        self.progress
            .send_modify(|progress| progress.is_stuck = true);
        self.typist.type_in(keys).await;
        self.progress
            .send_modify(|progress| progress.is_stuck = false);
    }
}
