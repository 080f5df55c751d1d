//! The client's address: who asks, from how near, and what the limiter counts them by.
//!
//! [`client`] decides it once for each request, and everything else uses its answer: the rules of
//! set-up and open mode, the limiter, the bans, the audit log.
//!
//! **Invariant:** no header raises trust. What a stranger may write into a header can only make
//! a request count as [`Network::Internet`]; [`Network::ThisHost`] is never read from one.
//!
//! **Invariant:** an address that leaves here is canonical: IPv4-mapped IPv6 is plain IPv4.

use std::borrow::Cow;
use std::iter::Rev;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::header::{HeaderMap, HeaderValue, ValueIter};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Returns who sent a request that came from `peer` over `transport` with these `headers`.
///
/// Of `on_link`, the networks of this host's interfaces, those of IPv6 that are no wider than
/// a /64 are near ([`Network::Lan`]). An on-link IPv4 network that is not private anyway is
/// a provider's, with strangers in it.
pub fn client(
    peer: IpAddr,
    transport: Transport,
    headers: &HeaderMap,
    policy: &ProxyPolicy,
    on_link: &[IpNet],
) -> Client {
    let peer = peer.to_canonical();
    let mut client = Client {
        address: peer,
        peer,
        network: Network::Internet,
        limited_by: LimitedBy::Address(peer),
        https: transport == Transport::Tls,
        proxied: headers.keys().any(|name| is_forwarding(name.as_str())),
        peer_trusted: policy.trusts(peer),
    };
    if !client.proxied {
        client.network = network_of(peer, on_link);
        return client;
    }
    if !client.peer_trusted {
        let claimed = Elements::of(headers, policy.header).find_map(|e| e.address());
        client.limited_by = LimitedBy::Claimed { peer, claimed };
        return client;
    }
    client.https |= says_https(headers, policy.header);
    let start = walk(peer, headers, policy);
    client.address = start.address();
    client.limited_by = LimitedBy::Address(client.address);
    client.network = match start {
        Start::Unknown { nearest: _ } => Network::Internet,
        Start::Known(address) => match network_of(address, on_link) {
            // A header can't give what only a connection from this host itself has.
            Network::ThisHost => Network::Internet,
            network @ (Network::Lan | Network::Tailnet | Network::Internet) => network,
        },
    };
    client
}

/// Who sent a request, as [`client`] decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address that is logged, shown and banned.
    pub address: IpAddr,
    /// The other end of the connection: the client itself, or the proxy before us.
    pub peer: IpAddr,
    /// How near the client is.
    pub network: Network,
    /// What failures are counted by.
    pub limited_by: LimitedBy,
    /// The client's own connection is encrypted.
    pub https: bool,
    /// Some forwarding header was sent.
    pub proxied: bool,
    /// The peer is on the list of trusted proxies.
    pub peer_trusted: bool,
}

impl Client {
    /// Returns the client as one whom a proxy announced: it is no more this host than one whom
    /// a header names.
    #[must_use]
    pub fn announced(mut self) -> Self {
        self.proxied = true;
        if self.network == Network::ThisHost {
            self.network = Network::Internet;
        }
        self
    }

    /// Returns whether the client may do what private addresses may: anything but the internet.
    pub fn is_private(&self) -> bool {
        self.network != Network::Internet
    }

    /// Returns the address by which networks are matched: a header can say that a client is this
    /// host, and is not believed in that.
    pub fn matched_address(&self) -> IpAddr {
        if self.address.is_loopback() && !self.is_loopback_privileged() {
            return IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        }
        self.address
    }

    /// Returns whether the client is a program on this host that was not forwarded.
    pub fn is_loopback_privileged(&self) -> bool {
        self.network == Network::ThisHost
    }
}

/// How near a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A loopback peer that sent no forwarding header.
    ThisHost,
    /// A private or link-local address, or a neighbour on one of this host's IPv6 links.
    Lan,
    /// An address of a Tailscale network.
    Tailnet,
    /// Everything else, and everything in doubt.
    Internet,
}

/// What the limiter counts a client's failures by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedBy {
    /// An address that nobody could choose freely.
    Address(IpAddr),
    /// What a peer without trust says of whom it forwards.
    Claimed {
        /// The peer.
        peer: IpAddr,
        /// The nearest address in the believed header, if there is one.
        claimed: Option<IpAddr>,
    },
}

/// How a connection reached our own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Without encryption.
    Plain,
    /// Over TLS that ends here.
    Tls,
}

/// Which peers may speak for others, and in which header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPolicy {
    /// The networks of trusted proxies.
    pub trusted: Vec<IpNet>,
    /// The one header that is believed.
    pub header: ClientAddressHeader,
}

impl ProxyPolicy {
    /// Returns whether `address` is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl Default for ProxyPolicy {
    /// Trusts loopback only, and believes `X-Forwarded-For`.
    fn default() -> Self {
        Self {
            trusted: vec![LOOPBACK_V4.into(), LOOPBACK_V6.into()],
            header: ClientAddressHeader::XForwardedFor,
        }
    }
}

/// The header in which a trusted proxy names its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAddressHeader {
    /// `X-Forwarded-For`: each proxy adds its peer at the right.
    #[default]
    XForwardedFor,
    /// `X-Real-IP`: one address.
    XRealIp,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

impl ClientAddressHeader {
    /// Returns the header's name, as the setting and HTTP spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::XRealIp => "x-real-ip",
            Self::Forwarded => "forwarded",
        }
    }
}

impl FromStr for ClientAddressHeader {
    type Err = ParseHeaderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::XForwardedFor, Self::XRealIp, Self::Forwarded]
            .into_iter()
            .find(|header| header.name().eq_ignore_ascii_case(text.trim()))
            .ok_or(ParseHeaderError)
    }
}

/// The setting names a header that carries no client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be `x-forwarded-for`, `x-real-ip` or `forwarded`")]
pub struct ParseHeaderError;

/// Returns the networks in `text`: CIDRs and bare addresses, separated by commas or spaces.
///
/// An empty text is an empty list, which trusts nobody.
///
/// ```
/// use proxmenux_monitor::access::address::parse_trusted;
///
/// assert_eq!(parse_trusted("192.0.2.0/24, 2001:db8::1").unwrap().len(), 2);
/// assert!(parse_trusted("0.0.0.0/0").is_err());
/// ```
pub fn parse_trusted(text: &str) -> Result<Vec<IpNet>, ParseTrustedError> {
    let entries = text.split(|c: char| c == ',' || c.is_whitespace());
    let networks = entries
        .filter(|entry| !entry.is_empty())
        .map(parse_network)
        .collect::<Result<Vec<_>, _>>()?;
    // Two halves of the internet are the internet.
    if IpNet::aggregate(&networks)
        .iter()
        .any(|n| n.prefix_len() == 0)
    {
        return Err(ParseTrustedError::MatchesAll);
    }
    Ok(networks)
}

fn parse_network(entry: &str) -> Result<IpNet, ParseTrustedError> {
    let parsed = entry
        .parse::<IpNet>()
        .ok()
        .or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = parsed else {
        return Err(ParseTrustedError::NotANetwork {
            entry: entry.to_owned(),
        });
    };
    Ok(unmap(network).trunc())
}

/// Returns the IPv4 network that an IPv4-mapped one stands for, and others as they are.
fn unmap(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    mapped
        .addr()
        .to_ipv4_mapped()
        .zip(mapped.prefix_len().checked_sub(96))
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(network, IpNet::V4)
}

/// Why a list of trusted proxies is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseTrustedError {
    /// An entry is neither an address nor a network.
    #[error("`{entry}` is neither an address nor a network like 192.0.2.0/24")]
    NotANetwork {
        /// The entry.
        entry: String,
    },
    /// The list would trust every address of IPv4 or IPv6.
    #[error("the list would trust every address")]
    MatchesAll,
}

const LOOPBACK_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);

/// Addresses that no router of the internet carries, with how near they are.
const PRIVATE_V4: [(Ipv4Net, Network); 6] = [
    (LOOPBACK_V4, Network::ThisHost),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
        Network::Lan,
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
        Network::Lan,
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
        Network::Lan,
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
        Network::Lan,
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
        Network::Tailnet,
    ),
];

/// The same for IPv6; of two that match the first decides.
const PRIVATE_V6: [(Ipv6Net, Network); 4] = [
    (LOOPBACK_V6, Network::ThisHost),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0), 48),
        Network::Tailnet,
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
        Network::Lan,
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        Network::Lan,
    ),
];

/// Returns every private network: what the old program's `PROXMENUX_TRUST_PROXY=1` trusted.
pub fn private_networks() -> Vec<IpNet> {
    let v4 = PRIVATE_V4.iter().map(|(network, _)| IpNet::V4(*network));
    let v6 = PRIVATE_V6.iter().map(|(network, _)| IpNet::V6(*network));
    v4.chain(v6).collect()
}

/// Returns how near an address is, taken as a peer's own.
pub fn network_of(address: IpAddr, on_link: &[IpNet]) -> Network {
    let private = match address {
        IpAddr::V4(v4) => PRIVATE_V4
            .iter()
            .find(|(net, _)| net.contains(&v4))
            .map(|(_, n)| *n),
        IpAddr::V6(v6) => PRIVATE_V6
            .iter()
            .find(|(net, _)| net.contains(&v6))
            .map(|(_, n)| *n),
    };
    private.unwrap_or_else(|| {
        if is_neighbour(address, on_link) {
            Network::Lan
        } else {
            Network::Internet
        }
    })
}

fn is_neighbour(address: IpAddr, on_link: &[IpNet]) -> bool {
    if address.is_multicast() || address.is_unspecified() {
        return false;
    }
    on_link.iter().any(|network| {
        matches!(network, IpNet::V6(link) if link.prefix_len() >= 64) && network.contains(&address)
    })
}

/// Returns whether a header of this lower-case name tells of a proxy on the way.
pub fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded" | "x-real-ip" | "via" | "cf-connecting-ip" | "true-client-ip"
        )
}

/// Where a forwarded request started.
enum Start {
    /// At this address.
    Known(IpAddr),
    /// Somewhere behind this hop, which is the last one that is certain.
    Unknown { nearest: IpAddr },
}

impl Start {
    fn address(&self) -> IpAddr {
        match self {
            Self::Known(address) | Self::Unknown { nearest: address } => *address,
        }
    }
}

/// What one element of the believed header comes to.
enum Step {
    /// A trusted proxy, so the walk goes on.
    Proxy(IpAddr),
    /// The first that is not trusted: the walk ends.
    Client(IpAddr),
    /// No address: the walk ends.
    NotAnAddress,
}

/// Walks the believed header from its right end to the first hop without trust; what stands beyond
/// is never looked at.
fn steps<'a>(
    headers: &'a HeaderMap,
    policy: &'a ProxyPolicy,
) -> impl Iterator<Item = (Element<'a>, Step)> {
    let mut is_over = false;
    Elements::of(headers, policy.header).map_while(move |element| {
        if is_over {
            return None;
        }
        let step = match element.address() {
            None => Step::NotAnAddress,
            Some(address) if policy.header == ClientAddressHeader::XRealIp => Step::Client(address),
            Some(address) if policy.trusts(address) => Step::Proxy(address),
            Some(address) => Step::Client(address),
        };
        is_over = !matches!(step, Step::Proxy(_));
        Some((element, step))
    })
}

/// Returns where the walk ends.
fn walk(peer: IpAddr, headers: &HeaderMap, policy: &ProxyPolicy) -> Start {
    let mut start = Start::Unknown { nearest: peer };
    for (_, step) in steps(headers, policy) {
        start = match step {
            Step::Proxy(address) | Step::Client(address) => Start::Known(address),
            Step::NotAnAddress => Start::Unknown {
                nearest: start.address(),
            },
        };
    }
    start
}

/// One stop of a request on its way here, as the believed header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The address, or what stands in its place.
    pub address: String,
    /// Why it is the client, or is passed over.
    pub verdict: HopVerdict,
}

/// What is made of one stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HopVerdict {
    /// The connection itself tells it: the client, with nothing forwarded.
    Connection,
    /// A trusted proxy: what it says of the stop before it is believed.
    TrustedProxy,
    /// The first that is not trusted, so the client.
    Client,
    /// All are trusted, so the left-most is the client.
    Leftmost,
    /// No address: the client is somewhere behind the stop before this.
    NotAnAddress,
    /// The peer sent a header, but is not trusted, so nothing in it is believed.
    UntrustedPeer,
}

/// The most stops that are shown of a header; a stranger may have written thousands.
const MOST_HOPS: usize = 16;

/// Returns the stops of a request, from here to its client, and why each counts as what it does.
///
/// They are those at which [`client`] looks; for people who set up a proxy.
pub fn hops(peer: IpAddr, headers: &HeaderMap, policy: &ProxyPolicy) -> Vec<Hop> {
    let peer = peer.to_canonical();
    let proxied = headers.keys().any(|name| is_forwarding(name.as_str()));
    let trusted = policy.trusts(peer);
    let hop = |address: IpAddr, verdict| Hop {
        address: address.to_string(),
        verdict,
    };
    let first = match (proxied, trusted) {
        (false, _) => HopVerdict::Connection,
        (true, true) => HopVerdict::TrustedProxy,
        (true, false) => HopVerdict::UntrustedPeer,
    };
    let mut hops = vec![hop(peer, first)];
    if first != HopVerdict::TrustedProxy {
        return hops;
    }
    for (element, step) in steps(headers, policy).take(MOST_HOPS) {
        hops.push(match step {
            Step::Proxy(address) => hop(address, HopVerdict::TrustedProxy),
            Step::Client(address) => hop(address, HopVerdict::Client),
            Step::NotAnAddress => Hop {
                address: String::from_utf8_lossy(element.text)
                    .chars()
                    .take(64)
                    .collect(),
                verdict: HopVerdict::NotAnAddress,
            },
        });
    }
    if let Some(farthest) = hops.last_mut()
        && farthest.verdict == HopVerdict::TrustedProxy
    {
        farthest.verdict = HopVerdict::Leftmost;
    }
    hops
}

/// Returns whether a trusted proxy says that its own client came over HTTPS.
fn says_https(headers: &HeaderMap, header: ClientAddressHeader) -> bool {
    if header == ClientAddressHeader::Forwarded
        && let Some(element) = Elements::of(headers, header).next()
        && let Some(scheme) = element.parameter("proto")
    {
        return scheme.eq_ignore_ascii_case("https");
    }
    let last_line = headers.get_all("x-forwarded-proto").iter().next_back();
    last_line
        .and_then(|line| line.as_bytes().rsplit(|&byte| byte == b',').next())
        .is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"))
}

/// The elements of all lines of a header, from the right; none is looked at before its turn.
struct Elements<'a> {
    header: ClientAddressHeader,
    lines: Rev<ValueIter<'a, HeaderValue>>,
    rest_of_line: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    fn of(headers: &'a HeaderMap, header: ClientAddressHeader) -> Self {
        Self {
            header,
            lines: headers.get_all(header.name()).iter().rev(),
            rest_of_line: None,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.rest_of_line.take() {
            Some(rest) => rest,
            None => self.lines.next()?.as_bytes(),
        };
        let comma = match self.header {
            ClientAddressHeader::XForwardedFor => line.iter().rposition(|&byte| byte == b','),
            ClientAddressHeader::XRealIp => None,
            ClientAddressHeader::Forwarded => last_comma_outside_quotes(line),
        };
        let text = match comma {
            Some(comma) => {
                self.rest_of_line = line.get(..comma);
                line.get(comma + 1..).unwrap_or_default()
            }
            None => line,
        };
        Some(Element {
            header: self.header,
            text: text.trim_ascii(),
        })
    }
}

/// Returns where the last element of a `Forwarded` line begins, less one.
///
/// Read from the right, a quote that a stranger left open further left changes nothing.
fn last_comma_outside_quotes(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (index, &byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' => {
                let before = line.get(..index).unwrap_or_default();
                let backslashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
                quoted ^= backslashes.is_multiple_of(2);
            }
            b',' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// One element of the believed header: what one proxy says of its peer.
struct Element<'a> {
    header: ClientAddressHeader,
    text: &'a [u8],
}

impl<'a> Element<'a> {
    /// Returns the address it names, if it names one.
    fn address(&self) -> Option<IpAddr> {
        match self.header {
            ClientAddressHeader::XForwardedFor | ClientAddressHeader::XRealIp => {
                parse_node(str::from_utf8(self.text).ok()?)
            }
            ClientAddressHeader::Forwarded => parse_node(&self.parameter("for")?),
        }
    }

    /// Returns the value of a parameter of RFC 7239 §4, unless it is missing, is there twice, or
    /// the element is malformed.
    fn parameter(&self, wanted: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        let mut rest = str::from_utf8(self.text).ok()?;
        loop {
            rest = rest.trim_start_matches([';', ' ', '\t']);
            if rest.is_empty() {
                return found;
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = split_value(after)?;
            let after = after.trim_start_matches([' ', '\t']);
            if !is_token(name) || !(after.is_empty() || after.starts_with(';')) {
                return None;
            }
            if name.eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
                return None;
            }
            rest = after;
        }
    }
}

/// Splits the value of a parameter from what follows it.
///
/// A bare value may hold colons and brackets, as some proxies forget to quote IPv6.
fn split_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        let is_bare = !value.is_empty() && !value.contains(['"', '\\', ',']);
        return is_bare.then_some((Cow::Borrowed(value), after));
    };
    let mut value = Cow::Borrowed("");
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(index + 1..)?)),
            '\\' => value.to_mut().push(characters.next()?.1),
            _ => match &mut value {
                Cow::Owned(owned) => owned.push(character),
                Cow::Borrowed(borrowed) => {
                    *borrowed = quoted.get(..index + character.len_utf8())?;
                }
            },
        }
    }
    None
}

/// Returns whether `text` is a token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Returns the address of a node of RFC 7239 §6: bare, or with a port, or in brackets.
///
/// `unknown` and the obfuscated names of §6.3 are no addresses.
fn parse_node(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_node_port);
        return is_whole.then(|| IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    let address = address.parse::<Ipv4Addr>().ok()?;
    is_node_port(port).then_some(IpAddr::V4(address))
}

/// Returns whether `text` is a port number, or the name of one that its proxy hides.
fn is_node_port(text: &str) -> bool {
    if let Some(name) = text.strip_prefix('_') {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        return !name.is_empty() && name.bytes().all(is_name_byte);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hops_that_are_shown_end_at_the_client_that_is_decided() {
        use HopVerdict::{Client, Connection, Leftmost, NotAnAddress, TrustedProxy, UntrustedPeer};
        let policy = policy(ClientAddressHeader::XForwardedFor);
        for (peer, header, verdicts) in [
            (LOOPBACK, None, vec![Connection]),
            (STRANGER, Some("192.0.2.1"), vec![UntrustedPeer]),
            (LOOPBACK, Some("192.0.2.1"), vec![TrustedProxy, Client]),
            (
                LOOPBACK,
                Some("192.0.2.9, 192.0.2.1, 198.51.100.2"),
                vec![TrustedProxy, TrustedProxy, Client],
            ),
            (
                LOOPBACK,
                Some("198.51.100.3, 198.51.100.2"),
                vec![TrustedProxy, TrustedProxy, Leftmost],
            ),
            (
                LOOPBACK,
                Some("192.0.2.1, unknown"),
                vec![TrustedProxy, NotAnAddress],
            ),
        ] {
            let lines = Vec::from_iter(header.map(|value| ("x-forwarded-for", value)));
            let headers = headers(&lines);
            let hops = hops(ip(peer), &headers, &policy);
            let shown = Vec::from_iter(hops.iter().map(|hop| hop.verdict));
            assert_eq!(shown, verdicts, "{peer} {header:?}");
            if matches!(shown.last(), Some(Client | Connection | Leftmost)) {
                let decided = client(ip(peer), Transport::Plain, &headers, &policy, &[]);
                assert_eq!(hops.last().unwrap().address, decided.address.to_string());
            }
        }
    }

    const LOOPBACK: &str = "127.0.0.1";
    const STRANGER: &str = "203.0.113.9";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// Loopback and two more proxies are trusted.
    fn policy(header: ClientAddressHeader) -> ProxyPolicy {
        ProxyPolicy {
            trusted: parse_trusted("127.0.0.0/8 ::1 198.51.100.0/28 2001:db8:ffff::/48").unwrap(),
            header,
        }
    }

    fn ask(peer: &str, header: ClientAddressHeader, lines: &[(&str, &str)]) -> Client {
        let policy = policy(header);
        client(ip(peer), Transport::Plain, &headers(lines), &policy, &[])
    }

    fn ask_xff(peer: &str, chain: &str) -> Client {
        let header = ClientAddressHeader::XForwardedFor;
        ask(peer, header, &[("x-forwarded-for", chain)])
    }

    fn ask_forwarded(chain: &str) -> Client {
        let header = ClientAddressHeader::Forwarded;
        ask(LOOPBACK, header, &[("forwarded", chain)])
    }

    /// The edges of each class, and what only looks like one.
    const EDGES: [(&str, Network); 51] = [
        ("126.255.255.255", Network::Internet),
        ("127.0.0.0", Network::ThisHost),
        ("127.255.255.255", Network::ThisHost),
        ("128.0.0.0", Network::Internet),
        ("9.255.255.255", Network::Internet),
        ("10.0.0.0", Network::Lan),
        ("10.255.255.255", Network::Lan),
        ("11.0.0.0", Network::Internet),
        ("172.15.255.255", Network::Internet),
        ("172.16.0.0", Network::Lan),
        ("172.31.255.255", Network::Lan),
        ("172.32.0.0", Network::Internet),
        ("192.167.255.255", Network::Internet),
        ("192.168.0.0", Network::Lan),
        ("192.168.255.255", Network::Lan),
        ("192.169.0.0", Network::Internet),
        ("169.253.255.255", Network::Internet),
        ("169.254.0.0", Network::Lan),
        ("169.254.255.255", Network::Lan),
        ("169.255.0.0", Network::Internet),
        ("100.63.255.255", Network::Internet),
        ("100.64.0.0", Network::Tailnet),
        ("100.127.255.255", Network::Tailnet),
        ("100.128.0.0", Network::Internet),
        ("0.0.0.0", Network::Internet),
        ("224.0.0.1", Network::Internet),
        ("255.255.255.255", Network::Internet),
        ("192.0.2.1", Network::Internet),
        ("::", Network::Internet),
        ("::1", Network::ThisHost),
        ("::2", Network::Internet),
        ("fbff:ffff::1", Network::Internet),
        ("fc00::", Network::Lan),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Network::Lan),
        ("fe00::1", Network::Internet),
        ("fe7f:ffff::1", Network::Internet),
        ("fe80::", Network::Lan),
        ("febf:ffff::1", Network::Lan),
        ("fec0::1", Network::Internet),
        ("fd7a:115c:a1df:ffff::1", Network::Lan),
        ("fd7a:115c:a1e0::1", Network::Tailnet),
        ("fd7a:115c:a1e0:ffff::1", Network::Tailnet),
        ("fd7a:115c:a1e1::1", Network::Lan),
        ("ff02::1", Network::Internet),
        ("2001:db8::1", Network::Internet),
        ("::ffff:127.0.0.1", Network::ThisHost),
        ("::ffff:192.168.1.1", Network::Lan),
        ("::ffff:100.64.0.1", Network::Tailnet),
        ("::ffff:192.0.2.1", Network::Internet),
        ("::127.0.0.1", Network::Internet),
        ("64:ff9b::7f00:1", Network::Internet),
    ];

    #[test]
    fn networks_have_exact_edges() {
        for (address, network) in EDGES {
            let client = ask(address, ClientAddressHeader::XForwardedFor, &[]);

            assert_eq!(client.network, network, "{address}");
            assert_eq!(client.address, ip(address).to_canonical());
            assert_eq!(client.limited_by, LimitedBy::Address(client.address));
            assert_eq!(client.is_private(), network != Network::Internet);
            assert_eq!(
                client.is_loopback_privileged(),
                network == Network::ThisHost
            );
        }
    }

    #[test]
    fn only_ipv6_links_of_a_64_or_less_are_near() {
        let table = [
            ("2001:db8:0:1::/64", "2001:db8:0:1::5", true),
            ("2001:db8:0:1::/64", "2001:db8:0:2::5", false),
            ("2001:db8:0:1::5/128", "2001:db8:0:1::5", true),
            ("2001:db8:0:1::/63", "2001:db8:0:1::5", false),
            ("2001:db8::/48", "2001:db8::5", false),
            ("::/0", "2001:db8::5", false),
            ("192.0.2.0/24", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", false),
            ("ff02::/64", "ff02::1", false),
            ("::/64", "::", false),
        ];
        for (link, peer, near) in table {
            let on_link = [link.parse().unwrap()];
            let policy = policy(ClientAddressHeader::XForwardedFor);

            let client = client(
                ip(peer),
                Transport::Plain,
                &HeaderMap::new(),
                &policy,
                &on_link,
            );

            assert_eq!(client.network == Network::Lan, near, "{peer} on {link}");
            assert_eq!(client.is_private(), near, "{peer} on {link}");
        }
        let on_link = ["2001:db8:0:1::/64".parse().unwrap()];
        let policy = policy(ClientAddressHeader::XForwardedFor);
        let lines = headers(&[("x-forwarded-for", "2001:db8:0:1::5")]);
        let forwarded = client(ip(LOOPBACK), Transport::Plain, &lines, &policy, &on_link);
        assert_eq!(forwarded.network, Network::Lan);
    }

    #[test]
    fn every_forwarding_header_takes_loopback_privileges_away() {
        let names = [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "Via",
            "CF-Connecting-IP",
            "True-Client-IP",
        ];
        for name in names {
            for value in [
                "",
                "127.0.0.1",
                "for=127.0.0.1",
                "1.1 proxy",
                "::1",
                "\u{e9}",
            ] {
                for header in [
                    ClientAddressHeader::XForwardedFor,
                    ClientAddressHeader::XRealIp,
                    ClientAddressHeader::Forwarded,
                ] {
                    let client = ask(LOOPBACK, header, &[(name, value)]);

                    assert!(client.proxied, "{name}");
                    assert_eq!(client.network, Network::Internet, "{name}: {value}");
                }
            }
        }
        for name in [
            "x-forwarded",
            "x-forwardedfor",
            "x-real-ip-2",
            "viaduct",
            "host",
        ] {
            let client = ask(LOOPBACK, ClientAddressHeader::XForwardedFor, &[(name, "x")]);
            assert!(client.is_loopback_privileged() && !client.proxied, "{name}");
        }
    }

    #[test]
    fn loopback_privileges_need_no_trust() {
        let nobody = ProxyPolicy {
            trusted: Vec::new(),
            header: ClientAddressHeader::XForwardedFor,
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let direct = client(ip(peer), Transport::Plain, &HeaderMap::new(), &nobody, &[]);
            assert!(direct.is_loopback_privileged() && !direct.peer_trusted);

            let lines = headers(&[("x-forwarded-for", "192.168.1.1")]);
            let forwarded = client(ip(peer), Transport::Plain, &lines, &nobody, &[]);
            assert_eq!(forwarded.network, Network::Internet);
            assert_eq!(forwarded.address, ip(peer).to_canonical());
        }
    }

    /// `X-Forwarded-For` of a trusted peer, the client's address, how near it is.
    const CHAINS: [(&str, &str, Network); 26] = [
        // One hop.
        ("192.0.2.7", "192.0.2.7", Network::Internet),
        ("192.168.1.7", "192.168.1.7", Network::Lan),
        ("100.100.1.2", "100.100.1.2", Network::Tailnet),
        ("fd7a:115c:a1e0::5", "fd7a:115c:a1e0::5", Network::Tailnet),
        // The stranger's own words stand at the left.
        ("10.0.0.1, 192.0.2.7", "192.0.2.7", Network::Internet),
        ("127.0.0.1, 192.0.2.7", "192.0.2.7", Network::Internet),
        (
            "garbage, \u{e9}\", 192.0.2.7",
            "192.0.2.7",
            Network::Internet,
        ),
        ("192.0.2.7, 198.51.100.3", "192.0.2.7", Network::Internet),
        (
            "192.0.2.7,198.51.100.3 ,\t127.0.0.1",
            "192.0.2.7",
            Network::Internet,
        ),
        (
            "192.0.2.8, 192.0.2.7, ::1, 2001:db8:ffff::3",
            "192.0.2.7",
            Network::Internet,
        ),
        // All trusted: the left-most.
        (
            "198.51.100.4, 198.51.100.3",
            "198.51.100.4",
            Network::Internet,
        ),
        (
            "2001:db8:ffff::3, 127.0.0.1",
            "2001:db8:ffff::3",
            Network::Internet,
        ),
        // Loopback out of a header is nobody special.
        ("127.0.0.1", "127.0.0.1", Network::Internet),
        ("::1", "::1", Network::Internet),
        ("::ffff:127.0.0.1", "127.0.0.1", Network::Internet),
        // Forms of one address.
        ("192.0.2.7:443", "192.0.2.7", Network::Internet),
        ("[2001:db8::7]:443", "2001:db8::7", Network::Internet),
        ("[2001:db8::7]", "2001:db8::7", Network::Internet),
        ("2001:DB8:0::7", "2001:db8::7", Network::Internet),
        ("::ffff:192.168.1.7", "192.168.1.7", Network::Lan),
        ("[::ffff:c0a8:107]:1", "192.168.1.7", Network::Lan),
        (
            "192.168.1.7, ::ffff:198.51.100.3",
            "192.168.1.7",
            Network::Lan,
        ),
        // Addresses that are no client's.
        ("0.0.0.0", "0.0.0.0", Network::Internet),
        ("224.0.0.1", "224.0.0.1", Network::Internet),
        ("255.255.255.255", "255.255.255.255", Network::Internet),
        ("::", "::", Network::Internet),
    ];

    #[test]
    fn a_trusted_chain_is_walked_from_the_right() {
        for (chain, address, network) in CHAINS {
            let client = ask_xff(LOOPBACK, chain);

            assert_eq!(client.address, ip(address), "{chain}");
            assert_eq!(client.network, network, "{chain}");
            assert_eq!(
                client.limited_by,
                LimitedBy::Address(ip(address)),
                "{chain}"
            );
            assert!(client.peer_trusted && client.proxied);
            assert_eq!(client.peer, ip(LOOPBACK));
        }
    }

    /// What is no address in `X-Forwarded-For`, apart by bars.
    const NO_NODES: &str = "unknown|| |_hidden|10.0.0.1.|10.0.0|010.0.0.1|0x7f.1|localhost|10.0.0.1:|\
        10.0.0.1:x|10.0.0.1:65536|10.0.0.1:+1|10.0.0.1:1:2|10.0.0.1/8|[10.0.0.1]|[::1|\
        ::1]|[::1]1|[::1]:|[::1]:99999|fe80::1%eth0|\"10.0.0.1\"|for=10.0.0.1|\
        10.0.0.1 10.0.0.2|\u{e9}|1::2::3|\u{661}.0.0.1";

    #[test]
    fn what_is_no_address_counts_as_the_hop_right_of_it() {
        for junk in NO_NODES.split('|') {
            let alone = ask_xff(LOOPBACK, junk);
            assert_eq!(
                (alone.address, alone.network),
                (ip(LOOPBACK), Network::Internet),
                "{junk}"
            );
            assert_eq!(alone.limited_by, LimitedBy::Address(ip(LOOPBACK)));

            let behind = ask_xff(LOOPBACK, &format!("192.168.1.1, {junk}, 198.51.100.3, ::1"));
            assert_eq!(behind.address, ip("198.51.100.3"), "{junk}");
            assert_eq!(behind.network, Network::Internet, "{junk}");
            assert_eq!(behind.limited_by, LimitedBy::Address(ip("198.51.100.3")));

            let left = ask_xff(LOOPBACK, &format!("{junk}, 192.168.1.1, 198.51.100.3"));
            assert_eq!(left.network, Network::Lan, "{junk}");
        }
    }

    #[test]
    fn a_trusted_hop_lends_nothing_to_what_is_behind_it() {
        let policy = ProxyPolicy {
            trusted: private_networks(),
            header: ClientAddressHeader::XForwardedFor,
        };
        let ask = |chain| {
            let lines = headers(&[("x-forwarded-for", chain)]);
            client(ip(LOOPBACK), Transport::Plain, &lines, &policy, &[])
        };
        let table = [
            ("unknown, 10.0.0.5", "10.0.0.5", Network::Internet),
            ("unknown, 127.0.0.1", "127.0.0.1", Network::Internet),
            ("192.0.2.7, 10.0.0.5", "192.0.2.7", Network::Internet),
            ("10.0.0.6, 10.0.0.5", "10.0.0.6", Network::Lan),
        ];
        for (chain, address, network) in table {
            let client = ask(chain);
            assert_eq!(
                (client.address, client.network),
                (ip(address), network),
                "{chain}"
            );
            assert_eq!(client.limited_by, LimitedBy::Address(ip(address)));
        }
    }

    #[test]
    fn lines_of_one_header_are_one_chain() {
        let header = ClientAddressHeader::XForwardedFor;
        let lines = [
            ("x-forwarded-for", "10.0.0.1"),
            ("X-Forwarded-For", "192.0.2.7, 198.51.100.2"),
            ("x-forwarded-for", "198.51.100.3"),
        ];
        assert_eq!(ask(LOOPBACK, header, &lines).address, ip("192.0.2.7"));
        // An empty line is a hop that would not say.
        let lines = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "")];
        let client = ask(LOOPBACK, header, &lines);
        assert_eq!(
            (client.address, client.network),
            (ip(LOOPBACK), Network::Internet)
        );
    }

    #[test]
    fn only_the_configured_header_is_believed() {
        let lines = [
            ("x-forwarded-for", "192.168.1.1"),
            ("x-real-ip", "192.168.1.2"),
            ("forwarded", "for=192.168.1.3"),
            ("cf-connecting-ip", "192.168.1.4"),
            ("true-client-ip", "192.168.1.5"),
        ];
        let headers = [
            (ClientAddressHeader::XForwardedFor, "192.168.1.1"),
            (ClientAddressHeader::XRealIp, "192.168.1.2"),
            (ClientAddressHeader::Forwarded, "192.168.1.3"),
        ];
        for (header, address) in headers {
            let client = ask(LOOPBACK, header, &lines);
            assert_eq!(
                (client.address, client.network),
                (ip(address), Network::Lan)
            );

            let others: Vec<_> = lines
                .into_iter()
                .filter(|(name, _)| *name != header.name())
                .collect();
            let client = ask("198.51.100.1", header, &others);
            assert_eq!(
                client.address,
                ip("198.51.100.1"),
                "the peer, for want of the header"
            );
            assert_eq!(client.network, Network::Internet);
            assert_eq!(client.limited_by, LimitedBy::Address(ip("198.51.100.1")));
        }
    }

    #[test]
    fn x_real_ip_is_one_value() {
        let table: [(&[&str], &str, Network); 6] = [
            (&["192.168.1.2"], "192.168.1.2", Network::Lan),
            (&["198.51.100.3"], "198.51.100.3", Network::Internet),
            (&["10.0.0.1", "192.0.2.7"], "192.0.2.7", Network::Internet),
            (
                &["192.168.1.2", "198.51.100.3"],
                "198.51.100.3",
                Network::Internet,
            ),
            (&["192.168.1.2, 192.168.1.3"], LOOPBACK, Network::Internet),
            (&["192.168.1.2", "unknown"], LOOPBACK, Network::Internet),
        ];
        for (values, address, network) in table {
            let lines: Vec<_> = values.iter().map(|value| ("x-real-ip", *value)).collect();
            let client = ask(LOOPBACK, ClientAddressHeader::XRealIp, &lines);
            assert_eq!(
                (client.address, client.network),
                (ip(address), network),
                "{values:?}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let table = [
            ("for=192.168.1.7", "192.168.1.7"),
            ("For=\"192.168.1.7\"", "192.168.1.7"),
            (
                "proto=https;by=203.0.113.1;FOR=192.168.1.7;host=example.net",
                "192.168.1.7",
            ),
            (";;for=192.168.1.7;", "192.168.1.7"),
            ("for=192.168.1.7 ; proto=http", "192.168.1.7"),
            ("for=\"[fd00::7]:4711\"", "fd00::7"),
            ("for=\"[fd00::7]\"", "fd00::7"),
            ("for=[fd00::7]:80", "fd00::7"),
            ("for=fd00::7", "fd00::7"),
            ("for=\"192.168.1.7:80\"", "192.168.1.7"),
            ("for=\"192.168.1.7:_secret.port\"", "192.168.1.7"),
            (r#"for="192\.168.1\.7""#, "192.168.1.7"),
            ("host=\"a, for=10.0.0.1\";for=192.168.1.7", "192.168.1.7"),
            (
                r#"host="a\", for=10.0.0.1;b=\"";for=192.168.1.7"#,
                "192.168.1.7",
            ),
            (r#"host="a\\";for=192.168.1.7"#, "192.168.1.7"),
            ("host=\"\u{e9}\";for=192.168.1.7", "192.168.1.7"),
            ("for=10.0.0.1, for=192.168.1.7", "192.168.1.7"),
            (
                "for=10.0.0.1,for=192.168.1.7;proto=https,for=198.51.100.3",
                "192.168.1.7",
            ),
            (
                "for=192.168.1.7, for=\"[2001:db8:ffff::1]:1\", for=::1",
                "192.168.1.7",
            ),
            // A quote that a stranger left open swallows nothing.
            ("for=\"10.0.0.1, for=192.168.1.7", "192.168.1.7"),
            ("for=\"10.0.0.1, for=\"192.168.1.7\"", "192.168.1.7"),
            (r#"for="10.0.0.1\, for=192.168.1.7"#, "192.168.1.7"),
        ];
        for (chain, address) in table {
            let client = ask_forwarded(chain);
            assert_eq!(client.address, ip(address), "{chain}");
            assert_eq!(client.network, Network::Lan, "{chain}");
        }
    }

    /// What is no address in `Forwarded`, apart by bars.
    const NO_FORWARDED: &str = "|for|for=|for=unknown|for=_hidden|for=\"_hidden\"|proto=https|by=10.0.0.1|\
        for=10.0.0.1;for=10.0.0.2|for=10.0.0.1;for=10.0.0.1|for =10.0.0.1|\
        for= 10.0.0.1|for=10.0.0.1;garbage|for=10.0.0.1 10.0.0.2|for=\"10.0.0.1|\
        for=10.0.0.1\"|for=\"10.0.0.1\"x|for=\"10.0.0.1\\\"|for='10.0.0.1'|=10.0.0.1|\
        10.0.0.1|fo r=10.0.0.1|for=\"\"|\
        f@r=1;for=10.0.0.1|for=\"10.0.0.1\"by=x|for=10.0.0.1 by=x";

    #[test]
    fn forwarded_without_an_address_counts_as_the_hop_right_of_it() {
        for junk in NO_FORWARDED.split('|') {
            let alone = ask_forwarded(junk);
            assert_eq!(
                (alone.address, alone.network),
                (ip(LOOPBACK), Network::Internet),
                "{junk}"
            );

            let behind = ask_forwarded(&format!("{junk}, for=198.51.100.3"));
            assert_eq!(behind.address, ip("198.51.100.3"), "{junk}");
            assert_eq!(behind.limited_by, LimitedBy::Address(ip("198.51.100.3")));
            assert_eq!(behind.network, Network::Internet, "{junk}");
        }
    }

    #[test]
    fn an_untrusted_peer_is_counted_by_what_it_claims() {
        let table = [
            ("192.168.1.1", Some("192.168.1.1")),
            ("10.0.0.1, 192.168.1.1", Some("192.168.1.1")),
            ("10.0.0.1, unknown, ", Some("10.0.0.1")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("unknown", None),
            ("", None),
        ];
        for (chain, claimed) in table {
            for peer in [STRANGER, "192.168.1.50", "::ffff:203.0.113.9", "fe80::1"] {
                let client = ask_xff(peer, chain);
                let peer = ip(peer).to_canonical();
                let claimed = claimed.map(ip);

                assert_eq!(
                    client.limited_by,
                    LimitedBy::Claimed { peer, claimed },
                    "{chain}"
                );
                assert_eq!((client.address, client.peer), (peer, peer));
                assert_eq!(client.network, Network::Internet);
                assert!(client.proxied && !client.peer_trusted);
            }
        }
        let other_header = ask(
            STRANGER,
            ClientAddressHeader::XRealIp,
            &[("x-forwarded-for", "10.0.0.1")],
        );
        let (peer, claimed) = (ip(STRANGER), None);
        assert_eq!(
            other_header.limited_by,
            LimitedBy::Claimed { peer, claimed }
        );
        let lines = [("x-real-ip", "10.0.0.1"), ("x-real-ip", "unknown")];
        let x_real_ip = ask(STRANGER, ClientAddressHeader::XRealIp, &lines);
        let claimed = Some(ip("10.0.0.1"));
        assert_eq!(x_real_ip.limited_by, LimitedBy::Claimed { peer, claimed });
    }

    type Lines = &'static [&'static str];

    /// Peer, believed header, the lines of `X-Forwarded-Proto` and of `Forwarded`, HTTPS or not.
    const SCHEMES: [(&str, &str, Lines, Lines, bool); 20] = [
        (LOOPBACK, "x-forwarded-for", &[], &[], false),
        (LOOPBACK, "x-forwarded-for", &["https"], &[], true),
        (LOOPBACK, "x-forwarded-for", &["HTTPS"], &[], true),
        (LOOPBACK, "x-real-ip", &["https"], &[], true),
        (LOOPBACK, "x-forwarded-for", &["http"], &[], false),
        (LOOPBACK, "x-forwarded-for", &["http, https"], &[], true),
        (LOOPBACK, "x-forwarded-for", &["https, http"], &[], false),
        (LOOPBACK, "x-forwarded-for", &["https", "http"], &[], false),
        (LOOPBACK, "x-forwarded-for", &["http", " https "], &[], true),
        (LOOPBACK, "x-forwarded-for", &["https,"], &[], false),
        (LOOPBACK, "x-forwarded-for", &["httpsx"], &[], false),
        (LOOPBACK, "x-forwarded-for", &[], &["proto=https"], false),
        (STRANGER, "x-forwarded-for", &["https"], &[], false),
        (STRANGER, "forwarded", &["https"], &["proto=https"], false),
        (LOOPBACK, "forwarded", &[], &["for=::1;proto=https"], true),
        (
            LOOPBACK,
            "forwarded",
            &[],
            &["proto=http, proto=\"HTTPS\""],
            true,
        ),
        (
            LOOPBACK,
            "forwarded",
            &[],
            &["proto=https, proto=http"],
            false,
        ),
        (
            LOOPBACK,
            "forwarded",
            &[],
            &["proto=https", "for=::1"],
            false,
        ),
        (LOOPBACK, "forwarded", &["https"], &["for=192.0.2.7"], true),
        (LOOPBACK, "forwarded", &["https"], &["proto=http"], false),
    ];

    #[test]
    fn https_is_our_own_or_the_word_of_a_trusted_proxy() {
        for (peer, header, proto, forwarded, https) in SCHEMES {
            let proto = proto.iter().map(|value| ("x-forwarded-proto", *value));
            let forwarded = forwarded.iter().map(|value| ("forwarded", *value));
            let lines: Vec<_> = proto.chain(forwarded).collect();
            let header = header.parse().unwrap();

            assert_eq!(ask(peer, header, &lines).https, https, "{peer} {lines:?}");

            let (policy, lines) = (policy(header), headers(&lines));
            let over_tls = client(ip(peer), Transport::Tls, &lines, &policy, &[]);
            assert!(over_tls.https, "our own TLS is TLS, whatever a header says");
        }
    }

    #[test]
    fn trusted_proxies_are_networks_and_addresses() {
        let table = [
            ("", ""),
            (" , ", ""),
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.1/24,2001:db8::1", "192.0.2.0/24 2001:db8::1/128"),
            ("10.0.0.0/8  fd00::/8,\n::1", "10.0.0.0/8 fd00::/8 ::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("0.0.0.0/1", "0.0.0.0/1"),
        ];
        for (text, networks) in table {
            let parsed = parse_trusted(text).unwrap();
            let parsed: Vec<_> = parsed.iter().map(ToString::to_string).collect();
            assert_eq!(parsed.join(" "), networks, "{text:?}");
        }
    }

    /// Lists that match everything, apart by bars.
    const EVERYONE: &str = "0.0.0.0/0|::/0|10.0.0.1, 192.0.2.1/0|2001:db8::/0|::ffff:0:0/96|\
        0.0.0.0/1 128.0.0.0/1|::/1,8000::/1|0.0.0.0/1, 128.0.0.0/2, 192.0.0.0/2";

    /// What is no network, apart by bars.
    const NONSENSE: &str = "proxy|192.0.2|192.0.2.1/33|2001:db8::/129|192.0.2.1/x|/8|*|[::1]";

    #[test]
    fn lists_that_trust_everyone_or_make_no_sense_are_refused() {
        for text in EVERYONE.split('|') {
            assert_eq!(
                parse_trusted(text),
                Err(ParseTrustedError::MatchesAll),
                "{text}"
            );
        }

        for text in NONSENSE.split('|') {
            let entry = text.to_owned();
            let list = format!("192.0.2.1, {text}");
            assert_eq!(
                parse_trusted(&list),
                Err(ParseTrustedError::NotANetwork { entry })
            );
        }
    }

    #[test]
    fn header_setting_is_one_of_three_names() {
        for header in [
            ClientAddressHeader::XForwardedFor,
            ClientAddressHeader::XRealIp,
            ClientAddressHeader::Forwarded,
        ] {
            assert_eq!(header.name().parse(), Ok(header));
            assert_eq!(header.name().to_uppercase().parse(), Ok(header));
            let json = serde_json::to_value(header).unwrap();
            assert_eq!(json, header.name());
            assert_eq!(
                serde_json::from_value::<ClientAddressHeader>(json).unwrap(),
                header
            );
        }
        for text in ["", "x-forwarded-host", "cf-connecting-ip", "x_real_ip"] {
            assert_eq!(text.parse::<ClientAddressHeader>(), Err(ParseHeaderError));
        }
    }

    #[test]
    fn default_trusts_loopback_only() {
        let policy = ProxyPolicy::default();

        assert_eq!(policy.header, ClientAddressHeader::XForwardedFor);
        for trusted in ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(policy.trusts(ip(trusted)), "{trusted}");
        }
        for stranger in [
            "192.168.1.1",
            "10.0.0.1",
            "::",
            "::2",
            "fe80::1",
            "192.0.2.1",
        ] {
            assert!(!policy.trusts(ip(stranger)), "{stranger}");
        }
    }

    #[test]
    fn networks_are_written_in_snake_case() {
        let names = [
            (Network::ThisHost, "this_host"),
            (Network::Lan, "lan"),
            (Network::Tailnet, "tailnet"),
            (Network::Internet, "internet"),
        ];
        for (network, name) in names {
            assert_eq!(serde_json::to_value(network).unwrap(), name);
        }
    }

    /// Addresses of which many are trusted, private or loopback.
    fn any_address() -> impl Strategy<Value = IpAddr> {
        let known = [
            "127.0.0.1",
            "::1",
            "198.51.100.3",
            "2001:db8:ffff::1",
            "192.168.1.1",
            "192.0.2.7",
        ];
        prop_oneof![
            prop::sample::select(known.map(ip).to_vec()),
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<[u8; 4]>().prop_map(|bytes| Ipv4Addr::from(bytes).to_ipv6_mapped().into()),
        ]
    }

    /// One way to write an address in `X-Forwarded-For`.
    fn written(address: IpAddr, form: u8) -> String {
        match (address, form % 3) {
            (IpAddr::V4(v4), 1) => format!("{v4}:8080"),
            (IpAddr::V6(v6), 1) => format!("[{v6}]:8080"),
            (IpAddr::V6(v6), 2) => format!("[{v6}]"),
            _ => address.to_string(),
        }
    }

    /// Any bytes that may stand in a header.
    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..=255];
        let pieces = prop::sample::select(vec![
            "for=",
            "\"",
            "\\",
            ",",
            ";",
            "=",
            "[",
            "]",
            ":",
            "127.0.0.1",
            "::1",
            "192.168.1.1",
            "unknown",
            " ",
        ]);
        prop_oneof![
            prop::collection::vec(byte, 0..40),
            prop::collection::vec(pieces, 0..12).prop_map(|p| p.concat().into_bytes()),
        ]
    }

    fn any_header() -> impl Strategy<Value = ClientAddressHeader> {
        prop::sample::select(vec![
            ClientAddressHeader::XForwardedFor,
            ClientAddressHeader::XRealIp,
            ClientAddressHeader::Forwarded,
        ])
    }

    /// Writes a chain as `X-Forwarded-For` or `Forwarded`, broken into lines at random.
    fn chain_headers(header: ClientAddressHeader, chain: &[(IpAddr, u8)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut line = String::new();
        for (index, (address, form)) in chain.iter().enumerate() {
            if index > 0 && form & 0x10 == 0 {
                line.push_str(", ");
            } else if index > 0 {
                headers.append(header.name(), line.parse().unwrap());
                line.clear();
            }
            let node = written(*address, *form);
            let element = match header {
                ClientAddressHeader::XForwardedFor | ClientAddressHeader::XRealIp => node,
                ClientAddressHeader::Forwarded => format!("proto=http;for=\"{node}\";host=\"a,b\""),
            };
            line.push_str(&element);
        }
        headers.append(header.name(), line.parse().unwrap());
        headers
    }

    proptest! {
        #[test]
        fn walk_agrees_with_a_simple_model(
            peer in any_address(),
            chain in prop::collection::vec((any_address(), any::<u8>()), 1..6),
            forwarded in any::<bool>(),
        ) {
            let header = if forwarded { ClientAddressHeader::Forwarded } else { ClientAddressHeader::XForwardedFor };
            let policy = policy(header);
            let headers = chain_headers(header, &chain);

            let client = client(peer, Transport::Plain, &headers, &policy, &[]);

            let peer = peer.to_canonical();
            let hops: Vec<_> = chain.iter().map(|(address, _)| address.to_canonical()).collect();
            let model = if policy.trusts(peer) {
                let first_untrusted = hops.iter().rev().find(|hop| !policy.trusts(**hop));
                *first_untrusted.unwrap_or(&hops[0])
            } else {
                peer
            };
            prop_assert_eq!(client.address, model);
            if !policy.trusts(peer) {
                let claimed = hops.last().copied();
                prop_assert_eq!(client.limited_by, LimitedBy::Claimed { peer, claimed });
            }
        }

        #[test]
        fn what_stands_left_of_the_client_changes_nothing(
            left in prop::collection::vec(any_value(), 0..3),
            same_line in any_value(),
            client_address in any_address(),
            header in any_header(),
        ) {
            let policy = policy(header);
            let client_address = if policy.trusts(client_address) {
                ip("192.0.2.7")
            } else {
                client_address
            };
            let mut right = written(client_address, 1);
            match header {
                ClientAddressHeader::XForwardedFor => right = format!(",{right}, 198.51.100.3"),
                ClientAddressHeader::XRealIp => {}
                ClientAddressHeader::Forwarded => right = format!(",for=\"{right}\", for=198.51.100.3"),
            }
            let mut line = if header == ClientAddressHeader::XRealIp { Vec::new() } else { same_line };
            line.extend(right.into_bytes());
            let mut headers = HeaderMap::new();
            for value in left.into_iter().chain([line]) {
                headers.append(header.name(), HeaderValue::from_bytes(&value).unwrap());
            }

            let client = client(ip(LOOPBACK), Transport::Plain, &headers, &policy, &[]);

            prop_assert_eq!(client.address, client_address.to_canonical());
            prop_assert_eq!(client.limited_by, LimitedBy::Address(client_address.to_canonical()));
        }

        #[test]
        fn no_header_raises_trust(
            peer in any_address(),
            values in prop::collection::vec((any_header(), any_value()), 1..4),
            header in any_header(),
        ) {
            let policy = policy(header);
            let mut headers = HeaderMap::new();
            for (name, value) in &values {
                headers.append(name.name(), HeaderValue::from_bytes(value).unwrap());
            }

            let client = client(peer, Transport::Plain, &headers, &policy, &[]);

            prop_assert!(client.proxied);
            prop_assert!(!client.is_loopback_privileged());
            prop_assert_eq!(client.address, client.address.to_canonical());
            if !policy.trusts(peer) {
                prop_assert!(!client.is_private() && !client.https);
                prop_assert_eq!(client.address, peer.to_canonical());
            }
        }

        #[test]
        fn private_networks_are_what_is_private(address in any_address()) {
            let listed = private_networks().iter().any(|net| net.contains(&address.to_canonical()));
            let client = client(
                address,
                Transport::Plain,
                &HeaderMap::new(),
                &ProxyPolicy::default(),
                &[],
            );
            prop_assert_eq!(client.is_private(), listed);
        }
    }
}
