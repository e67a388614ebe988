//! What fails, fails in the open: nothing is acknowledged that is not durable, and nothing acknowledged is lost.

mod common;

use common::{Count, Moved, Notes, flow, options, total};
use downbeat::{BackendChoice, Engine, ErrorKind, Key, Options};
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
