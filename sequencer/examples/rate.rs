//! How long the order takes per event: `cargo run --release -p downbeat-sequencer --example rate`.
//!
//! Two numbers per cell. *sequencer*: a full ring is drained on one thread, so this is the work of the sequencer's
//! thread alone, on memory that another thread wrote. *end to end*: producers and sequencer run together, and the
//! slower side, or the number of cores, decides. Payloads have 64 bytes; a batch is dropped when it is full.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::thread;
use std::time::{Duration, Instant};

use downbeat_record::{Fields, IdempotencyKey, Seq, SourceId};
use downbeat_sequencer::{
    Ack, Ingress, Sequencer, Settings, Start, Stop, SubmitError, SystemClock, Ticket, sequencer,
};

const EVENTS: u64 = 4_000_000;
const PAYLOAD: [u8; 64] = [7; 64];

#[derive(Clone, Copy)]
struct Cell {
    name: &'static str,
    keys: bool,
    tickets: bool,
}

const CELLS: [Cell; 4] = [
    Cell { name: "no key, no receipt", keys: false, tickets: false },
    Cell { name: "key, no receipt", keys: true, tickets: false },
    Cell { name: "no key, receipt", keys: false, tickets: true },
    Cell { name: "key, receipt", keys: true, tickets: true },
];

fn main() {
    println!("{:<22}{:>12}{:>16}{:>16}", "ns per event", "sequencer", "1 producer", "4 producers");
    for cell in CELLS {
        let (alone, one, four) = (sequencer_alone(cell), end_to_end(cell, 1), end_to_end(cell, 4));
        println!("{:<22}{alone:>12.1}{one:>16.1}{four:>16.1}", cell.name);
    }
}

fn start() -> (Ingress, Sequencer) {
    let settings = Settings::default();
    sequencer(&settings, SystemClock, Start::fresh(&settings))
}

fn submit(ingress: &Ingress, cell: Cell, producer: u32, number: u64) -> Result<Option<Ticket>, SubmitError> {
    let key = if cell.keys { u128::from(producer) << 64 | u128::from(number + 1) } else { 0 };
    let fields =
        Fields { source: SourceId(producer), idempotency_key: IdempotencyKey(key), ..Fields::default() };
    if cell.tickets {
        ingress.try_submit_bytes(&fields, &PAYLOAD, Ack::Durable).map(Some)
    } else {
        ingress.try_send_bytes(&fields, &PAYLOAD).map(|()| None)
    }
}

/// Drains until the rings are empty, as an engine whose disk takes no time.
fn drain(sequencer: &mut Sequencer) -> u64 {
    let from = sequencer.next_seq().0;
    loop {
        let placed = sequencer.fill(Seq(sequencer.next_seq().0 - 1));
        if placed == 0 && sequencer.stopped() == Stop::Empty {
            return sequencer.next_seq().0 - from;
        }
        let next = sequencer.next_seq();
        sequencer.close_batch();
        sequencer.durable(Seq(next.0 - 1));
    }
}

fn sequencer_alone(cell: Cell) -> f64 {
    const CHUNK: u64 = 16_000;
    let (ingress, mut sequencer) = start();
    let (mut busy, mut events) = (Duration::ZERO, 0);
    let mut tickets = Vec::with_capacity(CHUNK as usize);
    while events < EVENTS {
        thread::scope(|scope| {
            scope.spawn(|| {
                tickets.clear();
                (0..CHUNK).for_each(|n| tickets.extend(submit(&ingress, cell, 0, events + n).unwrap()));
            });
        });
        let begin = Instant::now();
        events += drain(&mut sequencer);
        busy += begin.elapsed();
    }
    busy.as_nanos() as f64 / events as f64
}

fn end_to_end(cell: Cell, producers: u32) -> f64 {
    let (ingress, mut sequencer) = start();
    let driver = thread::current();
    sequencer.doorbell().hang(move || driver.unpark());
    let each = EVENTS / u64::from(producers);
    let begin = Instant::now();
    thread::scope(|scope| {
        for producer in 0..producers {
            let ingress = ingress.clone();
            scope.spawn(move || {
                let mut in_flight = Vec::with_capacity(1_000);
                for number in 0..each {
                    if in_flight.len() == 1_000 {
                        in_flight.drain(..).for_each(|ticket: Ticket| assert!(ticket.wait().is_ok()));
                    }
                    in_flight.extend(ingress.blocking(|| submit(&ingress, cell, producer, number)).unwrap());
                }
            });
        }
        while sequencer.stats().events < each * u64::from(producers) {
            if drain(&mut sequencer) == 0 {
                sequencer.doorbell().arm();
                if sequencer.has_input() {
                    sequencer.doorbell().disarm();
                } else {
                    thread::park();
                }
            }
        }
    });
    begin.elapsed().as_nanos() as f64 / (each * u64::from(producers)) as f64
}
