//! A flow that joins, emits and rejects, and logs written by a real engine.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat::record::{
    BLOCK, Batch, BatchHeader, BatchKind, Checkpoint, Fields, Record, Seq, Stamp, Timestamp,
};
use downbeat::{
    BackendChoice, Context, Engine, Event, Flow, Key, Nothing, Options, Out, Reject, Shaped, Stage,
};
use downbeat_audit::{AuditError, Verified, VerifyOptions, verify};
use downbeat_wal::{Log, ReadOptions, Reader, Trust};

#[derive(Clone, Copy, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[shaped(crate = downbeat::record)]
pub enum Channel {
    Branch,
    Online { country: [u8; 2] },
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Moved", version = 1, crate = downbeat::record)]
pub struct Moved {
    pub cents: i64,
    pub memo: String,
    pub channel: Channel,
    pub tags: Vec<String>,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Reached", version = 1, crate = downbeat::record)]
pub struct Reached {
    pub balance: i64,
}

/// One balance per account; `factor` is what other code would do otherwise.
pub struct Balance {
    pub factor: i64,
}

impl Stage for Balance {
    type State = i64;
    type Output = Reached;

    fn apply(
        &self,
        balance: &mut i64,
        event: &Context<'_>,
        out: &mut Out<'_, Reached>,
    ) -> Result<(), Reject> {
        let Some(moved) = event.event::<Moved>()? else { return Ok(()) };
        let before = *balance;
        *balance += moved.cents.to_native() * self.factor;
        if *balance < 0 {
            return Err(Reject::new("overdrawn"));
        }
        if *balance / 100 > before / 100 {
            out.send(&Reached { balance: *balance })?;
            out.emit(&Reached { balance: *balance })?;
        }
        Ok(())
    }
}

pub struct Count;

impl Stage for Count {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *count += u64::from(event.input::<Reached>()?.is_some());
        Ok(())
    }
}

pub fn flow(factor: i64) -> Flow {
    Flow::named("bank")
        .stage("balance", Balance { factor })
        .on::<Moved>()
        .emits::<Reached>()
        .stage("count", Count)
        .global()
        .after(["balance"])
        .build()
        .expect("the flow is sound")
}

pub fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.log.segment_bytes = 1 << 20;
    options.log.spare_segments = 3;
    options.order.batch_bytes = 16 << 10;
    options.actors.checkpoint_interval = 500;
    options
}

/// Writes `events` events in `lives` lives of the engine.
pub fn write(dir: &Path, events: u64, lives: u64) {
    for life in 0..lives {
        let mut options = options(dir);
        // A long log needs no digests as close together as a short one.
        options.actors.checkpoint_interval *= events / 8_000 * 8 + 1;
        let engine = Engine::open(options, flow(1)).expect("the engine opens");
        for n in 0..events / lives {
            let moved = Moved {
                cents: if n % 41 == 40 { -100_000 } else { (n % 90) as i64 },
                memo: format!("movement {n} of life {life}"),
                channel: if n % 2 == 0 { Channel::Branch } else { Channel::Online { country: *b"NL" } },
                tags: (0..n % 3).map(|tag| format!("tag {tag}")).collect(),
            };
            engine.submit(&moved).key(Key(n % 7 + 1)).send().expect("there is room");
        }
        engine.close().expect("the engine closes");
    }
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).expect("the directory is there");
    let mut names: Vec<PathBuf> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    names.sort();
    names
}

/// The segment files of a log with their bytes.
pub fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a segment can be read"));
    segments(dir).into_iter().map(read).collect()
}

/// Where the batches of a segment begin, and at the end where the last of them ends.
pub fn starts(segment: &[u8]) -> Vec<usize> {
    let mut starts = vec![BLOCK];
    let mut at = BLOCK;
    while let Ok(header) = BatchHeader::parse(&segment[at.min(segment.len())..]) {
        at += header.padded_len();
        starts.push(at);
    }
    starts
}

/// Verifies without decoding payloads: what most tests of bytes need.
pub fn check(dir: &Path) -> Result<Verified, AuditError> {
    verify(dir, VerifyOptions { payloads: false }, |_| {})
}

/// The bytes of a batch, sealed again under another stamp.
pub fn resealed(mut batch: Batch, header: &BatchHeader, change: impl FnOnce(&mut Stamp)) -> Vec<u8> {
    let mut stamp = Stamp {
        batch_no: header.batch_no(),
        epoch: header.epoch(),
        salt: header.salt(),
        prev_root: header.prev_root(),
        durable: header.durable(),
        clock_error_ns: header.clock_error_ns(),
    };
    change(&mut stamp);
    batch.seal(&stamp);
    batch.bytes().to_vec()
}

/// An event outside of a log.
#[derive(Clone)]
pub struct Loose {
    pub seq: Seq,
    pub fields: Fields,
    pub timestamp: Timestamp,
    pub payload: Vec<u8>,
}

/// Writes a log anew in `target`, with every link and checksum true: `edit` may change its events (`None` leaves
/// out the rest of the log) and `control` its checkpoints. Closed at the end if `close`.
pub fn forge(
    source: &Path,
    target: &Path,
    close: bool,
    mut edit: impl FnMut(Loose) -> Option<Loose>,
    mut control: impl FnMut(Checkpoint) -> Option<Checkpoint>,
) {
    let options = downbeat_wal::Options {
        segment_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        backend: BackendChoice::Blocking,
        ..downbeat_wal::Options::new(target)
    };
    let (mut log, _) = Log::open(&options, |_| Ok(())).expect("a new log opens");
    let ready = |log: &mut Log| {
        while log.ready().is_err() {
            log.wait(Some(std::time::Duration::from_secs(10))).expect("the log goes on");
        }
    };
    let mut reader =
        Reader::open_with(source, ReadOptions { trust: Trust::Everything, ..Default::default() })
            .expect("there is a log");
    let (mut contracts, mut last) = (Vec::new(), Seq::ZERO);
    'batches: while let Some(located) = reader.next_batch().expect("the log holds") {
        let batch = &located.batch;
        ready(&mut log);
        match batch.kind() {
            BatchKind::Contracts if contracts != batch.body() => {
                contracts = batch.body().to_vec();
                log.append_control(BatchKind::Contracts, batch.timestamp(), batch.body()).expect("room");
            }
            BatchKind::Checkpoint => {
                let checkpoint = Checkpoint::from_json(batch.body()).expect("a checkpoint");
                if let Some(checkpoint) = control(checkpoint).filter(|checkpoint| checkpoint.seq <= last) {
                    let body = checkpoint.to_json();
                    log.append_control(BatchKind::Checkpoint, batch.timestamp(), &body).expect("room");
                }
            }
            BatchKind::Data => {
                let mut copy = Batch::with_capacity(64 << 10, u16::MAX);
                copy.open(last.next());
                let mut ended = false;
                for record in batch.records() {
                    let Record { seq, timestamp, fields, .. } = record;
                    let payload = record.payload().bytes().to_vec();
                    let Some(event) = edit(Loose { seq, fields, timestamp, payload }) else {
                        ended = true;
                        break;
                    };
                    last = copy.push(&event.fields, event.timestamp, &event.payload).expect("it fits");
                }
                if !copy.is_empty() {
                    log.append(&mut Arc::new(copy)).expect("room");
                }
                if ended {
                    break 'batches;
                }
            }
            _ => {}
        }
    }
    // What is behind the end of the events may still say something about them.
    while let Ok(Some(located)) = reader.next_batch() {
        if located.batch.kind() != BatchKind::Checkpoint {
            continue;
        }
        let checkpoint = Checkpoint::from_json(located.batch.body()).expect("a checkpoint");
        if let Some(checkpoint) = control(checkpoint).filter(|checkpoint| checkpoint.seq <= last) {
            let body = checkpoint.to_json();
            log.append_control(BatchKind::Checkpoint, located.batch.timestamp(), &body).expect("room");
        }
    }
    log.drain().expect("it becomes durable");
    if close {
        log.close(Timestamp(u64::MAX / 2)).expect("it closes");
    }
}
