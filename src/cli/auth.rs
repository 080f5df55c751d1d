//! `auth`: what protects the dashboard, and the two ways to change that from the host.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::ui::{self, Consent};
use crate::access::Access;
use crate::access::audit::Event;
use crate::access::rights::Door;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct Auth {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show what the state is
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take back "continue without protection", so that the page asks again
    Enable,
    /// Turn protection off: back to the first-launch question; API tokens stay valid
    Disable(Consent),
}

#[derive(Serialize)]
struct Status {
    state: Door,
    username: Option<String>,
    two_factor: bool,
    backup_codes_left: usize,
    sessions: usize,
    api_tokens: usize,
    revoked_tokens: usize,
    file: String,
}

impl Auth {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self.action {
            Action::Status { json } => status(desk, json),
            Action::Enable => {
                desk.store.update_now(Access::take_back_decline)??;
                desk.tell(&Event::DeclineTakenBack);
                ui::line(
                    "The dashboard asks for a first password again. `proxmenux-monitor claim-code` lets someone from outside set it up.",
                );
                Ok(())
            }
            Action::Disable(consent) => {
                anyhow::ensure!(
                    desk.store.read()?.door() != Door::NotConfigured,
                    "nothing is configured, so there is nothing to turn off"
                );
                consent.obtain("Turn protection off? All sessions end, and the page asks the first-launch question again.")?;
                desk.put_aside()?;
                let ended = desk.store.update_now(|access| {
                    Ok::<_, std::convert::Infallible>(access.clear_login().len())
                })?;
                desk.tell(&Event::TurnedOff);
                let Ok(ended) = ended;
                ui::line(&format!(
                    "Protection is off, {} ended. API tokens stay valid.",
                    ui::count(ended, "session")
                ));
                Ok(())
            }
        }
    }
}

fn status(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let access = desk.store.read()?;
    let status = Status {
        state: access.door(),
        username: access.account().map(|account| account.username.to_owned()),
        two_factor: access.second_factor().is_some(),
        backup_codes_left: access.backup_codes_left(),
        sessions: access.sessions().len(),
        api_tokens: access.api_tokens().len(),
        revoked_tokens: access.revocations().len(),
        file: desk.paths.auth_json.display().to_string(),
    };
    if json {
        return ui::json(&status);
    }
    ui::line(match status.state {
        Door::Protected => "Protected by a password.",
        Door::Open => "Open: the owner chose to continue without protection.",
        Door::NotConfigured => "Not configured: the page asks the first-launch question.",
    });
    if let Some(username) = &status.username {
        ui::line(&format!("User name:    {username}"));
        ui::line(&format!(
            "Two-factor:   {}",
            if status.two_factor {
                format!("on, {} backup codes left", status.backup_codes_left)
            } else {
                "off".to_owned()
            }
        ));
        ui::line(&format!("Sessions:     {}", status.sessions));
    }
    ui::line(&format!(
        "API tokens:   {} ({} revoked)",
        status.api_tokens, status.revoked_tokens
    ));
    ui::line(&format!("State:        {}", status.file));
    Ok(())
}
