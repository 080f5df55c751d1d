//! The network interfaces of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use super::procfs::Traffic;
use super::rates::{Rates, Reading};

/// Names that Proxmox and container engines give to a guest's end of the wire.
const PLUMBING: [&str; 5] = ["fwbr", "fwln", "fwpr", "tap", "veth"];

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NetworkInterface {
    /// Its name.
    #[schema(example = "vmbr0")]
    pub name: String,
    /// Whether it works now.
    pub up: bool,
    /// Its addresses, IPv4 first.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Bytes received since the interface appeared.
    pub rx_bytes: u64,
    /// Bytes sent since the interface appeared.
    pub tx_bytes: u64,
    /// Bytes received per second.
    pub rx_bytes_per_second: u64,
    /// Bytes sent per second.
    pub tx_bytes_per_second: u64,
}

/// Returns the names in `network` that are cards of this host, not bridges or guests.
pub(super) fn cards(sys: &Path, network: &BTreeMap<String, Traffic>) -> BTreeSet<String> {
    network
        .keys()
        .filter(|name| is_card(sys, name))
        .cloned()
        .collect()
}

/// Returns the interfaces that an operator knows: no guest's wires, and nothing that was never used.
pub(super) fn interfaces(
    sys: &Path,
    reading: &Reading,
    rates: &Rates,
    addresses: &BTreeMap<String, Vec<IpAddr>>,
) -> Vec<NetworkInterface> {
    reading
        .network
        .iter()
        .filter(|(name, _)| !PLUMBING.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, total)| {
            let rate = rates.network.get(name).copied().unwrap_or_default();
            NetworkInterface {
                name: name.clone(),
                up: is_up(sys, name),
                addresses: addresses.get(name).cloned().unwrap_or_default(),
                rx_bytes: total.received,
                tx_bytes: total.sent,
                rx_bytes_per_second: rate.received,
                tx_bytes_per_second: rate.sent,
            }
        })
        .filter(|interface| {
            interface.up
                || !interface.addresses.is_empty()
                || interface.rx_bytes > 0
                || is_card(sys, &interface.name)
        })
        .collect()
}

/// Returns the addresses of each interface.
pub(super) fn addresses(found: &[if_addrs::Interface]) -> BTreeMap<String, Vec<IpAddr>> {
    let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for interface in found {
        let of_this = addresses.entry(interface.name.clone()).or_default();
        of_this.push(interface.ip());
    }
    for of_one in addresses.values_mut() {
        of_one.sort_unstable();
        of_one.dedup();
    }
    addresses
}

fn is_card(sys: &Path, name: &str) -> bool {
    sys.join("class/net").join(name).join("device").exists()
}

/// Tunnels don't know whether they work; they are up if they are switched on (RFC 2863 §3.1.14).
fn is_up(sys: &Path, name: &str) -> bool {
    let folder = sys.join("class/net").join(name);
    let state = fs::read_to_string(folder.join("operstate")).unwrap_or_default();
    match state.trim() {
        "up" => true,
        "unknown" => fs::read_to_string(folder.join("flags"))
            .ok()
            .and_then(|flags| u32::from_str_radix(flags.trim().strip_prefix("0x")?, 16).ok())
            .is_some_and(|flags| flags & 1 == 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture::Tree;
    use super::*;

    fn traffic(received: u64) -> Traffic {
        Traffic { received, sent: 1 }
    }

    fn tree() -> Tree {
        Tree::new(&[
            ("class/net/eno1/device/vendor", "0x8086\n"),
            ("class/net/eno1/operstate", "up\n"),
            ("class/net/eno2/device/vendor", "0x8086\n"),
            ("class/net/eno2/operstate", "down\n"),
            ("class/net/vmbr0/operstate", "up\n"),
            ("class/net/tap100i0/operstate", "up\n"),
            ("class/net/wg0/operstate", "unknown\n"),
            ("class/net/wg0/flags", "0x1091\n"),
            ("class/net/ifb0/operstate", "down\n"),
            ("class/net/off0/operstate", "unknown\n"),
            ("class/net/off0/flags", "0x1090\n"),
        ])
    }

    #[test]
    fn an_operator_sees_cards_bridges_and_tunnels() {
        let tree = tree();
        let network: BTreeMap<_, _> = [
            ("eno1", 500),
            ("eno2", 0),
            ("vmbr0", 500),
            ("tap100i0", 9),
            ("wg0", 0),
            ("ifb0", 0),
            ("off0", 0),
        ]
        .map(|(name, received)| (name.to_owned(), traffic(received)))
        .into();
        let reading = Arc::new(Reading {
            cards: cards(tree.path(), &network),
            network,
            ..Reading::default()
        });
        let rates = Rates {
            network: [("eno1".to_owned(), traffic(7))].into(),
            ..Rates::default()
        };
        let addresses = [("vmbr0".to_owned(), vec!["192.0.2.1".parse().unwrap()])].into();

        let found = interfaces(tree.path(), &reading, &rates, &addresses);

        let names: Vec<_> = found.iter().map(|i| (i.name.as_str(), i.up)).collect();
        assert_eq!(
            names,
            [
                ("eno1", true),
                ("eno2", false),
                ("vmbr0", true),
                ("wg0", true)
            ]
        );
        assert_eq!(found[0].rx_bytes, 500);
        assert_eq!(found[0].rx_bytes_per_second, 7);
        assert_eq!(found[2].addresses, addresses["vmbr0"]);
        assert_eq!(reading.cards, ["eno1".to_owned(), "eno2".to_owned()].into());
    }
}
