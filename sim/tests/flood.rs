//! An hour in which ten times as much comes as can be taken: nothing grows, nothing is lost, nobody is left out.
//!
//! Time is made up, a millisecond a step. A stage takes an event each ten of them; each millisecond one of twenty
//! producers submits one, and does not wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_record::{Fields, Kind, Seq, SourceId, Timestamp};
use downbeat_sequencer::{
    Ack, Idempotency, Ingress, ManualClock, Sequencer, Settings, Start, SubmitError, Ticket, sequencer,
};
use downbeat_sim::{Disk, Odds};
use downbeat_wal::{BackendChoice, Log, Options};
use fastrand::Rng;

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
const TAKES_MS: u64 = 10;
const PRODUCERS: u64 = 20;
const WINDOW: u64 = 64;
const RING_BYTES: usize = 32 << 10;
const PAYLOAD: [u8; 32] = [7; 32];

#[test]
fn a_flood_of_ten_times_for_an_hour_leaves_everything_within_its_bounds() {
    let mut flood = Flood::new();
    // Until the ring and the window are full.
    flood.run(MINUTE_MS);
    let settled = flood.minute();
    for _ in 2..HOUR_MS / MINUTE_MS {
        let minute = flood.minute();
        // As much as the stage takes, and nobody who got in waits longer than those before.
        assert_eq!(minute.receipts, MINUTE_MS / TAKES_MS);
        assert!(
            minute.longest_ms <= settled.longest_ms + TAKES_MS,
            "{} then {}",
            settled.longest_ms,
            minute.longest_ms
        );
    }
    let (accepted, refused) = (flood.accepted.iter().sum::<u64>(), flood.refused);
    assert_eq!(accepted + refused, HOUR_MS);
    assert!(refused > HOUR_MS * 8 / 10, "{refused} of {HOUR_MS} refused");
    for share in &flood.accepted {
        let fair = accepted / PRODUCERS;
        assert!(
            (fair * 9 / 10..fair * 11 / 10).contains(share),
            "{share} of {accepted} for one of {PRODUCERS}"
        );
    }
    flood.end(accepted);
}

struct Flood {
    disk: Disk,
    clock: ManualClock,
    rng: Rng,
    now_ms: u64,
    ingress: Ingress,
    sequencer: Sequencer,
    log: Log,
    /// The last event that the stage has taken.
    taken: Seq,
    /// By producer.
    accepted: Vec<u64>,
    refused: u64,
    waiting: VecDeque<(u64, Ticket)>,
    seen: Minute,
}

/// What was told in a minute.
#[derive(Default)]
struct Minute {
    receipts: u64,
    longest_ms: u64,
}

fn options(disk: &Disk) -> Options {
    Options {
        segment_bytes: 1 << 20,
        backend: BackendChoice::Storage(Arc::new(disk.clone())),
        ..Options::new("sim:")
    }
}

impl Flood {
    fn new() -> Self {
        let disk = Disk::new(Rng::with_seed(1), Odds::NONE);
        let (log, _) = Log::open(&options(&disk), |_| Ok(())).unwrap();
        let clock = ManualClock::default();
        let settings = Settings {
            ring_bytes: RING_BYTES,
            derived_ring_bytes: RING_BYTES,
            tickets: 1_024,
            batch_bytes: 16 << 10,
            batches: 8,
            window_events: WINDOW,
            idempotency: Idempotency { keys: 1, age_ns: u64::MAX },
        };
        let (ingress, sequencer) = sequencer(&settings, clock.clone(), Start::fresh(&settings));
        Self {
            disk,
            clock,
            rng: Rng::with_seed(2),
            now_ms: 0,
            ingress,
            sequencer,
            log,
            taken: Seq::ZERO,
            accepted: vec![0; PRODUCERS as usize],
            refused: 0,
            waiting: VecDeque::new(),
            seen: Minute::default(),
        }
    }

    fn minute(&mut self) -> Minute {
        self.run(MINUTE_MS);
        std::mem::take(&mut self.seen)
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ms += 1;
            self.clock.set(Timestamp(self.now_ms * 1_000_000));
            self.disk.step();
            self.submit();
            self.go_on();
        }
    }

    fn submit(&mut self) {
        let producer = self.rng.u64(..PRODUCERS);
        let fields = Fields { kind: Kind(1), source: SourceId(producer as u32 + 1), ..Fields::default() };
        match self.ingress.try_submit_bytes(&fields, &PAYLOAD, Ack::Durable) {
            Ok(ticket) => {
                self.accepted[producer as usize] += 1;
                self.waiting.push_back((self.now_ms, ticket));
            }
            Err(SubmitError::Backpressure { .. }) => self.refused += 1,
            Err(other) => panic!("{other}"),
        }
    }

    /// What the stage, the order and the log do in a millisecond.
    fn go_on(&mut self) {
        if self.now_ms.is_multiple_of(TAKES_MS) && self.taken.next() < self.sequencer.next_seq() {
            self.taken = self.taken.next();
        }
        self.sequencer.durable(self.log.poll().unwrap().seq);
        if self.log.ready().is_ok() {
            self.sequencer.fill(self.taken);
            if self.log.in_flight() == 0
                && let Some(batch) = self.sequencer.close_batch()
            {
                self.log.append(batch).unwrap();
            }
        }
        let ordered = self.sequencer.next_seq().0 - 1;
        assert!(ordered <= self.taken.0 + WINDOW, "{ordered} ordered, {} taken", self.taken);
        while self.waiting.front().is_some_and(|(_, ticket)| ticket.is_done()) {
            let Some((since, ticket)) = self.waiting.pop_front() else { break };
            ticket.wait().unwrap();
            self.seen.receipts += 1;
            self.seen.longest_ms = self.seen.longest_ms.max(self.now_ms - since);
        }
        // Behind the order there is the ring, and an entry has more bytes than its payload.
        let unordered = self.accepted.iter().sum::<u64>() - ordered;
        assert!(unordered as usize * PAYLOAD.len() < RING_BYTES, "{unordered} wait in the ring");
    }

    /// No more comes: what was accepted is applied, durable, and there when the log is opened again.
    fn end(mut self, accepted: u64) {
        while self.taken < Seq(accepted) || !self.waiting.is_empty() {
            self.now_ms += 1;
            self.disk.step();
            self.go_on();
            assert!(self.now_ms < HOUR_MS + MINUTE_MS, "{} of {accepted}", self.taken);
        }
        self.log.close(Timestamp(self.now_ms * 1_000_000)).unwrap();
        let mut found = 0;
        Log::open(&options(&self.disk), |batch| {
            found += batch.records().count() as u64;
            Ok(())
        })
        .unwrap();
        assert_eq!(found, accepted);
    }
}
