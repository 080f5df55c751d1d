//! What failures are counted by, and how that is written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{CODES, NETWORK, PROXY, PROXY_NETWORK, Rule, SINGLE};

/// What kind of thing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A known device.
    Device,
    /// An address, or what a proxy claims to be one.
    Address,
    /// A proxy that is not trusted.
    Proxy,
    /// A /48 of IPv6.
    Network48,
    /// The account's second factor.
    Account,
}

/// What failures are counted by, and penalties are put on.
///
/// Its text is `192.0.2.1`, `2001:db8::/64`, `2001:db8::/48`, `device:` with 64 hex digits,
/// `proxy:192.0.2.1`, `claim:198.51.100.7@192.0.2.1` (`claim:-@192.0.2.1` where the proxy named
/// nobody), or `account`.
///
/// ```
/// use proxmenux_monitor::access::attempts::Subject;
///
/// assert!("2001:db8::/64".parse::<Subject>().is_ok());
/// assert!("2001:db8::/65".parse::<Subject>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(pub(super) Key);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Device([u8; 32]),
    Network(IpNet),
    Claim {
        proxy: IpNet,
        claimed: Option<IpNet>,
    },
    Proxy(IpNet),
    Account,
}

impl Subject {
    pub(super) const ACCOUNT: Self = Self(Key::Account);

    /// Returns what kind of thing it is.
    pub fn kind(&self) -> SubjectKind {
        match self.0 {
            Key::Device(_) => SubjectKind::Device,
            Key::Network(network) if is_wide(network) => SubjectKind::Network48,
            Key::Network(_) | Key::Claim { .. } => SubjectKind::Address,
            Key::Proxy(_) => SubjectKind::Proxy,
            Key::Account => SubjectKind::Account,
        }
    }

    /// Returns the rule that it is counted by.
    pub(super) fn rule(&self) -> &'static Rule {
        match self.0 {
            Key::Network(network) if is_wide(network) => &NETWORK,
            Key::Device(_) | Key::Network(_) | Key::Claim { .. } => &SINGLE,
            Key::Proxy(network) if is_wide(network) => &PROXY_NETWORK,
            Key::Proxy(_) => &PROXY,
            Key::Account => &CODES,
        }
    }

    /// Returns whether a penalty on it keeps `address` out.
    pub(super) fn covers(&self, address: IpAddr) -> bool {
        match self.0 {
            Key::Network(network) | Key::Proxy(network) => network.contains(&address),
            Key::Claim { proxy, claimed } => {
                proxy.contains(&address) || claimed.is_some_and(|net| net.contains(&address))
            }
            Key::Device(_) | Key::Account => false,
        }
    }
}

fn is_wide(network: IpNet) -> bool {
    matches!(network, IpNet::V6(network) if network.prefix_len() == 48)
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Device(hash) => write!(f, "device:{}", HEXLOWER.encode(&hash)),
            Key::Network(network) => write!(f, "{}", Block(network)),
            Key::Claim {
                proxy,
                claimed: Some(claimed),
            } => write!(f, "claim:{}@{}", Block(claimed), Block(proxy)),
            Key::Claim {
                proxy,
                claimed: None,
            } => write!(f, "claim:-@{}", Block(proxy)),
            Key::Proxy(network) => write!(f, "proxy:{}", Block(network)),
            Key::Account => f.write_str("account"),
        }
    }
}

/// Writes a network as its address, if that is all there is in it.
struct Block(IpNet);

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(network) => write!(f, "{}", network.addr()),
            IpNet::V6(network) => write!(f, "{network}"),
        }
    }
}

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let subject = parse_key(text).map(Self).ok_or(ParseSubjectError)?;
        // There is one way to write each.
        (subject.to_string() == text)
            .then_some(subject)
            .ok_or(ParseSubjectError)
    }
}

fn parse_key(text: &str) -> Option<Key> {
    if text == "account" {
        return Some(Key::Account);
    }
    if let Some(hash) = text.strip_prefix("device:") {
        let hash = HEXLOWER.decode(hash.as_bytes()).ok()?;
        return hash.try_into().ok().map(Key::Device);
    }
    if let Some(network) = text.strip_prefix("proxy:") {
        return parse_block(network)
            .or_else(|| parse_wide_block(network))
            .map(Key::Proxy);
    }
    if let Some(claim) = text.strip_prefix("claim:") {
        let (claimed, proxy) = claim.split_once('@')?;
        let claimed = match claimed {
            "-" => None,
            claimed => Some(parse_block(claimed)?),
        };
        let proxy = parse_block(proxy)?;
        return Some(Key::Claim { proxy, claimed });
    }
    parse_block(text)
        .or_else(|| parse_wide_block(text))
        .map(Key::Network)
}

fn parse_block(text: &str) -> Option<IpNet> {
    let address = match text.strip_suffix("/64") {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some(block(address))
}

fn parse_wide_block(text: &str) -> Option<IpNet> {
    wide_block(IpAddr::V6(text.strip_suffix("/48")?.parse().ok()?))
}

impl TryFrom<String> for Subject {
    type Error = ParseSubjectError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// The text is not that of a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no address, network, device, proxy or claim that could have a penalty")]
pub struct ParseSubjectError;

/// Returns what counts as one address: an address of IPv4, a /64 of IPv6.
pub(super) fn block(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpNet::V4(Ipv4Net::new_assert(v4, 32)),
        IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, 64).trunc()),
    }
}

/// Returns the /48 around an address of IPv6, which one customer may have whole.
pub(super) fn wide_block(address: IpAddr) -> Option<IpNet> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some(IpNet::V6(Ipv6Net::new_assert(v6, 48).trunc())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEVICE: &str = "device:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_subject_has_one_text() {
        let table = [
            ("192.0.2.1", SubjectKind::Address),
            ("2001:db8::/64", SubjectKind::Address),
            ("2001:db8:0:1::/64", SubjectKind::Address),
            ("::/64", SubjectKind::Address),
            ("2001:db8::/48", SubjectKind::Network48),
            (DEVICE, SubjectKind::Device),
            ("claim:198.51.100.7@192.0.2.1", SubjectKind::Address),
            ("claim:-@192.0.2.1", SubjectKind::Address),
            ("claim:2001:db8::/64@2001:db8:1::/64", SubjectKind::Address),
            ("proxy:192.0.2.1", SubjectKind::Proxy),
            ("proxy:2001:db8::/64", SubjectKind::Proxy),
            ("proxy:2001:db8::/48", SubjectKind::Proxy),
            ("account", SubjectKind::Account),
        ];
        for (text, kind) in table {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert_eq!(subject.kind(), kind, "{text}");
            assert_eq!(serde_json::to_value(subject).unwrap(), text);
            assert_eq!(
                serde_json::from_value::<Subject>(text.into()).unwrap(),
                subject
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long_device = format!("{DEVICE}00");
        let upper_device = DEVICE.to_uppercase().replace("DEVICE", "device");
        let refused = "|*|Account|account |2001:db8::1|2001:db8::1/64|2001:db8::/63|2001:db8::/128|\
            2001:DB8::/64|2001:db8:0::/64|2001:db8:0:1::/48|192.0.2.1/32|192.0.2.0/24|::ffff:192.0.2.1|\
            ::ffff:192.0.2.1/64|::ffff:0:0/48|device:|device:00|proxy:|proxy:2001:db8::1|proxy:-|\
            claim:|claim:192.0.2.1|claim:@192.0.2.1|claim:-@|claim:-@-|claim:2001:db8::/48@192.0.2.1|\
            claim:-@2001:db8::/48|claim:192.0.2.1@192.0.2.2@192.0.2.3";
        for text in refused
            .split('|')
            .chain([long_device.as_str(), upper_device.as_str()])
        {
            assert_eq!(text.parse::<Subject>(), Err(ParseSubjectError), "{text:?}");
            assert!(serde_json::from_value::<Subject>(text.into()).is_err());
        }
    }

    #[test]
    fn an_address_is_covered_by_what_is_around_it() {
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::/64", "2001:db8::7", true),
            ("2001:db8::/64", "2001:db8:0:1::7", false),
            ("2001:db8::/48", "2001:db8:0:1::7", true),
            ("2001:db8::/48", "2001:db8:1::7", false),
            ("proxy:192.0.2.1", "192.0.2.1", true),
            ("claim:198.51.100.7@192.0.2.1", "192.0.2.1", true),
            ("claim:198.51.100.7@192.0.2.1", "198.51.100.7", true),
            ("claim:-@192.0.2.1", "198.51.100.7", false),
            ("account", "192.0.2.1", false),
            (DEVICE, "192.0.2.1", false),
        ];
        for (text, address, is_covered) in table {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(
                subject.covers(address.parse().unwrap()),
                is_covered,
                "{text} {address}"
            );
        }
    }

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ]
    }

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(Key::Device),
            any_ip().prop_map(|ip| Key::Network(block(ip))),
            any_ip().prop_map(|ip| Key::Network(wide_block(ip).unwrap_or(block(ip)))),
            any_ip().prop_map(|ip| Key::Proxy(block(ip))),
            any_ip().prop_map(|ip| Key::Proxy(wide_block(ip).unwrap_or(block(ip)))),
            (any_ip(), prop::option::of(any_ip())).prop_map(|(proxy, claimed)| Key::Claim {
                proxy: block(proxy),
                claimed: claimed.map(block),
            }),
            Just(Key::Account),
        ]
    }

    proptest! {
        #[test]
        fn subjects_survive_being_written(key in any_key()) {
            let subject = Subject(key);
            prop_assert_eq!(subject.to_string().parse(), Ok(subject));
        }

        #[test]
        fn any_text_is_answered(text in "(claim:|proxy:|device:|)[0-9a-f:.@/-]{0,30}") {
            if let Ok(subject) = text.parse::<Subject>() {
                prop_assert_eq!(subject.to_string(), text);
            }
        }
    }
}
