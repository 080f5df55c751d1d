//! `session`: where the account is signed in, and how to end that.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::ui::{self, WrongUsage};
use crate::access::audit::Event;
use crate::access::rfc3339;
use crate::access::sessions::{Factor, Session, device_name};
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct SessionCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the live sessions
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End one session, or all
    End {
        /// The id, as `session list` shows it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// End every session
        #[arg(long)]
        all: bool,
    },
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    device: String,
    address: String,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
    factors: &'a [Factor],
}

impl SessionCommand {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self.action {
            Action::List { json } => list(desk, json),
            Action::End { id: Some(id), .. } => end(desk, move |session| session.id == id, true),
            Action::End {
                id: None,
                all: true,
            } => end(desk, |_every| true, false),
            Action::End {
                id: None,
                all: false,
            } => Err(WrongUsage("name a session, or say --all".to_owned()).into()),
        }
    }
}

fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let access = desk.store.read()?;
    let now = desk.clock.now();
    let live = access
        .sessions()
        .iter()
        .filter(|session| now < session.expires_at);
    let listed = Vec::from_iter(live.map(|session| Listed {
        id: &session.id,
        device: device_name(&session.user_agent),
        address: session.last_address.to_string(),
        created_at: rfc3339(session.created_at),
        last_seen_at: rfc3339(session.last_seen_at),
        expires_at: rfc3339(session.expires_at),
        factors: &session.factors,
    }));
    if json {
        return ui::json(&listed);
    }
    if listed.is_empty() {
        ui::line("Nobody is signed in.");
        return Ok(());
    }
    let rows = Vec::from_iter(listed.into_iter().map(|session| {
        vec![
            session.id.to_owned(),
            session.device,
            session.address,
            session.created_at,
            session.last_seen_at,
        ]
    }));
    ui::table(
        &["ID", "DEVICE", "ADDRESS", "SIGNED IN", "LAST SEEN"],
        &rows,
    );
    Ok(())
}

fn end(
    desk: &Desk,
    ends: impl Fn(&Session) -> bool + Send + 'static,
    must_exist: bool,
) -> anyhow::Result<()> {
    let ended = desk
        .store
        .update_now(move |access| Ok::<_, std::convert::Infallible>(access.end_sessions(&ends)))?;
    let Ok(ended) = ended;
    anyhow::ensure!(
        !(must_exist && ended.is_empty()),
        "there is no such session; `proxmenux-monitor session list` shows which there are"
    );
    for session in &ended {
        desk.tell(&Event::SessionEnded {
            session: session.id.clone(),
        });
    }
    ui::line(&format!("{} ended.", ui::count(ended.len(), "session")));
    Ok(())
}
