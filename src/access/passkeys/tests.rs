//! What follows from passkeys: added, used, renamed, removed.

use serde_json::json;

use super::soft_passkey::SoftPasskey;
use super::*;
use crate::access::hosts::Origin;
use crate::access::jwt::SigningSecret;
use crate::access::passwords::PasswordHash;
use crate::access::sessions::Origin as From;
use crate::access::sign_in::{CodeDemand, Proof, Proved};

const HASH: &str =
    "pbkdf2_sha256$1$c2FsdHNhbHRzYWx0c2FsdA==$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn arrival() -> Arrival {
    let origin = From {
        address: "192.0.2.9".parse().unwrap(),
        user_agent: String::new(),
    };
    Arrival {
        origin,
        device: None,
    }
}

fn proof() -> Proof {
    Proof {
        username: "owner".to_owned(),
        hash: PasswordHash::parse(HASH).unwrap(),
        upgrade: None,
        app: None,
        second: None,
    }
}

/// An account with two sessions, the first of which asks for everything here.
fn account() -> (Access, Confirmation) {
    let text = json!({
        "enabled": true,
        "username": "owner",
        "password_hash": HASH,
        "jwt_secret": "a signing secret of more than thirty-two characters",
    });
    let mut access = Access::from_json(&text.to_string()).unwrap();
    let [asking, _other] = [1, 2].map(|second| {
        let signed_in = access.sign_in(&proof(), &arrival(), at(second));
        signed_in.unwrap().secrets.id
    });
    let confirmation = Confirmation {
        session: asking,
        proved: Proved::from(proof()),
        demand: CodeDemand::UnlessProvedLately,
    };
    (access, confirmation)
}

fn made(access: &Access, number: u8) -> Passkey {
    let page = Origin::parse("https://pve.example.net").unwrap();
    let party = RelyingParty::of(Some(&page)).unwrap();
    let registrant = access.registrant().unwrap();
    let (options, pending) = ceremony::begin_registration(&party, &registrant).unwrap();
    let answer = SoftPasskey::new(number).create(&options, "https://pve.example.net");
    ceremony::finish_registration(&pending, &answer, label("phone"), at(1)).unwrap()
}

fn with_passkey(counter: u32) -> (Access, Confirmation, String) {
    let (mut access, confirmation) = account();
    let mut passkey = made(&access, 1);
    passkey.counter = counter;
    let id = passkey.id.clone();
    access.passkeys.push(passkey);
    (access, confirmation, id)
}

#[test]
fn a_passkey_is_added_once_and_twenty_at_most() {
    let (mut access, Confirmation { session, .. }) = account();
    for number in 1..=20 {
        assert!(access.has_room_for_passkey());
        let passkey = made(&access, number);
        let ended = access.add_passkey(&session, passkey.clone()).unwrap();
        assert_eq!(ended.len(), usize::from(number == 1));
        let again = access.add_passkey(&session, passkey);
        assert_eq!(again, Err(AddPasskeyError::AlreadyThere));
    }
    let one_more = made(&access, 21);
    assert!(!access.has_room_for_passkey());
    let refused = access.add_passkey(&session, one_more);
    assert_eq!(refused, Err(AddPasskeyError::TooMany));
    assert_eq!(access.passkeys().len(), MAX_PASSKEYS);
}

#[test]
fn without_an_account_or_a_session_there_are_no_passkeys() {
    let (mut access, confirmation, id) = with_passkey(0);
    let passkey = made(&access, 2);
    let added = access.add_passkey("ended", passkey.clone());
    assert_eq!(added, Err(AddPasskeyError::SessionEnded));
    access.enabled = false;

    let added = access.add_passkey(&confirmation.session, passkey);
    assert_eq!(added, Err(AddPasskeyError::SessionEnded));
    let allowed = access.allow_passkey(&confirmation, at(3));
    assert_eq!(allowed, Err(ProofError::NotProtected));
    let used = access.accept_passkey(&Assertion::of(&id, 1), at(3));
    assert_eq!(used, Err(UsePasskeyError::NotProtected));
}

#[test]
fn a_passkey_is_renamed_and_removed_by_its_id_when_that_is_confirmed() {
    let (mut access, confirmation, id) = with_passkey(0);
    let mut wrong = confirmation.clone();
    wrong.proved = Proved::from(Proof {
        username: "other".to_owned(),
        ..proof()
    });
    let refused = Err(ChangePasskeyError::Proof(ProofError::Changed));
    let renamed = access.rename_passkey(&wrong, &id, label("tablet"), at(3));
    assert_eq!(renamed.map(|_| ()), refused);
    let removed = access.remove_passkey(&wrong, &id, at(3));
    assert_eq!(removed.map(|_| ()), refused);
    assert!(access.allow_passkey(&wrong, at(3)).is_err());
    assert_eq!(access.passkeys().find(&id).unwrap().name.as_str(), "phone");

    let renamed = access.rename_passkey(&confirmation, &id, label("tablet"), at(3));
    assert_eq!(renamed.as_ref().ok(), access.passkeys().find(&id));
    assert_eq!(renamed.unwrap().name.as_str(), "tablet");
    let unknown = access.rename_passkey(&confirmation, "x", label("y"), at(3));
    assert_eq!(unknown, Err(ChangePasskeyError::NotFound));

    let removed = access.remove_passkey(&confirmation, &id, at(3)).unwrap();
    assert_eq!((removed.len(), access.sessions().len()), (1, 1));
    let again = access.remove_passkey(&confirmation, &id, at(3));
    assert_eq!(again, Err(ChangePasskeyError::NotFound));
    let used = access.accept_passkey(&Assertion::of(&id, 1), at(3));
    assert_eq!(used, Err(UsePasskeyError::Removed));
}

#[test]
fn a_counter_never_goes_back() {
    for (stored, sent, is_fine) in [
        (0, 0, true),
        (0, 1, true),
        (7, 8, true),
        (7, u32::MAX, true),
        (7, 7, false),
        (7, 6, false),
        (7, 0, false),
        (u32::MAX, 0, false),
    ] {
        let (mut access, _confirmation, id) = with_passkey(stored);
        let used = access.accept_passkey(&Assertion::of(&id, sent), at(3));
        let expected = if is_fine {
            Ok(())
        } else {
            Err(UsePasskeyError::CounterWentBack)
        };
        assert_eq!(used, expected, "{stored} {sent}");
        let passkey = access.passkeys().find(&id).unwrap();
        assert_eq!(passkey.counter, if is_fine { sent } else { stored });
        assert_eq!(passkey.last_used_at, is_fine.then(|| at(3)));
    }
}

#[test]
fn a_passkey_opens_a_session_with_a_second_factor() {
    let (mut access, _confirmation, id) = with_passkey(3);

    let signed_in = access.sign_in_with_passkey(&Assertion::of(&id, 4), &arrival(), at(9));
    let signed_in = signed_in.unwrap();
    assert_eq!(signed_in.factors, [Factor::Passkey]);
    let session = access.sessions().find(&signed_in.secrets.id).unwrap();
    assert_eq!(session.second_factor_at, Some(at(9)));

    let again = access.sign_in_with_passkey(&Assertion::of(&id, 4), &arrival(), at(9));
    let wanted = UsePasskeyError::CounterWentBack;
    assert!(matches!(again, Err(PasskeySignInError::Use(error)) if error == wanted));
    assert_eq!(access.sessions().len(), 3);
}

#[test]
fn a_passkey_confirms_once_and_counts_as_a_second_factor() {
    let (mut access, mut confirmation, id) = with_passkey(3);
    confirmation.proved = Proved::Passkey {
        username: "owner".to_owned(),
        assertion: Assertion::of(&id, 4),
    };
    access.confirm(&confirmation, at(9)).unwrap();
    assert!(access.proved_lately(&confirmation.session, at(9)));
    let again = access.confirm(&confirmation, at(9));
    assert_eq!(again, Err(ProofError::Changed));
}

#[test]
fn the_account_goes_by_one_handle_that_outlives_the_secret() {
    let (mut access, confirmation, id) = with_passkey(0);
    let first = access.passkeys().find(&id).unwrap().user_handle;
    assert_eq!(account().0.registrant().unwrap().user_handle, first);

    access.jwt_secret = Some(SigningSecret::generate().unwrap());
    let registrant = access.allow_passkey(&confirmation, at(3)).unwrap();
    assert_eq!(registrant.user_handle, first);
    assert_eq!(registrant.existing.len(), 1);
    assert_eq!(registrant.display_name, "owner");
    access.passkeys.clear();
    assert_ne!(access.registrant().unwrap().user_handle, first);
}
