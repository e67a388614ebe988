//! The paths themselves.

mod batch;
mod flow;
mod ingress;
mod log;

use std::path::Path;

/// One hot path.
pub(crate) struct HotPath {
    pub(crate) name: &'static str,
    /// How often it is gone in the shorter of two runs.
    pub(crate) count: u64,
    /// Goes it at least so often; says how often. The directory is that of a log of so many events.
    pub(crate) go: fn(u64, &Path) -> u64,
}

/// In the order in which an event passes them.
pub(crate) const PATHS: &[HotPath] = &[
    HotPath { name: "ingress/submit", count: 16_384, go: ingress::submit },
    HotPath { name: "ingress/submit_receipt", count: 16_384, go: ingress::submit_receipt },
    HotPath { name: "ingress/submit_key", count: 16_384, go: ingress::submit_key },
    HotPath { name: "order/plain", count: 16_384, go: ingress::order },
    HotPath { name: "order/receipt", count: 16_384, go: ingress::order_receipt },
    HotPath { name: "order/key", count: 16_384, go: ingress::order_key },
    HotPath { name: "batch/push", count: 16_384, go: batch::push },
    HotPath { name: "batch/seal_crc32c", count: 16_384, go: batch::seal },
    HotPath { name: "batch/root_blake3", count: 16_384, go: batch::root },
    HotPath { name: "batch/records", count: 16_384, go: batch::records },
    HotPath { name: "batch/read", count: 16_384, go: batch::read },
    HotPath { name: "log/append_memory", count: 16_384, go: log::append },
    HotPath { name: "hop/lane", count: 81_920, go: flow::hop },
    HotPath { name: "hop/lane_value_and_record", count: 81_920, go: flow::hop_value },
    HotPath { name: "flow/five_stages", count: 16_384, go: flow::five_stages },
    HotPath { name: "audit/verify", count: 16_384, go: log::verify },
    HotPath { name: "audit/replay", count: 16_384, go: log::replay },
];
