//! `proxy`: a configuration for a reverse proxy, ready to paste.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::ui::{self, WrongUsage};
use crate::access::snippets::{Kind, Place, Snippet, snippet};
use crate::config::{ListenAddress, PORT};

#[derive(Args, Debug)]
pub(super) struct Proxy {
    /// Which proxy
    #[arg(value_enum)]
    kind: ProxyKind,
    /// Name under which the proxy answers
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Path under which it shows the dashboard, such as /monitor/
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Where the proxy reaches the server
    #[arg(long, value_name = "ADDR:PORT")]
    upstream: Option<ListenAddress>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProxyKind {
    /// Nginx
    Nginx,
    /// Caddy
    Caddy,
    /// Traefik, with a file of its dynamic configuration
    Traefik,
}

impl Proxy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let kind = match self.kind {
            ProxyKind::Nginx => Kind::Nginx,
            ProxyKind::Caddy => Kind::Caddy,
            ProxyKind::Traefik => Kind::Traefik,
        };
        let place = Place::parse(self.host.as_deref(), self.path.as_deref())
            .map_err(|error| WrongUsage(format!("--{}: {error}", error.field())))?;
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], PORT));
        let upstream = self.upstream.map_or(here, |ListenAddress(address)| address);
        let Snippet {
            file_name,
            text,
            notes,
        } = snippet(kind, &place, upstream);
        if self.json {
            return ui::json(&json!({
                "kind": kind.name(),
                "file_name": file_name,
                "snippet": text,
                "notes": notes,
            }));
        }
        ui::raw(text.as_bytes())?;
        for note in notes {
            ui::note(&format!("note: {note}"));
        }
        Ok(())
    }
}
