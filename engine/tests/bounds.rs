//! No queue without a bound: what is slow stops what is before it, and in the end the producer.

mod common;

use std::time::{Duration, Instant};

use common::{Balance, Count, Gate, Moved, Notes, Reached, flow, options, reached, resident_kib, total};
use downbeat::{Context, Engine, ErrorKind, Event, Flow, Key, Nothing, Out, Reject, Seq, Stage};

/// An order that does not move for so long has stopped.
const STANDS: Duration = Duration::from_millis(300);

#[test]
fn a_stage_that_sleeps_stops_the_producer_and_memory_stays_flat() {
    let dir = tempfile::tempdir().unwrap();
    let count = Count::default();
    let mut options = options(dir.path());
    options.order.window_events = 1_000;
    options.order.ring_bytes = 64 << 10;
    options.order.batches = 8;
    let engine = Engine::open(options, flow(count.clone(), Notes::default())).unwrap();
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    count.gate.close();
    let _open = OpenAtTheEnd(count.gate.clone());

    let (mut accepted, mut stood) = (0, (Seq::ZERO, Instant::now()));
    let refusal = loop {
        match engine.submit(&Moved { cents: 100 }).key(Key(1)).try_ticket() {
            Ok(ticket) => {
                accepted += 1;
                drop(ticket);
            }
            Err(error) => {
                // Not a ring that is full for a moment: the order itself has stopped, and behind it the ring is full.
                let last = engine.last_seq();
                if last != stood.0 || !is_full(&engine) {
                    stood = (last, Instant::now());
                } else if stood.1.elapsed() > STANDS {
                    break error;
                }
                std::thread::yield_now();
            }
        }
        assert!(accepted < 100_000, "{accepted} events accepted while a stage sleeps");
    };
    assert_eq!(refusal.kind(), ErrorKind::Backpressure);
    // The window stops the order at 1,000 events, or the batches do before, when each holds only a few; what is accepted
    // beyond waits in the ring of 64 KiB.
    assert!(engine.last_seq().0 <= 1_001 + 1, "{} events ordered", engine.last_seq());
    let resident = resident_kib();
    for _ in 0..100_000 {
        let refused = engine.submit(&Moved { cents: 100 }).key(Key(1)).try_ticket();
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Backpressure));
    }
    assert!(resident_kib() < resident + 4_096, "memory grows while nothing is accepted");

    count.gate.open();
    engine.close().unwrap();
    let engine = common::open(dir.path());
    assert_eq!(total(&engine), (accepted + 1) * 100, "what was accepted was not lost");
    assert_eq!(reached(&engine), accepted as u64 + 1);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Noted", version = 1, crate = downbeat::record)]
struct Noted {
    cents: i64,
}

/// Notes every movement, and each note so many times again.
struct Scribe {
    again: u64,
}

impl Stage for Scribe {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, noted: &mut u64, event: &Context<'_>, out: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if let Some(moved) = event.event::<Moved>()? {
            return out.emit(&Noted { cents: moved.cents.to_native() });
        }
        *noted += 1;
        (0..self.again).try_for_each(|copy| out.emit(&Noted { cents: copy as i64 }))
    }
}

fn bank(scribe: Option<Scribe>) -> Flow {
    let flow = Flow::named("bank").stage("balance", Balance).on::<Moved>().emits::<Reached>();
    let flow = match scribe {
        Some(scribe) => flow.stage("scribe", scribe).on::<Moved>().on::<Noted>().emits::<Noted>(),
        None => flow,
    };
    flow.build().expect("the flow is sound")
}

#[test]
fn what_a_new_stage_emits_for_an_old_log_has_a_bound_and_goes_out_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path()), bank(None)).unwrap();
    for _ in 0..2_000 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    engine.close().unwrap();

    let mut narrow = options(dir.path());
    narrow.actors.command_backlog_bytes = 64 << 10;
    let refuse = || {
        let error = Engine::open(narrow.clone(), bank(Some(Scribe { again: 0 }))).map(drop).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("stage `scribe` emits") && message.contains("the 65536 bytes"), "{message}");
        assert!(message.contains("`command_backlog_bytes`"), "{message}");
        assert_eq!((error.kind(), error.seq()), (ErrorKind::Invalid, Some(Seq(1))), "{message}");
    };
    refuse();
    let noted = |engine: &Engine| {
        engine.fold_states::<Scribe, u64>("scribe", 0, |sum, _, noted| sum + noted).expect("it is there")
    };
    let mut wide = options(dir.path());
    wide.actors.command_backlog_bytes = usize::MAX;
    let engine = Engine::open(wide, bank(Some(Scribe { again: 0 }))).unwrap();
    while noted(&engine) < 2_000 {
        assert!(engine.failure().is_none());
        std::thread::yield_now();
    }
    engine.close().unwrap();
    // They stand behind 2,000 events now, and wait for that as they did.
    refuse();
    let engine = Engine::open(options(dir.path()), bank(Some(Scribe { again: 0 }))).unwrap();
    assert_eq!(noted(&engine), 2_000);
    engine.close().unwrap();
}

#[test]
fn events_that_cause_more_of_themselves_stop_the_engine_and_not_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.actors.command_backlog_bytes = 64 << 10;
    let engine = Engine::open(options, bank(Some(Scribe { again: 2 }))).unwrap();
    engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
    let message = loop {
        if let Some(failure) = engine.failure() {
            break failure.to_string();
        }
        std::thread::yield_now();
    };
    assert!(message.contains("stages hold back") && message.contains("`command_backlog_bytes`"), "{message}");
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
}

fn is_full(engine: &Engine) -> bool {
    let fill = engine.fill();
    fill.used + 1_024 > fill.capacity
}

/// A failing assertion must not leave a stage asleep for ever.
struct OpenAtTheEnd(Gate);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}
