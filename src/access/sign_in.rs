//! Signing in, changing the password, turning protection off: what follows from a proof.
//!
//! Passwords and codes are checked against a read of the state, since that takes long; what comes
//! of it is decided here, on the state as it is then. A proof of a credential that has changed
//! meanwhile is worth nothing.

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::Access;
use super::digest::Digest;
use super::passkeys::{Assertion, UsePasskeyError};
use super::passwords::PasswordHash;
use super::random::{self, RandomError};
use super::rights::Door;
use super::sessions::{
    Factor, KnownDevice, Origin, Session, SessionSecrets, StartSessionError, device_name,
};
use super::totp::{self, TotpSecret};

/// A password that was verified, and the second factor that came with it.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The account that was meant.
    pub username: String,
    /// The hash that the password was verified against.
    pub hash: PasswordHash,
    /// A stronger hash of the same password, where the old one was weaker than ours.
    pub upgrade: Option<PasswordHash>,
    /// The app that was the second factor then, whose code it is or which asked for none.
    pub app: Option<TotpSecret>,
    /// What was proved beside the password.
    pub second: Option<SecondFactor>,
}

/// A second factor that was verified, and that may count only once.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondFactor {
    /// A code of this time step (RFC 6238 §4).
    Step(i64),
    /// The backup code with this hash.
    BackupCode(PasswordHash),
}

impl SecondFactor {
    fn factor(&self) -> Factor {
        match self {
            Self::Step(_) => Factor::Otp,
            Self::BackupCode(_) => Factor::Recovery,
        }
    }
}

/// How a call asks for the second factor, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeDemand {
    /// Each time.
    Always,
    /// Unless the session proved it less than ten minutes ago.
    UnlessProvedLately,
}

/// What was proved to confirm a change.
#[derive(Clone, Debug)]
pub enum Proved {
    /// The password, with what was sent beside it.
    Password(Box<Proof>),
    /// A passkey, which is a password and a second factor in one.
    Passkey {
        /// The account that was meant.
        username: String,
        /// What the passkey proved.
        assertion: Assertion,
    },
}

impl Proved {
    /// Returns the account that was meant.
    pub fn username(&self) -> &str {
        match self {
            Self::Password(proof) => &proof.username,
            Self::Passkey { username, .. } => username,
        }
    }

    /// Returns whether a backup code is part of it.
    pub fn has_backup_code(&self) -> bool {
        match self {
            Self::Password(proof) => matches!(proof.second, Some(SecondFactor::BackupCode(_))),
            Self::Passkey { .. } => false,
        }
    }
}

impl From<Proof> for Proved {
    fn from(proof: Proof) -> Self {
        Self::Password(Box::new(proof))
    }
}

/// What a session's person confirms a change with.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// The session that asks.
    pub session: String,
    /// What was proved.
    pub proved: Proved,
    /// Whether a code was asked for.
    pub demand: CodeDemand,
}

/// How long a proof of the second factor excuses a session from the next.
const LATELY: SignedDuration = SignedDuration::from_mins(10);

/// Whether a second factor that is on must be part of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    Needed,
    Excused,
}

/// A proof was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No password protects the dashboard, so there is nothing to prove.
    #[error("no password protects the dashboard")]
    NotProtected,
    /// The credential changed after it was verified.
    #[error("the credential has changed meanwhile")]
    Changed,
    /// A second factor is asked for and was not proved.
    #[error("a second factor is needed")]
    CodeRequired,
    /// The code was used already.
    #[error("the code was used already")]
    CodeAlreadyUsed,
    /// The session that confirms has ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
}

impl From<UsePasskeyError> for ProofError {
    fn from(error: UsePasskeyError) -> Self {
        match error {
            UsePasskeyError::NotProtected => Self::NotProtected,
            UsePasskeyError::Removed | UsePasskeyError::CounterWentBack => Self::Changed,
        }
    }
}

/// A session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSessionError {
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The session could not be made.
    #[error(transparent)]
    Session(#[from] StartSessionError),
}

/// Signing in was refused.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The proof was not accepted.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The session could not be opened.
    #[error(transparent)]
    Session(#[from] OpenSessionError),
}

/// Who signs in, from what.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Address and browser.
    pub origin: Origin,
    /// The digest of the device cookie, if one was sent.
    pub device: Option<Digest>,
}

/// What a person who signed in receives.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's secrets.
    pub secrets: SessionSecrets,
    /// The device cookie, for a device that was not known.
    pub device: Option<Zeroizing<String>>,
    /// What was proved.
    pub factors: Vec<Factor>,
    /// How many backup codes are left, where one was used.
    pub backup_codes_left: Option<usize>,
}

impl Access {
    /// Opens a session for a proof.
    pub fn sign_in(
        &mut self,
        proof: &Proof,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let factors = self.accept(proof, now)?;
        let used_backup_code = factors.contains(&Factor::Recovery);
        let mut signed_in = self.welcome(factors, arrival, now)?;
        signed_in.backup_codes_left = used_backup_code.then(|| self.backup_codes_left());
        Ok(signed_in)
    }

    /// Opens a session for somebody who has proved enough, and knows their device from now on.
    pub(super) fn welcome(
        &mut self,
        factors: Vec<Factor>,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<SignedIn, OpenSessionError> {
        let device = self.meet_device(arrival, now)?;
        let secrets = self.open_session(factors.clone(), &arrival.origin, now)?;
        Ok(SignedIn {
            secrets,
            device,
            factors,
            backup_codes_left: None,
        })
    }

    /// Replaces the password; every session ends, and a fresh one begins.
    pub fn change_password(
        &mut self,
        confirmation: &Confirmation,
        new: PasswordHash,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(SessionSecrets, Vec<Session>), SignInError> {
        let factors = self.confirm(confirmation, now)?;
        self.password_hash = Some(new);
        let ended = self.end_sessions(|_all| true);
        let secrets = self.open_session(factors, origin, now)?;
        Ok((secrets, ended))
    }

    /// Turns protection off: back to "not configured", with tokens and secret kept.
    pub fn turn_off(
        &mut self,
        confirmation: &Confirmation,
        now: Timestamp,
    ) -> Result<Vec<Session>, ProofError> {
        self.confirm(confirmation, now)?;
        Ok(self.clear_login())
    }

    /// Makes sure that a step which a clock hint revealed is not accepted when its time comes.
    pub fn burn_step(&mut self, step: i64, now: Timestamp) {
        totp::burn_step(&mut self.burnt_totp_steps, step, now);
    }

    /// Accepts what confirms a change, and consumes its second factor, which then excuses the
    /// session for a while. A session that has ended meanwhile confirms nothing any more.
    pub fn confirm(
        &mut self,
        confirmation: &Confirmation,
        now: Timestamp,
    ) -> Result<Vec<Factor>, ProofError> {
        self.must_live(&confirmation.session, now)?;
        let second = if self.asks_for_code(&confirmation.session, confirmation.demand, now) {
            Second::Needed
        } else {
            Second::Excused
        };
        let factors = self.accept_proved(&confirmation.proved, second, now)?;
        if factors.iter().any(|factor| *factor != Factor::Pwd) {
            self.sessions.note_second_factor(&confirmation.session, now);
        }
        Ok(factors)
    }

    /// Refuses what a session began that has ended meanwhile.
    pub(super) fn must_live(&self, session: &str, now: Timestamp) -> Result<(), ProofError> {
        match self.sessions.find(session) {
            Some(session) if now < session.expires_at => Ok(()),
            Some(_) | None => Err(ProofError::SessionEnded),
        }
    }

    /// Returns whether a session must prove the second factor for a call that asks so.
    pub fn asks_for_code(&self, session: &str, demand: CodeDemand, now: Timestamp) -> bool {
        self.second_factor().is_some()
            && match demand {
                CodeDemand::Always => true,
                CodeDemand::UnlessProvedLately => !self.proved_lately(session, now),
            }
    }

    /// Returns whether a session proved a second factor a short while ago.
    pub fn proved_lately(&self, session: &str, now: Timestamp) -> bool {
        let proved_at = self
            .sessions
            .find(session)
            .and_then(|session| session.second_factor_at);
        proved_at.is_some_and(|at| is_lately(at, now))
    }

    /// Returns whether a session may enrol a first app without the password: its person has just
    /// signed in with it.
    pub fn may_enrol_unasked(&self, session: &str, now: Timestamp) -> bool {
        let signed_in_at = self
            .sessions
            .find(session)
            .map(|session| session.created_at);
        self.second_factor().is_none() && signed_in_at.is_some_and(|at| is_lately(at, now))
    }

    /// Accepts a proof against the state as it is now, and consumes its second factor.
    fn accept(&mut self, proof: &Proof, now: Timestamp) -> Result<Vec<Factor>, ProofError> {
        self.accept_with(proof, Second::Needed, now)
    }

    fn accept_proved(
        &mut self,
        proved: &Proved,
        second: Second,
        now: Timestamp,
    ) -> Result<Vec<Factor>, ProofError> {
        match proved {
            Proved::Password(proof) => self.accept_with(proof, second, now),
            Proved::Passkey { assertion, .. } => {
                self.accept_passkey(assertion, now)?;
                Ok(vec![Factor::Passkey])
            }
        }
    }

    fn accept_with(
        &mut self,
        proof: &Proof,
        second: Second,
        now: Timestamp,
    ) -> Result<Vec<Factor>, ProofError> {
        let account = self.account().ok_or(ProofError::NotProtected)?;
        let is_same = account.username == proof.username
            && *account.hash == proof.hash
            && self.second_factor() == proof.app.as_ref();
        if !is_same {
            return Err(ProofError::Changed);
        }
        let mut factors = vec![Factor::Pwd];
        match (&proof.second, self.second_factor()) {
            (Some(proved), Some(_)) => {
                self.consume(proved, now)?;
                factors.push(proved.factor());
            }
            (None, Some(_)) if second == Second::Needed => return Err(ProofError::CodeRequired),
            (None, Some(_)) | (_, None) => {}
        }
        if let Some(stronger) = &proof.upgrade {
            self.password_hash = Some(stronger.clone());
        }
        Ok(factors)
    }

    pub(super) fn consume(
        &mut self,
        second: &SecondFactor,
        now: Timestamp,
    ) -> Result<(), ProofError> {
        match second {
            SecondFactor::Step(step) => {
                if self.spent_steps().contains(*step, now) {
                    return Err(ProofError::CodeAlreadyUsed);
                }
                self.last_totp_counter = Some(*step);
                totp::drop_passed(&mut self.burnt_totp_steps, now);
            }
            SecondFactor::BackupCode(hash) => {
                let unused =
                    |record: &&mut totp::BackupCodeRecord| !record.used && record.code == *hash;
                let record = self.backup_codes.iter_mut().find(unused);
                record.ok_or(ProofError::CodeAlreadyUsed)?.used = true;
            }
        }
        Ok(())
    }

    /// Opens a session for the account; the longest idle one makes room.
    fn open_session(
        &mut self,
        factors: Vec<Factor>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<SessionSecrets, OpenSessionError> {
        let secret = self.secret_or_new()?;
        let username = self.username.clone().unwrap_or_default();
        let (session, secrets) = Session::start(&username, factors, origin, &secret, now)?;
        let ended = self.sessions.insert(session);
        self.retire(&ended);
        Ok(secrets)
    }

    /// Notes the sign-in of a known device, or gives an unknown one the cookie to be known by.
    fn meet_device(
        &mut self,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<Option<Zeroizing<String>>, RandomError> {
        debug_assert!(
            self.door() == Door::Protected,
            "only an account has devices"
        );
        let known = self
            .known_devices
            .iter_mut()
            .find(|device| Some(device.hash) == arrival.device && device.is_known(now));
        if let Some(device) = known {
            device.last_used_at = now;
            return Ok(None);
        }
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let secret = random::base64url::<32>()?;
        self.remember_device(KnownDevice {
            hash: Digest::of(secret.as_bytes()),
            name: device_name(&arrival.origin.user_agent),
            created_at: now,
            last_used_at: now,
            other: serde_json::Map::new(),
        });
        Ok(Some(secret))
    }
}

/// A time that lies ahead comes from a clock that was wrong, and counts for nothing.
fn is_lately(at: Timestamp, now: Timestamp) -> bool {
    let past = now.duration_since(at);
    !past.is_negative() && past < LATELY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::sessions::MAX_DEVICES;

    const OLD: &str =
        "pbkdf2_sha256$1$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const NEW: &str =
        "pbkdf2_sha256$2$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const CODE: &str =
        "pbkdf2_sha256$3$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const NOW: i64 = 1_800_000_000;

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn account(more: &str) -> Access {
        let text =
            format!(r#"{{"enabled":true,"username":"owner","password_hash":"{OLD}"{more}}}"#);
        Access::from_json(&text).unwrap()
    }

    fn with_second_factor() -> Access {
        account(&format!(
            r#","totp_enabled":true,"totp_secret":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
               "backup_codes":[{{"code":"{CODE}","used":false}}]"#
        ))
    }

    fn proof(second: Option<SecondFactor>) -> Proof {
        Proof {
            username: "owner".to_owned(),
            hash: hash(OLD),
            upgrade: None,
            app: None,
            second,
        }
    }

    /// A proof against an account with a second factor.
    fn app_proof(second: Option<SecondFactor>) -> Proof {
        let app = with_second_factor().second_factor().cloned();
        Proof {
            app,
            ..proof(second)
        }
    }

    fn confirmation(access: &Access, proof: Proof) -> Confirmation {
        Confirmation {
            session: access.sessions().iter().next().unwrap().id.clone(),
            proved: proof.into(),
            demand: CodeDemand::Always,
        }
    }

    fn arrival(device: Option<Digest>) -> Arrival {
        Arrival {
            origin: Origin {
                address: "192.0.2.9".parse().unwrap(),
                user_agent: "curl/8".to_owned(),
            },
            device,
        }
    }

    fn refusal(result: Result<SignedIn, SignInError>) -> ProofError {
        match result.unwrap_err() {
            SignInError::Proof(refusal) => refusal,
            SignInError::Session(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_right_proof_opens_one_session() {
        let mut access = account("");

        let signed_in = access.sign_in(&proof(None), &arrival(None), now()).unwrap();

        assert_eq!(signed_in.factors, [Factor::Pwd]);
        assert_eq!(access.sessions().len(), 1);
        assert!(access.signing_secret().is_some(), "made at first need");
    }

    #[test]
    fn a_proof_of_an_old_credential_is_worth_nothing() {
        let mut access = account("");
        let mut stale = proof(None);
        stale.hash = hash(NEW);
        assert_eq!(
            refusal(access.sign_in(&stale, &arrival(None), now())),
            ProofError::Changed
        );

        let mut other = proof(None);
        other.username = "other".to_owned();
        assert_eq!(
            refusal(access.sign_in(&other, &arrival(None), now())),
            ProofError::Changed
        );
        assert!(access.sessions().is_empty());
        access.clear_login();
        assert_eq!(
            refusal(access.sign_in(&proof(None), &arrival(None), now())),
            ProofError::NotProtected
        );
    }

    #[test]
    fn a_second_factor_cannot_be_left_out_and_counts_once() {
        let mut access = with_second_factor();
        let step = totp::current_step(now());
        assert_eq!(
            refusal(access.sign_in(&app_proof(None), &arrival(None), now())),
            ProofError::CodeRequired
        );

        let with_step = app_proof(Some(SecondFactor::Step(step)));
        let signed_in = access.sign_in(&with_step, &arrival(None), now()).unwrap();

        assert_eq!(signed_in.factors, [Factor::Pwd, Factor::Otp]);
        assert_eq!(
            refusal(access.sign_in(&with_step, &arrival(None), now())),
            ProofError::CodeAlreadyUsed
        );
        let earlier = app_proof(Some(SecondFactor::Step(step - 1)));
        assert_eq!(
            refusal(access.sign_in(&earlier, &arrival(None), now())),
            ProofError::CodeAlreadyUsed
        );
    }

    #[test]
    fn a_burnt_step_is_refused_when_its_time_comes() {
        let mut access = with_second_factor();
        let step = totp::current_step(now());
        access.burn_step(step, now());

        let with_step = app_proof(Some(SecondFactor::Step(step)));

        assert_eq!(
            refusal(access.sign_in(&with_step, &arrival(None), now())),
            ProofError::CodeAlreadyUsed
        );
    }

    #[test]
    fn a_backup_code_counts_once_and_the_rest_are_told() {
        let mut access = with_second_factor();
        let with_code = app_proof(Some(SecondFactor::BackupCode(hash(CODE))));

        let signed_in = access.sign_in(&with_code, &arrival(None), now()).unwrap();

        assert_eq!(signed_in.backup_codes_left, Some(0));
        assert_eq!(signed_in.factors, [Factor::Pwd, Factor::Recovery]);
        assert_eq!(
            refusal(access.sign_in(&with_code, &arrival(None), now())),
            ProofError::CodeAlreadyUsed
        );
    }

    #[test]
    fn a_weaker_hash_is_replaced_at_sign_in() {
        let mut access = account("");
        let mut stronger = proof(None);
        stronger.upgrade = Some(hash(NEW));

        access.sign_in(&stronger, &arrival(None), now()).unwrap();

        assert_eq!(*access.account().unwrap().hash, hash(NEW));
    }

    #[test]
    fn a_device_is_known_after_its_first_sign_in() {
        let mut access = account("");
        let first = access.sign_in(&proof(None), &arrival(None), now()).unwrap();
        let device = Digest::of(first.device.unwrap().as_bytes());
        assert!(access.knows_device(&device, now()));

        let again = access
            .sign_in(&proof(None), &arrival(Some(device)), now())
            .unwrap();

        assert!(again.device.is_none());
        for _ in 0..MAX_DEVICES {
            access
                .sign_in(
                    &proof(None),
                    &arrival(None),
                    now() + SignedDuration::from_secs(1),
                )
                .unwrap();
        }
        assert!(
            !access.knows_device(&device, now()),
            "the longest unused made room"
        );
        assert_eq!(access.known_devices.len(), MAX_DEVICES);
    }

    #[test]
    fn a_new_password_ends_every_other_session() {
        let mut access = account("");
        access.sign_in(&proof(None), &arrival(None), now()).unwrap();
        let old = access.sessions().iter().next().unwrap().token_hash;

        let confirmation = confirmation(&access, proof(None));
        let (secrets, ended) = access
            .change_password(&confirmation, hash(NEW), &arrival(None).origin, now())
            .unwrap();

        assert_eq!(ended.len(), 1);
        assert_eq!(access.sessions().len(), 1);
        assert!(access.revocations().contains(&old));
        assert!(
            !access
                .revocations()
                .contains(&Digest::of(secrets.token.as_bytes()))
        );
        assert_eq!(*access.account().unwrap().hash, hash(NEW));
    }

    #[test]
    fn turning_off_needs_the_proof_and_ends_all() {
        let mut access = with_second_factor();
        let step = totp::current_step(now());
        let code = |step| app_proof(Some(SecondFactor::Step(step)));
        access
            .sign_in(&code(step - 1), &arrival(None), now())
            .unwrap();
        let without = confirmation(&access, app_proof(None));
        assert_eq!(
            access.turn_off(&without, now()),
            Err(ProofError::CodeRequired)
        );
        let with = confirmation(&access, code(step));

        access.turn_off(&with, now()).unwrap();

        assert_eq!(access.door(), Door::NotConfigured);
    }

    #[test]
    fn a_session_that_has_ended_confirms_nothing() {
        let mut access = account("");
        access.sign_in(&proof(None), &arrival(None), now()).unwrap();
        let ended = confirmation(&access, proof(None));
        let late = now() + SignedDuration::from_hours(24);
        assert_eq!(access.confirm(&ended, late), Err(ProofError::SessionEnded));

        access.end_sessions(|_all| true);

        assert_eq!(access.confirm(&ended, now()), Err(ProofError::SessionEnded));
        assert_eq!(
            access.turn_off(&ended, now()),
            Err(ProofError::SessionEnded)
        );
        let changed = access.change_password(&ended, hash(NEW), &arrival(None).origin, now());
        assert!(matches!(
            changed,
            Err(SignInError::Proof(ProofError::SessionEnded))
        ));
        assert_eq!(*access.account().unwrap().hash, hash(OLD));
    }

    #[test]
    fn a_code_of_another_app_than_the_present_one_is_worth_nothing() {
        let step = SecondFactor::Step(totp::current_step(now()));
        let mut other = app_proof(Some(step.clone()));
        other.app = TotpSecret::parse("KV3XO7DMQ2ZTJH6RKV3XO7DMQ2ZTJH6R").ok();
        for proof in [other, proof(Some(step)), proof(None)] {
            let mut access = with_second_factor();
            let refused = refusal(access.sign_in(&proof, &arrival(None), now()));
            assert_eq!(refused, ProofError::Changed);
        }
    }

    #[test]
    fn what_is_read_again_undoes_nothing() {
        let mut before = with_second_factor();
        let with_code = app_proof(Some(SecondFactor::BackupCode(hash(CODE))));
        before.sign_in(&with_code, &arrival(None), now()).unwrap();
        let step = app_proof(Some(SecondFactor::Step(totp::current_step(now()))));
        before.sign_in(&step, &arrival(None), now()).unwrap();
        let text = String::from_utf8(before.to_json().unwrap()).unwrap();
        let used = before.clone();
        before.end_sessions(|_all| true);

        let restored = text.replace("\"used\": true", "\"used\": false");
        let mut restored = Access::from_json(&restored).unwrap();
        restored.last_totp_counter = None;
        restored.carry_over(&before);

        assert_eq!(restored.backup_codes_left(), 0);
        assert_eq!(restored.last_totp_counter, used.last_totp_counter);
        for session in used.sessions().iter() {
            assert!(restored.revocations().contains(&session.token_hash));
        }
    }

    #[test]
    fn a_factor_that_was_changed_by_hand_ends_the_sessions() {
        let mut before = with_second_factor();
        let step = app_proof(Some(SecondFactor::Step(totp::current_step(now()))));
        before.sign_in(&step, &arrival(None), now()).unwrap();
        let mut edited = before.clone();
        edited.totp_enabled = false;

        edited.carry_over(&before);

        assert!(edited.sessions().is_empty());
        let mut untouched = before.clone();
        untouched.carry_over(&before);
        assert_eq!(untouched.sessions().len(), 1);
    }
}
