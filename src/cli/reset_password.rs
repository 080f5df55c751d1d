//! `reset-password`: the way back in for whoever is root.

use clap::Args;

use super::ui::{self, Consent};
use crate::access::audit::Event;
use crate::access::rights::Door;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct ResetPassword {
    #[command(flatten)]
    consent: Consent,
}

impl ResetPassword {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        let access = desk.store.read()?;
        let account = access.account().map(|account| account.username.to_owned());
        let question = match (&account, access.door()) {
            (Some(name), _) => format!("Clear the login of `{name}`? User name, password, two-factor, passkeys and {} go; API tokens stay valid.", access.sessions().len()),
            (None, Door::Open) => "No password is set: the owner chose to continue without protection. Ask the first-launch question again?".to_owned(),
            (None, Door::NotConfigured | Door::Protected) => "No password is set. Clear what is left of a login?".to_owned(),
        };
        self.consent.obtain(&question)?;
        let aside = match account {
            Some(_) => desk.put_aside()?,
            None => None,
        };
        let ended = desk
            .store
            .update_now(|access| Ok::<_, std::convert::Infallible>(access.clear_login().len()))?;
        let Ok(ended) = ended;
        desk.tell(&Event::LoginReset);
        ui::line(&format!(
            "The login is cleared, {} ended. API tokens stay valid.",
            ui::count(ended, "session")
        ));
        if let Some(aside) = aside {
            ui::line(&format!("A copy of what was there: {}", aside.display()));
        }
        ui::line(
            "Open the dashboard to set a new password. From outside the local network it asks for the code of `proxmenux-monitor claim-code`.",
        );
        Ok(())
    }
}
