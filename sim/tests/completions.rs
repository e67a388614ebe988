//! What the queue of the disk says of how operations ended: late, in any order, twice, never.

use std::sync::Arc;

use downbeat_record::{Batch, Fields, Seq, Timestamp};
use downbeat_sim::{Disk, Fault, Odds};
use downbeat_wal::{BackendChoice, Log, LogError, Options};
use fastrand::Rng;

const ALWAYS: u32 = 1 << 20;

fn options(disk: &Disk) -> Options {
    let backend = BackendChoice::Storage(Arc::new(disk.clone()));
    Options { segment_bytes: 1 << 18, batch_bytes: 16 << 10, depth: 4, backend, ..Options::new("sim:") }
}

fn append(log: &mut Log, bytes: usize) -> Result<(), LogError> {
    let mut batch = Batch::with_capacity(16 << 10, 0);
    let seq = log.next_seq();
    batch.open(seq);
    batch.push(&Fields::default(), Timestamp(seq.0), &vec![seq.0 as u8; bytes]).expect("it fits");
    log.append(&mut Arc::new(batch)).map(drop)
}

/// Appends and polls until `end` or an error; says how far the log was durable before.
fn write(log: &mut Log, disk: &Disk, end: u64) -> (Seq, Option<LogError>) {
    let mut durable = Seq::ZERO;
    for number in 0..end {
        let outcome = append(log, 100 + number as usize * 37 % 9_000).and_then(|()| {
            disk.step();
            log.poll()
        });
        match outcome {
            Ok(reached) => durable = reached.seq,
            Err(error) => return (durable, Some(error)),
        }
    }
    (durable, None)
}

/// How many events a log holds after a power cut.
fn after_a_power_cut(disk: &Disk, log: Log) -> u64 {
    disk.calm();
    disk.light_fuse(0);
    let _ = disk_is_dead(disk);
    drop(log);
    disk.restart();
    let mut events = 0;
    let opened = Log::open(&options(disk), |batch| {
        events += u64::from(batch.count());
        Ok(())
    });
    assert!(opened.is_ok(), "{:?}", opened.err());
    events
}

fn disk_is_dead(disk: &Disk) -> std::io::Result<()> {
    downbeat_wal::storage::Storage::sync_dir(disk)
}

/// Found by the simulator: the end of a sync that came twice was taken for the end of the next sync, and what that one
/// had not reached was called durable; the end of a write that came twice was a panic.
#[test]
fn an_end_that_is_told_twice_acknowledges_nothing() {
    let mut told = 0;
    for seed in 0..200 {
        let mut odds = Odds::NONE;
        odds.set(Fault::Doubled, ALWAYS / 8);
        odds.set(Fault::Late, ALWAYS / 2);
        odds.set(Fault::ShortWrite, ALWAYS / 8);
        let disk = Disk::new(Rng::with_seed(seed), odds);
        let Ok((mut log, _)) = Log::open(&options(&disk), |_| Ok(())) else { panic!("a new log opens") };
        let (durable, error) = write(&mut log, &disk, 60);
        told += u64::from(error.is_some_and(|error| error.to_string().contains("told twice")));
        let left = after_a_power_cut(&disk, log);
        assert!(left >= durable.0, "seed {seed}: {durable} was durable, {left} are left");
    }
    assert!(told > 100, "only {told} logs were told something twice");
}
