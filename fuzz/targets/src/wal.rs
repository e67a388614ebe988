//! Appends, syncs, faults, power cuts and openings, against a list of events and a watermark.
//!
//! The model: what was appended is a list; what was called durable is a prefix of it that only grows. After any crash
//! the log holds a prefix of the list that is at least as long. A reader beside the writer sees such a prefix too, and
//! never more than is durable.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use downbeat_record::{BLOCK, Batch, BatchKind, Fields, Seq, Timestamp};
use downbeat_wal::storage::memory::{Fate, Fault, Outcome, Sector, Step};
use downbeat_wal::{Log, LogError, Memory, OpenError, Options, Reader, ScanError};

use crate::log::{SEGMENT, options};
use crate::{canary, did, show};

#[derive(Arbitrary, Debug)]
enum Action {
    Append {
        events: u8,
        len: u16,
    },
    Contracts {
        len: u16,
    },
    Heartbeat,
    Poll,
    Drain,
    Hold(bool),
    Fail {
        step: u8,
        after: u8,
        times: u8,
        short: Option<u16>,
    },
    Heal,
    /// Room for so many segments more than there are, or no bound.
    Room(Option<u8>),
    Read,
    /// The next opening is told other sizes: batches of 4, 8 or 16 blocks, segments of three and some more blocks.
    Sizes {
        batch: u8,
        more: u8,
    },
    Close,
    /// The process dies, the machine does not.
    Die,
    /// The machine dies; the number decides about each write that was not synced.
    PowerCut(u64),
}

const ACTIONS_MAX: usize = 80;
const DEPTH: usize = 32;
const EIO: i32 = 5;
/// While nothing completes, no more is begun than fits into the queue.
const HELD_MAX: usize = DEPTH - 6;

/// The life of a log, held against a list of events and a watermark.
///
/// # Panics
///
/// When it finds something.
pub fn wal(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let mut world = World::new();
    for _ in 0..ACTIONS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(action) = Action::arbitrary(&mut u) else { break };
        show(&action);
        world.act(action);
        did(1);
    }
    world.end();
}

struct World {
    memory: Memory,
    log: Option<Log>,
    held: bool,
    /// Every event that the log may hold, in order.
    appended: Vec<Vec<u8>>,
    /// How many of them were called durable.
    durable: usize,
    /// Distinguishes events.
    events: u64,
    /// Blocks of a batch, and of a segment besides its header and three batches.
    sizes: (usize, u64),
    /// Blocks of a batch as the open log was told.
    opened_with: usize,
}

impl World {
    fn new() -> Self {
        let memory = Memory::new();
        Self {
            memory,
            log: None,
            held: false,
            appended: Vec::new(),
            durable: 0,
            events: 0,
            sizes: (4, 2),
            opened_with: 4,
        }
    }

    fn options(&self) -> Options {
        let (batch, more) = self.sizes;
        let (batch_bytes, block) = (batch * BLOCK, BLOCK as u64);
        let segment_bytes = (2 + more) * block + 3 * batch_bytes as u64;
        Options { depth: DEPTH, batch_bytes, segment_bytes, ..options(&self.memory) }
    }

    fn act(&mut self, action: Action) {
        if let Some(log) = &self.log {
            self.durable = self.durable.max(log.durable().seq.0 as usize);
        }
        match action {
            Action::Append { events, len } => self.append(events, len),
            Action::Contracts { len } => {
                // As large as the options in force allow.
                let body = vec![b'x'; usize::from(len) % (self.batch_blocks() * BLOCK - 128)];
                self.control(|log, time| log.append_control(BatchKind::Contracts, time, &body).map(|_| ()));
            }
            Action::Heartbeat => self.control(|log, time| log.heartbeat(time).map(|_| ())),
            Action::Poll => self.settle(Log::poll),
            Action::Drain => {
                if !self.held {
                    self.settle(Log::drain);
                }
            }
            Action::Hold(held) => {
                self.held = held;
                self.memory.hold(held);
            }
            Action::Fail { step, after, times, short } => {
                let step = Step::ALL[usize::from(step) % Step::ALL.len()];
                let outcome = match short {
                    Some(len) if step == Step::Write => Outcome::Short(len.into()),
                    _ => Outcome::Errno(EIO),
                };
                self.memory.fail(Fault { step, after: after.into(), times: times.into(), outcome });
            }
            Action::Heal => {
                self.memory.heal();
            }
            Action::Room(segments) => {
                let room = |segments: u8| (u64::from(segments) % 16 + 2) * SEGMENT;
                self.memory.set_capacity(segments.map(room));
            }
            Action::Read => self.read(),
            Action::Sizes { batch, more } => self.sizes = (4 << (batch % 3), u64::from(more % 8)),
            Action::Close => self.close(),
            Action::Die => {
                self.log = None;
                self.release();
            }
            Action::PowerCut(seed) => {
                self.power_cut(seed);
                self.log = None;
            }
        }
    }

    /// Blocks of a batch in the log that is open, which is opened if it is not.
    fn batch_blocks(&mut self) -> usize {
        self.log();
        self.opened_with
    }

    fn release(&mut self) {
        self.held = false;
        self.memory.hold(false);
    }

    /// The log, opened again if it is not open. Where a fault keeps it from opening, the fault is taken away.
    fn log(&mut self) -> &mut Log {
        let mut healed = false;
        while self.log.is_none() {
            self.release();
            match self.open() {
                Ok(log) => self.log = Some(log),
                Err(OpenError::Settings { .. }) => {
                    // The largest is large enough for whatever was written.
                    assert!(self.sizes.0 < 16, "a log must open with the settings that it was written with");
                    self.sizes.0 = 16;
                }
                Err(error) => {
                    let device =
                        matches!(error, OpenError::Scan(ScanError::Io { .. } | ScanError::Unreadable { .. }));
                    assert!(device && !healed, "{error}");
                    self.memory.heal();
                    healed = true;
                }
            }
        }
        self.log.as_mut().expect("it was just opened")
    }

    fn open(&mut self) -> Result<Log, OpenError> {
        let mut kept = Vec::new();
        let (log, recovered) = Log::open(&self.options(), |batch| {
            kept.extend(batch.records().map(|record| record.payload().bytes().to_vec()));
            Ok(())
        })?;
        assert!(kept.len() >= self.durable, "{} events kept, {} were durable", kept.len(), self.durable);
        assert!(self.appended.starts_with(&kept), "events that were not appended, or not in this order");
        assert_eq!(recovered.next_seq, Seq(kept.len() as u64 + 1));
        self.opened_with = self.sizes.0;
        // What is kept is durable from here on, and what is not kept never comes back.
        self.durable = kept.len();
        self.appended = kept;
        Ok(log)
    }

    fn append(&mut self, events: u8, len: u16) {
        let held = self.held;
        let mut first = self.events;
        let log = self.log();
        if (held && log.in_flight() > HELD_MAX) || log.ready().is_err() {
            return;
        }
        let mut batch = Batch::with_capacity(4 * BLOCK, 0);
        batch.open(log.next_seq());
        let mut payloads = Vec::new();
        for _ in 0..=events % 8 {
            let mut payload = first.to_le_bytes().to_vec();
            payload.resize(8 + usize::from(len) % 4_000, first as u8);
            first += 1;
            if batch.push(&Fields::default(), Timestamp(first), &payload).is_err() {
                break;
            }
            payloads.push(payload);
        }
        let taken = log.append(&mut Arc::new(batch));
        self.events = first;
        match taken {
            Ok(_) => self.appended.extend(payloads),
            // It may have reached the disk or not.
            Err(LogError::Poisoned(_)) => {
                self.appended.extend(payloads);
                self.log = None;
            }
            Err(error) => panic!("there was room, and then {error}"),
        }
        if canary() {
            // The planted fault: a batch is called durable when it has been handed over.
            self.durable = self.appended.len();
        }
    }

    fn control(&mut self, append: impl FnOnce(&mut Log, Timestamp) -> Result<(), LogError>) {
        let (held, time) = (self.held, Timestamp(self.events));
        let log = self.log();
        if held && log.in_flight() > HELD_MAX {
            return;
        }
        if let Err(LogError::Poisoned(_)) = append(log, time) {
            self.log = None;
        }
    }

    fn settle(&mut self, how: impl FnOnce(&mut Log) -> Result<downbeat_wal::Durable, LogError>) {
        match how(self.log()) {
            Ok(durable) => {
                let durable = durable.seq.0 as usize;
                assert!(durable <= self.appended.len(), "{durable} durable of {}", self.appended.len());
                assert!(canary() || durable >= self.durable, "{durable} durable, {} before", self.durable);
                self.durable = self.durable.max(durable);
            }
            Err(LogError::Poisoned(_)) => self.log = None,
            Err(error) => panic!("{error}"),
        }
    }

    fn close(&mut self) {
        let time = Timestamp(self.events);
        self.release();
        self.log();
        let Some(log) = self.log.take() else { return };
        match log.close(time) {
            Ok(durable) => {
                let durable = durable.seq.0 as usize;
                assert_eq!(durable, self.appended.len(), "closing makes everything durable");
                self.durable = durable;
            }
            Err(LogError::Poisoned(_) | LogError::Close { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&mut self) {
        let Ok(mut reader) = Reader::on(Arc::new(self.memory.clone()), Default::default()) else { return };
        let mut read = Vec::new();
        while let Ok(Some(located)) = reader.next_batch() {
            read.extend(located.batch.records().map(|record| record.payload().bytes().to_vec()));
        }
        assert!(self.appended.starts_with(&read), "a reader sees what was not appended");
        // A writer that has failed may have called more durable than it came to say.
        if self.log.is_some() {
            let durable = self.durable;
            assert!(read.len() <= durable, "a reader sees {} events, {durable} are durable", read.len());
        }
    }

    fn power_cut(&mut self, seed: u64) {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word ^ (word >> 27)
        };
        self.held = false;
        self.memory.power_cut(|write| match next() % 4 {
            0 => Fate::Kept,
            1 => Fate::Lost,
            _ => {
                let sector = |_| match next() % 4 {
                    0 | 1 => Sector::New,
                    2 => Sector::Old,
                    _ if seed.is_multiple_of(3) => Sector::Garbage,
                    _ => Sector::Zero,
                };
                Fate::Torn((0..write.len.div_ceil(512)).map(sector).collect())
            }
        });
    }

    /// Nothing is wrong any more: the log opens, takes an event, and has everything it must have.
    fn end(&mut self) {
        self.memory.heal();
        self.memory.set_capacity(None);
        self.release();
        self.log = None;
        self.log();
        self.append(0, 8);
        self.settle(Log::drain);
        assert_eq!(self.durable, self.appended.len());
        self.power_cut(0);
        self.log = None;
        self.log();
        self.read();
    }
}
