//! Who this host is on its networks: its names, and the IPv6 networks of its own links.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

/// The names and networks by which this host is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The host name as it is set, which may have a domain.
    pub hostname: String,
    /// The host name without domain; Proxmox calls its node so.
    pub node: String,
    /// The name with domain, if the host knows one.
    pub fqdn: Option<String>,
    /// All of these in lower case, each once: what a `Host` header may name.
    pub names: Vec<String>,
    /// The addresses at which others reach it, each once.
    pub addresses: Vec<IpAddr>,
    /// The IPv6 networks, at most a /64 each, that this host shares with its neighbours on a link.
    pub ipv6_networks: Vec<IpNet>,
}

impl Identity {
    pub(super) fn new(hostname: &str, hosts: &str, interfaces: &[if_addrs::Interface]) -> Self {
        let node = hostname.split('.').next().unwrap_or_default();
        let fqdn = if hostname.contains('.') {
            Some(hostname.to_owned())
        } else {
            fqdn(hostname, hosts)
        };
        let mut names = Vec::new();
        for name in [Some(hostname), Some(node), fqdn.as_deref()] {
            let name = name.unwrap_or_default().to_ascii_lowercase();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        Self {
            hostname: hostname.to_owned(),
            node: node.to_owned(),
            fqdn,
            names,
            addresses: addresses(interfaces),
            ipv6_networks: ipv6_networks(interfaces),
        }
    }
}

/// Returns this host's name in the kernel.
pub(super) fn kernel_hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Returns the name in `/etc/hosts` (hosts(5)) that is `hostname` with a domain.
fn fqdn(hostname: &str, hosts: &str) -> Option<String> {
    hosts
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split_ascii_whitespace().skip(1))
        .find(|name| {
            name.split_once('.').is_some_and(|(label, domain)| {
                !domain.is_empty() && label.eq_ignore_ascii_case(hostname)
            })
        })
        .map(ToOwned::to_owned)
}

/// Loopback is this host alone, and a link-local address needs the name of a link beside it.
fn addresses(interfaces: &[if_addrs::Interface]) -> Vec<IpAddr> {
    let addresses = interfaces.iter().map(if_addrs::Interface::ip);
    let mut addresses = Vec::from_iter(addresses.filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A link shares the prefix of its addresses (RFC 4861 §6.3.4); wider ones are cut to the /64 of the address.
fn ipv6_networks(interfaces: &[if_addrs::Interface]) -> Vec<IpNet> {
    let mut networks: Vec<_> = interfaces
        .iter()
        // The other end of a tunnel is no neighbour.
        .filter(|interface| !interface.is_p2p)
        .filter_map(|interface| match &interface.addr {
            if_addrs::IfAddr::V6(v6) => on_link(v6),
            if_addrs::IfAddr::V4(_) => None,
        })
        .collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn on_link(v6: &if_addrs::Ifv6Addr) -> Option<IpNet> {
    let is_lone = v6.prefixlen == 128;
    // An address mapped from IPv4 is judged as IPv4, never as part of a network here.
    let is_public = !v6.ip.is_loopback()
        && !v6.ip.is_unspecified()
        && !v6.ip.is_unicast_link_local()
        && v6.ip.to_ipv4_mapped().is_none();
    if is_lone || !is_public {
        return None;
    }
    let network = Ipv6Net::new(v6.ip, v6.prefixlen.max(64)).ok()?;
    Some(IpNet::V6(network.trunc()))
}

/// Tells whether `address` is in one of `networks`.
pub fn is_on_link(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn interface(ip: &str, prefixlen: u8, is_p2p: bool) -> if_addrs::Interface {
        if_addrs::Interface {
            name: "vmbr0".to_owned(),
            addr: if_addrs::IfAddr::V6(if_addrs::Ifv6Addr {
                ip: ip.parse().unwrap(),
                netmask: Ipv6Addr::UNSPECIFIED,
                prefixlen,
                broadcast: None,
            }),
            index: None,
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p,
        }
    }

    #[test]
    fn the_domain_comes_from_the_hosts_file() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n\
                     # 192.0.2.9 pve.commented.example.net\n\
                     192.0.2.1 PVE.example.net pve # pve.wrong.example.net\n";

        let identity = Identity::new("pve", hosts, &[]);

        assert_eq!(identity.node, "pve");
        assert_eq!(identity.fqdn.as_deref(), Some("PVE.example.net"));
        assert_eq!(identity.names, ["pve", "pve.example.net"]);
    }

    #[test]
    fn a_host_name_may_have_its_domain() {
        let identity = Identity::new("Pve1.example.net", "", &[]);

        assert_eq!(identity.node, "Pve1");
        assert_eq!(identity.names, ["pve1.example.net", "pve1"]);
    }

    #[test]
    fn a_longer_name_is_not_this_host() {
        let identity = Identity::new(
            "pve",
            "192.0.2.1 pve2.example.net pve. xpve.example.net\n",
            &[],
        );

        assert_eq!(identity.fqdn, None);
        assert_eq!(identity.names, ["pve"]);
    }

    #[test]
    fn networks_are_those_of_the_links() {
        let interfaces = [
            interface("2001:db8:1:2::10", 64, false),
            interface("2001:db8:1:2::11", 64, false),
            interface("2001:db8:aaaa::5", 48, false),
            interface("2001:db8:2::1", 127, false),
            interface("2001:db8:3::1", 128, false),
            interface("2001:db8:4::1", 64, true),
            interface("fe80::1", 64, false),
            interface("::1", 128, false),
        ];

        let networks = Identity::new("pve", "", &interfaces).ipv6_networks;

        let shown: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "2001:db8:1:2::/64",
                "2001:db8:2::/127",
                "2001:db8:aaaa::/64"
            ]
        );
        assert!(is_on_link(
            &networks,
            "2001:db8:1:2:ffff::1".parse().unwrap()
        ));
        assert!(!is_on_link(&networks, "2001:db8:1:3::1".parse().unwrap()));
    }
}
