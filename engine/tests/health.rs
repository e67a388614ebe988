//! Live, lagging, throttled, stalled, dead: told apart from outside, whatever the actor does.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use common::{Count, Moved, Notes, flow, options, reached, until_applied};
use downbeat::{
    Context, Delivery, Engine, ErrorKind, Flow, Health, Key, Leaf, LeafError, Nothing, Out, Reject,
    STALLED_AFTER, Seq, Stage,
};

fn health(engine: &Engine, name: &str) -> Health {
    let workers = engine.workers();
    let named = workers.iter().find(|worker| worker.name == name);
    named.unwrap_or_else(|| panic!("{workers:?}")).health
}

fn until(engine: &Engine, name: &str, so: impl Fn(Health) -> bool) -> Health {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = health(engine, name);
        if so(found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{name} is {found:?}");
        yield_now();
    }
}

fn deposit(engine: &Engine, times: u64) {
    for _ in 0..times {
        engine.submit(&Moved { cents: 100 }).key(Key(1)).wait().unwrap();
    }
}

#[test]
fn one_that_hangs_is_stalled_and_those_before_it_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let count = Count::default();
    let mut options = options(dir.path());
    // A thread each: whoever shares a thread with one that hangs hangs with it.
    options.actors.threads = 2;
    let engine = Engine::open(options, flow(count.clone(), Notes::default())).unwrap();
    deposit(&engine, 10);
    for name in ["balance", "count", "notes"] {
        until(&engine, name, |health| health == Health::Live);
    }
    count.gate.close();
    let closed = Instant::now();
    deposit(&engine, 10);
    let Health::Stalled { since } = until(&engine, "count", |health| health != Health::Live) else {
        panic!("{:?}", health(&engine, "count"))
    };
    assert!(since >= STALLED_AFTER && closed.elapsed() >= STALLED_AFTER, "{since:?}");
    // The engine itself looked: that was the first time somebody asked since the gate was closed, or nearly.
    assert!(closed.elapsed() < 10 * STALLED_AFTER, "{:?}", closed.elapsed());
    assert_eq!((health(&engine, "balance"), health(&engine, "notes")), (Health::Live, Health::Live));
    count.gate.open();
    until(&engine, "count", |health| health == Health::Live);
    engine.close().unwrap();
}

/// Takes so long for each event.
struct Slow(Duration);

impl Stage for Slow {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        let begun = Instant::now();
        while begun.elapsed() < self.0 {
            yield_now();
        }
        *count += 1;
        Ok(())
    }
}

/// Sends a number for each event.
struct Echo;

impl Stage for Echo {
    type State = u64;
    type Output = common::Reached;

    fn apply(&self, _: &mut u64, _: &Context<'_>, out: &mut Out<'_, common::Reached>) -> Result<(), Reject> {
        out.send(&common::Reached { balance: 1 })
    }
}

fn echo_and_slow(per_event: Duration) -> Flow {
    Flow::named("slow")
        .stage("echo", Echo)
        .on::<Moved>()
        .stage("slow", Slow(per_event))
        .on::<Moved>()
        .after(["echo"])
        .build()
        .unwrap()
}

#[test]
fn one_that_is_slow_lags_who_sends_to_it_is_throttled_and_it_shows_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.actors.threads = 2;
    options.order.window_events = 40_000;
    options.actors.lane_bytes = 64 << 10;
    let engine = Engine::open(options, echo_and_slow(Duration::from_millis(1))).unwrap();
    for _ in 0..15_000 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    until(&engine, "slow", |health| matches!(health, Health::Lagging { .. } | Health::Live));
    // Thousands wait before it, as soon as the order has got so far.
    until(&engine, "echo", |health| matches!(health, Health::Throttled { by } if by > 1_000));
    // A turn of a slow stage ends after a millisecond or an event: it is seen to get on.
    let cursor = || engine.workers().iter().find(|worker| worker.name == "slow").unwrap().cursor;
    let before = cursor();
    let deadline = Instant::now() + Duration::from_secs(2);
    while cursor() == before {
        assert!(Instant::now() < deadline, "no step in two seconds");
    }
    assert!(cursor().0 - before.0 < 400, "{before}, then {}", cursor());
    // 15,000 events would take 15 seconds; a drop waits for the one event it is at.
    let dropped = Instant::now();
    drop(engine);
    assert!(dropped.elapsed() < Duration::from_secs(2), "{:?}", dropped.elapsed());
}

#[test]
fn one_that_is_given_up_is_dead_and_the_others_are_told_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.actors.rebuilds = 0;
    let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
    deposit(&engine, 10);
    engine.crash("count");
    until(&engine, "count", |health| health == Health::Dead);
    assert_eq!(health(&engine, "notes"), Health::Live);
    assert_eq!(engine.close().unwrap_err().kind(), ErrorKind::Poisoned);
}

/// Found by reading: once it was called a stage had 128 turns before anybody else had one, and a drop waited for them.
#[test]
fn a_drop_waits_for_one_event_of_a_stage_however_slow_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Flow::named("slow").stage("slow", Slow(Duration::from_millis(15))).on::<Moved>();
    let engine = Engine::open(options(dir.path()), slow.build().unwrap()).unwrap();
    for _ in 0..400 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    while engine.workers()[0].cursor < Seq(20) {
        yield_now();
    }
    let dropped = Instant::now();
    drop(engine);
    assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());
}

/// Takes so long for each delivery.
struct SlowPost(Duration);

impl Leaf for SlowPost {
    fn deliver(&mut self, _: &Delivery<'_>) -> Result<(), LeafError> {
        let begun = Instant::now();
        while begun.elapsed() < self.0 {
            yield_now();
        }
        Ok(())
    }
}

/// Found by reading: a turn of a leaf was 64 deliveries, however long they took.
#[test]
fn a_leaf_that_is_slow_is_seen_to_get_on_and_a_drop_waits_for_one_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let slow = SlowPost(Duration::from_millis(30));
    let flow = Flow::named("bank").stage("echo", Echo).on::<Moved>().leaf("post", slow).after(["echo"]);
    let engine = Engine::open(options(dir.path()), flow.build().unwrap()).unwrap();
    for _ in 0..200 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    let watched = Instant::now();
    while watched.elapsed() < 2 * STALLED_AFTER {
        let found = health(&engine, "post");
        assert!(!matches!(found, Health::Stalled { .. }), "{found:?} after {:?}", watched.elapsed());
        yield_now();
    }
    let dropped = Instant::now();
    drop(engine);
    assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());
}

struct Panics;

impl Leaf for Panics {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        assert!(delivery.seq < Seq(5), "cannot deliver seq {}", delivery.seq);
        Ok(())
    }
}

#[test]
fn a_leaf_that_panics_is_dead_and_ends_the_engine_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let flow = Flow::named("bank").stage("echo", Echo).on::<Moved>().leaf("post", Panics).after(["echo"]);
    let engine = Engine::open(options(dir.path()), flow.build().unwrap()).unwrap();
    for _ in 0..10 {
        if engine.submit(&Moved { cents: 1 }).key(Key(1)).wait().is_err() {
            break;
        }
    }
    until(&engine, "post", |health| health == Health::Dead);
    let error = engine.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    let message = error.to_string();
    assert!(message.contains("leaf `post`") && message.contains("cannot deliver seq 5"), "{message}");
}

/// Others do not feel a slow stage: not on a thread of its own, and not much on one that they share.
#[test]
fn a_flow_beside_a_slow_stage_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let applied = Arc::new(AtomicU64::new(0));
    let flow = Flow::named("beside")
        .stage("slow", Slow(Duration::from_millis(5)))
        .on::<Moved>()
        .stage("quick", Quick(applied.clone()))
        .on::<Moved>()
        .build()
        .unwrap();
    let engine = Engine::open(options(dir.path()), flow).unwrap();
    for _ in 0..1_000 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    // The slow one needs five seconds for them. They share one thread, and take turns.
    let begun = Instant::now();
    while applied.load(Ordering::Relaxed) < 1_000 {
        assert!(begun.elapsed() < Duration::from_secs(4), "{applied:?} of 1000");
        yield_now();
    }
    let slow = engine.workers().into_iter().find(|worker| worker.name == "slow").unwrap();
    assert!(slow.cursor < Seq(900), "{slow:?}");
}

/// What a stage has done makes room at once: the order does not find out when it happens to look again.
#[test]
fn a_full_window_is_looked_at_with_each_event_of_a_slow_stage() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Slow(Duration::from_millis(4));
    let flow = Flow::named("slow").stage("slow", slow).on::<Moved>().build().unwrap();
    let mut options = options(dir.path());
    options.order.window_events = 8;
    let engine = Engine::open(options, flow).unwrap();
    for _ in 0..100 {
        engine.submit(&Moved { cents: 1 }).key(Key(1)).send().unwrap();
    }
    let batches_at = |seq: u64| {
        while engine.workers()[0].cursor < Seq(seq) {
            assert!(engine.failure().is_none());
            yield_now();
        }
        engine.metrics().batches
    };
    // The first turns are longer: nobody knows yet how slow it is.
    let before = batches_at(20);
    let batches = batches_at(80) - before;
    assert!(
        batches >= 30,
        "{batches} batches for 60 events: six at a time are let in, and then none for a while"
    );
}

struct Quick(Arc<AtomicU64>);

impl Stage for Quick {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, _: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn states_are_there_after_a_group_was_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path()), flow(Count::default(), Notes::default())).unwrap();
    deposit(&engine, 10);
    engine.crash("count");
    until(&engine, "count", |health| health == Health::Live);
    until_applied(&engine);
    assert_eq!(reached(&engine), 10);
}
