//! Changing the password, and turning protection off: both confirmed with what signs in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::confirm::{Demand, Presented, change as change_confirmed, confirm, missing};
use super::cookies::Cookie;
use super::error::Error;
use super::extract::Json;
use super::guard::AdmittedCaller;
use super::login::SessionAnswer;
use super::passkeys::PresentedPasskey;
use super::proof::{refused_late, to_the_end};
use super::sessions::{hand_over, user};
use super::setup::{Done, check_policy};
use super::visit::Presenter;
use crate::access::audit::{Event, Purpose};
use crate::access::passwords::Password;
use crate::access::sign_in::SignInError;
use crate::app::App;
use crate::derivations::Priority;

/// What changes the password.
#[derive(Deserialize, ToSchema)]
pub(super) struct ChangeBody {
    /// The current password; `current_password` is taken too.
    #[serde(alias = "current_password")]
    old_password: Option<String>,
    /// The new one.
    new_password: Option<String>,
    /// A code, if two-factor is on; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    totp_code: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
}

/// What confirms a change.
#[derive(Deserialize, ToSchema)]
pub(super) struct ConfirmBody {
    /// The current password.
    password: Option<String>,
    /// A code, if two-factor is on; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    totp_code: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
}

impl From<ConfirmBody> for Presented {
    fn from(body: ConfirmBody) -> Self {
        Self {
            password: body.password,
            code: body.totp_code,
            passkey: body.passkey,
        }
    }
}

/// Changes the password; every session ends, and the caller receives a fresh one.
pub(super) async fn change(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<ChangeBody>,
) -> Result<Response, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let user = user(&app).ok_or(Error::NotProtected)?;
        if body.old_password.is_none() && body.passkey.is_none() {
            return Err(missing("old_password"));
        }
        let new = Password::new(body.new_password.ok_or_else(|| missing("new_password"))?);
        check_policy(&app, &user, &new).map_err(|rules| Error::WeakPassword {
            field: "new_password",
            rules,
        })?;
        let offered = Presented {
            password: body.old_password,
            code: body.totp_code,
            passkey: body.passkey,
        };
        let demand = Demand::always(Purpose::ChangePassword).in_field("old_password");
        let confirmation = confirm(&app, &presenter, session, offered, demand).await?;
        let hash = app.derivations.hash(Priority::Known, new).await;
        let hash = hash.map_err(|_busy| Error::Busy)?;
        let hash = hash.map_err(|error| Error::Internal(error.into()))?;
        let (now, origin) = (app.clock.now(), presenter.origin());
        let changed = change_confirmed(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| {
                access.change_password(confirmation, hash.clone(), &origin, now)
            },
        );
        let (secrets, ended) = changed.await?.map_err(|error| match error {
            SignInError::Proof(refusal) => {
                refused_late(refusal, now).at_confirmation("old_password")
            }
            SignInError::Session(error) => Error::Internal(error.into()),
        })?;
        let event = Event::PasswordChanged { ended: ended.len() };
        app.audit.write(&event, &presenter.visit.actor(Some(&user)));
        let mut headers = HeaderMap::new();
        hand_over(&mut headers, &presenter, &secrets, None);
        let answer = SessionAnswer::new(&secrets.token, "The password is changed.");
        Ok((headers, axum::Json(answer)).into_response())
    })
    .await
}

/// Turns protection off: back to "not configured". API tokens go on.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<ConfirmBody>,
) -> Result<Response, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let demand = Demand::always(Purpose::TurnOff);
        let confirmation = confirm(&app, &presenter, session, body.into(), demand).await?;
        let now = app.clock.now();
        let user = confirmation.proved.username().to_owned();
        let off = change_confirmed(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.turn_off(confirmation, now),
        );
        off.await?
            .map_err(|refusal| refused_late(refusal, now).at_confirmation("password"))?;
        app.audit
            .write(&Event::TurnedOff, &presenter.visit.actor(Some(&user)));
        let mut headers = HeaderMap::new();
        Cookie::Resume.expire(&mut headers, &presenter.reach);
        Cookie::Device.expire(&mut headers, &presenter.reach);
        let done = Done::saying("Protection is off, and set-up comes first again.");
        Ok((headers, done).into_response())
    })
    .await
}
