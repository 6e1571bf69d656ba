//! `nvme`: NVMe controllers and their namespaces, from `/sys/class/nvme/`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_nvme_info` | gauge, always 1 | `device`, `firmware_revision`, `model`, `serial`, `state`, `cntlid` |
//! | `node_nvme_namespace_info` | gauge, always 1 | `device`, `nsid`, `ana_state` |
//! | `node_nvme_namespace_capacity_bytes`, `_size_bytes`, `_used_bytes`, `_logical_block_size_bytes` | gauge, bytes | `device`, `nsid` |
//!
//! How much of a namespace is used (`nuse`) is there since Linux 6.8; the kernel asks the device for it, at most every 5 s.
//!
//! Configuration: none.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::gathered::{Gathered, Label};
use super::sysfs::{Attributes, names};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.nvme`.
    pub struct NvmeConfig {}
}

/// The files of a controller, and the labels of its info.
const TEXTS: [(&str, &str); 5] = [
    ("firmware_rev", "firmware_revision"),
    ("model", "model"),
    ("serial", "serial"),
    ("state", "state"),
    ("cntlid", "cntlid"),
];

/// The `nvme` collector.
pub struct Nvme {
    path: PathBuf,
    attributes: Attributes,
}

impl Nvme {
    pub fn new(_: &NvmeConfig, roots: &Roots) -> Nvme {
        Nvme { path: roots.sys("class/nvme"), attributes: Attributes::default() }
    }

    fn controller(&mut self, folder: &Path, device: Label, out: &mut Gathered) {
        let texts = TEXTS.map(|(file, label)| {
            let text = out.keep(self.attributes.text(&folder.join(file))).flatten();
            (label, text.map(<[u8]>::to_vec).unwrap_or_default())
        });
        let labels: Vec<Label> = std::iter::once(device).chain(texts.iter().map(|(n, v)| (*n, &**v))).collect();
        let help = "Non-numeric data from /sys/class/nvme/<device>, value is always 1.";
        out.gauge("node_nvme_info", help, &labels, 1.0);
        for name in out.keep(names(folder)).unwrap_or_default() {
            if let Some(id) = namespace_id(name.as_bytes()) {
                self.namespace(&folder.join(&name), device, ("nsid", id), out);
            }
        }
    }

    fn namespace(&mut self, folder: &Path, device: Label, nsid: Label, out: &mut Gathered) {
        let state = out.keep(self.attributes.text(&folder.join("ana_state"))).flatten().unwrap_or(b"unknown");
        let help = "Information about NVMe namespaces. Value is always 1";
        out.gauge("node_nvme_namespace_info", help, &[device, nsid, ("ana_state", state)], 1.0);

        let mut number = |file| out.keep(self.attributes.number(&folder.join(file))).flatten();
        let (block, size, used) = (number("queue/logical_block_size"), number("size"), number("nuse"));
        let labels = [device, nsid];
        // `size` is in sectors of 512 bytes, which makes this too much where blocks are larger: as node_exporter has it.
        let bytes = |blocks: Option<f64>| Some(blocks? * block?);
        for (name, help, value) in [
            ("node_nvme_namespace_capacity_bytes", "Capacity of the NVMe namespace in bytes.", bytes(size)),
            ("node_nvme_namespace_size_bytes", "Size of the NVMe namespace in bytes.", bytes(size)),
            ("node_nvme_namespace_used_bytes", "Used space of the NVMe namespace in bytes.", bytes(used)),
            (
                "node_nvme_namespace_logical_block_size_bytes",
                "Logical block size of the NVMe namespace in bytes.",
                block,
            ),
        ] {
            if let Some(value) = value {
                out.gauge(name, help, &labels, value);
            }
        }
    }
}

impl Collector for Nvme {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut gathered = Gathered::default();
        for name in names(&self.path)? {
            self.controller(&self.path.join(&name), ("device", name.as_bytes()), &mut gathered);
        }
        gathered.write(out)
    }
}

/// The last number of `nvme0n1`, and of `nvme0c1n1`, a namespace that several controllers share.
fn namespace_id(name: &[u8]) -> Option<&[u8]> {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let (controller, id) =
        name.strip_prefix(b"nvme").map(|rest| rest.split_at(memchr::memchr(b'n', rest).unwrap_or(0)))?;
    let mut parts = controller.splitn(2, |b| *b == b'c');
    let id = id.strip_prefix(b"n")?;
    (parts.all(digits) && digits(id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 7] = [
        ("sys/class/nvme/nvme0/model", "Fast SSD   \n"),
        ("sys/class/nvme/nvme0/serial", "S1\n"),
        ("sys/class/nvme/nvme0/state", "live\n"),
        ("sys/class/nvme/nvme0/nvme0c0n2/size", "1000\n"),
        ("sys/class/nvme/nvme0/nvme0c0n2/queue/logical_block_size", "512\n"),
        ("sys/class/nvme/nvme0/nvme0c0n2/ana_state", "optimized\n"),
        ("sys/class/nvme/nvme0/hwmon1/name", "nvme\n"),
    ];

    fn build(roots: &Roots) -> Nvme {
        Nvme::new(&NvmeConfig::default(), roots)
    }

    #[test]
    fn a_controller_on_a_kernel_that_does_not_tell_what_is_used() {
        let expected = [
            "node_nvme_info{device=\"nvme0\",firmware_revision=\"\",model=\"Fast SSD\",serial=\"S1\",state=\"live\",\
             cntlid=\"\"} 1",
            "node_nvme_namespace_info{device=\"nvme0\",nsid=\"2\",ana_state=\"optimized\"} 1",
            "node_nvme_namespace_capacity_bytes{device=\"nvme0\",nsid=\"2\"} 512000",
            "node_nvme_namespace_size_bytes{device=\"nvme0\",nsid=\"2\"} 512000",
            "node_nvme_namespace_logical_block_size_bytes{device=\"nvme0\",nsid=\"2\"} 512",
        ];
        assert_eq!(Runner::new(build(&Tree::new(&FILES).roots())).lines(), expected);
    }

    #[test]
    fn which_folders_are_namespaces() {
        assert_eq!(namespace_id(b"nvme0n1"), Some(&b"1"[..]));
        assert_eq!(namespace_id(b"nvme10c2n34"), Some(&b"34"[..]));
        for name in ["nvme0", "nvme0n", "nvme", "nvmen1", "ng0n1", "nvme0n1p1", "nvme0cn1", "nvme0c1c2n1"] {
            assert_eq!(namespace_id(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/nvme"], |name| name.starts_with("node_nvme_"), build);
    }
}
