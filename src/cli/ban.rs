//! `ban`: the penalties that failed sign-ins brought, and how to lift them.

use clap::{Args, Subcommand};

use super::ui::{self, WrongUsage};
use crate::access::audit::Event;
use crate::access::rfc3339;
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct Ban {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the penalties that are on
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Lift the penalties of an address, network, device, proxy or `account`, or all
    Lift {
        /// What `ban list` shows, or an address that is kept out
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        subject: Option<String>,
        /// Lift every penalty
        #[arg(long)]
        all: bool,
    },
}

impl Ban {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self.action {
            Action::List { json } => list(desk, json),
            Action::Lift { subject, all } if subject.is_some() || all => {
                lift(desk, subject.as_deref())
            }
            Action::Lift { .. } => Err(WrongUsage("name whose, or say --all".to_owned()).into()),
        }
    }
}

fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let penalties = desk.limits().penalties(desk.clock.now());
    if json {
        return ui::json(&penalties);
    }
    if penalties.is_empty() {
        ui::line("Nobody is kept out.");
        return Ok(());
    }
    let rows = Vec::from_iter(penalties.iter().map(|penalty| {
        vec![
            penalty.subject.to_string(),
            rfc3339(penalty.until),
            penalty.level.to_string(),
        ]
    }));
    ui::table(&["WHOM", "UNTIL", "LEVEL"], &rows);
    Ok(())
}

fn lift(desk: &Desk, subject: Option<&str>) -> anyhow::Result<()> {
    let lifted = desk.limits().lift(subject, desk.clock.now())?;
    anyhow::ensure!(
        lifted > 0 || subject.is_none(),
        "nothing keeps that out; `proxmenux-monitor ban list` shows who is kept out"
    );
    if lifted > 0 {
        desk.tell(&Event::PenaltyLifted {
            subject: subject.unwrap_or("all").to_owned(),
        });
    }
    ui::line(&format!("{} lifted.", ui::count(lifted, "penalty")));
    Ok(())
}
