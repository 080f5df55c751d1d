//! `restore`: puts a good copy of the state back.

use std::path::PathBuf;

use clap::Args;

use super::ui::{self, Consent};
use crate::access::audit::Event;
use crate::access::rfc3339;
use crate::app::{CopyState, Desk};

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// Only list the copies
    #[arg(long)]
    list: bool,
    /// Print JSON, with --list
    #[arg(long, requires = "list")]
    json: bool,
    /// The copy to put back; without it the newest good one
    #[arg(conflicts_with = "list")]
    copy: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
}

impl Restore {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        if self.list {
            return list(desk, self.json);
        }
        // A state that cannot be read has nothing to lose; one that can is asked for.
        if desk.paths.auth_json.exists() && desk.store.read().is_ok() {
            self.consent
                .obtain("The state is good as it is. Put a copy in its place all the same?")?;
        }
        let (source, previous) = desk.restore(self.copy.as_deref())?;
        desk.tell(&Event::StateRestored);
        ui::line(&format!(
            "{} is back in place. A running server opens within two seconds.",
            source.display()
        ));
        if let Some(previous) = previous {
            ui::line(&format!("What was in its place: {}", previous.display()));
        }
        Ok(())
    }
}

fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let copies = desk.copies();
    if json {
        return ui::json(&copies);
    }
    if copies.is_empty() {
        ui::line(&format!(
            "There is no copy of {}.",
            desk.paths.auth_json.display()
        ));
        return Ok(());
    }
    let rows = Vec::from_iter(copies.into_iter().map(|copy| {
        let state = match copy.state {
            CopyState::Good {
                username: Some(name),
                api_tokens,
            } => {
                format!("good: `{name}`, {api_tokens} API tokens")
            }
            CopyState::Good {
                username: None,
                api_tokens,
            } => {
                format!("good: no password, {api_tokens} API tokens")
            }
            CopyState::Damaged { problem } => format!("damaged: {problem}"),
        };
        vec![
            rfc3339(copy.written_at),
            copy.path.display().to_string(),
            state,
        ]
    }));
    ui::table(&["WRITTEN", "COPY", "STATE"], &rows);
    Ok(())
}
