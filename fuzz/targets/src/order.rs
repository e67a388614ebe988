//! Any submissions to the ordering core, against a list of events and the keys in it.

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::{Batch, Fields, IdempotencyKey, Key, Kind, Seq, Timestamp};
use downbeat_sequencer::{Idempotency, IdempotencyWindow, Order, Original, Placed};

use crate::canary;
use crate::log::Number;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    keys: u8,
    age: Number,
    start: Number,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    One(Number, Event<'a>),
    /// All of them with keys, from this one on, or none.
    Group(Number, u8, Vec<&'a [u8]>),
}

#[derive(Arbitrary, Debug)]
struct Event<'a> {
    key: u8,
    about: bool,
    kind: bool,
    payload: &'a [u8],
}

type Submission<'a> = (Fields, &'a [u8]);

/// An event that has a place: what it was, and where.
struct Known<'a> {
    key: u128,
    what: (Kind, Key, &'a [u8]),
    place: Original,
}

struct Model<'a> {
    bounds: Idempotency,
    next: Seq,
    last: Timestamp,
    known: Vec<Known<'a>>,
}

impl<'a> Model<'a> {
    fn find(&self, key: u128, now: Timestamp) -> Option<&Known<'a>> {
        let newest = self.known.iter().rev().take(self.bounds.keys);
        let mut young = newest.filter(|known| now.0 - known.place.timestamp.0 <= self.bounds.age_ns);
        young.find(|known| known.key == key)
    }

    fn expect(&self, now: Timestamp, events: &[Submission<'a>]) -> Placed {
        let now = self.time(now);
        let mut earlier: Option<Original> = None;
        let mut fresh = false;
        for (index, (fields, payload)) in events.iter().enumerate() {
            let key = fields.idempotency_key;
            let known = if key.is_none() { None } else { self.find(key.0, now) };
            match known {
                None => match earlier {
                    Some(original) => return Placed::Conflict { original },
                    None => fresh = true,
                },
                Some(known) => {
                    let original = known.place;
                    if known.what != (fields.kind, fields.key, *payload) {
                        return Placed::Conflict { original };
                    }
                    let first = *earlier.get_or_insert(original);
                    if fresh || original.seq.0 != first.seq.0 + index as u64 {
                        return Placed::Conflict { original };
                    }
                }
            }
        }
        match earlier {
            Some(first) => Placed::Duplicate { first },
            None => Placed::New { first: Original { seq: self.next, timestamp: now } },
        }
    }

    fn time(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.min(1 << 63).max(self.last.0 + 1))
    }

    fn place(&mut self, now: Timestamp, events: &[Submission<'a>]) {
        for (fields, payload) in events {
            let place = Original { seq: self.next, timestamp: self.time(now) };
            if !fields.idempotency_key.is_none() && self.bounds.keys > 0 {
                let (key, what) = (fields.idempotency_key.0, (fields.kind, fields.key, *payload));
                self.known.push(Known { key, what, place });
            }
            self.next = Seq(self.next.0 + 1);
            self.last = place.timestamp;
        }
    }
}

/// Submissions, held against a list of events and a map of keys.
///
/// # Panics
///
/// When it finds something.
pub fn order(input: &[u8]) {
    let Ok(Input { keys, age, start, steps }) = Input::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let bounds = Idempotency { keys: usize::from(keys), age_ns: age.value() };
    let start = Seq(start.value().clamp(1, u64::MAX / 2));
    let mut order = Order::new(start, Timestamp::default(), IdempotencyWindow::new(bounds));
    let mut model = Model { bounds, next: start, last: Timestamp::default(), known: Vec::new() };
    let mut batch = Batch::with_capacity(16 << 10, 0);
    batch.open(start);
    for step in steps {
        let (now, events, group) = match step {
            Step::One(now, event) => {
                let fields = Fields {
                    idempotency_key: IdempotencyKey(event.key.into()),
                    key: Key(event.about.into()),
                    kind: Kind(event.kind.into()),
                    ..Fields::default()
                };
                (now, vec![(fields, event.payload)], false)
            }
            Step::Group(_, _, payloads) if payloads.is_empty() => continue,
            Step::Group(now, key, payloads) => {
                let key = |index| if key == 0 { 0 } else { u128::from(key) + index as u128 };
                let fields =
                    |index| Fields { idempotency_key: IdempotencyKey(key(index)), ..Fields::default() };
                (now, payloads.into_iter().take(9).enumerate().map(|(i, p)| (fields(i), p)).collect(), true)
            }
        };
        let now = Timestamp(now.value());
        let mut placed = place(&mut order, now, &events, group, &mut batch);
        if placed == Placed::BatchFull {
            batch.open(order.next_seq());
            placed = place(&mut order, now, &events, group, &mut batch);
        }
        if placed == Placed::BatchFull {
            let bytes: usize = events.iter().map(|(_, payload)| payload.len() + 80).sum();
            assert!(bytes > (16 << 10) - 128, "{bytes} bytes fit into an empty batch");
            continue;
        }
        if let (true, Placed::Duplicate { first }) = (canary(), placed) {
            placed = Placed::Duplicate { first: Original { seq: Seq(first.seq.0 + 1), ..first } };
        }
        assert_eq!(placed, model.expect(now, &events));
        if let Placed::New { .. } = placed {
            model.place(now, &events);
        }
        assert_eq!((order.next_seq(), order.last_timestamp()), (model.next, model.last));
    }
}

fn place(
    order: &mut Order,
    now: Timestamp,
    events: &[Submission<'_>],
    group: bool,
    batch: &mut Batch,
) -> Placed {
    if group {
        order.place_group(now, events.iter().copied(), batch)
    } else {
        let (fields, payload) = &events[0];
        order.place(now, fields, payload, batch)
    }
}
