//! What a sequencer can be told: bounds, all of them, and where to go on.
//!
//! None of these settings decides a byte of the log; a restart may change every one.

use std::sync::Arc;

use downbeat_record::header::BATCH_BYTES_MAX;
use downbeat_record::{ContractTable, Seq, Timestamp};

use crate::window::{Idempotency, IdempotencyWindow};

/// The smallest window: a quarter of it is kept for events of stages.
pub const WINDOW_EVENTS_MIN: u64 = 4;

/// The bounds of a sequencer. Values out of range are moved into it; the ranges stand beside the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the ring that takes events from outside; a power of two from 1 KiB to 2 GiB.
    pub ring_bytes: usize,
    /// Bytes of the ring that takes events of stages; a power of two from 1 KiB to 2 GiB.
    pub derived_ring_bytes: usize,
    /// Receipts in flight, 1 to 16,777,215.
    pub tickets: usize,
    /// Bytes of a batch, header included; 4 KiB to 256 MiB.
    pub batch_bytes: usize,
    /// Batches in memory: open, being written, or read by someone; 2 to 32,768.
    pub batches: usize,
    /// How many events the order may be ahead of the slowest cursor; at least 4. A quarter of it, and of
    /// `batches`, is kept for events of stages, so that a flood from outside cannot stop the flow.
    pub window_events: u64,
    /// How long a key is remembered.
    pub idempotency: Idempotency,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ring_bytes: 4 << 20,
            derived_ring_bytes: 4 << 20,
            tickets: 65_536,
            batch_bytes: 256 << 10,
            batches: 64,
            window_events: 65_536,
            idempotency: Idempotency::default(),
        }
    }
}

impl Settings {
    pub(crate) fn in_range(&self) -> Self {
        let ring = |bytes: usize| bytes.clamp(1 << 10, 1 << 31).next_power_of_two();
        Self {
            ring_bytes: ring(self.ring_bytes),
            derived_ring_bytes: ring(self.derived_ring_bytes),
            tickets: self.tickets.clamp(1, (1 << 24) - 1),
            batch_bytes: self.batch_bytes.clamp(4 << 10, BATCH_BYTES_MAX),
            batches: self.batches.clamp(2, 1 << 15),
            window_events: self.window_events.max(WINDOW_EVENTS_MIN),
            idempotency: self.idempotency,
        }
    }
}

/// Where the order goes on: what is in the log, everything of it durable.
#[derive(Debug)]
pub struct Start {
    /// The place of the first event to come.
    pub next_seq: Seq,
    /// The time of the last event in the log; the next one is later.
    pub last_timestamp: Timestamp,
    /// The keys remembered, rebuilt from the log.
    pub window: IdempotencyWindow,
    /// The contracts of the log: no event is taken from outside that none of them explains. `None` for an order of
    /// bytes that nobody explains.
    pub contracts: Option<Arc<ContractTable>>,
}

impl Start {
    /// The start of an empty log, which takes every kind, and any bytes.
    pub fn fresh(settings: &Settings) -> Self {
        Self {
            next_seq: Seq(1),
            last_timestamp: Timestamp::default(),
            window: IdempotencyWindow::new(settings.idempotency),
            contracts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_moved_into_it_and_the_rest_is_not() {
        let least = Settings {
            ring_bytes: 0,
            derived_ring_bytes: 1,
            tickets: 0,
            batch_bytes: 0,
            batches: 0,
            window_events: 0,
            ..Settings::default()
        };
        let expected = Settings {
            ring_bytes: 1024,
            derived_ring_bytes: 1024,
            tickets: 1,
            batch_bytes: 4096,
            batches: 2,
            window_events: 4,
            ..least.clone()
        };
        assert_eq!(least.in_range(), expected);
        let most = Settings {
            ring_bytes: usize::MAX,
            derived_ring_bytes: usize::MAX,
            tickets: usize::MAX,
            batch_bytes: usize::MAX,
            batches: usize::MAX,
            window_events: u64::MAX,
            ..Settings::default()
        };
        let expected = Settings {
            ring_bytes: 2_147_483_648,
            derived_ring_bytes: 2_147_483_648,
            tickets: 16_777_215,
            batch_bytes: BATCH_BYTES_MAX,
            batches: 32_768,
            ..most.clone()
        };
        assert_eq!(most.in_range(), expected);
        assert_eq!(Settings::default().in_range(), Settings::default());
        let odd = Settings { ring_bytes: 5_000, ..Settings::default() };
        assert_eq!(odd.in_range().ring_bytes, 8_192);
    }
}
