//! What stands at which place of a line, and what it is exported as; `None` is not exported.

use crate::model::MetricType;

pub(super) struct Family {
    pub kind: MetricType,
    pub name: &'static str,
    pub help: &'static str,
}

macro_rules! family {
    ($kind:ident, $name:literal, $help:literal) => {
        Some(Family { kind: MetricType::$kind, name: concat!("node_mountstats_nfs_", $name), help: $help })
    };
}

/// `bytes:`.
pub(super) const BYTES: [Option<Family>; 8] = [
    family!(Counter, "read_bytes_total", "Number of bytes read using the read() syscall."),
    family!(Counter, "write_bytes_total", "Number of bytes written using the write() syscall."),
    family!(Counter, "direct_read_bytes_total", "Number of bytes read using the read() syscall in O_DIRECT mode."),
    family!(Counter, "direct_write_bytes_total", "Number of bytes written using the write() syscall in O_DIRECT mode."),
    family!(Counter, "total_read_bytes_total", "Number of bytes read from the NFS server, in total."),
    family!(Counter, "total_write_bytes_total", "Number of bytes written to the NFS server, in total."),
    family!(Counter, "read_pages_total", "Number of pages read directly via mmap()'d files."),
    family!(Counter, "write_pages_total", "Number of pages written directly via mmap()'d files."),
];

/// `events:`.
pub(super) const EVENTS: [Option<Family>; 27] = [
    family!(
        Counter,
        "event_inode_revalidate_total",
        "Number of times cached inode attributes were checked with the server."
    ),
    family!(Counter, "event_dnode_revalidate_total", "Number of times cached dentries were checked with the server."),
    family!(Counter, "event_data_invalidate_total", "Number of times an inode's cached data was dropped."),
    family!(Counter, "event_attribute_invalidate_total", "Number of times cached inode attributes were dropped."),
    family!(Counter, "event_vfs_open_total", "Number of times a file or directory was opened."),
    family!(Counter, "event_vfs_lookup_total", "Number of times a name was looked up in a directory."),
    family!(Counter, "event_vfs_access_total", "Number of times permissions were checked."),
    family!(Counter, "event_vfs_update_page_total", "Number of updates (and potential writes) to pages."),
    family!(Counter, "event_vfs_read_page_total", "Number of pages read one by one."),
    family!(Counter, "event_vfs_read_pages_total", "Number of times a group of pages was read."),
    family!(Counter, "event_vfs_write_page_total", "Number of pages written one by one."),
    family!(Counter, "event_vfs_write_pages_total", "Number of times a group of pages was written."),
    family!(Counter, "event_vfs_getdents_total", "Number of times directory entries were read with getdents()."),
    family!(Counter, "event_vfs_setattr_total", "Number of times attributes were set."),
    family!(Counter, "event_vfs_flush_total", "Number of times pending writes were flushed to the server."),
    family!(Counter, "event_vfs_fsync_total", "Number of times fsync() was called on files and directories."),
    family!(Counter, "event_vfs_lock_total", "Number of times a lock on a file was asked for."),
    family!(Counter, "event_vfs_file_release_total", "Number of times files were closed and released."),
    // Congestion wait, which no kernel counts any more.
    None,
    family!(Counter, "event_truncation_total", "Number of times files were truncated."),
    family!(Counter, "event_write_extension_total", "Number of times a file grew by a write beyond its end."),
    family!(
        Counter,
        "event_silly_rename_total",
        "Number of times a file was removed while another process had it open."
    ),
    family!(Counter, "event_short_read_total", "Number of times the server gave less data than asked for."),
    family!(Counter, "event_short_write_total", "Number of times the server wrote less data than it was given."),
    family!(Counter, "event_jukebox_delay_total", "Number of times the server asked to wait for data on slow storage."),
    family!(Counter, "event_pnfs_read_total", "Number of NFS v4.1+ pNFS reads."),
    family!(Counter, "event_pnfs_write_total", "Number of NFS v4.1+ pNFS writes."),
];

/// `xprt: tcp`.
pub(super) const TRANSPORT: [Option<Family>; 13] = [
    // The local port.
    None,
    family!(Counter, "transport_bind_total", "Number of times a connection to the server was made from scratch."),
    family!(Counter, "transport_connect_total", "Number of times the client made a TCP connection to the server."),
    // Jiffies spent on connecting.
    None,
    family!(Gauge, "transport_idle_time_seconds", "Seconds since the mount last saw any RPC traffic."),
    family!(Counter, "transport_sends_total", "Number of RPC requests for this mount sent to the server."),
    family!(Counter, "transport_receives_total", "Number of RPC responses for this mount received from the server."),
    family!(Counter, "transport_bad_transaction_ids_total", "Number of responses with a transaction ID unknown here."),
    // Requests under way, summed at each sending.
    None,
    family!(Counter, "transport_backlog_queue_total", "Total number of items added to the RPC backlog queue."),
    family!(Gauge, "transport_maximum_rpc_slots", "Maximum number of simultaneously active RPC requests ever used."),
    family!(Counter, "transport_sending_queue_total", "Total number of items added to the RPC sending queue."),
    family!(Counter, "transport_pending_queue_total", "Total number of items added to the RPC pending queue."),
];

/// An operation; the last three are milliseconds in the file.
pub(super) const OPERATION: [Option<Family>; 8] = [
    family!(Counter, "operations_requests_total", "Number of requests of an operation."),
    family!(Counter, "operations_transmissions_total", "Number of times a request of an operation was sent."),
    family!(
        Counter,
        "operations_major_timeouts_total",
        "Number of times a request of an operation had a major timeout."
    ),
    family!(Counter, "operations_sent_bytes_total", "Bytes sent for an operation, with RPC headers and payload."),
    family!(
        Counter,
        "operations_received_bytes_total",
        "Bytes received for an operation, with RPC headers and payload."
    ),
    family!(
        Counter,
        "operations_queue_time_seconds_total",
        "Seconds that all requests of an operation waited before they were sent."
    ),
    family!(
        Counter,
        "operations_response_time_seconds_total",
        "Seconds that all requests of an operation took from being sent to the reply."
    ),
    family!(
        Counter,
        "operations_request_time_seconds_total",
        "Seconds that all requests of an operation took from being queued to being done with."
    ),
];
