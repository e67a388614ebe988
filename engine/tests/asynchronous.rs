//! Tasks: they wait for room, for receipts and for events without a thread, and are told when there will be none.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Count, Moved, Notes, OpenAtTheEnd, flow, open, options, total, until_full};
use downbeat::{Engine, ErrorKind, Event, Key, Seq};
use downbeat_wal::Memory;
use downbeat_wal::storage::memory::{Fault, Outcome, Step};
use tokio::time::timeout;

/// Nothing here takes a second.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_find_no_room_wait_for_it_and_those_that_go_away_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let count = Count::default();
    let mut options = options(dir.path());
    options.order.window_events = 1_000;
    options.order.ring_bytes = 64 << 10;
    let engine = Arc::new(Engine::open(options, flow(count.clone(), Notes::default())).unwrap());
    count.gate.close();
    let _open = OpenAtTheEnd(count.gate.clone());
    let (accepted, _) = until_full(&engine);

    for _ in 0..10 {
        tokio::select! {
            biased;
            receipt = engine.submit(&Moved { cents: 100 }).key(Key(1)) => panic!("there is no room: {receipt:?}"),
            () = std::future::ready(()) => {}
        }
    }
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.submit(&Moved { cents: 100 }).key(Key(n % 10 + 1)).await })
        })
        .collect();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let waiting = tasks.iter().filter(|task| !task.is_finished()).count();
    count.gate.open();
    assert_eq!(waiting, 500);
    let mut seqs = Vec::new();
    for task in tasks {
        let receipt = timeout(DEADLINE, task).await.expect("who waits for room is woken");
        seqs.push(receipt.unwrap().unwrap().seq);
    }
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 500);
    engine.close().unwrap();
    drop(engine);
    assert_eq!(total(&open(dir.path())), (accepted + 500) * 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_awaited_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut events = engine.subscribe(Seq(1));
    let reader = tokio::spawn(async move {
        let (mut next, mut causes) = (Seq(1), Vec::new());
        while let Some(event) = events.next().await.unwrap() {
            assert_eq!((event.seq(), events.next_seq()), (next, next.next()));
            next = next.next();
            causes.push(event.record().fields.causation);
        }
        (next, causes)
    });
    let mut cause = Seq::ZERO;
    for _ in 0..200 {
        cause = engine.submit(&Moved { cents: 0 }).key(Key(1)).causation(cause).await.unwrap().seq;
    }
    engine.close().unwrap();
    let (next, causes) = timeout(DEADLINE, reader).await.expect("there is an end").unwrap();
    assert_eq!(next, engine.last_seq().next());
    assert_eq!(causes, (0..200).map(Seq).collect::<Vec<_>>());
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Unheard", version = 1, crate = downbeat::record)]
struct Unheard;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_when_the_engine_fails() {
    let memory = Memory::new();
    let mut options = options(Path::new("memory"));
    options.log = downbeat_wal::Options::in_memory(&memory);
    let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
    let undeclared = engine.submit(&Unheard).await.unwrap_err();
    assert_eq!(undeclared.kind(), ErrorKind::Invalid);
    assert!(undeclared.to_string().contains("`bank.Unheard` v1 is not declared"), "{undeclared}");

    engine.submit(&Moved { cents: 1 }).key(Key(1)).await.unwrap();
    let mut events = engine.subscribe(Seq(1));
    assert_eq!(events.next().await.unwrap().map(|event| event.seq()), Some(Seq(1)));
    let waiting =
        tokio::spawn(async move { events.next().await.map(|event| event.map(|event| event.seq())) });
    memory.fail(Fault { step: Step::Sync, after: 0, times: 1, outcome: Outcome::Errno(5) });
    let failed = engine.submit(&Moved { cents: 1 }).key(Key(1)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Poisoned, "{failed}");
    let told = timeout(DEADLINE, waiting).await.expect("who waits is woken").unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Poisoned, "{told}");
    let refused = engine.submit(&Moved { cents: 1 }).key(Key(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
}
