//! Who is named with an alert that begins to fire: the processes that use most of the host at that moment.

use std::cmp::Reverse;

use crate::collect::process::{self, TopProcesses};
use crate::model::TopProcess;
use crate::rules::Culprits;

/// So many are named that use CPU.
const BY_CPU: usize = 5;

/// Share of one CPU below which a process does not count as using it.
const LEAST_CPU: f32 = 0.005;

/// What names them from the list that each pass over the processes leaves.
pub(super) fn culprits(list: Option<TopProcesses>) -> Culprits {
    list.map(|list| Culprits::new(move || named(&list.load()))).unwrap_or_default()
}

/// The first by CPU, and the one that has most memory if it is not among them.
fn named(list: &[process::TopProcess]) -> Vec<TopProcess> {
    // The list is in order of CPU as far as it is of those that use it.
    let mut named: Vec<&process::TopProcess> =
        list.iter().filter(|p| p.cpu_ratio >= LEAST_CPU && p.cpu_ratio.is_finite()).take(BY_CPU).collect();
    let largest = list.iter().min_by_key(|p| (Reverse(p.resident_bytes), p.pid));
    named.extend(largest.filter(|largest| named.iter().all(|p| p.pid != largest.pid)));
    let shown = |p: &process::TopProcess| TopProcess {
        pid: p.pid,
        name: String::from_utf8_lossy(p.comm.as_bytes()).into_owned(),
        // To a thousandth: what is behind it is noise.
        cpu: if p.cpu_ratio.is_finite() { (f64::from(p.cpu_ratio) * 1000.0).round() / 1000.0 } else { 0.0 },
        memory: p.resident_bytes,
    };
    named.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::process::Comm;

    fn process(pid: u32, cpu_ratio: f32, resident_bytes: u64) -> process::TopProcess {
        process::TopProcess { pid, comm: Comm::default(), cpu_ratio, resident_bytes }
    }

    fn pids(list: &[process::TopProcess]) -> Vec<u32> {
        named(list).iter().map(|p| p.pid).collect()
    }

    #[test]
    fn the_first_five_by_cpu_are_named_and_the_largest() {
        let mut list: Vec<_> = (1..=7u16).map(|n| process(n.into(), 1.0 / f32::from(n), 10)).collect();
        list.push(process(9, 0.0, 500));
        assert_eq!(pids(&list), [1, 2, 3, 4, 5, 9]);
        list[1].resident_bytes = 1000;
        assert_eq!(pids(&list), [1, 2, 3, 4, 5], "the largest is among them");
    }

    #[test]
    fn on_an_idle_host_only_the_largest_is_named() {
        assert_eq!(pids(&[process(1, 0.001, 10), process(2, f32::NAN, 20)]), [2]);
        assert!(pids(&[]).is_empty());
        assert!(named(&[process(2, f32::NAN, 20)]).iter().all(|p| p.cpu == 0.0), "it has to go through JSON");
    }
}
