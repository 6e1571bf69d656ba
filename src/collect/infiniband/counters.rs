//! The counters of a port: where they stand in sysfs, and what they are exported as.

use crate::model::MetricType;

/// A file of `ports/PORT/FOLDER`.
pub(super) struct Counter {
    pub folder: &'static str,
    pub file: &'static str,
    pub name: &'static str,
    pub help: &'static str,
}

impl Counter {
    /// The file's number in the unit of the metric.
    pub fn scaled(&self, count: f64) -> f64 {
        match self.file {
            // In words of four octets (InfiniBand specification, PortCounters).
            "port_rcv_data" | "port_xmit_data" | "port_rcv_data_64" | "port_xmit_data_64" => count * 4.0,
            // Milliseconds; in whole seconds, as node_exporter has it.
            LIFESPAN => (count / 1000.0).floor(),
            _ => count,
        }
    }

    pub fn kind(&self) -> MetricType {
        if self.file == LIFESPAN { MetricType::Gauge } else { MetricType::Counter }
    }
}

const LIFESPAN: &str = "lifespan";

macro_rules! counters {
    ($( $folder:literal { $( $file:literal => $name:literal, $help:literal; )* } )*) => {
        /// All that are exported.
        pub(super) const COUNTERS: [Counter; counters!(@count $($($file)*)*)] = [$($(
            Counter {
                folder: $folder,
                file: $file,
                name: concat!("node_infiniband_", $name),
                help: $help,
            },
        )*)*];
    };
    (@count $($file:literal)*) => { [$($file),*].len() };
}

counters! {
    "counters_ext" {
        "port_multicast_rcv_packets" => "legacy_multicast_packets_received_total", "Number of multicast packets received";
        "port_multicast_xmit_packets" => "legacy_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted";
        "port_rcv_data_64" => "legacy_data_received_bytes_total", "Number of data octets received on all links";
        "port_rcv_packets_64" => "legacy_packets_received_total", "Number of data packets received on all links";
        "port_unicast_rcv_packets" => "legacy_unicast_packets_received_total", "Number of unicast packets received";
        "port_unicast_xmit_packets" => "legacy_unicast_packets_transmitted_total", "Number of unicast packets transmitted";
        "port_xmit_data_64" => "legacy_data_transmitted_bytes_total", "Number of data octets transmitted on all links";
        "port_xmit_packets_64" => "legacy_packets_transmitted_total", "Number of data packets transmitted on all links";
    }
    "counters" {
        "excessive_buffer_overrun_errors" => "excessive_buffer_overrun_errors_total",
            "Number of times that buffers overran in consecutive flow control update periods";
        "link_downed" => "link_downed_total", "Number of times the link did not recover from an error and went down";
        "link_error_recovery" => "link_error_recovery_total", "Number of times the link recovered from an error";
        "local_link_integrity_errors" => "local_link_integrity_errors_total",
            "Number of times that local physical errors exceeded the threshold LocalPhyErrors";
        "multicast_rcv_packets" => "multicast_packets_received_total",
            "Number of multicast packets received (including errors)";
        "multicast_xmit_packets" => "multicast_packets_transmitted_total",
            "Number of multicast packets transmitted (including errors)";
        "port_rcv_constraint_errors" => "port_constraint_errors_received_total",
            "Number of packets received on the switch physical port that are discarded";
        "port_xmit_constraint_errors" => "port_constraint_errors_transmitted_total",
            "Number of packets not transmitted from the switch physical port";
        "port_rcv_data" => "port_data_received_bytes_total", "Number of data octets received on all links";
        "port_xmit_data" => "port_data_transmitted_bytes_total", "Number of data octets transmitted on all links";
        "port_rcv_discards" => "port_discards_received_total",
            "Number of inbound packets discarded because the port is down or congested";
        "port_xmit_discards" => "port_discards_transmitted_total",
            "Number of outbound packets discarded because the port is down or congested";
        "port_rcv_errors" => "port_errors_received_total", "Number of packets with an error received on this port";
        "port_rcv_packets" => "port_packets_received_total",
            "Number of packets received on all VLs by this port (including errors)";
        "port_xmit_packets" => "port_packets_transmitted_total",
            "Number of packets transmitted on all VLs from this port (including errors)";
        "port_xmit_wait" => "port_transmit_wait_total",
            "Number of ticks in which the port had data to transmit and sent none";
        "unicast_rcv_packets" => "unicast_packets_received_total", "Number of unicast packets received (including errors)";
        "unicast_xmit_packets" => "unicast_packets_transmitted_total",
            "Number of unicast packets transmitted (including errors)";
        "port_rcv_remote_physical_errors" => "port_receive_remote_physical_errors_total",
            "Number of packets received that were marked as bad on their way (EBP)";
        "port_rcv_switch_relay_errors" => "port_receive_switch_relay_errors_total",
            "Number of packets that the switch could not forward";
        "symbol_error" => "symbol_error_total", "Number of minor link errors on one or more physical lanes";
        "VL15_dropped" => "vl15_dropped_total", "Number of incoming VL15 packets dropped for want of resources";
    }
    "hw_counters" {
        "lifespan" => "lifespan_seconds", "How long the adapter may give the same counters again before it counts anew";
        "duplicate_request" => "duplicate_requests_packets_total", "Number of packets received for a request done before";
        "implied_nak_seq_err" => "implied_nak_seq_errors_total",
            "Number of acknowledgements with a larger PSN than expected for an RDMA read or response";
        "local_ack_timeout_err" => "local_ack_timeout_errors_total",
            "Number of times the acknowledgement timer of a queue pair expired, and a retry was left";
        "np_cnp_sent" => "np_cnp_packets_sent_total",
            "Number of congestion notification packets sent by the notification point";
        "np_ecn_marked_roce_packets" => "np_ecn_marked_roce_packets_received_total",
            "Number of RoCEv2 packets received that were marked for congestion (ECN)";
        "out_of_buffer" => "out_of_buffer_drops_total", "Number of drops for want of a work queue element";
        "out_of_sequence" => "out_of_sequence_packets_received_total", "Number of packets received out of sequence";
        "packet_seq_err" => "packet_sequence_errors_total",
            "Number of sequence errors (NAK) received, and a retry was left";
        "req_cqe_error" => "req_cqes_errors_total", "Number of requests completed with an error";
        "req_cqe_flush_error" => "req_cqes_flush_errors_total", "Number of requests completed with a flush error";
        "req_remote_access_errors" => "req_remote_access_errors_total",
            "Number of remote access errors that the requester saw";
        "req_remote_invalid_request" => "req_remote_invalid_request_errors_total",
            "Number of remote invalid request errors that the requester saw";
        "resp_cqe_error" => "resp_cqes_errors_total", "Number of responses completed with an error";
        "resp_cqe_flush_error" => "resp_cqes_flush_errors_total", "Number of responses completed with a flush error";
        "resp_local_length_error" => "resp_local_length_errors_total",
            "Number of local length errors that the responder saw";
        "resp_remote_access_errors" => "resp_remote_access_errors_total",
            "Number of remote access errors that the responder saw";
        "rnr_nak_retry_err" => "rnr_nak_retry_packets_received_total",
            "Number of receiver-not-ready packets received, and a retry was left";
        "roce_adp_retrans" => "roce_adp_retransmits_total", "Number of adaptive retransmissions of RoCE traffic";
        "roce_adp_retrans_to" => "roce_adp_retransmits_timeout_total",
            "Number of timeouts of RoCE traffic by adaptive retransmission";
        "roce_slow_restart" => "roce_slow_restart_used_total", "Number of times RoCE slow restart was used";
        "roce_slow_restart_cnps" => "roce_slow_restart_cnps_total",
            "Number of congestion notification packets made by RoCE slow restart";
        "roce_slow_restart_trans" => "roce_slow_restart_total", "Number of times RoCE went over to slow restart";
        "rp_cnp_handled" => "rp_cnp_packets_handled_total",
            "Number of congestion notification packets by which the reaction point slowed down";
        "rp_cnp_ignored" => "rp_cnp_ignored_packets_received_total",
            "Number of congestion notification packets that the reaction point ignored";
        "rx_atomic_requests" => "rx_atomic_requests_total", "Number of atomic requests received";
        "rx_dct_connect" => "rx_dct_connect_requests_total", "Number of connection requests received for DCTs";
        "rx_read_requests" => "rx_read_requests_total", "Number of read requests received";
        "rx_write_requests" => "rx_write_requests_total", "Number of write requests received";
        "rx_icrc_encapsulated" => "rx_icrc_encapsulated_errors_total", "Number of RoCE packets with a checksum error";
    }
}
