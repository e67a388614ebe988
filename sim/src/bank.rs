//! The flow that runs in the world: accounts, a ledger over all of them, and something that leaves the process.
//!
//! ```text
//!  Deposited, Moved, Credited ──► book (keyed, in shards) ──Balance──► ledger (global) ──Posted──► mail
//!                                   └── Credited, about the other account, back to the front door
//! ```
//!
//! Every state depends on the order of what it has seen, so an event too many, too few or at the wrong place
//! shows in it for ever.

use downbeat_flow::{Context, Delivery, Flow, Leaf, LeafError, Out, Reject, Stage};
use downbeat_record::{Event, Key};

/// Money comes from outside.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "sim.Deposited", version = 1)]
pub struct Deposited {
    /// How much.
    pub cents: u64,
    /// Bytes of any number, so that batches are of many sizes.
    pub memo: Vec<u8>,
}

/// Money goes to another account, if there is enough.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "sim.Moved", version = 1)]
pub struct Moved {
    /// The other account.
    pub to: u64,
    /// How much.
    pub cents: u64,
}

/// Money has come from another account: emitted by the book.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "sim.Credited", version = 1)]
pub struct Credited {
    /// How much.
    pub cents: u64,
}

/// What the book sends to the ledger.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "sim.Balance", version = 1)]
pub struct Balance {
    /// Of the account, after the event.
    pub cents: u64,
}

/// What leaves the process.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "sim.Posted", version = 1)]
pub struct Posted {
    /// The ledger's trail, after the event.
    pub trail: u64,
}

/// What the book knows about an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Account {
    /// What it holds.
    pub cents: u64,
    /// Everything that changed it, in order.
    pub trail: u64,
}

/// What the ledger knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Total {
    /// Balances seen.
    pub count: u64,
    /// All of them, in order.
    pub trail: u64,
}

/// The next trail after `value` at a place.
pub fn mix(trail: u64, seq: u64, value: u64) -> u64 {
    (trail.rotate_left(5) ^ seq).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(value)
}

/// The stage `book`.
pub struct Book;

impl Stage for Book {
    type State = Account;
    type Output = Balance;

    fn apply(
        &self,
        state: &mut Account,
        event: &Context<'_>,
        out: &mut Out<'_, Balance>,
    ) -> Result<(), Reject> {
        let mut credit = None;
        if let Some(deposited) = event.event::<Deposited>()? {
            state.cents += deposited.cents.to_native();
        } else if let Some(credited) = event.event::<Credited>()? {
            state.cents += credited.cents.to_native();
        } else if let Some(moved) = event.event::<Moved>()? {
            let cents = moved.cents.to_native();
            let rest = state.cents.checked_sub(cents);
            state.cents = rest.ok_or_else(|| Reject::new("not enough money"))?;
            credit = Some((Key(moved.to.to_native()), Credited { cents }));
        }
        state.trail = mix(state.trail, event.seq().0, state.cents);
        out.send(&Balance { cents: state.cents })?;
        match credit {
            Some((to, credited)) => out.emit_about(to, &credited),
            None => Ok(()),
        }
    }
}

/// The stage `ledger`.
pub struct Ledger;

impl Stage for Ledger {
    type State = Total;
    type Output = Posted;

    fn apply(&self, state: &mut Total, event: &Context<'_>, out: &mut Out<'_, Posted>) -> Result<(), Reject> {
        let Some(balance) = event.input::<Balance>()? else { return Ok(()) };
        state.count += 1;
        state.trail = mix(state.trail, event.seq().0, balance.cents.to_native());
        out.send(&Posted { trail: state.trail })
    }
}

/// The leaf `mail` has no code here: the world itself takes what leaves the process.
struct Mail;

impl Leaf for Mail {
    fn deliver(&mut self, _: &Delivery<'_>) -> Result<(), LeafError> {
        Ok(())
    }
}

/// The flow.
///
/// # Panics
///
/// When it is not a flow.
pub fn flow() -> Flow {
    let book = Flow::named("bank").stage("book", Book).on::<Deposited>().on::<Moved>().on::<Credited>();
    let ledger = book.emits::<Credited>().stage("ledger", Ledger).global().after(["book"]);
    ledger.leaf("mail", Mail).after(["ledger"]).build().expect("the flow is one")
}
