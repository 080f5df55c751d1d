//! The guard on each route: reads the bearer token, asks the rules, and leaves the caller behind.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::visit::Visit;
use crate::access::audit::Event;
use crate::access::digest::Digest;
use crate::access::jwt::{Claims, SigningSecret};
use crate::access::rights::{Caller, Credential, Refusal, Right, decide};
use crate::access::sessions::{SessionIdentity, SessionRefusal};
use crate::access::tokens::TokenIdentity;
use crate::access::{Access, Use, Used};
use crate::app::App;
use crate::store::State as Stored;
use crate::token_memory::TokenRefused;

/// A page sends this with what it asks by itself, so that a page left open is idle all the same.
const BACKGROUND: &str = "x-monitor-background";

/// What a guard needs to decide.
#[derive(Clone)]
pub(super) struct Guard {
    /// The program.
    pub(super) app: Arc<App>,
    /// What the route asks for.
    pub(super) right: Right,
}

/// Lets a request through to its handler, or answers for it.
pub(super) async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(visit) = request.extensions().get::<Visit>().cloned() else {
        return Error::from(anyhow::anyhow!("a guard stands before the first layer"))
            .into_response();
    };
    let admitted = admit(&guard.app, guard.right, &visit, request.headers());
    match admitted {
        Err(error) if is_open_for_now(&guard, &error) => {
            request.extensions_mut().insert(Admitted(Caller::Anyone));
            next.run(request).await
        }
        Ok(caller) => {
            // Where anyone may come in, the log has the name that was given.
            let is_public = matches!(guard.right, Right::Public | Right::Setup);
            if let (Caller::Token(token), false) = (&caller, is_public)
                && let Some(visit) = request.extensions_mut().get_mut::<Visit>()
            {
                visit.token = Some(token.shown_user());
            }
            request.extensions_mut().insert(Admitted(caller));
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Whether something goes on for which anyone may ask: a trial of a certificate, or an order of
/// one, which a locked state does not stop.
fn is_open_for_now(guard: &Guard, refused: &Error) -> bool {
    match (guard.right, refused) {
        (Right::Trial, Error::Refused(_)) => guard.app.tls.trial().is_some(),
        (Right::Challenge, _) => guard.app.acme.answers().is_some(),
        (_, _) => false,
    }
}

/// Decides whether a request with these headers may use what asks for `right`.
pub(super) fn admit(
    app: &App,
    right: Right,
    visit: &Visit,
    headers: &HeaderMap,
) -> Result<Caller, Error> {
    let state = app.store.state();
    let access = match &*state {
        Stored::Ready(access) => access,
        Stored::Locked(_) if right == Right::Public => return Ok(Caller::Anyone),
        Stored::Locked(lock) => return Err(visit.locked(lock.clone())),
    };
    let token = match bearer_of(headers) {
        Ok(token) => token,
        Err(credential) => return Ok(decide(access.door(), right, credential, visit.visitor())?),
    };
    let hash = Digest::of(token.as_bytes());
    let credential = worth(app, access, visit, (token, hash));
    match decide(access.door(), right, credential, visit.visitor()) {
        Ok(caller) => {
            let is_page = matches!(caller, Caller::Session(_));
            if !(is_page && headers.contains_key(BACKGROUND)) {
                note_use(app, access, visit, (&caller, hash));
            }
            Ok(caller)
        }
        Err(refusal) => {
            if refusal == Refusal::InsufficientScope {
                tell_refusal(app, visit, &hash, "insufficient_scope");
            }
            Err(refusal.into())
        }
    }
}

/// Returns the token of the one `Authorization` header, or what its absence is worth.
fn bearer_of(headers: &HeaderMap) -> Result<&str, Credential> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or(Credential::Missing)?;
    let token = line.to_str().ok().and_then(bearer);
    match (token, lines.next()) {
        (Some(token), None) => Ok(token),
        (Some(_) | None, _) => Err(Credential::Malformed),
    }
}

/// Says what a token is worth.
fn worth(app: &App, access: &Access, visit: &Visit, (token, hash): (&str, Digest)) -> Credential {
    let Some(secret) = access.signing_secret() else {
        return Credential::Invalid;
    };
    let Ok(claims) = app.tokens.verify(token, &hash, secret) else {
        if access.api_tokens().find(&hash).is_some() {
            tell_refusal(app, visit, &hash, "secret_changed");
        }
        return Credential::Invalid;
    };
    let now = app.clock.now();
    let address = visit.client.matched_address();
    let outcome = access.credential(&hash, &claims, address, now);
    let outcome = outcome.and_then(|credential| match &credential {
        Credential::Session(session) if app.is_idle(&session.id, access, &visit.live, now) => {
            Err(SessionRefusal::Idle.into())
        }
        Credential::Session(_)
        | Credential::Token(_)
        | Credential::Missing
        | Credential::Malformed
        | Credential::Invalid => Ok(credential),
    });
    match outcome {
        Ok(credential) => credential,
        Err(refusal) => {
            tell_refusal(app, visit, &hash, refusal.name());
            Credential::Invalid
        }
    }
}

/// Returns what is known of the token in these headers, if we signed it. Whether it still counts is
/// another question.
pub(super) fn presented(
    app: &App,
    access: &Access,
    headers: &HeaderMap,
) -> Option<(Digest, Arc<Claims>, SigningSecret)> {
    let token = bearer_of(headers).ok()?;
    let secret = access.signing_secret()?;
    let hash = Digest::of(token.as_bytes());
    let claims = app.tokens.verify(token, &hash, secret).ok()?;
    Some((hash, claims, secret.clone()))
}

/// Returns the token of `Bearer <token>`: the scheme in any case, exactly two parts.
fn bearer(line: &str) -> Option<&str> {
    let (scheme, token) = line.split_once(' ')?;
    let has_space = token.bytes().any(|byte| matches!(byte, b' ' | b'\t'));
    let is_token = !token.is_empty() && !has_space;
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

fn note_use(app: &App, access: &Access, visit: &Visit, (caller, hash): (&Caller, Digest)) {
    let (what, scope) = match caller {
        Caller::Session(session) => (Used::Session(session.id.clone()), None),
        Caller::Token(token) => {
            let listed = access.api_tokens().find(&hash);
            let is_first = listed.is_some_and(|listed| listed.last_used_at.is_none())
                && app.store.last_use(&Used::Token(hash)).is_none();
            if is_first {
                let event = Event::TokenFirstUsed {
                    token: token.id.clone(),
                };
                app.audit
                    .write(&event, &visit.actor(Some(&token.shown_user())));
            }
            (Used::Token(hash), Some(token.scope))
        }
        Caller::Anyone | Caller::OpenMode => return,
    };
    app.store.note_use(Use {
        what,
        at: app.clock.now(),
        from: visit.client.address,
        scope,
    });
}

/// Remembers that a token of ours was refused, and writes it down: once in ten minutes for each,
/// since a sensor with a revoked token asks every few seconds.
fn tell_refusal(app: &App, visit: &Visit, hash: &Digest, reason: &'static str) {
    let (at, from) = (app.clock.now(), visit.client.address);
    app.tokens
        .note_refusal(hash, TokenRefused { at, from, reason });
    if app.tokens.is_told(hash, at) {
        return;
    }
    let event = Event::TokenRefused {
        token: hash.short(),
        reason: reason.to_owned(),
    };
    app.audit.write(&event, &visit.actor(None));
}

/// Who was let in, left behind by the guard.
#[derive(Clone, Debug)]
struct Admitted(Caller);

impl<S: Sync> FromRequestParts<S> for AdmittedCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        match parts.extensions.get::<Admitted>() {
            Some(Admitted(caller)) => Ok(Self(caller.clone())),
            None => Err(anyhow::anyhow!("a handler stands before its guard").into()),
        }
    }
}

/// Who was let in.
#[derive(Clone, Debug)]
pub(super) struct AdmittedCaller(pub(super) Caller);

impl AdmittedCaller {
    /// Returns the session, if it is a person who signed in.
    pub(super) fn session(&self) -> Option<&SessionIdentity> {
        match &self.0 {
            Caller::Session(session) => Some(session),
            Caller::Anyone | Caller::OpenMode | Caller::Token(_) => None,
        }
    }

    /// Returns the token, if it is a program.
    pub(super) fn token(&self) -> Option<&TokenIdentity> {
        match &self.0 {
            Caller::Token(token) => Some(token),
            Caller::Anyone | Caller::OpenMode | Caller::Session(_) => None,
        }
    }

    /// Returns whether anything but openness let the caller in.
    pub(super) fn is_authenticated(&self) -> bool {
        self.session().is_some() || self.token().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_one_form() {
        for (line, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer  abc", None),
            ("Bearer a b", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(line), token, "{line:?}");
        }
    }
}
