//! The ceremonies, with a passkey made of software: what holds, and everything that must not.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::*;
use crate::access::hosts::Origin;
use crate::access::jwt::SigningSecret;
use crate::access::passkeys::soft_passkey::{PRESENT, SoftPasskey, VERIFIED};

/// The passkey may be copied to other authenticators, and was (§6.1, BE and BS).
const COPIED: u8 = 0b0001_1000;

pub(super) const HERE: &str = "https://pve.example.net:8008";

pub(super) fn party(origin: &str) -> RelyingParty {
    RelyingParty::of(Some(&Origin::parse(origin).unwrap())).unwrap()
}

pub(super) fn registrant() -> Registrant {
    let secret = SigningSecret::parse(&"s".repeat(40)).unwrap();
    Registrant {
        user_handle: UserHandle::derive(&secret),
        username: "owner".to_owned(),
        display_name: "Owner".to_owned(),
        existing: Vec::new(),
    }
}

fn register(soft: &mut SoftPasskey, origin: &str) -> Result<Passkey, PasskeyError> {
    let (options, pending) = begin_registration(&party(HERE), &registrant()).unwrap();
    finish(&pending, &soft.create(&options, origin))
}

pub(super) fn finish(
    pending: &PendingRegistration,
    answer: &Value,
) -> Result<Passkey, PasskeyError> {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    finish_registration(pending, answer, Label::parse("phone").unwrap(), now)
}

fn known(passkeys: impl IntoIterator<Item = Passkey>) -> Passkeys {
    let raw = |passkey: Passkey| serde_json::value::to_raw_value(&passkey).unwrap();
    passkeys.into_iter().map(raw).collect()
}

pub(super) fn registered() -> (SoftPasskey, Passkeys) {
    let mut soft = SoftPasskey::new(1);
    let passkey = register(&mut soft, HERE).unwrap();
    (soft, known([passkey]))
}

fn prove(soft: &mut SoftPasskey, passkeys: &Passkeys) -> Result<Assertion, PasskeyError> {
    let (options, pending) = begin_assertion(&party(HERE)).unwrap();
    finish_assertion(pending, &soft.get(&options, HERE), passkeys)
}

#[test]
fn a_passkey_is_made_and_proves_itself() {
    let mut soft = SoftPasskey::new(1);
    soft.flags = PRESENT | VERIFIED | COPIED;
    let passkey = register(&mut soft, HERE).unwrap();
    assert_eq!(passkey.rp_id.as_str(), "pve.example.net");
    assert_eq!(passkey.credential_id.as_bytes(), soft.credential_id);
    assert_eq!(passkey.id.len(), 16);
    assert_eq!((passkey.counter, passkey.backed_up), (0, true));
    assert_eq!(passkey.created_at.to_string(), "2027-01-15T08:00:00Z");

    let passkeys = known([passkey.clone()]);
    for counter in [1, 2, 3] {
        let proved = prove(&mut soft, &passkeys).unwrap();
        assert_eq!(proved.passkey(), passkey.id);
        assert_eq!(proved.counter(), counter);
        assert!(proved.is_backed_up());
    }
    (soft.counter, soft.step) = (0, 0);
    assert_eq!(prove(&mut soft, &passkeys).unwrap().counter(), 0);
}

#[test]
fn browsers_are_told_what_the_page_needs_and_nothing_about_the_account() {
    let mut who = registrant();
    who.existing
        .push(CredentialId::from_bytes(vec![5; 16]).unwrap());
    let (made, _pending) = begin_registration(&party(HERE), &who).unwrap();
    let made = &made["publicKey"];
    assert_eq!(
        made["rp"],
        json!({ "id": "pve.example.net", "name": "ProxMenux Monitor" })
    );
    assert_eq!(made["attestation"], "none");
    assert_eq!(
        made["authenticatorSelection"],
        json!({ "residentKey": "required", "requireResidentKey": true, "userVerification": "required" })
    );
    assert_eq!(
        made["excludeCredentials"][0]["id"],
        "BQUFBQUFBQUFBQUFBQUFBQ"
    );
    assert_eq!(made["pubKeyCredParams"][0]["alg"], -7);
    assert_eq!(made["user"]["name"], "owner");
    assert_eq!(made["user"]["id"].as_str().unwrap().len(), 22);

    let (asked, _pending) = begin_assertion(&party(HERE)).unwrap();
    assert_eq!(asked.as_object().unwrap().len(), 1, "{asked}");
    let mut asked = asked["publicKey"].clone();
    let challenge = asked["challenge"].take();
    assert!(challenge.as_str().unwrap().len() >= 43);
    assert_eq!(
        asked,
        json!({
            "challenge": null,
            "timeout": 300_000,
            "rpId": "pve.example.net",
            "allowCredentials": [],
            "userVerification": "required",
        })
    );
    assert_ne!(
        begin_assertion(&party(HERE)).unwrap().0["publicKey"]["challenge"],
        challenge
    );
}

/// Other origins of the same name, and names that resemble it.
const ELSEWHERE: [&str; 6] = [
    "https://pve.example.net",
    "https://pve.example.net:9009",
    "http://pve.example.net:8008",
    "https://www.pve.example.net:8008",
    "https://example.net:8008",
    "https://evilpve.example.net:8008",
];

#[test]
fn another_origin_is_refused() {
    let (mut soft, passkeys) = registered();
    for origin in ELSEWHERE {
        assert_eq!(
            register(&mut soft, origin),
            Err(PasskeyError::WrongOrigin),
            "{origin}"
        );
        let (options, pending) = begin_assertion(&party(HERE)).unwrap();
        let proved = finish_assertion(pending, &soft.get(&options, origin), &passkeys);
        assert_eq!(proved, Err(PasskeyError::WrongOrigin), "{origin}");
    }
    soft.cross_origin = true;
    assert_eq!(register(&mut soft, HERE), Err(PasskeyError::WrongOrigin));
    assert_eq!(prove(&mut soft, &passkeys), Err(PasskeyError::WrongOrigin));
}

#[test]
fn another_site_is_refused() {
    let (mut soft, passkeys) = registered();
    let (mut options, pending) = begin_registration(&party(HERE), &registrant()).unwrap();
    options["publicKey"]["rp"]["id"] = json!("example.net");
    let made = finish(&pending, &soft.create(&options, HERE));
    assert_eq!(made, Err(PasskeyError::WrongSite));

    let (mut options, pending) = begin_assertion(&party(HERE)).unwrap();
    options["publicKey"]["rpId"] = json!("example.net");
    let proved = finish_assertion(pending, &soft.get(&options, HERE), &passkeys);
    assert_eq!(proved, Err(PasskeyError::WrongSite));

    let there = "https://dash.example.net";
    let (options, pending) = begin_assertion(&party(there)).unwrap();
    let proved = finish_assertion(pending, &soft.get(&options, there), &passkeys);
    assert_eq!(
        proved,
        Err(PasskeyError::WrongSite),
        "it was made for another name"
    );
}

#[test]
fn the_answer_to_another_question_is_refused() {
    let (mut soft, passkeys) = registered();
    let (old, _pending) = begin_registration(&party(HERE), &registrant()).unwrap();
    let (_options, pending) = begin_registration(&party(HERE), &registrant()).unwrap();
    let made = finish(&pending, &soft.create(&old, HERE));
    assert_eq!(made, Err(PasskeyError::WrongChallenge));

    let (old, _pending) = begin_assertion(&party(HERE)).unwrap();
    let (options, pending) = begin_assertion(&party(HERE)).unwrap();
    let proved = finish_assertion(pending.clone(), &soft.get(&old, HERE), &passkeys);
    assert_eq!(proved, Err(PasskeyError::WrongChallenge));
    let mut maker = SoftPasskey::new(1);
    let made = json!({ "publicKey": {
        "challenge": options["publicKey"]["challenge"],
        "rp": { "id": "pve.example.net" },
        "user": { "id": "" },
    }});
    let made = maker.create(&made, HERE);
    let mut mixed = soft.get(&options, HERE);
    mixed["response"]["clientDataJSON"] = made["response"]["clientDataJSON"].clone();
    let proved = finish_assertion(pending, &mixed, &passkeys);
    assert_eq!(
        proved,
        Err(PasskeyError::Unacceptable),
        "made is not proved"
    );
}

#[test]
fn a_person_who_was_not_verified_is_refused() {
    let (mut soft, passkeys) = registered();
    for flags in [0, PRESENT, VERIFIED] {
        soft.flags = flags;
        assert_eq!(
            register(&mut soft, HERE),
            Err(PasskeyError::NotVerified),
            "{flags}"
        );
        assert_eq!(
            prove(&mut soft, &passkeys),
            Err(PasskeyError::NotVerified),
            "{flags}"
        );
    }
}

#[test]
fn a_counter_that_goes_back_is_refused() {
    let (mut soft, _passkeys) = registered();
    soft.counter = 7;
    let passkeys = known([register(&mut soft, HERE).unwrap()]);
    for (before, is_fine) in [(7, true), (6, false), (0, false)] {
        soft.counter = before;
        let proved = prove(&mut soft, &passkeys).map(|proved| proved.counter());
        let expected = if is_fine {
            Ok(before + 1)
        } else {
            Err(PasskeyError::CounterWentBack)
        };
        assert_eq!(proved, expected, "{before}");
    }
}

#[test]
fn a_passkey_that_is_not_the_accounts_is_refused() {
    let (mut soft, passkeys) = registered();
    let mut stranger = SoftPasskey::new(2);
    stranger.user_handle.clone_from(&soft.user_handle);
    assert_eq!(prove(&mut stranger, &passkeys), Err(PasskeyError::Unknown));
    assert_eq!(
        prove(&mut soft, &Passkeys::default()),
        Err(PasskeyError::Unknown)
    );

    stranger.credential_id.clone_from(&soft.credential_id);
    assert_eq!(
        prove(&mut stranger, &passkeys),
        Err(PasskeyError::WrongSignature)
    );
    for handle in [None, Some(vec![0; 16]), Some(Vec::new())] {
        soft.user_handle = handle;
        assert_eq!(prove(&mut soft, &passkeys), Err(PasskeyError::WrongAccount));
    }
}

#[test]
fn a_passkey_that_is_there_or_has_no_proper_id_is_not_made() {
    let (mut soft, passkeys) = registered();
    let mut who = registrant();
    let ids = passkeys.iter().map(|each| each.credential_id.clone());
    who.existing = ids.collect();
    let (options, pending) = begin_registration(&party(HERE), &who).unwrap();
    let made = finish(&pending, &soft.create(&options, HERE));
    assert_eq!(made, Err(PasskeyError::NotAskedFor));
    for length in [0, 15, 1024] {
        soft.credential_id = vec![1; length];
        assert!(register(&mut soft, HERE).is_err(), "{length}");
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let (mut soft, passkeys) = registered();
    let (options, pending) = begin_assertion(&party(HERE)).unwrap();
    let answer = soft.get(&options, HERE);
    for part in ["clientDataJSON", "authenticatorData", "signature"] {
        let text = answer["response"][part].as_str().unwrap();
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for index in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[index] ^= 1;
            let mut changed = answer.clone();
            changed["response"][part] = BASE64URL_NOPAD.encode(&spoilt).into();
            assert!(finish_assertion(pending.clone(), &changed, &passkeys).is_err());
        }
    }
    assert!(finish_assertion(pending, &answer, &passkeys).is_ok());
}
