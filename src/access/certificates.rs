//! A certificate and its key: read from PEM, checked before they are served, and described.
//!
//! [`examine`] looks at what two files hold and gives a verdict on each point. Only a certificate
//! and a key that belong together come out as a [`Pair`], so nothing else can be served.

use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::digest::Digest;

/// The one provider of cryptography for TLS.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// How many days before its end a certificate is near it.
const NEAR_ITS_END: i64 = 7;

/// Returns the provider of cryptography for TLS.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// A certificate with its chain and the key that belongs to it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What the TLS library serves.
    pub key: Arc<CertifiedKey>,
    /// What it says.
    pub info: CertificateInfo,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Whom it is for, as RFC 4514 writes names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Since when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub expires: Timestamp,
    /// Whether it is signed by nobody else.
    pub is_self_signed: bool,
    /// The host names and addresses that it is for (RFC 5280 §4.2.1.6).
    pub names: Vec<String>,
    /// The kind of its key: `RSA 2048`, `EC P-256`, `Ed25519`.
    pub key_kind: String,
    /// The SHA-256 of the certificate, as browsers show it: `AA:BB:…`.
    pub fingerprint: String,
}

impl CertificateInfo {
    /// Returns how many whole days are left; negative once it has ended.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.expires
            .duration_since(now)
            .as_secs()
            .div_euclid(86_400)
    }

    /// Returns whether it is for a host name or address.
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        self.names.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a name of a certificate, perhaps with a `*` as its first label, covers `name`
/// (RFC 9525 §6.3).
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !label.is_empty() && rest.eq_ignore_ascii_case(domain)
        }
        _exact => pattern.eq_ignore_ascii_case(name),
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// The certificate's file can be read.
    CertificateFile,
    /// The key's file can be read.
    KeyFile,
    /// The file holds a certificate, and the chain above it in order.
    Certificate,
    /// The file holds a key that can be used.
    Key,
    /// The key belongs to the certificate.
    Match,
    /// The certificate is valid now.
    Dates,
    /// The certificate is for this host.
    Names,
}

impl CheckName {
    /// Returns the name, as it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::CertificateFile => "certificate_file",
            Self::KeyFile => "key_file",
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Match => "match",
            Self::Dates => "dates",
            Self::Names => "names",
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is well.
    Passed,
    /// It can be used, but somebody should look.
    Warning,
    /// It cannot be used.
    Failed,
}

/// One point that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// What came of it.
    pub result: Verdict,
    /// A sentence for people.
    pub message: String,
}

/// What came of looking at a pair.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Each point, in order; points that could not be looked at are not there.
    pub checks: Vec<Check>,
    /// What the certificate says, if there is one.
    pub info: Option<CertificateInfo>,
    /// The pair, if the two belong together. It may still fail another check, such as its dates.
    pub pair: Option<Pair>,
}

impl Examination {
    /// Returns the first failure as a sentence.
    pub fn failure(&self) -> Option<&str> {
        Some(&self.failed()?.message)
    }

    /// Returns the first point that failed.
    pub fn failed(&self) -> Option<&Check> {
        let mut checks = self.checks.iter();
        checks.find(|check| check.result == Verdict::Failed)
    }

    fn note(&mut self, name: CheckName, outcome: Outcome) {
        let (result, message) = match outcome {
            Outcome::Passed(message) => (Verdict::Passed, message),
            Outcome::Warning(message) => (Verdict::Warning, message),
            Outcome::Failed(message) => (Verdict::Failed, message),
        };
        self.checks.push(Check {
            name,
            result,
            message,
        });
    }
}

enum Outcome {
    Passed(String),
    Warning(String),
    Failed(String),
}

/// Looks at a pair: `certificate` and `key` are what the files hold, or why they cannot be read.
///
/// `names` are the names and addresses under which people reach this host.
pub fn examine(
    certificate: Result<&[u8], String>,
    key: Result<&[u8], String>,
    names: &[String],
    now: Timestamp,
) -> Examination {
    let mut seen = Examination {
        checks: Vec::new(),
        info: None,
        pair: None,
    };
    let chain = read_file(&mut seen, CheckName::CertificateFile, certificate)
        .and_then(|text| read_chain(&mut seen, text));
    let key =
        read_file(&mut seen, CheckName::KeyFile, key).and_then(|text| read_key(&mut seen, text));
    let Some((chain, info)) = chain else {
        return seen;
    };
    seen.note(CheckName::Dates, judge_dates(&info, now));
    seen.note(CheckName::Names, judge_names(&info, names));
    seen.info = Some(info.clone());
    let Some(key) = key else {
        return seen;
    };
    let certified = CertifiedKey::new(chain, key);
    let belongs = match certified.keys_match() {
        Ok(()) => {
            let key = Arc::new(certified);
            seen.pair = Some(Pair { key, info });
            Outcome::Passed("The key belongs to the certificate.".to_owned())
        }
        Err(_other_key) => Outcome::Failed(
            "The key does not belong to the certificate. Name the key that the certificate was made for.".to_owned(),
        ),
    };
    seen.note(CheckName::Match, belongs);
    seen
}

fn read_file<'a>(
    seen: &mut Examination,
    name: CheckName,
    file: Result<&'a [u8], String>,
) -> Option<&'a [u8]> {
    match file {
        Ok(text) => {
            seen.note(name, Outcome::Passed("The file can be read.".to_owned()));
            Some(text)
        }
        Err(reason) => {
            seen.note(name, Outcome::Failed(reason));
            None
        }
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn read_chain(seen: &mut Examination, text: &[u8]) -> Option<(Chain, CertificateInfo)> {
    let read = CertificateDer::pem_slice_iter(text).collect::<Result<Chain, pem::Error>>();
    let (outcome, read) = match read {
        Err(error) => (
            Outcome::Failed(format!("The certificate's file is damaged: {}.", pem_error(&error))),
            None,
        ),
        Ok(chain) => match chain.first().map(describe) {
            None => (
                Outcome::Failed(
                    "There is no certificate in the file: it has no part that begins with `-----BEGIN CERTIFICATE-----`.".to_owned(),
                ),
                None,
            ),
            Some(None) => (
                Outcome::Failed("The file's first certificate cannot be read.".to_owned()),
                None,
            ),
            Some(Some(info)) => (judge_chain(&chain, &info), Some((chain, info))),
        },
    };
    seen.note(CheckName::Certificate, outcome);
    read
}

/// Looks at whether each certificate of the chain is signed by the next one's name.
fn judge_chain(chain: &Chain, info: &CertificateInfo) -> Outcome {
    let described = Vec::from_iter(chain.iter().map(describe));
    if described.iter().any(Option::is_none) {
        return Outcome::Failed("A certificate of the chain cannot be read.".to_owned());
    }
    let described = Vec::from_iter(described.into_iter().flatten());
    let in_order = described
        .iter()
        .zip(described.iter().skip(1))
        .all(|(lower, upper)| lower.issuer == upper.subject);
    let kind = &info.key_kind;
    let above = chain.len().saturating_sub(1);
    if !in_order {
        return Outcome::Warning(
            "The chain is not in order: each certificate should be followed by the one that signed it. Some programs will not trust it.".to_owned(),
        );
    }
    match above {
        0 => Outcome::Passed(format!("A certificate with a key of the kind {kind}.")),
        _ => Outcome::Passed(format!(
            "A certificate with a key of the kind {kind}, and {above} above it."
        )),
    }
}

fn read_key(seen: &mut Examination, text: &[u8]) -> Option<Arc<dyn rustls::sign::SigningKey>> {
    let (outcome, key) = match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => match PROVIDER.key_provider.load_private_key(key) {
            Ok(key) => (judge_key(&*key), Some(key)),
            Err(_unusable) => (
                Outcome::Failed(
                    "The key cannot be used: it must be RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519.".to_owned(),
                ),
                None,
            ),
        },
        Err(_no_key) if is_encrypted(text) => (
            Outcome::Failed(
                "The key is locked with a passphrase, which nobody could enter at a restart. Save it without one: `openssl pkey -in KEY -out NEW`.".to_owned(),
            ),
            None,
        ),
        Err(pem::Error::NoItemsFound) => (
            Outcome::Failed(
                "There is no private key in the file: it has no part that begins with `-----BEGIN PRIVATE KEY-----`.".to_owned(),
            ),
            None,
        ),
        Err(error) => (
            Outcome::Failed(format!("The key's file is damaged: {}.", pem_error(&error))),
            None,
        ),
    };
    seen.note(CheckName::Key, outcome);
    key
}

fn judge_key(key: &dyn rustls::sign::SigningKey) -> Outcome {
    if key.algorithm() == rustls::SignatureAlgorithm::ED25519 {
        return Outcome::Warning(
            "The key can be used, but most browsers do not know Ed25519. Take EC or RSA for people.".to_owned(),
        );
    }
    Outcome::Passed("The key can be used.".to_owned())
}

/// Whether a PEM file holds a key under a passphrase (RFC 7468 §11, RFC 1421 §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a part of it has no end",
        pem::Error::IllegalSectionStart { .. } => "a part of it has no proper beginning",
        pem::Error::Base64Decode(_) => "a part of it is not Base64",
        pem::Error::SectionTooLarge => "a part of it is too large",
        pem::Error::Io(_) | pem::Error::NoItemsFound | _ => "it is not PEM",
    }
}

fn judge_dates(info: &CertificateInfo, now: Timestamp) -> Outcome {
    let left = info.days_left(now);
    if now < info.not_before {
        return Outcome::Failed(format!(
            "The certificate is valid only from {} on. Is this host's clock right?",
            day(info.not_before)
        ));
    }
    if now >= info.expires {
        return Outcome::Failed(format!(
            "The certificate ended on {}. Renew it first.",
            day(info.expires)
        ));
    }
    let until = format!("The certificate is valid until {}.", day(info.expires));
    if left < NEAR_ITS_END {
        return Outcome::Warning(format!("{until} Renew it soon."));
    }
    Outcome::Passed(until)
}

fn judge_names(info: &CertificateInfo, names: &[String]) -> Outcome {
    let covered = names.iter().find(|name| info.is_for(name));
    match (covered, info.names.as_slice()) {
        (Some(name), _) => Outcome::Passed(format!("The certificate is for {name}.")),
        (None, []) => Outcome::Warning(
            "The certificate names no host, so browsers will warn of it.".to_owned(),
        ),
        (None, others) => Outcome::Warning(format!(
            "The certificate is for {}, which is no name of this host that the Monitor knows. Open the page under that name.",
            others.join(", ")
        )),
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// Reads what a certificate says.
fn describe(certificate: &CertificateDer<'static>) -> Option<CertificateInfo> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let validity = parsed.validity();
    let second = |time: i64| Timestamp::from_second(time).ok();
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|names| &names.value.general_names);
    let names = names.into_iter().flatten().filter_map(name_of);
    Some(CertificateInfo {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        not_before: second(validity.not_before.timestamp())?,
        expires: second(validity.not_after.timestamp())?,
        is_self_signed: parsed.subject() == parsed.issuer(),
        names: names.collect(),
        key_kind: kind_of(&parsed),
        fingerprint: fingerprint(certificate),
    })
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
    let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}

fn kind_of(certificate: &X509Certificate<'_>) -> String {
    let public = certificate.public_key();
    match public.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            256 => "EC P-256".to_owned(),
            384 => "EC P-384".to_owned(),
            // P-521 in whole bytes.
            521 | 528 => "EC P-521".to_owned(),
            bits => format!("EC of {bits} bits"),
        },
        _other if public.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
            "Ed25519".to_owned()
        }
        _other => "another kind".to_owned(),
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Digest::of(certificate);
    let bytes = digest.as_bytes().iter();
    Vec::from_iter(bytes.map(|byte| format!("{byte:02X}"))).join(":")
}

/// How long a certificate lives that we sign ourselves: browsers refuse longer lives of others.
const OWN_LIFE: SignedDuration = SignedDuration::from_hours(24 * 397);
/// How far it reaches back, for clients whose clock is behind.
const OWN_PAST: SignedDuration = SignedDuration::from_hours(24);
/// How many days before its end our own certificate is made anew.
const OWN_RENEWAL: i64 = 30;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made: {0}")]
pub struct SignError(#[from] rcgen::Error);

/// A certificate that nobody else signed, and its key, both as PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: zeroize::Zeroizing<String>,
}

/// Returns the certificates of a PEM text, without anything before, between and after them
/// (RFC 7468 §5).
pub fn certificates_of(text: &str) -> String {
    let mut within = false;
    let mut only = String::new();
    for line in text.lines().map(str::trim_end) {
        within |= line == "-----BEGIN CERTIFICATE-----";
        if within {
            only.push_str(line);
            only.push('\n');
        }
        within &= line != "-----END CERTIFICATE-----";
    }
    only
}

/// Makes the certificate by which a handshake answers an authority (RFC 8737 §3).
pub fn challenge(name: &str, key_authorization: &str) -> Result<CertifiedKey, SignError> {
    let mut wanted = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    let digest = Digest::of(key_authorization.as_bytes());
    let answer = rcgen::CustomExtension::new_acme_identifier(digest.as_bytes());
    wanted.custom_extensions = vec![answer];
    let key = rcgen::KeyPair::generate()?;
    let certificate = wanted.self_signed(&key)?;
    let der = PrivateKeyDer::try_from(key.serialize_der());
    let key = der
        .ok()
        .and_then(|der| PROVIDER.key_provider.load_private_key(der).ok());
    let key = key.ok_or(rcgen::Error::CouldNotParseKeyPair)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Makes a certificate for host names and addresses, with a new key on P-256.
pub fn self_signed(names: &[String], now: Timestamp) -> Result<SelfSigned, SignError> {
    let start_of_day = |time: Timestamp| {
        let day = TimeZone::UTC.to_datetime(time).date();
        let (month, number) = (day.month().unsigned_abs(), day.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(day.year()), month, number)
    };
    let mut wanted = rcgen::CertificateParams::new(names.to_vec())?;
    let mut subject = rcgen::DistinguishedName::new();
    let first = names.first().map_or("ProxMenux Monitor", String::as_str);
    subject.push(
        rcgen::DnType::CommonName,
        first.chars().take(64).collect::<String>(),
    );
    subject.push(rcgen::DnType::OrganizationName, "ProxMenux Monitor");
    wanted.distinguished_name = subject;
    (wanted.not_before, wanted.not_after) =
        (start_of_day(now - OWN_PAST), start_of_day(now + OWN_LIFE));
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    wanted.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let key = rcgen::KeyPair::generate()?;
    let certificate = wanted.self_signed(&key)?;
    Ok(SelfSigned {
        certificate: certificate.pem(),
        key: key.serialize_pem().into(),
    })
}

/// Returns whether a certificate that we signed is near its end, and should be made anew.
pub fn should_renew(info: &CertificateInfo, now: Timestamp) -> bool {
    info.days_left(now) < OWN_RENEWAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        Vec::from_iter(names.iter().map(|name| (*name).to_owned()))
    }

    fn look(certificate: &str, key: &str, at: Timestamp) -> Examination {
        examine(
            Ok(certificate.as_bytes()),
            Ok(key.as_bytes()),
            &names(&["pve"]),
            at,
        )
    }

    fn verdict(seen: &Examination, name: CheckName) -> Option<Verdict> {
        let mut checks = seen.checks.iter();
        checks
            .find(|check| check.name == name)
            .map(|check| check.result)
    }

    #[test]
    fn of_a_chain_only_the_certificates_are_taken() {
        let one = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMTIz\n-----END PRIVATE KEY-----\n";
        let chain = format!("a comment\n{one}\r\n{key}between\n{one}");
        assert_eq!(certificates_of(&chain), format!("{one}{one}"));
        assert_eq!(certificates_of(key), "");
    }

    #[test]
    fn our_own_certificate_passes_every_check_and_names_all_it_was_made_for() {
        let wanted = names(&["pve", "pve.example.net", "192.0.2.7", "2001:db8::7"]);
        let made = self_signed(&wanted, now()).unwrap();

        let seen = look(&made.certificate, &made.key, now());

        assert!(
            seen.checks
                .iter()
                .all(|check| check.result == Verdict::Passed),
            "{:?}",
            seen.checks
        );
        let info = seen.pair.unwrap().info;
        assert_eq!(info.names, wanted);
        assert_eq!(
            (info.key_kind.as_str(), info.is_self_signed),
            ("EC P-256", true)
        );
        assert_eq!(info.days_left(now()), 396);
        assert!(!should_renew(&info, now()));
        assert!(should_renew(
            &info,
            now() + SignedDuration::from_hours(24 * 368)
        ));
    }

    #[test]
    fn a_key_of_another_certificate_makes_no_pair() {
        let one = self_signed(&names(&["pve"]), now()).unwrap();
        let other = self_signed(&names(&["pve"]), now()).unwrap();

        let seen = look(&one.certificate, &other.key, now());

        assert_eq!(verdict(&seen, CheckName::Match), Some(Verdict::Failed));
        assert!(seen.pair.is_none());
    }

    #[test]
    fn dates_are_judged_to_the_second() {
        let made = self_signed(&names(&["pve"]), now()).unwrap();
        let judged =
            |at| verdict(&look(&made.certificate, &made.key, at), CheckName::Dates).unwrap();
        let info = look(&made.certificate, &made.key, now()).info.unwrap();
        let second = SignedDuration::from_secs(1);

        assert_eq!(judged(info.not_before - second), Verdict::Failed);
        assert_eq!(judged(info.not_before), Verdict::Passed);
        assert_eq!(judged(info.expires - second), Verdict::Warning);
        assert_eq!(judged(info.expires), Verdict::Failed);
    }

    #[test]
    fn a_certificate_for_another_host_is_only_warned_of() {
        let made = self_signed(&names(&["other.example.net"]), now()).unwrap();
        let seen = look(&made.certificate, &made.key, now());
        assert_eq!(verdict(&seen, CheckName::Names), Some(Verdict::Warning));
        assert!(seen.failure().is_none());
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        for (pattern, name, covers) in [
            ("*.example.net", "pve.example.net", true),
            ("*.example.net", "PVE.Example.net", true),
            ("*.example.net", "a.pve.example.net", false),
            ("*.example.net", "example.net", false),
            ("*.example.net", ".example.net", false),
            ("pve", "pve", true),
        ] {
            assert_eq!(matches(pattern, name), covers, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_file_holds_it_is_judged(certificate: Vec<u8>, key: Vec<u8>, cut in 0_usize..900) {
            let made = self_signed(&names(&["pve"]), now()).unwrap();
            let cut = made.certificate.get(..cut).unwrap_or_default();
            for text in [certificate.as_slice(), cut.as_bytes()] {
                let seen = examine(Ok(text), Ok(&key), &[], now());
                proptest::prop_assert!(seen.failure().is_some());
                proptest::prop_assert!(seen.pair.is_none());
            }
        }
    }
}
