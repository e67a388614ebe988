//! Counters that anyone in the process may read; the sequencer thread writes them once per round.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an engine has done since it was opened, and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Events that got a place.
    pub events: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Events that had a place already.
    pub duplicates: u64,
    /// Events refused because their idempotency key stands for another event.
    pub conflicts: u64,
    /// Batches handed to the log.
    pub batches: u64,
    /// The last seq in the order.
    pub last_seq: u64,
    /// The last seq that is durable.
    pub durable_seq: u64,
    /// The last seq that every stage has passed.
    pub applied_seq: u64,
    /// The fullest the ingress ring has been, in bytes.
    pub ingress_bytes_max: u64,
    /// Rounds in which the order waited for the slowest stage.
    pub window_waits: u64,
    /// Checkpoints written to the log.
    pub checkpoints: u64,
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        #[derive(Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64),+
        }

        impl Counters {
            pub(crate) fn store(&self, metrics: &Metrics) {
                $(self.$name.store(metrics.$name, Ordering::Relaxed);)+
            }

            pub(crate) fn load(&self) -> Metrics {
                Metrics { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters!(
    events,
    payload_bytes,
    duplicates,
    conflicts,
    batches,
    last_seq,
    durable_seq,
    applied_seq,
    ingress_bytes_max,
    window_waits,
    checkpoints,
);
