//! `totp`: the way back in when the phone is lost.

use clap::{Args, Subcommand};

use super::ui::{self, Consent};
use crate::access::audit::Event;
use crate::access::totp::SecondFactorError;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct Totp {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Turn two-factor off: the password alone signs in again. Every session ends
    Disable {
        #[command(flatten)]
        consent: Consent,
    },
}

impl Totp {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self.action {
            Action::Disable { consent } => disable(desk, consent),
        }
    }
}

fn disable(desk: &Desk, consent: Consent) -> anyhow::Result<()> {
    let is_on = desk.store.read()?.second_factor().is_some();
    anyhow::ensure!(is_on, "two-factor is off already; nothing was changed");
    consent.obtain("Turn two-factor off? Every session ends; the password stays.")?;
    let ended = desk
        .store
        .update_now(crate::access::Access::disable_totp_from_host)?;
    let ended = match ended {
        Ok(ended) => ended.len(),
        Err(SecondFactorError::Off) => 0,
        Err(error) => return Err(error.into()),
    };
    desk.tell(&Event::TwoFactorDisabled { ended });
    ui::line(&format!(
        "Two-factor is off and {} ended. Sign in with the password alone, then enrol the new phone.",
        ui::count(ended, "session")
    ));
    Ok(())
}
