//! Hosts that this machine is not: trees of kernel files, grown from a capture of a two-CPU virtual machine
//! (`tests/fixtures/host`), for `--path.procfs`, `--path.sysfs` and `--path.rootfs`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A host's kernel files in a directory of their own.
pub struct Host {
    dir: TempDir,
}

impl Host {
    /// The captured machine, with no network device but `lo` in sysfs, and one mount.
    pub fn captured() -> Host {
        let dir = tempfile::tempdir().expect("a temporary directory");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host"), dir.path());
        let host = Host { dir };
        host.interface("lo", 1);
        host.mounts(1);
        host
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file in the tree")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }

    /// The flags that have this host read instead of the real one.
    pub fn flags(&self) -> Vec<String> {
        [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("udev.data", "udev")]
            .map(|(flag, path)| format!("--path.{flag}={}", self.path(path).display()))
            .to_vec()
    }

    /// Grows to so many CPUs: times, interrupts, soft interrupts, scheduler, network queues, frequencies, topology.
    pub fn cpus(&self, count: usize) {
        let mut stat = String::new();
        for line in self.read("proc/stat").lines() {
            if line.starts_with("cpu0 ") {
                for cpu in 0..count {
                    let _ = writeln!(stat, "cpu{cpu} {} 2 3000 {} 50 6 7 8 0 0", 1000 + cpu, 900_000 + cpu);
                }
            } else if !line.starts_with("cpu") || line.starts_with("cpu ") {
                stat += line;
                stat.push('\n');
            }
        }
        self.write("proc/stat", &stat);

        // A table with a column for each CPU: its first two are repeated.
        for file in ["proc/interrupts", "proc/softirqs"] {
            let mut text = (0..count).map(|cpu| format!("{:>11}", format!("CPU{cpu}"))).collect::<String>() + "\n";
            for line in self.read(file).lines().skip(1) {
                let mut fields = line.split_whitespace();
                let (name, numbers) = (fields.next().unwrap_or(""), fields.clone().take(2).collect::<Vec<_>>());
                let _ = write!(text, "{name:>12}");
                if numbers.len() < 2 || numbers.iter().any(|n| n.parse::<u64>().is_err()) {
                    text += &fields.map(|f| format!(" {f}")).collect::<String>();
                } else {
                    for cpu in 0..count {
                        let _ = write!(text, " {:>10}", numbers[cpu % 2]);
                    }
                    text += &fields.skip(2).map(|f| format!("  {f}")).collect::<String>();
                }
                text.push('\n');
            }
            self.write(file, &text);
        }
        let queue = self.read("proc/net/softnet_stat").lines().next().unwrap_or("").to_string();
        let of = |cpu: usize| {
            // The thirteenth column is the CPU's number.
            let columns =
                queue.split(' ').enumerate().map(|(i, c)| if i == 12 { format!("{cpu:08x}") } else { c.into() });
            columns.collect::<Vec<String>>().join(" ") + "\n"
        };
        self.write("proc/net/softnet_stat", &(0..count).map(of).collect::<String>());
        let mut sched = "version 17\ntimestamp 4295000000\n".to_string();
        for cpu in 0..count {
            let _ = writeln!(sched, "cpu{cpu} 0 0 0 0 0 0 {} {} {}", 2_000_000 + cpu, 3_000_000 + cpu, 400 + cpu);
        }
        self.write("proc/schedstat", &sched);
        let one = self.read("proc/cpuinfo").split("\n\n").next().unwrap_or("").to_string();
        let info = |cpu: usize| one.replacen(": 0", &format!(": {cpu}"), 1) + "\n\n";
        self.write("proc/cpuinfo", &(0..count).map(info).collect::<String>());

        for cpu in 0..count {
            let at = format!("sys/devices/system/cpu/cpu{cpu}");
            for (name, value) in [
                ("topology/core_id", (cpu / 2).to_string()),
                ("topology/physical_package_id", (cpu / 128).to_string()),
                ("thermal_throttle/core_throttle_count", "3".to_string()),
                ("thermal_throttle/package_throttle_count", "5".to_string()),
                ("cpufreq/scaling_cur_freq", (1_200_000 + cpu).to_string()),
                ("cpufreq/scaling_min_freq", "800000".to_string()),
                ("cpufreq/scaling_max_freq", "3600000".to_string()),
                ("cpufreq/cpuinfo_min_freq", "800000".to_string()),
                ("cpufreq/cpuinfo_max_freq", "3600000".to_string()),
                ("cpufreq/scaling_governor", "powersave".to_string()),
                ("cpufreq/scaling_available_governors", "performance powersave".to_string()),
            ] {
                self.write(&format!("{at}/{name}"), &format!("{value}\n"));
            }
        }
        for (name, value) in [("online", format!("0-{}", count - 1)), ("isolated", String::new())] {
            self.write(&format!("sys/devices/system/cpu/{name}"), &format!("{value}\n"));
        }
    }

    /// Adds so many veth devices.
    pub fn interfaces(&self, count: usize) {
        let mut dev = self.read("proc/net/dev");
        for n in 0..count {
            let _ = writeln!(dev, "veth{n:04x}: {n} 2 0 0 0 0 0 0 {n} 4 0 0 0 0 0 0");
            self.interface(&format!("veth{n:04x}"), n + 10);
        }
        self.write("proc/net/dev", &dev);
    }

    fn interface(&self, name: &str, index: usize) {
        for (file, value) in [
            ("addr_assign_type", "3"),
            ("address", "aa:33:7b:0f:34:5b"),
            ("broadcast", "ff:ff:ff:ff:ff:ff"),
            ("carrier", "1"),
            ("carrier_changes", "2"),
            ("carrier_down_count", "1"),
            ("carrier_up_count", "1"),
            ("dev_id", "0x0"),
            ("dormant", "0"),
            ("duplex", "full"),
            ("flags", "0x1003"),
            ("ifalias", ""),
            ("iflink", "9"),
            ("link_mode", "0"),
            ("mtu", "1500"),
            ("name_assign_type", "3"),
            ("netdev_group", "0"),
            ("operstate", "up"),
            ("speed", "10000"),
            ("tx_queue_len", "1000"),
            ("type", "1"),
        ] {
            self.write(&format!("sys/class/net/{name}/{file}"), &format!("{value}\n"));
        }
        self.write(&format!("sys/class/net/{name}/ifindex"), &format!("{index}\n"));
    }

    /// So many mounts of ext4 below `/data`.
    pub fn mounts(&self, count: usize) {
        let (mut info, mut mounts) = (String::new(), String::new());
        for n in 0..count {
            let _ = writeln!(mounts, "/dev/sd{n} /data/{n:04} ext4 rw,relatime 0 0");
            let _ = writeln!(info, "{} 1 8:{n} / /data/{n:04} rw,relatime shared:1 - ext4 /dev/sd{n} rw", 30 + n);
            fs::create_dir_all(self.path(&format!("root/data/{n:04}"))).expect("a mount point");
        }
        self.write("proc/1/mountinfo", &info);
        self.write("proc/1/mounts", &mounts);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the captured host") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a file copied");
        }
    }
}
