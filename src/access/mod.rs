//! The rules of access: who may come in, with what, from where and for how long.
//!
//! Everything here is a pure function of [`Access`], the caller's input and `now`. Nothing here
//! reads a clock, a file or a request, so each rule can be tested with one call, and the web
//! server and the commands cannot disagree about it.
//!
//! | to learn how | read |
//! |---|---|
//! | the state file is read and written | [`document`] |
//! | a host is set up, opened, reset | [`setup`] |
//! | a person signs in and changes the password | [`sign_in`] |
//! | passwords are judged and hashed | [`passwords`] |
//! | an app is enrolled and its codes are checked | [`totp`] |
//! | passkeys are made, used and removed | [`passkeys`] |
//! | sessions and known devices live and end | [`sessions`] |
//! | API tokens count, and revoked ones do not | [`tokens`], [`jwt`] |
//! | a terminal is had, kept and lost | [`terminal`] |
//! | a route decides whom it answers | [`rights`] |
//! | the client's address is found | [`address`] |
//! | host names and origins are checked | [`hosts`] |
//! | failures are counted and penalised | [`attempts`] |
//! | names and pictures are checked | [`profile`], [`avatar`] |
//! | what happened is written down | [`audit`] |
//!
//! **Invariant:** of what people and programs present, [`Access`] keeps only hashes.
//!
//! **Invariant:** nothing here turns a damaged state into an open door.

pub mod acme;
pub mod address;
pub mod attempts;
pub mod audit;
pub mod avatar;
pub mod certificates;
pub mod digest;
pub mod document;
pub mod hosts;
pub mod jwt;
pub mod label;
pub mod passkeys;
pub mod passwords;
pub mod profile;
pub mod random;
pub mod rights;
pub mod sessions;
pub mod setup;
pub mod sign_in;
pub mod snippets;
pub mod terminal;
pub mod tls_setting;
pub mod tokens;
pub mod totp;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use digest::Digest;
use jwt::{Claims, SigningSecret, TokenType};
use passkeys::Passkeys;
use passwords::PasswordHash;
use random::RandomError;
use rights::{Credential, Door};
use sessions::{KnownDevice, MAX_DEVICES, Session, Sessions};
use tokens::{ApiTokens, Revocations};
use totp::{BackupCodeRecord, TotpSecret};

/// Everything that decides who comes in: the content of `auth.json`.
#[derive(Clone, Debug, Default)]
pub struct Access {
    enabled: bool,
    declined: bool,
    configured: Option<bool>,
    username: Option<String>,
    password_hash: Option<PasswordHash>,
    jwt_secret: Option<SigningSecret>,
    totp_enabled: bool,
    totp_secret: Option<TotpSecret>,
    last_totp_counter: Option<i64>,
    burnt_totp_steps: Vec<i64>,
    backup_codes: Vec<BackupCodeRecord>,
    api_tokens: Arc<ApiTokens>,
    revoked: Revocations,
    display_name: Option<String>,
    sessions: Sessions,
    known_devices: Vec<KnownDevice>,
    passkeys: Passkeys,
    version: u64,
    layout: document::Layout,
}

/// The account of a protected door.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The one user name.
    pub username: &'a str,
    /// The hash of its password.
    pub hash: &'a PasswordHash,
}

impl Access {
    /// Returns what strangers meet: `enabled` wins over a stale `declined`.
    pub fn door(&self) -> Door {
        match (self.enabled, self.declined) {
            (true, _) => Door::Protected,
            (false, true) => Door::Open,
            (false, false) => Door::NotConfigured,
        }
    }

    /// Returns the account, while a password protects the dashboard.
    pub fn account(&self) -> Option<Account<'_>> {
        if self.door() != Door::Protected {
            return None;
        }
        Some(Account {
            username: self.username.as_deref()?,
            hash: self.password_hash.as_ref()?,
        })
    }

    /// Returns the secret of the second factor, while it is asked for.
    pub fn second_factor(&self) -> Option<&TotpSecret> {
        self.totp_secret.as_ref().filter(|_| self.totp_enabled)
    }

    /// Returns the backup codes as they are kept.
    pub fn backup_codes(&self) -> &[BackupCodeRecord] {
        &self.backup_codes
    }

    /// Returns how many backup codes are left.
    pub fn backup_codes_left(&self) -> usize {
        let unused = self.backup_codes.iter().filter(|record| !record.used);
        unused.count()
    }

    /// Returns the steps of the second factor that count no more.
    pub fn spent_steps(&self) -> totp::SpentSteps<'_> {
        totp::SpentSteps {
            last: self.last_totp_counter,
            burnt: &self.burnt_totp_steps,
        }
    }

    /// Returns the live sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Returns the API tokens.
    pub fn api_tokens(&self) -> &ApiTokens {
        &self.api_tokens
    }

    /// Returns the digests of tokens that never count again.
    pub fn revocations(&self) -> &Revocations {
        &self.revoked
    }

    /// Returns the secret that signs tokens, if one was needed yet.
    pub fn signing_secret(&self) -> Option<&SigningSecret> {
        self.jwt_secret.as_ref()
    }

    /// Returns whether a device cookie with this digest is one that has signed in.
    pub fn knows_device(&self, hash: &Digest, now: Timestamp) -> bool {
        let is_it = |device: &KnownDevice| device.hash == *hash && device.is_known(now);
        self.known_devices.iter().any(is_it)
    }

    /// Decides what a token with these verified claims is worth; `hash` is the token's digest.
    pub fn credential(
        &self,
        hash: &Digest,
        claims: &Claims,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<Credential, CredentialRefusal> {
        if self.revoked.contains(hash) {
            return Err(tokens::TokenRefusal::Revoked.into());
        }
        if claims.typ == Some(TokenType::Session) {
            let account = self.account().map(|account| account.username);
            let session = self.sessions.identify(hash, claims, account, now)?;
            return Ok(Credential::Session(session));
        }
        let token = self.api_tokens.identify(hash, claims, address, now)?;
        Ok(Credential::Token(token))
    }

    /// Returns the secret that signs tokens, making one at first need.
    fn secret_or_new(&mut self) -> Result<SigningSecret, RandomError> {
        if let Some(secret) = &self.jwt_secret {
            return Ok(secret.clone());
        }
        let secret = SigningSecret::generate()?;
        self.jwt_secret = Some(secret.clone());
        Ok(secret)
    }

    /// Makes sure that the tokens of ended sessions never count again.
    fn retire(&mut self, ended: &[Session]) {
        for session in ended {
            self.revoked
                .insert(session.token_hash, Some(session.expires_at));
        }
    }

    /// Ends every session that `ends` picks; returns how many.
    pub fn end_sessions(&mut self, ends: impl Fn(&Session) -> bool) -> Vec<Session> {
        let ended = self.sessions.remove_where(ends);
        self.retire(&ended);
        ended
    }

    /// Ends all sessions but one. Returns those that ended.
    pub fn end_other_sessions(&mut self, kept: &str) -> Vec<Session> {
        self.end_sessions(|session| session.id != kept)
    }

    /// Notes uses that were held in memory: of sessions by id, of tokens by digest.
    pub fn note_uses(&mut self, uses: &[Use]) {
        let secret = self.jwt_secret.as_ref().map(SigningSecret::fingerprint);
        for used in uses {
            match &used.what {
                Used::Session(id) => self.sessions.note_use(id, used.at, used.from),
                Used::Token(hash) => {
                    let seen = tokens::TokenUse {
                        at: used.at,
                        from: used.from,
                        scope: used.scope,
                        signed_with: secret,
                    };
                    Arc::make_mut(&mut self.api_tokens).note_use(hash, seen);
                }
            }
        }
    }

    /// Drops what time has ended: sessions, devices, revocations of expired tokens, burnt steps.
    pub fn prune(&mut self, now: Timestamp) {
        self.sessions
            .remove_where(|session| session.expires_at <= now);
        self.known_devices.retain(|device| device.is_known(now));
        self.prune_tokens(now);
        self.revoked.prune(now);
        totp::drop_passed(&mut self.burnt_totp_steps, now);
    }

    /// Carries over what a file that was read again must not undo: `previous` is what held before.
    ///
    /// What is spent stays so ([`Self::keep_spent`]). If the password or the factor changed, the
    /// sessions that were signed in with the old one end. Returns whether that made the state
    /// another than the file.
    pub fn carry_over(&mut self, previous: &Self) -> bool {
        let as_read = self.progress();
        self.keep_spent(previous);
        let credential_changed = self.password_hash != previous.password_hash
            || self.username != previous.username
            || self.second_factor() != previous.second_factor()
            || self.door() != previous.door();
        if credential_changed {
            // A session that proved itself meanwhile, on another node, made the change itself.
            self.end_sessions(|session| {
                let before = previous.sessions.find(&session.id);
                before.is_some_and(|before| before.second_factor_at >= session.second_factor_at)
            });
        }
        self.progress() != as_read
    }

    /// Takes over what is spent in `other`, another state of the same history: no revocation is
    /// forgotten, no backup code unused, no accepted step forgotten, no passkey's counter set back.
    /// Returns whether there was any.
    pub fn keep_spent(&mut self, other: &Self) -> bool {
        if !self.has_history_of(other) {
            return false;
        }
        let before = self.progress();
        self.revoked.merge(&other.revoked);
        self.last_totp_counter = self.last_totp_counter.max(other.last_totp_counter);
        for step in &other.burnt_totp_steps {
            if !self.burnt_totp_steps.contains(step) {
                self.burnt_totp_steps.push(*step);
            }
        }
        self.passkeys.keep_counters(&other.passkeys);
        if other.api_tokens.replaced() > 0 {
            Arc::make_mut(&mut self.api_tokens).keep_ends(&other.api_tokens);
        }
        for record in &mut self.backup_codes {
            let same = |old: &BackupCodeRecord| old.used && old.code == record.code;
            record.used |= other.backup_codes.iter().any(same);
        }
        self.progress() != before
    }

    /// Returns whether the same secret signs the tokens of both, so that what one of them has
    /// spent is spent for the other.
    pub fn has_history_of(&self, other: &Self) -> bool {
        self.jwt_secret.is_some() && self.jwt_secret == other.jwt_secret
    }

    /// Makes an old copy safe whose successor cannot be read: no session of it lives on, and no
    /// code counts that may have been used since.
    pub fn distrust(&mut self, now: Timestamp) {
        self.end_sessions(|_all| true);
        if self.totp_secret.is_some() {
            let next = totp::current_step(now) + 1;
            let last = self.spent_steps().last_credible(now);
            self.last_totp_counter = last.max(Some(next));
        }
    }

    /// What only ever grows, in numbers.
    fn progress(&self) -> (usize, usize, usize, Option<i64>, usize, u64, usize) {
        (
            self.revoked.len(),
            self.backup_codes_left(),
            self.burnt_totp_steps.len(),
            self.last_totp_counter,
            self.sessions.len(),
            self.passkeys.uses(),
            self.api_tokens.replaced(),
        )
    }

    /// Remembers a device; the longest unused one makes room.
    fn remember_device(&mut self, device: KnownDevice) {
        self.known_devices.push(device);
        while self.known_devices.len() > MAX_DEVICES {
            let Some(oldest) = self
                .known_devices
                .iter()
                .map(|each| each.last_used_at)
                .min()
            else {
                return;
            };
            if let Some(index) = self
                .known_devices
                .iter()
                .position(|each| each.last_used_at == oldest)
            {
                self.known_devices.remove(index);
            }
        }
    }
}

/// Why a token that we signed does not count now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// It is a session's.
    #[error(transparent)]
    Session(#[from] sessions::SessionRefusal),
    /// It is an API token.
    #[error(transparent)]
    Token(#[from] tokens::TokenRefusal),
}

impl CredentialRefusal {
    /// Returns the reason's name for the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session(sessions::SessionRefusal::Ended) => "session_ended",
            Self::Session(sessions::SessionRefusal::Expired) => "session_expired",
            Self::Session(sessions::SessionRefusal::Idle) => "session_idle",
            Self::Session(sessions::SessionRefusal::OtherAccount) => "other_account",
            Self::Token(tokens::TokenRefusal::Unknown) => "unknown",
            Self::Token(tokens::TokenRefusal::Revoked) => "revoked",
            Self::Token(tokens::TokenRefusal::Expired) => "expired",
            Self::Token(tokens::TokenRefusal::Rotated) => "rotated",
            Self::Token(tokens::TokenRefusal::UnknownScope) => "unknown_scope",
            Self::Token(tokens::TokenRefusal::WrongNetwork) => "wrong_network",
        }
    }
}

/// One use of a credential, held in memory until something else is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What was used.
    pub what: Used,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: IpAddr,
    /// How far the token reached; none for a session.
    pub scope: Option<rights::Scope>,
}

/// What was used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Used {
    /// A session, by id.
    Session(String),
    /// An API token, by digest.
    Token(Digest),
}

/// Writes a time as the state file has it: RFC 3339, UTC, whole seconds.
pub fn rfc3339(at: Timestamp) -> String {
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    at.to_string()
}
