//! `network_route`: the routing tables, over rtnetlink.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_network_route_info` | gauge, always 1 | `device`, `src`, `dest`, `gw`, `priority`, `proto`, `weight`, `table`, `type` |
//! | `node_network_routes` | gauge | `device` |
//!
//! Unicast routes, one series for each next hop, and those of type blackhole and unreachable, which have no device. Tables
//! are named as `/etc/iproute2/rt_tables` and `/etc/iproute2/rt_tables.d/*.conf` name them. The running kernel is asked,
//! in the network namespace that the agent runs in.
//!
//! No configuration keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::netlink::{DeviceNames, Netlink, attribute, attributes, u16_at, u32_at};
use super::sysfs::names;
use super::{CollectError, Collector, Roots, fields, lines, read_small};
use crate::model::Writer;

crate::section! {
    /// `collectors.network_route`.
    pub struct NetworkRouteConfig {}
}

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
/// `struct rtmsg`: family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
const HEADER: usize = 12;
/// `struct rtnexthop`: length, flags, hops, the device's index.
const NEXT_HOP_HEADER: usize = 8;
const RTN_UNICAST: u8 = 1;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
/// More than are worth a series each, such as the Internet's table: those beyond are only counted.
const MAX_ROUTES: usize = 20_000;
/// More next hops than a route has.
const MAX_HOPS: usize = 1024;

/// What a route is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Unicast,
    Blackhole,
    Unreachable,
}

/// A way that packets take, of which a route has one or several.
#[derive(Debug, PartialEq, Eq)]
struct Hop {
    index: Option<u32>,
    gateway: Option<IpAddr>,
    /// Of several.
    weight: Option<u32>,
}

#[derive(Debug)]
struct Route {
    kind: Kind,
    protocol: u8,
    table: u32,
    priority: u32,
    source: Option<IpAddr>,
    /// `None` is the default route.
    destination: Option<(IpAddr, u8)>,
    hops: Vec<Hop>,
}

/// What a dump gave: routes up to the limit, and how many next hops lead through each device.
#[derive(Default)]
struct Routes {
    list: Vec<Route>,
    by_device: BTreeMap<Option<u32>, u64>,
}

impl Routes {
    fn clear(&mut self) {
        *self = Routes::default();
    }

    fn add(&mut self, route: Route) {
        if route.kind == Kind::Unicast {
            for hop in &route.hops {
                *self.by_device.entry(hop.index).or_insert(0) += 1;
            }
        }
        if self.list.len() < MAX_ROUTES {
            self.list.push(route);
        }
    }
}

/// The `network_route` collector.
pub struct NetworkRoute {
    netlink: Netlink,
    tables: std::path::PathBuf,
}

impl NetworkRoute {
    pub fn new(_: &NetworkRouteConfig, roots: &Roots) -> NetworkRoute {
        NetworkRoute { netlink: Netlink::new(None), tables: roots.root("/etc/iproute2") }
    }
}

impl Collector for NetworkRoute {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut routes = Routes::default();
        let asked = self.netlink.dump(RTM_GETROUTE, &[0; HEADER], &mut routes, Routes::clear, |routes, kind, body| {
            if kind == RTM_NEWROUTE
                && let Some(route) = parse(body)
            {
                routes.add(route);
            }
        });
        asked.map_err(|e| CollectError::Other(format!("cannot list routes: {e}")))?;
        let (tables, mut devices) = (table_names(&self.tables), DeviceNames::default());
        let mut name = |index: Option<u32>| -> String {
            index.and_then(|i| devices.name(i, &mut self.netlink)).unwrap_or_default().to_string()
        };
        let labels = ["device", "src", "dest", "gw", "priority", "proto", "weight", "table", "type"];
        let mut info = out.gauge("node_network_route_info", "network routing table information", labels);
        for route in &routes.list {
            route.put(&tables, &mut name, |values| {
                info.put(values.map(str::as_bytes), 1.0);
            });
        }
        let mut count = out.gauge("node_network_routes", "network routes by interface", ["device"]);
        for (index, routes) in &routes.by_device {
            count.put([name(*index).as_bytes()], *routes as f64);
        }
        Ok(())
    }
}

impl Route {
    fn put(
        &self,
        tables: &BTreeMap<u32, String>,
        name: &mut impl FnMut(Option<u32>) -> String,
        mut put: impl FnMut([&str; 9]),
    ) {
        let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        let source = text(self.source);
        let destination = self.destination.map_or("default".to_string(), |(ip, length)| format!("{ip}/{length}"));
        let priority = self.priority.to_string();
        let table = tables.get(&self.table).cloned().unwrap_or_else(|| self.table.to_string());
        let kind = match self.kind {
            Kind::Unicast => "unicast",
            Kind::Blackhole => "blackhole",
            Kind::Unreachable => "unreachable",
        };
        for hop in &self.hops {
            let device = name(hop.index);
            let (gateway, weight) = (text(hop.gateway), hop.weight.map(|w| w.to_string()).unwrap_or_default());
            let protocol = protocol_name(self.protocol);
            put([&device, &source, &destination, &gateway, &priority, protocol, &weight, &table, kind]);
        }
    }
}

/// `None` for routes of other types.
fn parse(body: &[u8]) -> Option<Route> {
    let (length, protocol, kind) = (*body.get(1)?, *body.get(5)?, *body.get(7)?);
    let kind = match kind {
        RTN_UNICAST => Kind::Unicast,
        RTN_BLACKHOLE => Kind::Blackhole,
        RTN_UNREACHABLE => Kind::Unreachable,
        _ => return None,
    };
    let mut route = Route {
        kind,
        protocol,
        table: u32::from(*body.get(4)?),
        priority: 0,
        source: None,
        destination: None,
        hops: Vec::new(),
    };
    let mut single = Hop { index: None, gateway: None, weight: None };
    for (kind, content) in attributes(body.get(HEADER..)?) {
        match kind {
            RTA_DST if length > 0 => route.destination = address(content).map(|ip| (masked(ip, length), length)),
            RTA_OIF => single.index = u32_at(content, 0),
            RTA_GATEWAY => single.gateway = address(content),
            RTA_PRIORITY => route.priority = u32_at(content, 0)?,
            RTA_PREFSRC => route.source = address(content),
            RTA_TABLE => route.table = u32_at(content, 0)?,
            RTA_MULTIPATH => route.hops = next_hops(content),
            _ => {}
        }
    }
    if route.kind != Kind::Unicast {
        // IPv6 names the loopback device there, which means nothing.
        route.hops = vec![Hop { index: None, gateway: None, weight: None }];
    } else if route.hops.is_empty() {
        route.hops.push(single);
    }
    Some(route)
}

fn next_hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while hops.len() < MAX_HOPS
        && let Some(length) = u16_at(bytes, 0).map(usize::from)
        && let Some(own) = bytes.get(..length).and_then(|b| b.get(NEXT_HOP_HEADER..))
    {
        hops.push(Hop {
            index: u32_at(bytes, 4),
            gateway: attribute(own, RTA_GATEWAY).and_then(address),
            weight: bytes.get(3).map(|hops| u32::from(*hops) + 1),
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

fn address(content: &[u8]) -> Option<IpAddr> {
    match content.len() {
        4 => content.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
        16 => content.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
        _ => None,
    }
}

/// The network of an address.
fn masked(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

/// Who made a route (`include/uapi/linux/rtnetlink.h`).
fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        // So it is spelt in node_exporter.
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => "unknown",
    }
}

/// The names that administrators have given to tables; those in the files that come later win.
fn table_names(folder: &Path) -> BTreeMap<u32, String> {
    let mut files = vec![folder.join("rt_tables")];
    let more = folder.join("rt_tables.d");
    let listed = names(&more).unwrap_or_default();
    files
        .extend(listed.iter().map(|name| more.join(name)).filter(|path| path.extension().is_some_and(|e| e == "conf")));
    let mut tables = BTreeMap::new();
    let mut buffer = Vec::new();
    for file in files {
        tables.extend(read_small(&file, &mut buffer).map(named_tables).into_iter().flatten());
    }
    tables
}

/// The lines `NUMBER NAME` of such a file.
fn named_tables(text: &[u8]) -> impl Iterator<Item = (u32, String)> {
    lines(text).filter_map(|line| {
        let mut cells = fields(line);
        let number = str::from_utf8(cells.next()?).ok()?.parse().ok()?;
        let name = cells.next()?;
        cells.next().is_none().then(|| (number, String::from_utf8_lossy(name).into_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::{answer, answering, attribute as attribute_of, in_namespace};
    use crate::collect::testing::{Runner, Tree};
    use crate::fuzz::Fuzz;

    const TABLES: [(&str, &str); 2] = [
        ("root/etc/iproute2/rt_tables", "# reserved\n254\tmain\n"),
        ("root/etc/iproute2/rt_tables.d/a.conf", "100 vpn\n"),
    ];

    fn body(length: u8, table: u8, protocol: u8, kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![2, length, 0, 0, table, protocol, 0, kind, 0, 0, 0, 0];
        body.extend(attributes.concat());
        body
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute_of(kind, &value.to_ne_bytes())
    }

    /// A next hop by way of `lo`.
    fn next_hop(hops: u8, gateway: [u8; 4]) -> Vec<u8> {
        let gateway = attribute_of(RTA_GATEWAY, &gateway);
        let length = (NEXT_HOP_HEADER + gateway.len()) as u16;
        [&length.to_ne_bytes()[..], &[0, hops], &1u32.to_ne_bytes(), &gateway].concat()
    }

    fn samples() -> Vec<Vec<u8>> {
        let several = [next_hop(0, [10, 0, 0, 1]), next_hop(9, [10, 0, 0, 2])].concat();
        vec![
            body(0, 254, 16, RTN_UNICAST, &[number(RTA_OIF, 1), attribute_of(RTA_GATEWAY, &[10, 0, 0, 1])]),
            body(
                24,
                254,
                2,
                RTN_UNICAST,
                &[
                    attribute_of(RTA_DST, &[10, 1, 2, 3]),
                    number(RTA_OIF, 1),
                    attribute_of(RTA_PREFSRC, &[10, 1, 2, 9]),
                    number(RTA_PRIORITY, 100),
                ],
            ),
            body(
                8,
                0,
                4,
                RTN_UNICAST,
                &[attribute_of(RTA_DST, &[11, 0, 0, 0]), number(RTA_TABLE, 100), attribute_of(RTA_MULTIPATH, &several)],
            ),
            body(32, 254, 3, RTN_BLACKHOLE, &[attribute_of(RTA_DST, &[12, 0, 0, 1])]),
            // Local, and cut short.
            body(8, 255, 2, 2, &[attribute_of(RTA_DST, &[127, 0, 0, 0])]),
            vec![2, 8, 0],
        ]
    }

    fn runner(bodies: Vec<Vec<u8>>) -> (Runner<NetworkRoute>, std::os::fd::OwnedFd) {
        let messages: Vec<_> = bodies.into_iter().map(|body| (RTM_NEWROUTE, body)).collect();
        let (netlink, kernel) = answering(&answer(1, &messages));
        let mut collector = NetworkRoute::new(&NetworkRouteConfig::default(), &Tree::new(&TABLES).roots());
        collector.netlink = netlink;
        (Runner::new(collector), kernel)
    }

    #[test]
    fn routes_have_a_series_for_each_next_hop() {
        let tree = Tree::new(&TABLES);
        let (mut run, _kernel) = runner(samples());
        run.collector.tables = tree.path("root/etc/iproute2");
        let info = |device: &str, rest: &str| format!("node_network_route_info{{device=\"{device}\",{rest}}} 1");
        let expected = [
            info(
                "lo",
                r#"src="",dest="default",gw="10.0.0.1",priority="0",proto="dhcp",weight="",table="main",type="unicast""#,
            ),
            info(
                "lo",
                r#"src="10.1.2.9",dest="10.1.2.0/24",gw="",priority="100",proto="kernel",weight="",table="main",type="unicast""#,
            ),
            info(
                "lo",
                r#"src="",dest="11.0.0.0/8",gw="10.0.0.1",priority="0",proto="static",weight="1",table="vpn",type="unicast""#,
            ),
            info(
                "lo",
                r#"src="",dest="11.0.0.0/8",gw="10.0.0.2",priority="0",proto="static",weight="10",table="vpn",type="unicast""#,
            ),
            info(
                "",
                r#"src="",dest="12.0.0.1/32",gw="",priority="0",proto="boot",weight="",table="main",type="blackhole""#,
            ),
            "node_network_routes{device=\"lo\"} 4".to_string(),
        ];
        assert_eq!(run.lines(), expected);
    }

    #[test]
    fn the_running_kernel_tells_of_its_routes() {
        let commands = [
            "ip link add dev wf0 type veth peer name wf1",
            "ip addr add 10.99.0.1/24 dev wf0",
            "ip link set wf1 up",
            "ip link set wf0 up",
            "ip route add default via 10.99.0.2 dev wf0 metric 7",
            "ip route add 10.98.0.0/16 nexthop via 10.99.0.3 dev wf0 weight 1 nexthop via 10.99.0.4 dev wf0 weight 5",
            "ip route add unreachable 10.97.0.0/16 table 1234",
        ];
        in_namespace(&commands, || {
            let lines = Runner::new(NetworkRoute::new(&NetworkRouteConfig::default(), &Roots::default())).lines();
            for part in [
                r#"device="wf0",src="",dest="default",gw="10.99.0.2",priority="7",proto="boot""#,
                r#"device="wf0",src="10.99.0.1",dest="10.99.0.0/24",gw="",priority="0",proto="kernel""#,
                r#"gw="10.99.0.4",priority="0",proto="boot",weight="5""#,
                r#"device="",src="",dest="10.97.0.0/16",gw="",priority="0",proto="boot",weight="",table="1234",type="unreachable""#,
            ] {
                assert!(lines.iter().any(|l| l.contains(part)), "{part}: {lines:?}");
            }
        });
    }

    #[test]
    fn no_answer_makes_it_panic() {
        Fuzz::of(&samples()).bytes(|body| {
            assert!(next_hops(body).len() <= body.len());
            if let Some(route) = parse(body) {
                route.put(&BTreeMap::new(), &mut |_| "lo".to_string(), |_| {});
            }
        });
        Fuzz::of(&[TABLES[0].1]).bytes(|text| assert!(named_tables(text).count() <= text.len()));
    }
}
