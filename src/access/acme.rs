//! What the owner wants of a certificate authority by ACME (RFC 8555), and when to ask it again.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::certificates::CertificateInfo;
use super::hosts::HostName;

/// The directory of Let's Encrypt, which is asked unless the owner names another one.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The most names of one certificate.
const MOST_NAMES: usize = 20;
/// The longest address of electronic mail (RFC 5321 §4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;
/// The longest address of a directory.
const LONGEST_DIRECTORY: usize = 500;
/// The longest token of a challenge that is answered.
const LONGEST_TOKEN: usize = 256;
/// How long an order may take: authorities look at a name from several places, one after another.
pub const LONGEST_ORDER: SignedDuration = SignedDuration::from_mins(3);
/// How long to wait after a first failure; each further one doubles it.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// The longest wait.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// Names that no public authority vouches for, by their last labels (RFC 6761, RFC 6762, RFC 8375
/// and what routers give out).
const PRIVATE: [&str; 13] = [
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "test",
];

/// How an authority finds out that a name leads here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChallengeKind {
    /// It fetches a text from port 80 (RFC 8555 §8.3).
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// It begins a TLS handshake on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeKind {
    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "http-01" => Some(Self::Http01),
            "tls-alpn-01" => Some(Self::TlsAlpn01),
            _unknown => None,
        }
    }

    /// Returns the name, as it stands in the file and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// Returns the port on which an authority asks.
    pub fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}

/// What the owner wants, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The host names.
    pub names: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The authority's directory; none is Let's Encrypt.
    pub directory: Option<String>,
    /// The root certificates of a private authority; none are those that this host trusts.
    pub ca_path: Option<String>,
    /// How the authority is to find out that the names lead here.
    pub challenge: Option<String>,
    /// Whether the owner agrees to the authority's terms (RFC 8555 §7.3).
    pub agree_terms: bool,
}

/// What the owner wants, once it can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The host names, each once.
    pub names: Vec<HostName>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The authority's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// The root certificates of a private authority.
    pub ca_path: Option<PathBuf>,
    /// How the authority finds out that the names lead here.
    pub challenge: ChallengeKind,
}

/// Why no certificate can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no name.
    #[error("Name at least one host name.")]
    NamesMissing,
    /// There are too many.
    #[error("Name at most {MOST_NAMES} host names.")]
    TooManyNames,
    /// A name is none.
    #[error("{0:?} is no host name.")]
    NoName(String),
    /// A name stands for many.
    #[error(
        "{0} stands for many names, which an authority gives only to whoever changes the DNS. Name each host."
    )]
    Wildcard(String),
    /// A name is an address.
    #[error("{0} is an address. A certificate of this kind is for host names.")]
    Address(String),
    /// No public authority knows the name.
    #[error(
        "{0} is a name of a private network, for which no public authority vouches. Use a name of a domain that you own, or name the directory of your own authority."
    )]
    PrivateName(String),
    /// The address of electronic mail is none.
    #[error("That is no address of electronic mail.")]
    Email,
    /// The directory is no address.
    #[error("The directory must be an address that begins with https://.")]
    Directory,
    /// The path is not a whole one.
    #[error("Name the whole path of the root certificates, from / on.")]
    CaPath,
    /// There is no such challenge.
    #[error("Choose one of the challenges http-01 and tls-alpn-01.")]
    Challenge,
    /// The owner did not agree.
    #[error("The authority gives certificates only to those who agree to its terms.")]
    Terms,
}

impl Plan {
    /// Looks at what the owner wants.
    pub fn new(wish: Wish) -> Result<Self, PlanError> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let directory = given(wish.directory).unwrap_or_else(|| LETS_ENCRYPT.to_owned());
        let is_public = directory_host(&directory)?.ends_with("letsencrypt.org");
        let mut names = Vec::new();
        for name in wish.names.iter().map(|name| name.trim()) {
            let name = host_name(name, is_public)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(PlanError::NamesMissing);
        }
        if names.len() > MOST_NAMES {
            return Err(PlanError::TooManyNames);
        }
        let challenge = match given(wish.challenge) {
            Some(name) => ChallengeKind::parse(&name).ok_or(PlanError::Challenge)?,
            None => ChallengeKind::default(),
        };
        let email = given(wish.email);
        if email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(PlanError::Email);
        }
        let ca_path = given(wish.ca_path).map(PathBuf::from);
        if ca_path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err(PlanError::CaPath);
        }
        if !wish.agree_terms {
            return Err(PlanError::Terms);
        }
        Ok(Self {
            names,
            email,
            directory,
            ca_path,
            challenge,
        })
    }
}

/// Returns the host of a directory's address.
fn directory_host(directory: &str) -> Result<String, PlanError> {
    if directory.len() > LONGEST_DIRECTORY {
        return Err(PlanError::Directory);
    }
    let address = directory.parse::<Uri>();
    let address = address.map_err(|_malformed| PlanError::Directory)?;
    let authority = address.authority().ok_or(PlanError::Directory)?;
    if address.scheme_str() != Some("https") || authority.as_str().contains('@') {
        return Err(PlanError::Directory);
    }
    Ok(authority.host().to_ascii_lowercase())
}

fn host_name(name: &str, is_public: bool) -> Result<HostName, PlanError> {
    let told = || name.to_owned();
    if name.parse::<IpAddr>().is_ok() {
        return Err(PlanError::Address(told()));
    }
    if name.contains('*') {
        return Err(PlanError::Wildcard(told()));
    }
    let parsed = HostName::parse(name).map_err(|_malformed| PlanError::NoName(told()))?;
    match parsed.as_str().rsplit_once('.') {
        Some((_, last)) if !PRIVATE.contains(&last) => Ok(parsed),
        Some(_) | None if is_public => Err(PlanError::PrivateName(told())),
        Some(_) | None => Ok(parsed),
    }
}

/// Whether a text has the form of an address of electronic mail; whether it exists, the authority
/// finds out.
fn is_email(text: &str) -> bool {
    let is_plain = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"@,;:<>()[]\\\"".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    text.len() <= LONGEST_EMAIL
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| is_plain(local) && is_plain(domain))
}

impl Plan {
    /// Returns whether this is the same certificate of the same authority, asked for once more.
    pub fn is_renewal_of(&self, other: &Self) -> bool {
        self.names == other.names
            && self.directory == other.directory
            && self.ca_path == other.ca_path
    }
}

/// Whether a text may be what an authority asks with: 128 bits or more in base64url without padding
/// (RFC 8555 §8.3).
pub fn is_token(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (22..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(is_base64url)
}

/// What an authority is told when it asks whether a name leads here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The name that is asked about.
    pub name: String,
    /// What the authority asks with.
    pub token: String,
    /// The answer: the token and the account's thumbprint (RFC 8555 §8.1).
    pub key_authorization: String,
}

/// What an authority is told while an order runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// When the order is over at the latest.
    pub until: Timestamp,
    /// How the authority asks.
    pub challenge: ChallengeKind,
    /// What it is told.
    pub answers: Vec<Answer>,
}

impl Answers {
    /// Returns whether the order can still run.
    pub fn count_at(&self, now: Timestamp) -> bool {
        now < self.until && self.until <= now + LONGEST_ORDER
    }

    /// Returns what `token` is answered with over HTTP.
    pub fn over_http(&self, token: &str) -> Option<&str> {
        self.find(ChallengeKind::Http01, |answer| answer.token == token)
    }

    /// Returns what `name` is answered with in a TLS handshake.
    pub fn over_tls(&self, name: &str) -> Option<&str> {
        self.find(ChallengeKind::TlsAlpn01, |answer| {
            answer.name.eq_ignore_ascii_case(name)
        })
    }

    fn find(&self, challenge: ChallengeKind, is_asked: impl Fn(&Answer) -> bool) -> Option<&str> {
        let mut answers = self.answers.iter();
        let answer = answers.find(|answer| self.challenge == challenge && is_asked(answer))?;
        Some(&answer.key_authorization)
    }
}

/// An order came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How many in a row.
    pub failures: u32,
    /// When the last one failed.
    pub at: Timestamp,
    /// Why, in a sentence.
    pub problem: String,
}

impl Trouble {
    /// Counts one more failure.
    pub fn after(before: Option<&Self>, at: Timestamp, problem: String) -> Self {
        let failures = before.map_or(0, |trouble| trouble.failures);
        Self {
            failures: failures.saturating_add(1),
            at,
            problem,
        }
    }

    /// Returns when a renewal is tried again: authorities count failures too.
    pub fn next_try(&self) -> Timestamp {
        let doubled = self.failures.saturating_sub(1).min(10);
        let pause = FIRST_PAUSE * (1 << doubled);
        self.at + pause.min(LONGEST_PAUSE)
    }
}

/// Returns when a certificate is to be renewed: when a third of its life is left.
pub fn renews_at(certificate: &CertificateInfo) -> Timestamp {
    let life = certificate.expires.duration_since(certificate.not_before);
    certificate.expires - life / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str) -> Wish {
        Wish {
            names: vec![name.to_owned()],
            agree_terms: true,
            ..Wish::default()
        }
    }

    #[test]
    fn a_name_is_enough() {
        let plan = Plan::new(wish(" Dash.example.net. ")).unwrap();

        assert_eq!(plan.names, [HostName::parse("dash.example.net").unwrap()]);
        assert_eq!(plan.directory, LETS_ENCRYPT);
        assert_eq!(plan.challenge, ChallengeKind::Http01);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn names_that_no_public_authority_vouches_for_are_refused() {
        for name in [
            "pve",
            "pve.local",
            "pve.lan",
            "nas.home.arpa",
            "a.localhost",
        ] {
            assert_eq!(
                Plan::new(wish(name)),
                Err(PlanError::PrivateName(name.to_owned()))
            );
            let own = Wish {
                directory: Some("https://ca.lan/acme/directory".to_owned()),
                ..wish(name)
            };
            assert!(Plan::new(own).is_ok(), "{name} of one's own authority");
        }
        let refused = |name: &str| Plan::new(wish(name)).unwrap_err();
        assert!(matches!(refused("*.example.net"), PlanError::Wildcard(_)));
        assert!(matches!(refused("192.0.2.1"), PlanError::Address(_)));
        assert!(matches!(refused("2001:db8::1"), PlanError::Address(_)));
        assert!(matches!(refused("a b.example.net"), PlanError::NoName(_)));
        assert!(matches!(refused("https://a.net"), PlanError::NoName(_)));
    }

    #[test]
    fn names_are_counted_once() {
        let many = |count: usize| Wish {
            names: (0..count)
                .map(|number| format!("n{number}.example.net"))
                .collect(),
            ..wish("")
        };
        let none = Wish {
            names: Vec::new(),
            ..wish("")
        };
        assert_eq!(Plan::new(none), Err(PlanError::NamesMissing));
        assert!(Plan::new(many(MOST_NAMES)).is_ok());
        assert_eq!(
            Plan::new(many(MOST_NAMES + 1)),
            Err(PlanError::TooManyNames)
        );
        let twice = Wish {
            names: vec!["a.net".to_owned(), "A.net.".to_owned()],
            ..wish("")
        };
        assert_eq!(Plan::new(twice).unwrap().names.len(), 1);
    }

    #[test]
    fn each_field_is_looked_at() {
        let changed = |change: fn(&mut Wish)| {
            let mut all = wish("dash.example.net");
            change(&mut all);
            Plan::new(all)
        };
        let given = |text: &str| Some(text.to_owned());
        assert_eq!(
            changed(|wish| wish.agree_terms = false),
            Err(PlanError::Terms)
        );
        for email in [
            "owner",
            "@example.net",
            "a@b@c",
            "a b@example.net",
            "a@ex,mailto:b",
        ] {
            let mut all = wish("dash.example.net");
            all.email = given(email);
            assert_eq!(Plan::new(all), Err(PlanError::Email), "{email}");
        }
        for directory in [
            "http://ca.lan/directory",
            "ca.lan",
            "https://",
            "https://a@ca.lan/d",
            "/x",
        ] {
            let mut all = wish("dash.example.net");
            all.directory = given(directory);
            assert_eq!(Plan::new(all), Err(PlanError::Directory), "{directory}");
        }
        assert_eq!(
            changed(|wish| wish.ca_path = Some("root.pem".to_owned())),
            Err(PlanError::CaPath)
        );
        assert_eq!(
            changed(|wish| wish.challenge = Some("dns-01".to_owned())),
            Err(PlanError::Challenge)
        );
        assert!(changed(|wish| wish.email = Some("owner+pve@example.net".to_owned())).is_ok());
    }

    #[test]
    fn an_answer_is_given_only_to_what_was_asked() {
        let answers = |challenge| Answers {
            until: Timestamp::UNIX_EPOCH,
            challenge,
            answers: vec![Answer {
                name: "dash.example.net".to_owned(),
                token: "t1".to_owned(),
                key_authorization: "t1.print".to_owned(),
            }],
        };
        let http = answers(ChallengeKind::Http01);
        assert_eq!(http.over_http("t1"), Some("t1.print"));
        assert_eq!(http.over_http("t2"), None);
        assert_eq!(http.over_tls("dash.example.net"), None);
        let tls = answers(ChallengeKind::TlsAlpn01);
        assert_eq!(tls.over_tls("DASH.example.net"), Some("t1.print"));
        assert_eq!(tls.over_tls("example.net"), None);
        assert_eq!(tls.over_http("t1"), None);
    }

    #[test]
    fn answers_end_with_their_order_whatever_the_clock_says() {
        let now = "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap();
        let answers = |until| Answers {
            until,
            challenge: ChallengeKind::Http01,
            answers: Vec::new(),
        };
        let second = SignedDuration::from_secs(1);
        assert!(answers(now + LONGEST_ORDER).count_at(now));
        assert!(!answers(now).count_at(now));
        assert!(!answers(now + LONGEST_ORDER + second).count_at(now));
    }

    #[test]
    fn a_token_is_base64url_of_some_length() {
        assert!(is_token("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"));
        for text in ["", "short", "../../../../../etc/passwd", &"a".repeat(257)] {
            assert!(!is_token(text), "{text}");
        }
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let now = "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap();
        let mut trouble = None;
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let next = Trouble::after(trouble.as_ref(), now, "No answer.".to_owned());
            pauses.push(next.next_try().duration_since(now).as_hours());
            trouble = Some(next);
        }
        assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 24, 24]);
        assert!(pauses[7..].iter().all(|hours| *hours == 24));
    }

    #[test]
    fn a_third_of_its_life_before_its_end_a_certificate_is_renewed() {
        let certificate = CertificateInfo {
            subject: String::new(),
            issuer: String::new(),
            not_before: "2026-09-01T00:00:00Z".parse().unwrap(),
            expires: "2026-11-30T00:00:00Z".parse().unwrap(),
            is_self_signed: false,
            names: Vec::new(),
            key_kind: String::new(),
            fingerprint: String::new(),
        };
        assert_eq!(
            renews_at(&certificate),
            "2026-10-31T00:00:00Z".parse::<Timestamp>().unwrap()
        );
    }
}
