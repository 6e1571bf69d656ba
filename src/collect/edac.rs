//! `edac`: memory errors that were corrected or not, from `/sys/devices/system/edac/mc/mcN/`.
//!
//! | metric | type | labels | file |
//! | --- | --- | --- | --- |
//! | `node_edac_correctable_errors_total`, `_uncorrectable_` | counter | `controller` | `{ce,ue}_count` |
//! | `node_edac_csrow_correctable_errors_total`, `_uncorrectable_` | counter | `controller`, `csrow` | `csrowN/{ce,ue}_count` |
//! | the same, `csrow="unknown"` | counter | `controller`, `csrow` | `{ce,ue}_noinfo_count` |
//! | `node_edac_channel_correctable_errors_total`, `_uncorrectable_` | counter | `controller`, `csrow`, `channel`, `dimm_label` | `csrowN/chM_{ce,ue}_count`, `chM_dimm_label` |
//!
//! Configuration: none.

use std::path::PathBuf;

use super::devices::{Reading, devices_if_any, numbered};
use super::{CollectError, Collector, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.edac`.
    pub struct EdacConfig {}
}

/// In the file's names, in the metrics' names and in the help.
const KINDS: [(&str, &str); 2] = [("ce", "correctable"), ("ue", "uncorrectable")];

/// The `edac` collector.
pub struct Edac {
    folder: PathBuf,
    reading: Reading,
}

/// Labels, and the counts by [`KINDS`].
type Counts<const N: usize> = ([Vec<u8>; N], [Option<f64>; 2]);

impl Edac {
    pub fn new(_: &EdacConfig, roots: &Roots) -> Edac {
        Edac { folder: roots.sys("devices/system/edac/mc"), reading: Reading::default() }
    }
}

impl Collector for Edac {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let reading = &mut self.reading;
        let (mut controllers, mut rows, mut channels) = (Vec::new(), Vec::new(), Vec::new());
        for (controller, folder) in numbered(&self.folder, "mc")? {
            controllers.push(([controller.clone()], reading.numbers(&folder, ["ce_count", "ue_count"])));
            let unknown = reading.numbers(&folder, ["ce_noinfo_count", "ue_noinfo_count"]);
            for (row, folder) in numbered(&folder, "csrow")? {
                rows.push(([controller.clone(), row.clone()], reading.numbers(&folder, ["ce_count", "ue_count"])));
                for (file, path) in devices_if_any(&folder)? {
                    let channel = file.strip_prefix(b"ch").and_then(|f| f.strip_suffix(b"_ce_count"));
                    let Some(channel) = channel else { continue };
                    let name = String::from_utf8_lossy(channel);
                    let uncorrected = reading.number(&folder.join(format!("ch{name}_ue_count")));
                    let counts = [reading.number(&path), uncorrected];
                    let label =
                        reading.text(&folder.join(format!("ch{name}_dimm_label"))).map_or(b"unknown".into(), label);
                    channels.push(([controller.clone(), row.clone(), channel.to_vec(), label], counts));
                }
            }
            rows.push(([controller, b"unknown".to_vec()], unknown));
        }
        write(out, "", "", ["controller"], &controllers);
        write(out, "csrow_", " for this csrow", ["controller", "csrow"], &rows);
        let labels = ["controller", "csrow", "channel", "dimm_label"];
        write(out, "channel_", " for this channel", labels, &channels);
        self.reading.finish()
    }
}

fn write<const N: usize>(out: &mut Writer, of: &str, where_: &str, labels: [&str; N], counts: &[Counts<N>]) {
    for (i, (_, kind)) in KINDS.iter().enumerate() {
        let metric = format!("node_edac_{of}{kind}_errors_total");
        let help = format!("Total {kind} memory errors{where_}.");
        let mut family = out.counter(&metric, &help, labels);
        for (values, counts) in counts {
            if let Some(count) = counts[i] {
                family.put(values.each_ref().map(Vec::as_slice), count);
            }
        }
    }
}

/// The slot's name as node_exporter shows it: the kernel's own `mc#0csrow#1channel#0` is `mc0_csrow1_channel0`.
fn label(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).replace('#', "");
    text.replace("csrow", "_csrow").replace("channel", "_channel").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const MC: &str = "sys/devices/system/edac/mc/mc1";

    fn files() -> Vec<(String, &'static str)> {
        let files = [
            ("ce_count", "7\n"),
            ("ue_count", "1\n"),
            ("ce_noinfo_count", "2\n"),
            ("ue_noinfo_count", "0\n"),
            ("csrow0/ce_count", "5\n"),
            ("csrow0/ue_count", "1\n"),
            ("csrow0/ch0_ce_count", "5\n"),
            ("csrow0/ch0_dimm_label", "CPU_SrcID#0_MC#1\n"),
            ("csrow0/ch1_ce_count", "0\n"),
            ("csrow0/ch1_ue_count", "1\n"),
        ];
        files.map(|(file, text)| (format!("{MC}/{file}"), text)).to_vec()
    }

    fn tree() -> Tree {
        let tree = Tree::new::<&str>(&[]);
        files().iter().for_each(|(path, text)| tree.write(path, text));
        tree
    }

    fn build(roots: &Roots) -> Edac {
        Edac::new(&EdacConfig::default(), roots)
    }

    #[test]
    fn errors_by_controller_row_and_channel() {
        assert_eq!(
            Runner::new(build(&tree().roots())).lines(),
            [
                "node_edac_correctable_errors_total{controller=\"1\"} 7",
                "node_edac_uncorrectable_errors_total{controller=\"1\"} 1",
                "node_edac_csrow_correctable_errors_total{controller=\"1\",csrow=\"0\"} 5",
                "node_edac_csrow_correctable_errors_total{controller=\"1\",csrow=\"unknown\"} 2",
                "node_edac_csrow_uncorrectable_errors_total{controller=\"1\",csrow=\"0\"} 1",
                "node_edac_csrow_uncorrectable_errors_total{controller=\"1\",csrow=\"unknown\"} 0",
                "node_edac_channel_correctable_errors_total{controller=\"1\",csrow=\"0\",channel=\"0\",\
                 dimm_label=\"CPU_SrcID0_MC1\"} 5",
                "node_edac_channel_correctable_errors_total{controller=\"1\",csrow=\"0\",channel=\"1\",\
                 dimm_label=\"unknown\"} 0",
                "node_edac_channel_uncorrectable_errors_total{controller=\"1\",csrow=\"0\",channel=\"1\",\
                 dimm_label=\"unknown\"} 1",
            ]
        );
    }

    #[test]
    fn a_host_without_such_memory_has_nothing_to_say() {
        assert!(Runner::new(build(&Tree::new::<&str>(&[]).roots())).lines().is_empty());
    }

    #[test]
    fn garbage_never_panics() {
        let files = files();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        never_panics(&files, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/devices/system/edac"], |name| name.starts_with("node_edac_"), build);
    }
}
