//! The names that a request may call this host by, and the pages that may send it one.
//!
//! [`host_allowed`] stops DNS rebinding: a page that points its own name at this host's address
//! can't help sending that name as `Host`. [`origin_allowed`] stops a page of another site.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{COOKIE, HOST, HeaderName, ORIGIN};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::address::{Client, is_forwarding};

const X_FORWARDED_HOST: &str = "x-forwarded-host";

/// Returns whether a request is addressed to this host by a name of `names` or an address.
///
/// `authority` is that of the request's target, if it has one (RFC 9112 §3.2.2). A trusted proxy
/// sends on what the browser called it; as a rebound page can write that header too, it can only
/// narrow what is allowed.
pub fn host_allowed(
    headers: &HeaderMap,
    authority: Option<&str>,
    client: &Client,
    names: &HostNames,
) -> bool {
    let Some(host) = real_host(headers, authority) else {
        return false;
    };
    names.knows(host.host)
        && (!client.peer_trusted
            || forwarded_hosts(headers).all(|host| host.is_some_and(|host| names.knows(host.host))))
}

/// Returns whether a request without an `Origin`, or with this one, may change something.
///
/// Beside those of `allow_list`, it may be the page of the host that the request is for. Which
/// host that is a proxy may say without being trusted, since no page can set `X-Forwarded-Host`
/// on a request to another site.
pub fn origin_allowed(headers: &HeaderMap, authority: Option<&str>, allow_list: &[Origin]) -> bool {
    let mut lines = headers.get_all(ORIGIN).iter();
    let Some(line) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    let Some(origin) = line.to_str().ok().and_then(|text| Origin::parse(text).ok()) else {
        return false;
    };
    if allow_list.contains(&origin) {
        return true;
    }
    let Some(host) = real_host(headers, authority) else {
        return false;
    };
    // Some proxies leave the port out of what they pass on. A browser never does.
    let is_passed_on = headers.keys().any(|name| is_forwarding(name.as_str()));
    let has_port = host.port.is_some() || origin.port == origin.scheme.default_port();
    (origin.is_of(host) && (has_port || is_passed_on))
        || forwarded_hosts(headers)
            .flatten()
            .any(|host| origin.is_of(host))
}

/// Returns where the page is from that sends a request: what its browser says, or else the host
/// that the request is for.
///
/// Browsers say it with everything that changes something, and not when they merely read from the
/// page's own host. What a trusted proxy was called goes before what it calls us.
pub fn page_origin(
    headers: &HeaderMap,
    authority: Option<&str>,
    client: &Client,
) -> Option<Origin> {
    if let Some(line) = headers.get(ORIGIN) {
        return Origin::parse(line.to_str().ok()?).ok();
    }
    let passed_on = forwarded_hosts(headers).next();
    let host = match passed_on.filter(|_| client.peer_trusted) {
        Some(host) => host?,
        None => real_host(headers, authority)?,
    };
    let scheme = if client.https {
        Scheme::Https
    } else {
        Scheme::Http
    };
    Some(Origin {
        scheme,
        host: host.host.to_string(),
        port: host.port.unwrap_or(scheme.default_port()),
    })
}

/// Returns whether a WebSocket upgrade may be made: as [`origin_allowed`], but a browser must
/// say where its page is from.
pub fn websocket_origin_allowed(
    headers: &HeaderMap,
    authority: Option<&str>,
    allow_list: &[Origin],
) -> bool {
    let has_origin = headers.contains_key(ORIGIN);
    (has_origin || !is_from_browser(headers)) && origin_allowed(headers, authority, allow_list)
}

fn is_from_browser(headers: &HeaderMap) -> bool {
    let is_fetch_metadata = |name: &HeaderName| name.as_str().starts_with("sec-fetch-");
    headers.contains_key(COOKIE) || headers.keys().any(is_fetch_metadata)
}

/// The names by which this host may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    names: Vec<HostName>,
}

impl HostNames {
    /// Collects the host's own names, what multicast DNS makes of them, and the configured ones.
    pub fn new(
        own: impl IntoIterator<Item = HostName>,
        configured: impl IntoIterator<Item = HostName>,
    ) -> Self {
        let mut names = Vec::new();
        for name in own {
            names.push(name.in_multicast_dns());
            names.push(name);
        }
        names.extend(configured);
        Self { names }
    }

    /// Returns whether `host`, with or without a port, is an address, `localhost` or a known name.
    pub fn allows(&self, host: &str) -> bool {
        Authority::parse(host).is_some_and(|authority| self.knows(authority.host))
    }

    fn knows(&self, host: Host<'_>) -> bool {
        match host {
            Host::Address(_) => true,
            Host::Name(name) => {
                name.eq_ignore_ascii_case("localhost")
                    || self
                        .names
                        .iter()
                        .any(|known| known.0.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// A host's name in lower case, without the root's dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Reads a name: labels of letters, digits and hyphens (RFC 1123 §2.1), and of underscores too.
    ///
    /// ```
    /// use proxmenux_monitor::access::hosts::HostName;
    ///
    /// assert_eq!(HostName::parse("PVE.example.net.").unwrap().as_str(), "pve.example.net");
    /// assert!(HostName::parse("https://pve.example.net").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseHostNameError> {
        let name = without_root(text);
        if !is_name(name) {
            return Err(ParseHostNameError);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the name means the machine itself (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        self.0.rsplit('.').next() == Some("localhost")
    }

    /// Returns the name that this host has on its link (RFC 6762 §3): the first label, `.local`.
    fn in_multicast_dns(&self) -> Self {
        let first_label = self.0.split('.').next().unwrap_or_default();
        Self(format!("{first_label}.local"))
    }
}

impl TryFrom<String> for HostName {
    type Error = ParseHostNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be a host name, without scheme, port or path")]
pub struct ParseHostNameError;

/// Where a page is from: scheme, host and port (RFC 6454 §4), of HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads an origin as browsers write it, without a path; the scheme's own port may be left out.
    ///
    /// ```
    /// use proxmenux_monitor::access::hosts::Origin;
    ///
    /// let origin = Origin::parse("https://DASH.example.net:443").unwrap();
    /// assert_eq!(origin.to_string(), "https://dash.example.net");
    /// assert!(Origin::parse("https://dash.example.net/").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseOriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseOriginError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(ParseOriginError::Scheme)?;
        let authority = Authority::parse(rest).ok_or(ParseOriginError::Host)?;
        Ok(Self {
            scheme,
            host: authority.host.to_string(),
            port: authority.port.unwrap_or(scheme.default_port()),
        })
    }

    /// Returns whether pages of it come over HTTPS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Returns the name of its host, unless that is an address.
    pub fn host_name(&self) -> Option<HostName> {
        match Authority::parse(&self.host)?.host {
            Host::Name(name) => HostName::parse(name).ok(),
            Host::Address(_) => None,
        }
    }

    /// Returns whether a page of this origin is a page of `host`.
    ///
    /// A host without a port says nothing about it: some proxies leave it out.
    fn is_of(&self, host: Authority<'_>) -> bool {
        host.port.is_none_or(|port| port == self.port)
            && Authority::parse(&self.host).is_some_and(|own| own.host == host.host)
    }
}

impl TryFrom<String> for Origin {
    type Error = ParseOriginError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if self.port == self.scheme.default_port() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseOriginError {
    /// It does not begin with `http://` or `https://`.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// What follows is not just a host and perhaps a port.
    #[error("must be a scheme and a host, perhaps with a port, and nothing more")]
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Returns the host and port that a request names, as a browser writes them after `https://`.
pub fn named_host(headers: &HeaderMap, authority: Option<&str>) -> Option<String> {
    let Authority { host, port } = real_host(headers, authority)?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{host}{port}"))
}

/// Returns the one host that a request is for; `Host` and the target must not disagree.
fn real_host<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<Authority<'a>> {
    let mut lines = headers.get_all(HOST).iter();
    let host = match lines.next() {
        Some(line) => Some(Authority::parse(line.to_str().ok()?)?),
        None => None,
    };
    if lines.next().is_some() {
        return None;
    }
    let authority = match authority {
        Some(text) => Some(Authority::parse(text)?),
        None => None,
    };
    match (host, authority) {
        (Some(host), Some(authority)) => (host == authority).then_some(host),
        (host, authority) => host.or(authority),
    }
}

/// Returns the elements of `X-Forwarded-Host`, `None` for those that are no host.
fn forwarded_hosts(headers: &HeaderMap) -> impl Iterator<Item = Option<Authority<'_>>> {
    let lines = headers.get_all(X_FORWARDED_HOST).iter();
    // A line that is no text becomes one element that is no host.
    let texts = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    texts.map(|text| Authority::parse(text.trim_ascii()))
}

/// A host and perhaps its port, as `Host` has them (RFC 9110 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (address, port) = bracketed.split_once(']')?;
            let address = address.parse::<Ipv6Addr>().ok()?;
            (Host::Address(IpAddr::V6(address).to_canonical()), port)
        } else {
            let (host, port) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            (Host::parse(host)?, port)
        };
        let port = match port {
            // RFC 3986 §3.2.3 lets the port be empty.
            "" | ":" => None,
            _ => Some(parse_port(port.strip_prefix(':')?)?),
        };
        Some(Self { host, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[derive(Clone, Copy, Debug)]
enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// Reads an IPv4 address or a name, with or without the root's dot.
    fn parse(text: &'a str) -> Option<Self> {
        let text = without_root(text);
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Some(Self::Address(address.into())),
            Err(_) => is_name(text).then_some(Self::Name(text)),
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(one), Self::Address(other)) => one == other,
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::Address(_), Self::Name(_)) | (Self::Name(_), Self::Address(_)) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(&name.to_ascii_lowercase()),
        }
    }
}

fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns whether `text` is labels of at most 63 bytes, 253 together (RFC 1035 §2.3.4).
///
/// Underscores are no part of a host's name, but some have them.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_label_byte)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::access::address::{ProxyPolicy, Transport, client};

    fn names() -> HostNames {
        let own = ["pve", "pve.example.net"].map(|name| HostName::parse(name).unwrap());
        let configured =
            ["Dash.example.net.", "under_score"].map(|name| HostName::parse(name).unwrap());
        HostNames::new(own, configured)
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn from(peer: &str) -> Client {
        let policy = ProxyPolicy::default();
        client(
            peer.parse().unwrap(),
            Transport::Plain,
            &HeaderMap::new(),
            &policy,
            &[],
        )
    }

    fn proxy() -> Client {
        from("127.0.0.1")
    }

    fn stranger() -> Client {
        from("203.0.113.9")
    }

    fn origins(list: &[&str]) -> Vec<Origin> {
        list.iter()
            .map(|text| Origin::parse(text).unwrap())
            .collect()
    }

    /// Hosts apart by bars.
    const ALLOWED: &str = "192.0.2.1|192.0.2.1:8008|192.0.2.1.|192.0.2.1.:8008|0.0.0.0|127.0.0.1:1|\
        [2001:db8::1]|[2001:DB8::1]:8008|[::1]|[::1]:65535|[::ffff:192.0.2.1]:80|\
        localhost|LOCALHOST:8008|localhost.|localhost.:8008|localhost:|pve|PVE|\
        pve:8008|pve.|pve.:8008|pve:0|pve:00080|pve.local|Pve.Local.:8008|\
        pve.example.net|PVE.EXAMPLE.NET:443|pve.example.net.|dash.example.net|\
        dash.example.net:8443|DASH.example.net.|under_score|under_score:1";

    /// Hosts apart by bars; the first is empty.
    const REFUSED: &str = "|.|:|:8008|..|evil.example.net|pve.example.org|example.net|xpve|pvex|pve.lan|\
        dash|dash.local|evil.pve|pve.evil|pve..|.pve|pve..local|foo.localhost|\
        localhost.local|localhost.localdomain|localhost..|127.1|2130706433|0x7f000001|\
        0177.0.0.1|192.0.2.256|192.0.2.1..|192.0.2.1.evil|2001:db8::1|::1|[::1|::1]|\
        [::1]x|[::1].|[::1]:x|[::1]:-1|[127.0.0.1]|[pve]|[]|[fe80::1%25eth0]|pve:8008x|\
        pve:+80|pve:65536|pve:99999999999999999999|pve:80:80|pve :80| pve|pve,evil|\
        user@pve|pve@evil|pve/|http://pve|pv%65|pve\u{e9}";

    #[test]
    fn hosts_are_addresses_localhost_or_known_names() {
        for host in ALLOWED.split('|') {
            assert!(names().allows(host), "{host}");
            assert!(
                host_allowed(&headers(&[("host", host)]), None, &stranger(), &names()),
                "{host}"
            );
        }
        for host in REFUSED.split('|') {
            assert!(!names().allows(host), "{host}");
            assert!(
                !host_allowed(&headers(&[("host", host)]), None, &stranger(), &names()),
                "{host}"
            );
            assert!(
                !host_allowed(&headers(&[("host", host)]), None, &proxy(), &names()),
                "{host}"
            );
        }
    }

    #[test]
    fn a_host_without_names_is_its_addresses() {
        let nameless = HostNames::default();
        assert!(nameless.allows("192.0.2.1") && nameless.allows("localhost"));
        assert!(!nameless.allows("pve") && !nameless.allows(".local"));
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        let table: [(&[&str], Option<&str>, bool); 14] = [
            (&["pve:8008"], None, true),
            (&[], None, false),
            (&[], Some("pve:8008"), true),
            (&[], Some("evil.example.net"), false),
            (&["pve:8008"], Some("pve:8008"), true),
            (&["pve:8008"], Some("PVE.:8008"), true),
            (&["pve:8008"], Some("pve"), false),
            (&["pve:8008"], Some("pve:8009"), false),
            (&["pve:8008"], Some("evil.example.net:8008"), false),
            (&["pve:8008"], Some("user@pve:8008"), false),
            (&["pve:8008"], Some(""), false),
            (&["pve", "pve"], None, false),
            (&["pve", "evil.example.net"], None, false),
            (&["pve, pve"], None, false),
        ];
        for (hosts, authority, allowed) in table {
            let lines: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let answer = host_allowed(&headers(&lines), authority, &stranger(), &names());
            assert_eq!(answer, allowed, "{hosts:?} {authority:?}");
        }
    }

    #[test]
    fn a_forwarded_host_can_only_narrow() {
        let table: [(&str, &[&str], bool); 12] = [
            ("pve", &[], true),
            ("pve", &["dash.example.net"], true),
            ("pve", &["dash.example.net, 192.0.2.1:80"], true),
            ("pve", &["evil.example.net"], false),
            ("pve", &["evil.example.net, pve"], false),
            ("pve", &["pve, evil.example.net"], false),
            ("pve", &["pve", "evil.example.net"], false),
            ("pve", &["evil.example.net", "pve"], false),
            ("pve", &[""], false),
            ("pve", &["pve,"], false),
            ("pve", &["\u{e9}"], false),
            ("evil.example.net", &["pve"], false),
        ];
        for (host, forwarded, allowed) in table {
            let mut lines = vec![("host", host)];
            lines.extend(forwarded.iter().map(|value| (X_FORWARDED_HOST, *value)));
            let lines = headers(&lines);

            assert_eq!(
                host_allowed(&lines, None, &proxy(), &names()),
                allowed,
                "{host} {forwarded:?}"
            );
            // From others it means nothing, neither way.
            assert_eq!(
                host_allowed(&lines, None, &stranger(), &names()),
                host == "pve"
            );
        }
    }

    #[test]
    fn names_are_checked_and_kept_in_one_form() {
        let table = [
            ("pve", "pve"),
            ("PVE.Example.Net.", "pve.example.net"),
            ("a_b-c", "a_b-c"),
            ("7", "7"),
        ];
        for (text, name) in table {
            let parsed = HostName::parse(text).unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.to_string(), name);
            assert_eq!(serde_json::to_value(&parsed).unwrap(), name);
            assert_eq!(
                serde_json::from_value::<HostName>(text.into()).unwrap(),
                parsed
            );
        }
        let long_label = "a".repeat(64);
        let long_name = vec!["a".repeat(62); 5].join(".");
        let refused = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "*.example.net",
            "pve:80",
            "[::1]",
            "::1",
            "a/b",
            "\u{e9}",
            "user@a",
            "http://a",
            &long_label,
            &long_name,
        ];
        for text in refused {
            assert_eq!(HostName::parse(text), Err(ParseHostNameError), "{text}");
            assert!(serde_json::from_value::<HostName>(text.into()).is_err());
        }
        assert!(HostName::parse(&"a".repeat(63)).is_ok());
        assert!(HostName::parse(&vec!["a".repeat(62); 4].join(".")).is_ok());
    }

    #[test]
    fn origins_are_checked_and_kept_in_one_form() {
        let table = [
            ("http://pve", "http://pve"),
            ("HTTPS://PVE.:443", "https://pve"),
            ("http://pve:443", "http://pve:443"),
            ("https://pve:80", "https://pve:80"),
            ("https://pve:", "https://pve"),
            ("http://192.0.2.1:8008", "http://192.0.2.1:8008"),
            ("https://[2001:DB8:0::1]:8008", "https://[2001:db8::1]:8008"),
        ];
        for (text, origin) in table {
            let parsed = Origin::parse(text).unwrap();
            assert_eq!(parsed.to_string(), origin);
            assert_eq!(serde_json::to_value(&parsed).unwrap(), origin);
            assert_eq!(
                serde_json::from_value::<Origin>(text.into()).unwrap(),
                parsed
            );
        }
        for text in [
            "",
            "null",
            "pve",
            "*",
            "pve:443",
            "//pve",
            "ftp://pve",
            "file://",
            " https://pve",
        ] {
            assert_eq!(Origin::parse(text), Err(ParseOriginError::Scheme), "{text}");
        }
        for text in [
            "https://",
            "https://pve/",
            "https://pve/x",
            "https://pve?x",
            "https://pve#x",
            "https://a@pve",
            "https://pve:x",
            "https://*.example.net",
            "https://::1",
            "https://pve https://pve",
            "https://:443",
            "https://https://pve",
        ] {
            assert_eq!(Origin::parse(text), Err(ParseOriginError::Host), "{text}");
        }
    }

    /// `Origin`, `Host`, the lines of `X-Forwarded-Host`, allowed or not.
    const ORIGINS: [(&str, &str, &[&str], bool); 31] = [
        // The page's own host and port.
        ("http://pve:8008", "pve:8008", &[], true),
        ("https://pve:8008", "pve:8008", &[], true),
        ("http://PVE.:8008", "pve:8008", &[], true),
        ("http://192.0.2.1:8008", "192.0.2.1:8008", &[], true),
        (
            "http://[2001:db8::1]:8008",
            "[2001:DB8:0::1]:8008",
            &[],
            true,
        ),
        ("http://pve", "pve:80", &[], true),
        ("https://pve", "pve:443", &[], true),
        ("http://pve:80", "pve:80", &[], true),
        // The host says no port.
        ("https://pve", "pve", &[], true),
        ("https://pve:8443", "pve", &[], false),
        ("https://pve:8443", "pve:", &[], false),
        ("https://pve:8443", "pve", &["pve"], true),
        // Another port is another server.
        ("http://pve:8009", "pve:8008", &[], false),
        ("http://pve", "pve:8008", &[], false),
        ("http://pve", "pve:443", &[], false),
        ("https://pve", "pve:80", &[], false),
        // Another host.
        ("http://evil.example.net:8008", "pve:8008", &[], false),
        ("http://pve.evil:8008", "pve:8008", &[], false),
        ("http://192.0.2.2:8008", "192.0.2.1:8008", &[], false),
        ("http://192.0.2.1:8008", "pve:8008", &[], false),
        // No origin that could be compared.
        ("null", "pve", &[], false),
        ("", "pve", &[], false),
        ("pve", "pve", &[], false),
        ("http://pve/", "pve", &[], false),
        ("http://\u{e9}", "pve", &[], false),
        // What a proxy says of the browser's own words.
        (
            "https://dash.example.net",
            "127.0.0.1:8008",
            &["dash.example.net"],
            true,
        ),
        (
            "https://dash.example.net",
            "127.0.0.1:8008",
            &["pve:1, dash.example.net:443"],
            true,
        ),
        (
            "https://dash.example.net",
            "127.0.0.1:8008",
            &["pve", "DASH.example.net"],
            true,
        ),
        (
            "https://dash.example.net",
            "127.0.0.1:8008",
            &["dash.example.net:8443"],
            false,
        ),
        (
            "https://evil.example.net",
            "127.0.0.1:8008",
            &["dash.example.net", "\u{e9}"],
            false,
        ),
        ("http://pve:8008", "pve:8008", &["dash.example.net"], true),
    ];

    #[test]
    fn an_origin_is_that_of_the_host_or_of_the_allow_list() {
        for (origin, host, forwarded, allowed) in ORIGINS {
            let mut lines = vec![("host", host), ("origin", origin)];
            lines.extend(forwarded.iter().map(|value| (X_FORWARDED_HOST, *value)));
            let lines = headers(&lines);

            assert_eq!(
                origin_allowed(&lines, None, &[]),
                allowed,
                "{origin} {host} {forwarded:?}"
            );
            assert_eq!(websocket_origin_allowed(&lines, None, &[]), allowed);
        }
    }

    #[test]
    fn allow_list_is_exact() {
        let list = origins(&["https://app.example.net", "http://app.example.net:3000"]);
        let table = [
            ("https://app.example.net", true),
            ("https://APP.example.net:443", true),
            ("http://app.example.net:3000", true),
            ("http://app.example.net", false),
            ("https://app.example.net:3000", false),
            ("https://x.app.example.net", false),
            ("null", false),
        ];
        for (origin, allowed) in table {
            let lines = headers(&[("host", "pve"), ("origin", origin)]);
            assert_eq!(origin_allowed(&lines, None, &list), allowed, "{origin}");
        }
    }

    #[test]
    fn an_origin_needs_one_host_to_be_compared_with() {
        let pve = ("origin", "http://pve");
        assert!(origin_allowed(&headers(&[pve]), Some("pve"), &[]));
        assert!(!origin_allowed(&headers(&[pve]), None, &[]));
        assert!(!origin_allowed(
            &headers(&[pve, (X_FORWARDED_HOST, "pve")]),
            None,
            &[]
        ));
        assert!(!origin_allowed(
            &headers(&[pve, ("host", "pve"), ("host", "pve")]),
            None,
            &[]
        ));
        assert!(!origin_allowed(
            &headers(&[pve, ("host", "pve")]),
            Some("other"),
            &[]
        ));
        assert!(!origin_allowed(
            &headers(&[pve, pve, ("host", "pve")]),
            None,
            &[]
        ));
        assert!(!origin_allowed(
            &headers(&[pve, pve, ("host", "pve")]),
            None,
            &origins(&["http://pve"])
        ));
    }

    fn page(lines: &[(&'static str, &str)], peer: &str, transport: Transport) -> Option<String> {
        let (headers, policy) = (headers(lines), ProxyPolicy::default());
        let client = client(peer.parse().unwrap(), transport, &headers, &policy, &[]);
        page_origin(&headers, None, &client).map(|origin| origin.to_string())
    }

    #[test]
    fn a_page_is_from_where_its_browser_says_or_from_the_host_that_it_asks() {
        let (origin, host) = (("origin", "https://a.example.net"), ("host", "pve:8008"));
        let forwarded = [
            host,
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example.net, c.example.net"),
        ];
        let nowhere = [host, ("x-forwarded-host", "a b"), forwarded[1]];
        let (loopback, stranger) = ("127.0.0.1", "203.0.113.9");
        for (lines, peer, transport, from) in [
            (
                &[origin, host][..],
                stranger,
                Transport::Plain,
                Some("https://a.example.net"),
            ),
            (&[("origin", "null"), host], stranger, Transport::Tls, None),
            (&[host], stranger, Transport::Tls, Some("https://pve:8008")),
            (&[host], stranger, Transport::Plain, Some("http://pve:8008")),
            (
                &[("host", "pve")],
                stranger,
                Transport::Tls,
                Some("https://pve"),
            ),
            (
                &forwarded,
                loopback,
                Transport::Plain,
                Some("https://b.example.net"),
            ),
            (
                &forwarded,
                stranger,
                Transport::Plain,
                Some("http://pve:8008"),
            ),
            (&nowhere, loopback, Transport::Plain, None),
            (&[], stranger, Transport::Tls, None),
            (&[host, host], stranger, Transport::Tls, None),
        ] {
            assert_eq!(
                page(lines, peer, transport).as_deref(),
                from,
                "{lines:?} {peer}"
            );
        }
    }

    #[test]
    fn an_origin_has_a_name_or_an_address() {
        for (origin, name) in [
            ("https://PVE.example.net:8008", Some("pve.example.net")),
            ("http://localhost", Some("localhost")),
            ("https://192.0.2.1", None),
            ("https://[2001:db8::1]:8008", None),
        ] {
            let origin = Origin::parse(origin).unwrap();
            let found = origin.host_name();
            assert_eq!(found.as_ref().map(HostName::as_str), name, "{origin}");
        }
    }

    #[test]
    fn without_an_origin_a_browser_may_open_no_socket() {
        let host = ("host", "pve");
        let table = [
            (vec![host], true),
            (vec![host, ("cookie", "a=b")], false),
            (vec![host, ("cookie", "")], false),
            (vec![host, ("sec-fetch-site", "same-origin")], false),
            (vec![host, ("sec-fetch-mode", "websocket")], false),
            (vec![host, ("sec-websocket-key", "x")], true),
            (
                vec![host, ("cookie", "a=b"), ("origin", "http://pve")],
                true,
            ),
            (
                vec![
                    host,
                    ("sec-fetch-site", "x"),
                    ("origin", "http://evil.example.net"),
                ],
                false,
            ),
        ];
        for (lines, allowed) in table {
            let headers = headers(&lines);
            assert_eq!(
                websocket_origin_allowed(&headers, None, &[]),
                allowed,
                "{lines:?}"
            );
            let has_foreign_origin = lines.contains(&("origin", "http://evil.example.net"));
            assert_eq!(
                origin_allowed(&headers, None, &[]),
                !has_foreign_origin,
                "{lines:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn only_names_that_were_given_are_allowed(host in "[a-z0-9.:\\[\\]@/_-]{0,20}") {
            let authority = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
            let is_address = authority.trim_matches(['[', ']', '.']).parse::<IpAddr>().is_ok();
            let name = authority.strip_suffix('.').unwrap_or(authority);
            let is_known = ["pve", "pve.local", "pve.example.net", "dash.example.net", "localhost", "under_score"]
                .contains(&name);
            if names().allows(&host) {
                prop_assert!(is_address || is_known);
            }
        }

        #[test]
        fn any_bytes_are_answered_and_a_forwarded_host_never_widens(
            host in prop::collection::vec(any::<u8>(), 0..30),
            forwarded in prop::collection::vec(any::<u8>(), 0..30),
            origin in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut lines = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&host) {
                lines.append(HOST, value);
            }
            if let Ok(value) = HeaderValue::from_bytes(&origin) {
                lines.append(ORIGIN, value);
            }
            let alone = host_allowed(&lines, None, &proxy(), &names());
            let is_origin_allowed = origin_allowed(&lines, None, &[]);
            prop_assert_eq!(is_origin_allowed, !lines.contains_key(ORIGIN));
            if let Ok(value) = HeaderValue::from_bytes(&forwarded) {
                lines.append(X_FORWARDED_HOST, value);
            }
            prop_assert!(alone || !host_allowed(&lines, None, &proxy(), &names()));
        }

        #[test]
        fn origins_survive_being_written(host in "[a-z0-9]{1,9}(\\.[a-z]{1,9}){0,2}", port: u16, tls: bool) {
            let scheme = if tls { "https" } else { "http" };
            let origin = Origin::parse(&format!("{scheme}://{host}:{port}")).unwrap();
            prop_assert_eq!(Origin::parse(&origin.to_string()).unwrap(), origin.clone());

            let host = format!("{host}:{port}");
            let lines = headers(&[("host", &host), ("origin", &origin.to_string())]);
            prop_assert!(origin_allowed(&lines, None, &[]));
            let other = headers(&[("host", &format!("x{host}")), ("origin", &origin.to_string())]);
            prop_assert!(!origin_allowed(&other, None, &[]));
        }
    }
}
