//! What a client sees when something about HTTPS is refused.

use axum::http::StatusCode;

use super::super::error::Error;
use crate::access::acme::PlanError;
use crate::access::certificates::{Check, Examination};
use crate::acme::BeginError;
use crate::tls::ChangeError;

/// Why a call about HTTPS came to nothing.
#[derive(Debug)]
pub(in crate::http) enum TlsFault {
    /// The certificate or its key failed a check.
    Rejected(Box<Examination>),
    /// Another certificate is being tried.
    TrialRuns,
    /// No certificate is being tried.
    NoTrial,
    /// A confirmation counts only over HTTPS.
    NotOverTls,
    /// A path is missing.
    PathMissing(&'static str),
    /// There is no such source.
    UnknownSource,
    /// This host has no certificate of Proxmox.
    NoProxmox,
    /// No authority has given a certificate.
    NoAcme,
    /// What is wanted of an authority cannot be asked for.
    Plan(PlanError),
    /// Another certificate is being ordered.
    OrderRuns,
    /// Plain HTTP asks for what is there over HTTPS.
    HttpsRequired(Way),
}

/// How a request came over plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Way {
    /// Directly, or through a proxy that is trusted.
    Direct,
    /// Through a proxy whose word is not taken.
    UntrustedProxy,
}

impl TlsFault {
    /// Returns the status and the code.
    pub(in crate::http) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Rejected(_) => (StatusCode::BAD_REQUEST, "tls_pair_rejected"),
            Self::TrialRuns => (StatusCode::CONFLICT, "trial_running"),
            Self::NoTrial => (StatusCode::CONFLICT, "no_trial"),
            Self::NotOverTls => (StatusCode::BAD_REQUEST, "not_over_tls"),
            Self::PathMissing(_) => (StatusCode::BAD_REQUEST, "path_missing"),
            Self::UnknownSource => (StatusCode::BAD_REQUEST, "invalid_source"),
            Self::NoProxmox => (StatusCode::BAD_REQUEST, "no_proxmox_certificate"),
            Self::NoAcme => (StatusCode::BAD_REQUEST, "no_acme_certificate"),
            Self::Plan(error) => (StatusCode::BAD_REQUEST, plan_fault(error).0),
            Self::OrderRuns => (StatusCode::CONFLICT, "order_running"),
            Self::HttpsRequired(_) => (StatusCode::UPGRADE_REQUIRED, "https_required"),
        }
    }

    /// Returns the field at fault.
    pub(in crate::http) fn field(&self) -> Option<&'static str> {
        match self {
            Self::PathMissing(field) => Some(field),
            Self::UnknownSource | Self::NoProxmox | Self::NoAcme => Some("source"),
            Self::Plan(error) => Some(plan_fault(error).1),
            Self::Rejected(_)
            | Self::OrderRuns
            | Self::TrialRuns
            | Self::NoTrial
            | Self::NotOverTls
            | Self::HttpsRequired(_) => None,
        }
    }

    /// Takes the points that were looked at.
    pub(in crate::http) fn into_checks(self) -> Vec<Check> {
        if let Self::Rejected(seen) = self {
            seen.checks
        } else {
            Vec::new()
        }
    }

    /// Returns the short text.
    pub(in crate::http) fn short(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "Certificate rejected",
            Self::TrialRuns => "A trial is running",
            Self::NoTrial => "No trial is running",
            Self::NotOverTls => "Not over HTTPS",
            Self::PathMissing(_)
            | Self::UnknownSource
            | Self::NoProxmox
            | Self::NoAcme
            | Self::Plan(_) => "Invalid request",
            Self::OrderRuns => "An order is running",
            Self::HttpsRequired(_) => "HTTPS required",
        }
    }

    /// Returns a sentence for people that says what to do.
    pub(in crate::http) fn sentence(&self) -> String {
        match self {
            Self::Rejected(seen) => seen.failure().unwrap_or_default().to_owned(),
            Self::TrialRuns => "A certificate is being tried already. Keep it or take it back first.".to_owned(),
            Self::NoTrial => "No certificate is being tried: it was confirmed already, or taken back.".to_owned(),
            Self::NotOverTls => "Open this page over HTTPS, without a proxy, and confirm there: that shows that it can be reached.".to_owned(),
            Self::PathMissing(field) => format!("Name the file in the field `{field}`, from / on."),
            Self::UnknownSource => "Choose one of the sources proxmox, custom, self_signed and acme.".to_owned(),
            Self::NoAcme => "No authority has given a certificate yet. Order one first: POST /api/ssl/acme.".to_owned(),
            Self::Plan(error) => error.to_string(),
            Self::OrderRuns => "A certificate is being ordered already. Wait until that has ended.".to_owned(),
            Self::NoProxmox => "This host has no certificate of Proxmox. Name files, or let the Monitor make one.".to_owned(),
            Self::HttpsRequired(Way::Direct) => "This dashboard is reached by https:// now. Use that in the address.".to_owned(),
            Self::HttpsRequired(Way::UntrustedProxy) => "A proxy that is not trusted says that it encrypts. Trust it on the Security page, or let it connect by https://.".to_owned(),
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Rejected(seen) => TlsFault::Rejected(seen).into(),
            ChangeError::TrialRuns(_) => TlsFault::TrialRuns.into(),
            ChangeError::NoTrial(_) => TlsFault::NoTrial.into(),
            ChangeError::Store(error) => error.into(),
            ChangeError::Sign(error) => Self::Internal(error.into()),
        }
    }
}

impl From<TlsFault> for Error {
    fn from(fault: TlsFault) -> Self {
        Self::Tls(Box::new(fault))
    }
}

/// Returns the code of a wish that cannot be asked for, and the field at fault.
fn plan_fault(error: &PlanError) -> (&'static str, &'static str) {
    match error {
        PlanError::NamesMissing => ("names_missing", "names"),
        PlanError::TooManyNames
        | PlanError::NoName(_)
        | PlanError::Wildcard(_)
        | PlanError::Address(_)
        | PlanError::PrivateName(_) => ("invalid_name", "names"),
        PlanError::Email => ("invalid_email", "email"),
        PlanError::Directory => ("invalid_directory", "directory"),
        PlanError::CaPath => ("invalid_ca_path", "ca_path"),
        PlanError::Challenge => ("invalid_challenge", "challenge"),
        PlanError::Terms => ("terms_not_agreed", "agree_terms"),
    }
}

impl From<BeginError> for Error {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Runs => TlsFault::OrderRuns.into(),
            BeginError::Io(error) => Self::Internal(error.into()),
        }
    }
}
