//! What is held has a bound, and what the bound costs is a second reading, never a wrong word.

use std::sync::Weak;

use downbeat_flow::{Context, Nothing, Out, Reject, Rejected, Stage};
use downbeat_record::batch::EVENT_OVERHEAD_MAX;
use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{Fields, Kind, Timestamp};

use super::*;

struct Count;

impl Stage for Count {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *count += 1;
        Ok(())
    }
}

fn flow() -> Flow {
    Flow::named("count").stage("count", Count).global().on::<Rejected>().build().expect("the flow is sound")
}

/// What each batch takes, in memory as on disk.
const BATCH: usize = 256 << 10;

/// A full batch with one event, of a type that no stage is on.
fn batch(seq: Seq) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(BATCH, 0);
    batch.open(seq);
    let fields = Fields { kind: Kind(9), ..Fields::default() };
    batch
        .push(&fields, Timestamp(seq.0), &vec![7; BATCH - BATCH_HEADER_LEN - EVENT_OVERHEAD_MAX])
        .expect("it fits");
    Arc::new(batch)
}

fn checkpoint(seq: Seq) -> Checkpoint {
    Checkpoint { seq, flow: "count".to_owned(), stages: Vec::new(), leaves: Vec::new() }
}

/// Takes batches until there are `events`; how much memory of them was held at most.
fn take(trial: &mut Trial<'_>, events: u64) -> usize {
    let (mut given, mut most): (Vec<(Weak<Batch>, usize)>, _) = (Vec::new(), 0);
    for seq in 1..=events {
        let batch = batch(Seq(seq));
        given.push((Arc::downgrade(&batch), batch.capacity()));
        trial.take(batch, &ContractTable::new(), None);
        most = most.max(given.iter().filter(|(batch, _)| batch.strong_count() > 0).map(|(_, len)| len).sum());
    }
    most
}

fn learn(trial: &mut Trial<'_>, seq: Seq, last: Seq) {
    let note = Batch::control(BatchKind::Checkpoint, last.next(), Timestamp(last.0), b"");
    trial.take(Arc::new(note), &ContractTable::new(), Some(&checkpoint(seq)));
}

fn finish(trial: &mut Trial<'_>, last: Seq) -> Option<(u64, u64)> {
    let contracts = ContractTable::new();
    let recorded = Recorded { contracts, checkpoints: Vec::new(), last, settled: false };
    trial.finish(&recorded).map(|replayed| (replayed.events, replayed.checkpoints))
}

#[test]
fn no_more_is_held_than_the_bound_and_no_less_than_it_allows() {
    let flow = flow();
    let mut trial = Trial::new(&flow, ReplayOptions::default());
    let held = take(&mut trial, 300);
    assert!(held <= HELD_BYTES_MAX, "{held} bytes are held");
    assert_eq!(trial.last(), Seq(300 - (HELD_BYTES_MAX / BATCH) as u64), "the rest waits for a checkpoint");
    assert_eq!(finish(&mut trial, Seq(300)), Some((300, 0)));
}

#[test]
fn a_checkpoint_of_the_last_event_applied_is_in_time() {
    let flow = flow();
    let mut trial = Trial::new(&flow, ReplayOptions::default());
    take(&mut trial, 300);
    let last = trial.last();
    learn(&mut trial, last, Seq(300));
    assert_eq!(finish(&mut trial, Seq(300)), Some((300, 1)));
}

#[test]
fn a_checkpoint_of_an_event_before_it_is_too_late_and_ends_the_trial() {
    let flow = flow();
    let mut trial = Trial::new(&flow, ReplayOptions::default());
    take(&mut trial, 300);
    let passed = Seq(trial.last().0 - 1);
    learn(&mut trial, passed, Seq(300));
    assert_eq!(trial.last(), Seq::ZERO, "what it knew is gone");
    assert_eq!(finish(&mut trial, Seq(300)), None);
}

#[test]
fn what_a_checkpoint_covers_is_not_held() {
    let flow = flow();
    let mut trial = Trial::new(&flow, ReplayOptions::default());
    learn(&mut trial, Seq(10), Seq(10));
    take(&mut trial, 12);
    assert_eq!((trial.last(), trial.held.len()), (Seq(10), 2));
}
