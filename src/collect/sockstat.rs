//! `sockstat`: sockets in use, from `/proc/net/sockstat` and `/proc/net/sockstat6`.
//!
//! | metric | type | what |
//! | --- | --- | --- |
//! | `node_sockstat_sockets_used` | gauge | sockets of all protocols, as the IPv4 file counts them |
//! | `node_sockstat_PROTOCOL_inuse`, `_orphan`, `_tw`, `_alloc` | gauge | sockets |
//! | `node_sockstat_PROTOCOL_mem` | gauge, pages | memory of their buffers |
//! | `node_sockstat_PROTOCOL_mem_bytes` | gauge, bytes | the same |
//! | `node_sockstat_FRAG_memory`, `node_sockstat_FRAG6_memory` | gauge, bytes | memory of fragments |
//!
//! PROTOCOL is TCP, UDP, UDPLITE, RAW, FRAG, and with a 6 behind it of IPv6. A file that is not there is a protocol
//! that this kernel has not, and no failure. No configuration keys.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.sockstat`.
    pub struct SockstatConfig {}
}

/// The keys that are exported; what a later kernel adds is left out, as in node_exporter.
const KEYS: [&[u8]; 6] = [b"inuse", b"orphan", b"tw", b"alloc", b"mem", b"memory"];

/// The `sockstat` collector.
pub struct Sockstat {
    files: [KernelFile; 2],
    page_size: f64,
    names: Vec<Name>,
}

impl Sockstat {
    pub fn new(_: &SockstatConfig, roots: &Roots) -> Sockstat {
        Sockstat {
            files: [KernelFile::new(roots.proc("net/sockstat")), KernelFile::new(roots.proc("net/sockstat6"))],
            page_size: rustix::param::page_size() as f64,
            names: Vec::new(),
        }
    }
}

impl Collector for Sockstat {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut result = Ok(());
        let mut absent = 0;
        let mut at = 0;
        for file in &mut self.files {
            let read = match file.read() {
                Ok(text) => write(text, &mut self.names, &mut at, self.page_size, out),
                Err(CollectError::NoData(_)) => {
                    absent += 1;
                    continue;
                }
                Err(error) => {
                    result = Err(error);
                    continue;
                }
            };
            if let Err((line, what)) = read {
                result = Err(CollectError::parse(file.path(), line, what));
            }
        }
        self.names.truncate(at);
        if absent == self.files.len() {
            return Err(CollectError::NoData(format!("{}: no such file", self.files[0].path().display())));
        }
        result
    }
}

/// A family's name and help, made once: which family stands at which place hardly ever changes.
struct Name {
    protocol: Vec<u8>,
    key: &'static [u8],
    /// Of the family, and of the same in bytes where the key counts pages.
    families: Vec<(String, String)>,
}

impl Name {
    fn new(protocol: &[u8], key: &'static [u8]) -> Name {
        let shown = String::from_utf8_lossy(protocol);
        let family = |state: &str| {
            (format!("node_sockstat_{shown}_{state}"), format!("Number of {shown} sockets in state {state}."))
        };
        let mut families = vec![family(&String::from_utf8_lossy(key))];
        if key == b"mem" {
            families.push(family("mem_bytes"));
        }
        Name { protocol: protocol.to_vec(), key, families }
    }
}

/// Writes a file's samples, with the names from `names` on from `at`.
fn write(
    text: &[u8],
    names: &mut Vec<Name>,
    at: &mut usize,
    page_size: f64,
    out: &mut Writer,
) -> Result<(), (usize, String)> {
    for (i, line) in lines(text).enumerate() {
        let mut cells = fields(line);
        let Some(protocol) = cells.next().and_then(|p| p.strip_suffix(b":")) else {
            return Err((i + 1, "expected a protocol and a colon".to_string()));
        };
        if protocol.is_empty() || !protocol.iter().all(u8::is_ascii_alphanumeric) {
            return Err((i + 1, "expected the name of a protocol".to_string()));
        }
        while let Some(key) = cells.next() {
            let value = cells.next().and_then(number).ok_or_else(|| {
                let key = String::from_utf8_lossy(key);
                (i + 1, format!("expected a number after {key:?}"))
            })?;
            if protocol == b"sockets" {
                if key == b"used" {
                    out.gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.", []).put([], value);
                }
                continue;
            }
            let Some(key) = KEYS.iter().copied().find(|k| *k == key) else { continue };
            if !names.get(*at).is_some_and(|n| n.protocol == protocol && n.key == key) {
                names.truncate(*at);
                names.push(Name::new(protocol, key));
            }
            let values = [value, value * page_size];
            for ((name, help), value) in names.get(*at).into_iter().flat_map(|n| &n.families).zip(values) {
                out.gauge(name, help, []).put([], value);
            }
            *at += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const V4: &str = "\
sockets: used 229
TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 2
UDP: inuse 0 mem 0
FRAG: inuse 0 memory 3
";
    const V6: &str = "TCP6: inuse 17\nFRAG6: inuse 0 memory 0 later 9\n";

    fn runner(tree: &Tree) -> Runner<Sockstat> {
        Runner::new(Sockstat::new(&SockstatConfig::default(), &tree.roots()))
    }

    #[test]
    fn sockets_by_protocol_with_memory_in_bytes_too() {
        let tree = Tree::new(&[("proc/net/sockstat", V4), ("proc/net/sockstat6", V6)]);
        let mut runner = runner(&tree);
        runner.collector.page_size = 4096.0;
        for _ in 0..2 {
            assert_eq!(
                runner.lines(),
                [
                    "node_sockstat_sockets_used 229",
                    "node_sockstat_TCP_inuse 4",
                    "node_sockstat_TCP_orphan 0",
                    "node_sockstat_TCP_tw 4",
                    "node_sockstat_TCP_alloc 17",
                    "node_sockstat_TCP_mem 2",
                    "node_sockstat_TCP_mem_bytes 8192",
                    "node_sockstat_UDP_inuse 0",
                    "node_sockstat_UDP_mem 0",
                    "node_sockstat_UDP_mem_bytes 0",
                    "node_sockstat_FRAG_inuse 0",
                    "node_sockstat_FRAG_memory 3",
                    "node_sockstat_TCP6_inuse 17",
                    "node_sockstat_FRAG6_inuse 0",
                    "node_sockstat_FRAG6_memory 0",
                ]
            );
        }
    }

    #[test]
    fn pages_are_as_large_as_the_kernel_has_them() {
        let tree = Tree::new(&[("proc/net/sockstat", V4)]);
        let mut runner = runner(&tree);
        runner.collector.page_size = 65536.0;
        assert!(runner.lines().contains(&"node_sockstat_TCP_mem_bytes 131072".to_string()));
    }

    #[test]
    fn without_ipv6_the_rest_is_served_and_without_both_there_is_no_data() {
        let tree = Tree::new(&[("proc/net/sockstat", V4)]);
        assert_eq!(runner(&tree).lines().len(), 12);
        let (lines, result) = runner(&Tree::new::<&str>(&[])).run();
        assert!(lines.is_empty() && matches!(result, Err(CollectError::NoData(_))));
    }

    #[test]
    fn a_bad_field_is_named_and_the_other_file_is_served() {
        let tree = Tree::new(&[("proc/net/sockstat", "TCP: inuse x"), ("proc/net/sockstat6", V6)]);
        let (lines, result) = runner(&tree).run();
        assert_eq!(lines.len(), 3);
        let message = result.unwrap_err().to_string();
        assert!(message.ends_with("net/sockstat:1: expected a number after \"inuse\""), "{message}");
    }

    #[test]
    fn the_capture_of_node_exporter_gives_what_it_gives() {
        conforms(
            &["proc/net/sockstat", "proc/net/sockstat6"],
            |name| name.starts_with("node_sockstat_"),
            |roots| Sockstat { page_size: 4096.0, ..Sockstat::new(&SockstatConfig::default(), roots) },
        );
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&[("proc/net/sockstat", V4), ("proc/net/sockstat6", V6)], |roots| {
            Sockstat::new(&SockstatConfig::default(), roots)
        });
    }
}
