//! Names of vendors, devices and classes, from a pci.ids file.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::collect::{CollectError, Roots, lines, read_small, trim};

/// Where distributions have the file, under rootfs.
const PATHS: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/// What a device says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// Base class, subclass and programming interface, a byte each.
    pub class: u32,
    pub vendor: u16,
    pub device: u16,
    pub subsystem_vendor: u16,
    pub subsystem_device: u16,
}

/// Of what the file has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Vendor(u16),
    Device(u16, u16),
    Subsystem([u16; 4]),
    Class(u32),
    Subclass(u32),
    Interface(u32),
}

impl Ids {
    /// The keys by which its names are found. A class is looked for by its interface, its subclass, then itself.
    fn keys(self) -> [Key; 7] {
        let Ids { class, vendor, device, subsystem_vendor, subsystem_device } = self;
        [
            Key::Vendor(vendor),
            Key::Device(vendor, device),
            Key::Vendor(subsystem_vendor),
            Key::Subsystem([vendor, device, subsystem_vendor, subsystem_device]),
            Key::Interface(class),
            Key::Subclass(class >> 8),
            Key::Class(class >> 16),
        ]
    }
}

/// The names of the devices that are there. The file is read when a device comes that was not there before, and only
/// their names are kept: all of it would be some megabytes.
pub(super) struct Names {
    /// As configured; empty when not.
    named: String,
    defaults: [PathBuf; 2],
    /// `None`: the file has no name for it.
    known: HashMap<Key, Option<String>>,
}

impl Names {
    pub fn new(idsfile: &str, roots: &Roots) -> Names {
        Names { named: idsfile.to_string(), defaults: PATHS.map(|p| roots.root(p)), known: HashMap::new() }
    }

    /// Finds the names of these devices. That the distribution has no such file is no fault; that the one that was
    /// configured cannot be read is.
    pub fn resolve(&mut self, devices: impl Iterator<Item = Ids>) -> Result<(), CollectError> {
        let wanted: Vec<Key> = devices.flat_map(Ids::keys).collect();
        if wanted.iter().all(|key| self.known.contains_key(key)) {
            return Ok(());
        }
        let mut buffer = Vec::new();
        let text = if self.named.is_empty() {
            let [first, second] = &self.defaults;
            let path = if first.exists() { first } else { second };
            read_small(path, &mut buffer).unwrap_or_default()
        } else {
            // Not NoData, which would say that there are no devices.
            let path = PathBuf::from(&self.named);
            read_small(&path, &mut buffer).map_err(|e| CollectError::Other(format!("idsfile: {e}")))?
        };
        self.known = wanted.into_iter().map(|key| (key, None)).collect();
        entries(text, |key, name| {
            if let Some(found) = self.known.get_mut(&key) {
                *found = Some(String::from_utf8_lossy(name).into_owned());
            }
        });
        Ok(())
    }

    /// Labels and names; an id where there is no name.
    pub fn of(&self, ids: Ids) -> [(&'static str, String); 5] {
        let name = |key: &Key| self.known.get(key).cloned().flatten();
        let [vendor, device, subsystem_vendor, subsystem, classes @ ..] = ids.keys();
        let or_id = |key: Key, id: u16| name(&key).unwrap_or_else(|| format!("{id:04x}"));
        let class = classes.iter().find_map(name);
        [
            ("vendor_name", or_id(vendor, ids.vendor)),
            ("device_name", or_id(device, ids.device)),
            ("subsystem_vendor_name", or_id(subsystem_vendor, ids.subsystem_vendor)),
            ("subsystem_device_name", or_id(subsystem, ids.subsystem_device)),
            ("class_name", class.unwrap_or_else(|| format!("Unknown class ({:06x})", ids.class))),
        ]
    }
}

/// Goes through the file: vendors, below them by a tab their devices, below these by two tabs their subsystems; and by
/// `C` classes, subclasses and interfaces in the same way.
fn entries(text: &[u8], mut each: impl FnMut(Key, &[u8])) {
    let (mut top, mut below) = (None, None);
    for line in lines(text).filter(|l| !l.starts_with(b"#")) {
        let depth = line.iter().take_while(|b| **b == b'\t').count();
        let Some((id, name)) = line.get(depth..).and_then(split_name) else { continue };
        let key = match depth {
            0 => {
                below = None;
                top = match id.strip_prefix(b"C ") {
                    Some(class) => hexadecimal(class).map(Key::Class),
                    None => hexadecimal(id).map(|vendor| Key::Vendor(vendor as u16)),
                };
                top
            }
            1 => {
                let id = hexadecimal(id);
                below = match (top, id) {
                    (Some(Key::Class(class)), Some(id)) => Some(Key::Subclass(class << 8 | id & 0xff)),
                    (Some(Key::Vendor(vendor)), Some(id)) => Some(Key::Device(vendor, id as u16)),
                    _ => None,
                };
                below
            }
            2 => match below {
                Some(Key::Subclass(class)) => hexadecimal(id).map(|id| Key::Interface(class << 8 | id & 0xff)),
                Some(Key::Device(vendor, device)) => subsystem(vendor, device, id),
                _ => None,
            },
            _ => None,
        };
        if let Some(key) = key {
            each(key, name);
        }
    }
}

fn subsystem(vendor: u16, device: u16, id: &[u8]) -> Option<Key> {
    let (subvendor, subdevice) = crate::collect::split_once(id, b' ')?;
    let (subvendor, subdevice) = (hexadecimal(subvendor)? as u16, hexadecimal(trim(subdevice))? as u16);
    Some(Key::Subsystem([vendor, device, subvendor, subdevice]))
}

/// What stands before and after the first two spaces.
fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.windows(2).position(|w| w == b"  ")?;
    Some((trim(&line[..at]), trim(&line[at..])))
}

/// At most 16 bits: as much as any id has.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn no_list_of_names_makes_it_panic() {
        let good = "# c\n8086  Intel Corporation\n\t1521  I350 Gigabit\n\t\t8086 00a3  Ethernet I350-T4\n\
                    C 02  Network controller\n\t00  Ethernet controller\n\t\t01  Interface\n";
        Fuzz::of(&[good]).bytes(|text| {
            let mut found = 0;
            entries(text, |_, _| found += 1);
            assert!(found <= text.len());
        });
    }
}
