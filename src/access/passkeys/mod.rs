//! Passkeys (WebAuthn Level 3): keys on a person's devices that sign in without a password.
//!
//! | to learn how | read |
//! |---|---|
//! | a page's address decides whether there are passkeys | [`relying_party`] |
//! | a passkey is made, and proves itself | [`ceremony`] |
//! | its public key is written down | [`public_key`] |
//!
//! Signature, challenge, origin, site and flags are checked by a library. What follows from a
//! proof is decided here, on the state as it is then.
//!
//! **Invariant:** an [`Assertion`] comes from a ceremony that succeeded, and from nothing else.

pub mod ceremony;
mod handles;
pub mod public_key;
mod record;
pub mod relying_party;
#[cfg(test)]
#[path = "../../../tests/it/soft_passkey.rs"]
mod soft_passkey;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::Access;
use super::label::Label;
use super::sessions::{Factor, Session};
use super::sign_in::{Arrival, Confirmation, OpenSessionError, ProofError, SignedIn};

pub use ceremony::{Assertion, PasskeyError, Registrant};
pub use handles::{CredentialId, ParseCredentialIdError, UserHandle};
pub use public_key::PublicKey;
pub use record::{Passkey, Passkeys};
pub use relying_party::{RelyingParty, Unavailable};

/// How many passkeys there are at most.
pub const MAX_PASSKEYS: usize = 20;

/// A passkey could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddPasskeyError {
    /// The session that asks has ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// There are as many as there may be.
    #[error("there are {MAX_PASSKEYS} passkeys already")]
    TooMany,
    /// It is there already.
    #[error("the passkey is there already")]
    AlreadyThere,
}

/// A passkey could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangePasskeyError {
    /// What confirms it was not accepted.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// There is no such passkey.
    #[error("there is no such passkey")]
    NotFound,
}

/// What a passkey proved does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsePasskeyError {
    /// No password protects the dashboard, so there is nothing to prove.
    #[error("no password protects the dashboard")]
    NotProtected,
    /// It was removed meanwhile.
    #[error("there is no such passkey any more")]
    Removed,
    /// Its counter has not grown: there may be a copy of it.
    #[error("the passkey's counter went back")]
    CounterWentBack,
}

/// Signing in was refused.
#[derive(Debug, thiserror::Error)]
pub enum PasskeySignInError {
    /// The proof does not count.
    #[error(transparent)]
    Use(#[from] UsePasskeyError),
    /// The session could not be opened.
    #[error(transparent)]
    Session(#[from] OpenSessionError),
}

impl Access {
    /// Returns the passkeys.
    pub fn passkeys(&self) -> &Passkeys {
        &self.passkeys
    }

    /// Returns whether there is room for another passkey.
    pub fn has_room_for_passkey(&self) -> bool {
        self.passkeys.len() < MAX_PASSKEYS
    }

    /// Accepts what confirms the making of a passkey. Returns for whom it is made.
    pub fn allow_passkey(
        &mut self,
        confirmation: &Confirmation,
        now: Timestamp,
    ) -> Result<Registrant, ProofError> {
        self.confirm(confirmation, now)?;
        self.registrant().ok_or(ProofError::NotProtected)
    }

    fn registrant(&self) -> Option<Registrant> {
        let username = self.account()?.username.to_owned();
        let known = self.passkeys.iter().next();
        let user_handle = match known {
            Some(passkey) => passkey.user_handle,
            None => UserHandle::derive(self.jwt_secret.as_ref()?),
        };
        let ids = self.passkeys.iter().map(|each| each.credential_id.clone());
        Some(Registrant {
            user_handle,
            display_name: self
                .display_name
                .clone()
                .unwrap_or_else(|| username.clone()),
            username,
            existing: ids.collect(),
        })
    }

    /// Adds a passkey that a session's person has made; every other session ends. Returns those
    /// that ended.
    pub fn add_passkey(
        &mut self,
        session: &str,
        passkey: Passkey,
    ) -> Result<Vec<Session>, AddPasskeyError> {
        if self.account().is_none() || self.sessions.find(session).is_none() {
            return Err(AddPasskeyError::SessionEnded);
        }
        let id = passkey.credential_id.as_bytes();
        if self.passkeys.find_credential(id).is_some() {
            return Err(AddPasskeyError::AlreadyThere);
        }
        if !self.has_room_for_passkey() {
            return Err(AddPasskeyError::TooMany);
        }
        self.passkeys.push(passkey);
        Ok(self.end_other_sessions(session))
    }

    /// Gives a passkey another name. Returns it as it is then.
    pub fn rename_passkey(
        &mut self,
        confirmation: &Confirmation,
        id: &str,
        name: Label,
        now: Timestamp,
    ) -> Result<Passkey, ChangePasskeyError> {
        self.confirm(confirmation, now)?;
        let passkey = self.passkeys.find_mut(id);
        let passkey = passkey.ok_or(ChangePasskeyError::NotFound)?;
        passkey.name = name;
        Ok(passkey.clone())
    }

    /// Removes a passkey; every session but the one that asks ends. Returns those that ended.
    pub fn remove_passkey(
        &mut self,
        confirmation: &Confirmation,
        id: &str,
        now: Timestamp,
    ) -> Result<Vec<Session>, ChangePasskeyError> {
        self.confirm(confirmation, now)?;
        if !self.passkeys.remove(id) {
            return Err(ChangePasskeyError::NotFound);
        }
        Ok(self.end_other_sessions(&confirmation.session))
    }

    /// Accepts what a passkey proved, and notes its use. Of two uses with the same counter, the
    /// later one is refused.
    pub(super) fn accept_passkey(
        &mut self,
        assertion: &Assertion,
        now: Timestamp,
    ) -> Result<(), UsePasskeyError> {
        if self.account().is_none() {
            return Err(UsePasskeyError::NotProtected);
        }
        let passkey = self.passkeys.find_mut(assertion.passkey());
        let passkey = passkey.ok_or(UsePasskeyError::Removed)?;
        if !passkey.is_counted_on(assertion.counter()) {
            return Err(UsePasskeyError::CounterWentBack);
        }
        passkey.counter = assertion.counter();
        passkey.backed_up = assertion.is_backed_up();
        passkey.last_used_at = Timestamp::from_second(now.as_second()).ok();
        Ok(())
    }

    /// Opens a session for what a passkey proved, which is a password and a second factor in one.
    pub fn sign_in_with_passkey(
        &mut self,
        assertion: &Assertion,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<SignedIn, PasskeySignInError> {
        self.accept_passkey(assertion, now)?;
        Ok(self.welcome(vec![Factor::Passkey], arrival, now)?)
    }
}
