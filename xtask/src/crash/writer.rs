//! The process that dies: an engine under load, and a pipe for what it acknowledged.
//!
//! On stdout: `opened LAST_SEQ ROW` once, `a N SEQ d|n` per receipt (duplicate or new), `closed LAST_SEQ` when
//! it was left alive. Lines of several threads never mix: each write holds the lock and is whole.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

use anyhow::Context as _;
use downbeat::{Ack, Engine, Options, Ticket};
use downbeat_wal::BackendChoice;

use super::flow::{Put, flow, idempotency_key_of, key_of, quiet_planted_panics};

/// Producers; producer `p` submits every `n` with `n % PRODUCERS == p`, in order.
pub(crate) const PRODUCERS: u64 = 4;
/// Events that a producer has in flight.
const IN_FLIGHT_MAX: u64 = 256;
/// Receipts that are told together.
const TOLD_TOGETHER: u64 = 16;
/// Events of one producer that may be in the log although the parent was not told.
pub(crate) const UNTOLD_MAX: u64 = IN_FLIGHT_MAX + TOLD_TOGETHER;

/// What the parent tells a writer.
#[derive(Clone, Debug, clap::Args)]
pub struct WriterArgs {
    /// The log
    pub dir: PathBuf,
    /// Per producer, the first n that is not acknowledged
    #[arg(long, value_delimiter = ',', required = true)]
    pub from: Vec<u64>,
    /// Submit every n below, then close; without it, go on until killed
    #[arg(long)]
    pub until: Option<u64>,
    /// Shards of the keyed stages
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Threads of the flow
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Write with pwritev2 instead of io_uring
    #[arg(long)]
    pub blocking: bool,
    /// Acknowledge as soon as an event has its place in the order: a planted fault
    #[arg(long)]
    pub ack_early: bool,
}

pub(crate) fn options(dir: PathBuf, shards: u32, threads: usize) -> Options {
    let mut options = Options::new(dir).shards(shards).threads(threads);
    // Small, so that every round rolls over several segments and logs several checkpoints.
    options.log.segment_bytes = 2 << 20;
    options.actors.checkpoint_interval = 8_192;
    options
}

/// Runs the writer until it is killed, or has submitted everything.
///
/// # Errors
///
/// What the engine says.
pub fn write(args: &WriterArgs) -> anyhow::Result<()> {
    quiet_planted_panics();
    let mut options = options(args.dir.clone(), args.shards, args.threads);
    if args.blocking {
        options.log.backend = BackendChoice::Blocking;
    }
    let ack = if args.ack_early { Ack::Ordered } else { Ack::Durable };
    let engine = Engine::open(options, flow())?;
    let opened = engine.opened();
    let row = opened.cut.as_ref().map_or("-", |cut| cut.row.as_str());
    tell(&format!("opened {} {row}\n", opened.last_seq))?;
    thread::scope(|scope| {
        let producers: Vec<_> =
            args.from.iter().map(|from| scope.spawn(|| produce(&engine, *from, args.until, ack))).collect();
        producers.into_iter().try_for_each(|one| one.join().expect("a producer panicked"))
    })?;
    engine.close()?;
    tell(&format!("closed {}\n", engine.last_seq()))
}

fn produce(engine: &Engine, from: u64, until: Option<u64>, ack: Ack) -> anyhow::Result<()> {
    let mut in_flight: VecDeque<(u64, Ticket)> = VecDeque::new();
    let (mut next, mut lines, mut count) = (from, String::new(), 0);
    loop {
        while (in_flight.len() as u64) < IN_FLIGHT_MAX && until.is_none_or(|until| next < until) {
            let put = Put::nth(next);
            let submission = engine.submit(&put).key(key_of(next)).idempotency_key(idempotency_key_of(next));
            in_flight.push_back((next, submission.ack(ack).ticket()?));
            next += PRODUCERS;
        }
        let Some((n, ticket)) = in_flight.pop_front() else { return tell(&lines) };
        let receipt = ticket.wait().with_context(|| format!("n {n}"))?;
        let word = if receipt.duplicate { 'd' } else { 'n' };
        writeln!(lines, "a {n} {} {word}", receipt.seq)?;
        count += 1;
        if count == TOLD_TOGETHER {
            tell(&lines)?;
            (count, lines) = (0, String::new());
        }
    }
}

fn tell(lines: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes()).and_then(|()| out.flush()).context("the parent is gone")
}
