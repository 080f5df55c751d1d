//! `import`: checks and takes over a state file of the Python program or of another host.

use std::path::PathBuf;

use clap::Args;

use super::ui::{self, Consent};
use crate::access::audit::Event;
use crate::access::rights::Door;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct Import {
    /// The auth.json to take over
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    consent: Consent,
}

impl Import {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        desk.examine(&self.file)?;
        let has_state = desk.store.read().is_ok_and(|access| {
            let has_tokens = !access.api_tokens().is_empty() || !access.revocations().is_empty();
            access.door() != Door::NotConfigured || has_tokens
        });
        if has_state {
            self.consent.obtain(
                "There is a state already. Put the imported one in its place? A copy is kept.",
            )?;
        }
        let imported = desk.import(&self.file)?;
        desk.tell(&Event::StateImported);
        if self.json {
            return ui::json(&imported);
        }
        ui::line(&format!("{} is taken over.", self.file.display()));
        match &imported.username {
            Some(name) => ui::line(&format!("Account:         {name}")),
            None => ui::line("Account:         none, so the page asks the first-launch question"),
        }
        if imported.weak_password_hash {
            ui::line(
                "Password hash:   of the old kind; it is replaced by a strong one at the next sign-in",
            );
        }
        if imported.second_factor {
            ui::line(&format!(
                "Two-factor:      on, {} backup codes left",
                imported.backup_codes_left
            ));
        }
        ui::line(&format!(
            "API tokens:      {} ({} revoked)",
            imported.api_tokens, imported.revoked_tokens
        ));
        if let Some(previous) = &imported.previous {
            ui::line(&format!("What was before: {}", previous.display()));
        }
        Ok(())
    }
}
