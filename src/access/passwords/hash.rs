//! Password hashes: reading them, making them, and checking a password at a constant price.

use std::fmt::{self, Debug, Display, Formatter};
use std::hint::black_box;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::Password;

/// How often a new hash repeats its function (OWASP Password Storage Cheat Sheet, PBKDF2).
pub const ITERATIONS: u32 = 600_000;

const MAX_ITERATIONS: u32 = 10_000_000;
const MAX_SALT_LENGTH: usize = 1024;
const PBKDF2_PREFIX: &str = "pbkdf2_sha256$";

type Key = [u8; 32];
type Salt = [u8; 16];

/// A password as it is kept: PBKDF2-HMAC-SHA256 with its parameters, or the plain SHA-256 of an
/// older time.
///
/// ```
/// use proxmenux_monitor::access::passwords::PasswordHash;
///
/// let text = "pbkdf2_sha256$600000$c2FsdHNhbHRzYWx0c2FsdA==$\
///             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// assert_eq!(PasswordHash::parse(text)?.to_string(), text);
///
/// assert!(PasswordHash::parse("pbkdf2_sha256$0$c2FsdA==$AAAA").is_err());
/// # Ok::<(), proxmenux_monitor::access::passwords::ParseHashError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(Form);

#[derive(Clone)]
enum Form {
    Pbkdf2(Pbkdf2),
    Legacy(Key),
}

/// Why a text is not a password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// It is neither of the two forms.
    #[error("neither a PBKDF2 hash nor 64 hexadecimal digits")]
    Form,
    /// The count is no plain number, or out of range.
    #[error("the iteration count is not a number from 1 to {MAX_ITERATIONS}")]
    Iterations,
    /// The salt is not canonical Base64, or its length is out of range.
    #[error("the salt is not 1 to {MAX_SALT_LENGTH} bytes in Base64")]
    Salt,
    /// The derived key is not canonical Base64 of 32 bytes.
    #[error("the derived key is not 32 bytes in Base64")]
    Key,
}

/// Why a password could not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateHashError {
    /// The system gave no random bytes for the salt.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The count is out of range.
    #[error("the iteration count is not a number from 1 to {MAX_ITERATIONS}")]
    Iterations,
}

/// What came of checking a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the password may be wrong"]
pub struct Verification {
    /// Whether the password is the right one.
    pub matches: bool,
    /// A stronger hash of the same password, to be kept instead. Only if it matches.
    pub upgrade: Option<PasswordHash>,
    /// How many keys were derived: what the check cost.
    pub derivations: u32,
}

impl PasswordHash {
    /// Reads a hash as it is kept in the state file.
    pub fn parse(text: &str) -> Result<Self, ParseHashError> {
        if let Some(fields) = text.strip_prefix(PBKDF2_PREFIX) {
            return Pbkdf2::parse(fields).map(|hash| Self(Form::Pbkdf2(hash)));
        }
        let digest = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let digest = digest.and_then(|bytes| Key::try_from(bytes).ok());
        let digest = digest.ok_or(ParseHashError::Form)?;
        Ok(Self(Form::Legacy(digest)))
    }

    /// Hashes a new password with a fresh salt.
    pub fn create(password: &Password) -> Result<Self, CreateHashError> {
        Self::create_with(password, ITERATIONS)
    }

    /// Hashes a new password with a count of one's own, so that tests need not wait.
    pub fn create_with(password: &Password, iterations: u32) -> Result<Self, CreateHashError> {
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(CreateHashError::Iterations);
        }
        let salt = random_salt().ok_or(CreateHashError::NoRandomness)?;
        let hash = Pbkdf2::derive(&password.normalized(), salt.to_vec(), iterations);
        Ok(Self(Form::Pbkdf2(hash)))
    }

    /// Hashes several texts with one fresh salt, so that to compare another text with all of them
    /// costs one derivation. The texts are taken as they are.
    pub fn create_set<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, CreateHashError> {
        let salt = random_salt().ok_or(CreateHashError::NoRandomness)?;
        let hash = |text| {
            Self(Form::Pbkdf2(Pbkdf2::derive(
                text,
                salt.to_vec(),
                ITERATIONS,
            )))
        };
        Ok(texts.into_iter().map(hash).collect())
    }

    /// Returns how often a check repeats its function. To check a legacy hash costs as much as to
    /// check a new one.
    pub fn iterations(&self) -> u32 {
        match &self.0 {
            Form::Pbkdf2(hash) => hash.iterations,
            Form::Legacy(_) => ITERATIONS,
        }
    }

    /// Returns whether a hash that we make now is stronger, so that this one is to be replaced.
    pub fn is_weak(&self) -> bool {
        match &self.0 {
            Form::Pbkdf2(hash) => hash.iterations < ITERATIONS,
            Form::Legacy(_) => true,
        }
    }

    /// Checks a password: the text as sent, and its normal form if that is another. Each text
    /// costs one derivation whether it is right or wrong; an upgrade may cost one more.
    pub fn verify(&self, password: &Password) -> Verification {
        self.verify_with(password, random_salt())
    }

    /// Checks a password. Without a fresh salt there is no upgrade, and nothing else changes.
    fn verify_with(&self, password: &Password, fresh_salt: Option<Salt>) -> Verification {
        let candidates = password.candidates();
        match &self.0 {
            Form::Pbkdf2(hash) => hash.verify(&candidates, fresh_salt),
            Form::Legacy(digest) => verify_legacy(digest, &candidates, fresh_salt),
        }
    }
}

/// Spends what [`PasswordHash::verify`] would spend and refuses: for a user who does not exist.
/// The count is that of the account whose password it might have been, [`ITERATIONS`] without one.
pub fn verify_nothing(password: &Password, iterations: u32) -> Verification {
    let decoy = Pbkdf2 {
        iterations,
        salt: Salt::default().to_vec(),
        key: Key::default(),
    };
    let derivations = decoy.verify(&password.candidates(), None).derivations;
    Verification {
        matches: false,
        upgrade: None,
        derivations,
    }
}

/// Compares a legacy digest. Its one derivation for each text makes it as slow as a new hash, and
/// that of the normal form becomes the upgrade.
fn verify_legacy(
    digest: &Key,
    candidates: &[Zeroizing<String>],
    fresh_salt: Option<Salt>,
) -> Verification {
    let salt = fresh_salt.unwrap_or_default().to_vec();
    let mut matches = Choice::from(0);
    let mut derived = None;
    let mut derivations = 0;
    for text in candidates {
        matches |= sha256(text).ct_eq(digest);
        derived = black_box(Some(Pbkdf2::derive(text, salt.clone(), ITERATIONS)));
        derivations += 1;
    }
    let matches = bool::from(matches);
    let may_upgrade = matches && fresh_salt.is_some();
    Verification {
        matches,
        upgrade: derived
            .filter(|_| may_upgrade)
            .map(|hash| PasswordHash(Form::Pbkdf2(hash))),
        derivations,
    }
}

#[derive(Clone)]
struct Pbkdf2 {
    iterations: u32,
    salt: Vec<u8>,
    key: Key,
}

impl Pbkdf2 {
    /// Reads `<iterations>$<salt>$<key>`, in the one way in which it is written.
    fn parse(fields: &str) -> Result<Self, ParseHashError> {
        let mut fields = fields.split('$');
        let (Some(count), Some(salt), Some(key), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(ParseHashError::Form);
        };

        let iterations = count
            .parse()
            .ok()
            .filter(|n: &u32| (1..=MAX_ITERATIONS).contains(n) && n.to_string() == count)
            .ok_or(ParseHashError::Iterations)?;
        let salt = BASE64
            .decode(salt.as_bytes())
            .ok()
            .filter(|bytes| (1..=MAX_SALT_LENGTH).contains(&bytes.len()))
            .ok_or(ParseHashError::Salt)?;
        let key = BASE64
            .decode(key.as_bytes())
            .ok()
            .and_then(|bytes| Key::try_from(bytes).ok())
            .ok_or(ParseHashError::Key)?;
        Ok(Self {
            iterations,
            salt,
            key,
        })
    }

    /// Derives a key (RFC 8018 §5.2; one block of SHA-256 is all of it).
    fn derive(text: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let mut key = Key::default();
        pbkdf2_hmac::<Sha256>(text.as_bytes(), &salt, iterations, &mut key);
        Self {
            iterations,
            salt,
            key,
        }
    }

    /// Derives a key from another text with the parameters of this one.
    fn derive_alike(&self, text: &str) -> Self {
        Self::derive(text, self.salt.clone(), self.iterations)
    }

    fn verify(&self, candidates: &[Zeroizing<String>], fresh_salt: Option<Salt>) -> Verification {
        let mut matches = Choice::from(0);
        let mut derivations = 0;
        for text in candidates {
            matches |= self.derive_alike(text).key.ct_eq(&self.key);
            derivations += 1;
        }
        let matches = bool::from(matches);

        let upgrade = candidates
            .last()
            .zip(fresh_salt)
            .filter(|_| matches && self.iterations < ITERATIONS)
            .map(|(text, salt)| Self::derive(text, salt.to_vec(), ITERATIONS));
        Verification {
            matches,
            derivations: derivations + u32::from(upgrade.is_some()),
            upgrade: upgrade.map(|hash| PasswordHash(Form::Pbkdf2(hash))),
        }
    }
}

impl Display for Pbkdf2 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let salt = BASE64.encode(&self.salt);
        let key = BASE64.encode(&self.key);
        write!(f, "{PBKDF2_PREFIX}{}${salt}${key}", self.iterations)
    }
}

/// One text compared with many hashes: those that share salt and count cost one derivation.
pub(in crate::access) struct Comparison<'a> {
    text: &'a str,
    derived: Vec<Pbkdf2>,
}

impl<'a> Comparison<'a> {
    /// Starts with nothing derived. The text is taken as it is.
    pub(in crate::access) fn new(text: &'a str) -> Self {
        Self {
            text,
            derived: Vec::new(),
        }
    }

    /// Compares in constant time.
    pub(in crate::access) fn with(&mut self, hash: &PasswordHash) -> Choice {
        let hash = match &hash.0 {
            Form::Pbkdf2(hash) => hash,
            Form::Legacy(digest) => return sha256(self.text).ct_eq(digest),
        };
        let known = self
            .derived
            .iter()
            .find(|known| known.iterations == hash.iterations && known.salt == hash.salt);
        if let Some(known) = known {
            return known.key.ct_eq(&hash.key);
        }
        let derived = hash.derive_alike(self.text);
        let matches = derived.key.ct_eq(&hash.key);
        self.derived.push(derived);
        matches
    }

    /// Returns how many keys were derived.
    pub(in crate::access) fn derivations(&self) -> u32 {
        u32::try_from(self.derived.len()).unwrap_or(u32::MAX)
    }
}

fn sha256(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

fn random_salt() -> Option<Salt> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).ok().map(|()| salt)
}

impl Display for PasswordHash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Pbkdf2(hash) => Display::fmt(hash, f),
            Form::Legacy(digest) => f.write_str(&HEXLOWER.encode(digest)),
        }
    }
}

impl Debug for PasswordHash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Pbkdf2(one), Form::Pbkdf2(two)) => {
                one.iterations == two.iterations
                    && one.salt == two.salt
                    && bool::from(one.key.ct_eq(&two.key))
            }
            (Form::Legacy(one), Form::Legacy(two)) => one.ct_eq(two).into(),
            (Form::Pbkdf2(_), Form::Legacy(_)) | (Form::Legacy(_), Form::Pbkdf2(_)) => false,
        }
    }
}

impl Eq for PasswordHash {}

impl TryFrom<String> for PasswordHash {
    type Error = ParseHashError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with `hashlib.pbkdf2_hmac` of Python 3.11.
    const FOREIGN: &[(&str, &str)] = &[
        (
            "Winter-garden 7",
            "pbkdf2_sha256$600000$AAECAwQFBgcICQoLDA0ODw==$JLmZWICbbO7rPwZWXU2bbfWyeUxVd2dWIDsVOJ8xmLg=",
        ),
        (
            "password",
            "pbkdf2_sha256$1$cw==$lGLTCndLTA4cK3kxNvcclG1qFNlw/8mPMHA2nv/Wc4E=",
        ),
        (
            "",
            "pbkdf2_sha256$2$AAAAAAAAAAAAAAAAAAAAAA==$K/4p7JAI74NRTw49r4hNkBW+dHL26xxd+unuYzbKPLs=",
        ),
        (
            "nul\0inside and a tail",
            "pbkdf2_sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg==$v+X7sqGmZEBtjcEMeCUCwcwtDlky73+/3bhEwwuFWuw=",
        ),
        (
            "gr\u{fc}n \u{732b} \u{1f511}",
            "pbkdf2_sha256$4096$/////////////////////w==$mbNu1TQ+aIkeDdYJ3+/hJvVMyMBeMZagFeqy2Tb3kW4=",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "pbkdf2_sha256$3$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFQ=$87YNlL0NpYvrrD22e4KWyKh9Wp2GsTfHQIv48SusEUo=",
        ),
    ];

    /// The same with a password that is not in NFC: `gru\u{308}n gru\u{308}n gru\u{308}n`.
    const FOREIGN_DECOMPOSED: &str =
        "pbkdf2_sha256$5$MDEyMzQ1Njc4OWFiY2RlZg==$mf5f7dqfoRxYkBBWoAOrfSgw7AnJwh6KNQ0lxscyRgU=";

    /// `hashlib.sha256` of `Winter-garden 7`.
    const LEGACY: &str = "f19c6101a86ddd1c7906ccfc6ea0f2c48c27fa94766c5e90070f0d5f3c1f947b";

    const SALT: Salt = [7; 16];

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::parse(text).unwrap()
    }

    #[test]
    fn hashes_of_the_older_program_are_understood() {
        for (text, stored) in FOREIGN {
            let stored = hash(stored);

            let right = stored.verify_with(&password(text), None);
            assert!(right.matches, "{text:?}");
            assert_eq!(right.derivations, 1, "{text:?}");

            let wrong = stored.verify_with(&password(&format!("{text} ")), None);
            assert!(!wrong.matches, "{text:?}");
            assert_eq!((wrong.derivations, wrong.upgrade), (1, None), "{text:?}");
        }
    }

    #[test]
    fn a_hash_is_written_as_it_was_read() {
        for (_, text) in FOREIGN {
            assert_eq!(hash(text).to_string(), *text);
            let json = serde_json::to_string(&hash(text)).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(
                serde_json::from_str::<PasswordHash>(&json).unwrap(),
                hash(text)
            );
        }
        assert_eq!(hash(LEGACY).to_string(), LEGACY);
        assert_eq!(hash(&LEGACY.to_uppercase()).to_string(), LEGACY);
        assert_eq!(format!("{:?}", hash(LEGACY)), "PasswordHash(..)");
    }

    #[test]
    fn other_texts_are_refused() {
        use ParseHashError::{Form, Iterations, Key, Salt};

        let key = "JLmZWICbbO7rPwZWXU2bbfWyeUxVd2dWIDsVOJ8xmLg=";
        let long_salt = BASE64.encode(&[1; 1025]);
        let cases: &[(String, ParseHashError)] = &[
            (String::new(), Form),
            ("password".to_owned(), Form),
            (format!("{LEGACY}00"), Form),
            (LEGACY.replace('f', ""), Form),
            (LEGACY.replace('f', "g"), Form),
            (format!(" {LEGACY}"), Form),
            (format!("pbkdf2_sha512$1$cw==${key}"), Form),
            (format!("PBKDF2_SHA256$1$cw==${key}"), Form),
            ("pbkdf2_sha256".to_owned(), Form),
            ("pbkdf2_sha256$".to_owned(), Form),
            ("pbkdf2_sha256$1$cw==".to_owned(), Form),
            (format!("pbkdf2_sha256$1$cw==${key}$"), Form),
            (format!("pbkdf2_sha256$0$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$10000001$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$4294967297$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$-1$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$+1$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$01$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$1 $cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$1_0$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$$cw==${key}"), Iterations),
            (format!("pbkdf2_sha256$1$${key}"), Salt),
            (format!("pbkdf2_sha256$1$cw${key}"), Salt),
            (format!("pbkdf2_sha256$1$cx==${key}"), Salt),
            (format!("pbkdf2_sha256$1$_-__${key}"), Salt),
            (format!("pbkdf2_sha256$1$c w=${key}"), Salt),
            (format!("pbkdf2_sha256$1${long_salt}${key}"), Salt),
            ("pbkdf2_sha256$1$cw==$".to_owned(), Key),
            ("pbkdf2_sha256$1$cw==$cw==".to_owned(), Key),
            (format!("pbkdf2_sha256$1$cw==$AAAA{key}"), Key),
            (format!("pbkdf2_sha256$1$cw==${key}\n"), Key),
            (
                format!("pbkdf2_sha256$1$cw==${}", key.replace('=', "")),
                Key,
            ),
            (
                format!("pbkdf2_sha256$1$cw==${}", key.replace("g=", "h=")),
                Key,
            ),
        ];

        for (text, expected) in cases {
            assert_eq!(
                PasswordHash::parse(text).unwrap_err(),
                *expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn limits_of_what_is_read_are_inclusive() {
        let key = "JLmZWICbbO7rPwZWXU2bbfWyeUxVd2dWIDsVOJ8xmLg=";
        let salt = BASE64.encode(&[1; 1024]);

        assert_eq!(hash(&format!("pbkdf2_sha256$1$cw==${key}")).iterations(), 1);
        let most = hash(&format!("pbkdf2_sha256$10000000${salt}${key}"));
        assert_eq!(most.iterations(), 10_000_000);
        assert_eq!(hash(LEGACY).iterations(), ITERATIONS);
    }

    #[test]
    fn a_new_hash_has_today_s_strength_and_a_fresh_salt() {
        let one = PasswordHash::create(&password("Winter-garden 7")).unwrap();
        let two = PasswordHash::create(&password("Winter-garden 7")).unwrap();

        assert!(one.to_string().starts_with("pbkdf2_sha256$600000$"));
        assert_ne!(one, two);
        let Form::Pbkdf2(parts) = &one.0 else {
            panic!("a new hash is never a legacy one");
        };
        assert_eq!((parts.salt.len(), parts.iterations), (16, 600_000));
        let verification = one.verify(&password("Winter-garden 7"));
        assert!(verification.matches);
        assert_eq!((verification.upgrade, verification.derivations), (None, 1));
    }

    #[test]
    fn a_count_out_of_range_makes_no_hash() {
        for iterations in [0, 10_000_001, u32::MAX] {
            assert_eq!(
                PasswordHash::create_with(&password("x"), iterations),
                Err(CreateHashError::Iterations),
            );
        }
    }

    #[test]
    fn a_new_hash_is_of_the_normal_form() {
        let stored = PasswordHash::create_with(&password("gru\u{308}n"), 3).unwrap();

        let composed = stored.verify_with(&password("gr\u{fc}n"), None);
        assert_eq!((composed.matches, composed.derivations), (true, 1));
        let decomposed = stored.verify_with(&password("gru\u{308}n"), None);
        assert_eq!((decomposed.matches, decomposed.derivations), (true, 2));
    }

    #[test]
    fn an_old_hash_of_another_form_is_matched_as_sent() {
        let stored = hash(FOREIGN_DECOMPOSED);
        let as_sent = "gru\u{308}n gru\u{308}n gru\u{308}n";

        let right = stored.verify_with(&password(as_sent), Some(SALT));
        assert_eq!((right.matches, right.derivations), (true, 3));
        let upgrade = right.upgrade.unwrap();
        let again = upgrade.verify_with(&password("gr\u{fc}n gr\u{fc}n gr\u{fc}n"), None);
        assert!(again.matches);

        let wrong = stored.verify_with(&password("gru\u{308}n"), Some(SALT));
        assert_eq!((wrong.matches, wrong.derivations), (false, 2));
    }

    #[test]
    fn zeros_at_the_end_make_no_difference() {
        // HMAC fills a short key up with them (RFC 2104 §2), in every program that reads the file.
        let stored = PasswordHash::create_with(&password("x"), 1).unwrap();

        assert!(stored.verify_with(&password("x\0\0"), None).matches);
        assert!(!stored.verify_with(&password("\0x"), None).matches);
        assert!(!stored.verify_with(&password("x\0x"), None).matches);
    }

    #[test]
    fn a_weaker_hash_is_upgraded_when_the_password_is_known() {
        let (text, stored) = FOREIGN[1];
        let weak = hash(stored);

        let right = weak.verify(&password(text));
        assert_eq!((right.matches, right.derivations), (true, 2));
        let upgrade = right.upgrade.unwrap();
        assert_eq!(upgrade.iterations(), ITERATIONS);
        let again = upgrade.verify(&password(text));
        assert!(again.matches);
        assert_eq!((again.upgrade, again.derivations), (None, 1));

        let wrong = weak.verify(&password("another"));
        assert!(!wrong.matches);
        assert_eq!((wrong.upgrade, wrong.derivations), (None, 1));
    }

    #[test]
    fn a_stronger_hash_is_kept() {
        let stored = PasswordHash::create_with(&password("x"), ITERATIONS + 1).unwrap();

        let right = stored.verify(&password("x"));
        assert!(right.matches);
        assert_eq!((right.upgrade, right.derivations), (None, 1));
    }

    #[test]
    fn a_legacy_hash_costs_as_much_and_is_upgraded() {
        let stored = hash(LEGACY);

        let right = stored.verify(&password("Winter-garden 7"));
        assert_eq!((right.matches, right.derivations), (true, 1));
        let upgrade = right.upgrade.unwrap();
        assert_eq!(upgrade.iterations(), ITERATIONS);
        assert!(upgrade.verify(&password("Winter-garden 7")).matches);

        let wrong = stored.verify(&password("winter-garden 7"));
        assert!(!wrong.matches);
        assert_eq!((wrong.upgrade, wrong.derivations), (None, 1));
    }

    #[test]
    fn a_legacy_hash_of_another_form_becomes_one_of_the_normal_form() {
        let stored = PasswordHash(Form::Legacy(sha256("gru\u{308}n")));

        let right = stored.verify_with(&password("gru\u{308}n"), Some(SALT));
        assert_eq!((right.matches, right.derivations), (true, 2));
        let upgrade = right.upgrade.unwrap();
        assert!(upgrade.verify(&password("gr\u{fc}n")).matches);
        let salt = BASE64.encode(&SALT);
        assert!(upgrade.to_string().contains(&format!("${salt}$")));

        let wrong = stored.verify_with(&password("u\u{308}"), Some(SALT));
        assert!(!wrong.matches);
        assert_eq!((wrong.upgrade, wrong.derivations), (None, 2));
    }

    #[test]
    fn without_randomness_nobody_is_locked_out_and_nothing_is_upgraded() {
        let weak = hash(FOREIGN[1].1);
        let right = weak.verify_with(&password("password"), None);
        assert!(right.matches);
        assert_eq!((right.upgrade, right.derivations), (None, 1));

        let legacy = hash(LEGACY);
        let right = legacy.verify_with(&password("Winter-garden 7"), None);
        assert!(right.matches);
        assert_eq!((right.upgrade, right.derivations), (None, 1));
        let wrong = legacy.verify_with(&password("x"), None);
        assert!(!wrong.matches);
        assert_eq!((wrong.upgrade, wrong.derivations), (None, 1));
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let stored = hash(FOREIGN[3].1);

        for text in ["wrong", "gr\u{fc}n", "gru\u{308}n", ""] {
            let somebody = stored.verify_with(&password(text), None);
            let nobody = verify_nothing(&password(text), stored.iterations());
            assert_eq!(nobody, somebody, "{text:?}");
        }
    }

    #[test]
    fn hashes_are_equal_only_in_all_their_parts() {
        let all = [
            "pbkdf2_sha256$1$cw==$lGLTCndLTA4cK3kxNvcclG1qFNlw/8mPMHA2nv/Wc4E=",
            "pbkdf2_sha256$2$cw==$lGLTCndLTA4cK3kxNvcclG1qFNlw/8mPMHA2nv/Wc4E=",
            "pbkdf2_sha256$1$cA==$lGLTCndLTA4cK3kxNvcclG1qFNlw/8mPMHA2nv/Wc4E=",
            "pbkdf2_sha256$1$cw==$lGLTCndLTA4cK3kxNvcclG1qFNlw/8mPMHA2nv/Wc4A=",
            "9462d30a774b4c0e1c2b793136f71c946d6a14d970ffc98f3070369effd67381",
            LEGACY,
        ];

        for (i, one) in all.iter().enumerate() {
            for (j, two) in all.iter().enumerate() {
                assert_eq!(hash(one) == hash(two), i == j, "{one} {two}");
            }
        }
    }

    #[test]
    fn a_comparison_derives_once_for_each_salt() {
        let stored: Vec<PasswordHash> = [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("a", 1)]
            .into_iter()
            .zip([SALT, SALT, SALT, SALT, [8; 16]])
            .map(|((text, count), salt)| {
                let hash = Pbkdf2::derive(text, salt.to_vec(), count);
                PasswordHash(Form::Pbkdf2(hash))
            })
            .chain([PasswordHash(Form::Legacy(sha256("a")))])
            .collect();

        let mut comparison = Comparison::new("a");
        let matches: Vec<bool> = stored
            .iter()
            .map(|hash| comparison.with(hash).into())
            .collect();

        assert_eq!(matches, [true, false, false, true, true, true]);
        assert_eq!(comparison.derivations(), 3);
    }

    proptest! {
        #[test]
        fn a_password_matches_its_own_hash_and_no_other(
            text in "[^\\x00]*",
            other in "[^\\x00]*",
        ) {
            let stored = PasswordHash::create_with(&password(&text), 2).unwrap();
            prop_assert!(stored.verify_with(&password(&text), None).matches);

            let same = password(&text).normalized() == password(&other).normalized();
            prop_assert_eq!(stored.verify_with(&password(&other), None).matches, same);
        }

        #[test]
        fn the_cost_depends_on_the_text_alone(text in ".*", stored in ".*") {
            let stored = PasswordHash::create_with(&password(&stored), 1).unwrap();
            let cost = u32::from(*password(&text).normalized() != text) + 1;

            prop_assert_eq!(stored.verify_with(&password(&text), None).derivations, cost);
            prop_assert_eq!(verify_nothing(&password(&text), 1).derivations, cost);
        }

        #[test]
        fn whatever_is_read_is_written_alike(text in "(pbkdf2_sha256\\$)?[0-9a-zA-Z$=+/]{0,120}") {
            if let Ok(hash) = PasswordHash::parse(&text) {
                prop_assert!(hash.to_string().eq_ignore_ascii_case(&text));
            }
        }

        #[test]
        fn all_parts_survive_writing(
            iterations in 1..=MAX_ITERATIONS,
            salt in proptest::collection::vec(any::<u8>(), 1..=64),
            key in any::<Key>(),
        ) {
            let hash = PasswordHash(Form::Pbkdf2(Pbkdf2 { iterations, salt, key }));
            let read = PasswordHash::parse(&hash.to_string());
            prop_assert!(read.is_ok_and(|read| read == hash));
        }
    }
}
