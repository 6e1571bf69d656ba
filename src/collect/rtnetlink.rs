//! The kernel's list of network devices over rtnetlink (`man 7 rtnetlink`): names, 64-bit counters, addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{Netlink, attributes, text, u16_at, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
/// The alias, as a text.
pub const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `struct ifinfomsg`; what a request for addresses needs (`struct ifaddrmsg`) is shorter.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// `struct rtnl_link_stats64`, up to `rx_nohandler` (Linux 4.6): packets, bytes and errors since the device came up.
pub const STATS: usize = 24;

/// A device of the dump.
#[derive(Default)]
pub struct Link<'m> {
    pub index: u32,
    /// `ARPHRD_*`.
    pub kind: u16,
    /// `IFF_*`, as `dev_get_flags` of the kernel gives them.
    pub flags: u32,
    pub name: &'m [u8],
    /// All attributes, for [`attributes`].
    pub attributes: &'m [u8],
    /// In the order of `struct rtnl_link_stats64`; those that an old kernel has not are left out.
    pub stats: [Option<u64>; STATS],
}

/// An address of the dump.
pub struct Address {
    /// The device that has it.
    pub index: u32,
    pub address: IpAddr,
    pub prefix_length: u8,
}

/// A socket to the kernel's routing layer.
pub struct Rtnetlink {
    netlink: Netlink,
}

impl Rtnetlink {
    pub fn new() -> Rtnetlink {
        Rtnetlink { netlink: Netlink::new(None) }
    }

    /// Calls `reset` and then `each` for every device; both again from the start when the list changed meanwhile.
    pub fn links<S>(
        &mut self,
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, &Link),
    ) -> io::Result<()> {
        self.netlink.dump(RTM_GETLINK, &[0; LINK_HEADER], state, reset, |state, kind, body| {
            if kind == RTM_NEWLINK
                && let Some(link) = parse_link(body)
            {
                each(state, &link);
            }
        })
    }

    /// As [`links`](Rtnetlink::links), for every IPv4 and IPv6 address.
    pub fn addresses<S>(
        &mut self,
        state: &mut S,
        reset: fn(&mut S),
        mut each: impl FnMut(&mut S, &Address),
    ) -> io::Result<()> {
        self.netlink.dump(RTM_GETADDR, &[0; LINK_HEADER], state, reset, |state, kind, body| {
            if kind == RTM_NEWADDR
                && let Some(address) = parse_address(body)
            {
                each(state, &address);
            }
        })
    }
}

fn parse_link(body: &[u8]) -> Option<Link<'_>> {
    let mut link = Link {
        index: u32_at(body, 4)?,
        kind: u16_at(body, 2)?,
        flags: u32_at(body, 8)?,
        attributes: body.get(LINK_HEADER..)?,
        ..Link::default()
    };
    for (kind, content) in attributes(link.attributes) {
        match kind {
            IFLA_IFNAME => link.name = text(content),
            IFLA_STATS64 => {
                for (cell, bytes) in link.stats.iter_mut().zip(content.as_chunks::<8>().0) {
                    *cell = Some(u64::from_ne_bytes(*bytes));
                }
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn parse_address(body: &[u8]) -> Option<Address> {
    let prefix_length = *body.get(1)?;
    let index = u32_at(body, 4)?;
    let mut address = None;
    for (kind, content) in attributes(body.get(ADDRESS_HEADER..)?) {
        let ip = match content.len() {
            4 => content.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
            16 => content.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
            _ => None,
        };
        // On a point-to-point device IFA_ADDRESS is the other end.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && address.is_none()) {
            address = ip;
        }
    }
    Some(Address { index, address: address?, prefix_length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::attribute;
    use crate::fuzz::Fuzz;

    fn link_body(name: &[u8], stats: usize) -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body.extend(attribute(IFLA_IFNAME, name));
        let counters: Vec<u8> = (1..=stats as u64).flat_map(u64::to_ne_bytes).collect();
        body.extend(attribute(IFLA_STATS64, &counters));
        body
    }

    #[test]
    fn a_link_has_its_name_and_the_counters_that_its_kernel_knows() {
        let body = link_body(b"eth0\0", 23);
        let link = parse_link(&body).unwrap();
        assert_eq!((link.index, link.name), (7, &b"eth0"[..]));
        assert_eq!((link.stats[0], link.stats[22], link.stats[23]), (Some(1), Some(23), None));
        let body = link_body(b"eth0\0", 30);
        assert_eq!(parse_link(&body).unwrap().stats[23], Some(24));
    }

    #[test]
    fn the_address_of_a_point_to_point_device_is_its_own_end() {
        let mut body = vec![2, 24, 0, 0];
        body.extend(3u32.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, &[10, 0, 0, 2]));
        body.extend(attribute(IFA_LOCAL, &[10, 0, 0, 1]));
        let address = parse_address(&body).unwrap();
        assert_eq!((address.index, address.prefix_length), (3, 24));
        assert_eq!(address.address, IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let address = [vec![2, 24, 0, 0, 3, 0, 0, 0], attribute(IFA_ADDRESS, &[10, 0, 0, 2])].concat();
        Fuzz::of(&[link_body(b"eth0\0", 24), link_body(b"", 30), address]).bytes(|body| {
            let _ = (parse_link(body), parse_address(body));
        });
    }
}
