//! The flow that is driven: five stages, values between them, a join.
//!
//! ```text
//!  posted ──► ledger ───────┐
//!       └───► velocity ─────┴──► risk ──► limit ──► report
//! ```
//!
//! Every stage does a few nanoseconds of arithmetic on a small state per account: what is measured is what surrounds
//! a stage.

use std::any::TypeId;
use std::sync::Arc;

use downbeat_flow::{Context, Flow, FlowBuilder, Kinds, Nothing, Out, Reject, Stage};
use downbeat_record::{ContractTable, Event, Fields, Key};

/// Accounts that events are about.
pub const ACCOUNTS: u64 = 4_096;

/// What happens: 64 bytes.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bench.Posted", version = 1)]
pub struct Posted {
    /// The account.
    pub account: u64,
    /// The other account.
    pub counter: u64,
    /// How much.
    pub cents: i64,
    /// Which one of its producer.
    pub number: u64,
    /// What else there is to say.
    pub detail: [u64; 4],
}

/// A value on its way between two stages: 16 bytes.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bench.Step", version = 1)]
pub struct Step {
    /// What the sender knows about the account.
    pub known: u64,
    /// What is added to it.
    pub cents: i64,
}

/// What a stage remembers about an account.
#[derive(Clone, Default, rkyv::Archive, rkyv::Serialize)]
pub struct Known {
    /// Depends on the order of everything that came before.
    pub sum: u64,
    /// Events so far.
    pub events: u64,
}

impl Known {
    fn learn(&mut self, more: u64) -> u64 {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(more);
        self.events += 1;
        self.sum
    }
}

impl Posted {
    /// The event that a producer sends as its `number`th, and the account it is about.
    pub fn nth(producer: u64, number: u64) -> (Self, Key) {
        let mixed = (number ^ producer << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let account = (mixed >> 40) % ACCOUNTS + 1;
        let cents = (mixed >> 8 & 0xffff) as i64 - 0x7fff;
        (Self { account, counter: mixed % ACCOUNTS + 1, cents, number, detail: [mixed; 4] }, Key(account))
    }
}

/// Reads the event, sends a step.
struct FromEvent(u64);

impl Stage for FromEvent {
    type State = Known;
    type Output = Step;

    fn apply(&self, state: &mut Known, event: &Context<'_>, out: &mut Out<'_, Step>) -> Result<(), Reject> {
        let Some(posted) = event.event::<Posted>()? else { return Ok(()) };
        let cents = posted.cents.to_native();
        let known = state.learn(cents as u64 ^ self.0);
        out.send(&Step { known, cents })
    }
}

/// Reads what one stage or two sent, sends a step.
struct FromSteps(&'static [&'static str]);

impl Stage for FromSteps {
    type State = Known;
    type Output = Step;

    fn apply(&self, state: &mut Known, event: &Context<'_>, out: &mut Out<'_, Step>) -> Result<(), Reject> {
        let mut mixed = 0u64;
        for from in self.0 {
            if let Some(step) = event.input_from::<Step>(from)? {
                mixed = mixed.wrapping_mul(17).wrapping_add(step.known.to_native());
            }
        }
        let known = state.learn(mixed);
        out.send(&Step { known, cents: mixed as i64 })
    }
}

/// Reads what one stage sent, sends nothing.
struct Last;

impl Stage for Last {
    type State = Known;
    type Output = Nothing;

    fn apply(&self, state: &mut Known, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if let Some(step) = event.input::<Step>()? {
            state.learn(step.known.to_native());
        }
        Ok(())
    }
}

/// How the five stages are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each in an actor of its own.
    Apart,
    /// All in one actor.
    Together,
}

/// The five stages.
///
/// # Panics
///
/// Never: the flow is sound.
pub fn five(spread: Spread) -> Flow {
    let place = |flow: FlowBuilder| match spread {
        Spread::Apart => flow,
        Spread::Together => flow.group("five"),
    };
    let flow = Flow::named("five");
    let flow = place(flow.stage("ledger", FromEvent(1)).on::<Posted>());
    let flow = place(flow.stage("velocity", FromEvent(2)).on::<Posted>());
    let flow = place(flow.stage("risk", FromSteps(&["ledger", "velocity"])).after(["ledger", "velocity"]));
    let flow = place(flow.stage("limit", FromSteps(&["risk"])).after(["risk"]));
    let flow = place(flow.stage("report", Last).after(["limit"]));
    flow.build().expect("the flow is sound")
}

/// The names of the stages of a chain.
static CHAINED: [&str; 16] =
    ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

/// A chain: the first stage reads the event, each other one what the stage before it sent; all in one actor.
///
/// # Panics
///
/// Without a stage, and with more than 16.
pub fn chain(stages: usize) -> Flow {
    assert!((1..=CHAINED.len()).contains(&stages), "{stages} stages");
    let mut flow = Flow::named("chain").stage(CHAINED[0], FromEvent(1)).on::<Posted>().group("chain");
    for pair in CHAINED[..stages].windows(2) {
        let (before, name): (&'static [&'static str], _) = (&pair[..1], pair[1]);
        flow = flow.stage(name, FromSteps(before)).after([before[0]]).group("chain");
    }
    flow.build().expect("the flow is sound")
}

/// Numbers for the event types of a flow, for where there is no log to give them.
///
/// # Panics
///
/// Never: no two contracts are in conflict.
pub fn kinds(flow: &Flow) -> Arc<Kinds> {
    let mut table = ContractTable::new();
    flow.bind(|contract| table.register(contract)).expect("no two contracts are in conflict")
}

/// The header fields of a [`Posted`].
///
/// # Panics
///
/// When no stage of the flow is on it.
pub fn fields(kinds: &Kinds, key: Key) -> Fields {
    let kind = kinds.of(TypeId::of::<Posted>()).expect("a stage is on it");
    Fields { kind, key, ..Fields::default() }
}
