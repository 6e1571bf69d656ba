//! `drm`: graphics cards of the amdgpu driver, from `/sys/class/drm/cardN/device/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_drm_card_info` | gauge, always 1 | `card`, `memory_vendor`, `power_performance_level`, `unique_id`, `chip`, `vendor` | `mem_info_vram_vendor`, `power_dpm_force_performance_level`, `unique_id` |
//! | `node_drm_gpu_busy_percent` | gauge | `card` | `gpu_busy_percent` |
//! | `node_drm_memory_{gtt,vis_vram,vram}_{size,used}_bytes` | gauge | `card` | `mem_info_{gtt,vis_vram,vram}_{total,used}` |
//!
//! A number that the driver does not give is 0, as node_exporter has it. `chip` is what `hwmon` calls the card.
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, device_name, numbered};
use super::{CollectError, Collector, Roots, lines};
use crate::model::Writer;

crate::section! {
    /// `collectors.drm`.
    pub struct DrmConfig {}
}

/// The file, what it is exported as, help.
const NUMBERS: [(&str, &str, &str); 7] = [
    ("gpu_busy_percent", "node_drm_gpu_busy_percent", "How busy the GPU is as a percentage."),
    (
        "mem_info_gtt_total",
        "node_drm_memory_gtt_size_bytes",
        "The size of the graphics translation table (GTT) block in bytes.",
    ),
    (
        "mem_info_gtt_used",
        "node_drm_memory_gtt_used_bytes",
        "The used amount of the graphics translation table (GTT) block in bytes.",
    ),
    ("mem_info_vis_vram_total", "node_drm_memory_vis_vram_size_bytes", "The size of visible VRAM in bytes."),
    ("mem_info_vis_vram_used", "node_drm_memory_vis_vram_used_bytes", "The used amount of visible VRAM in bytes."),
    ("mem_info_vram_total", "node_drm_memory_vram_size_bytes", "The size of VRAM in bytes."),
    ("mem_info_vram_used", "node_drm_memory_vram_used_bytes", "The used amount of VRAM in bytes."),
];

/// The files that are labels of `node_drm_card_info`, in its order.
const TEXTS: [&str; 3] = ["mem_info_vram_vendor", "power_dpm_force_performance_level", "unique_id"];

/// The `drm` collector.
pub struct Drm {
    class: PathBuf,
    reading: Reading,
}

impl Drm {
    pub fn new(_: &DrmConfig, roots: &Roots) -> Drm {
        Drm { class: roots.sys("class/drm"), reading: Reading::default() }
    }
}

impl Collector for Drm {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let reading = &mut self.reading;
        let mut cards = Vec::new();
        for (number, folder) in numbered(&self.class, "card")? {
            let folder = folder.join("device");
            let driver =
                reading.text(&folder.join("uevent")).and_then(|text| lines(text).find(|l| l.starts_with(b"DRIVER=")));
            if driver == Some(b"DRIVER=amdgpu") {
                let name = [b"card", number.as_slice()].concat();
                let chip = device_name(&folder).unwrap_or_default();
                let numbers = reading.numbers(&folder, NUMBERS.map(|n| n.0));
                cards.push((name, chip, numbers, reading.texts(&folder, TEXTS)));
            }
        }
        let labels = ["card", "memory_vendor", "power_performance_level", "unique_id", "chip", "vendor"];
        let mut info = out.gauge("node_drm_card_info", "Card information", labels);
        for (name, chip, _, texts) in &cards {
            let [memory, level, id] = texts.each_ref().map(|t| t.as_deref().unwrap_or(b""));
            info.put([name, memory, level, id, chip.as_bytes(), b"amd"], 1.0);
        }
        for (i, (_, metric, help)) in NUMBERS.iter().enumerate() {
            let mut family = out.gauge(metric, help, ["card"]);
            for (name, _, numbers, _) in &cards {
                family.put([name], numbers[i].unwrap_or(0.0));
            }
        }
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics};

    const DEVICE: &str = "sys/devices/pci0000:00/0000:0b:00.0";

    fn tree() -> Tree {
        let tree = Tree::new(&[
            ("sys/class/drm/card1/device/uevent", "DRIVER=i915\nPCI_ID=8086:3E92\n"),
            ("sys/class/drm/version", "drm 1.1.0 20060810\n"),
        ]);
        for (file, text) in [
            ("uevent", "DRIVER=amdgpu\nPCI_CLASS=30000\n"),
            ("gpu_busy_percent", "4\n"),
            ("mem_info_vram_total", "8573157376\n"),
            ("mem_info_vram_used", "1490378752\n"),
            ("mem_info_vram_vendor", "samsung\n"),
            ("power_dpm_force_performance_level", "manual\n"),
            ("unique_id", "0123456789abcdef\n"),
        ] {
            tree.write(&format!("{DEVICE}/{file}"), text);
        }
        std::fs::create_dir_all(tree.path("sys/class/drm/card0")).unwrap();
        std::os::unix::fs::symlink(tree.path(DEVICE), tree.path("sys/class/drm/card0/device")).unwrap();
        tree
    }

    fn build(roots: &Roots) -> Drm {
        Drm::new(&DrmConfig::default(), roots)
    }

    #[test]
    fn cards_of_amdgpu() {
        assert_eq!(
            Runner::new(build(&tree().roots())).lines(),
            [
                "node_drm_card_info{card=\"card0\",memory_vendor=\"samsung\",power_performance_level=\"manual\",\
                 unique_id=\"0123456789abcdef\",chip=\"pci0000:00_0000:0b:00_0\",vendor=\"amd\"} 1",
                "node_drm_gpu_busy_percent{card=\"card0\"} 4",
                "node_drm_memory_gtt_size_bytes{card=\"card0\"} 0",
                "node_drm_memory_gtt_used_bytes{card=\"card0\"} 0",
                "node_drm_memory_vis_vram_size_bytes{card=\"card0\"} 0",
                "node_drm_memory_vis_vram_used_bytes{card=\"card0\"} 0",
                "node_drm_memory_vram_size_bytes{card=\"card0\"} 8573157376",
                "node_drm_memory_vram_used_bytes{card=\"card0\"} 1490378752",
            ]
        );
    }

    #[test]
    fn a_host_without_cards_has_nothing_to_say() {
        assert!(Runner::new(build(&Tree::new::<&str>(&[]).roots())).lines().is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        let files = [
            ("sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\n"),
            ("sys/class/drm/card0/device/gpu_busy_percent", "4\n"),
            ("sys/class/drm/card0/device/unique_id", "0123456789abcdef\n"),
        ];
        never_panics(&files, build);
    }
}
