//! Two-factor: an authenticator app enrolled, turned off, and its backup codes made anew.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use data_encoding::BASE64;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::convert::{Builder as _, Shape};
use fast_qr::qr::QRBuilder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::confirm::{Demand, Presented, change, confirm};
use super::error::Error;
use super::extract::Json;
use super::guard::AdmittedCaller;
use super::passkeys::PresentedPasskey;
use super::password::ConfirmBody;
use super::proof::{check_first_code, refused_late, to_the_end};
use super::sessions::{tell, user};
use super::visit::Presenter;
use crate::access::audit::{Event, Purpose};
use crate::access::sessions::SessionIdentity;
use crate::access::totp::{
    BACKUP_CODES, BackupCodeRecord, BackupCodes, ENROLMENT_LIFETIME, Enrolment, SecondFactorError,
    TotpSecret,
};
use crate::app::App;

/// What enrols an app; shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct EnrolmentAnswer {
    success: bool,
    message: &'static str,
    /// The secret in Base32: 32 characters.
    secret: String,
    /// The address as a picture: an SVG in a `data:` address.
    qr_code: String,
    /// The address that apps read.
    otpauth_uri: String,
    /// Ten codes that work once each.
    backup_codes: Vec<String>,
    /// For how many seconds the first code is waited for.
    expires_in: i64,
}

/// The first code of the app.
#[derive(Deserialize, ToSchema)]
pub(super) struct FirstCodeBody {
    /// Six digits; `totp_code` and `code` are taken too.
    #[serde(alias = "totp_code", alias = "code", alias = "totp_token")]
    token: String,
}

/// What confirms new backup codes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewBody {
    /// The current password.
    password: Option<String>,
    /// A code, unless the session proved one lately; `totp_token` is taken too.
    #[serde(alias = "totp_token")]
    totp_code: Option<String>,
    /// A passkey, in place of both.
    passkey: Option<PresentedPasskey>,
}

/// Two-factor was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct FactorAnswer {
    success: bool,
    message: &'static str,
    /// How many other sessions ended with it.
    ended: usize,
    /// How many backup codes there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_left: Option<usize>,
}

/// New backup codes; shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct BackupCodesAnswer {
    success: bool,
    message: &'static str,
    /// Ten codes that work once each.
    backup_codes: Vec<String>,
    /// How many there are.
    backup_codes_left: usize,
}

/// Gives a secret and backup codes to enrol an app with. Nothing is active before its first code.
pub(super) async fn set_up(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<ConfirmBody>,
) -> Result<Answer<EnrolmentAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        confirm_enrolment(&app, &presenter, session, body.into()).await?;
        let secret = TotpSecret::generate().map_err(|error| Error::Internal(error.into()))?;
        let (codes, records) = draw_codes(&app, &presenter).await?;
        let name = user(&app).ok_or(Error::NotProtected)?;
        let uri = secret.uri(&name);
        let answer = EnrolmentAnswer {
            success: true,
            message: "Scan the picture with an authenticator app, keep the backup codes, then enter the app's code.",
            secret: secret.expose(),
            qr_code: picture(&uri)?,
            otpauth_uri: uri.to_string(),
            backup_codes: shown(codes),
            expires_in: ENROLMENT_LIFETIME.as_secs(),
        };
        let now = app.clock.now();
        let enrolment = Enrolment::new(secret, records, now);
        app.enrolments.begin(&session.id, enrolment, now);
        let actor = presenter.visit.actor(Some(&name));
        app.audit.write(&Event::EnrolmentStarted, &actor);
        Ok(Answer(answer))
    })
    .await
}

/// Asks for the password, unless its person signed in with it just now and there is no app yet.
async fn confirm_enrolment(
    app: &Arc<App>,
    presenter: &Presenter,
    session: &SessionIdentity,
    offered: Presented,
) -> Result<(), Error> {
    let now = app.clock.now();
    let access = presenter.visit.read(app)?;
    if offered.is_empty() {
        if access.may_enrol_unasked(&session.id, now) {
            return Ok(());
        }
        // Nothing was tried, so nothing is counted.
        return Err(Error::Reauthentication {
            field: "password",
            skew: None,
        });
    }
    let demand = Demand::unless_lately(Purpose::EnrolApp);
    let confirmation = confirm(app, presenter, session, offered, demand).await?;
    let confirmed = change(app, presenter, confirmation, move |access, confirmation| {
        access.confirm(confirmation, now)
    });
    let confirmed = confirmed.await?;
    confirmed.map_err(|refusal| refused_late(refusal, now).at_confirmation("password"))?;
    Ok(())
}

/// Takes the app's first code, which makes it the second factor.
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<FirstCodeBody>,
) -> Result<Answer<FactorAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        let (enrolment, step) = check_first_code(&app, &presenter, &session.id, &body.token)?;
        let now = app.clock.now();
        let (id, enrolled) = (session.id.clone(), enrolment.clone());
        let enabled = app
            .store
            .update(move |access| access.enable_totp(&id, &enrolled, step, now))
            .await;
        let ended = match enabled {
            Ok(enabled) => enabled.map_err(|refusal| refused_factor(refusal, now))?,
            Err(error) => {
                app.enrolments.put_back(&session.id, enrolment);
                return Err(error.into());
            }
        };
        let ended = ended.len();
        tell(&app, &presenter.visit, &Event::TwoFactorEnabled { ended });
        Ok(Answer(FactorAnswer {
            success: true,
            message: "Two-factor is on. Sign in once in another window before you close this one.",
            ended,
            backup_codes_left: Some(BACKUP_CODES),
        }))
    })
    .await
}

/// Turns two-factor off.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<ConfirmBody>,
) -> Result<Answer<FactorAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        must_be_on(&app, &presenter)?;
        let demand = Demand::unless_lately(Purpose::TurnTwoFactorOff);
        let confirmation = confirm(&app, &presenter, session, body.into(), demand).await?;
        let now = app.clock.now();
        let disabled = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.disable_totp(confirmation, now),
        );
        let ended = disabled
            .await?
            .map_err(|refusal| refused_factor(refusal, now))?
            .len();
        tell(&app, &presenter.visit, &Event::TwoFactorDisabled { ended });
        Ok(Answer(FactorAnswer {
            success: true,
            message: "Two-factor is off.",
            ended,
            backup_codes_left: None,
        }))
    })
    .await
}

/// Replaces the backup codes by ten new ones.
pub(super) async fn renew_backup_codes(
    State(app): State<Arc<App>>,
    presenter: Presenter,
    caller: AdmittedCaller,
    Json(body): Json<RenewBody>,
) -> Result<Answer<BackupCodesAnswer>, Error> {
    to_the_end(async move {
        let session = caller.session().ok_or(Error::NotProtected)?;
        must_be_on(&app, &presenter)?;
        let offered = Presented {
            password: body.password,
            code: body.totp_code,
            passkey: body.passkey,
        };
        let demand = Demand::unless_lately(Purpose::RenewBackupCodes);
        let confirmation = confirm(&app, &presenter, session, offered, demand).await?;
        let (codes, records) = draw_codes(&app, &presenter).await?;
        let now = app.clock.now();
        let renewed = change(
            &app,
            &presenter,
            confirmation,
            move |access, confirmation| access.renew_backup_codes(confirmation, &records, now),
        );
        renewed
            .await?
            .map_err(|refusal| refused_factor(refusal, now))?;
        tell(&app, &presenter.visit, &Event::BackupCodesRenewed);
        let backup_codes = shown(codes);
        Ok(Answer(BackupCodesAnswer {
            success: true,
            message: "These ten replace the earlier ones, which no longer count.",
            backup_codes_left: backup_codes.len(),
            backup_codes,
        }))
    })
    .await
}

fn must_be_on(app: &App, presenter: &Presenter) -> Result<(), Error> {
    let access = presenter.visit.read(app)?;
    if access.second_factor().is_none() {
        return Err(Error::TwoFactorOff);
    }
    Ok(())
}

fn refused_factor(refusal: SecondFactorError, now: jiff::Timestamp) -> Error {
    match refusal {
        SecondFactorError::Proof(refusal) => refused_late(refusal, now).at_confirmation("password"),
        SecondFactorError::Off => Error::TwoFactorOff,
    }
}

/// Draws ten backup codes and hashes them, which takes as long as ten sign-ins.
async fn draw_codes(
    app: &App,
    presenter: &Presenter,
) -> Result<(BackupCodes, Vec<BackupCodeRecord>), Error> {
    let codes = BackupCodes::draw().map_err(|error| Error::Internal(error.into()))?;
    let access = presenter.visit.read(app)?;
    let device = presenter.known_device(&access, app.clock.now());
    let hashed = app
        .derivations
        .hash_backup_codes(presenter.priority(device), codes)
        .await;
    let (codes, records) = hashed.map_err(|_busy| Error::Busy)?;
    let records = records.map_err(|error| Error::Internal(error.into()))?;
    Ok((codes, records))
}

fn shown(codes: BackupCodes) -> Vec<String> {
    let codes = codes.reveal().into_iter();
    codes.map(|code| code.to_string()).collect()
}

/// Draws the address as a QR code (ISO/IEC 18004), dark on light with the quiet zone it asks for.
fn picture(uri: &str) -> Result<String, Error> {
    let code = QRBuilder::new(uri)
        .build()
        .map_err(|error| anyhow::anyhow!("no QR code: {error}"))?;
    let svg = SvgBuilder::default()
        .margin(4)
        .shape(Shape::Square)
        .module_color("#000000")
        .background_color("#ffffff")
        .to_str(&code);
    Ok(format!(
        "data:image/svg+xml;base64,{}",
        BASE64.encode(svg.as_bytes())
    ))
}
