//! A terminal of the monitor, opened as the page opens one: a ticket, then a WebSocket.

use std::path::Path;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::load::{Connection, Request};
use crate::server::Server;
use crate::terminal::Terminal;

/// How much the page shows before it says so. From then on a certain amount is on its way at most.
const ACKNOWLEDGED: u64 = 64 * 1024;

/// A window with a script in it.
pub(crate) struct Window {
    socket: WebSocketStream<TcpStream>,
    received: Utf8Bytes,
    shown: u64,
    acknowledged: u64,
}

impl Window {
    /// Opens a window for who has this token, and has a script take the place of its shell.
    pub(crate) async fn open(server: &Server, token: &str, script: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open(server.address).await?;
        let bearer = format!("Authorization: Bearer {token}");
        let ask = Request::post("/api/terminal/ticket", &bearer, &json!({}));
        let answer = connection.fetch(&ask).await?;
        let ticket = answer.get("ticket").and_then(serde_json::Value::as_str);
        let ticket = ticket.context("no ticket")?;
        let address = server.address;
        let place = format!("ws://{address}/ws/terminal?ticket={ticket}&cols=100&rows=30");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(place, stream).await?;
        let mut window = Self {
            socket,
            received: Utf8Bytes::default(),
            shown: 0,
            acknowledged: 0,
        };
        let line = format!("exec /bin/sh {}\r", script.display());
        window.type_in(&line).await?;
        Ok(window)
    }
}

impl Terminal for Window {
    async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(keys)).await?)
    }

    async fn read(&mut self) -> anyhow::Result<&[u8]> {
        loop {
            match self.socket.next().await.context("the window closed")?? {
                Message::Text(text) => {
                    self.received = text;
                    break;
                }
                Message::Close(frame) => bail!("the window was closed: {frame:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        self.shown += self.received.len() as u64;
        if self.shown - self.acknowledged >= ACKNOWLEDGED {
            self.acknowledged = self.shown;
            let shown = format!(r#"{{"type":"ack","bytes":{}}}"#, self.shown);
            self.socket.send(Message::text(shown)).await?;
        }
        Ok(self.received.as_bytes())
    }
}
