//! What a stage that is a thousand times slower than another one does to that other one, and to the memory.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench slow
//! ```
//!
//! Two stages take the same events, each on a thread of its own. One notes how long ago the event got its place in the
//! order; the other one waits for 50 µs at each event, or not at all. Both are measured in turn: at a rate that the slow
//! one can follow, and at one that it cannot, where the window stops the order until it has. There the events come in at the
//! pace of the slow one, so the other one is measured at that pace as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use downbeat_benches::Run;
use downbeat_benches::cells::rig::Rig;
use downbeat_benches::flow::Posted;
use downbeat_benches::latency::{Beside, Latencies};
use downbeat_benches::machine::Process;
use downbeat_flow::{Context, Flow, Nothing, Out, Reject, Stage};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A stage that does little takes 50 ns for an event.
const SLOW: Duration = Duration::from_micros(50);

fn main() {
    let run = Run::start("slow");
    if !run.shows() {
        return;
    }
    for (name, per_second, same_pace) in [
        ("a rate that can be followed", 4_000, false),
        ("one that cannot", 40_000, false),
        ("one that cannot, and its pace without it", 40_000, true),
    ] {
        run.say(format_args!(
            "\n## {name}: {per_second} events/s, from the place in the order to applied beside\n"
        ));
        at(&run, per_second, same_pace);
    }
}

/// Both in turn; with `same_pace` the one that is not slow gets as many events a second as the slow one takes.
fn at(run: &Run, per_second: u64, same_pace: bool) {
    let events = run.pick(200, 4_000, 20_000);
    let (mut beside, mut resident) = (Beside::default(), [0, 0]);
    for round in 0..run.rounds() {
        run.await_quiet(0.05);
        let order = if round % 2 == 0 && !same_pace { [0, 1] } else { [1, 0] };
        let mut seen = [Latencies::default(), Latencies::default()];
        let mut pace = per_second;
        for which in order {
            let pause = [Duration::ZERO, SLOW][which];
            let (times, bytes, taken) = one(run, pause, pace, events);
            if same_pace && which == 1 {
                run.say(format_args!("the slow one takes {taken} events/s"));
                pace = taken;
            }
            seen[which] = times;
            resident[which] = bytes.max(resident[which]);
        }
        let [alone, with_slow] = &seen;
        beside.round(with_slow, alone);
    }
    beside.report(run, "beside the slow one", "beside one that is not");
    let mib = resident.map(|bytes| bytes as f64 / f64::from(1 << 20));
    run.say(format_args!("memory, the most of a round: {:.1} MiB, and {:.1} MiB without", mib[1], mib[0]));
}

/// How long events took to the stage beside, the memory at the end, and how many events came through in a second.
fn one(run: &Run, pause: Duration, per_second: u64, events: u64) -> (Latencies, u64, u64) {
    let seen = Arc::new(Mutex::new(Latencies::default()));
    let noted = Arc::clone(&seen);
    let flow = move || {
        Flow::named("beside")
            .stage("slow", Waits(pause))
            .on::<Posted>()
            .stage("noted", Notes { from: events / 3, times: Arc::clone(&noted) })
            .on::<Posted>()
            .build()
            .expect("the flow is sound")
    };
    let rig = Rig::open(run.scratch("slow"), "slow", flow, 1, |mut options| {
        options.actors.threads = 2;
        options.order.window_events = 1_000;
        options
    });
    let rig = rig.expect("a new log opens");
    let begun = Instant::now();
    rig.at_rate(per_second, events).expect("the engine is open");
    let taken = (events as f64 / begun.elapsed().as_secs_f64()) as u64;
    let times = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let resident = Process::look().resident_bytes;
    rig.close().expect("everything goes through, and the replay has the digests of the live run");
    (times, resident, taken.max(1))
}

/// Waits, as something does that asks another machine.
struct Waits(Duration);

impl Stage for Waits {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if !self.0.is_zero() {
            std::thread::park_timeout(self.0);
        }
        *count += 1;
        Ok(())
    }
}

/// Notes how long ago an event got its place, from one on: until then threads are new.
struct Notes {
    from: u64,
    times: Arc<Mutex<Latencies>>,
}

impl Stage for Notes {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        #[expect(clippy::disallowed_methods, reason = "the state does not depend on it")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_nanos(event.timestamp().0));
        *count += 1;
        if event.seq().0 > self.from {
            self.times.lock().unwrap_or_else(PoisonError::into_inner).add(age);
        }
        Ok(())
    }
}
