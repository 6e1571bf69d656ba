//! `bonding`: how many devices of each bond carry traffic, from `/sys/class/net/bonding_masters` and, for each bond there,
//! `MASTER/bonding/slaves` and `MASTER/lower_SLAVE/bonding_slave/mii_status`.
//!
//! | metric | type | labels |
//! | --- | --- | --- |
//! | `node_bonding_slaves` | gauge | `master` |
//! | `node_bonding_active` | gauge, devices whose `mii_status` is `up` | `master` |
//!
//! No configuration keys.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::sysfs::Attributes;
use super::{CollectError, Collector, Roots, fields};
use crate::model::Writer;

crate::section! {
    /// `collectors.bonding`.
    pub struct BondingConfig {}
}

/// The `bonding` collector.
pub struct Bonding {
    class: PathBuf,
    attributes: Attributes,
    bonds: Vec<Bond>,
}

struct Bond {
    master: Vec<u8>,
    slaves: u32,
    active: u32,
}

impl Bonding {
    pub fn new(_: &BondingConfig, roots: &Roots) -> Bonding {
        Bonding { class: roots.sys("class/net"), attributes: Attributes::default(), bonds: Vec::new() }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        self.bonds.clear();
        let masters = self.class.join("bonding_masters");
        let Some(masters) = self.attributes.text(&masters)?.map(<[u8]>::to_vec) else {
            return Err(CollectError::NoData(format!("{}: no such file", masters.display())));
        };
        for master in devices(&masters) {
            let folder = self.class.join(OsStr::from_bytes(master));
            let slaves = self.attributes.text(&folder.join("bonding/slaves"))?.unwrap_or_default().to_vec();
            let mut bond = Bond { master: master.to_vec(), slaves: 0, active: 0 };
            for slave in devices(&slaves) {
                bond.slaves += 1;
                bond.active += u32::from(self.is_up(&folder, slave)?);
            }
            self.bonds.push(bond);
        }
        Ok(())
    }

    fn is_up(&mut self, folder: &Path, slave: &[u8]) -> Result<bool, CollectError> {
        // `slave_` before Linux 3.13.
        for prefix in [&b"lower_"[..], b"slave_"] {
            let link = folder.join(OsStr::from_bytes(&[prefix, slave].concat()));
            if let Some(status) = self.attributes.text(&link.join("bonding_slave/mii_status"))? {
                return Ok(status == b"up");
            }
        }
        // It has left the bond since the list was read.
        Ok(false)
    }
}

/// The names in a list of devices; one that would lead out of the folder is none.
fn devices(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields(list).filter(|name| !name.contains(&b'/') && !name.starts_with(b".") && !name.contains(&0))
}

impl Collector for Bonding {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let result = self.read();
        let mut slaves =
            out.gauge("node_bonding_slaves", "Number of configured slaves per bonding interface.", ["master"]);
        for bond in &self.bonds {
            slaves.put([&bond.master], f64::from(bond.slaves));
        }
        let mut active = out.gauge("node_bonding_active", "Number of active slaves per bonding interface.", ["master"]);
        for bond in &self.bonds {
            active.put([&bond.master], f64::from(bond.active));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const FILES: [(&str, &str); 5] = [
        ("sys/class/net/bonding_masters", "bond0 bond1\n"),
        ("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"),
        ("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"),
        ("sys/class/net/bond0/lower_eth1/bonding_slave/mii_status", "going down\n"),
        ("sys/class/net/bond1/bonding/slaves", "\n"),
    ];

    fn build(roots: &Roots) -> Bonding {
        Bonding::new(&BondingConfig::default(), roots)
    }

    #[test]
    fn a_bond_has_slaves_and_active_ones() {
        let tree = Tree::new(&FILES);
        let mut run = Runner::new(build(&tree.roots()));
        let expected = [
            "node_bonding_slaves{master=\"bond0\"} 2",
            "node_bonding_slaves{master=\"bond1\"} 0",
            "node_bonding_active{master=\"bond0\"} 1",
            "node_bonding_active{master=\"bond1\"} 0",
        ];
        assert_eq!(run.lines(), expected);
        tree.remove("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status");
        assert_eq!(run.lines()[2], "node_bonding_active{master=\"bond0\"} 0", "one that leaves is not active");
    }

    #[test]
    fn a_host_without_bonds_has_no_data() {
        let tree = Tree::new::<&str>(&[]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert!(lines.is_empty() && error.starts_with("no data:"), "{error}");
    }

    #[test]
    fn a_list_cannot_lead_out_of_its_folder() {
        let listed: Vec<_> = devices(b"../../etc bond0 . a/b\n").collect();
        assert_eq!(listed, [b"bond0"]);
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&FILES, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["sys/class/net"], |name| name.starts_with("node_bonding_"), build);
    }
}
