//! `downbeat` as a user has it: submit, and wait for the durable receipt. A stage that counts is behind it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use downbeat::{Ack, Engine, Options, Ticket};
use downbeat_flow::{Context, Flow, Nothing, Out, Reject, Stage};
use downbeat_record::Fields;
use downbeat_sequencer::{Group, Ingress};
use downbeat_wal::names;

use crate::event::{EVENT_BYTES, Event};
use crate::log::peer::{Committer, Peer};
use crate::log::shape::Shape;
use crate::log::wal;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "Engine: submit to durable receipt, one stage that counts; a commit of many is \
     submit_all in groups of 1,024, each all or none; log as downbeat-wal";

/// Events of a group: what fits into a batch with room to spare.
const GROUP: usize = 1_024;

/// The event, as a type of its own: 64 bytes.
#[derive(downbeat_record::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "compare.Appended", version = 1)]
struct Appended {
    words: [u64; EVENT_BYTES / 8],
}

// Its encoded form is its words, so the bytes of an event are one.
const _: () = assert!(size_of::<rkyv::Archived<Appended>>() == EVENT_BYTES);

/// Counts.
struct Count;

impl Stage for Count {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if event.event::<Appended>()?.is_some() {
            *state += 1;
        }
        Ok(())
    }
}

/// An engine in a directory of its own.
pub(crate) struct Whole {
    engine: Option<Engine>,
    dir: PathBuf,
}

impl Whole {
    pub(crate) fn open(dir: &Path, shape: Shape) -> Result<Self> {
        let flow = Flow::named("count").stage("count", Count).on::<Appended>().build()?;
        let mut options = Options::new(dir);
        options.log = wal::options(dir, shape);
        Ok(Self { engine: Some(Engine::open(options, flow)?), dir: dir.to_owned() })
    }
}

impl Peer for Whole {
    fn committer(&self, _: usize, _: Shape) -> Result<Box<dyn Committer>> {
        let engine = self.engine.as_ref().context("it is closed")?;
        let kind = engine.kind_of::<Appended>().context("the flow is on it")?;
        Ok(Box::new(Submitter::new(engine.ingress(), Fields { kind, ..Fields::default() })))
    }

    /// Waits until all segments are ready that the log keeps so: until no file is being made and none comes.
    fn settle(&self) -> Result<()> {
        let begun = Instant::now();
        let (mut before, mut same) = (Vec::new(), 0);
        while same < 4 {
            ensure!(begun.elapsed() < Duration::from_secs(30), "segments are not made in time");
            std::thread::park_timeout(Duration::from_millis(10));
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&self.dir)? {
                files.push(entry?.file_name().to_string_lossy().into_owned());
            }
            files.sort_unstable();
            let finished = files.iter().all(|name| names::parse_unfinished(name).is_none());
            same = if finished && files == before { same + 1 } else { 0 };
            before = files;
        }
        Ok(())
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        self.engine.take().context("it is closed")?.close()?;
        wal::count(&self.dir)
    }
}

/// Submits at a door, and waits for receipts.
pub(crate) struct Submitter {
    ingress: Ingress,
    fields: Fields,
    group: Group,
    tickets: Vec<Ticket>,
}

impl Submitter {
    pub(crate) fn new(ingress: Ingress, fields: Fields) -> Self {
        Self { ingress, fields, group: Group::new(), tickets: Vec::new() }
    }
}

impl Committer for Submitter {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let Self { ingress, fields, group, tickets } = self;
        if let [event] = events {
            let ticket = ingress.blocking(|| ingress.try_submit_bytes(fields, event, Ack::Durable))?;
            ticket.wait()?;
            return Ok(());
        }
        for some in events.chunks(GROUP) {
            group.clear();
            for event in some {
                group.push_bytes(fields, event)?;
            }
            tickets.push(ingress.blocking(|| ingress.try_submit_all(group, Ack::Durable))?);
        }
        for ticket in tickets.drain(..) {
            ticket.wait()?;
        }
        Ok(())
    }
}
