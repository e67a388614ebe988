//! What reading a log costs beside a bare read of the same files: the reader, recovery, verification and replay, in
//! turn, round after round.
//!
//! ```sh
//! cargo run --release -p downbeat-audit --example reading -- DIRECTORY [EVENTS] [ROUNDS]
//! ```
//!
//! Writes two logs of `EVENTS` events of 64 bytes into the directory, unless they are there: one of a flow with one
//! stage, one of a flow with five. The bare read goes over the same bytes of the same segments, `O_DIRECT`, in pieces
//! of 1 MiB, with one and with four of them in flight.
#![allow(clippy::print_stdout, reason = "a report is printed")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use downbeat::{Context, Engine, Event, Flow, Key, Nothing, Options, Out, Reject, Stage};
use downbeat_audit::{ReplayOptions, VerifyOptions, replay, verify};
use downbeat_record::{AlignedBuf, Timestamp};
use downbeat_wal::storage::disk::{Disk, DiskQueue};
use downbeat_wal::storage::{Access, File, Storage};
use downbeat_wal::{Log, ReadOptions, Reader, Trust, names};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PIECE: usize = 1 << 20;
const KEYS: u64 = 4_096;

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "reading.Posted", version = 1, crate = downbeat::record)]
struct Posted {
    cents: i64,
    number: u64,
    detail: [u64; 6],
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "reading.Step", version = 1, crate = downbeat::record)]
struct Step {
    known: u64,
    cents: i64,
}

/// One sum per key.
struct Sum;

impl Stage for Sum {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, sum: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if let Some(posted) = event.event::<Posted>()? {
            *sum = sum.wrapping_mul(31).wrapping_add(posted.cents.to_native() as u64);
        }
        Ok(())
    }
}

/// Reads the event, or what stages before it sent, and sends a step.
struct Pass(&'static [&'static str]);

impl Stage for Pass {
    type State = u64;
    type Output = Step;

    fn apply(&self, sum: &mut u64, event: &Context<'_>, out: &mut Out<'_, Step>) -> Result<(), Reject> {
        let mut mixed = 0u64;
        for from in self.0 {
            if let Some(step) = event.input_from::<Step>(from)? {
                mixed = mixed.wrapping_mul(17).wrapping_add(step.known.to_native());
            }
        }
        if self.0.is_empty()
            && let Some(posted) = event.event::<Posted>()?
        {
            mixed = posted.cents.to_native() as u64;
        }
        *sum = sum.wrapping_mul(31).wrapping_add(mixed);
        out.send(&Step { known: *sum, cents: mixed as i64 })
    }
}

fn one() -> Outcome<Flow> {
    Ok(Flow::named("one").stage("sum", Sum).on::<Posted>().build()?)
}

/// The form of the benches' flow: a fork, a join, and two behind it.
fn five() -> Outcome<Flow> {
    let flow = Flow::named("five");
    let flow = flow.stage("ledger", Pass(&[])).on::<Posted>().group("five");
    let flow = flow.stage("velocity", Pass(&[])).on::<Posted>().group("five");
    let both = ["ledger", "velocity"];
    let flow = flow.stage("risk", Pass(&["ledger", "velocity"])).after(both).group("five");
    let flow = flow.stage("limit", Pass(&["risk"])).after(["risk"]).group("five");
    Ok(flow.stage("report", Pass(&["limit"])).after(["limit"]).group("five").build()?)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("reading DIRECTORY [EVENTS] [ROUNDS]")?);
    let events: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let (simple, long) = (dir.join("one"), dir.join("five"));
    for (dir, flow) in [(&simple, one()?), (&long, five()?)] {
        if !dir.exists() {
            write(dir, flow, events)?;
        }
    }
    let used = used(&simple)?;
    let bytes: u64 = used.iter().map(|(_, bytes)| bytes).sum();
    println!("{events} events, {bytes} bytes of batches in {} segments", used.len());
    let mut cells = vec![
        Cell::new("bare, 1 in flight", Unit::Bytes, || bare(&simple, &used, 1)),
        Cell::new("bare, 4 in flight", Unit::Bytes, || bare(&simple, &used, 4)),
        Cell::new("reader, CRC and chain", Unit::Bytes, || read(&simple, true)),
        Cell::new("reader, CRC", Unit::Bytes, || read(&simple, false)),
        Cell::new("recovery, closed log", Unit::Bytes, || recover(&simple, false)),
        Cell::new("recovery, log that was not closed", Unit::Bytes, || recover(&simple, true)),
        Cell::new("verify, without payloads", Unit::Bytes, || verified(&simple, false)),
        Cell::new("verify", Unit::Bytes, || verified(&simple, true)),
        Cell::new("replay, one stage", Unit::Events, || replayed(&simple, &one()?)),
        Cell::new("replay, five stages", Unit::Events, || replayed(&long, &five()?)),
    ];
    for _ in 0..rounds {
        for cell in &mut cells {
            let begun = Instant::now();
            (cell.run)()?;
            cell.times.push(begun.elapsed());
        }
    }
    for cell in &mut cells {
        cell.times.sort();
        let (least, median, most) = (cell.times[0], cell.times[rounds / 2], cell.times[rounds - 1]);
        let rate = |time: Duration| match cell.unit {
            Unit::Bytes => bytes as f64 / time.as_secs_f64() / 1e9,
            Unit::Events => events as f64 / time.as_secs_f64() / 1e6,
        };
        let unit = if cell.unit == Unit::Bytes { "GB/s" } else { "M events/s" };
        println!(
            "{:<34} {:>6.2} {unit} ({:.2}-{:.2}), {:.3} s",
            cell.name,
            rate(median),
            rate(most),
            rate(least),
            median.as_secs_f64()
        );
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Events,
}

/// Something that is measured, and how long it took.
struct Cell<'a> {
    name: &'static str,
    unit: Unit,
    run: Box<dyn FnMut() -> Outcome<()> + 'a>,
    times: Vec<Duration>,
}

impl<'a> Cell<'a> {
    fn new(name: &'static str, unit: Unit, run: impl FnMut() -> Outcome<()> + 'a) -> Self {
        Self { name, unit, run: Box::new(run), times: Vec::new() }
    }
}

fn write(dir: &Path, flow: Flow, events: u64) -> Outcome<()> {
    let engine = Engine::open(Options::new(dir), flow)?;
    for number in 0..events {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let posted = Posted { cents: (mixed >> 8 & 0xffff) as i64, number, detail: [mixed; 6] };
        engine.submit(&posted).key(Key((mixed >> 40) % KEYS + 1)).send()?;
    }
    engine.close()?;
    Ok(())
}

/// The segments with batches, and how many bytes of each are in use.
fn used(dir: &Path) -> Outcome<Vec<(String, u64)>> {
    let mut used: Vec<(String, u64)> = Vec::new();
    for located in Reader::open(dir)?.batches() {
        let located = located?;
        let name = located.path.file_name().and_then(|name| name.to_str()).ok_or("a name")?;
        let end = located.offset + located.batch.padded_len() as u64;
        match used.last_mut() {
            Some((last, bytes)) if last == name => *bytes = end,
            _ => used.push((name.to_owned(), end)),
        }
    }
    assert!(used.iter().all(|(name, _)| names::parse_segment(name).is_some()));
    Ok(used)
}

fn bare(dir: &Path, used: &[(String, u64)], depth: u64) -> Outcome<()> {
    let disk = Disk::open(dir, false, DiskQueue::Blocking)?;
    for (name, bytes) in used {
        let file = &disk.open(name, Access::Read)?;
        thread::scope(|scope| {
            let ways: Vec<_> =
                (0..depth).map(|way| scope.spawn(move || pieces(file, way, depth, *bytes))).collect();
            ways.into_iter().try_for_each(|way| way.join().expect("a read does not panic"))
        })?;
    }
    Ok(())
}

fn pieces(file: &Arc<dyn File>, way: u64, ways: u64, bytes: u64) -> std::io::Result<()> {
    let mut buf = AlignedBuf::zeroed(PIECE);
    for offset in (way * PIECE as u64..bytes).step_by(ways as usize * PIECE) {
        file.read_at(&mut buf, offset)?;
    }
    Ok(())
}

fn read(dir: &Path, verify_chain: bool) -> Outcome<()> {
    let options = ReadOptions { verify_chain, trust: Trust::Everything, ..ReadOptions::default() };
    Reader::open_with(dir, options)?.batches().try_for_each(|located| located.map(drop))?;
    Ok(())
}

/// Opens the log for writing, and leaves it closed or not: what the next recovery finds.
fn recover(dir: &Path, close: bool) -> Outcome<()> {
    let (log, recovered) = Log::open(&downbeat_wal::Options::new(dir), |_| Ok(()))?;
    if close {
        log.close(Timestamp(recovered.last_timestamp.0 + 1))?;
    }
    Ok(())
}

fn verified(dir: &Path, payloads: bool) -> Outcome<()> {
    verify(dir, VerifyOptions { payloads }, |_| {})?;
    Ok(())
}

fn replayed(dir: &Path, flow: &Flow) -> Outcome<()> {
    replay(dir, flow, ReplayOptions::default(), |_| {})?;
    Ok(())
}
