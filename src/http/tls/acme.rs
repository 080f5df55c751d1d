//! Certificates from an authority: ordered, shown, and answered for.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::error::Error;
use super::super::extract::Json;
use super::super::sessions::user;
use super::super::setup::Done;
use super::super::visit::Visit;
use super::{ShownCertificate, TlsFault, shown as shown_certificate};
use crate::access::acme::{Plan, Wish, renews_at};
use crate::access::rfc3339;
use crate::acme::Progress;
use crate::app::App;

/// What certificate somebody wants, and from whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OrderBody {
    /// The host names.
    #[serde(default)]
    names: Vec<String>,
    /// Where the authority may write to.
    email: Option<String>,
    /// `http-01`, unless something else is given, or `tls-alpn-01`.
    challenge: Option<String>,
    /// The authority's directory; Let's Encrypt unless another one is given.
    directory: Option<String>,
    /// The file of a private authority's root certificates.
    ca_path: Option<String>,
    /// Whether the owner agrees to the authority's terms; without that there is no certificate.
    #[serde(default)]
    agree_terms: bool,
}

impl From<OrderBody> for Wish {
    fn from(body: OrderBody) -> Self {
        Self {
            names: body.names,
            email: body.email,
            directory: body.directory,
            ca_path: body.ca_path,
            challenge: body.challenge,
            agree_terms: body.agree_terms,
        }
    }
}

/// What is known of certificates from an authority.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownAcme {
    /// The host names that were ordered last.
    names: Vec<String>,
    email: Option<String>,
    /// The authority's directory.
    directory: String,
    /// How it finds out that the names lead here: `http-01` or `tls-alpn-01`.
    challenge: &'static str,
    /// The file of its root certificates.
    ca_path: Option<String>,
    /// The last order since the server started.
    order: Option<ShownOrder>,
    /// The certificate that is there, whether it is served or not.
    certificate: Option<ShownCertificate>,
    /// When it is ordered anew.
    #[schema(format = DateTime)]
    renews_at: Option<String>,
    /// When a failed renewal is tried again.
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    /// Why it failed, in a sentence.
    problem: Option<String>,
}

/// An order.
#[derive(Debug, Serialize, ToSchema)]
struct ShownOrder {
    /// `running`, `done` or `failed`.
    state: &'static str,
    /// The last step that began: `account`, `order`, `challenge` or `certificate`.
    step: &'static str,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why it failed, in a sentence.
    problem: Option<String>,
}

impl From<&Progress> for ShownOrder {
    fn from(progress: &Progress) -> Self {
        Self {
            state: match (progress.ended_at, &progress.problem) {
                (None, _) => "running",
                (Some(_), None) => "done",
                (Some(_), Some(_)) => "failed",
            },
            step: progress.step.name(),
            started_at: rfc3339(progress.started_at),
            ended_at: progress.ended_at.map(rfc3339),
            problem: progress.problem.clone(),
        }
    }
}

/// Begins to order a certificate; how that goes is shown by the status.
pub(in crate::http) async fn order(
    State(app): State<Arc<App>>,
    visit: Visit,
    Json(body): Json<OrderBody>,
) -> Result<Response, Error> {
    let plan = Plan::new(body.into()).map_err(TlsFault::Plan)?;
    let permit = app.acme.begin(plan, &app.tls.served().setting)?;
    let actor = visit.actor(user(&app).as_deref());
    tokio::spawn(async move {
        // Whatever comes of it is shown by the status and written to the audit log.
        let _told = app.acme.order(permit, &actor, |_step| {}).await;
    });
    let begun = Done::saying("The certificate is being ordered. The status says how that goes.");
    Ok((StatusCode::ACCEPTED, begun).into_response())
}

/// Answers an authority that asks whether a name leads here (RFC 8555 §8.3).
pub(in crate::http) async fn answer_challenge(
    State(app): State<Arc<App>>,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let Ok(Path(token)) = token else {
        return Err(Error::NotFound);
    };
    let answers = app.acme.answers().ok_or(Error::NotFound)?;
    let answer = answers.over_http(&token).ok_or(Error::NotFound)?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, answer.to_owned()).into_response())
}

/// Collects what is known of certificates from an authority; none if none was ever asked for.
pub(super) fn shown(app: &App) -> Option<ShownAcme> {
    let progress = app.acme.progress();
    let memory = app.acme.memory();
    let unreadable = memory.as_ref().err().map(|error| {
        format!("What is known of the authority cannot be read, so nothing is renewed: {error}.")
    });
    let memory = memory.unwrap_or_default();
    let newest = memory.certificates.last();
    let plan = match (&progress, newest) {
        (Some(progress), _) => progress.plan.clone(),
        (None, Some(newest)) => newest.plan.clone(),
        (None, None) if unreadable.is_some() => Plan::default(),
        (None, None) => return None,
    };
    let now = app.clock.now();
    let seen = newest.and_then(|newest| app.tls.examine(&newest.pair(), &[]).info);
    // What fails is told of the certificate that is served, if one of an authority is.
    let served = app.tls.served();
    let served = served.setting.pair.as_ref();
    let served = served.and_then(|pair| memory.of(&pair.cert_path));
    let trouble = served.or(newest).and_then(|known| known.trouble.as_ref());
    Some(ShownAcme {
        names: plan.names.iter().map(ToString::to_string).collect(),
        email: plan.email,
        directory: plan.directory,
        challenge: plan.challenge.name(),
        ca_path: plan.ca_path.map(|path| path.display().to_string()),
        order: progress.as_ref().map(ShownOrder::from),
        renews_at: seen.as_ref().map(|info| rfc3339(renews_at(info))),
        certificate: seen.as_ref().map(|info| shown_certificate(info, now)),
        next_try_at: trouble.map(|trouble| rfc3339(trouble.next_try())),
        problem: unreadable.or_else(|| trouble.map(|trouble| trouble.problem.clone())),
    })
}
