//! `qdisc`: the queues through which each device sends, over rtnetlink.
//!
//! | metric | type | unit |
//! | --- | --- | --- |
//! | `node_qdisc_bytes_total`, `_packets_total`, `_drops_total`, `_requeues_total`, `_overlimits_total` | counter | |
//! | `node_qdisc_current_queue_length` | gauge | packets |
//! | `node_qdisc_backlog` | gauge | bytes |
//!
//! All are labelled `device` and `kind` (`fq_codel`, `mq`). Only the queue at each device's root is shown: what passes
//! one below it is counted in both. The running kernel is asked, in the network namespace that the agent runs in.
//!
//! Configuration: `device_include`, `device_exclude`.

use super::netlink::{DeviceNames, Netlink, attribute, text, u32_at, u64_at};
use super::search::{DeviceFilter, Search};
use super::{CollectError, Collector, Roots};
use crate::model::{MetricType, Writer};
use crate::yaml::{Faults, Node};

crate::section! {
    check = |section: &mut QdiscConfig, node: &Node, faults: &mut Faults| {
        DeviceFilter::check(&section.device_include, &section.device_exclude, node, faults);
    };
    /// `collectors.qdisc`.
    pub struct QdiscConfig {
        /// The only devices exported; not together with `device_exclude`.
        pub device_include: Option<Search> = None,
        /// Devices left out.
        pub device_exclude: Option<Search> = None,
    }
}

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// `struct tcmsg`: the family, three bytes of padding, the device's index, handle, parent, info.
const HEADER: usize = 20;
const TC_H_ROOT: u32 = u32::MAX;
const TCA_KIND: u16 = 1;
const TCA_STATS: u16 = 3;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;
/// More than a host has devices; what lies beyond is not looked at.
const MAX_QUEUES: usize = 65_536;

/// In the order of [`Queue::values`].
const FAMILIES: [(MetricType, &str, &str); 7] = [
    (MetricType::Counter, "node_qdisc_bytes_total", "Number of bytes sent."),
    (MetricType::Counter, "node_qdisc_packets_total", "Number of packets sent."),
    (MetricType::Counter, "node_qdisc_drops_total", "Number of packets dropped."),
    (MetricType::Counter, "node_qdisc_requeues_total", "Number of packets dequeued, not transmitted, and requeued."),
    (MetricType::Counter, "node_qdisc_overlimits_total", "Number of overlimit packets."),
    (MetricType::Gauge, "node_qdisc_current_queue_length", "Number of packets currently in queue to be sent."),
    (MetricType::Gauge, "node_qdisc_backlog", "Number of bytes currently in queue to be sent."),
];

/// The `qdisc` collector.
pub struct Qdisc {
    devices: DeviceFilter,
    netlink: Netlink,
}

/// The queue at a device's root.
struct Queue {
    index: u32,
    kind: Vec<u8>,
    values: [Option<u64>; FAMILIES.len()],
}

impl Qdisc {
    pub fn new(config: &QdiscConfig, _: &Roots) -> Qdisc {
        let devices = DeviceFilter::new(&config.device_include, &config.device_exclude);
        Qdisc { devices, netlink: Netlink::new(None) }
    }
}

impl Collector for Qdisc {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut queues = Vec::new();
        let asked = self.netlink.dump(RTM_GETQDISC, &[0; HEADER], &mut queues, Vec::clear, |queues, kind, body| {
            if kind == RTM_NEWQDISC
                && queues.len() < MAX_QUEUES
                && let Some(queue) = parse(body)
            {
                queues.push(queue);
            }
        });
        asked.map_err(|e| CollectError::Other(format!("cannot list queueing disciplines: {e}")))?;
        let mut names = DeviceNames::default();
        let mut named = Vec::with_capacity(queues.len());
        for queue in &queues {
            if let Some(name) = names.name(queue.index, &mut self.netlink).filter(|n| self.devices.wants(n.as_bytes()))
            {
                named.push((name.to_string(), queue));
            }
        }
        for (i, (kind, name, help)) in FAMILIES.into_iter().enumerate() {
            let mut family = out.family(kind, name, help, ["device", "kind"]);
            for (device, queue) in &named {
                if let Some(value) = queue.values.get(i).copied().flatten() {
                    family.put([device.as_bytes(), &queue.kind], value as f64);
                }
            }
        }
        Ok(())
    }
}

/// `None` for what is not at a root.
fn parse(body: &[u8]) -> Option<Queue> {
    let index = u32_at(body, 4)?;
    if u32_at(body, 12)? != TC_H_ROOT {
        return None;
    }
    let attributes = body.get(HEADER..)?;
    let kind = text(attribute(attributes, TCA_KIND)?).to_vec();
    let u32_of = |bytes, at| u32_at(bytes, at).map(u64::from);
    let values = if let Some(stats) = attribute(attributes, TCA_STATS2) {
        // `struct gnet_stats_basic`, and `struct gnet_stats_queue`: length, backlog, drops, requeues, overlimits.
        let basic = attribute(stats, TCA_STATS_BASIC).unwrap_or_default();
        let queue = attribute(stats, TCA_STATS_QUEUE).unwrap_or_default();
        // Since Linux 5.5 beside the 32 bits in the older structure.
        let packets = attribute(stats, TCA_STATS_PKT64).and_then(|bytes| u64_at(bytes, 0));
        [
            u64_at(basic, 0),
            packets.or_else(|| u32_of(basic, 8)),
            u32_of(queue, 8),
            u32_of(queue, 12),
            u32_of(queue, 16),
            u32_of(queue, 0),
            u32_of(queue, 4),
        ]
    } else {
        // `struct tc_stats`: bytes, packets, drops, overlimits, two rates, length, backlog.
        let stats = attribute(attributes, TCA_STATS)?;
        [
            u64_at(stats, 0),
            u32_of(stats, 8),
            u32_of(stats, 12),
            None,
            u32_of(stats, 16),
            u32_of(stats, 28),
            u32_of(stats, 32),
        ]
    };
    Some(Queue { index, kind, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::netlink::testing::{answer, answering, attribute as attribute_of, in_namespace, refusal};
    use crate::collect::testing::Runner;
    use crate::fuzz::Fuzz;

    fn body(index: u32, parent: u32, kind: &str, stats: &[u8]) -> Vec<u8> {
        let mut body = vec![0; HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[12..16].copy_from_slice(&parent.to_ne_bytes());
        body.extend(attribute_of(TCA_KIND, format!("{kind}\0").as_bytes()));
        body.extend(stats);
        body
    }

    /// The newer statistics: bytes, packets, and the five numbers of the queue.
    fn stats2(bytes: u64, packets: u32, queue: [u32; 5]) -> Vec<u8> {
        let basic = [&bytes.to_ne_bytes()[..], &packets.to_ne_bytes(), &[0; 4]].concat();
        let queue: Vec<u8> = queue.into_iter().flat_map(u32::to_ne_bytes).collect();
        let nested = [attribute_of(TCA_STATS_BASIC, &basic), attribute_of(TCA_STATS_QUEUE, &queue)].concat();
        attribute_of(TCA_STATS2 | 0x8000, &nested)
    }

    fn runner(datagrams: &[Vec<u8>]) -> (Runner<Qdisc>, std::os::fd::OwnedFd) {
        let (netlink, kernel) = answering(datagrams);
        (Runner::new(Qdisc { devices: DeviceFilter::new(&None, &None), netlink }), kernel)
    }

    #[test]
    fn the_queue_at_a_root_has_its_numbers() {
        let old: Vec<u8> = [7u64.to_ne_bytes().to_vec(), (1u32..=7).flat_map(u32::to_ne_bytes).collect()].concat();
        let messages = [
            (RTM_NEWQDISC, body(1, TC_H_ROOT, "fq", &stats2(42, 41, [1, 2, 3, 4, 5]))),
            (RTM_NEWQDISC, body(1, 0x10001, "pfifo", &stats2(1, 1, [0; 5]))),
            (RTM_NEWQDISC, body(1, TC_H_ROOT, "old", &attribute_of(TCA_STATS, &old))),
            (RTM_NEWQDISC, body(0x7fff_0000, TC_H_ROOT, "gone", &stats2(1, 1, [0; 5]))),
        ];
        let (mut run, _kernel) = runner(&answer(1, &messages));
        let expected = |kind: &str, values: [Option<u64>; 7]| -> Vec<String> {
            let lines = FAMILIES.iter().zip(values);
            lines
                .filter_map(|((_, name, _), v)| Some(format!("{name}{{device=\"lo\",kind=\"{kind}\"}} {}", v?)))
                .collect()
        };
        let mut all = expected("fq", [42, 41, 3, 4, 5, 1, 2].map(Some));
        all.extend(expected("old", [Some(7), Some(1), Some(2), None, Some(3), Some(6), Some(7)]));
        let mut lines = run.lines();
        lines.sort();
        all.sort();
        assert_eq!(lines, all);
    }

    #[test]
    fn a_refusal_says_what_was_asked() {
        let (mut run, _kernel) = runner(&refusal(1, rustix::io::Errno::PERM));
        assert!(run.failure().1.starts_with("cannot list queueing disciplines: Operation not permitted"));
    }

    #[test]
    fn the_running_kernel_tells_of_its_queues() {
        let commands = [
            "ip link add dev wf0 type veth peer name wf1",
            "ip link set wf0 up",
            // Built into every kernel that has queueing disciplines.
            "tc qdisc add dev wf0 root handle 1: pfifo limit 100",
        ];
        in_namespace(&commands, || {
            let lines = Runner::new(Qdisc::new(&QdiscConfig::default(), &Roots::default())).lines();
            let of_wf0: Vec<_> = lines.iter().filter(|l| l.contains("device=\"wf0\"")).collect();
            assert!(of_wf0.len() == FAMILIES.len() && of_wf0.iter().all(|l| l.contains("kind=\"pfifo\"")), "{lines:?}");
        });
    }

    #[test]
    fn no_answer_makes_it_panic() {
        let old: Vec<u8> = (1u32..=9).flat_map(u32::to_ne_bytes).collect();
        let good = [
            body(1, TC_H_ROOT, "fq", &stats2(42, 41, [1, 2, 3, 4, 5])),
            body(1, TC_H_ROOT, "old", &attribute_of(TCA_STATS, &old)),
        ];
        Fuzz::of(&good).bytes(|body| {
            let _ = parse(body);
        });
    }
}
