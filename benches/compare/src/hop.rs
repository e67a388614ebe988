//! Hops: a token of 24 bytes through five stages, each of which reads eight bytes of the event that it names.
//!
//! Lanes carry tokens between actors that are supervised and take them in the order of seq. Queues are what lanes
//! are made of: no lifecycle, no supervision, no order across several of them; they are marked.

use std::sync::Arc;
use std::time::Duration;

use downbeat_actors::hop::{Chain, Pair, Read};
use downbeat_benches::Sample;
use downbeat_benches::latency::Latencies;
use downbeat_benches::plain::{Plain, PlainPair};
use downbeat_record::{Batch, Fields, Timestamp};

use crate::Session;
use crate::compare::{Measured, Rounds, Row, Standing, Subject, Timed};
use crate::report::{Goal, Table, Unit, ratio};

mod channel;
mod disrupt;
mod kameos;
mod queue;
mod ring;
mod token;

/// Hops of a token.
const STAGES: usize = 5;
/// Tokens under way between two stages at most.
const CAPACITY: usize = 1_024;
/// The share of the cores that may go to others.
const OTHERS: f64 = 0.05;

/// Samples of a table that may be taken again.
const AGAIN: usize = 30;

const LANES: &str = "downbeat lanes, one thread";
const LANES_CROSSING: &str = "downbeat lanes, two threads, every hop crosses";
const RACTOR: &str = "ractor, a message a token, one thread";

/// Measures chains at full load, and one token alone.
pub(crate) fn compare(session: &mut Session) {
    let batch = events();
    loaded(session, &batch);
    alone(session, &batch);
}

/// 64 KiB of events of 64 bytes.
fn events() -> Arc<Batch> {
    let mut batch = Batch::with_capacity(64 << 10, 0);
    let mut time = 0;
    while batch.push(&Fields::default(), Timestamp(time + 1), &[7; 64]).is_ok() {
        time += 1;
    }
    Arc::new(batch)
}

/// Rows under way to a table.
struct Rows<'s> {
    session: &'s Session,
    rows: Vec<Row<'static>>,
}

impl Rows<'_> {
    fn add(
        &mut self,
        name: &str,
        standing: Standing,
        says: &str,
        measure: impl FnMut() -> Measured + 'static,
    ) {
        if self.session.wants_row(name, &standing) {
            let subject: Box<dyn Subject> = Box::new(Timed(measure));
            let word = if matches!(standing, Standing::Less(_)) { "a queue only" } else { "actors" };
            self.rows.push(Row::new(name, standing, word, says, Ok(subject)));
        }
    }
}

fn hops(tokens: u64, time: Duration) -> Measured {
    Measured { sample: Sample::new(tokens * STAGES as u64, time), ..Measured::default() }
}

fn only_a_queue() -> Standing {
    Standing::Less("a queue only: no lifecycle, supervision or order across queues".to_owned())
}

fn loaded(session: &mut Session, batch: &Arc<Batch>) {
    let run = &session.run;
    let many = run.pick(10_240, 512_000, 4_096_000);
    let fewer = run.pick(2_048, 102_400, 512_000);
    let few = run.pick(1_024, 51_200, 307_200);
    let mut rows = Rows { session, rows: Vec::new() };

    let lane = |placement: &[usize], value_bytes| {
        let mut chain = Chain::start(placement, batch, value_bytes, Read::Touch).expect("the actors start");
        move || hops(many, chain.run(many))
    };
    let says = "actors: lifecycle, supervision, tokens in the order of seq; parks when idle";
    rows.add(LANES, Standing::Ours, says, lane(&[0; 6], 0));
    rows.add("… with a value of 16 bytes", Standing::Ours, says, lane(&[0; 6], 16));
    rows.add(
        "downbeat lanes, two threads, one hop of five crosses",
        Standing::Ours,
        says,
        lane(&[0, 0, 0, 1, 1, 1], 0),
    );
    rows.add(LANES_CROSSING, Standing::Ours, says, lane(&[0, 1, 0, 1, 0, 1], 0));

    let mut plain = Plain::peers(STAGES, batch);
    let says = "actors: lifecycle, supervision; unbounded mailboxes, 1,024 tokens under way";
    rows.add(RACTOR, Standing::Same, says, move || hops(few, plain.run(few)));

    for threads in [1, 2] {
        let mut chain = kameos::Chain::start(threads, batch);
        let says = "actors: lifecycle, supervision; bounded mailboxes of 1,024";
        rows.add(&format!("kameo, a message a token, {}", name(threads)), Standing::Same, says, move || {
            hops(few, chain.run(few))
        });
    }
    for threads in [1, 2] {
        let mut chain = channel::Chain::start(threads, batch);
        let says = "tokio tasks and bounded channels of 1,024";
        rows.add(&format!("tokio mpsc, {}", name(threads)), only_a_queue(), says, move || {
            hops(fewer, chain.run(fewer))
        });
    }
    for threads in [1, 2] {
        let mut chain = queue::chain(threads, batch, ring::crossbeam);
        let says = "bounded channels of 1,024, one by one; two threads look in turn and spin";
        rows.add(&format!("crossbeam channel, {}", name(threads)), only_a_queue(), says, move || {
            hops(fewer, chain.run(fewer))
        });
    }
    for threads in [1, 2] {
        let mut chain = queue::chain(threads, batch, ring::rtrb);
        let says = "rings of 1,024, one by one; two threads look in turn and spin";
        rows.add(&format!("rtrb, {}", name(threads)), only_a_queue(), says, move || {
            hops(many, chain.run(many))
        });
    }
    for threads in [1, 2] {
        let mut chain = disrupt::chain(threads, batch);
        let says = "rings of 1,024, published one by one, polled; two threads look in turn and spin";
        rows.add(&format!("disruptor, {}", name(threads)), only_a_queue(), says, move || {
            hops(many, chain.run(many))
        });
    }

    let mut rows = rows.rows;
    let title = "hop: five stages at full load, per token and hop";
    Rounds { run, others: OTHERS, disk: None, times: 1, again: AGAIN }.measure(title, &mut rows);
    let of = |row: &str, of: &str, goal| ratio(&rows, Unit::Nanoseconds, row, of, goal);
    let ratios = [
        of(RACTOR, LANES, Some(Goal::AtLeast(20.0))),
        of("kameo, a message a token, one thread", LANES, None),
        of("tokio mpsc, one thread", LANES, None),
        of("kameo, a message a token, two threads", LANES_CROSSING, None),
        of("tokio mpsc, two threads", LANES_CROSSING, None),
        of(LANES, "rtrb, one thread", None),
        of(LANES_CROSSING, "rtrb, two threads", None),
        of(LANES_CROSSING, "disruptor, two threads", None),
    ];
    let ratios = ratios.into_iter().flatten().collect();
    session.show(&Table { title, unit: Unit::Nanoseconds, rows: &rows, percentiles: false, ratios });
}

fn name(threads: usize) -> &'static str {
    if threads == 1 { "one thread" } else { "two threads" }
}

/// The times of round trips as a row has them: half of each, without those that were cold.
fn halves(times: &[u32]) -> Measured {
    let mut latencies = Latencies::default();
    for ns in times.iter().skip(times.len() / 10) {
        latencies.add(Duration::from_nanos(u64::from(ns / 2)));
    }
    let median = Duration::from_nanos(latencies.at(0.5) as u64);
    Measured { sample: Sample::new(1, median), latencies }
}

fn alone(session: &mut Session, batch: &Arc<Batch>) {
    let run = &session.run;
    let rounds: u64 = run.pick(100, 20_000, 200_000);
    let few = rounds / 10;
    let mut rows = Rows { session, rows: Vec::new() };

    let mut warm = Pair::start([0, 0], batch).expect("the actors start");
    rows.add("downbeat lane, one warm thread", Standing::Ours, "actors; a doorbell a token", move || {
        halves(&warm.run(rounds))
    });
    let mut parked = Pair::start([0, 1], batch).expect("the actors start");
    rows.add(
        "downbeat lane, two threads that park",
        Standing::Ours,
        "actors; a doorbell a token",
        move || halves(&parked.run(few)),
    );
    let mut plain = PlainPair::start(false);
    rows.add("ractor message, one thread", Standing::Same, "actors", move || {
        halves(&plain.run(rounds as usize))
    });
    let mut pair = kameos::Pair::start();
    rows.add("kameo message, one thread", Standing::Same, "actors", move || {
        halves(&pair.run(rounds as usize))
    });
    let mut pair = channel::Pair::start();
    rows.add("tokio mpsc, one thread", only_a_queue(), "tasks on one thread", move || {
        halves(&pair.run(rounds as usize))
    });
    let mut pair = ring::crossbeam_pair();
    rows.add(
        "crossbeam channel, two threads",
        only_a_queue(),
        "blocking receive: spins for a moment, then parks",
        move || halves(&pair(few as usize)),
    );
    let mut pair = ring::rtrb_pair();
    rows.add("rtrb, two threads that spin", only_a_queue(), "takes both cores", move || {
        halves(&pair(rounds as usize))
    });
    let mut pair = disrupt::pair();
    rows.add("disruptor, two threads that spin", only_a_queue(), "takes both cores", move || {
        halves(&pair(rounds as usize))
    });

    let mut rows = rows.rows;
    let title =
        "hop: one token alone, half of a round trip (and of a reading of the clock): p50 of each round";
    Rounds { run, others: OTHERS, disk: None, times: 1, again: AGAIN }.measure(title, &mut rows);
    session.show(&Table {
        title,
        unit: Unit::Nanoseconds,
        rows: &rows,
        percentiles: true,
        ratios: Vec::new(),
    });
}
