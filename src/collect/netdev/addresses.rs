//! The addresses of the devices.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::collect::CollectError;
use crate::collect::rtnetlink::{Address, Rtnetlink};
use crate::model::Writer;

/// Asks for addresses over rtnetlink.
pub(super) struct Addresses {
    netlink: Rtnetlink,
    /// The device's index, its address, the length of the prefix.
    list: Vec<(u32, IpAddr, u8)>,
}

impl Addresses {
    pub fn new() -> Addresses {
        Addresses { netlink: Rtnetlink::new(), list: Vec::new() }
    }

    /// Writes the addresses of these devices, given by index and name.
    pub fn write(&mut self, mut devices: Vec<(u32, &[u8])>, out: &mut Writer) -> Result<(), CollectError> {
        let add = |list: &mut Vec<_>, a: &Address| list.push((a.index, a.address, a.prefix_length));
        let asked = self.netlink.addresses(&mut self.list, Vec::clear, add);
        asked.map_err(|e| CollectError::Other(format!("cannot list network addresses: {e}")))?;
        devices.sort_unstable();
        let labels = ["device", "address", "netmask", "scope"];
        let mut family = out.gauge("node_network_address_info", "node network address by device", labels);
        let mut text = String::new();
        for (index, address, prefix_length) in &self.list {
            let Ok(at) = devices.binary_search_by_key(index, |(i, _)| *i) else { continue };
            text.clear();
            let _ = write!(text, "{address}");
            let mut prefix = itoa::Buffer::new();
            let prefix = prefix.format(*prefix_length).as_bytes();
            family.put([devices[at].1, text.as_bytes(), prefix, scope(address)], 1.0);
        }
        Ok(())
    }
}

/// The scope as Go's `net` package, and so node_exporter, names it.
fn scope(address: &IpAddr) -> &'static [u8] {
    let (link_local, global) = match address {
        IpAddr::V4(a) => (a.is_link_local() || a.octets().starts_with(&[224, 0, 0]), !a.is_broadcast()),
        IpAddr::V6(a) => (a.is_unicast_link_local() || a.octets().starts_with(&[0xff, 2]), true),
    };
    match () {
        () if address.is_loopback() || link_local => b"link-local",
        () if matches!(address, IpAddr::V6(a) if a.octets().starts_with(&[0xff, 1])) => b"interface-local",
        () if global && !address.is_unspecified() && !address.is_multicast() => b"global",
        () => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Roots;
    use crate::collect::netdev::{Netdev, NetdevConfig};
    use crate::collect::testing::Runner;

    #[test]
    fn scopes_are_named_as_go_names_them() {
        for (address, expected) in [
            ("127.0.0.1", "link-local"),
            ("169.254.1.1", "link-local"),
            ("10.0.0.1", "global"),
            ("0.0.0.0", ""),
            ("::1", "link-local"),
            ("fe80::1", "link-local"),
            ("ff01::1", "interface-local"),
            ("fd00::1", "global"),
        ] {
            assert_eq!(str::from_utf8(scope(&address.parse().unwrap())), Ok(expected), "{address}");
        }
    }

    #[test]
    fn addresses_are_exported_when_asked_for() {
        let config = NetdevConfig { address_info: true, ..NetdevConfig::default() };
        let (lines, result) = Runner::new(Netdev::new(&config, &Roots::default())).run();
        let loopback =
            "node_network_address_info{device=\"lo\",address=\"127.0.0.1\",netmask=\"8\",scope=\"link-local\"} 1";
        if result.is_ok() && std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
            assert!(lines.iter().any(|l| l == loopback), "{lines:?}");
        }
    }
}
