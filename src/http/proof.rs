//! Proving who one is: the one way from a password and a code to a [`Proof`], for signing in and
//! for every confirmation. One limiter, one audit, one cost for all of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use unicode_normalization::UnicodeNormalization as _;

use super::error::{ClockSkew, Error, Stage};
use super::visit::Presenter;
use crate::access::attempts::{KnownDevice, RefusalReason, TooMany};
use crate::access::audit::{Event, Method, Purpose};
use crate::access::digest::Digest;
use crate::access::passwords::{self, Password, Verification};
use crate::access::rights::Refusal;
use crate::access::sign_in::{CodeDemand, Proof, ProofError, SecondFactor};
use crate::access::terminal::CodeProof;
use crate::access::totp::{self, BackupOutcome, Code, CodeCheck, Enrolment, TotpCode};
use crate::access::{Access, Account};
use crate::app::App;
use crate::derivations::{Against, Busy};
use crate::enrolments::FirstCode;
use crate::store::{Held, HeldCode, Lock};

/// What is presented.
#[derive(Clone)]
pub(super) struct Claimed {
    /// The name that was given; none where the session's account is meant.
    pub(super) username: Option<String>,
    /// The password.
    pub(super) password: Password,
    /// The code, if one was given.
    pub(super) code: Option<String>,
    /// What for.
    pub(super) purpose: Purpose,
    /// The session that confirms, and how it is asked for the second factor; none at sign-in.
    pub(super) confirms: Option<(String, CodeDemand)>,
}

impl Claimed {
    /// Whether a code must be part of the claim.
    fn asks_for_code(&self, access: &Access, now: Timestamp) -> bool {
        match &self.confirms {
            Some((session, demand)) => access.asks_for_code(session, *demand, now),
            None => access.second_factor().is_some(),
        }
    }
}

/// A claim that held.
pub(super) struct Proven {
    /// What the rules take.
    pub(super) proof: Proof,
    /// The device, if it is one that has signed in before.
    pub(super) device: Option<Digest>,
}

/// A claim that did not hold.
#[derive(Debug)]
pub(super) enum ProofRefusal {
    /// Name and password do not match.
    WrongPassword,
    /// The password was right for a hash that is no longer the account's.
    Changed,
    /// The code is wrong.
    WrongCode(Option<ClockSkew>),
    /// The password is right, and a code is needed.
    CodeRequired,
    /// The code was used already.
    CodeAlreadyUsed(Option<SignedDuration>),
    /// The session that confirms has ended meanwhile.
    SessionEnded,
    /// There is no password to confirm with.
    NotProtected,
    /// Too many have failed.
    TooMany(TooMany, std::net::IpAddr),
    /// Too many are waiting.
    Busy,
    /// The state cannot be trusted.
    Locked(Error),
}

impl From<Busy> for ProofRefusal {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl ProofRefusal {
    /// Says it to somebody who confirms a change; `field` holds the password.
    pub(super) fn at_confirmation(self, field: &'static str) -> Error {
        match self {
            Self::WrongPassword | Self::Changed => Error::Reauthentication { field, skew: None },
            Self::WrongCode(skew) => Error::Reauthentication {
                field: "totp_code",
                skew,
            },
            Self::CodeRequired => Error::CodeRequired,
            Self::CodeAlreadyUsed(retry_after) => Error::CodeAlreadyUsed {
                stage: Stage::Confirmation,
                retry_after,
            },
            Self::NotProtected => Error::NotProtected,
            Self::SessionEnded => Refusal::InvalidToken.into(),
            Self::TooMany(refusal, address) => Error::TooManyAttempts { refusal, address },
            Self::Busy => Error::Busy,
            Self::Locked(error) => error,
        }
    }
}

impl ProofRefusal {
    /// Says it to somebody who enrols an app; nothing was confirmed, so nothing is forbidden.
    fn at_enrolment(self) -> Error {
        match self {
            Self::WrongCode(skew) => Error::WrongFirstCode { skew },
            Self::CodeAlreadyUsed(retry_after) => Error::CodeAlreadyUsed {
                stage: Stage::Enrolment,
                retry_after,
            },
            refusal @ (Self::WrongPassword
            | Self::Changed
            | Self::CodeRequired
            | Self::NotProtected
            | Self::SessionEnded
            | Self::TooMany(..)
            | Self::Busy
            | Self::Locked(_)) => refusal.at_confirmation("password"),
        }
    }
}

/// Says what the rules refused after a claim had held: only a race brings that about.
pub(super) fn refused_late(refusal: ProofError, now: Timestamp) -> ProofRefusal {
    match refusal {
        ProofError::NotProtected => ProofRefusal::NotProtected,
        ProofError::Changed => ProofRefusal::Changed,
        ProofError::CodeRequired => ProofRefusal::CodeRequired,
        ProofError::SessionEnded => ProofRefusal::SessionEnded,
        ProofError::CodeAlreadyUsed => ProofRefusal::CodeAlreadyUsed(Some(until_next_step(now))),
    }
}

/// Checks a claim. The limiter is asked before anything is checked; a name that does not exist
/// costs and answers what a wrong password does.
pub(super) async fn prove(
    app: &Arc<App>,
    presenter: &Presenter,
    claimed: Claimed,
) -> Result<Proven, ProofRefusal> {
    let now = app.clock.now();
    let access = app.store.read().map_err(|lock| locked(presenter, lock))?;
    if access.account().is_none() && claimed.username.is_none() {
        return Err(ProofRefusal::NotProtected);
    }
    let device = presenter.known_device(&access, now);
    let attempt = Attempt {
        app,
        presenter,
        device,
        user: shown_user(&access, &claimed),
        purpose: claimed.purpose,
    };
    let held = attempt.begin(now)?;
    let account = access
        .account()
        .filter(|account| is_meant(&claimed, account));
    let asks_for_code = claimed.asks_for_code(&access, now);
    let verification = attempt.verify(&access, account, claimed.password).await?;
    let (Some(account), true) = (account, verification.matches) else {
        attempt.fail(held, Method::Password);
        return Err(ProofRefusal::WrongPassword);
    };
    let second = match &claimed.code {
        Some(code) if access.second_factor().is_some() => {
            Some(attempt.check_code(&access, code, held).await?)
        }
        None if asks_for_code => return Err(ProofRefusal::CodeRequired),
        Some(_) | None => None,
    };
    Ok(Proven {
        proof: Proof {
            username: account.username.to_owned(),
            hash: account.hash.clone(),
            upgrade: verification.upgrade,
            app: access.second_factor().cloned(),
            second,
        },
        device,
    })
}

/// Checks a code by itself, from somebody whose session has proved the password before.
pub(super) async fn prove_code(
    app: &Arc<App>,
    presenter: &Presenter,
    typed: &str,
    purpose: Purpose,
) -> Result<CodeProof, ProofRefusal> {
    let now = app.clock.now();
    let access = app.store.read().map_err(|lock| locked(presenter, lock))?;
    let asked = access.account().zip(access.second_factor());
    let (account, second_factor) = asked.ok_or(ProofRefusal::NotProtected)?;
    let attempt = Attempt {
        app,
        presenter,
        device: presenter.known_device(&access, now),
        user: Some(account.username.to_owned()),
        purpose,
    };
    let held = attempt.begin(now)?;
    Ok(CodeProof {
        app: second_factor.clone(),
        second: attempt.check_code(&access, typed, held).await?,
    })
}

/// Checks the first code of an app that a session enrols. Of all who send the right one, exactly
/// one gets the enrolment.
pub(super) fn check_first_code(
    app: &Arc<App>,
    presenter: &Presenter,
    session: &str,
    typed: &str,
) -> Result<(Enrolment, i64), Error> {
    let now = app.clock.now();
    if !app.enrolments.has_begun(session, now) {
        return Err(Error::NoEnrolment);
    }
    let access = presenter.visit.read(app)?;
    let attempt = Attempt {
        app,
        presenter,
        device: presenter.known_device(&access, now),
        user: access.account().map(|account| account.username.to_owned()),
        purpose: Purpose::EnrolApp,
    };
    let refuse = |refusal: ProofRefusal| refusal.at_enrolment();
    let held = attempt.begin(now).map_err(refuse)?;
    let held_code = attempt.begin_code(now).map_err(refuse)?;
    let outcome = match TotpCode::parse(typed) {
        Ok(code) => app.enrolments.check(session, &code, now),
        Err(_no_code) => FirstCode::Refused(CodeCheck::Wrong),
    };
    let refusal = match outcome {
        FirstCode::Right(enrolment, step) => return Ok((enrolment, step)),
        FirstCode::NoEnrolment => return Err(Error::NoEnrolment),
        FirstCode::Refused(check) => refused_code(check, now),
    };
    if matches!(refusal, ProofRefusal::WrongCode(_)) {
        let _penalty_is_told_at_the_next_try = held_code.fail(now);
        attempt.fail(held, Method::Code);
    }
    Err(refusal.at_enrolment())
}

/// Says why a code of an app was not accepted.
fn refused_code(check: CodeCheck, now: Timestamp) -> ProofRefusal {
    match check {
        CodeCheck::AlreadyUsed {
            retry_after_seconds,
        } => {
            let wait = SignedDuration::from_secs(retry_after_seconds);
            ProofRefusal::CodeAlreadyUsed(Some(wait))
        }
        CodeCheck::Skewed { seconds, step: _ } => ProofRefusal::WrongCode(Some(ClockSkew {
            seconds,
            server_time: now,
        })),
        CodeCheck::Accepted { step: _ } | CodeCheck::Wrong => ProofRefusal::WrongCode(None),
    }
}

/// Whether the claim names the account; where it names nobody, the session's account is meant.
fn is_meant(claimed: &Claimed, account: &Account<'_>) -> bool {
    let Some(given) = &claimed.username else {
        return true;
    };
    given == account.username || given.nfc().eq(account.username.nfc())
}

fn shown_user(access: &Access, claimed: &Claimed) -> Option<String> {
    let account = || access.account().map(|account| account.username.to_owned());
    claimed.username.clone().or_else(account)
}

/// One claim while it is checked.
struct Attempt<'a> {
    app: &'a Arc<App>,
    presenter: &'a Presenter,
    device: Option<Digest>,
    user: Option<String>,
    purpose: Purpose,
}

impl Attempt<'_> {
    /// Takes a place, or says that there is none.
    fn begin(&self, now: Timestamp) -> Result<Held, ProofRefusal> {
        let source = self.presenter.source(self.device);
        let begun = self.app.limits.begin(&source, now);
        begun.map_err(|refusal| self.too_many(refusal, now))
    }

    /// Counts a try of the second factor before it is checked, so that a crash cannot hide it.
    fn begin_code(&self, now: Timestamp) -> Result<HeldCode, ProofRefusal> {
        let known = if self.device.is_some() {
            KnownDevice::Yes
        } else {
            KnownDevice::No
        };
        let begun = self.app.limits.begin_code(known, now);
        begun.map_err(|refusal| self.too_many(refusal, now))
    }

    fn too_many(&self, refusal: TooMany, now: Timestamp) -> ProofRefusal {
        tell_rate_limit(
            self.app,
            self.presenter,
            self.user.as_deref(),
            (refusal.reason, now),
        );
        ProofRefusal::TooMany(refusal, self.presenter.visit.client.address)
    }

    async fn verify(
        &self,
        access: &Access,
        account: Option<Account<'_>>,
        password: Password,
    ) -> Result<Verification, Busy> {
        let against = match account {
            Some(account) => Against::Hash(account.hash.clone()),
            None => Against::Nothing {
                iterations: access
                    .account()
                    .map_or(passwords::ITERATIONS, |account| account.hash.iterations()),
            },
        };
        let priority = self.presenter.priority(self.device);
        self.app
            .derivations
            .verify(priority, password, against)
            .await
    }

    /// Checks the second factor, which has a limit of its own for devices that are not known.
    async fn check_code(
        &self,
        access: &Access,
        typed: &str,
        held: Held,
    ) -> Result<SecondFactor, ProofRefusal> {
        let now = self.app.clock.now();
        let held_code = self.begin_code(now)?;
        let (outcome, method) = match Code::parse(typed) {
            Ok(Code::Totp(code)) => (self.check_totp(access, &code, now).await, Method::Code),
            Ok(Code::Backup(code)) => {
                let codes = access.backup_codes().to_vec();
                let priority = self.presenter.priority(self.device);
                let check = self
                    .app
                    .derivations
                    .check_backup_code(priority, codes, code);
                let outcome = check.await?.outcome;
                (backup_factor(access, outcome), Method::BackupCode)
            }
            Err(_no_code) => (Err(ProofRefusal::WrongCode(None)), Method::Code),
        };
        if matches!(outcome, Err(ProofRefusal::WrongCode(_))) {
            let _penalty_is_told_at_the_next_try = held_code.fail(now);
            self.fail(held, method);
        }
        outcome
    }

    async fn check_totp(
        &self,
        access: &Access,
        code: &TotpCode,
        now: Timestamp,
    ) -> Result<SecondFactor, ProofRefusal> {
        let Some(secret) = access.second_factor() else {
            return Err(ProofRefusal::WrongCode(None));
        };
        let mut check = totp::check_code(secret, code, now, &access.spent_steps());
        if let CodeCheck::Skewed { step, .. } = check
            && !self.burn(step, now).await
        {
            check = CodeCheck::Wrong;
        }
        match check {
            CodeCheck::Accepted { step } => Ok(SecondFactor::Step(step)),
            CodeCheck::AlreadyUsed { .. } | CodeCheck::Skewed { .. } | CodeCheck::Wrong => {
                Err(refused_code(check, now))
            }
        }
    }

    /// Makes sure that the step which the hint reveals is not accepted later; without that there
    /// is no hint.
    async fn burn(&self, step: i64, now: Timestamp) -> bool {
        let burnt = self.app.store.update_or_keep(move |access| {
            access.burn_step(step, now);
            Ok::<_, std::convert::Infallible>(())
        });
        let burnt = burnt.await;
        if let Err(error) = &burnt {
            tracing::error!(%error, "a step could not be burnt, so nothing is said of it");
        }
        burnt.is_ok()
    }

    fn fail(&self, held: Held, method: Method) {
        let _penalty_is_told_at_the_next_try = held.fail(self.app.clock.now());
        let event = Event::Failed {
            method,
            purpose: self.purpose,
        };
        let actor = self.presenter.visit.actor(self.user.as_deref());
        self.app.audit.write(&event, &actor);
    }
}

fn backup_factor(access: &Access, outcome: BackupOutcome) -> Result<SecondFactor, ProofRefusal> {
    match outcome {
        BackupOutcome::Accepted { index } => {
            let record = access.backup_codes().get(index);
            let hash = record.map(|record| record.code.clone());
            hash.map(SecondFactor::BackupCode)
                .ok_or(ProofRefusal::WrongCode(None))
        }
        BackupOutcome::AlreadyUsed => Err(ProofRefusal::CodeAlreadyUsed(None)),
        BackupOutcome::Wrong => Err(ProofRefusal::WrongCode(None)),
    }
}

/// Writes a refusal of the limiter down, so that the jail sees who goes on; not each one.
pub(super) fn tell_rate_limit(
    app: &App,
    presenter: &Presenter,
    user: Option<&str>,
    (reason, now): (RefusalReason, Timestamp),
) {
    if reason != RefusalReason::Penalty {
        return;
    }
    let address = presenter.visit.client.address;
    let Some(repeated) = app.limits.refusal_line(address, now) else {
        return;
    };
    let event = Event::RateLimited {
        repeated: repeated.refusals,
    };
    app.audit.write(&event, &presenter.visit.actor(user));
}

fn until_next_step(now: Timestamp) -> SignedDuration {
    let left = totp::STEP_SECONDS - now.as_second().rem_euclid(totp::STEP_SECONDS);
    SignedDuration::from_secs(left)
}

fn locked(presenter: &Presenter, lock: Lock) -> ProofRefusal {
    ProofRefusal::Locked(presenter.visit.locked(lock))
}

/// Runs `work` to its end even if the client hangs up: a failure must be counted, and a change
/// that was begun must be told.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(panicked) => Err(Error::Internal(panicked.into())),
    }
}
