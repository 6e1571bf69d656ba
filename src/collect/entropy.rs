//! `entropy`: the random number generator's state, from `/proc/sys/kernel/random/{entropy_avail,poolsize}`.
//!
//! | metric | type | unit |
//! | --- | --- | --- |
//! | `node_entropy_available_bits` | gauge | bits |
//! | `node_entropy_pool_size_bits` | gauge | bits |
//!
//! Since Linux 5.18 both are 256 once the generator is seeded.
//!
//! Configuration: none.

use super::{CollectError, Collector, KernelFile, Roots};
use crate::model::Writer;

crate::section! {
    /// `collectors.entropy`.
    pub struct EntropyConfig {}
}

/// The `entropy` collector.
pub struct Entropy {
    available: KernelFile,
    pool: KernelFile,
}

impl Entropy {
    pub fn new(_: &EntropyConfig, roots: &Roots) -> Entropy {
        let file = |name| KernelFile::new(roots.proc("sys/kernel/random").join(name));
        Entropy { available: file("entropy_avail"), pool: file("poolsize") }
    }
}

impl Collector for Entropy {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let available = self.available.number()?;
        out.gauge("node_entropy_available_bits", "Bits of available entropy.", []).put([], available);
        let pool = self.pool.number()?;
        out.gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", []).put([], pool);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const GOOD: [(&str, &str); 2] =
        [("proc/sys/kernel/random/entropy_avail", "1337\n"), ("proc/sys/kernel/random/poolsize", "4096\n")];

    fn build(roots: &Roots) -> Entropy {
        Entropy::new(&EntropyConfig::default(), roots)
    }

    #[test]
    fn available_bits_of_the_pool() {
        let tree = Tree::new(&GOOD);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines(), ["node_entropy_available_bits 1337", "node_entropy_pool_size_bits 4096"]);
        tree.write("proc/sys/kernel/random/poolsize", "many\n");
        let (lines, error) = run.failure();
        assert!(lines.len() == 1 && error.ends_with("random/poolsize:1: not a number"), "{lines:?} {error}");
    }

    #[test]
    fn garbage_never_panics() {
        never_panics(&GOOD, build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/sys/kernel/random"], |name| name.starts_with("node_entropy_"), build);
    }
}
