//! Enrolling an authenticator app: a secret and ten backup codes that count for nothing until a
//! code of the app was seen. What is active meanwhile stays as it is.

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{BackupCodeRecord, CodeCheck, SpentSteps, TotpCode, TotpSecret, burn_step, check_code};
use crate::access::Access;
use crate::access::passwords::{CreateHashError, PasswordHash};
use crate::access::random::{self, RandomError};
use crate::access::sessions::Session;
use crate::access::sign_in::{Confirmation, ProofError};

/// How long an enrolment waits for its first code.
pub const ENROLMENT_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What apps show above the account's name.
const ISSUER: &str = "ProxMenux Monitor";

/// The longest account name in an app, in characters.
const MAX_NAME: usize = 64;

/// How many backup codes make a set.
pub const BACKUP_CODES: usize = 10;

/// Letters and digits that cannot be taken for each other.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The characters of a backup code: 40 bits.
const CODE_LENGTH: usize = 8;

impl TotpSecret {
    /// Returns the address that enrols the secret in an app
    /// (`otpauth://totp/…`, the key URI format that authenticator apps share).
    pub fn uri(&self, username: &str) -> Zeroizing<String> {
        let issuer = utf8_percent_encode(ISSUER, NON_ALPHANUMERIC);
        // A longer name, which only an edit by hand can bring, would not fit into a QR code.
        let account = String::from_iter(username.chars().take(MAX_NAME));
        let account = utf8_percent_encode(&account, NON_ALPHANUMERIC);
        let secret = Zeroizing::new(self.expose());
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
            *secret
        ))
    }
}

/// Ten backup codes before anybody has seen them.
pub struct BackupCodes(Vec<Zeroizing<String>>);

impl BackupCodes {
    /// Draws ten codes of the form `XXXX-XXXX`.
    pub fn draw() -> Result<Self, RandomError> {
        let mut codes = Vec::with_capacity(BACKUP_CODES);
        for _ in 0..BACKUP_CODES {
            let mut code = random::letters::<CODE_LENGTH>(ALPHABET)?;
            code.insert(CODE_LENGTH / 2, '-');
            codes.push(code);
        }
        Ok(Self(codes))
    }

    /// Hashes them with one salt for the set: ten derivations now, one for each check later.
    pub fn hash(&self) -> Result<Vec<BackupCodeRecord>, CreateHashError> {
        let hashes = PasswordHash::create_set(self.0.iter().map(|code| code.as_str()))?;
        let records = hashes.into_iter().map(|code| BackupCodeRecord {
            code,
            used: false,
            extra: serde_json::Map::new(),
        });
        Ok(records.collect())
    }

    /// Gives the codes away, to be shown once.
    pub fn reveal(self) -> Vec<Zeroizing<String>> {
        self.0
    }
}

impl std::fmt::Debug for BackupCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupCodes(..)")
    }
}

/// A secret and a set of backup codes that wait for the first code of the app.
#[derive(Clone, Debug)]
pub struct Enrolment {
    secret: TotpSecret,
    backup_codes: Vec<BackupCodeRecord>,
    burnt: Vec<i64>,
    expires_at: Timestamp,
}

impl Enrolment {
    /// Starts to wait.
    pub fn new(secret: TotpSecret, backup_codes: Vec<BackupCodeRecord>, now: Timestamp) -> Self {
        Self {
            secret,
            backup_codes,
            burnt: Vec::new(),
            expires_at: now + ENROLMENT_LIFETIME,
        }
    }

    /// Returns whether it has waited too long.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Checks a code of the app; a step that a clock hint reveals is burnt.
    pub fn check(&mut self, code: &TotpCode, now: Timestamp) -> CodeCheck {
        let spent = SpentSteps {
            last: None,
            burnt: &self.burnt,
        };
        let check = check_code(&self.secret, code, now, &spent);
        if let CodeCheck::Skewed { step, .. } = check {
            burn_step(&mut self.burnt, step, now);
        }
        check
    }
}

/// A second factor cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondFactorError {
    /// What confirmed it does not hold any more.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// There is no second factor.
    #[error("two-factor is off")]
    Off,
}

impl Access {
    /// Makes an enrolled app the second factor: its code of `step` is spent, the backup codes are
    /// replaced, and every session but the one that enrolled ends. Returns those that ended.
    pub fn enable_totp(
        &mut self,
        session: &str,
        enrolment: &Enrolment,
        step: i64,
        now: Timestamp,
    ) -> Result<Vec<Session>, SecondFactorError> {
        if self.account().is_none() {
            return Err(ProofError::NotProtected.into());
        }
        self.must_live(session, now)?;
        self.totp_enabled = true;
        self.totp_secret = Some(enrolment.secret.clone());
        self.backup_codes.clone_from(&enrolment.backup_codes);
        self.last_totp_counter = Some(step);
        self.burnt_totp_steps.clone_from(&enrolment.burnt);
        self.sessions.note_second_factor(session, now);
        Ok(self.end_other_sessions(session))
    }

    /// Turns two-factor off; every session but the one that asks ends. Returns those that ended.
    pub fn disable_totp(
        &mut self,
        confirmation: &Confirmation,
        now: Timestamp,
    ) -> Result<Vec<Session>, SecondFactorError> {
        self.confirm_second_factor(confirmation, now)?;
        self.forget_totp();
        // Tells other nodes that this session made the change.
        self.sessions.note_second_factor(&confirmation.session, now);
        Ok(self.end_other_sessions(&confirmation.session))
    }

    /// Turns two-factor off because root on the host says so; every session ends. Returns those
    /// that ended.
    pub fn disable_totp_from_host(&mut self) -> Result<Vec<Session>, SecondFactorError> {
        if self.second_factor().is_none() {
            return Err(SecondFactorError::Off);
        }
        self.forget_totp();
        Ok(self.end_sessions(|_all| true))
    }

    /// Replaces the backup codes.
    pub fn renew_backup_codes(
        &mut self,
        confirmation: &Confirmation,
        codes: &[BackupCodeRecord],
        now: Timestamp,
    ) -> Result<(), SecondFactorError> {
        self.confirm_second_factor(confirmation, now)?;
        self.backup_codes = codes.to_vec();
        Ok(())
    }

    fn confirm_second_factor(
        &mut self,
        confirmation: &Confirmation,
        now: Timestamp,
    ) -> Result<(), SecondFactorError> {
        if self.account().is_some() && self.second_factor().is_none() {
            return Err(SecondFactorError::Off);
        }
        self.confirm(confirmation, now)?;
        Ok(())
    }

    fn forget_totp(&mut self) {
        self.totp_enabled = false;
        self.totp_secret = None;
        self.backup_codes.clear();
        self.burnt_totp_steps.clear();
    }
}
