//! Passkeys: signing in with one, confirming with one, and looking after them.

mod fault;
mod proof;
mod shapes;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::confirm::{Demand, Presented, change, confirm};
use super::error::Error;
use super::extract::{Id, Json, NoFields};
use super::guard::AdmittedCaller;
use super::login::open_with_passkey;
use super::password::ConfirmBody;
use super::proof::{refused_late, to_the_end};
use super::sessions::tell;
use super::visit::{Presenter, Visit};
use crate::access::Access;
use crate::access::audit::{Event, Purpose};
use crate::access::hosts::page_origin;
use crate::access::label::Label;
use crate::access::passkeys::ceremony::{begin_assertion, begin_registration, finish_registration};
use crate::access::passkeys::{ChangePasskeyError, PasskeyError, RelyingParty, Unavailable};
use crate::access::rights::{Door, Refusal};
use crate::access::sessions::device_name;
use crate::app::App;
use crate::passkey_ceremonies::{Owner, Pending};

use proof::malformed;
use shapes::ListedPasskey;

pub(super) use fault::PasskeyFault;
pub(super) use proof::{Claim, PresentedPasskey, Proven, prove};
pub(super) use shapes::{
    CeremonyAnswer, MadeBody, PasskeyAnswer, PasskeysAnswer, RemovedAnswer, RenameBody,
};

/// The site that the page is of, if there can be passkeys.
pub(super) struct Here(Result<RelyingParty, Unavailable>);

impl<S: Sync> FromRequestParts<S> for Here {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let visit = Visit::from_request_parts(parts, state).await?;
        let authority = parts.uri.authority().map(ToString::to_string);
        let page = page_origin(&parts.headers, authority.as_deref(), &visit.client);
        Ok(Self(RelyingParty::of(page.as_ref())))
    }
}

impl Here {
    fn site(self) -> Result<RelyingParty, Error> {
        self.0.map_err(|why| PasskeyFault::from(why).into())
    }
}

/// Begins to sign in. Whether there are passkeys, and which, nobody learns.
pub(super) async fn login_start(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    here: Here,
    body: Result<Json<NoFields>, Error>,
) -> Result<Answer<CeremonyAnswer>, Error> {
    let access = presenter.visit.read(&app)?;
    must_be_protected(&access)?;
    let Json(NoFields {}) = body?;
    let owner = proof::source(&presenter, &access, app.clock.now());
    wait_for_proof(&app, &here.site()?, owner)
}

/// Without an account there is nobody to sign in.
fn must_be_protected(access: &Access) -> Result<(), Error> {
    match access.door() {
        Door::Protected => Ok(()),
        Door::NotConfigured => Err(Refusal::SetupRequired.into()),
        Door::Open => Err(Error::NotProtected),
    }
}

/// Opens a session for what a passkey answered.
pub(super) async fn login_finish(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    body: Result<Json<PresentedPasskey>, Error>,
) -> Result<Response, Error> {
    let access = presenter.visit.read(&app)?;
    must_be_protected(&access)?;
    let Json(shown) = body?;
    to_the_end(async move {
        let proven = prove(&app, &presenter, &shown, Claim::SignIn)?;
        let opened = open_with_passkey(&app, &presenter, proven).await?;
        opened.map_err(|_raced| Claim::SignIn.refused())
    })
    .await
}

/// Begins to confirm something in place of the password and the code.
pub(super) async fn confirm_start(
    State(app): State<Arc<App>>,
    caller: AdmittedCaller,
    here: Here,
    Json(NoFields {}): Json<NoFields>,
) -> Result<Answer<CeremonyAnswer>, Error> {
    let session = caller.session().ok_or(Error::NotProtected)?;
    wait_for_proof(&app, &here.site()?, Owner::session(&session.id))
}

fn wait_for_proof(
    app: &App,
    site: &RelyingParty,
    owner: Owner,
) -> Result<Answer<CeremonyAnswer>, Error> {
    let (options, pending) = begin_assertion(site).map_err(unprepared)?;
    wait(app, owner, Pending::Assertion(pending), options)
}

fn wait(
    app: &App,
    owner: Owner,
    pending: Pending,
    options: Value,
) -> Result<Answer<CeremonyAnswer>, Error> {
    let begun = app.passkeys.begin(owner, pending, app.clock.now());
    Ok(Answer(CeremonyAnswer {
        success: true,
        ceremony: begun.map_err(|error| Error::Internal(error.into()))?,
        options,
    }))
}

fn unprepared(error: PasskeyError) -> Error {
    Error::Internal(error.into())
}

/// Lists the passkeys, oldest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    here: Here,
) -> Result<Answer<PasskeysAnswer>, Error> {
    let access = visit.read(&app)?;
    let here = &here.0;
    let passkeys = access.passkeys().iter();
    Ok(Answer(PasskeysAnswer {
        success: true,
        passkeys: passkeys
            .map(|each| ListedPasskey::of(each, here.as_ref().ok()))
            .collect(),
        available_here: here.is_ok(),
        unavailable_reason: here.as_ref().err().map(|why| match why {
            Unavailable::Address => "address",
            Unavailable::NotHttps => "not_https",
        }),
    }))
}

/// Begins to make a passkey, once its person has confirmed that.
pub(super) async fn register_start(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    here: Here,
    Json(body): Json<ConfirmBody>,
) -> Result<Answer<CeremonyAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let site = here.site()?;
        let access = presenter.visit.read(&app)?;
        if !access.has_room_for_passkey() {
            return Err(PasskeyFault::TooMany.into());
        }
        let demand = Demand::unless_lately(Purpose::ChangePasskeys);
        let confirmation = confirm(&app, &presenter, session, body.into(), demand).await?;
        let now = app.clock.now();
        let allowed = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.allow_passkey(confirmation, now),
        );
        let registrant = allowed
            .await?
            .map_err(|refusal| refused_late(refusal, now).at_confirmation("password"))?;
        let (options, pending) = begin_registration(&site, &registrant).map_err(unprepared)?;
        let owner = Owner::session(&session.id);
        wait(&app, owner, Pending::Registration(pending), options)
    })
    .await
}

/// Takes the passkey that the browser made; other sessions end.
pub(super) async fn register_finish(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    here: Here,
    Json(body): Json<MadeBody>,
) -> Result<Answer<PasskeyAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let name = body.name.filter(|name| !name.trim().is_empty());
        let name = name.unwrap_or_else(|| device_name(&presenter.user_agent));
        let name = Label::parse(&name).map_err(PasskeyFault::Name)?;
        let now = app.clock.now();
        let owner = Owner::session(&session.id);
        let pending = app
            .passkeys
            .end_registration(&body.ceremony, &owner, now)
            .ok_or(PasskeyFault::CeremonyExpired)?;
        let made = finish_registration(&pending, &body.credential, name, now);
        let passkey = made.map_err(|error| {
            tracing::info!("a passkey was not taken: {error}");
            if error == PasskeyError::Malformed {
                return malformed("credential");
            }
            PasskeyFault::Rejected.into()
        })?;
        let (id, added) = (session.id.clone(), passkey.clone());
        let added = app
            .store
            .update(move |access| access.add_passkey(&id, added.clone()))
            .await?;
        let ended = added?.len();
        let event = Event::PasskeyAdded {
            passkey: passkey.id.clone(),
        };
        tell(&app, &presenter.visit, &event);
        Ok(Answer(PasskeyAnswer {
            success: true,
            message: "The passkey is added. Sign in with it once before you rely on it.",
            passkey: ListedPasskey::of(&passkey, here.0.as_ref().ok()),
            ended: Some(ended),
        }))
    })
    .await
}

/// Gives a passkey another name.
pub(super) async fn rename(
    State(app): State<Arc<App>>,
    caller: AdmittedCaller,
    (presenter, here, Id(id)): (Presenter, Here, Id),
    Json(body): Json<RenameBody>,
) -> Result<Answer<PasskeyAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let name = Label::parse(&body.name).map_err(PasskeyFault::Name)?;
        let sent = Presented {
            password: body.password,
            code: body.totp_code,
            passkey: body.passkey,
        };
        must_be_there(&app, &presenter, &id)?;
        let demand = Demand::unless_lately(Purpose::ChangePasskeys);
        let confirmation = confirm(&app, &presenter, session, sent, demand).await?;
        let (now, renamed) = (app.clock.now(), id.clone());
        let renamed = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| {
                access.rename_passkey(confirmation, &renamed, name.clone(), now)
            },
        );
        let passkey = renamed.await?.map_err(|error| refused_change(error, now))?;
        tell(
            &app,
            &presenter.visit,
            &Event::PasskeyRenamed { passkey: id },
        );
        Ok(Answer(PasskeyAnswer {
            success: true,
            message: "The passkey has another name.",
            passkey: ListedPasskey::of(&passkey, here.0.as_ref().ok()),
            ended: None,
        }))
    })
    .await
}

/// Removes a passkey; other sessions end.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Id(id): Id,
    Json(body): Json<ConfirmBody>,
) -> Result<Answer<RemovedAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        must_be_there(&app, &presenter, &id)?;
        let demand = Demand::unless_lately(Purpose::ChangePasskeys);
        let confirmation = confirm(&app, &presenter, session, body.into(), demand).await?;
        let (now, removed) = (app.clock.now(), id.clone());
        let removed = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.remove_passkey(confirmation, &removed, now),
        );
        let ended = removed.await?.map_err(|error| refused_change(error, now))?;
        tell(
            &app,
            &presenter.visit,
            &Event::PasskeyRemoved { passkey: id },
        );
        Ok(Answer(RemovedAnswer {
            success: true,
            message: "The passkey no longer opens this dashboard. Delete it on your device too.",
            ended: ended.len(),
        }))
    })
    .await
}

/// Says that there is no such passkey before anything is confirmed.
fn must_be_there(app: &App, presenter: &Presenter, id: &str) -> Result<(), Error> {
    let access = presenter.visit.read(app)?;
    match access.passkeys().find(id) {
        Some(_passkey) => Ok(()),
        None => Err(PasskeyFault::NotFound.into()),
    }
}

fn refused_change(error: ChangePasskeyError, now: Timestamp) -> Error {
    match error {
        ChangePasskeyError::Proof(refusal) => {
            refused_late(refusal, now).at_confirmation("password")
        }
        ChangePasskeyError::NotFound => PasskeyFault::NotFound.into(),
    }
}
