//! `swap`: swap devices and files, from `/proc/swaps`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_swap_size_bytes`, `node_swap_used_bytes` | gauge | `device`, `type`: partition or file |
//! | `node_swap_priority` | gauge; the highest is used first | `device`, `type` |
//!
//! A blank in a file's name is `\040`. The host's sums are `node_memory_SwapTotal_bytes` and `node_memory_SwapFree_bytes`
//! of the collector `meminfo`.
//!
//! Configuration: none.

use super::memo::Memo;
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.swap`.
    pub struct SwapConfig {}
}

/// The file's unit of size.
const KILOBYTE: f64 = 1024.0;

/// Name, help and unit of a line's third field and the next.
const FAMILIES: [(&str, &str, f64); 3] = [
    ("node_swap_size_bytes", "Swap device size in bytes.", KILOBYTE),
    ("node_swap_used_bytes", "Swap device used in bytes.", KILOBYTE),
    ("node_swap_priority", "Swap device priority.", 1.0),
];

/// The `swap` collector.
pub struct Swap {
    file: KernelFile,
    /// By device.
    devices: Memo<Device>,
}

#[derive(Default)]
struct Device {
    kind: Vec<u8>,
    values: [f64; FAMILIES.len()],
}

impl Swap {
    pub fn new(_: &SwapConfig, roots: &Roots) -> Swap {
        Swap { file: KernelFile::new(roots.proc("swaps")), devices: Memo::new() }
    }
}

impl Collector for Swap {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        self.devices.begin();
        for (i, line) in lines(self.file.read()?).enumerate().skip(1) {
            let mut found = fields(line);
            let (name, kind) = (found.next(), found.next());
            let mut numbers = found.map(number);
            match (name, kind, numbers.next(), numbers.next(), numbers.next()) {
                (Some(name), Some(kind), Some(Some(size)), Some(Some(used)), Some(Some(priority))) => {
                    if let Some(device) = self.devices.next(name, Device::default) {
                        device.kind.clear();
                        device.kind.extend_from_slice(kind);
                        device.values = [size, used, priority];
                    }
                }
                _ => {
                    fault.get_or_insert(i + 1);
                }
            }
        }
        self.devices.end();
        for (i, (name, help, unit)) in FAMILIES.iter().enumerate() {
            let mut family = out.gauge(name, help, ["device", "type"]);
            for (name, device) in self.devices.iter() {
                if let Some(value) = device.values.get(i) {
                    family.put([name, &device.kind], value * unit);
                }
            }
        }
        match fault {
            None => Ok(()),
            Some(line) => Err(CollectError::parse(self.file.path(), line, "not a name, a type and three numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const GOOD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
        /dev/zram0                              partition\t8388604\t\t76\t\t100\n\
        /swap\\040file                           file\t\t1024\t\t0\t\t-2\n";

    fn build(roots: &Roots) -> Swap {
        Swap::new(&SwapConfig::default(), roots)
    }

    #[test]
    fn bytes_and_priority_by_device() {
        let tree = Tree::new(&[("proc/swaps", GOOD)]);
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_swap_size_bytes{device=\"/dev/zram0\",type=\"partition\"} 8589930496",
            "node_swap_size_bytes{device=\"/swap\\\\040file\",type=\"file\"} 1048576",
            "node_swap_used_bytes{device=\"/dev/zram0\",type=\"partition\"} 77824",
            "node_swap_used_bytes{device=\"/swap\\\\040file\",type=\"file\"} 0",
            "node_swap_priority{device=\"/dev/zram0\",type=\"partition\"} 100",
            "node_swap_priority{device=\"/swap\\\\040file\",type=\"file\"} -2",
        ];
        assert_eq!(run.lines(), expected);
        tree.write("proc/swaps", "Filename Type Size Used Priority\n");
        assert!(run.lines().is_empty(), "a host without swap");
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_served() {
        let tree = Tree::new(&[("proc/swaps", "Filename\n/a file 1 x 0\n/b file 1 0 0\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 3);
        assert!(error.ends_with("swaps:2: not a name, a type and three numbers"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/swaps", GOOD)], build);
    }
}
