//! The pure core of the order: which place and which time an event gets. No ring, no thread, no clock.
//!
//! ```sh
//! cargo bench -p downbeat-benches --bench order [-- --quick]
//! ```
//!
//! A key is looked up in a window of a million; what it costs when the window is warm in the cache, and when a million
//! keys stand in it, are two things, so both are shown.

use std::hint::black_box;

use downbeat_benches::run::bench;
use downbeat_benches::table::Unit;
use downbeat_benches::{Run, Sample, Table};
use downbeat_record::{Batch, Fields, IdempotencyKey, Key, Kind, Seq, Timestamp};
use downbeat_sequencer::{Idempotency, IdempotencyWindow, Order, Placed};
use mimalloc::MiMalloc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Bytes of a batch: what an engine has.
const BATCH: usize = 256 << 10;
/// Events of a group.
const GROUP: u64 = 16;
const PAYLOAD: [u8; 64] = [7; 64];

/// What is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Only appended to a batch, without an order.
    Pushed,
    Plain,
    /// Sixteen at a time, all or none.
    Groups,
    /// Each with a key that is new.
    Keys,
    /// Each with a key that stands in the window.
    Duplicates,
}

const FORMS: [(Form, &str); 5] = [
    (Form::Pushed, "appended to the batch, without an order"),
    (Form::Plain, "placed"),
    (Form::Groups, "placed in groups of 16"),
    (Form::Keys, "placed, each with a new key"),
    (Form::Duplicates, "refused as duplicates"),
];

fn main() {
    let run = Run::start("order");
    let events = run.pick(2_000, 400_000, 4_000_000);
    let small = run.pick(1 << 8, 1 << 12, 1 << 12);
    let large = run.pick(1 << 10, 1 << 20, 1 << 20);
    let mut cells: Vec<(String, Core)> = Vec::new();
    for (form, name) in FORMS {
        cells.push((name.to_owned(), Core::new(form, small)));
        if matches!(form, Form::Keys | Form::Duplicates) {
            cells.last_mut().expect("it was pushed").0.push_str(&format!(", a window of {small} keys"));
            cells.push((format!("… of {large} keys"), Core::new(form, large)));
        }
    }
    if run.shows() {
        let mut table = Table::new("the order alone: per event of 64 bytes");
        table.empty_loop(events);
        for (name, core) in &mut cells {
            table.cell(name.clone(), Unit::Nanoseconds, move || core.run(events));
        }
        table.measure(&run, 0.05);
    }
    let mut criterion = run.criterion();
    let mut group = criterion.benchmark_group("order");
    for (_, core) in &mut cells {
        let name = format!("{:?}/{}", core.form, core.keys).to_lowercase();
        bench(&mut group, &name, events, || core.run(events));
    }
    group.finish();
    criterion.final_summary();
}

/// An order whose window is full.
struct Core {
    form: Form,
    keys: u64,
    order: Order,
    batch: Batch,
    /// The last key that was used.
    key: u64,
}

impl Core {
    fn new(form: Form, keys: u64) -> Self {
        let bounds = Idempotency { keys: keys as usize, ..Idempotency::default() };
        let order = Order::new(Seq(1), Timestamp(0), IdempotencyWindow::new(bounds));
        let mut core = Self { form: Form::Keys, keys, order, batch: Batch::with_capacity(BATCH, 0), key: 0 };
        if matches!(form, Form::Keys | Form::Duplicates) {
            core.run(keys);
        }
        core.form = form;
        core
    }

    fn run(&mut self, events: u64) -> Sample {
        let begun = Instant::now();
        let mut done = 0;
        while done < events {
            self.batch.open(self.order.next_seq());
            done += match self.form {
                Form::Pushed => self.push(events - done),
                Form::Groups => self.place_groups(events - done),
                _ => self.place(events - done),
            };
            black_box(self.batch.used());
        }
        Sample::new(done, begun.elapsed())
    }

    /// Until the batch is full; how many.
    fn place(&mut self, most: u64) -> u64 {
        let keyed = matches!(self.form, Form::Keys | Form::Duplicates);
        for done in 0..most {
            // A duplicate comes from the later half of what stands in the window.
            let key = match self.form {
                Form::Keys => self.key + 1,
                Form::Duplicates => self.key - scatter(done) % (self.keys / 2),
                _ => 0,
            };
            // What a key stands for must be the same again: nothing else of the fields differs.
            let idempotency_key =
                if keyed { IdempotencyKey(u128::from(scatter(key)) + 1) } else { IdempotencyKey(0) };
            let fields = Fields { kind: Kind(1), key: Key(7), idempotency_key, ..Fields::default() };
            match self.order.place(Timestamp(1), &fields, black_box(&PAYLOAD), &mut self.batch) {
                Placed::New { .. } => self.key = key,
                Placed::Duplicate { .. } => assert_eq!(self.form, Form::Duplicates),
                Placed::BatchFull => return done,
                Placed::Conflict { original } => panic!("a conflict with {}", original.seq),
            }
        }
        most
    }

    fn place_groups(&mut self, most: u64) -> u64 {
        let fields = Fields { kind: Kind(1), key: Key(7), ..Fields::default() };
        for done in (0..most).step_by(GROUP as usize) {
            let events = (0..GROUP).map(|_| (fields, black_box(&PAYLOAD[..])));
            if self.order.place_group(Timestamp(1), events, &mut self.batch) == Placed::BatchFull {
                return done;
            }
        }
        most.next_multiple_of(GROUP)
    }

    fn push(&mut self, most: u64) -> u64 {
        let fields = Fields { kind: Kind(1), key: Key(7), ..Fields::default() };
        for done in 0..most {
            if self.batch.push(&fields, Timestamp(done + 1), black_box(&PAYLOAD)).is_err() {
                return done;
            }
        }
        most
    }
}

/// Numbers one after the other, far from each other.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
