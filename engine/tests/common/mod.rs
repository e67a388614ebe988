//! A small bank, and ways to open it.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use downbeat::{
    Context, Delivery, Engine, Error, Event, Flow, Key, Leaf, LeafError, Nothing, Options, Out, Reject, Seq,
    Stage,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Moved", version = 1, crate = downbeat::record)]
pub struct Moved {
    pub cents: i64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Reached", version = 1, crate = downbeat::record)]
pub struct Reached {
    pub balance: i64,
}

/// One balance per account; says when it passes a hundred more.
pub struct Balance;

impl Stage for Balance {
    type State = i64;
    type Output = Reached;

    fn apply(
        &self,
        balance: &mut i64,
        event: &Context<'_>,
        out: &mut Out<'_, Reached>,
    ) -> Result<(), Reject> {
        let Some(moved) = event.event::<Moved>()? else { return Ok(()) };
        let before = *balance;
        *balance = balance.checked_add(moved.cents.to_native()).ok_or_else(|| Reject::new("overflow"))?;
        if *balance < 0 {
            return Err(Reject::new("the account would be overdrawn"));
        }
        if *balance / 100 > before / 100 {
            out.send(&Reached { balance: *balance })?;
            out.emit(&Reached { balance: *balance })?;
        }
        Ok(())
    }
}

/// Counts what is reached, over all accounts; waits at a gate that a test may close.
#[derive(Clone, Default)]
pub struct Count {
    pub gate: Gate,
}

impl Stage for Count {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        self.gate.pass();
        if event.input::<Reached>()?.is_some() {
            *count += 1;
        }
        Ok(())
    }
}

/// Open unless closed.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn close(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.0.0.lock().unwrap();
        while *closed {
            closed = self.0.1.wait(closed).unwrap();
        }
    }
}

/// A failing assertion must not leave a stage asleep for ever.
pub struct OpenAtTheEnd(pub Gate);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Notes what was delivered, and how far the log was durable then.
#[derive(Clone, Default)]
pub struct Notes(pub Arc<Mutex<Vec<(Seq, i64)>>>);

impl Leaf for Notes {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        let reached = delivery.value::<Reached>().map_err(|error| LeafError::new(error.to_string()))?;
        self.0.lock().unwrap().push((delivery.seq, reached.balance.to_native()));
        Ok(())
    }
}

pub fn flow(count: Count, notes: Notes) -> Flow {
    flow_to(count, notes)
}

/// The same with another leaf in the place of the notes.
pub fn flow_to(count: Count, notes: impl Leaf) -> Flow {
    Flow::named("bank")
        .stage("balance", Balance)
        .on::<Moved>()
        .on::<Reached>()
        .emits::<Reached>()
        .stage("count", count)
        .global()
        .on::<Reached>()
        .after(["balance"])
        .leaf("notes", notes)
        .after(["balance"])
        .build()
        .expect("the flow is sound")
}

pub fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.log.segment_bytes = 8 << 20;
    options
}

pub fn open(dir: &Path) -> Engine {
    Engine::open(options(dir), flow(Count::default(), Notes::default())).expect("the engine opens")
}

/// Waits until every stage has applied what is in the log: a receipt says durable, and stages may be a moment behind.
pub fn until_applied(engine: &Engine) {
    while engine.workers().iter().any(|worker| worker.cursor < engine.last_seq()) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// An order that does not move for so long has stopped.
const STANDS: Duration = Duration::from_millis(300);

/// Submits events of 100 cents until there is no room and will be none: says how many were accepted, and the refusal.
pub fn until_full(engine: &Engine) -> (i64, Error) {
    let (mut accepted, mut stood) = (0, (Seq::ZERO, Instant::now()));
    loop {
        match engine.submit(&Moved { cents: 100 }).key(Key(1)).try_ticket() {
            Ok(_) => accepted += 1,
            Err(error) => {
                // Not a ring that is full for a moment: the order itself has stopped, and behind it the ring is full.
                let (last, fill) = (engine.last_seq(), engine.fill());
                if last != stood.0 || fill.used + 1_024 <= fill.capacity {
                    stood = (last, Instant::now());
                } else if stood.1.elapsed() > STANDS {
                    return (accepted, error);
                }
                std::thread::yield_now();
            }
        }
        assert!(accepted < 100_000, "{accepted} events accepted while a stage sleeps");
    }
}

pub fn total(engine: &Engine) -> i64 {
    engine
        .fold_states::<Balance, i64>("balance", 0, |sum, _: Key, balance| sum + balance)
        .expect("the stage is there")
}

pub fn reached(engine: &Engine) -> u64 {
    engine
        .fold_states::<Count, u64>("count", 0, |sum, _: Key, count| sum + count)
        .expect("the stage is there")
}

/// Memory of this process, in KiB.
pub fn resident_kib() -> u64 {
    // A sanitizer keeps what was given back, in order to know it again.
    if std::env::var_os("DOWNBEAT_SANITIZED").is_some() {
        return 0;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
