//! A leaf that is behind while the log is read again: it is told nothing before the log has shown that the code is the one which
//! wrote it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Moved, Reached, options};
use downbeat::{
    Context, Delivery, Engine, Error, ErrorKind, Flow, Key, Leaf, LeafError, Options, Out, Reject, Seq, Stage,
};

/// Passes every amount on; from a certain event on as another version of it would.
struct Passes {
    other_from: Seq,
}

impl Stage for Passes {
    type State = u64;
    type Output = Reached;

    fn apply(&self, count: &mut u64, event: &Context<'_>, out: &mut Out<'_, Reached>) -> Result<(), Reject> {
        let Some(moved) = event.event::<Moved>()? else { return Ok(()) };
        *count += 1;
        let other = i64::from(event.seq() >= self.other_from);
        out.send(&Reached { balance: moved.cents.to_native() + other })?;
        Ok(())
    }
}

/// Notes what it is told, and takes its time.
#[derive(Clone, Default)]
struct Told {
    seqs: Arc<Mutex<Vec<u64>>>,
    takes: Duration,
}

impl Leaf for Told {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        if !self.takes.is_zero() {
            std::thread::park_timeout(self.takes);
        }
        let value = delivery.value::<Reached>().map_err(|error| LeafError::new(error.to_string()))?;
        assert_eq!(value.balance.to_native(), delivery.seq.0 as i64, "what it is told");
        self.seqs.lock().unwrap().push(delivery.seq.0);
        Ok(())
    }
}

impl Told {
    fn seqs(&self) -> Vec<u64> {
        self.seqs.lock().unwrap().clone()
    }
}

/// The stage, by itself or in front of a leaf.
fn flow(other_from: Seq, leaf: Option<&Told>) -> Flow {
    let flow = Flow::named("bank").stage("passes", Passes { other_from }).on::<Moved>();
    match leaf {
        Some(leaf) => flow.leaf("told", leaf.clone()).after(["passes"]).build().unwrap(),
        None => flow.build().unwrap(),
    }
}

const SAME: Seq = Seq(u64::MAX);

fn every(dir: &Path, checkpoint_interval: u64) -> Options {
    let mut options = options(dir);
    options.actors.checkpoint_interval = checkpoint_interval;
    options
}

/// A log of so many events, written without the leaf, with a checkpoint at every so many of them and at the end.
fn log(dir: &Path, events: u64, interval: u64) {
    let engine = Engine::open(every(dir, interval), flow(SAME, None)).unwrap();
    for cents in 1..=events {
        engine.submit(&Moved { cents: cents as i64 }).key(Key(cents % 7)).send().unwrap();
    }
    engine.close().unwrap();
}

/// Opens the log with the leaf and closes it once all is delivered.
fn open(options: Options, other_from: Seq, leaf: &Told) -> Result<(), Error> {
    Engine::open(options, flow(other_from, Some(leaf)))?.close()
}

#[test]
fn code_that_is_refused_has_had_no_effect_after_the_last_checkpoint_that_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 1_000, 100);
    for (other_from, told) in [(Seq(250), 200), (Seq(1), 0), (Seq(300), 200), (Seq(1_000), 900)] {
        let leaf = Told::default();
        let error = open(every(dir.path(), 100), other_from, &leaf).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
        assert!(leaf.seqs().len() <= told, "{} deliveries, other from {other_from}", leaf.seqs().len());
    }
    let leaf = Told::default();
    open(every(dir.path(), 100), SAME, &leaf).unwrap();
    assert_eq!(leaf.seqs(), (1..=1_000).collect::<Vec<_>>());
}

/// Between two checkpoints there is more than a lane holds.
#[test]
fn a_leaf_gets_all_in_order_however_far_checkpoints_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 30_000, 14_000);
    let leaf = Told::default();
    let mut enough = every(dir.path(), 14_000);
    enough.actors.backlog_bytes = 14_000 * 128;
    open(enough, SAME, &leaf).unwrap();
    assert_eq!(leaf.seqs(), (1..=30_000).collect::<Vec<_>>());
}

/// Nothing could ever say what the code should have given there.
#[test]
fn what_is_behind_the_last_checkpoint_is_delivered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = || every(dir.path(), 100);
    let engine = Engine::open(options(), flow(SAME, None)).unwrap();
    for cents in 1..=250 {
        engine.submit(&Moved { cents }).key(Key(1)).wait().unwrap();
    }
    // A checkpoint at its end would be written by `close`.
    drop(engine);
    let leaf = Told::default();
    let engine = Engine::open(options(), flow(SAME, Some(&leaf))).unwrap();
    assert!(engine.checkpoint().is_some_and(|last| last.seq < Seq(250)), "{:?}", engine.checkpoint());
    let begun = Instant::now();
    while leaf.seqs().len() < 250 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(leaf.seqs(), (1..=250).collect::<Vec<_>>());
}

#[test]
fn what_is_held_back_for_a_checkpoint_has_a_bound_and_a_larger_one_helps() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 20_000, 20_000);
    let leaf = Told::default();
    let narrow = || {
        let mut options = every(dir.path(), 20_000);
        options.actors.backlog_bytes = 256 << 10;
        options
    };
    let error = open(narrow(), SAME, &leaf).unwrap_err().to_string();
    assert!(error.contains("leaf `told` stopped") && error.contains("`backlog_bytes`"), "{error}");
    assert_eq!(leaf.seqs(), Vec::<u64>::new());
    open(every(dir.path(), 20_000), SAME, &leaf).unwrap();
    assert_eq!(leaf.seqs().len(), 20_000);
    // What it has delivered is not held back for it.
    open(narrow(), SAME, &leaf).unwrap();
    assert_eq!(leaf.seqs().len(), 20_000);
}

/// What may be delivered stays on the lane of a slow leaf and stops the stage.
#[test]
fn what_a_slow_leaf_may_have_is_not_held_back() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), 5_000, 100);
    let leaf = Told { takes: Duration::from_micros(50), ..Told::default() };
    let mut narrow = every(dir.path(), 100);
    // A hundred events of it, and as much again.
    narrow.actors.backlog_bytes = 200 * 80;
    open(narrow, SAME, &leaf).unwrap();
    assert_eq!(leaf.seqs().len(), 5_000);
}
