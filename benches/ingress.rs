//! From a producer to a place in the order: what one event costs in the sequencer alone, without log and flow.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench ingress [-- --quick]
//! ```

use std::collections::VecDeque;
use std::sync::Barrier;
use std::time::Instant;

use downbeat_benches::flow::Posted;
use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_record::{Fields, IdempotencyKey, Kind, Seq};
use downbeat_sequencer::{Ack, Ingress, Sequencer, Settings, Start, SystemClock, Ticket, sequencer};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Receipts that a producer has under way before it waits for the oldest.
const UNDER_WAY: usize = 1_024;

/// What a producer asks for.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    receipts: bool,
    keys: bool,
}

const FORMS: [Form; 4] = [
    Form { name: "plain", receipts: false, keys: false },
    Form { name: "receipts", receipts: true, keys: false },
    Form { name: "keys", receipts: false, keys: true },
    Form { name: "receipts and keys", receipts: true, keys: true },
];

fn main() {
    let run = Run::start("ingress");
    let events = run.pick(10_000, 200_000, 2_000_000);
    if run.shows() {
        let mut table = Table::new("from a producer to a place in the order: per event of 64 bytes");
        for producers in [1, 4] {
            for form in FORMS {
                let name = format!("{producers} producers, {}", form.name);
                table.cell(name, Unit::Nanoseconds, move || cell(producers, events, form));
            }
        }
        for form in FORMS {
            let name = format!("one thread in turn, {}", form.name);
            table.cell(name, Unit::Nanoseconds, move || in_turn(events, form));
        }
        table.measure(&run, 0.05);
    }
    let events = run.pick(10_000, 200_000, 500_000);
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("ingress");
    for producers in [1, 4] {
        for form in FORMS {
            let name = format!("{producers}_producers/{}", form.name.replace(' ', "_"));
            bench(&mut group, &name, events, || cell(producers, events, form));
        }
    }
    group.finish();
    criterion.final_summary();
}

/// Producers that submit what they can, each from a thread of its own, and a sequencer that orders it.
fn cell(producers: u64, events: u64, form: Form) -> Sample {
    let settings = Settings::default();
    let (ingress, mut sequencer) = sequencer(&settings, SystemClock, Start::fresh(&settings));
    let caller = std::thread::current();
    sequencer.doorbell().hang(move || caller.unpark());
    let begin = Barrier::new(producers as usize + 1);
    std::thread::scope(|scope| {
        for producer in 0..producers {
            let (ingress, begin) = (ingress.clone(), &begin);
            scope.spawn(move || {
                begin.wait();
                let mut producer = Producer::new(ingress, producer, form);
                (0..events / producers).for_each(|number| producer.submit(number));
            });
        }
        begin.wait();
        let begun = Instant::now();
        let total = events / producers * producers;
        while sequencer.next_seq().0 <= total {
            if order(&mut sequencer) == 0 && !comes_soon(&sequencer) {
                sequencer.doorbell().arm();
                if !sequencer.has_input() {
                    std::thread::park();
                }
                sequencer.doorbell().disarm();
            }
        }
        Sample::new(total, begun.elapsed())
    })
}

/// Looks for a moment before it sleeps: with a log behind it the thread would be at work there, and not sleep either.
fn comes_soon(sequencer: &Sequencer) -> bool {
    (0..2_000).any(|_| {
        std::hint::spin_loop();
        sequencer.has_input()
    })
}

/// The same on one thread: no memory goes from core to core.
fn in_turn(events: u64, form: Form) -> Sample {
    let settings = Settings::default();
    let (ingress, mut sequencer) = sequencer(&settings, SystemClock, Start::fresh(&settings));
    let mut producer = Producer::new(ingress, 0, form);
    let begun = Instant::now();
    let step = UNDER_WAY as u64 / 2;
    for first in (0..events).step_by(UNDER_WAY / 2) {
        (first..first + step).for_each(|number| producer.submit(number));
        while order(&mut sequencer) > 0 {}
    }
    Sample::new(sequencer.next_seq().0 - 1, begun.elapsed())
}

/// What the thread of an engine does, with a log that takes everything at once.
fn order(sequencer: &mut Sequencer) -> usize {
    let placed = sequencer.fill(Seq(sequencer.next_seq().0 - 1));
    sequencer.close_batch();
    sequencer.durable(Seq(sequencer.next_seq().0 - 1));
    placed
}

struct Producer {
    ingress: Ingress,
    number: u64,
    form: Form,
    under_way: VecDeque<Ticket>,
}

impl Producer {
    fn new(ingress: Ingress, number: u64, form: Form) -> Self {
        Self { ingress, number, form, under_way: VecDeque::with_capacity(UNDER_WAY) }
    }

    fn submit(&mut self, number: u64) {
        let (event, key) = Posted::nth(self.number, number);
        let name = u128::from(self.number + 1) << 64 | u128::from(number + 1);
        let idempotency_key = IdempotencyKey(if self.form.keys { name } else { 0 });
        let fields = Fields { kind: Kind(1), key, idempotency_key, ..Fields::default() };
        if !self.form.receipts {
            return self.ingress.send_blocking(&fields, &event).expect("the door is open");
        }
        if self.under_way.len() == UNDER_WAY {
            let oldest = self.under_way.pop_front().expect("some are under way");
            oldest.wait().expect("it gets a place");
        }
        let ticket = self.ingress.submit_blocking(&fields, &event, Ack::Durable);
        self.under_way.push_back(ticket.expect("the door is open"));
    }
}
