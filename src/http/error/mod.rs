//! What a client sees when something is refused or fails: one status, one code, one sentence.
//!
//! Every failure is JSON with `success: false`, `error` (short), `message` (a sentence that says
//! what to do) and `code` (stable; what pages and scripts branch on). Causes are logged here, once,
//! and never sent.

mod sentences;

use std::net::IpAddr;

use axum::Json;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::passkeys::PasskeyFault;
use super::proxies::ProxyFault;
use super::terminal::TerminalFault;
use super::tls::TlsFault;
use crate::access::attempts::{SubjectKind, TooMany};
use crate::access::avatar::AvatarError;
use crate::access::certificates::Check;
use crate::access::label::ParseLabelError;
use crate::access::passwords::BrokenRule;
use crate::access::profile::{ParseDisplayNameError, ParseUserNameError};
use crate::access::rfc3339;
use crate::access::rights::Refusal;
use crate::access::setup::SetupRefusal;
use crate::store::{Lock, StoreError};

/// Everything that a request can end in but success.
#[derive(Debug)]
pub(super) enum Error {
    /// The rights of the caller do not reach.
    Refused(Refusal),
    /// A page of another site asked for a change.
    ForeignOrigin,
    /// The state cannot be trusted; its details are for private addresses.
    Locked(Lock, Details),
    /// An HTTP/1.1 request names no host, or more than one (RFC 9112 §3.2).
    BadHost,
    /// There is nothing under this path.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed(&'static str),
    /// The body is not what the call takes.
    Body(BodyError),
    /// The rule of set-up does not let this visitor.
    SetUp(SetupRefusal),
    /// A password exists already.
    AlreadyConfigured,
    /// Nothing was declined.
    NotDeclined,
    /// The new password breaks rules.
    WeakPassword {
        /// The field that holds it.
        field: &'static str,
        /// All rules that it breaks.
        rules: Vec<BrokenRule>,
    },
    /// The user name cannot be used.
    UserName(ParseUserNameError),
    /// The display name cannot be used.
    DisplayName(ParseDisplayNameError),
    /// The picture cannot be used.
    Avatar(AvatarError),
    /// There is no picture.
    NoAvatar,
    /// User name and password do not match.
    InvalidCredentials,
    /// The code of the second step is wrong.
    WrongCode {
        /// How far ahead the phone's clock is, where a nearby step matches.
        skew: Option<ClockSkew>,
    },
    /// The first code of an app is wrong.
    WrongFirstCode {
        /// How far ahead the phone's clock is, where a nearby step matches.
        skew: Option<ClockSkew>,
    },
    /// There is nothing to enrol: never begun, or begun too long ago.
    NoEnrolment,
    /// There is no second factor to change.
    TwoFactorOff,
    /// The code was used already.
    CodeAlreadyUsed {
        /// What was being proved.
        stage: Stage,
        /// Until the next code, for codes that change with time.
        retry_after: Option<SignedDuration>,
    },
    /// A code is needed to confirm.
    CodeRequired,
    /// The confirmation is wrong.
    Reauthentication {
        /// The field that holds what is wrong.
        field: &'static str,
        /// How far ahead the phone's clock is, where a nearby step matches.
        skew: Option<ClockSkew>,
    },
    /// There is no password to confirm with.
    NotProtected,
    /// Too many tries have failed.
    TooManyAttempts {
        /// What the limiter said.
        refusal: TooMany,
        /// The client's address.
        address: IpAddr,
    },
    /// Too many sign-ins are waiting.
    Busy,
    /// What somebody wants an API token to be cannot be.
    TokenWish(TokenWishError),
    /// There is no such API token.
    TokenNotFound,
    /// Something about passkeys.
    Passkey(PasskeyFault),
    /// Something about proxies.
    Proxy(ProxyFault),
    /// Something about HTTPS.
    Tls(Box<TlsFault>),
    /// Something about terminals.
    Terminal(TerminalFault),
    /// There is no such session.
    SessionNotFound,
    /// There is no session to resume.
    NoSession,
    /// The state was not changed.
    Storage(StoreError),
    /// Something else went wrong; the cause is logged.
    Internal(anyhow::Error),
}

/// Whether the caller may learn which file and line is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Details {
    /// A private address.
    Shown,
    /// Anyone else.
    Withheld,
}

/// What was being proved when a code was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Signing in.
    SignIn,
    /// Confirming a change within a session.
    Confirmation,
    /// Enrolling an authenticator app.
    Enrolment,
}

/// How wrong a phone's clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockSkew {
    /// How many seconds the phone is ahead; negative where it is behind.
    pub(super) seconds: i64,
    /// The server's time.
    pub(super) server_time: Timestamp,
}

/// Why an API token cannot be what somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenWishError {
    /// The name cannot be used.
    Name(ParseLabelError),
    /// There is no such scope.
    Scope,
    /// It lives 1 to 365 days.
    Expiry,
    /// Something in the list is no network, or there are too many.
    Network,
    /// Only full rights reach a terminal.
    Terminal,
    /// A replaced token goes on for 0 to 720 hours.
    Overlap,
    /// The old token does not count, or nobody knows how far it reaches.
    NotReplaceable,
}

impl From<TokenWishError> for Error {
    fn from(error: TokenWishError) -> Self {
        Self::TokenWish(error)
    }
}

impl TokenWishError {
    fn code(self) -> &'static str {
        match self {
            Self::Name(_) => "invalid_token_name",
            Self::Scope => "invalid_scope",
            Self::Expiry => "invalid_expiry",
            Self::Network => "invalid_network",
            Self::Terminal => "invalid_terminal",
            Self::Overlap => "invalid_overlap",
            Self::NotReplaceable => "token_not_valid",
        }
    }

    fn field(self) -> Option<&'static str> {
        match self {
            Self::Name(_) => Some("token_name"),
            Self::Scope => Some("scope"),
            Self::Expiry => Some("expires_in_days"),
            Self::Network => Some("allowed_networks"),
            Self::Terminal => Some("terminal"),
            Self::Overlap => Some("overlap_hours"),
            Self::NotReplaceable => None,
        }
    }
}

/// Why a body was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is not JSON, or a field is not of its kind.
    Malformed {
        /// The field, where one is at fault.
        field: Option<String>,
        /// A sentence for people.
        message: String,
    },
    /// Its content type is not one that the call takes.
    MediaType(&'static str),
    /// It is larger than the call takes.
    TooLarge,
    /// It did not arrive in time, or the connection broke.
    Incomplete,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked(lock) => Self::Locked(lock, Details::Withheld),
            StoreError::Full
            | StoreError::Gone
            | StoreError::Busy
            | StoreError::Failed(_)
            | StoreError::Stopping => Self::Storage(error),
        }
    }
}

/// The body of a failure.
#[derive(Debug, Default, Serialize)]
pub(super) struct Failure {
    success: bool,
    error: String,
    message: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<BrokenRule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_totp: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_skew_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        self.log(code);
        let challenge = self.challenge();
        let allow = self.allow();
        let upgrade =
            matches!(&self, Self::Tls(fault) if matches!(**fault, TlsFault::HttpsRequired(_)));
        let body = self.body(code);
        let retry_after = body.retry_after;
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(methods) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if upgrade {
            // RFC 9110 §15.5.22 asks for the protocol's name; RFC 2817 §4.2 has it.
            headers.insert(UPGRADE, HeaderValue::from_static("TLS/1.2, HTTP/1.1"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Error {
    /// Returns the status and the code by which programs tell failures apart.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Refused(refusal) => refused(*refusal),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::Locked(..) => (StatusCode::SERVICE_UNAVAILABLE, "locked"),
            Self::BadHost => (StatusCode::BAD_REQUEST, "bad_host"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Body(error) => body_error(error),
            Self::SetUp(SetupRefusal::HostRefused) => (StatusCode::FORBIDDEN, "host_refused"),
            Self::SetUp(SetupRefusal::CodeRequired) => {
                (StatusCode::FORBIDDEN, "claim_code_required")
            }
            Self::SetUp(SetupRefusal::CodeWrong) => (StatusCode::FORBIDDEN, "claim_code_wrong"),
            Self::AlreadyConfigured => (StatusCode::FORBIDDEN, "already_configured"),
            Self::NotDeclined => (StatusCode::BAD_REQUEST, "not_declined"),
            Self::WeakPassword { .. } => (StatusCode::BAD_REQUEST, "weak_password"),
            Self::UserName(_) => (StatusCode::BAD_REQUEST, "invalid_username"),
            Self::DisplayName(_) => (StatusCode::BAD_REQUEST, "invalid_display_name"),
            Self::Avatar(error) => avatar_error(error),
            Self::NoAvatar => (StatusCode::NOT_FOUND, "no_avatar"),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            Self::WrongCode { .. } => (StatusCode::UNAUTHORIZED, "wrong_code"),
            Self::CodeAlreadyUsed {
                stage: Stage::SignIn,
                ..
            } => (StatusCode::UNAUTHORIZED, "code_already_used"),
            Self::CodeAlreadyUsed {
                stage: Stage::Confirmation,
                ..
            } => (StatusCode::FORBIDDEN, "code_already_used"),
            Self::CodeAlreadyUsed {
                stage: Stage::Enrolment,
                ..
            } => (StatusCode::BAD_REQUEST, "code_already_used"),
            Self::WrongFirstCode { .. } => (StatusCode::BAD_REQUEST, "wrong_code"),
            Self::NoEnrolment => (StatusCode::BAD_REQUEST, "no_enrolment"),
            Self::TwoFactorOff => (StatusCode::BAD_REQUEST, "totp_not_enabled"),
            Self::CodeRequired => (StatusCode::FORBIDDEN, "code_required"),
            Self::Reauthentication { .. } => (StatusCode::FORBIDDEN, "reauthentication_failed"),
            Self::NotProtected => (StatusCode::BAD_REQUEST, "not_protected"),
            Self::TooManyAttempts { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Passkey(fault) => fault.kind(),
            Self::Tls(fault) => fault.kind(),
            Self::Proxy(fault) => fault.kind(),
            Self::Terminal(fault) => fault.kind(),
            Self::TokenWish(error) => (StatusCode::BAD_REQUEST, error.code()),
            Self::TokenNotFound => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
            Self::NoSession => (StatusCode::UNAUTHORIZED, "no_session"),
            Self::Storage(error) => storage_error(error),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Says what a client must do to be let in (RFC 6750 §3).
    fn challenge(&self) -> Option<&'static str> {
        let Self::Refused(refusal) = self else {
            return None;
        };
        match refusal {
            Refusal::InvalidToken => Some(r#"Bearer error="invalid_token""#),
            Refusal::InvalidHeader => Some(r#"Bearer error="invalid_request""#),
            Refusal::InsufficientScope => Some(r#"Bearer error="insufficient_scope""#),
            Refusal::AuthenticationRequired | Refusal::SetupRequired => Some("Bearer"),
            Refusal::PrivateOnly | Refusal::HostRefused => None,
        }
    }

    /// Returns the methods that the path takes, where that is the matter.
    fn allow(&self) -> Option<&'static str> {
        if let Self::MethodNotAllowed(methods) = self {
            Some(methods)
        } else {
            None
        }
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each kind of failure")]
    fn body(self, code: &'static str) -> Failure {
        let mut body = Failure {
            error: self.short().to_owned(),
            message: self.message(),
            code,
            ..Failure::default()
        };
        match self {
            Self::Body(BodyError::Malformed { field, .. }) => body.field = field,
            Self::WeakPassword { field, rules } => {
                body.field = Some(field.to_owned());
                body.rules = rules;
            }
            Self::UserName(_) => body.field = Some("username".to_owned()),
            Self::DisplayName(_) => body.field = Some("display_name".to_owned()),
            Self::Passkey(fault) => body.field = fault.field().map(str::to_owned),
            Self::Tls(fault) => body.refuse_tls(*fault),
            Self::Proxy(fault) => body.field = fault.field().map(str::to_owned),
            Self::TokenWish(error) => body.field = error.field().map(str::to_owned),
            Self::Terminal(fault) => body.requires_totp = fault.requires_totp(),
            Self::SetUp(SetupRefusal::CodeRequired | SetupRefusal::CodeWrong) => {
                body.field = Some("claim_code".to_owned());
            }
            Self::WrongCode { skew } => body.refuse_code(Stage::SignIn, skew),
            Self::WrongFirstCode { skew } => body.refuse_code(Stage::Enrolment, skew),
            Self::Reauthentication { field, skew } => {
                body.refuse_code(Stage::Confirmation, skew);
                body.field = Some(field.to_owned());
            }
            Self::CodeAlreadyUsed { stage, retry_after } => {
                body.refuse_code(stage, None);
                body.retry_after = retry_after.map(whole_seconds);
            }
            Self::CodeRequired => {
                body.refuse_code(Stage::Confirmation, None);
                body.requires_totp = Some(true);
            }
            Self::TooManyAttempts { refusal, address } => body.refuse_for_now(&refusal, address),
            Self::Busy | Self::Storage(StoreError::Busy) => body.retry_after = Some(2),
            Self::Locked(lock, Details::Shown) => body.tell_damage(lock),
            Self::Refused(_)
            | Self::ForeignOrigin
            | Self::Locked(_, Details::Withheld)
            | Self::BadHost
            | Self::NotFound
            | Self::MethodNotAllowed(_)
            | Self::Body(_)
            | Self::SetUp(SetupRefusal::HostRefused)
            | Self::AlreadyConfigured
            | Self::NotDeclined
            | Self::Avatar(_)
            | Self::NoAvatar
            | Self::InvalidCredentials
            | Self::NotProtected
            | Self::NoEnrolment
            | Self::TwoFactorOff
            | Self::SessionNotFound
            | Self::TokenNotFound
            | Self::NoSession
            | Self::Storage(_)
            | Self::Internal(_) => {}
        }
        body
    }

    /// Returns the short text; those of the token errors are fixed, since old clients compare them.
    fn short(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::AuthenticationRequired | Refusal::SetupRequired) => {
                "Authentication required"
            }
            Self::Refused(Refusal::InvalidHeader) => "Invalid authorization header",
            Self::Refused(Refusal::InvalidToken) => "Invalid or expired token",
            Self::Refused(Refusal::InsufficientScope) => "Insufficient scope",
            Self::Refused(Refusal::PrivateOnly | Refusal::HostRefused) | Self::SetUp(_) => {
                "Forbidden"
            }
            Self::ForeignOrigin => "Foreign origin",
            Self::Locked(..) => "Locked",
            Self::NotFound | Self::NoAvatar | Self::SessionNotFound | Self::TokenNotFound => {
                "Not found"
            }
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::Body(BodyError::MediaType(_)) => "Unsupported media type",
            Self::Body(BodyError::TooLarge) | Self::Avatar(AvatarError::TooLarge) => "Too large",
            Self::BadHost | Self::Body(BodyError::Malformed { .. } | BodyError::Incomplete) => {
                "Bad request"
            }
            Self::AlreadyConfigured => "Already configured",
            Self::NotDeclined => "Nothing was declined",
            Self::WeakPassword { .. } => "Password too weak",
            Self::UserName(_) => "Invalid username",
            Self::DisplayName(_) => "Invalid display name",
            Self::Avatar(_) => "Invalid image",
            Self::InvalidCredentials => "Invalid credentials",
            Self::WrongCode { .. } | Self::WrongFirstCode { .. } => "Invalid code",
            Self::NoEnrolment => "Nothing to enrol",
            Self::TwoFactorOff => "Two-factor is off",
            Self::CodeAlreadyUsed { .. } => "Code already used",
            Self::CodeRequired => "Code required",
            Self::Reauthentication { .. } => "Confirmation failed",
            Self::Passkey(fault) => fault.short(),
            Self::Tls(fault) => fault.short(),
            Self::Proxy(fault) => fault.short(),
            Self::Terminal(fault) => fault.short(),
            Self::TokenWish(_) => "Invalid request",
            Self::NotProtected => "No password is configured",
            Self::TooManyAttempts { .. } => "Too many attempts",
            Self::Busy => "Busy",
            Self::NoSession => "No session",
            Self::Storage(_) => "Not saved",
            Self::Internal(_) => "Internal error",
        }
    }

    /// Logs what the client is not told.
    fn log(&self, code: &str) {
        if let Self::Internal(cause) = self {
            tracing::error!(code, "request failed: {cause:#}");
        }
        if let Self::Storage(error) = self {
            tracing::error!(code, %error, "the state was not changed");
        }
    }
}

impl Failure {
    /// At sign-in the second step goes on; at a confirmation the code's field is at fault.
    fn refuse_code(&mut self, stage: Stage, skew: Option<ClockSkew>) {
        match stage {
            Stage::SignIn => self.requires_totp = Some(true),
            Stage::Confirmation => self.field = Some("totp_code".to_owned()),
            Stage::Enrolment => self.field = Some("token".to_owned()),
        }
        self.clock_skew_seconds = skew.map(|skew| skew.seconds);
        self.server_time = skew.map(|skew| rfc3339(skew.server_time));
    }

    fn refuse_for_now(&mut self, refusal: &TooMany, address: IpAddr) {
        self.retry_after = Some(whole_seconds(refusal.retry_after));
        self.until = refusal.until.map(rfc3339);
        self.address = Some(address.to_string());
        self.subject = Some(subject_name(refusal.subject));
    }

    fn refuse_tls(&mut self, fault: TlsFault) {
        self.field = fault.field().map(str::to_owned);
        self.checks = fault.into_checks();
    }

    fn tell_damage(&mut self, lock: Lock) {
        self.file = Some(lock.file.display().to_string());
        self.line = lock.line;
        self.problem = Some(lock.problem);
    }
}

fn refused(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::SetupRequired => (StatusCode::UNAUTHORIZED, "setup_required"),
        Refusal::AuthenticationRequired => (StatusCode::UNAUTHORIZED, "authentication_required"),
        Refusal::InvalidHeader => (StatusCode::UNAUTHORIZED, "invalid_authorization_header"),
        Refusal::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token"),
        Refusal::InsufficientScope => (StatusCode::FORBIDDEN, "insufficient_scope"),
        Refusal::PrivateOnly => (StatusCode::FORBIDDEN, "open_mode_private_only"),
        Refusal::HostRefused => (StatusCode::FORBIDDEN, "host_refused"),
    }
}

fn body_error(error: &BodyError) -> (StatusCode, &'static str) {
    match error {
        BodyError::Malformed { .. } => (StatusCode::BAD_REQUEST, "bad_body"),
        BodyError::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        BodyError::Incomplete => (StatusCode::REQUEST_TIMEOUT, "incomplete_body"),
    }
}

fn avatar_error(error: &AvatarError) -> (StatusCode, &'static str) {
    match error {
        AvatarError::Empty => (StatusCode::BAD_REQUEST, "avatar_empty"),
        AvatarError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "avatar_too_large"),
        AvatarError::UnknownType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "avatar_unsupported"),
        AvatarError::TypeMismatch { .. } => (StatusCode::BAD_REQUEST, "avatar_type_mismatch"),
        AvatarError::Dimensions { .. } | AvatarError::Decoded => {
            (StatusCode::BAD_REQUEST, "avatar_dimensions")
        }
        AvatarError::Damaged => (StatusCode::BAD_REQUEST, "avatar_damaged"),
    }
}

fn subject_name(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Device => "device",
        SubjectKind::Address => "address",
        SubjectKind::Proxy => "proxy",
        SubjectKind::Network48 => "network48",
        SubjectKind::Account => "account",
    }
}

fn storage_error(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::Full => (StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        StoreError::Gone | StoreError::Busy | StoreError::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, "storage_busy")
        }
        StoreError::Locked(_) => (StatusCode::SERVICE_UNAVAILABLE, "locked"),
        StoreError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "storage_failed"),
    }
}

/// Rounds a wait up to whole seconds, at least one.
fn whole_seconds(wait: SignedDuration) -> i64 {
    let more = i64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + more).max(1)
}
