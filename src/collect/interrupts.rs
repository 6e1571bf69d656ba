//! `interrupts`: interrupts by CPU, from `/proc/interrupts`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_interrupts_total` | counter | `cpu`, `type`: the row's name, `info`, `devices` |
//!
//! `info` is the interrupt controller of a numbered interrupt, and what the others are about; `devices` is what else
//! stands in a numbered interrupt's row. Rows without a number for each CPU (`ERR`, `MIS`) are left out. Where CPUs are
//! off line, node_exporter counts the columns; here `cpu` is the CPU that the column names.
//!
//! A series for each interrupt and CPU: thousands on a large machine.
//!
//! Configuration: `name_include`, `name_exclude`, `include_zeros`.

use super::columns::{CpuColumns, Row};
use super::memo::Memo;
use super::search::{Search, passes};
use super::{CollectError, Collector, KernelFile, Roots, fields, lines, split_once, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.interrupts`.
    pub struct InterruptsConfig {
        /// The only interrupts exported, by `TYPE;INFO;DEVICES`: to follow one driver's on a machine with many.
        pub name_include: Option<Search> = None,
        /// Interrupts left out, by `TYPE;INFO;DEVICES`.
        pub name_exclude: Option<Search> = None,
        /// Whether interrupts that a CPU has never had are exported; most are such on a machine with many CPUs.
        pub include_zeros: bool = true,
    }
}

/// The `interrupts` collector.
pub struct Interrupts {
    file: KernelFile,
    config: InterruptsConfig,
    columns: CpuColumns,
    /// By `TYPE;INFO;DEVICES`: whether it is exported.
    wanted: Memo<bool>,
    names: Names,
}

impl Interrupts {
    pub fn new(config: &InterruptsConfig, roots: &Roots) -> Interrupts {
        Interrupts {
            file: KernelFile::new(roots.proc("interrupts")),
            config: config.clone(),
            columns: CpuColumns::default(),
            wanted: Memo::new(),
            names: Names::default(),
        }
    }
}

/// What a row is about, as `TYPE;INFO;DEVICES` in a buffer that stays.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    info: usize,
    devices: usize,
}

impl Names {
    fn set(&mut self, kind: &[u8], description: &[u8]) {
        let end = description.iter().position(u8::is_ascii_whitespace).unwrap_or(description.len());
        let numbered = kind.iter().all(u8::is_ascii_digit);
        let (info, devices) = description.split_at(if numbered { end } else { description.len() });
        self.text.clear();
        self.text.extend_from_slice(kind);
        self.text.push(b';');
        self.info = self.text.len();
        self.push_fields(info);
        self.text.push(b';');
        self.devices = self.text.len();
        self.push_fields(devices);
    }

    /// With one space between them.
    fn push_fields(&mut self, text: &[u8]) {
        for (i, field) in fields(text).enumerate() {
            if i > 0 {
                self.text.push(b' ');
            }
            self.text.extend_from_slice(field);
        }
    }

    fn info(&self) -> &[u8] {
        self.text.get(self.info..self.devices.saturating_sub(1)).unwrap_or_default()
    }

    fn devices(&self) -> &[u8] {
        self.text.get(self.devices..).unwrap_or_default()
    }
}

impl Collector for Interrupts {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let Interrupts { file, config, columns, wanted, names } = self;
        let mut rows = lines(file.read()?).enumerate();
        columns.set_header(rows.next().map_or(b"", |(_, header)| header));
        let mut fault = None;
        wanted.begin();
        let labels = ["cpu", "type", "info", "devices"];
        let mut family = out.counter("node_interrupts_total", "Interrupt details.", labels);
        for (i, row) in rows {
            let Some((kind, row)) = split_once(row, b':') else { continue };
            let kind = trim(kind);
            match columns.read(row) {
                Row::Full(description) if !description.is_empty() => names.set(kind, description),
                Row::Full(_) | Row::Short => continue,
                Row::Bad => {
                    fault.get_or_insert_with(|| (i + 1, String::from_utf8_lossy(kind).into_owned()));
                    continue;
                }
            }
            let passes = || passes(config.name_include.as_ref(), config.name_exclude.as_ref(), &names.text);
            if !wanted.next(&names.text, passes).is_some_and(|wanted| *wanted) {
                continue;
            }
            for (cpu, count) in columns.values().filter(|(_, count)| config.include_zeros || *count != 0.0) {
                family.put([cpu, kind, names.info(), names.devices()], count);
            }
        }
        wanted.end();
        match fault {
            None => Ok(()),
            Some((line, kind)) => {
                Err(CollectError::parse(self.file.path(), line, format!("{kind}: a count is not a number")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: &str = "           CPU0       CPU2       \n  \
        0:         18          0  IR-IO-APIC    2-edge      timer\n \
        16:     328511     322879  IR-IO-APIC-fasteoi   ehci_hcd:usb1, mmc0\n\
        NMI:         47       5031   Non-maskable interrupts\n\
        ERR:          0\nMIS:          0\n";

    fn lines(config: InterruptsConfig, text: &str) -> Vec<String> {
        let tree = Tree::new(&[("proc/interrupts", text)]);
        Runner::new(Interrupts::new(&config, &tree.roots())).lines()
    }

    fn build(roots: &Roots) -> Interrupts {
        Interrupts::new(&InterruptsConfig::default(), roots)
    }

    #[test]
    fn counts_by_cpu_with_what_they_are_about() {
        let name = "node_interrupts_total";
        let devices = "info=\"IR-IO-APIC-fasteoi\",devices=\"ehci_hcd:usb1, mmc0\"";
        let expected = [
            format!("{name}{{cpu=\"0\",type=\"0\",info=\"IR-IO-APIC\",devices=\"2-edge timer\"}} 18"),
            format!("{name}{{cpu=\"2\",type=\"0\",info=\"IR-IO-APIC\",devices=\"2-edge timer\"}} 0"),
            format!("{name}{{cpu=\"0\",type=\"16\",{devices}}} 328511"),
            format!("{name}{{cpu=\"2\",type=\"16\",{devices}}} 322879"),
            format!("{name}{{cpu=\"0\",type=\"NMI\",info=\"Non-maskable interrupts\",devices=\"\"}} 47"),
            format!("{name}{{cpu=\"2\",type=\"NMI\",info=\"Non-maskable interrupts\",devices=\"\"}} 5031"),
        ];
        assert_eq!(lines(InterruptsConfig::default(), GOOD), expected);
    }

    #[test]
    fn a_name_as_long_as_its_column_and_a_machine_of_one_cpu() {
        let text =
            "CPU0\n1:3287008667     GICv3  27 Level     arch_timer\nIPI0:9       Rescheduling interrupts\nErr: 0\n";
        let got = lines(InterruptsConfig::default(), text);
        assert_eq!(got.len(), 2);
        assert!(got[0].contains("type=\"1\",info=\"GICv3\",devices=\"27 Level arch_timer\"} 3287008667"), "{got:?}");
        assert!(got[1].contains("type=\"IPI0\",info=\"Rescheduling interrupts\",devices=\"\"} 9"), "{got:?}");
    }

    #[test]
    fn patterns_and_zeros() {
        let include = |pattern| InterruptsConfig { name_include: Some(Search::fixed(pattern)), ..Default::default() };
        let exclude = |pattern| InterruptsConfig { name_exclude: Some(Search::fixed(pattern)), ..Default::default() };
        assert_eq!(lines(include("^16;"), GOOD).len(), 2);
        assert_eq!(lines(include(";IR-IO-APIC;2-edge timer$"), GOOD).len(), 2);
        assert_eq!(lines(exclude("mmc|;Non-maskable interrupts;$"), GOOD).len(), 2);
        let config = InterruptsConfig { include_zeros: false, ..Default::default() };
        assert_eq!(lines(config, GOOD).len(), 5);
    }

    #[test]
    fn a_bad_count_is_named_and_the_other_rows_are_served() {
        let tree = Tree::new(&[("proc/interrupts", GOOD.replace("328511", "x"))]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines.len(), 4);
        assert!(error.ends_with("interrupts:3: 16: a count is not a number"), "{error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&[("proc/interrupts", GOOD)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/interrupts"], |name| name == "node_interrupts_total", build);
    }
}
