//! `xfrm`: why packets were lost in IPsec, from `/proc/net/xfrm_stat`.
//!
//! | metric | type | example |
//! | --- | --- | --- |
//! | `node_xfrm_REASON_packets_total` | counter | `node_xfrm_in_no_states_packets_total` for `XfrmInNoStates` |
//!
//! The file is there when the kernel is built with `CONFIG_XFRM_STATISTICS`. No configuration keys.

use super::{CollectError, Collector, KernelFile, Roots, fields, lines, number};
use crate::model::Writer;

crate::section! {
    /// `collectors.xfrm`.
    pub struct XfrmConfig {}
}

/// Counter of the file, name, help. What a later kernel adds is left out, as in node_exporter.
const FAMILIES: [(&str, &str, &str); 28] = {
    macro_rules! family {
        ($key:literal, $name:literal, $help:literal) => {
            (concat!("Xfrm", $key), concat!("node_xfrm_", $name, "_packets_total"), $help)
        };
    }
    [
        family!("InError", "in_error", "Incoming packets lost for a reason that no other counter has"),
        family!("InBufferError", "in_buffer_error", "Incoming packets for which no buffer was left"),
        family!("InHdrError", "in_hdr_error", "Incoming packets with an error in the header"),
        family!("InNoStates", "in_no_states", "Incoming packets without a state: wrong SPI, address or IPsec protocol"),
        family!(
            "InStateProtoError",
            "in_state_proto_error",
            "Incoming packets with a protocol error, e.g. a wrong key"
        ),
        family!("InStateModeError", "in_state_mode_error", "Incoming packets with an error of the transformation mode"),
        family!("InStateSeqError", "in_state_seq_error", "Incoming packets whose sequence number is out of window"),
        family!("InStateExpired", "in_state_expired", "Incoming packets whose state is expired"),
        family!(
            "InStateMismatch",
            "in_state_mismatch",
            "Incoming packets whose state has another option, e.g. UDP encapsulation"
        ),
        family!("InStateInvalid", "in_state_invalid", "Incoming packets whose state is invalid"),
        family!(
            "InTmplMismatch",
            "in_tmpl_mismatch",
            "Incoming packets without a matching template: the policy is wrong"
        ),
        family!("InNoPols", "in_no_pols", "Incoming packets without a policy for their states"),
        family!("InPolBlock", "in_pol_block", "Incoming packets that the policy discards"),
        family!("InPolError", "in_pol_error", "Incoming packets with a policy error"),
        family!("OutError", "out_error", "Outgoing packets lost for a reason that no other counter has"),
        family!("OutBundleGenError", "out_bundle_gen_error", "Outgoing packets whose bundle could not be made"),
        family!(
            "OutBundleCheckError",
            "out_bundle_check_error",
            "Outgoing packets whose bundle did not pass the check"
        ),
        family!("OutNoStates", "out_no_states", "Outgoing packets without a state"),
        family!("OutStateProtoError", "out_state_proto_error", "Outgoing packets with a protocol error"),
        family!(
            "OutStateModeError",
            "out_state_mode_error",
            "Outgoing packets with an error of the transformation mode"
        ),
        family!("OutStateSeqError", "out_state_seq_error", "Outgoing packets whose sequence number overflowed"),
        family!("OutStateExpired", "out_state_expired", "Outgoing packets whose state is expired"),
        family!("OutPolBlock", "out_pol_block", "Outgoing packets that the policy discards"),
        family!("OutPolDead", "out_pol_dead", "Outgoing packets whose policy is dead"),
        family!("OutPolError", "out_pol_error", "Outgoing packets with a policy error"),
        family!("FwdHdrError", "fwd_hdr_error", "Packets that may not be forwarded"),
        family!("OutStateInvalid", "out_state_invalid", "Outgoing packets whose state is invalid, perhaps expired"),
        family!("AcquireError", "acquire_error", "Packets whose state was not fully acquired before use"),
    ]
};

/// The `xfrm` collector.
pub struct Xfrm {
    file: KernelFile,
}

impl Xfrm {
    pub fn new(_: &XfrmConfig, roots: &Roots) -> Xfrm {
        Xfrm { file: KernelFile::new(roots.proc("net/xfrm_stat")) }
    }
}

impl Collector for Xfrm {
    fn collect(&mut self, out: &mut Writer) -> Result<(), CollectError> {
        let mut fault = None;
        for (i, line) in lines(self.file.read()?).enumerate() {
            let mut cells = fields(line);
            let key = cells.next().unwrap_or_default();
            let Some((_, name, help)) = FAMILIES.iter().find(|(k, ..)| k.as_bytes() == key) else { continue };
            match cells.next().and_then(number) {
                Some(count) => {
                    out.counter(name, help, []).put([], count);
                }
                None => fault = Some((i + 1, format!("{}: no count", String::from_utf8_lossy(key)))),
            }
        }
        match fault {
            Some((line, what)) => Err(CollectError::parse(self.file.path(), line, what)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Runner, Tree, conforms, never_panics};

    const CAPTURE: &str = "XfrmInError   \t1\nXfrmInNewOfTomorrow 9\nXfrmAcquireError\t24532";

    fn build(roots: &Roots) -> Xfrm {
        Xfrm::new(&XfrmConfig::default(), roots)
    }

    #[test]
    fn counters_that_are_known() {
        let tree = Tree::new(&[("proc/net/xfrm_stat", CAPTURE)]);
        let mut run = Runner::new(build(&tree.roots()));
        assert_eq!(run.lines(), ["node_xfrm_in_error_packets_total 1", "node_xfrm_acquire_error_packets_total 24532"]);
    }

    #[test]
    fn a_line_without_a_count_is_named_and_the_others_are_served() {
        let tree = Tree::new(&[("proc/net/xfrm_stat", "XfrmInError x\nXfrmOutError 3\n")]);
        let (lines, error) = Runner::new(build(&tree.roots())).failure();
        assert_eq!(lines, ["node_xfrm_out_error_packets_total 3"]);
        assert!(error.ends_with("net/xfrm_stat:1: XfrmInError: no count"), "{error}");
    }

    #[test]
    fn damaged_files_never_panic() {
        never_panics(&[("proc/net/xfrm_stat", CAPTURE)], build);
    }

    #[test]
    fn as_node_exporter() {
        conforms(&["proc/net/xfrm_stat"], |name| name.starts_with("node_xfrm_"), build);
    }
}
