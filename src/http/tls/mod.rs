//! HTTPS: shown, checked, tried, confirmed, turned off.

mod acme;
mod fault;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use acme::{OrderBody, answer_challenge, order};
pub(super) use fault::{TlsFault, Way};

use self::acme::ShownAcme;
use super::error::Error;
use super::extract::{Json, NoFields};
use super::guard::AdmittedCaller;
use super::sessions::tell;
use super::setup::Done;
use super::system::measure;
use super::visit::Visit;
use crate::access::address::Transport;
use crate::access::audit::Event;
use crate::access::certificates::{CertificateInfo, Check};
use crate::access::rfc3339;
use crate::access::rights::Caller;
use crate::access::tls_setting::{PairFiles, Source, Trial};
use crate::app::App;
use crate::store::is_there;
use crate::tls::{Served, Serving, proxmox_pair};

/// How HTTPS is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TlsAnswer {
    success: bool,
    /// Whether connections are encrypted here.
    ssl_enabled: bool,
    /// What is being tried, and ends unless it is confirmed.
    trial: Option<ShownTrial>,
    #[serde(flatten)]
    details: Option<Details>,
}

/// A trial.
#[derive(Debug, Serialize, ToSchema)]
struct ShownTrial {
    /// When it ends.
    #[schema(format = DateTime)]
    ends_at: String,
    /// Where the certificate that is tried comes from.
    #[schema(value_type = String)]
    source: Option<Source>,
    /// What it ends in: `http` or `https`.
    reverts_to: &'static str,
}

/// What strangers are not told.
#[derive(Debug, Serialize, ToSchema)]
struct Details {
    /// Where the certificate comes from: `proxmox`, `custom`, `self_signed`, `acme` or `none`.
    source: &'static str,
    /// The certificate's file.
    cert_path: Option<String>,
    /// The key's file.
    key_path: Option<String>,
    /// Whether this host has a certificate of Proxmox.
    proxmox_available: bool,
    /// Its file.
    proxmox_cert: Option<String>,
    /// Its key's file.
    proxmox_key: Option<String>,
    /// What the certificate says that is served.
    cert_info: Option<ShownCertificate>,
    /// Which pair is served: `configured`, `last_good` or `emergency`; null for none.
    serving: Option<&'static str>,
    /// The certificate from an authority: ordered, or there.
    acme: Option<ShownAcme>,
    /// What is wrong with the files of the setting.
    problem: Option<String>,
    /// Whether this request came over a connection that is encrypted here.
    over_tls: bool,
    /// Whether browsers are told to come back by HTTPS only.
    hsts: bool,
}

/// What a certificate says.
#[derive(Debug, Serialize, ToSchema)]
struct ShownCertificate {
    subject: String,
    issuer: String,
    #[schema(format = DateTime)]
    not_before: String,
    #[schema(format = DateTime)]
    expires: String,
    is_self_signed: bool,
    /// The host names and addresses that it is for.
    names: Vec<String>,
    /// Whole days until it ends; negative once it has.
    days_left: i64,
    /// `RSA 2048`, `EC P-256`, `Ed25519`.
    key_kind: String,
    /// Its SHA-256, as browsers show it.
    fingerprint_sha256: String,
}

/// A pair that could be served.
#[derive(Deserialize, ToSchema)]
pub(super) struct PairBody {
    /// Where it comes from: `proxmox`, `custom`, `self_signed` or `acme`.
    source: Option<String>,
    /// The certificate's file, with its chain; for `custom`.
    cert_path: Option<String>,
    /// The key's file; for `custom`.
    key_path: Option<String>,
}

/// The body of a call of the old program that takes no fields, and minds none.
#[derive(Deserialize)]
pub(super) struct Anything {}

/// The verdict on a pair.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VerdictAnswer {
    success: bool,
    message: String,
    /// Each point that was looked at.
    #[schema(value_type = Vec<Object>)]
    checks: Vec<Check>,
    cert_info: Option<ShownCertificate>,
}

/// A trial has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TriedAnswer {
    success: bool,
    message: &'static str,
    /// Always false: nothing restarts.
    restarting: bool,
    new_protocol: &'static str,
    /// When it is taken back unless it is confirmed.
    #[schema(format = DateTime)]
    trial_ends_at: String,
    #[schema(value_type = Vec<Object>)]
    checks: Vec<Check>,
}

/// HTTPS is off, or as it was before the trial.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OffAnswer {
    success: bool,
    message: &'static str,
    new_protocol: &'static str,
}

/// Says how HTTPS is; to strangers only what they need while a trial runs.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
) -> Result<axum::Json<TlsAnswer>, Error> {
    let served = app.tls.served();
    let is_stranger = matches!(caller.0, Caller::Anyone);
    let (proxmox, acme) = measure(&app, |app| (proxmox_pair(), acme::shown(app))).await?;
    let now = app.clock.now();
    let pair = served.setting.pair.as_ref();
    let certificate = |pair: &PairFiles| pair.cert_path.display().to_string();
    let key = |pair: &PairFiles| pair.key_path.display().to_string();
    let details = (!is_stranger).then(|| Details {
        source: pair.map_or("none", |pair| pair.source.name()),
        cert_path: pair.map(certificate),
        key_path: pair.map(key),
        proxmox_available: proxmox.is_some(),
        proxmox_cert: proxmox.as_ref().map(certificate),
        proxmox_key: proxmox.as_ref().map(key),
        cert_info: served.info.as_ref().map(|info| shown(info, now)),
        serving: match served.serving {
            Serving::Nothing => None,
            Serving::Configured => Some("configured"),
            Serving::LastGood => Some("last_good"),
            Serving::Emergency => Some("emergency"),
        },
        acme,
        problem: served.problem.clone(),
        over_tls: visit.transport == Transport::Tls,
        hsts: visit.live.settings.hsts && app.tls.may_insist(),
    });
    Ok(axum::Json(TlsAnswer {
        success: true,
        ssl_enabled: app.tls.is_on(),
        trial: app.tls.trial().map(|trial| shown_trial(&served, &trial)),
        details,
    }))
}

fn shown_trial(served: &Served, trial: &Trial) -> ShownTrial {
    ShownTrial {
        ends_at: rfc3339(trial.ends_at),
        source: served.setting.pair.as_ref().map(|pair| pair.source),
        reverts_to: protocol(trial.before.as_ref()),
    }
}

fn protocol(pair: Option<&PairFiles>) -> &'static str {
    if pair.is_some() { "https" } else { "http" }
}

fn shown(info: &CertificateInfo, now: jiff::Timestamp) -> ShownCertificate {
    ShownCertificate {
        subject: info.subject.clone(),
        issuer: info.issuer.clone(),
        not_before: rfc3339(info.not_before),
        expires: rfc3339(info.expires),
        is_self_signed: info.is_self_signed,
        names: info.names.clone(),
        days_left: info.days_left(now),
        key_kind: info.key_kind.clone(),
        fingerprint_sha256: info.fingerprint.clone(),
    }
}

/// Looks at a pair and changes nothing.
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<PairBody>,
) -> Result<axum::Json<VerdictAnswer>, Error> {
    let pair = wanted(&app, body)?;
    if pair.source == Source::SelfSigned {
        return Ok(axum::Json(VerdictAnswer {
            success: true,
            message: "The Monitor makes the certificate when HTTPS is turned on.".to_owned(),
            checks: Vec::new(),
            cert_info: None,
        }));
    }
    let seen = measure(&app, move |app| {
        app.tls.examine(&pair, &visit.live.certificate_names)
    });
    let seen = seen.await?;
    let failure = seen.failure().map(str::to_owned);
    let now = app.clock.now();
    Ok(axum::Json(VerdictAnswer {
        success: failure.is_none(),
        message: failure.unwrap_or_else(|| "This certificate can be served.".to_owned()),
        cert_info: seen.info.as_ref().map(|info| shown(info, now)),
        checks: seen.checks,
    }))
}

/// Serves a pair at once, on trial.
pub(super) async fn configure(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<PairBody>,
) -> Result<axum::Json<TriedAnswer>, Error> {
    let pair = wanted(&app, body)?;
    let source = pair.source.name();
    let live = Arc::clone(&visit.live);
    let tried = measure(&app, move |app| {
        let length = live.settings.tls_trial.get();
        app.tls.try_pair(pair, &live.certificate_names, length)
    });
    let (seen, trial) = tried.await?.inspect_err(|refused| {
        let reason = refused.reason();
        tell(&app, &visit, &Event::TlsRefused { source, reason });
    })?;
    tell(&app, &visit, &Event::TlsTried { source });
    Ok(axum::Json(TriedAnswer {
        success: true,
        message: "HTTPS is on, on trial. Open the page over HTTPS and confirm; otherwise it is taken back by itself.",
        restarting: false,
        new_protocol: "https",
        trial_ends_at: rfc3339(trial.ends_at),
        checks: seen.checks,
    }))
}

/// Keeps what is being tried, for who has reached it.
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(NoFields {}): Json<NoFields>,
) -> Result<axum::Json<Done>, Error> {
    if app.tls.trial().is_none() {
        return Err(TlsFault::NoTrial.into());
    }
    if visit.transport != Transport::Tls {
        return Err(TlsFault::NotOverTls.into());
    }
    let live = Arc::clone(&visit.live);
    let confirmed = measure(&app, move |app| app.tls.confirm(&live.certificate_names));
    confirmed.await??;
    let served = app.tls.served();
    let source = served
        .setting
        .pair
        .as_ref()
        .map_or("none", |pair| pair.source.name());
    tell(&app, &visit, &Event::TlsChanged { source });
    Ok(Done::saying("HTTPS stays on."))
}

/// Takes a trial back, or turns HTTPS off.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(Anything {}): Json<Anything>,
) -> Result<Response, Error> {
    let live = Arc::clone(&visit.live);
    let disabled = measure(&app, move |app| app.tls.turn_off(&live.certificate_names));
    disabled.await??;
    tell(&app, &visit, &Event::TlsTurnedOff);
    let is_on = app.tls.is_on();
    Ok(axum::Json(OffAnswer {
        success: true,
        message: if is_on {
            "The certificate from before the trial is served again."
        } else {
            "HTTPS is off."
        },
        new_protocol: if is_on { "https" } else { "http" },
    })
    .into_response())
}

/// Finds out which files somebody means.
fn wanted(app: &App, body: PairBody) -> Result<PairFiles, TlsFault> {
    let given = |path: Option<String>, field| {
        let path = path.filter(|path| !path.is_empty());
        path.ok_or(TlsFault::PathMissing(field))
    };
    match body.source.as_deref() {
        Some("proxmox") => proxmox_pair().ok_or(TlsFault::NoProxmox),
        Some("self_signed") => Ok(app.tls.files.self_signed()),
        Some("acme") => {
            let newest = app.acme.newest().filter(is_there);
            newest.ok_or(TlsFault::NoAcme)
        }
        Some("custom") | None => Ok(PairFiles::custom(
            &given(body.cert_path, "cert_path")?,
            &given(body.key_path, "key_path")?,
        )),
        Some(_other) => Err(TlsFault::UnknownSource),
    }
}
