//! A passkey made of software: what a browser and an authenticator do together, with every part
//! open to be set wrong.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The person was there (WebAuthn §6.1).
pub(crate) const PRESENT: u8 = 0b0000_0001;
/// The authenticator knows who it was.
pub(crate) const VERIFIED: u8 = 0b0000_0100;
const ATTESTED: u8 = 0b0100_0000;

/// One passkey and the browser that it is used in.
pub(crate) struct SoftPasskey {
    key: SigningKey,
    /// Its name.
    pub(crate) credential_id: Vec<u8>,
    /// The name of the account, learnt when the passkey is made.
    pub(crate) user_handle: Option<Vec<u8>>,
    /// What it says of itself and of the person.
    pub(crate) flags: u8,
    /// How often it was used; each use adds what `step` says.
    pub(crate) counter: u32,
    /// How much a use adds; synchronised passkeys do not count.
    pub(crate) step: u32,
    /// Whether the page is in a frame of another site.
    pub(crate) cross_origin: bool,
}

impl SoftPasskey {
    /// Makes the passkey of this number.
    pub(crate) fn new(number: u8) -> Self {
        Self {
            key: SigningKey::from_slice(&[number.max(1); 32]).unwrap(),
            credential_id: vec![number; 32],
            user_handle: None,
            flags: PRESENT | VERIFIED,
            counter: 0,
            step: 1,
            cross_origin: false,
        }
    }

    /// Answers what `navigator.credentials.create` was asked on a page of `origin`.
    pub(crate) fn create(&mut self, options: &Value, origin: &str) -> Value {
        let options = &options["publicKey"];
        let user = options["user"]["id"].as_str().unwrap();
        self.user_handle = Some(BASE64URL_NOPAD.decode(user.as_bytes()).unwrap());
        let client_data = self.client_data("webauthn.create", options, origin);
        let rp_id = options["rp"]["id"].as_str().unwrap();
        let mut data = self.authenticator_data(rp_id, self.flags | ATTESTED);
        data.extend([0; 16]);
        data.extend(
            u16::try_from(self.credential_id.len())
                .unwrap()
                .to_be_bytes(),
        );
        data.extend(&self.credential_id);
        data.extend(self.public_key());
        self.answer(&json!({
            "clientDataJSON": encoded(&client_data),
            "attestationObject": encoded(&attestation_object(&data)),
            "authenticatorData": encoded(&data),
            "publicKeyAlgorithm": -7,
            "transports": ["internal", "hybrid"],
        }))
    }

    /// Answers what `navigator.credentials.get` was asked on a page of `origin`.
    pub(crate) fn get(&mut self, options: &Value, origin: &str) -> Value {
        let options = &options["publicKey"];
        self.counter += self.step;
        let client_data = self.client_data("webauthn.get", options, origin);
        let rp_id = options["rpId"].as_str().unwrap();
        let data = self.authenticator_data(rp_id, self.flags);
        let signed = [data.clone(), Sha256::digest(&client_data).to_vec()].concat();
        let signature: Signature = self.key.sign(&signed);
        self.answer(&json!({
            "clientDataJSON": encoded(&client_data),
            "authenticatorData": encoded(&data),
            "signature": encoded(signature.to_der().as_bytes()),
            "userHandle": self.user_handle.as_deref().map(encoded),
        }))
    }

    fn answer(&self, response: &Value) -> Value {
        json!({
            "id": encoded(&self.credential_id),
            "rawId": encoded(&self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": { "credProps": { "rk": true } },
            "response": response,
        })
    }

    /// The client data (WebAuthn §5.8.1).
    fn client_data(&self, kind: &str, options: &Value, origin: &str) -> Vec<u8> {
        let data = json!({
            "type": kind,
            "challenge": options["challenge"],
            "origin": origin,
            "crossOrigin": self.cross_origin,
        });
        data.to_string().into_bytes()
    }

    /// The authenticator data (WebAuthn §6.1) without what is attested.
    fn authenticator_data(&self, rp_id: &str, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(rp_id).to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// The key as a map of kty: EC2, alg: ES256, crv: P-256, x and y (RFC 9053 §7.1.1).
    fn public_key(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_sec1_point(false);
        let point = point.as_bytes();
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01];
        for (label, half) in [(0x21, &point[1..33]), (0x22, &point[33..65])] {
            key.extend([label, 0x58, 32]);
            key.extend(half);
        }
        key
    }
}

/// An attestation object that attests nothing (WebAuthn §8.7), in CBOR.
pub(crate) fn attestation_object(authenticator_data: &[u8]) -> Vec<u8> {
    let mut object = vec![0xa3];
    for text in ["fmt", "none", "attStmt"] {
        object.push(0x60 + u8::try_from(text.len()).unwrap());
        object.extend(text.bytes());
    }
    object.push(0xa0);
    object.extend([0x68]);
    object.extend(b"authData");
    object.push(0x59);
    object.extend(
        u16::try_from(authenticator_data.len())
            .unwrap()
            .to_be_bytes(),
    );
    object.extend(authenticator_data);
    object
}

fn encoded(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
