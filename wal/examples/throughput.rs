//! What the log costs above the disk: streaming throughput, and the time of a single acknowledgement beside the
//! bare floor of the device, measured in turn.
//!
//! ```sh
//! cargo run --release -p downbeat-wal --example throughput -- [directory] [uring|blocking]
//! ```
#![allow(clippy::print_stdout, reason = "a report is printed")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::{Batch, Fields, Timestamp};
use downbeat_wal::probe::{self, Floor, Latency};
use downbeat_wal::{BackendChoice, Log, Options};

const STREAM_BYTES: u64 = 2 << 30;
const SINGLES: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let backend = match arguments.next().as_deref() {
        None => BackendChoice::Auto,
        Some("uring") => BackendChoice::Uring,
        Some("blocking") => BackendChoice::Blocking,
        Some(other) => return Err(format!("no backend is called {other}").into()),
    };
    let facts = probe::facts(&dir)?;
    println!(
        "{}, O_DIRECT {}, write cache {:?}, FUA {:?}",
        facts.filesystem, facts.direct, facts.write_cache, facts.fua
    );
    println!("zero-filled 4 KiB RWF_DSYNC  {}", probe::disk_floor(&dir, 500)?);
    println!("only reserved                {}", probe::unwritten_floor(&dir, 250)?);
    for (batch_bytes, payload) in [(64 << 10, 64), (256 << 10, 64), (256 << 10, 256)] {
        stream(&dir, backend.clone(), batch_bytes, payload)?;
    }
    single(&dir, backend)
}

fn with_log(
    dir: &Path,
    options: impl FnOnce(Options) -> Options,
    run: impl FnOnce(&mut Log) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let dir = dir.join(format!("downbeat-throughput-{}", std::process::id()));
    let (mut log, _) = Log::open(&options(Options::new(&dir)), |_| Ok(()))?;
    let outcome = run(&mut log);
    drop(log);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

/// Batches are refilled as they come back, the way a sequencer does it.
fn stream(dir: &Path, backend: BackendChoice, batch_bytes: usize, len: usize) -> Result<(), Box<dyn Error>> {
    // Enough segments are ready that the stream never waits for one; the pool refills at its usual pace beside it.
    let spare_segments = (STREAM_BYTES >> 26) as usize + 2;
    let settings = |options| Options { backend, batch_bytes, spare_segments, ..options };
    with_log(dir, settings, |log| {
        let mut batches: Vec<_> =
            (0..16).map(|index| Arc::new(Batch::with_capacity(batch_bytes, index))).collect();
        let registered = log.register(&batches);
        let payload = vec![0x5a; len];
        let fields = Fields::default();
        while log_is_filling(log) {
            log.wait(Some(Duration::from_secs(1)))?;
        }
        let (mut written, mut events, mut slot, mut time) = (0u64, 0u64, 0, 1u64);
        let begun = Instant::now();
        while written < STREAM_BYTES {
            log.poll()?;
            if log.in_flight() >= 8 || Arc::get_mut(&mut batches[slot]).is_none() || log.ready().is_err() {
                log.wait(None)?;
                continue;
            }
            let batch = Arc::get_mut(&mut batches[slot]).expect("it is unique");
            batch.open(log.next_seq());
            while batch.push(&fields, Timestamp(time), &payload).is_ok() {
                time += 1;
            }
            events += u64::from(batch.count());
            written += batch.padded_len() as u64;
            log.append(&mut batches[slot])?;
            slot = (slot + 1) % batches.len();
        }
        log.drain()?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{} stream, {len}-byte events, {:>3} KiB batches, registered {registered}: {:.1} M durable events/s, {:.2} GB/s",
            log.backend(),
            batch_bytes >> 10,
            events as f64 / seconds / 1e6,
            written as f64 / seconds / 1e9,
        );
        Ok(())
    })
}

fn log_is_filling(log: &Log) -> bool {
    log.spare_segments() < (STREAM_BYTES >> 26) as usize + 1
}

/// One event, one acknowledgement, one bare write, in turn.
fn single(dir: &Path, backend: BackendChoice) -> Result<(), Box<dyn Error>> {
    with_log(
        dir,
        |options| Options { backend, ..options },
        |log| {
            let mut floor = Floor::new(dir, true)?;
            let mut batches = vec![Arc::new(Batch::with_capacity(64 << 10, 0))];
            log.register(&batches);
            let (mut acks, mut bare) = (Vec::new(), Vec::new());
            for time in 1..=SINGLES as u64 {
                bare.push(floor.measure()?);
                let begun = Instant::now();
                let batch = Arc::get_mut(&mut batches[0]).expect("it is unique");
                batch.open(log.next_seq());
                batch.push(&Fields::default(), Timestamp(time), &[7; 64]).expect("it fits");
                let seq = batch.first_seq();
                log.append(&mut batches[0])?;
                while log.poll()?.seq < seq {
                    log.wait(None)?;
                }
                acks.push(begun.elapsed());
            }
            let (acks, bare) = (Latency::of(&mut acks).expect("some"), Latency::of(&mut bare).expect("some"));
            println!("single ack, {}: {acks}", log.backend());
            println!("bare floor, in turn: {bare}");
            println!(
                "ratio p50 {:.2}, p99 {:.2}",
                acks.p50.as_secs_f64() / bare.p50.as_secs_f64(),
                acks.p99.as_secs_f64() / bare.p99.as_secs_f64()
            );
            Ok(())
        },
    )
}
