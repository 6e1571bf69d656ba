//! The keys of an `icmp` check.

use super::super::net::{HostPort, Ip, IpProtocol};
use super::packet::MAX_PAYLOAD;
use crate::section;
use crate::yaml::{Faults, Node};

section! {
    check = |s: &mut IcmpCheck, node: &Node, faults: &mut Faults| {
        let at = |key: &str| node.place(key);
        match &s.target {
            Some(target) if target.port.is_some() => faults.error(at("target"), "a target that is pinged has no port"),
            None if node.get("target").is_none() => faults.error(node.at, "an icmp check needs a target"),
            _ => {}
        }
        if !(1..=1000).contains(&s.packets) {
            faults.error(at("packets"), "packets is 1 to 1000");
        }
        if s.payload_size > MAX_PAYLOAD {
            faults.error(at("payload_size"), format!("payload_size is at most {MAX_PAYLOAD}"));
        }
        if !(0.0..1.0).contains(&s.max_loss) {
            faults.error(at("max_loss"), "max_loss is a share: from 0 to less than 1");
        }
        if s.ttl.is_some_and(|ttl| !(1..=255).contains(&ttl)) {
            faults.error(at("ttl"), "ttl is 1 to 255");
        }
    };
    /// Echo requests, as ping sends them.
    pub struct IcmpCheck {
        /// The host that is asked.
        pub target: Option<HostPort> = None,
        /// The number of packets, 200 ms from one to the next.
        pub packets: u32 = 1,
        /// The share of the packets that may be lost, from 0 to 1. When more are lost the run is a warning, when all are a
        /// failure.
        pub max_loss: f64 = 0.0,
        /// The bytes of a packet behind its head.
        pub payload_size: usize = 56,
        /// Whether packets must not be taken apart on the way: those that are too long are lost then.
        pub dont_fragment: bool = false,
        /// The hops that packets may take.
        pub ttl: Option<u32> = None,
        /// The version of IP that is tried first: `ip4` or `ip6`, which it is when not set.
        pub preferred_ip_protocol: Option<IpProtocol> = None,
        /// Whether the other version is taken where there is no address of the preferred one, or no way to it.
        pub ip_protocol_fallback: bool = true,
        /// The address of this host's that packets are sent from.
        pub source_ip_address: Option<Ip> = None,
    }
}
