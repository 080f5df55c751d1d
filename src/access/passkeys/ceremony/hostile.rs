//! What strangers may send in place of an answer: nothing of it panics, and nothing of it counts.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;

use super::tests::{HERE, finish, party, registered, registrant};
use super::*;
use crate::access::passkeys::soft_passkey::attestation_object;

/// One ceremony of each kind, with the right answers.
struct Right {
    registration: (PendingRegistration, Value),
    assertion: (PendingAssertion, Value),
    passkeys: Passkeys,
}

static RIGHT: LazyLock<Right> = LazyLock::new(|| {
    let (mut soft, passkeys) = registered();
    let (options, making) = begin_registration(&party(HERE), &registrant()).unwrap();
    let made = soft.create(&options, HERE);
    let (options, waiting) = begin_assertion(&party(HERE)).unwrap();
    let proved = soft.get(&options, HERE);
    Right {
        registration: (making, made),
        assertion: (waiting, proved),
        passkeys,
    }
});

/// JSON that resembles nothing, or a part of an answer.
fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        20 => any::<Option<bool>>().prop_map(Value::from),
        20 => any::<i64>().prop_map(Value::from),
        20 => any::<f64>().prop_map(Value::from),
        20 => ".{0,20}".prop_map(Value::from),
        20 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| encoded(&bytes)),
        1 => Just(Value::from("A".repeat(65_536))),
    ];
    leaf.prop_recursive(5, 24, 5, |inner| {
        let name = proptest::sample::select(&PLACES[1..]);
        let name = name.prop_map(|place| place.rsplit('/').next().unwrap().to_owned());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..5)
                .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
        ]
    })
}

fn encoded(bytes: &[u8]) -> Value {
    BASE64URL_NOPAD.encode(bytes).into()
}

/// The places in an answer that something else is put into, and whether anybody looks there when
/// a passkey is made, and when it proves itself.
const PLACES: [&str; 12] = [
    "",
    "/id",
    "/rawId",
    "/type",
    "/response",
    "/response/transports",
    "/response/clientDataJSON",
    "/response/attestationObject",
    "/response/authenticatorData",
    "/response/signature",
    "/response/userHandle",
    "/clientExtensionResults",
];

/// Where it matters what stands there.
const LOOKED_AT_WHEN_MADE: [&str; 4] = [
    "",
    "/response",
    "/response/clientDataJSON",
    "/response/attestationObject",
];
const LOOKED_AT_WHEN_PROVED: [&str; 7] = [
    "",
    "/rawId",
    "/response",
    "/response/clientDataJSON",
    "/response/authenticatorData",
    "/response/signature",
    "/response/userHandle",
];

fn spoilt(answer: &Value, place: &str, junk: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(part) = answer.pointer_mut(place) {
        *part = junk.clone();
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    #[test]
    fn no_answer_panics_and_none_that_is_spoilt_counts(
        junk in hostile(),
        place in proptest::sample::select(&PLACES[..]),
    ) {
        let (pending, answer) = &RIGHT.registration;
        let made = finish(pending, &spoilt(answer, place, &junk));
        prop_assert!(made.is_err() || !LOOKED_AT_WHEN_MADE.contains(&place));

        let (pending, answer) = &RIGHT.assertion;
        let answer = spoilt(answer, place, &junk);
        let proved = finish_assertion(pending.clone(), &answer, &RIGHT.passkeys);
        prop_assert!(proved.is_err() || !LOOKED_AT_WHEN_PROVED.contains(&place));
    }
}

proptest! {
    #[test]
    fn no_authenticator_data_panics(
        flags in any::<u8>(),
        tail in proptest::collection::vec(any::<u8>(), 0..200),
        depth in 0_usize..4000,
        at in any::<prop::sample::Index>(),
    ) {
        let (pending, answer) = &RIGHT.registration;
        let data = answer["response"]["authenticatorData"].as_str().unwrap();
        let mut data = BASE64URL_NOPAD.decode(data.as_bytes()).unwrap();
        data[32] = flags;
        data.truncate(33 + at.index(data.len() - 32));
        data.extend(std::iter::repeat_n(0x81, depth));
        data.extend(tail);
        let mut object = attestation_object(&data);
        for cut in [0, at.index(object.len())] {
            object.truncate(object.len() - cut);
            let place = "/response/attestationObject";
            let _any_outcome = finish(pending, &spoilt(answer, place, &encoded(&object)));
        }
    }
}

#[test]
fn huge_lengths_and_deep_nesting_are_refused_at_once() {
    let (pending, answer) = &RIGHT.registration;
    let deep = [0x81, 0xd8].map(|head| vec![head; 40_000]);
    let heads: [&[u8]; 6] = [
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x5b, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &deep[0],
        &deep[1],
    ];
    for head in heads {
        let data = [&[0; 32], &[0xc5][..], &[0; 21], &[16], &[1; 16], head].concat();
        for object in [head, &attestation_object(&data)] {
            let answer = spoilt(answer, "/response/attestationObject", &encoded(object));
            assert_eq!(finish(pending, &answer), Err(PasskeyError::Malformed));
        }
    }
}
