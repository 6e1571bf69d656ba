//! `selinux`: its mode and its access vector cache (AVC), from `/sys/fs/selinux` and `/etc/selinux/config`.
//!
//! | metric | type | |
//! | --- | --- | --- |
//! | `node_selinux_enabled` | gauge | 1, or 0 and nothing else |
//! | `node_selinux_config_mode` | gauge | at the next boot: 1 enforcing, 0 permissive, -1 disabled |
//! | `node_selinux_current_mode` | gauge | now: 1 enforcing, 0 permissive |
//! | `node_selinux_avc_{lookups,hits,misses,allocations,reclaims,frees}_total` | counter | `avc/cache_stats`, all CPUs |
//! | `node_selinux_avc_hash_{entries,buckets_used,buckets_available,longest_chain}` | gauge | `avc/hash_stats` |
//! | `node_selinux_avc_threshold` | gauge | `avc/cache_threshold` |
//!
//! It is enabled where selinuxfs is mounted and a policy is loaded: before that, all that runs has the label `kernel`
//! (`/proc/self/attr/current`).
//!
//! Configuration: none.

use std::path::PathBuf;

use super::sysfs::Attributes;
use super::{CollectError, Collector, Roots, fields, lines, number, read_small, split_once, trim};
use crate::model::Writer;

crate::section! {
    /// `collectors.selinux`.
    pub struct SelinuxConfig {}
}

/// Name and help of the columns of `avc/cache_stats`.
const CACHE: [(&str, &str); 6] = [
    ("node_selinux_avc_lookups_total", "SELinux AVC lookups"),
    ("node_selinux_avc_hits_total", "SELinux AVC hits"),
    ("node_selinux_avc_misses_total", "SELinux AVC misses"),
    ("node_selinux_avc_allocations_total", "SELinux AVC allocations"),
    ("node_selinux_avc_reclaims_total", "SELinux AVC reclaims"),
    ("node_selinux_avc_frees_total", "SELinux AVC frees"),
];

/// Name and help of the numbers of `avc/hash_stats`, in their order.
const HASH: [(&str, &str); 4] = [
    ("node_selinux_avc_hash_entries", "SELinux AVC hash entries"),
    ("node_selinux_avc_hash_buckets_used", "SELinux AVC hash buckets used"),
    ("node_selinux_avc_hash_buckets_available", "SELinux AVC hash buckets available"),
    ("node_selinux_avc_hash_longest_chain", "SELinux AVC hash longest chain"),
];

/// The `selinux` collector.
pub struct Selinux {
    folder: PathBuf,
    label: PathBuf,
    config: PathBuf,
    attributes: Attributes,
}

impl Selinux {
    pub fn new(_: &SelinuxConfig, roots: &Roots) -> Selinux {
        Selinux {
            folder: roots.sys("fs/selinux"),
            label: roots.proc("self/attr/current"),
            config: roots.root("/etc/selinux/config"),
            attributes: Attributes::default(),
        }
    }

    /// The mode now, where SELinux is enabled.
    fn current_mode(&mut self) -> Result<Option<f64>, CollectError> {
        let Some(mode) = self.attributes.number(&self.folder.join("enforce"))? else { return Ok(None) };
        let mut label = Vec::new();
        let label = read_small(&self.label, &mut label).unwrap_or_default();
        let loaded = label.strip_suffix(b"\0").unwrap_or(label) != b"kernel";
        Ok(loaded.then_some(mode))
    }

    /// The mode that the host is to boot into.
    fn configured_mode(&self) -> f64 {
        let mut text = Vec::new();
        let text = read_small(&self.config, &mut text).unwrap_or_default();
        let mode = lines(text).filter_map(|line| split_once(trim(line), b'=')).find(|(key, _)| *key == b"SELINUX");
        match mode {
            Some((_, mode)) if mode.trim_ascii().eq_ignore_ascii_case(b"enforcing") => 1.0,
            Some((_, mode)) if mode.trim_ascii().eq_ignore_ascii_case(b"permissive") => 0.0,
            _ => -1.0,
        }
    }

    fn write_cache(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let path = self.folder.join("avc/cache_stats");
        let Some(text) = self.attributes.text(&path)? else { return Ok(()) };
        let mut sums = [0.0; CACHE.len()];
        for (i, line) in lines(text).enumerate().skip(1) {
            let mut found = fields(line).map(number);
            for sum in &mut sums {
                let Some(Some(value)) = found.next() else {
                    return Err(CollectError::parse(&path, i + 1, "not six numbers"));
                };
                *sum += value;
            }
        }
        for ((name, help), sum) in CACHE.iter().zip(sums) {
            out.counter(name, help, []).put([], sum);
        }
        Ok(())
    }

    fn write_hash(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let path = self.folder.join("avc/hash_stats");
        let Some(text) = self.attributes.text(&path)? else { return Ok(()) };
        // entries: 503 / buckets used: 287/512 / longest chain: 6, a line each
        let mut numbers = text.split(|b| !b.is_ascii_digit()).filter(|n| !n.is_empty()).map(number);
        for (name, help) in HASH {
            let Some(Some(value)) = numbers.next() else {
                return Err(CollectError::parse(&path, 0, "not entries, buckets used/available, and longest chain"));
            };
            out.gauge(name, help, []).put([], value);
        }
        Ok(())
    }

    fn write_threshold(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        if let Some(threshold) = self.attributes.number(&self.folder.join("avc/cache_threshold"))? {
            out.gauge("node_selinux_avc_threshold", "SELinux AVC threshold", []).put([], threshold);
        }
        Ok(())
    }
}

impl Collector for Selinux {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let current = self.current_mode()?;
        let enabled = f64::from(u8::from(current.is_some()));
        out.gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false", []).put([], enabled);
        let Some(current) = current else { return Ok(()) };
        let configured = self.configured_mode();
        out.gauge("node_selinux_config_mode", "Configured SELinux enforcement mode", []).put([], configured);
        out.gauge("node_selinux_current_mode", "Current SELinux enforcement mode", []).put([], current);
        let cache = self.write_cache(out);
        let hash = self.write_hash(out);
        cache.and(hash).and(self.write_threshold(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, never_panics, starting};

    const GOOD: [(&str, &str); 6] = [
        ("sys/fs/selinux/enforce", "1"),
        (
            "sys/fs/selinux/avc/cache_stats",
            "lookups hits misses allocations reclaims frees\n91590784 91569452 21332 21332 20576 20928\n\
             37473117 37459160 13957 13957 13584 13856\n",
        ),
        ("sys/fs/selinux/avc/hash_stats", "entries: 503\nbuckets used: 287/512\nlongest chain: 6\n"),
        ("sys/fs/selinux/avc/cache_threshold", "512"),
        ("proc/self/attr/current", "system_u:system_r:unconfined_service_t:s0\0"),
        ("root/etc/selinux/config", "# This file\nSELINUX=permissive\nSELINUXTYPE=targeted\n"),
    ];

    fn build(roots: &Roots) -> Selinux {
        Selinux::new(&SelinuxConfig::default(), roots)
    }

    #[test]
    fn modes_and_the_cache() {
        let expected = [
            "node_selinux_enabled 1",
            "node_selinux_config_mode 0",
            "node_selinux_current_mode 1",
            "node_selinux_avc_lookups_total 129063901",
            "node_selinux_avc_hits_total 129028612",
            "node_selinux_avc_misses_total 35289",
            "node_selinux_avc_allocations_total 35289",
            "node_selinux_avc_reclaims_total 34160",
            "node_selinux_avc_frees_total 34784",
            "node_selinux_avc_hash_entries 503",
            "node_selinux_avc_hash_buckets_used 287",
            "node_selinux_avc_hash_buckets_available 512",
            "node_selinux_avc_hash_longest_chain 6",
            "node_selinux_avc_threshold 512",
        ];
        assert_eq!(Runner::new(build(&Tree::new(&GOOD).roots())).lines(), expected);
    }

    #[test]
    fn a_host_without_it_says_so_as_does_one_without_a_policy() {
        let without = Tree::new::<&str>(&[]);
        assert_eq!(Runner::new(build(&without.roots())).lines(), ["node_selinux_enabled 0"]);
        let tree = Tree::new(&GOOD);
        tree.write("proc/self/attr/current", "kernel\0");
        assert_eq!(Runner::new(build(&tree.roots())).lines(), ["node_selinux_enabled 0"]);
    }

    #[test]
    fn the_configured_mode() {
        let tree = Tree::new(&GOOD);
        for (text, mode) in [("SELINUX=enforcing", 1), ("#SELINUX=enforcing\n", -1), ("SELINUX=disabled\n", -1)] {
            tree.write("root/etc/selinux/config", text);
            let lines = Runner::new(build(&tree.roots())).lines();
            assert_eq!(starting(&lines, "node_selinux_config_mode"), [format!("node_selinux_config_mode {mode}")]);
        }
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }
}
