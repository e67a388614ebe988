//! From a producer to a place in the order, beside a ring of the disruptor crate that carries the same 64 bytes from
//! the same threads to one consumer.
//!
//! The ring only carries. The ingress of Downbeat also gives each event its seq and its time, and copies it into the
//! batch that a log would write.

use std::sync::Barrier;
use std::time::Instant;

use disruptor::{BusySpin, Producer, build_multi_producer, build_single_producer};
use downbeat_benches::Sample;
use downbeat_benches::flow::Posted;
use downbeat_record::{Fields, Kind, Seq};
use downbeat_sequencer::{Sequencer, Settings, Start, SystemClock, sequencer};

use crate::Session;
use crate::compare::{Measured, Rounds, Row, Standing, Subject, Timed};
use crate::report::{Goal, Table, Unit, ratio};

/// The share of the cores that may go to others.
const OTHERS: f64 = 0.05;
/// Events that fit into a ring: as many bytes as the ring of the ingress has.
const CAPACITY: usize = 1 << 16;

/// What goes through: 64 bytes.
#[derive(Clone, Copy, Default)]
struct Event([u64; 8]);

impl Event {
    fn nth(producer: u64, number: u64) -> Self {
        let (Posted { account, counter, cents, number, detail: [a, b, c, d] }, _) =
            Posted::nth(producer, number);
        Self([account, counter, cents as u64, number, a, b, c, d])
    }
}

/// Measures one producer and four.
pub(crate) fn compare(session: &mut Session) {
    let run = &session.run;
    let events = run.pick(10_000, 200_000, 2_000_000);
    let mut rows = Vec::new();
    let mut add = |name: String, standing: Standing, says: &str, subject: Box<dyn Subject>| {
        if session.wants_row(&name, &standing) {
            rows.push(Row::new(name, standing, "", says, Ok(subject)));
        }
    };
    for producers in [1, 4] {
        let says = "bounded ring; dense seq and time, copied into a batch; parks when idle";
        let measure = move || ordered(producers, events);
        add(format!("downbeat ingress, {}", name(producers)), Standing::Ours, says, Box::new(Timed(measure)));
        let says =
            "a ring only: published one by one, all that is there taken at once; spins when idle or full";
        let only =
            Standing::Less("gives no place in an order that outlives it, no receipt, no dedup".to_owned());
        let measure = move || if producers == 1 { single(events) } else { multi(producers, events) };
        add(disruptor_name(producers), only, says, Box::new(Timed(measure)));
    }
    let title = "ingress: from a producer to a place in the order, per event of 64 bytes";
    Rounds { run, others: OTHERS, disk: None, times: 3, again: 10 }.measure(title, &mut rows);
    let ratios = [1, 4].into_iter().filter_map(|producers| {
        let ours = format!("downbeat ingress, {}", name(producers));
        ratio(&rows, Unit::Nanoseconds, &ours, &disruptor_name(producers), Some(Goal::AtMost(2.0)))
    });
    let ratios = ratios.collect();
    session.show(&Table { title, unit: Unit::Nanoseconds, rows: &rows, percentiles: false, ratios });
}

fn name(producers: u64) -> String {
    if producers == 1 { "1 producer".to_owned() } else { format!("{producers} producers") }
}

fn disruptor_name(producers: u64) -> String {
    let kind = if producers == 1 { "SPSC" } else { "MPSC" };
    format!("disruptor 4.4.0 {kind}, {}", name(producers))
}

/// Runs producers and, on this thread, the one that takes; the time from when all begin until everything is taken.
fn timed(producers: Vec<Box<dyn FnOnce() + Send + '_>>, total: u64, take: impl FnOnce(u64)) -> Measured {
    let begin = Barrier::new(producers.len() + 1);
    let time = std::thread::scope(|scope| {
        for producer in producers {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                producer();
            });
        }
        begin.wait();
        let begun = Instant::now();
        take(total);
        begun.elapsed()
    });
    Measured { sample: Sample::new(total, time), ..Measured::default() }
}

/// What the thread of an engine does, with a log that takes everything at once.
fn ordered(producers: u64, events: u64) -> Measured {
    let settings = Settings::default();
    let (ingress, mut sequencer) = sequencer(&settings, SystemClock, Start::fresh(&settings));
    let caller = std::thread::current();
    sequencer.doorbell().hang(move || caller.unpark());
    let each = events / producers;
    let work = (0..producers).map(|producer| {
        let ingress = ingress.clone();
        let work = move || {
            for number in 0..each {
                let (event, key) = Posted::nth(producer, number);
                let fields = Fields { kind: Kind(1), key, ..Fields::default() };
                ingress.send_blocking(&fields, &event).expect("the door is open");
            }
        };
        Box::new(work) as Box<dyn FnOnce() + Send>
    });
    timed(work.collect(), each * producers, |total| {
        while sequencer.next_seq().0 <= total {
            if order(&mut sequencer) == 0 && !comes_soon(&sequencer) {
                sequencer.doorbell().arm();
                if !sequencer.has_input() {
                    std::thread::park();
                }
                sequencer.doorbell().disarm();
            }
        }
    })
}

fn order(sequencer: &mut Sequencer) -> usize {
    let placed = sequencer.fill(Seq(sequencer.next_seq().0 - 1));
    sequencer.close_batch();
    sequencer.durable(Seq(sequencer.next_seq().0 - 1));
    placed
}

/// Looks for a moment before it sleeps: with a log behind it the thread would be at work there, and not sleep either.
fn comes_soon(sequencer: &Sequencer) -> bool {
    (0..2_000).any(|_| {
        std::hint::spin_loop();
        sequencer.has_input()
    })
}

fn single(events: u64) -> Measured {
    let (mut poller, builder) = build_single_producer(CAPACITY, Event::default, BusySpin).new_event_poller();
    let producer = builder.build();
    carried(vec![producer], events, move |sum| poller.poll().map_or(0, |mut some| read(&mut some, sum)))
}

fn multi(producers: u64, events: u64) -> Measured {
    let (mut poller, builder) = build_multi_producer(CAPACITY, Event::default, BusySpin).new_event_poller();
    let producer = builder.build();
    let producers = (0..producers).map(|_| producer.clone()).collect();
    // The first one goes: each thread has its own.
    drop(producer);
    carried(producers, events, move |sum| poller.poll().map_or(0, |mut some| read(&mut some, sum)))
}

/// Reads what was taken at once, and counts it.
fn read<'a>(some: impl Iterator<Item = &'a Event>, sum: &mut u64) -> u64 {
    let mut count = 0;
    for Event(words) in some {
        *sum = words.iter().fold(*sum, |sum, word| sum.wrapping_add(*word));
        count += 1;
    }
    count
}

/// Producers that publish, and on this thread `poll`, which says how many events it took.
fn carried(
    producers: Vec<impl Producer<Event> + Send>,
    events: u64,
    mut poll: impl FnMut(&mut u64) -> u64,
) -> Measured {
    let count = producers.len() as u64;
    let each = events / count;
    let work = producers.into_iter().zip(0..).map(|(mut producer, index)| {
        let work = move || {
            for number in 0..each {
                let event = Event::nth(index, number);
                producer.publish(|slot| *slot = event);
            }
        };
        Box::new(work) as Box<dyn FnOnce() + Send>
    });
    timed(work.collect(), each * count, |total| {
        let (mut taken, mut sum) = (0, 0);
        while taken < total {
            let some = poll(&mut sum);
            taken += some;
            if some == 0 {
                std::hint::spin_loop();
            }
        }
        std::hint::black_box(sum);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_published_is_taken() {
        assert_eq!(ordered(4, 10_000).sample.count, 10_000);
        assert_eq!(single(10_000).sample.count, 10_000);
        assert_eq!(multi(4, 10_000).sample.count, 10_000);
    }
}
