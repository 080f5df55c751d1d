//! `tls`: what certificate is served, chosen on the host.
//!
//! Whoever is root here need not try a certificate first: it is served at once, and a running
//! server sees it within a second.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::ui;
use crate::access::audit::Event;
use crate::access::certificates::{CertificateInfo, Verdict};
use crate::access::rfc3339;
use crate::access::tls_setting::{PairFiles, Source};
use crate::app::Desk;
use crate::tls::{ChangeError, Served, Tls, proxmox_pair};

#[derive(Args, Debug)]
pub(super) struct TlsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Say what is served
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve the certificate of this Proxmox host
    UseProxmox,
    /// Serve a certificate of one's own
    Use {
        /// The certificate, with its chain, as PEM
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        /// Its key, as PEM without a passphrase
        #[arg(value_name = "KEY")]
        key: PathBuf,
    },
    /// Serve a certificate that the Monitor makes and renews itself
    SelfSigned,
    /// Serve plain HTTP again; ends a trial too
    Off,
}

impl TlsCommand {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        let tls = desk.tls()?;
        match self.action {
            Action::Status { json } => {
                status(&tls.served(), desk, json)?;
                Ok(())
            }
            Action::UseProxmox => {
                let pair = proxmox_pair().context(
                    "this host has no certificate of Proxmox; `tls use CERT KEY` takes files, `tls self-signed` makes one",
                )?;
                serve(desk, &tls, pair)
            }
            Action::Use { certificate, key } => {
                let absolute = |path: PathBuf| {
                    std::path::absolute(&path).with_context(|| path.display().to_string())
                };
                let pair = PairFiles {
                    source: Source::Custom,
                    cert_path: absolute(certificate)?,
                    key_path: absolute(key)?,
                };
                serve(desk, &tls, pair)
            }
            Action::SelfSigned => serve(desk, &tls, tls.files.self_signed()),
            Action::Off => off(desk, &tls),
        }
    }
}

fn status(served: &Served, desk: &Desk, json: bool) -> anyhow::Result<()> {
    let now = desk.clock.now();
    let pair = served.setting.pair.as_ref();
    let source = pair.map_or("none", |pair| pair.source.name());
    let trial = served.setting.trial.as_ref();
    if json {
        return ui::json(&json!({
            "ssl_enabled": pair.is_some(),
            "source": source,
            "cert_path": pair.map(|pair| &pair.cert_path),
            "key_path": pair.map(|pair| &pair.key_path),
            "trial_ends_at": trial.map(|trial| rfc3339(trial.ends_at)),
            "names": served.info.as_ref().map(|info| &info.names),
            "expires": served.info.as_ref().map(|info| rfc3339(info.expires)),
            "days_left": served.info.as_ref().map(|info| info.days_left(now)),
            "fingerprint_sha256": served.info.as_ref().map(|info| &info.fingerprint),
            "problem": served.problem,
        }));
    }
    match pair {
        None => ui::line(
            "HTTPS is off. `tls use-proxmox`, `tls use CERT KEY` or `tls self-signed` turns it on.",
        ),
        Some(pair) => {
            ui::line(&format!(
                "HTTPS is on: {} ({source})",
                pair.cert_path.display()
            ));
            if let Some(info) = &served.info {
                describe(info, desk);
            }
        }
    }
    if let Some(trial) = trial {
        ui::line(&format!(
            "On trial until {}, unless the page confirms it; `tls off` ends it in plain HTTP.",
            rfc3339(trial.ends_at)
        ));
    }
    if let Some(problem) = &served.problem {
        ui::line(&format!("Not as it should be: {problem}"));
    }
    Ok(())
}

fn describe(info: &CertificateInfo, desk: &Desk) {
    ui::line(&format!("for {}, {}", info.names.join(", "), info.key_kind));
    ui::line(&format!(
        "until {}, {} left",
        rfc3339(info.expires),
        ui::count(
            usize::try_from(info.days_left(desk.clock.now())).unwrap_or_default(),
            "day"
        ),
    ));
    ui::line(&format!("SHA-256 {}", info.fingerprint));
}

fn serve(desk: &Desk, tls: &Tls, pair: PairFiles) -> anyhow::Result<()> {
    let source = pair.source.name();
    let seen = match tls.decide(pair, &desk.certificate_names()) {
        Ok(seen) => seen,
        Err(ChangeError::Rejected(seen)) => {
            let failed = seen
                .checks
                .iter()
                .filter(|check| check.result == Verdict::Failed);
            let failed = Vec::from_iter(failed.map(|check| check.message.clone()));
            anyhow::bail!("{} Nothing was changed.", failed.join(" "));
        }
        Err(error) => return Err(error.into()),
    };
    desk.tell(&Event::TlsChanged { source });
    for check in seen
        .checks
        .iter()
        .filter(|check| check.result == Verdict::Warning)
    {
        ui::note(&format!("note: {}", check.message));
    }
    ui::line("HTTPS is on. Open the page by https:// from now on; `tls off` goes back.");
    if let Some(info) = &seen.info {
        describe(info, desk);
    }
    Ok(())
}

fn off(desk: &Desk, tls: &Tls) -> anyhow::Result<()> {
    anyhow::ensure!(tls.is_on(), "HTTPS is off already; nothing was changed");
    tls.decide_off(&desk.certificate_names())?;
    desk.tell(&Event::TlsTurnedOff);
    ui::line("HTTPS is off. The page is at http:// again.");
    Ok(())
}
