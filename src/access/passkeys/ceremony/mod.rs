//! How a passkey is made (WebAuthn §7.1) and how it proves itself (§7.2): in two steps each, with
//! what the second must fit kept in between.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use webauthn_rs::prelude::{
    Credential, DiscoverableAuthentication, ParsedAttestation, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, WebauthnError,
};
use webauthn_rs_core::proto::{
    AttestationFormat, CollectedClientData, RegisteredExtensions, ResidentKeyRequirement,
    UserVerificationPolicy,
};

use super::handles::{CredentialId, UserHandle};
use super::public_key::PublicKey;
use super::relying_party::RelyingParty;
use super::{Passkey, Passkeys};
use crate::access::hosts::HostName;
use crate::access::label::Label;

/// For whom a passkey is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// The name that authenticators know the account by.
    pub user_handle: UserHandle,
    /// The name that signs in.
    pub username: String,
    /// The name that is shown.
    pub display_name: String,
    /// The passkeys that there are: an authenticator that has one makes no other.
    pub existing: Vec<CredentialId>,
}

/// A passkey that is being made.
#[derive(Clone)]
pub struct PendingRegistration {
    party: RelyingParty,
    user_handle: UserHandle,
    state: PasskeyRegistration,
}

/// A proof that is being waited for.
#[derive(Clone)]
pub struct PendingAssertion {
    party: RelyingParty,
    state: DiscoverableAuthentication,
}

/// What a passkey proved: that its person is there, and was verified by the authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    passkey: String,
    counter: u32,
    is_backed_up: bool,
}

impl Assertion {
    /// Returns the id of the passkey.
    pub fn passkey(&self) -> &str {
        &self.passkey
    }

    /// Returns the authenticator's counter.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    /// Returns whether the passkey was copied to other authenticators of the same person.
    pub fn is_backed_up(&self) -> bool {
        self.is_backed_up
    }

    /// Says that a passkey proved itself, for tests of what follows from that.
    #[cfg(test)]
    pub(super) fn of(passkey: &str, counter: u32) -> Self {
        Self {
            passkey: passkey.to_owned(),
            counter,
            is_backed_up: false,
        }
    }
}

/// Why a ceremony came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// It cannot be begun.
    #[error("the ceremony could not be prepared")]
    Unprepared,
    /// What was sent is not what browsers send.
    #[error("not the answer of a browser")]
    Malformed,
    /// It answers another question than the one asked.
    #[error("the answer is to another challenge")]
    WrongChallenge,
    /// It comes from a page of another origin, or from a frame in one.
    #[error("the answer comes from another page")]
    WrongOrigin,
    /// It is for another site.
    #[error("the passkey belongs to another site")]
    WrongSite,
    /// Nobody was there, or nobody knows who it was.
    #[error("the person was not verified")]
    NotVerified,
    /// The authenticator's key is of a kind that was not asked for, or one that is there already:
    /// the library has one word for both.
    #[error("the key is of a kind that is not taken, or is there already")]
    NotAskedFor,
    /// There is no such passkey.
    #[error("there is no such passkey")]
    Unknown,
    /// The authenticator knows the account by another name.
    #[error("the passkey is another account's")]
    WrongAccount,
    /// The signature does not fit.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The counter has not grown: there may be a copy of the passkey.
    #[error("the passkey's counter went back")]
    CounterWentBack,
    /// Something else is not as the standard wants it.
    #[error("the answer breaks the standard")]
    Unacceptable,
}

/// Begins to make a passkey. Returns what the browser is told, and what its answer must fit.
pub fn begin_registration(
    party: &RelyingParty,
    registrant: &Registrant,
) -> Result<(Value, PendingRegistration), PasskeyError> {
    let existing = registrant.existing.iter();
    let existing = existing.map(|id| id.as_bytes().to_vec()).collect();
    let (mut options, state) = party
        .site()
        .start_passkey_registration(
            registrant.user_handle.to_uuid(),
            &registrant.username,
            &registrant.display_name,
            Some(existing),
        )
        .map_err(|_refused| PasskeyError::Unprepared)?;
    // The library leaves it open whether the authenticator can find the passkey without being
    // told its id (§5.4.4). Signing in tells nobody which ids there are, so it must.
    if let Some(selection) = &mut options.public_key.authenticator_selection {
        selection.resident_key = Some(ResidentKeyRequirement::Required);
        selection.require_resident_key = true;
    }
    if let Some(extensions) = &mut options.public_key.extensions {
        extensions.uvm = None;
    }
    let options = serde_json::to_value(options).map_err(|_refused| PasskeyError::Unprepared)?;
    let pending = PendingRegistration {
        party: party.clone(),
        user_handle: registrant.user_handle,
        state,
    };
    Ok((options, pending))
}

/// Ends the making of a passkey with what the browser answered.
pub fn finish_registration(
    pending: &PendingRegistration,
    answer: &Value,
    name: Label,
    now: Timestamp,
) -> Result<Passkey, PasskeyError> {
    let answer = RegisterPublicKeyCredential::deserialize(answer)
        .map_err(|_malformed| PasskeyError::Malformed)?;
    let made = pending
        .party
        .site()
        .finish_passkey_registration(&answer, &pending.state)
        .map_err(|error| refused(&error))?;
    let made = Credential::from(made);
    if !made.user_verified {
        return Err(PasskeyError::NotVerified);
    }
    let credential_id = CredentialId::from_bytes(made.cred_id);
    let credential_id = credential_id.map_err(|_length| PasskeyError::Unacceptable)?;
    let public_key = PublicKey::from_cose(&made.cred);
    Ok(Passkey {
        id: credential_id.short(),
        credential_id,
        user_handle: pending.user_handle,
        rp_id: pending.party.id().clone(),
        public_key: public_key.map_err(|_other| PasskeyError::NotAskedFor)?,
        counter: made.counter,
        backup_eligible: made.backup_eligible,
        backed_up: made.backup_state,
        name,
        created_at: Timestamp::from_second(now.as_second()).unwrap_or(now),
        last_used_at: None,
        other: serde_json::Map::new(),
    })
}

/// Begins to wait for a proof of any passkey of the site. Nobody learns which ones there are.
pub fn begin_assertion(party: &RelyingParty) -> Result<(Value, PendingAssertion), PasskeyError> {
    let (mut options, state) = party
        .site()
        .start_discoverable_authentication()
        .map_err(|_refused| PasskeyError::Unprepared)?;
    // Whether the browser waits for a click or offers by itself is the page's business.
    options.mediation = None;
    options.public_key.extensions = None;
    let options = serde_json::to_value(options).map_err(|_refused| PasskeyError::Unprepared)?;
    let party = party.clone();
    Ok((options, PendingAssertion { party, state }))
}

/// Ends the waiting with what the browser answered.
pub fn finish_assertion(
    pending: PendingAssertion,
    answer: &Value,
    passkeys: &Passkeys,
) -> Result<Assertion, PasskeyError> {
    let answer =
        PublicKeyCredential::deserialize(answer).map_err(|_malformed| PasskeyError::Malformed)?;
    let passkey = passkeys
        .find_credential(answer.get_credential_id())
        .ok_or(PasskeyError::Unknown)?;
    if !belongs_to(passkey, pending.party.id()) {
        return Err(PasskeyError::WrongSite);
    }
    if answer.get_user_unique_id() != Some(passkey.user_handle.as_bytes()) {
        return Err(PasskeyError::WrongAccount);
    }
    let proved = pending
        .party
        .site()
        .finish_discoverable_authentication_v2(&answer, pending.state, credential(passkey))
        .map_err(|error| refused(&error))?;
    if !proved.user_verified() {
        return Err(PasskeyError::NotVerified);
    }
    if is_framed(&answer)? {
        return Err(PasskeyError::WrongOrigin);
    }
    Ok(Assertion {
        passkey: passkey.id.clone(),
        counter: proved.counter(),
        is_backed_up: proved.backup_state(),
    })
}

/// Returns whether the page was in a frame of another site (§7.2, step 12). The library asks that
/// only when a passkey is made.
fn is_framed(answer: &PublicKeyCredential) -> Result<bool, PasskeyError> {
    let said = serde_json::from_slice::<CollectedClientData>(&answer.response.client_data_json)
        .map_err(|_malformed| PasskeyError::Malformed)?;
    Ok(said.cross_origin == Some(true) || said.unknown_keys.contains_key("topOrigin"))
}

/// Returns whether a passkey is one of this site.
pub(super) fn belongs_to(passkey: &Passkey, site: &HostName) -> bool {
    passkey.rp_id == *site
}

/// Returns a passkey as the library wants it: one that was verified when it was made.
fn credential(passkey: &Passkey) -> Credential {
    Credential {
        cred_id: passkey.credential_id.as_bytes().to_vec(),
        cred: passkey.public_key.to_cose(),
        counter: passkey.counter,
        transports: None,
        user_verified: true,
        backup_eligible: passkey.backup_eligible,
        backup_state: passkey.backed_up,
        registration_policy: UserVerificationPolicy::Required,
        extensions: RegisteredExtensions::none(),
        attestation: ParsedAttestation::default(),
        attestation_format: AttestationFormat::None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library has eighty ways to refuse; these are the ones that say something to people"
)]
fn refused(error: &WebauthnError) -> PasskeyError {
    match error {
        WebauthnError::MismatchedChallenge => PasskeyError::WrongChallenge,
        WebauthnError::InvalidRPOrigin | WebauthnError::CredentialCrossOrigin => {
            PasskeyError::WrongOrigin
        }
        WebauthnError::InvalidRPIDHash => PasskeyError::WrongSite,
        WebauthnError::UserNotPresent | WebauthnError::UserNotVerified => PasskeyError::NotVerified,
        WebauthnError::CredentialAlteredAlgFromRequest => PasskeyError::NotAskedFor,
        WebauthnError::AuthenticationFailure | WebauthnError::SignatureInvalid => {
            PasskeyError::WrongSignature
        }
        WebauthnError::CredentialPossibleCompromise => PasskeyError::CounterWentBack,
        WebauthnError::ParseJSONFailure(_)
        | WebauthnError::ParseCBORFailure(_)
        | WebauthnError::ParseNOMFailure => PasskeyError::Malformed,
        _ => PasskeyError::Unacceptable,
    }
}

impl fmt::Debug for PendingRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingRegistration(..)")
    }
}

impl fmt::Debug for PendingAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingAssertion(..)")
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
