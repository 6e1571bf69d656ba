//! `dmi`: what the machine's firmware says of it, from `/sys/class/dmi/id`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_dmi_info` | gauge, always 1 | `bios_vendor`, `product_name`, `system_vendor` and so on: see `LABELS` |
//!
//! A label is there when its file is and can be read: serial numbers and the UUID are for root only.
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, devices};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.dmi`.
    pub struct DmiConfig {}
}

/// The labels. Their files are named as they are, but for one.
const LABELS: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];

/// The `dmi` collector.
pub struct Dmi {
    folder: PathBuf,
    reading: Reading,
}

impl Dmi {
    pub fn new(_: &DmiConfig, roots: &Roots) -> Dmi {
        Dmi { folder: roots.sys("class/dmi/id"), reading: Reading::default() }
    }
}

impl Collector for Dmi {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        // One listing instead of twenty failures where there is no DMI.
        devices(&self.folder)?;
        let files = LABELS.map(|label| if label == "system_vendor" { "sys_vendor" } else { label });
        let texts = self.reading.texts(&self.folder, files);
        let labels: Vec<(&[u8], &[u8])> =
            LABELS.iter().zip(&texts).filter_map(|(label, text)| Some((label.as_bytes(), text.as_deref()?))).collect();
        if labels.is_empty() {
            return Err(CollectError::NoData(format!("{}: nothing to read", self.folder.display())));
        }
        let help = format!("A metric with a constant '1' value labeled by {} if provided by DMI.", LABELS.join(", "));
        out.gauge("node_dmi_info", &help, []).put_labels("", &labels, 1.0);
        self.reading.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 3] = [
        ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n"),
        ("sys/class/dmi/id/chassis_asset_tag", "\n"),
    ];

    fn build(roots: &Roots) -> Dmi {
        Dmi::new(&DmiConfig::default(), roots)
    }

    #[test]
    fn what_the_firmware_says_is_labels() {
        let lines = Runner::new(build(&Tree::new(&FILES).roots())).lines();
        let info = "node_dmi_info{chassis_asset_tag=\"\",product_name=\"Standard PC (Q35 + ICH9, 2009)\",\
                    system_vendor=\"QEMU\"} 1";
        assert_eq!(lines, [info]);
    }

    #[test]
    fn a_board_without_dmi_has_no_data() {
        let (lines, error) = Runner::new(build(&Tree::new::<&str>(&[]).roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/dmi"], |name| name == "node_dmi_info", build);
    }
}
