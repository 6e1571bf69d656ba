//! All attributes from the files of sysfs.
//!
//! An open, a read and a close for each of 22 attributes of each device is what a run would cost. Seven are read in each
//! run: the state (`operstate`, `flags`, `carrier_changes`), and what may change without it (`speed` where a bond loses a
//! device, `mtu`, `address`, `ifalias`). The kernel counts in `carrier_changes` each change of `carrier` and the sum of
//! the other two counts; `dormant` shows in `operstate`, a new `duplex` comes with a new carrier or speed. Where one of
//! the seven is not what it was, the others are read in the same run; else when it is the device's turn, for what
//! administrators set once (`tx_queue_len`, `netdev_group`, `link_mode`) and what a device keeps for as long as it is
//! there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RawDir, openat};

use super::{ADDRESS, ALIAS, CARRIER_CHANGES, Device, FLAGS, MTU, NUMBERS, Netclass, OPERSTATE, SPEED, TEXTS};
use crate::collect::{CollectError, trim};

/// What is read in each run, of `TEXTS` and `NUMBERS`.
const WATCHED_TEXTS: [usize; 3] = [ADDRESS, OPERSTATE, ALIAS];
const WATCHED_NUMBERS: [usize; 4] = [CARRIER_CHANGES, FLAGS, MTU, SPEED];
/// Without these (`carrier_changes` is as old as Linux 3.15) nothing says whether the others can have changed.
const STATE: [usize; 2] = [CARRIER_CHANGES, FLAGS];

impl Netclass {
    /// Reads all devices; `class` is the open `class/net`.
    pub(super) fn read_sysfs(&mut self, class: &OwnedFd) -> Result<(), CollectError> {
        self.list(class).map_err(|e| CollectError::read(&self.path, e.into()))?;
        let mut result = Ok(());
        for (i, device) in self.devices.wanted_mut() {
            device.read(class, &mut self.buffer);
            if let Some((attribute, what)) = &device.fault {
                let path = self.path.join(OsStr::from_bytes(&device.name)).join(attribute);
                result = Err(CollectError::parse(&path, 0, what.clone()));
            }
            if i >= self.keep {
                device.folder = None;
            }
        }
        result
    }

    /// Brings the devices up to date with the folder.
    fn list(&mut self, class: &OwnedFd) -> rustix::io::Result<()> {
        self.devices.clear();
        let mut entries = RawDir::new(class, self.list_buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // `bonding_masters` is a file of the bonding driver.
            if !matches!(name, b"." | b"..") && entry.file_type() != FileType::RegularFile {
                self.devices.next(name, entry.ino(), &self.ignored);
            }
        }
        Ok(())
    }
}

impl Device {
    /// Reads what can have changed.
    fn read(&mut self, class: &OwnedFd, buffer: &mut [u8]) {
        self.present = false;
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => match open_folder(class, Path::new(OsStr::from_bytes(&self.name))) {
                Ok(folder) => folder,
                // It has vanished since the folder was listed.
                Err(_) => return,
            },
        };
        let mut all = self.is_due() | self.fault.take().is_some();
        for i in WATCHED_TEXTS {
            all |= self.read_text(i, &folder, buffer);
        }
        for i in WATCHED_NUMBERS {
            all |= self.read_number(i, &folder, buffer);
        }
        if all || STATE.iter().any(|i| self.numbers[*i].is_none()) {
            for i in (0..TEXTS.len()).filter(|i| !WATCHED_TEXTS.contains(i)) {
                self.read_text(i, &folder, buffer);
            }
            for i in (0..NUMBERS.len()).filter(|i| !WATCHED_NUMBERS.contains(i)) {
                self.read_number(i, &folder, buffer);
            }
        }
        // A device always has flags: without any number, this was the folder of a device that is gone.
        self.folder = self.present.then_some(folder);
    }

    /// Whether the text is not what it was.
    fn read_text(&mut self, i: usize, folder: &OwnedFd, buffer: &mut [u8]) -> bool {
        let read = open_attribute(folder, Path::new(TEXTS[i])).and_then(|f| read_attribute(&f, buffer));
        let read = read.unwrap_or_default();
        let differs = self.texts[i] != read;
        if differs {
            self.texts[i].clear();
            self.texts[i].extend_from_slice(read);
        }
        differs
    }

    /// Whether the number is not what it was.
    fn read_number(&mut self, i: usize, folder: &OwnedFd, buffer: &mut [u8]) -> bool {
        let (file, ..) = NUMBERS[i];
        let text = open_attribute(folder, Path::new(file)).and_then(|f| read_attribute(&f, buffer)).ok();
        let number = text.and_then(parse);
        self.present |= number.is_some();
        if let Some(text) = text.filter(|_| number.is_none()) {
            self.fault = Some((file, format!("{:?} is not a number", String::from_utf8_lossy(text))));
        }
        std::mem::replace(&mut self.numbers[i], number) != number
    }
}

pub(super) fn open_folder(at: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

pub(super) fn open_attribute(at: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    // Not to hang where somebody has put a FIFO into a captured tree.
    openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// The attribute's text. The kernel will not give every one: the speed of a device that is down is `EINVAL`.
pub(super) fn read_attribute<'b>(file: &OwnedFd, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let length = rustix::io::pread(file, &mut *buffer, 0)?;
    Ok(buffer.get(..length).map(trim).unwrap_or_default())
}

/// A decimal number, or a hexadecimal one after 0x.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NetclassConfig, REFRESH};
    use super::*;
    use crate::collect::testing::{Runner, Tree};

    const ATTRIBUTES: [(&str, &str); 10] = [
        ("address", "01:01:01:01:01:01\n"),
        ("carrier", "1\n"),
        ("carrier_changes", "2\n"),
        ("duplex", "full\n"),
        ("flags", "0x1003\n"),
        ("ifindex", "2\n"),
        ("mtu", "1500\n"),
        ("operstate", "up\n"),
        ("speed", "1000\n"),
        ("tx_queue_len", "1000\n"),
    ];

    fn put(tree: &Tree, device: &str, attributes: &[(&str, &str)]) {
        for (name, content) in attributes {
            tree.write(&format!("sys/class/net/{device}/{name}"), content);
        }
    }

    fn runner(tree: &Tree) -> Runner<Netclass> {
        Runner::new(Netclass::new(&NetclassConfig::default(), &tree.roots()))
    }

    fn line(runner: &mut Runner<Netclass>, start: &str) -> Option<String> {
        runner.lines().into_iter().find(|l| l.starts_with(start))
    }

    #[test]
    fn what_may_change_by_itself_is_seen_in_the_next_run() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ATTRIBUTES);
        let mut runner = runner(&tree);
        for (attribute, content, expected) in [
            ("speed", "100\n", "node_network_speed_bytes{device=\"eth0\"} 12500000"),
            ("mtu", "9000\n", "node_network_mtu_bytes{device=\"eth0\"} 9000"),
            ("carrier_changes", "3\n", "node_network_carrier_changes_total{device=\"eth0\"} 3"),
            ("flags", "0x1002\n", "node_network_flags{device=\"eth0\"} 4098"),
            ("operstate", "down\n", "node_network_up{device=\"eth0\"} 0"),
        ] {
            runner.lines();
            put(&tree, "eth0", &[(attribute, content)]);
            assert_eq!(line(&mut runner, expected).as_deref(), Some(expected));
        }
        put(&tree, "eth0", &[("address", "02:02:02:02:02:02\n"), ("ifalias", "uplink\n")]);
        let info = line(&mut runner, "node_network_info").unwrap();
        assert!(info.contains("address=\"02:02:02:02:02:02\"") && info.contains("ifalias=\"uplink\""), "{info}");
    }

    #[test]
    fn what_comes_with_another_state_is_seen_with_it() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ATTRIBUTES);
        let mut runner = runner(&tree);
        for (watched, content) in [("carrier_changes", "3\n"), ("flags", "0x1002\n"), ("operstate", "down\n")] {
            put(&tree, "eth0", &ATTRIBUTES);
            // Twice, for the change back.
            runner.lines();
            runner.lines();
            put(&tree, "eth0", &[(watched, content), ("carrier", "0\n"), ("duplex", "half\n")]);
            let lines = runner.lines().join("\n");
            assert!(lines.contains("node_network_carrier{device=\"eth0\"} 0"), "{watched}: {lines}");
            assert!(lines.contains("duplex=\"half\""), "{watched}: {lines}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_count_carrier_changes_has_all_read_in_each_run() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ATTRIBUTES);
        tree.remove("sys/class/net/eth0/carrier_changes");
        let mut runner = runner(&tree);
        for carrier in ["1", "0", "1"] {
            put(&tree, "eth0", &[("carrier", carrier)]);
            let expected = format!("node_network_carrier{{device=\"eth0\"}} {carrier}");
            assert_eq!(line(&mut runner, "node_network_carrier{"), Some(expected));
        }
    }

    #[test]
    fn what_is_set_once_is_read_in_the_devices_turn_and_not_of_all_devices_at_once() {
        let tree = Tree::new::<&str>(&[]);
        let devices = usize::from(REFRESH) + 1;
        (0..devices).for_each(|n| put(&tree, &format!("veth{n}"), &ATTRIBUTES));
        let mut runner = runner(&tree);
        runner.lines();
        (0..devices).for_each(|n| put(&tree, &format!("veth{n}"), &[("tx_queue_len", "7\n")]));
        for run in 1..=devices {
            let lines = runner.lines();
            let new = lines.iter().filter(|l| l.contains("_transmit_queue_length{") && l.ends_with(" 7")).count();
            assert_eq!(new, run, "one more in each run");
        }
    }

    #[test]
    fn a_fault_is_reported_until_it_is_gone() {
        let tree = Tree::new::<&str>(&[]);
        put(&tree, "eth0", &ATTRIBUTES);
        put(&tree, "eth0", &[("tx_queue_len", "long\n")]);
        let mut runner = runner(&tree);
        for _ in 0..3 {
            assert!(runner.run().1.is_err());
        }
        put(&tree, "eth0", &[("tx_queue_len", "7\n")]);
        let (lines, result) = runner.run();
        assert!(result.is_ok() && lines.iter().any(|l| l == "node_network_transmit_queue_length{device=\"eth0\"} 7"));
    }

    #[test]
    fn devices_that_come_and_go_leave_what_is_known_of_the_others() {
        let tree = Tree::new::<&str>(&[]);
        let numbers: Vec<u32> = (0..30).collect();
        numbers.iter().for_each(|n| put(&tree, &format!("veth{n}"), &ATTRIBUTES));
        let mut runner = runner(&tree);
        runner.lines();
        // Had a device been taken for a new one, this would be read.
        numbers.iter().for_each(|n| put(&tree, &format!("veth{n}"), &[("tx_queue_len", "7\n")]));
        [3, 4, 17].iter().for_each(|n| std::fs::remove_dir_all(tree.path(&format!("sys/class/net/veth{n}"))).unwrap());
        put(&tree, "eth0", &ATTRIBUTES);
        let lines = runner.lines();
        let lengths: Vec<_> = lines.iter().filter(|l| l.contains("_transmit_queue_length{")).collect();
        assert_eq!(lengths.len(), 28);
        let new = lengths.iter().filter(|l| l.ends_with(" 7")).count();
        assert!(new <= 3, "{new}: two have their turn in a run, and a device may come to stand at another place");
    }
}
