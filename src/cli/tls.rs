//! `tls`: what certificate is served, chosen on the host.
//!
//! Whoever is root here need not try a certificate first: it is served at once, and a running
//! server sees it within a second.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::ui::{self, WrongUsage};
use crate::access::acme::{Plan, Wish};
use crate::access::audit::Event;
use crate::access::certificates::{CertificateInfo, Verdict};
use crate::access::rfc3339;
use crate::access::tls_setting::{PairFiles, Source};
use crate::acme::{OrderError, Step};
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
    /// Get a certificate from an authority and serve it; without a name the same one anew
    Acme(Acme),
    /// Serve plain HTTP again; ends a trial too
    Off,
}

#[derive(Args, Debug)]
struct Acme {
    /// Host names that lead to this host
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Where the authority may write to
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// How the authority looks: http-01 (port 80) or tls-alpn-01 (port 443)
    #[arg(long, value_name = "KIND")]
    challenge: Option<String>,
    /// The authority's directory [default: Let's Encrypt]
    #[arg(long, value_name = "URL")]
    directory: Option<String>,
    /// A private authority's root certificates, as PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Agree to the authority's terms without being asked
    #[arg(long)]
    agree_terms: bool,
}

impl Acme {
    /// Returns what is to be ordered: what was typed, or what was ordered before.
    fn plan(self, known: Option<Plan>) -> anyhow::Result<Plan> {
        if self.names.is_empty() {
            return known.context("no certificate was ordered before: name the host names");
        }
        let ca_path = self.ca.map(std::path::absolute).transpose()?;
        let wish = Wish {
            names: self.names,
            email: self.email,
            directory: self.directory,
            ca_path: ca_path.map(|path| path.display().to_string()),
            challenge: self.challenge,
            agree_terms: true,
        };
        let plan = Plan::new(wish).map_err(|error| WrongUsage(error.to_string()))?;
        let question = format!("Do you agree to the terms of {}?", plan.directory);
        if !self.agree_terms {
            ui::ask(&question, "--agree-terms")?;
        }
        Ok(plan)
    }

    /// Orders a certificate; the running server answers the authority meanwhile.
    fn run(self, desk: &Desk, tls: &Tls) -> anyhow::Result<()> {
        let acme = desk.acme();
        let plan = self.plan(acme.known_plan())?;
        let port = plan.challenge.port();
        let permit = acme.begin(plan, &tls.served().setting)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let ordered = runtime.block_on(acme.order(permit, &Desk::actor(), |step| {
            ui::note(match step {
                Step::Account => "asking the authority…",
                Step::Order => "ordering…",
                Step::Challenge => "the authority looks whether the names lead here…",
                Step::Certificate => "the authority signs…",
            });
        }));
        match ordered {
            Ok(pair) => serve(desk, tls, pair),
            Err(error @ OrderError::NotHere { .. }) => anyhow::bail!(
                "{}\nThe name must lead to this host, port {port} of it to the running Monitor, by a port forward or a proxy. Nothing was changed.",
                error.sentence()
            ),
            Err(error) => anyhow::bail!("{} Nothing was changed.", error.sentence()),
        }
    }
}

impl TlsCommand {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        let tls = desk.tls();
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
            Action::Acme(wanted) => wanted.run(desk, &tls),
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
            "HTTPS is off. `tls use-proxmox`, `tls use CERT KEY`, `tls acme NAME` or `tls self-signed` turns it on.",
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
    if served.setting.is_over(now) {
        ui::line("It was on trial, and nobody confirmed it: the server goes back at once.");
    } else if let Some(trial) = trial {
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
    let decided = tls.decide(pair, &desk.certificate_names());
    let seen = decided.map_err(|refused| {
        let reason = refused.reason();
        desk.tell(&Event::TlsRefused { source, reason });
        explain(refused)
    })?;
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

/// Says all that is wrong with a pair.
fn explain(refused: ChangeError) -> anyhow::Error {
    let ChangeError::Rejected(seen) = refused else {
        return refused.into();
    };
    let checks = seen.checks.iter();
    let failed = checks.filter(|check| check.result == Verdict::Failed);
    let sentences = Vec::from_iter(failed.map(|check| check.message.as_str())).join(" ");
    anyhow::anyhow!("{sentences} Nothing was changed.")
}

fn off(desk: &Desk, tls: &Tls) -> anyhow::Result<()> {
    anyhow::ensure!(tls.is_on(), "HTTPS is off already; nothing was changed");
    tls.decide_off(&desk.certificate_names())?;
    desk.tell(&Event::TlsTurnedOff);
    ui::line("HTTPS is off. The page is at http:// again.");
    Ok(())
}
