//! Full load for a long time: does anything grow, does anything get slower?
//!
//! ```sh
//! DOWNBEAT_BENCH_MINUTES=10 cargo bench -p downbeat-benches --bench soak
//! ```
//!
//! Four producers submit as fast as the engine takes it, with five stages behind it; a fifth thread submits an event a
//! millisecond and waits for its receipt. A log takes 100 million events, 10 GB, and then another begins in its place;
//! `DOWNBEAT_BENCH_EVENTS` is another number of them. Every line is a slice of ten seconds. What is held against the
//! first full minute is the memory, the descriptors and the threads of the process at the end, and how the rate and the
//! slowest receipts of the second half of the slices stand to those of the first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use downbeat::Seq;
use downbeat_benches::Run;
use downbeat_benches::cells::end_to_end::PRODUCERS;
use downbeat_benches::cells::rig::Rig;
use downbeat_benches::flow::{Posted, Spread, five};
use downbeat_benches::latency::{Latencies, Pacer};
use downbeat_benches::machine::Process;
use downbeat_record::Fields;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let run = Run::start("soak");
    if !run.shows() {
        return;
    }
    run.floor("before");
    let minutes = number("DOWNBEAT_BENCH_MINUTES").unwrap_or(10);
    let plan = Plan {
        time: run.pick(
            Duration::from_millis(200),
            Duration::from_secs(20),
            Duration::from_secs(60 * minutes),
        ),
        slice: run.pick(Duration::from_millis(50), Duration::from_secs(2), Duration::from_secs(10)),
        settled: run.pick(Duration::ZERO, Duration::from_secs(4), Duration::from_secs(60)),
        events_per_log: number("DOWNBEAT_BENCH_EVENTS").unwrap_or(run.pick(400_000, 10_000_000, 100_000_000)),
    };
    run.say("\n## full load: events of 64 bytes, 4 producers, 5 stages, each an actor\n");
    let slices = plan.soak(&run);
    plan.conclude(&run, &slices);
    run.floor("after");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a whole number is wanted")))
}

struct Plan {
    time: Duration,
    slice: Duration,
    /// What is seen later is held against what is seen first after this.
    settled: Duration,
    events_per_log: u64,
}

struct Slice {
    /// Since the beginning, at its end.
    at: Duration,
    log: u64,
    events_per_second: f64,
    process: Process,
    /// The p99.9 of the receipts. All of their times would be memory that grows with the slices.
    slow_receipt: f64,
}

impl Plan {
    /// Log after log until the time is over.
    fn soak(&self, run: &Run) -> Vec<Slice> {
        let (begun, mut slices) = (Instant::now(), Vec::new());
        for log in 1.. {
            self.fill_log(run, log, begun, &mut slices);
            if begun.elapsed() >= self.time {
                break;
            }
        }
        slices
    }

    fn fill_log(&self, run: &Run, log: u64, begun: Instant, slices: &mut Vec<Slice>) {
        let rig = Rig::open(run.scratch("soak"), "soak", || five(Spread::Apart), 1, |options| options)
            .expect("a new log opens");
        let (rig_here, over, each) = (&rig, &AtomicBool::new(false), self.events_per_log / PRODUCERS);
        let (tell, told) = std::sync::mpsc::sync_channel(1 << 16);
        std::thread::scope(|scope| {
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|producer| scope.spawn(move || produce(rig_here, producer, each, over)))
                .collect();
            scope.spawn(move || {
                let mut pacer = Pacer::here();
                for number in 0.. {
                    pacer.until(Instant::now() + Duration::from_millis(1));
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (event, key) = Posted::nth(PRODUCERS, number);
                    let submitted = Instant::now();
                    rig_here.engine().submit(&event).key(key).wait().expect("it becomes durable");
                    if tell.send(submitted.elapsed()).is_err() {
                        return;
                    }
                }
            });
            let (mut from, mut last) = (Instant::now(), Seq::ZERO);
            while producers.iter().any(|producer| !producer.is_finished()) {
                std::thread::park_timeout(self.slice / 100);
                if from.elapsed() < self.slice {
                    continue;
                }
                let durable = rig.engine().durable();
                let events_per_second = (durable.0 - last.0) as f64 / from.elapsed().as_secs_f64();
                (from, last) = (Instant::now(), durable);
                let mut receipts = Latencies::default();
                told.try_iter().for_each(|time| receipts.add(time));
                let process = Process::look();
                let slow_receipt = receipts.at(0.999);
                let slice = Slice { at: begun.elapsed(), log, events_per_second, process, slow_receipt };
                slice.say(run, &receipts);
                slices.push(slice);
                over.fetch_or(begun.elapsed() >= self.time, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        });
        if begun.elapsed() < self.time {
            rig.engine().close().expect("everything goes through");
        } else {
            let replayed = rig.close().expect("the replay has the digests of the live run");
            run.say(format_args!("the last log was replayed: {} events, the same digests", replayed.events));
        }
    }

    fn conclude(&self, run: &Run, slices: &[Slice]) {
        let settled: Vec<_> = slices.iter().filter(|slice| slice.at > self.settled).collect();
        let (Some(first), Some(last)) = (settled.first(), settled.last()) else {
            return run.say("too short to say anything");
        };
        let (before, after) = settled.split_at(settled.len().div_ceil(2));
        let rate = |slices: &[&Slice]| median(slices.iter().map(|slice| slice.events_per_second));
        let tail = |slices: &[&Slice]| median(slices.iter().map(|slice| slice.slow_receipt));
        let highest = settled.iter().map(|slice| slice.process.resident_bytes).max().unwrap_or(0);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        run.say(format_args!(
            "memory {:.1} MiB after {:.0} s, {:.1} MiB at the end, {:.1} MiB at most; descriptors {} and {}; threads {} and {}",
            mib(first.process.resident_bytes),
            first.at.as_secs_f64(),
            mib(last.process.resident_bytes),
            mib(highest),
            first.process.descriptors,
            last.process.descriptors,
            first.process.threads,
            last.process.threads,
        ));
        if !after.is_empty() {
            run.say(format_args!(
                "second half / first half, medians of the slices: rate {:.2}, p99.9 of receipts {:.2}",
                rate(after) / rate(before),
                tail(after) / tail(before)
            ));
        }
    }
}

/// Submits so many, or until the time is over.
fn produce(rig: &Rig, producer: u64, events: u64, over: &AtomicBool) {
    let (ingress, kind) =
        (rig.engine().ingress(), rig.engine().kind_of::<Posted>().expect("the flow is on it"));
    for number in 0..events {
        if number % 1_000 == 0 && over.load(Ordering::Relaxed) {
            return;
        }
        let (event, key) = Posted::nth(producer, number);
        ingress
            .send_blocking(&Fields { kind, key, ..Fields::default() }, &event)
            .expect("the engine is open");
    }
}

impl Slice {
    fn say(&self, run: &Run, receipts: &Latencies) {
        run.say(format_args!(
            "{:>6.0} s  log {:>3}  {:>5.2} M/s  {:>7.1} MiB  {:>3} descriptors  {:>2} threads  receipts {}",
            self.at.as_secs_f64(),
            self.log,
            self.events_per_second / 1e6,
            self.process.resident_bytes as f64 / f64::from(1 << 20),
            self.process.descriptors,
            self.process.threads,
            receipts
        ));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
