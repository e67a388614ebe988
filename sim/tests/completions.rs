//! What the queue of the disk says of how operations ended: late, in any order, twice, never.

#[path = "common/log.rs"]
mod common;

use common::{ALWAYS, cut_power, disk, open, write};
use downbeat_sim::{Fault, Odds};

/// Found by the simulator: the end of a sync that came twice was taken for the end of the next sync, and the end of a
/// write that came twice was a panic.
#[test]
fn an_end_that_is_told_twice_acknowledges_nothing() {
    let mut told = 0;
    for seed in 0..200 {
        let mut odds = Odds::NONE;
        odds.set(Fault::Doubled, ALWAYS / 8);
        odds.set(Fault::Late, ALWAYS / 2);
        odds.set(Fault::ShortWrite, ALWAYS / 8);
        let disk = disk(seed, odds);
        let (mut log, _, _) = open(&disk).unwrap();
        let (durable, error) = write(&mut log, &disk, 60);
        told += u64::from(error.is_some_and(|error| error.to_string().contains("told twice")));
        cut_power(&disk, Some(log));
        let (_, _, left) = open(&disk).unwrap();
        assert!(left >= durable.0, "seed {seed}: {durable} was durable, {left} are left");
    }
    assert!(told > 100, "only {told} logs were told something twice");
}

/// An end that never comes stops the watermark, and nothing else: it is not taken from another operation.
#[test]
fn an_end_that_never_comes_stops_the_watermark() {
    let mut stopped = 0;
    for seed in 0..100 {
        let mut odds = Odds::NONE;
        odds.set(Fault::Unheard, ALWAYS / 16);
        odds.set(Fault::Late, ALWAYS / 2);
        odds.set(Fault::Reordered, ALWAYS / 2);
        let disk = disk(seed, odds);
        let (mut log, _, _) = open(&disk).unwrap();
        let (durable, _) = write(&mut log, &disk, 60);
        if disk.injected().of(Fault::Unheard) > 0 {
            assert!(durable.next() < log.next_seq(), "seed {seed}: {durable} is durable");
            stopped += 1;
        }
        cut_power(&disk, Some(log));
        let (_, _, left) = open(&disk).unwrap();
        assert!(left >= durable.0, "seed {seed}: {durable} was durable, {left} are left");
    }
    assert!(stopped > 50, "only {stopped} logs missed an end");
}
