//! What the CPUs are, from `/proc/cpuinfo`.

use super::CpuConfig;
use crate::collect::search::Search;
use crate::collect::{CollectError, KernelFile, Roots, fields, lines, number, split_once, trim};
use crate::model::Writer;

/// Labels of `node_cpu_info` after `cpu`, and their keys in /proc/cpuinfo: those of x86 first.
const LABELS: [&str; 9] =
    ["package", "core", "vendor", "family", "model", "model_name", "microcode", "stepping", "cachesize"];
const KEYS: [&[&[u8]]; 9] = [
    &[b"physical id"],
    // RISC-V.
    &[b"core id", b"hart"],
    // POWER.
    &[b"vendor_id", b"cpu"],
    &[b"cpu family"],
    &[b"model"],
    // MIPS, RISC-V.
    &[b"model name", b"cpu model", b"isa"],
    &[b"microcode"],
    &[b"stepping"],
    &[b"cache size"],
];

/// The key behind the last processor of POWER with which the machine's own begin, `model` among them.
const MACHINE: &[u8] = b"timebase";

/// Reads `/proc/cpuinfo`.
pub(super) struct Info {
    file: KernelFile,
    flags: Option<Search>,
    bugs: Option<Search>,
}

/// One `processor` of the file; what it does not name is empty, as node_exporter has it.
#[derive(Clone, Copy, Default)]
struct Processor<'t> {
    cpu: &'t [u8],
    /// By [`LABELS`].
    labels: [&'t [u8]; 9],
    mhz: Option<f64>,
    flags: &'t [u8],
    bugs: &'t [u8],
}

impl Info {
    pub fn new(config: &CpuConfig, roots: &Roots) -> Info {
        Info {
            file: KernelFile::new(roots.proc("cpuinfo")),
            flags: config.info_flags_include.clone(),
            bugs: config.info_bugs_include.clone(),
        }
    }

    pub fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let [package, core, vendor, family, model, model_name, microcode, stepping, cachesize] = LABELS;
        let mut info = out.gauge(
            "node_cpu_info",
            "CPU information from /proc/cpuinfo.",
            [package, core, "cpu", vendor, family, model, model_name, microcode, stepping, cachesize],
        );
        for processor in processors(text) {
            let [package, core, vendor, family, model, model_name, microcode, stepping, cachesize] = processor.labels;
            info.put(
                [package, core, processor.cpu, vendor, family, model, model_name, microcode, stepping, cachesize],
                1.0,
            );
        }
        let help = "CPU frequency in hertz from /proc/cpuinfo.";
        let mut frequency = out.gauge("node_cpu_frequency_hertz", help, [package, core, "cpu"]);
        for processor in processors(text) {
            if let Some(mhz) = processor.mhz {
                let [package, core, ..] = processor.labels;
                frequency.put([package, core, processor.cpu], mhz * 1e6);
            }
        }
        let Some(first) = processors(text).next() else { return Ok(()) };
        let help = "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.";
        put_words(out, "node_cpu_flag_info", help, "flag", first.flags, self.flags.as_ref());
        let help = "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.";
        put_words(out, "node_cpu_bug_info", help, "bug", first.bugs, self.bugs.as_ref());
        Ok(())
    }
}

/// Writes a series for each of the words that are wanted.
fn put_words(out: &mut Writer, name: &str, help: &str, label: &str, words: &[u8], wanted: Option<&Search>) {
    let Some(wanted) = wanted else { return };
    let mut family = out.gauge(name, help, [label]);
    for word in fields(words).filter(|w| wanted.is_match(w)) {
        family.put([word], 1.0);
    }
}

/// The processors in the file's order.
fn processors(text: &[u8]) -> impl Iterator<Item = Processor<'_>> {
    let mut lines = lines(text).filter_map(|l| split_once(l, b':')).map(|(k, v)| (trim(k), trim(v))).peekable();
    std::iter::from_fn(move || {
        let cpu = lines.find(|(key, _)| *key == b"processor")?.1;
        let mut processor = Processor { cpu, ..Processor::default() };
        while let Some((key, value)) = lines.next_if(|(key, _)| !matches!(*key, b"processor" | MACHINE)) {
            match key {
                b"cpu MHz" => processor.mhz = number(value),
                // POWER: `3425.000000MHz`.
                b"clock" => processor.mhz = value.strip_suffix(b"MHz").and_then(number),
                // ARM.
                b"flags" | b"Features" => processor.flags = value,
                b"bugs" => processor.bugs = value,
                _ => {
                    let mut labels = KEYS.iter().zip(&mut processor.labels);
                    // The first counts: the `isa` of MIPS is not its model.
                    if let Some((_, label)) = labels.find(|(keys, label)| label.is_empty() && keys.contains(&key)) {
                        *label = value;
                    }
                }
            }
        }
        Some(processor)
    })
}
