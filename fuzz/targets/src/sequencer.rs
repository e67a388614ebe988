//! Producers, a driver, a log and a reader on the facade, against queues and a list.
//!
//! The model: each ring is a queue; what is placed is a list of events, dense and in time; a receipt tells where a
//! payload stands; a key stands for one payload.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::{Batch, Fields, IdempotencyKey, Seq, Timestamp};
use downbeat_sequencer::{
    Ack, Group, Idempotency, Ingress, ManualClock, Sequencer, Settings, Start, SubmitError, Ticket,
};

use crate::canary;
use crate::show;

#[derive(Arbitrary, Debug)]
enum Step {
    Submit { key: u8, byte: bool, len: u16, durable: bool, derived: bool },
    SubmitAll { first_key: u8, count: u8, len: u8 },
    Clock(u32),
    Fill,
    Close,
    Durable,
    Read,
}

const STEPS_MAX: usize = 200;
const WINDOW: u64 = 24;

/// What was submitted, and the ticket that tells what became of it.
struct Submitted {
    events: Vec<(u128, Vec<u8>)>,
    ticket: Ticket,
}

struct World {
    clock: ManualClock,
    sequencer: Sequencer,
    /// Of stages, of producers.
    doors: [Ingress; 2],
    rings: [VecDeque<Submitted>; 2],
    log: Vec<Vec<u8>>,
    times: Vec<Timestamp>,
    closed: VecDeque<Arc<Batch>>,
    durable: Seq,
    read: Seq,
}

/// The rounds of a driver, held against a list of events and a map of keys.
///
/// # Panics
///
/// When it finds something.
pub fn sequencer(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let settings = Settings {
        ring_bytes: 8 << 10,
        derived_ring_bytes: 4 << 10,
        tickets: 256,
        batch_bytes: 4 << 10,
        batches: 4,
        window_events: WINDOW,
        idempotency: Idempotency { keys: 100, age_ns: 1 << 40 },
    };
    let clock = ManualClock::new(Timestamp(1_000));
    let (ingress, sequencer) =
        downbeat_sequencer::sequencer(&settings, clock.clone(), Start::fresh(&settings));
    let mut world = World {
        clock,
        doors: [sequencer.derived(), ingress],
        sequencer,
        rings: Default::default(),
        log: Vec::new(),
        times: Vec::new(),
        closed: VecDeque::new(),
        durable: Seq(0),
        read: Seq(0),
    };
    for _ in 0..STEPS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        show(&step);
        world.act(step);
    }
    world.end();
}

impl World {
    fn act(&mut self, step: Step) {
        match step {
            Step::Clock(now) => self.clock.set(Timestamp(now.into())),
            Step::Submit { key, byte, len, durable, derived } => {
                let ack = if durable { Ack::Durable } else { Ack::Ordered };
                let (lane, payload) = (usize::from(!derived), vec![u8::from(byte); usize::from(len) % 1_200]);
                let key = u128::from(key % 32);
                match self.doors[lane].try_submit_bytes(&keyed(key), &payload, ack) {
                    Ok(ticket) => {
                        self.rings[lane].push_back(Submitted { events: vec![(key, payload)], ticket });
                    }
                    Err(error) => refused(&error),
                }
            }
            Step::SubmitAll { first_key, count, len } => {
                let mut group = Group::new();
                let first = u128::from(first_key % 32) + 1;
                let payload = vec![1; len.into()];
                let events: Vec<_> =
                    (0..u128::from(count % 6) + 1).map(|n| (first + n, payload.clone())).collect();
                for (key, payload) in &events {
                    group.push_bytes(&keyed(*key), payload).expect("a group takes its events");
                }
                match self.doors[1].try_submit_all(&group, Ack::Durable) {
                    Ok(ticket) => self.rings[1].push_back(Submitted { events, ticket }),
                    Err(error) => refused(&error),
                }
            }
            Step::Fill => {
                let before = self.sequencer.next_seq();
                let placed = self.sequencer.fill(self.read);
                assert_eq!(self.sequencer.next_seq(), Seq(before.0 + placed as u64));
                assert!(self.sequencer.next_seq().0 - 1 <= self.read.0 + WINDOW, "beyond the window");
            }
            Step::Close => {
                if let Some(batch) = self.sequencer.close_batch() {
                    for record in batch.records() {
                        assert_eq!(record.seq, Seq(self.log.len() as u64 + 1));
                        assert!(self.times.last().is_none_or(|last| record.timestamp > *last));
                        self.times.push(record.timestamp);
                        self.log.push(record.payload().bytes().to_vec());
                    }
                    self.closed.push_back(Arc::clone(batch));
                }
            }
            Step::Durable => {
                self.durable = Seq(self.log.len() as u64);
                self.sequencer.durable(self.durable);
            }
            Step::Read => {
                let last = self.closed.front().map(|batch| Seq(batch.next_seq().0 - 1));
                if let Some(last) = last.filter(|last| *last <= self.durable) {
                    self.read = last;
                    self.closed.pop_front();
                }
            }
        }
    }

    /// As many rounds as it takes until nothing is left over, and then every receipt is held against the log.
    fn end(mut self) {
        for _ in 0..1_000 {
            if self.sequencer.is_idle() && !self.sequencer.owes_receipts() && self.closed.is_empty() {
                break;
            }
            for step in [Step::Fill, Step::Close, Step::Durable, Step::Read] {
                self.act(step);
            }
        }
        assert!(self.sequencer.is_idle() && !self.sequencer.owes_receipts(), "{:?}", self.sequencer);
        if canary() && self.log.len() > 1 {
            // The planted fault: the first event was written a second time, over the last one.
            let first = self.log[0].clone();
            *self.log.last_mut().expect("there is one") = first;
        }
        let mut keys: BTreeMap<u128, Vec<u8>> = BTreeMap::new();
        let mut placed = 0;
        for ring in &mut self.rings {
            let mut last = Seq(0);
            for Submitted { events, ticket } in ring.drain(..) {
                assert!(ticket.is_done());
                match ticket.wait() {
                    Ok(receipt) => {
                        let first = receipt.seq.0 as usize - 1;
                        for ((key, payload), logged) in
                            events.iter().zip(&self.log[first..first + events.len()])
                        {
                            assert_eq!(payload, logged);
                            if *key != 0 {
                                assert_eq!(keys.entry(*key).or_insert_with(|| payload.clone()), payload);
                            }
                        }
                        if !receipt.duplicate {
                            assert!(receipt.seq > last, "a ring is a queue");
                            last = Seq(receipt.seq.0 + events.len() as u64 - 1);
                            placed += events.len();
                        }
                    }
                    Err(SubmitError::Conflict { original }) => {
                        let logged = &self.log[original.seq.0 as usize - 1];
                        assert!(events.len() > 1 || *logged != events[0].1, "the same event is no conflict");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert_eq!(placed, self.log.len());
    }
}

fn keyed(key: u128) -> Fields {
    Fields { idempotency_key: IdempotencyKey(key), ..Fields::default() }
}

fn refused(error: &SubmitError) {
    assert!(matches!(error, SubmitError::Backpressure { .. }), "{error}");
}
