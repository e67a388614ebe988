//! What fails, fails in the open: nothing is acknowledged that is not durable, and nothing acknowledged is lost.

mod common;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{Count, Moved, Notes, flow, flow_to, options, total};
use downbeat::{
    BackendChoice, Context, Delivery, Engine, ErrorKind, Event, Flow, IdempotencyKey, Key, Leaf, LeafError,
    Nothing, Options, Out, Reject, Seq, Stage,
};
use downbeat_wal::Memory;
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Step};

fn in_memory(memory: &Memory) -> Options {
    let mut options = options(std::path::Path::new("memory"));
    options.log = downbeat_wal::Options::in_memory(memory);
    options.log.segment_bytes = 2 << 20;
    options.order.batch_bytes = 64 << 10;
    options
}

fn open(memory: &Memory, notes: Notes) -> Engine {
    Engine::open(in_memory(memory), flow(Count::default(), notes)).expect("the engine opens")
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_opening_again_goes_on() {
    let memory = Memory::new();
    let mut acknowledged = 0;
    {
        let engine = open(&memory, Notes::default());
        for _ in 0..20 {
            engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
            acknowledged += 1;
        }
        memory.fail(Fault { step: Step::Sync, after: 5, times: 1, outcome: Outcome::Errno(5) });
        let failed = loop {
            match engine.submit(&Moved { cents: 1 }).key(Key(1)).wait() {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(failed.kind(), ErrorKind::Poisoned, "{failed}");
        for _ in 0..10 {
            let refused = engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Poisoned, "a sync that works again changes nothing");
        }
        assert!(engine.failure().is_some());
        assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
    }
    memory.heal();
    let engine = open(&memory, Notes::default());
    let found = total(&engine);
    assert!(found >= acknowledged && found <= acknowledged + 1, "{acknowledged} acknowledged, {found} found");
    engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged_and_no_effect_came_before_it() {
    for round in 0..40u64 {
        let memory = Memory::new();
        let notes = Notes::default();
        let mut acknowledged = Vec::new();
        {
            let engine = open(&memory, notes.clone());
            let tickets: Vec<_> = (0..200u64)
                .map(|n| {
                    let ticket = engine.submit(&Moved { cents: 60 }).key(Key(n % 4 + 1)).ticket().unwrap();
                    if n % 50 == 49 {
                        std::thread::yield_now()
                    }
                    ticket
                })
                .collect();
            // Some are waited for, the rest is on its way when the power goes.
            for ticket in tickets.into_iter().take((round * 5) as usize) {
                acknowledged.push(ticket.wait().unwrap().seq);
            }
            let mut random = round;
            memory.power_cut(|_| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if random >> 63 == 0 { Fate::Lost } else { Fate::Kept }
            });
        }
        let engine = open(&memory, Notes::default());
        let last = engine.opened().last_seq;
        assert!(
            acknowledged.iter().all(|seq| *seq <= last),
            "{acknowledged:?} acknowledged, {last} recovered"
        );
        let delivered = notes.0.lock().unwrap();
        assert!(delivered.iter().all(|(seq, _)| *seq <= last), "an effect came before its event was durable");
        let balance = total(&engine);
        assert_eq!(balance % 60, 0);
        assert!(balance >= 60 * acknowledged.len() as i64);
    }
}

#[test]
fn a_full_disk_refuses_before_a_seq_is_assigned_and_goes_on_when_space_returns() {
    let memory = Memory::new();
    let engine = open(&memory, Notes::default());
    engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
    memory.set_capacity(Some(9 << 20));
    let mut acknowledged = 1i64;
    let refused = loop {
        match engine.submit(&Moved { cents: 1 }).key(Key(1)).ticket() {
            Ok(ticket) => {
                drop(ticket);
                acknowledged += 1;
            }
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000_000, "the disk never gets full");
    };
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    memory.set_capacity(None);
    loop {
        match engine.submit(&Moved { cents: 1 }).key(Key(1)).wait() {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full, "{error}"),
        }
    }
    engine.close().unwrap();
    drop(engine);
    assert_eq!(total(&open(&memory, Notes::default())), acknowledged + 1, "what was accepted is there");
}

#[test]
fn a_backend_that_cannot_be_had_is_an_error_when_named_and_a_notice_when_not() {
    let dir = tempfile::tempdir().unwrap();
    for backend in [BackendChoice::Blocking, BackendChoice::Auto] {
        let mut options = options(dir.path());
        options.log.backend = backend;
        let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
        engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
        engine.close().unwrap();
    }
    assert_eq!(total(&common::open(dir.path())), 2, "both backends write the same bytes");
}

/// A leaf whose destination is down.
struct Down {
    panics: bool,
}

impl Leaf for Down {
    fn resume(&mut self) -> Result<Option<Seq>, LeafError> {
        Ok(Some(Seq(5)))
    }

    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        assert!(!self.panics, "seq {} has no place to go", delivery.seq);
        Err(LeafError::new("the destination is down"))
    }
}

/// Found by reading: the lane of a leaf that had stopped was full for ever, and the opening waited for its stage.
#[test]
fn a_leaf_that_fails_while_the_log_is_read_again_is_an_error_and_no_wait() {
    let memory = Memory::new();
    // It is told something while the log is read as soon as the first of them is confirmed.
    let options = || {
        let mut options = in_memory(&memory);
        options.actors.checkpoint_interval = 1_000;
        options
    };
    let engine = Engine::open(options(), flow(Count::default(), Notes::default())).unwrap();
    for _ in 0..20_000 {
        engine.submit(&Moved { cents: 100 }).key(Key(1)).send().unwrap();
    }
    engine.close().unwrap();
    for panics in [false, true] {
        let flow = flow_to(Count::default(), Down { panics });
        let (options, (opened, wait)) = (options(), mpsc::sync_channel(1));
        thread::spawn(move || opened.send(Engine::open(options, flow).map(drop)));
        let error = wait.recv_timeout(Duration::from_secs(60)).expect("it does not wait").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("leaf `notes` stopped") && !message.contains('\n'), "{message}");
        assert_eq!(message.contains("no place to go"), panics, "{message}");
    }
    let notes = Notes::default();
    open(&memory, notes.clone()).close().unwrap();
    assert_eq!(notes.0.lock().unwrap().len(), 0, "the first life delivered everything, says the log");
}

/// Notes under which key each value was delivered.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<Vec<(Seq, IdempotencyKey)>>>);

impl Leaf for Keys {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        self.0.lock().unwrap().push((delivery.seq, delivery.idempotency_key()));
        Ok(())
    }
}

#[test]
fn what_is_delivered_again_comes_under_the_key_it_had() {
    let memory = Memory::new();
    let (first, again) = (Keys::default(), Keys::default());
    let engine = Engine::open(in_memory(&memory), flow_to(Count::default(), first.clone())).unwrap();
    for n in 0..50 {
        engine.submit(&Moved { cents: 100 }).key(Key(n % 3 + 1)).wait().unwrap();
    }
    // Nothing in the log says yet that anything was delivered.
    let killed = memory.copy();
    engine.close().unwrap();
    Engine::open(in_memory(&killed), flow_to(Count::default(), again.clone())).unwrap().close().unwrap();

    let (first, again) = (first.0.lock().unwrap(), again.0.lock().unwrap());
    assert_eq!((first.len(), &*first), (50, &*again));
    let mut keys: Vec<_> = first.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable_by_key(|key| key.0);
    keys.dedup();
    assert_eq!(keys.len(), 50, "each has a key of its own");
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Statement", version = 1, crate = downbeat::record)]
struct Statement {
    text: String,
}

/// Writes a long statement and a short one for each movement.
struct Clerk;

impl Stage for Clerk {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, seen: &mut u64, event: &Context<'_>, out: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if let Some(moved) = event.event::<Moved>()? {
            for len in [moved.cents.to_native() as usize, 1] {
                out.emit(&Statement { text: "x".repeat(len) })?;
            }
        } else {
            *seen += 1;
        }
        Ok(())
    }
}

/// Found by reading: it was dropped without a word, and with it every other that was held back.
#[test]
fn an_emitted_event_that_fits_into_no_batch_stops_the_engine_and_is_there_once_it_fits() {
    let memory = Memory::new();
    let open = |batch_bytes| {
        let flow = Flow::named("clerks")
            .stage("clerk", Clerk)
            .on::<Moved>()
            .on::<Statement>()
            .emits::<Statement>()
            .build()
            .unwrap();
        let mut options = in_memory(&memory);
        options.order.batch_bytes = batch_bytes;
        Engine::open(options, flow)
    };
    let engine = open(16 << 10).unwrap();
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    engine.submit(&Moved { cents: 40_000 }).key(Key(1)).send().unwrap();
    let error = engine.close().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("batch_bytes") && message.contains("for seq"), "{message}");
    drop(engine);
    // It says so at an opening that changes nothing.
    let error = open(16 << 10).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.seq().is_some(), "{error}");

    let engine = open(64 << 10).unwrap();
    while engine.last_seq() < Seq(6) || engine.workers().iter().any(|worker| worker.cursor < Seq(6)) {
        assert!(engine.failure().is_none());
        thread::yield_now();
    }
    let seen = engine.fold_states::<Clerk, u64>("clerk", 0, |sum, _, seen| sum + seen);
    assert_eq!(seen, Some(4), "two for each movement");
    engine.close().unwrap();
}

/// Found by reading: who asked waited for ever.
#[test]
fn a_question_to_a_group_that_was_given_up_has_no_answer_and_is_no_wait() {
    let memory = Memory::new();
    let mut options = in_memory(&memory);
    options.actors.rebuilds = 0;
    let engine = Arc::new(Engine::open(options, flow(Count::default(), Notes::default())).unwrap());
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    engine.crash("count");
    while engine.failure().is_none() {
        thread::yield_now();
    }
    let (asking, (answer, wait)) = (engine.clone(), mpsc::sync_channel(1));
    thread::spawn(move || {
        let count = |sum, _: Key, count: &u64| sum + count;
        answer.send(asking.fold_states::<Count, u64>("count", 0, count))
    });
    assert_eq!(wait.recv_timeout(Duration::from_secs(30)).expect("it does not wait"), None);
}
