//! Random producers, logs and readers against an obvious model: a list of events and a map of keys.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use downbeat_record::{Batch, Seq, Timestamp};
use downbeat_sequencer::{Ack, Group, Settings, SubmitError, Ticket};
use proptest::prelude::*;

use super::{contents, keyed, small, start};

#[derive(Clone, Debug)]
enum Step {
    Submit { key: u128, byte: u8, len: usize, ack: Ack, derived: bool },
    SubmitAll { first_key: u128, count: usize },
    Clock(u64),
    Fill,
    Close,
    Durable,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let ack = prop_oneof![Just(Ack::Ordered), Just(Ack::Durable)];
    let submit = (0_u128..20, 0_u8..2, 0_usize..900, ack, any::<bool>())
        .prop_map(|(key, byte, len, ack, derived)| Step::Submit { key, byte, len, ack, derived });
    let group = (1_u128..30, 1_usize..6).prop_map(|(first_key, count)| Step::SubmitAll { first_key, count });
    prop_oneof![
        6 => submit,
        2 => group,
        1 => (0_u64..5_000).prop_map(Step::Clock),
        3 => Just(Step::Fill),
        2 => Just(Step::Close),
        2 => Just(Step::Durable),
        2 => Just(Step::Read),
    ]
}

/// What was submitted: keys and payloads, and the ticket.
struct Submitted {
    events: Vec<(u128, Vec<u8>)>,
    ticket: Ticket,
}

proptest! {
    #[test]
    fn whatever_happens_the_order_is_dense_and_every_receipt_is_true(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let settings = Settings { tickets: 1_000, window_events: 24, ..small() };
        let (ingress, mut sequencer, clock) = start(&settings);
        let doors = [sequencer.derived(), ingress.clone()];
        let mut rings = [VecDeque::new(), VecDeque::new()];
        let mut log: Vec<(Seq, Vec<u8>)> = Vec::new();
        let mut closed: VecDeque<Arc<Batch>> = VecDeque::new();
        let (mut times, mut durable, mut read) = (Vec::<Timestamp>::new(), Seq(0), Seq(0));
        // Ends with enough rounds of everything that nothing is left over.
        let rounds = [Step::Fill, Step::Close, Step::Durable, Step::Read];
        for step in steps.into_iter().chain(rounds.into_iter().cycle().take(1_000)) {
            match step {
                Step::Clock(now) => clock.set(Timestamp(now)),
                Step::Submit { key, byte, len, ack, derived } => {
                    let (lane, payload) = (usize::from(!derived), vec![byte; len]);
                    match doors[lane].try_submit_bytes(&keyed(key), &payload, ack) {
                        Ok(ticket) => rings[lane].push_back(Submitted { events: vec![(key, payload)], ticket }),
                        Err(error) => prop_assert!(matches!(error, SubmitError::Backpressure { .. }), "{}", error),
                    }
                }
                Step::SubmitAll { first_key, count } => {
                    let mut group = Group::new();
                    let events: Vec<_> = (first_key..).take(count).map(|key| (key, vec![1; 300])).collect();
                    events.iter().for_each(|(key, payload)| group.push_bytes(&keyed(*key), payload).unwrap());
                    match doors[1].try_submit_all(&group, Ack::Durable) {
                        Ok(ticket) => rings[1].push_back(Submitted { events, ticket }),
                        Err(error) => prop_assert!(matches!(error, SubmitError::Backpressure { .. }), "{}", error),
                    }
                }
                Step::Fill => {
                    let before = sequencer.next_seq();
                    let placed = sequencer.fill(read);
                    prop_assert_eq!(sequencer.next_seq(), Seq(before.0 + placed as u64));
                    prop_assert!(sequencer.next_seq().0 - 1 <= read.0 + settings.window_events);
                }
                Step::Close => if let Some(batch) = sequencer.close_batch() {
                    log.extend(contents(batch));
                    times.extend(batch.records().map(|record| record.timestamp));
                    closed.push_back(batch.clone());
                },
                Step::Durable => {
                    durable = Seq(log.len() as u64);
                    sequencer.durable(durable);
                }
                Step::Read => {
                    let last = closed.front().map(|batch| Seq(batch.next_seq().0 - 1));
                    if let Some(last) = last.filter(|last| *last <= durable) {
                        read = last;
                        closed.pop_front();
                    }
                }
            }
        }
        prop_assert!(sequencer.is_idle() && !sequencer.owes_receipts(), "{:?}", sequencer);
        for (index, (seq, _)) in log.iter().enumerate() {
            prop_assert_eq!(*seq, Seq(index as u64 + 1));
        }
        prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));

        // Each ring is a queue; a receipt's payload stands where it says, and a key stands for one payload.
        let mut keys: BTreeMap<u128, Vec<u8>> = BTreeMap::new();
        let mut placed = 0;
        for ring in &mut rings {
            let mut last = Seq(0);
            for submitted in ring.drain(..) {
                prop_assert!(submitted.ticket.is_done());
                let Submitted { events, ticket } = submitted;
                match ticket.wait() {
                    Ok(receipt) => {
                        let first = receipt.seq.0 as usize - 1;
                        for ((key, payload), (_, logged)) in events.iter().zip(&log[first..first + events.len()]) {
                            prop_assert_eq!(payload, logged);
                            if *key != 0 {
                                prop_assert_eq!(keys.entry(*key).or_insert_with(|| payload.clone()), payload);
                            }
                        }
                        if !receipt.duplicate {
                            prop_assert!(receipt.seq > last);
                            last = Seq(receipt.seq.0 + events.len() as u64 - 1);
                            placed += events.len();
                        }
                    }
                    Err(SubmitError::Conflict { original }) => {
                        let logged = &log[original.seq.0 as usize - 1].1;
                        let in_group = events.len() > 1;
                        prop_assert!(in_group || *logged != events[0].1);
                    }
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }
        prop_assert_eq!(placed, log.len());
    }
}
