//! The facade as an engine drives it: one file per class of promise.
#![cfg(not(loom))]

mod bounds;
mod endings;
mod groups;
mod model;
mod receipts;
mod stress;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use downbeat_record::{Batch, Fields, IdempotencyKey, Seq, Timestamp};
use downbeat_sequencer::{Cause, Idempotency, Ingress, ManualClock, Sequencer, Settings, Start, sequencer};

/// Small bounds, so that tests meet them.
fn small() -> Settings {
    Settings {
        ring_bytes: 8 << 10,
        derived_ring_bytes: 4 << 10,
        tickets: 32,
        batch_bytes: 4 << 10,
        batches: 4,
        window_events: 64,
        idempotency: Idempotency { keys: 100, age_ns: 1_000_000 },
    }
}

fn start(settings: &Settings) -> (Ingress, Sequencer, ManualClock) {
    let clock = ManualClock::new(Timestamp(1_000));
    let (ingress, sequencer) = sequencer(settings, clock.clone(), Start::fresh(settings));
    (ingress, sequencer, clock)
}

fn keyed(key: u128) -> Fields {
    Fields { idempotency_key: IdempotencyKey(key), ..Fields::default() }
}

fn cause(text: &'static str) -> Cause {
    Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(text))
}

/// Closes the open batch and keeps it, as a log that writes it or a reader that reads it does.
fn take(sequencer: &mut Sequencer) -> Arc<Batch> {
    sequencer.close_batch().expect("a batch with events is open").clone()
}

/// Payloads and seqs of a batch.
fn contents(batch: &Batch) -> Vec<(Seq, Vec<u8>)> {
    batch.records().map(|record| (record.seq, record.payload().bytes().to_vec())).collect()
}

/// A task that is only watched.
struct Woken(AtomicBool);

impl Woken {
    fn not_yet() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(false)))
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
