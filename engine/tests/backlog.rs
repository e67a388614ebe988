//! What stages emit waits within bounds, for its place in a log that is read and for a front door that is full.

mod common;

use common::{Balance, Moved, Reached, options};
use downbeat::{Context, Engine, ErrorKind, Event, Flow, Key, Nothing, Out, Reject, Seq, Stage};

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
    narrow.actors.backlog_bytes = 64 << 10;
    let refuse = || {
        let error = Engine::open(narrow.clone(), bank(Some(Scribe { again: 0 }))).map(drop).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("stage `scribe` emits") && message.contains("the 65536 bytes"), "{message}");
        assert!(message.contains("`backlog_bytes`"), "{message}");
        assert_eq!((error.kind(), error.seq()), (ErrorKind::Invalid, Some(Seq(1))), "{message}");
    };
    refuse();
    let noted = |engine: &Engine| {
        engine.fold_states::<Scribe, u64>("scribe", 0, |sum, _, noted| sum + noted).expect("it is there")
    };
    let mut wide = options(dir.path());
    wide.actors.backlog_bytes = usize::MAX;
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
    options.actors.backlog_bytes = 64 << 10;
    let engine = Engine::open(options, bank(Some(Scribe { again: 2 }))).unwrap();
    engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
    let message = loop {
        if let Some(failure) = engine.failure() {
            break failure.to_string();
        }
        std::thread::yield_now();
    };
    assert!(message.contains("stages hold back") && message.contains("`backlog_bytes`"), "{message}");
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
}
