//! What the page asks first: how far this host is, and what this caller is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::AdmittedCaller;
use super::visit::Visit;
use crate::access::passwords::{self, PolicyRules};
use crate::access::rfc3339;
use crate::access::rights::Door;
use crate::access::setup::requires_code;
use crate::app::App;
use crate::store::State as Stored;

/// The answer to the page's first question.
#[derive(Debug, Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the fields that old clients read"
)]
pub(super) struct StatusAnswer {
    success: bool,
    /// A password protects the dashboard.
    auth_enabled: bool,
    /// One of the two was chosen: a password, or to go without.
    auth_configured: bool,
    /// The same.
    configured: bool,
    /// The owner chose to go without.
    declined: bool,
    /// The token that came with the request counts.
    authenticated: bool,
    /// Two-factor is on; false for strangers.
    totp_enabled: bool,
    /// The account; null for strangers.
    username: Option<String>,
    /// The rules for a new password.
    #[schema(value_type = Object)]
    password_policy: PolicyRules,
    /// From here, under this name, set-up needs the claim code.
    setup_requires_code: bool,
    /// The state cannot be trusted: nobody is let in until it is repaired on the host.
    locked: bool,
    /// The server's time.
    #[schema(format = DateTime)]
    server_time: String,
    /// The program's version.
    version: &'static str,
    /// What the owner should know: `audit_log_unwritable`, `state_unsaved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<&'static str>>,
    /// How many backup codes are left; for a session with two-factor on.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_left: Option<usize>,
    /// How many passkeys there are; for a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkeys: Option<usize>,
    /// Whether the session proved a second factor in the last ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_fresh: Option<bool>,
    /// After how many idle minutes a session ends; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_minutes: Option<i64>,
}

/// Says how far this host is. A locked state says so, and looks like one with a password.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    caller: AdmittedCaller,
) -> Json<StatusAnswer> {
    let state = app.store.state();
    let access = match &*state {
        Stored::Ready(access) => Some(access),
        Stored::Locked(_) => None,
    };
    let door = access.map_or(Door::Protected, |access| access.door());
    let trusted = access.filter(|_| caller.is_authenticated());
    let account = trusted.and_then(|access| access.account());
    let person = trusted.zip(caller.session());
    let settings = &visit.live.settings;
    let needs_code =
        requires_code(settings.setup, visit.client.is_private()) || !visit.host_allowed;
    Json(StatusAnswer {
        success: true,
        auth_enabled: door == Door::Protected,
        auth_configured: door != Door::NotConfigured,
        configured: door != Door::NotConfigured,
        declined: door == Door::Open,
        authenticated: caller.is_authenticated(),
        totp_enabled: trusted.is_some_and(|access| access.second_factor().is_some()),
        username: account.map(|account| account.username.to_owned()),
        password_policy: passwords::POLICY,
        setup_requires_code: door != Door::Protected && needs_code,
        locked: access.is_none(),
        server_time: rfc3339(app.clock.now()),
        version: env!("CARGO_PKG_VERSION"),
        warnings: trusted.map(|_| warnings(&app)),
        backup_codes_left: person
            .filter(|(access, _)| access.second_factor().is_some())
            .map(|(access, _)| access.backup_codes_left()),
        passkeys: person.map(|(access, _)| access.passkeys().len()),
        second_factor_fresh: person
            .map(|(access, session)| access.proved_lately(&session.id, app.clock.now())),
        idle_minutes: trusted.map(|_| settings.idle.map_or(0, |idle| idle.as_mins())),
    })
}

fn warnings(app: &App) -> Vec<&'static str> {
    let audit = app.audit.is_failing().then_some("audit_log_unwritable");
    let state = app.store.is_unsaved().then_some("state_unsaved");
    audit.into_iter().chain(state).collect()
}
