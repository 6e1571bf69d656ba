//! `sysctl`: kernel settings of one's choice, from the files of `/proc/sys`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_sysctl_NAME` | untyped | `index` where there are several numbers |
//! | `node_sysctl_NAME_KEY` | untyped | none; for several numbers that were given names |
//! | `node_sysctl_info` | gauge, always 1 | `name`, `value`, `index`; for settings that are texts |
//!
//! A name is written as sysctl(8) has it: `vm.swappiness`; where a part has a dot of its own, that is a slash
//! (`net.ipv4.conf.eth0/100.forwarding`).
//!
//! Configuration: `include`, `include_info`.

use hashbrown::HashSet;

use super::{CollectError, Collector, KernelFile, Roots, fields, number};
use crate::model::{MetricType, Writer};
use crate::yaml::{Faults, FromYaml, Node};

crate::section! {
    check = |section: &mut SysctlConfig, node: &Node, faults: &mut Faults| {
        if let Some(setting) = section.include_info.0.iter().find(|s| !s.keys.is_empty()) {
            faults.error(node.at, format!("include_info: {}: only numbers can be given names", setting.name));
        }
    };
    /// `collectors.sysctl`.
    pub struct SysctlConfig {
        /// Settings that are numbers, one or a list: `vm.swappiness`, or with a name for each of several numbers
        /// `fs.file-nr:allocated,unused,max`.
        pub include: Settings = Settings::default(),
        /// Settings that are texts, one or a list: `kernel.seccomp.actions_avail`.
        pub include_info: Settings = Settings::default(),
    }
}

/// One setting or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub Vec<Setting>);

/// A setting, and the names that its numbers are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub keys: Vec<String>,
}

impl FromYaml for Settings {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_str() {
            Some(_) => Some(Settings(vec![Setting::from_yaml(node, faults)?])),
            None => Vec::from_yaml(node, faults).map(Settings),
        }
    }
}

impl FromYaml for Setting {
    fn from_yaml(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(text) = node.as_str() else {
            faults.unexpected(node, "the name of a kernel setting, such as vm.swappiness");
            return None;
        };
        let (name, keys) = text.split_once(':').map_or((text, None), |(name, keys)| (name, Some(keys)));
        let keys: Vec<String> = keys.into_iter().flat_map(|k| k.split(',')).map(str::to_string).collect();
        if name.split(['.', '/']).any(str::is_empty) {
            faults.error(node.at, format!("{name:?} is not the name of a kernel setting, such as vm.swappiness"));
            return None;
        }
        if let Some(key) = keys.iter().find(|k| k.is_empty() || **k != sanitized(k)) {
            faults.error(node.at, format!("{key:?} cannot be part of a metric's name"));
            return None;
        }
        Some(Setting { name: name.to_string(), keys })
    }
}

impl Setting {
    /// Its file below `/proc/sys`.
    fn path(&self) -> String {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        if self.name.contains('.') { self.name.chars().map(swap).collect() } else { self.name.clone() }
    }
}

/// With an underscore for each character that a metric's name cannot have.
fn sanitized(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// The `sysctl` collector.
pub struct Sysctl {
    numbers: Vec<Numbers>,
    /// By name.
    texts: Vec<(String, KernelFile)>,
}

/// A setting of one or several numbers.
struct Numbers {
    file: KernelFile,
    /// Name and help; where the numbers have names, one for each of them.
    families: Vec<(String, String)>,
    named: bool,
}

impl Sysctl {
    pub fn new(config: &SysctlConfig, roots: &Roots) -> Sysctl {
        let file = |setting: &Setting| KernelFile::new(roots.proc("sys").join(setting.path()));
        // What is named twice is exported once.
        let mut seen = HashSet::new();
        let numbers = config.include.0.iter().filter_map(|setting| {
            let families = families(setting);
            let new = families.iter().fold(true, |new, (name, _)| seen.insert(name.clone()) && new);
            new.then(|| Numbers { file: file(setting), families, named: !setting.keys.is_empty() })
        });
        let numbers = numbers.collect();
        let texts = config.include_info.0.iter().filter(|setting| seen.insert(setting.name.clone()));
        Sysctl { numbers, texts: texts.map(|setting| (setting.name.clone(), file(setting))).collect() }
    }
}

fn families(setting: &Setting) -> Vec<(String, String)> {
    let name = format!("node_sysctl_{}", sanitized(&setting.name));
    let help = format!("sysctl {}", setting.name);
    if setting.keys.is_empty() {
        return vec![(name, help)];
    }
    let keys = setting.keys.iter().enumerate();
    keys.map(|(i, key)| (format!("{name}_{key}"), format!("{help}, field {i}"))).collect()
}

impl Numbers {
    fn write(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let Numbers { file, families, named } = self;
        let text = file.read()?;
        let count = fields(text).count();
        let fault = match fields(text).position(|f| number(f).is_none()) {
            Some(i) => Some(format!("field {i} is not a number")),
            None if *named && count != families.len() => {
                Some(format!("{count} numbers, but {} names for them", families.len()))
            }
            None if count == 0 => Some("empty".to_string()),
            None => None,
        };
        if let Some(what) = fault {
            return Err(CollectError::parse(file.path(), 1, what));
        }
        let numbers = fields(text).filter_map(number);
        if !*named && count > 1 {
            let Some((name, help)) = families.first() else { return Ok(()) };
            let mut family = out.family(MetricType::Untyped, name, help, ["index"]);
            for (i, value) in numbers.enumerate() {
                family.put([itoa::Buffer::new().format(i).as_bytes()], value);
            }
        } else {
            for ((name, help), value) in families.iter().zip(numbers) {
                out.family(MetricType::Untyped, name, help, []).put([], value);
            }
        }
        Ok(())
    }
}

impl Collector for Sysctl {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        for numbers in &mut self.numbers {
            result = result.and(numbers.write(out));
        }
        let mut family = out.gauge("node_sysctl_info", "sysctl info", ["name", "value", "index"]);
        for (name, file) in &mut self.texts {
            match file.read() {
                Ok(text) => fields(text).enumerate().for_each(|(i, value)| {
                    family.put([name.as_bytes(), value, itoa::Buffer::new().format(i).as_bytes()], 1.0);
                }),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics, starting};
    use crate::yaml::Document;

    const GOOD: [(&str, &str); 4] = [
        ("proc/sys/fs/file-nr", "1024\t0\t1631329\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("proc/sys/net/ipv4/conf/eth0.100/forwarding", "1\n"),
        ("proc/sys/kernel/seccomp/actions_avail", "kill_process errno\n"),
    ];

    /// The settings of the collector, and what is wrong with them.
    fn read(text: &str) -> (SysctlConfig, String) {
        let mut faults = Faults::default();
        let config = Document::parse("t.yaml", text, &mut faults).read(&mut faults);
        (config, faults.to_string())
    }

    fn config(text: &str) -> SysctlConfig {
        let (config, faults) = read(text);
        assert_eq!(faults, "");
        config
    }

    fn all() -> SysctlConfig {
        config(
            "include: [vm.swappiness, fs.file-nr, 'fs.file-nr:total,current,max', net.ipv4.conf.eth0/100.forwarding]\n\
             include_info: kernel.seccomp.actions_avail\n",
        )
    }

    #[test]
    fn numbers_one_several_and_named_and_texts() {
        let tree = Tree::new(&GOOD);
        let expected = [
            "node_sysctl_vm_swappiness 60",
            "node_sysctl_fs_file_nr{index=\"0\"} 1024",
            "node_sysctl_fs_file_nr{index=\"1\"} 0",
            "node_sysctl_fs_file_nr{index=\"2\"} 1631329",
            "node_sysctl_fs_file_nr_total 1024",
            "node_sysctl_fs_file_nr_current 0",
            "node_sysctl_fs_file_nr_max 1631329",
            "node_sysctl_net_ipv4_conf_eth0_100_forwarding 1",
            "node_sysctl_info{name=\"kernel.seccomp.actions_avail\",value=\"kill_process\",index=\"0\"} 1",
            "node_sysctl_info{name=\"kernel.seccomp.actions_avail\",value=\"errno\",index=\"1\"} 1",
        ];
        assert_eq!(Runner::new(Sysctl::new(&all(), &tree.roots())).lines(), expected);
    }

    #[test]
    fn what_is_named_twice_is_exported_once() {
        let tree = Tree::new(&GOOD);
        let config = config("include: [vm.swappiness, fs.file-nr, vm/swappiness]");
        assert_eq!(Runner::new(Sysctl::new(&config, &tree.roots())).lines().len(), 4);
    }

    #[test]
    fn a_setting_that_is_not_as_said_is_named_and_the_others_are_served() {
        let tree = Tree::new(&GOOD);
        for (wrong, said) in [
            ("fs.file-nr:total,current", "sys/fs/file-nr:1: 3 numbers, but 2 names for them"),
            ("kernel.seccomp.actions_avail", "actions_avail:1: field 0 is not a number"),
            ("vm.none", "sys/vm/none: no such file"),
        ] {
            let config = config(&format!("include: ['{wrong}', vm.swappiness]"));
            let (lines, error) = Runner::new(Sysctl::new(&config, &tree.roots())).failure();
            assert_eq!(starting(&lines, "node_sysctl_vm_swappiness").len(), 1);
            assert!(error.ends_with(said), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_setting_is_refused() {
        for (text, said) in [
            ("include: vm..swappiness", "t.yaml:1:10: \"vm..swappiness\" is not the name of a kernel setting"),
            ("include: ['fs.file-nr:a,b c']", "\"b c\" cannot be part of a metric's name"),
            ("include: ['fs.file-nr:a,']", "\"\" cannot be part of a metric's name"),
            ("include_info: 'fs.file-nr:a'", "include_info: fs.file-nr: only numbers can be given names"),
            ("include: [[a]]", "the name of a kernel setting, such as vm.swappiness"),
        ] {
            let (_, faults) = read(text);
            assert!(faults.contains(said), "{text}: {faults}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, |roots| Sysctl::new(&all(), roots));
    }

    #[test]
    fn as_node_exporter() {
        let include = "include: [fs.file-nr, 'fs.file-nr:total,current,max', kernel.threads-max]\n\
            include_info: [kernel.seccomp.actions_avail]\n";
        let build = |roots: &Roots| Sysctl::new(&config(include), roots);
        conforms(&["proc/sys/fs", "proc/sys/kernel"], |name| name.starts_with("node_sysctl_"), build);
    }
}
