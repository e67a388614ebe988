//! A log on the simulated disk, without a world around it: written until something happens, and opened again.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use downbeat_record::{Batch, Fields, Seq, Timestamp};
use downbeat_sim::{Disk, Odds};
use downbeat_wal::storage::Storage;
use downbeat_wal::{BackendChoice, Log, LogError, OpenError, Options, Recovered};
use fastrand::Rng;

pub const ALWAYS: u32 = 1 << 20;

pub fn disk(seed: u64, odds: Odds) -> Disk {
    Disk::new(Rng::with_seed(seed), odds)
}

pub fn options(disk: &Disk) -> Options {
    let backend = BackendChoice::Storage(Arc::new(disk.clone()));
    Options { segment_bytes: 80 << 10, batch_bytes: 16 << 10, depth: 4, backend, ..Options::new("sim:") }
}

/// The payload of the event at this seq: many lengths, and bytes that follow from the seq.
pub fn payload(seq: u64) -> Vec<u8> {
    let mut bytes = seq.to_le_bytes().to_vec();
    bytes.resize(8 + seq as usize * 617 % 9_000, seq as u8);
    bytes
}

pub fn append(log: &mut Log) -> Result<(), LogError> {
    let seq = log.next_seq();
    let mut batch = Batch::with_capacity(16 << 10, 0);
    batch.open(seq);
    batch.push(&Fields::default(), Timestamp(seq.0), &payload(seq.0)).expect("it fits");
    log.append(&mut Arc::new(batch)).map(drop)
}

/// Appends and polls so often, or until an error; says how far the log was durable before.
pub fn write(log: &mut Log, disk: &Disk, times: u64) -> (Seq, Option<LogError>) {
    let mut durable = log.durable().seq;
    for _ in 0..times {
        if log.ready().is_err_and(|error| error.is_temporary()) {
            continue;
        }
        let outcome = append(log).and_then(|()| {
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

/// Cuts the power; nothing fails from here on.
pub fn cut_power(disk: &Disk, log: Option<Log>) {
    disk.calm();
    disk.light_fuse(0);
    assert!(disk.sync_dir().is_err(), "there is no power");
    drop(log);
    disk.restart();
}

/// Opens the log and says how many events it holds, each with the payload of its seq.
pub fn open(disk: &Disk) -> Result<(Log, Recovered, u64), OpenError> {
    let mut events = 0;
    let (log, recovered) = Log::open(&options(disk), |batch| {
        for record in batch.records() {
            events += 1;
            assert_eq!(record.seq, Seq(events), "seqs are dense");
            assert_eq!(record.payload().bytes(), payload(events), "event {events}");
        }
        Ok(())
    })?;
    Ok((log, recovered, events))
}
