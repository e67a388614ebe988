//! Open, submit, close, open again: what is acknowledged stays, and the states come back.

mod common;

use common::{Balance, Count, Moved, Notes, Reached, flow, open, options, reached, total, until_applied};
use downbeat::{Ack, Engine, ErrorKind, Event, Flow, IdempotencyKey, Key, Mode, Seq};

#[test]
fn what_was_acknowledged_is_there_after_a_close_and_after_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for round in 0..4u64 {
        let engine = open(dir.path());
        assert_eq!(total(&engine), expected, "round {round}");
        let last = engine.opened().last_seq;
        for n in 0..50 {
            let receipt = engine.submit(&Moved { cents: 30 }).key(Key(n % 5 + 1)).wait().unwrap();
            assert!(receipt.seq > last && !receipt.duplicate);
            expected += 30;
        }
        if round % 2 == 0 {
            engine.close().unwrap();
        }
    }
}

#[test]
fn in_every_mode_what_was_acknowledged_is_there_and_states_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for mode in [Mode::Shared, Mode::Throughput, Mode::Latency, Mode::Shared] {
        // Digests are compared at every opening, so each mode is held to what the one before has logged.
        let engine =
            Engine::open(options(dir.path()).mode(mode), flow(Count::default(), Notes::default())).unwrap();
        assert_eq!(total(&engine), expected, "opened in mode {mode:?}");
        for n in 0..100 {
            engine.submit(&Moved { cents: 30 }).key(Key(n % 5 + 1)).wait().unwrap();
            expected += 30;
        }
        until_applied(&engine);
        assert_eq!(total(&engine), expected, "{mode:?}");
        engine.close().unwrap();
    }
}

#[test]
fn opening_and_closing_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for n in 0..200 {
        engine.submit(&Moved { cents: 70 }).key(Key(n % 7 + 1)).wait().unwrap();
    }
    engine.close().unwrap();
    let (last, total_before, count) = {
        let engine = open(dir.path());
        (engine.opened().last_seq, total(&engine), reached(&engine))
    };
    assert!(last > Seq(200), "the events that stages emitted are in the log as well");
    assert!(count > 0);
    for _ in 0..3 {
        let engine = open(dir.path());
        assert_eq!(engine.opened().last_seq, last);
        assert_eq!((total(&engine), reached(&engine)), (total_before, count));
        engine.close().unwrap();
    }
}

/// Found by reading: a leaf that was new to a closed log was given all of it at each opening, until a new event came.
#[test]
fn what_a_leaf_has_delivered_is_known_after_a_close_without_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let less = Flow::named("bank").stage("balance", Balance).on::<Moved>().on::<Reached>().emits::<Reached>();
    let engine = Engine::open(options(dir.path()), less.build().unwrap()).unwrap();
    for _ in 0..10 {
        engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    }
    engine.close().unwrap();
    drop(engine);
    for (delivered, logged) in [(10, 1), (0, 0), (0, 0)] {
        let notes = Notes::default();
        let engine = Engine::open(options(dir.path()), flow(Count::default(), notes.clone())).unwrap();
        engine.close().unwrap();
        assert_eq!(notes.0.lock().unwrap().len(), delivered);
        assert_eq!(engine.metrics().checkpoints, logged);
        let last = engine.checkpoint().unwrap();
        assert_eq!((last.seq, last.stages.len(), last.leaves.len()), (engine.last_seq(), 2, 1));
    }
}

/// Found by reading: whoever changed the interval got a checkpoint logged for each interval of all that was there, the last
/// of them not the newest.
#[test]
fn another_interval_of_checkpoints_is_one_for_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let with = |interval| {
        let mut options = options(dir.path());
        options.actors.checkpoint_interval = interval;
        Engine::open(options, flow(Count::default(), Notes::default())).unwrap()
    };
    let engine = with(100);
    for _ in 0..250 {
        engine.submit(&Moved { cents: 0 }).key(Key(1)).wait().unwrap();
    }
    engine.close().unwrap();
    drop(engine);
    let engine = with(30);
    for _ in 0..60 {
        engine.submit(&Moved { cents: 0 }).key(Key(1)).wait().unwrap();
    }
    engine.close().unwrap();
    // At 270, 300, and where it ends.
    assert_eq!((engine.metrics().checkpoints, engine.checkpoint().unwrap().seq), (3, Seq(310)));
}

#[test]
fn an_event_under_a_known_key_changes_nothing_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let key = IdempotencyKey::of("payment 1");
    let first = {
        let engine = open(dir.path());
        let first = engine.submit(&Moved { cents: 5 }).key(Key(1)).idempotency_key(key).wait().unwrap();
        let again = engine.submit(&Moved { cents: 5 }).key(Key(1)).idempotency_key(key).wait().unwrap();
        assert_eq!((again.seq, again.timestamp, again.duplicate), (first.seq, first.timestamp, true));
        let other = engine.submit(&Moved { cents: 6 }).key(Key(1)).idempotency_key(key).wait().unwrap_err();
        assert_eq!((other.kind(), other.seq()), (ErrorKind::Conflict, Some(first.seq)));
        engine.close().unwrap();
        first
    };
    let engine = open(dir.path());
    let again = engine.submit(&Moved { cents: 5 }).key(Key(1)).idempotency_key(key).wait().unwrap();
    assert_eq!((again.seq, again.timestamp, again.duplicate), (first.seq, first.timestamp, true));
    assert_eq!(total(&engine), 5);
}

#[test]
fn a_rejected_event_leaves_no_trace_but_its_rejection() {
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = open(dir.path());
        engine.submit(&Moved { cents: 10 }).key(Key(1)).wait().unwrap();
        let bad = engine.submit(&Moved { cents: -50 }).key(Key(1)).wait().unwrap();
        engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().unwrap();
        until_applied(&engine);
        assert_eq!(total(&engine), 11);
        let mut events = engine.subscribe(Seq(1));
        let rejection = loop {
            let event = events.next_blocking().unwrap().expect("the engine is open");
            if Some(event.record().fields.kind) == engine.kind_of::<downbeat::Rejected>() {
                break event;
            }
        };
        let rejected = rejection.view::<downbeat::Rejected>().unwrap();
        assert_eq!(rejected.stage.as_str(), "balance");
        assert_eq!(rejected.reason.as_str(), "the account would be overdrawn");
        assert_eq!(rejection.record().fields.causation, bad.seq);
        engine.close().unwrap();
    }
    assert_eq!(total(&open(dir.path())), 11);
}

#[test]
fn a_second_opener_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let second = Engine::open(options(dir.path()), flow(Count::default(), Notes::default())).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    assert!(second.to_string().contains("LOCK"), "{second}");
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Unknown", version = 1, crate = downbeat::record)]
struct Unknown {
    n: u8,
}

#[test]
fn an_engine_without_stages_is_a_durable_order() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let flow = downbeat::Flow::named("none").build().unwrap();
        let engine = Engine::open(options(dir.path()).event::<Unknown>(), flow).unwrap();
        assert_eq!(engine.submit(&Unknown { n: round }).wait().unwrap().seq, Seq(u64::from(round) + 1));
        engine.close().unwrap();
    }
}

/// A checkpoint that found the next segment not ready yet failed the whole engine.
#[test]
fn checkpoints_wait_for_a_segment_that_is_being_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.log.segment_bytes = 256 << 10;
    options.log.spare_segments = 1;
    options.order.batch_bytes = 16 << 10;
    options.actors.checkpoint_interval = 5;
    let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
    for n in 0..20_000 {
        engine.submit(&Moved { cents: 1 }).key(Key(n % 5 + 1)).send().unwrap();
    }
    engine.close().unwrap();
    assert!(engine.metrics().checkpoints >= 4_000, "{:?}", engine.metrics());
    drop(engine);
    assert_eq!(total(&open(dir.path())), 20_000);
}

#[test]
fn what_cannot_be_submitted_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let undeclared = engine.submit(&Unknown { n: 1 }).wait().unwrap_err();
    assert_eq!(undeclared.kind(), ErrorKind::Invalid);
    assert!(undeclared.to_string().contains("`bank.Unknown` v1 is not declared"), "{undeclared}");
    let reserved =
        engine.submit(&Moved { cents: 1 }).source(downbeat::SourceId(0x8000_0001)).wait().unwrap_err();
    assert_eq!(reserved.kind(), ErrorKind::Invalid);
    engine.close().unwrap();
    let closed = engine.submit(&Moved { cents: 1 }).wait().unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_tasks_submit_at_once_and_each_gets_its_own_place() {
    let dir = tempfile::tempdir().unwrap();
    let engine = std::sync::Arc::new(open(dir.path()));
    let tasks: Vec<_> = (0..2_000u64)
        .map(|n| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let ack = if n % 2 == 0 { Ack::Durable } else { Ack::Ordered };
                engine.submit(&Moved { cents: 1 }).key(Key(n % 10 + 1)).ack(ack).await.unwrap().seq
            })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 2_000);
    engine.close().unwrap();
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    type Change = fn(&mut downbeat::Options);
    let beyond: [(&str, Change); 6] = [
        ("actors.checkpoint_interval", |options| options.actors.checkpoint_interval = 0),
        ("order.idempotency.keys", |options| options.order.idempotency.keys = 0),
        // A window of none is one of four.
        ("order.idempotency.keys", |options| {
            (options.order.idempotency.keys, options.order.window_events) = (0, 0);
        }),
        ("order.window_events", |options| options.order.window_events = (1 << 20) + 1),
        ("order.idempotency.age_ns", |options| options.order.idempotency.age_ns = 1_000_000),
        ("depth", |options| options.log.depth = 0),
    ];
    for (named, change) in beyond {
        let mut options = options(dir.path());
        change(&mut options);
        let error = Engine::open(options, flow(Count::default(), Notes::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

/// Found by reading: the second was told that all was well while the first was still at it.
#[test]
fn whoever_closes_at_the_same_time_is_told_the_same_and_not_before_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let count = Count::default();
    let engine = Engine::open(options(dir.path()), flow(count.clone(), Notes::default())).unwrap();
    count.gate.close();
    for _ in 0..100 {
        engine.submit(&Moved { cents: 100 }).key(Key(1)).send().unwrap();
    }
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                engine.close().unwrap();
                assert!(over.load(std::sync::atomic::Ordering::Relaxed), "a stage is still at it");
            });
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        count.gate.open();
    });
    engine.close().unwrap();
}

#[test]
fn a_ticket_can_be_waited_for_without_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut ticket = engine.submit(&Moved { cents: 1 }).key(Key(1)).ticket().unwrap();
    let receipt = ticket.wait_timeout(std::time::Duration::MAX).expect("it does not time out").unwrap();
    assert_eq!(receipt.seq, Seq(1));
}

mod others {
    #[derive(downbeat::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(name = "bank.Moved", version = 1, crate = downbeat::record)]
    pub(crate) struct Moved {
        cents: i64,
    }
}

/// Found by reading: stages on the one were given events of the other.
#[test]
fn two_types_of_one_contract_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path()).event::<others::Moved>();
    let error = Engine::open(options, flow(Count::default(), Notes::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("two event types are `bank.Moved` v1"), "{error}");
    let twice =
        downbeat::Flow::named("twice").stage("one", Count::default()).on::<Moved>().on::<others::Moved>();
    let Err(error) = twice.build() else { panic!("a flow could not tell them apart either") };
    assert!(error.to_string().contains("two event types are `bank.Moved` v1"), "{error}");
}

/// Remembers what no log of this test has.
struct Foreign;

impl downbeat::Leaf for Foreign {
    fn resume(&mut self) -> Result<Option<Seq>, downbeat::LeafError> {
        Ok(Some(Seq(3)))
    }

    fn deliver(&mut self, _: &downbeat::Delivery<'_>) -> Result<(), downbeat::LeafError> {
        Ok(())
    }
}

/// Found by reading: with the memory of another log, the first effects of this one were left out, silently.
#[test]
fn a_leaf_that_remembers_more_than_there_is_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Engine::open(options(dir.path()), common::flow_to(Count::default(), Foreign)).unwrap_err();
    assert!(
        error.to_string().contains("it remembers that it delivered seq 3, and the log ends with 0"),
        "{error}"
    );
}

fn renamed(retired: Option<&str>) -> Flow {
    let flow = Flow::named("bank")
        .stage("saldo", Balance)
        .on::<Moved>()
        .on::<Reached>()
        .emits::<Reached>()
        .stage("count", Count::default())
        .global()
        .on::<Reached>()
        .after(["saldo"]);
    let flow = if let Some(name) = retired { flow.retired(name) } else { flow };
    flow.build().unwrap()
}

/// Found by reading: its events stood in the log, and under its new name it emitted all of them once more.
#[test]
fn a_stage_that_was_renamed_or_left_out_is_noticed_unless_it_is_retired() {
    for closed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for _ in 0..10 {
            engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
        }
        while engine.durable() < Seq(20) {
            std::thread::yield_now();
        }
        if closed {
            engine.close().unwrap();
        }
        drop(engine);
        let error = Engine::open(options(dir.path()), renamed(None)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
        let named = if closed { "a stage `balance`" } else { "the stage that emitted seq" };
        assert!(error.to_string().contains(named) && error.to_string().contains("`retired`"), "{error}");
        assert_eq!(total(&open(dir.path())), 1_000, "the log is as it was");

        let engine = Engine::open(options(dir.path()), renamed(Some("balance"))).unwrap();
        while engine.durable() < Seq(30) {
            assert!(engine.failure().is_none());
            std::thread::yield_now();
        }
        let saldo = engine.fold_states::<Balance, i64>("saldo", 0, |sum, _, balance| sum + balance);
        assert_eq!(saldo, Some(1_000));
        engine.close().unwrap();
    }
}

/// Found by reading: it took down the stage, six of them the engine, and was answered as if there were no such stage.
#[test]
fn a_question_that_panics_does_so_where_it_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    until_applied(&engine);
    for _ in 0..10 {
        let ask = || engine.fold_states::<Balance, ()>("balance", (), |(), _, _| panic!("asked too much"));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"asked too much"));
    }
    assert_eq!(total(&engine), 100);
    engine.close().unwrap();
}

/// Found by reading: they were zero until something new was durable.
#[test]
fn metrics_move_without_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let key = IdempotencyKey::of("payment 1");
    let engine = open(dir.path());
    engine.submit(&Moved { cents: 5 }).key(Key(1)).idempotency_key(key).wait().unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(dir.path());
    let metrics = engine.metrics();
    assert_eq!((metrics.last_seq, metrics.durable_seq, metrics.applied_seq), (1, 1, 1));
    engine.submit(&Moved { cents: 5 }).key(Key(1)).idempotency_key(key).send().unwrap();
    while engine.metrics().duplicates == 0 {
        std::thread::yield_now();
    }
    assert_eq!(engine.metrics().last_seq, 1);
}

mod drafts {
    #[derive(downbeat::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(name = "bank.Closed", version = 1, crate = downbeat::record)]
    pub(crate) struct First {
        pub(crate) n: u8,
    }

    #[derive(downbeat::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(name = "bank.Closed", version = 1, crate = downbeat::record)]
    pub(crate) struct Second {
        pub(crate) n: u64,
    }
}

/// Found by reading: the contracts of a program that was refused stayed in the log, and their versions were spent.
#[test]
fn an_opening_that_fails_leaves_no_contract_behind() {
    let dir = tempfile::tempdir().unwrap();
    let first = options(dir.path()).event::<drafts::First>();
    Engine::open(first, common::flow_to(Count::default(), Foreign)).map(drop).unwrap_err();
    let second = options(dir.path()).event::<drafts::Second>();
    let engine = Engine::open(second, flow(Count::default(), Notes::default())).unwrap();
    assert_eq!(engine.submit(&drafts::Second { n: 1 }).wait().unwrap().seq, Seq(1));
    engine.close().unwrap();
}
