//! `claim-code`: the code that proves somebody from outside to be root here.

use std::io;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::ui;
use crate::access::rights::Door;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct ClaimCode {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ClaimCode {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        anyhow::ensure!(
            desk.store.read()?.door() != Door::Protected,
            "a password is set, so there is no claim code; `proxmenux-monitor reset-password` clears it"
        );
        let code = match desk.claim_code() {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::bail!("there is no claim code yet: the server makes one when it starts")
            }
            Err(error) => return Err(error).context("the claim code cannot be read"),
        };
        if self.json {
            return ui::json(&json!({ "claim_code": code }));
        }
        ui::line(&code);
        Ok(())
    }
}
