//! The flow that runs under the killing: small, but with everything that a crash could tear.
//!
//! ```text
//!  Put ──► balance (per key; rejects some, panics on some, emits Milestone) ──┐
//!   │                                                                         ├──► ledger (one for all, order-dependent)
//!   └────► risk (per key; sends for about half) ──────────────────────────────┘        ▲
//!  Milestone ──► balance, ───────────────────────────────────────────────────────────────┘
//! ```

use downbeat::{Context, Event, Flow, IdempotencyKey, Key, Nothing, Out, Reject, Stage};

use super::rng::mix;

/// The event that producers submit; everything in it follows from `n`.
#[derive(Clone, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "kill9.Put", version = 1, crate = downbeat::record)]
pub(crate) struct Put {
    pub(crate) n: u64,
    pub(crate) cents: i64,
    pub(crate) note: String,
}

impl Put {
    pub(crate) fn nth(n: u64) -> Self {
        let drawn = mix(n);
        let note = format!("{drawn:016x}").repeat((drawn >> 20) as usize % 12);
        Self { n, cents: (drawn % 20_001) as i64 - 10_000, note }
    }
}

/// What an account reached; emitted by `balance`.
#[derive(Clone, Debug, PartialEq, Eq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "kill9.Milestone", version = 1, crate = downbeat::record)]
pub(crate) struct Milestone {
    pub(crate) puts: u64,
    pub(crate) cents: i64,
}

/// What `balance` sends for a put.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "kill9.Balanced", version = 1, crate = downbeat::record)]
pub(crate) struct Balanced {
    cents: i64,
}

/// What `risk` sends for a put.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "kill9.Scored", version = 1, crate = downbeat::record)]
pub(crate) struct Scored {
    score: u64,
}

pub(crate) const PUTS_PER_MILESTONE: u64 = 16;
/// Begins the message of every panic that is meant to happen.
const PLANTED: &str = "planted:";

pub(crate) fn key_of(n: u64) -> Key {
    Key(1 + mix(n ^ 0x5EED) % 97)
}

pub(crate) fn idempotency_key_of(n: u64) -> IdempotencyKey {
    IdempotencyKey((u128::from(mix(n)) << 64 | u128::from(n)).max(1))
}

/// What becomes of a put besides being applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Applied,
    Rejected(String),
    Panicked(String),
}

pub(crate) fn verdict(n: u64, cents: i64) -> Verdict {
    if n % 2_048 == 1_000 {
        Verdict::Panicked(format!("{PLANTED} put {n} panics"))
    } else if cents % 41 == 0 {
        Verdict::Rejected(format!("put {n} moves {cents}, a multiple of 41"))
    } else {
        Verdict::Applied
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    pub(crate) puts: u64,
    pub(crate) milestones: u64,
}

pub(crate) struct Balance;

impl Stage for Balance {
    type State = Account;
    type Output = Balanced;

    fn apply(
        &self,
        account: &mut Account,
        event: &Context<'_>,
        out: &mut Out<'_, Balanced>,
    ) -> Result<(), Reject> {
        if event.event::<Milestone>()?.is_some() {
            account.milestones += 1;
        }
        let Some(put) = event.event::<Put>()? else { return Ok(()) };
        let (n, cents) = (put.n.to_native(), put.cents.to_native());
        // Changed first, so that a rejection has something to take back.
        account.puts += 1;
        account.cents = account.cents.wrapping_add(cents);
        match verdict(n, cents) {
            Verdict::Panicked(reason) => panic!("{reason}"),
            Verdict::Rejected(reason) => return Err(Reject::new(reason)),
            Verdict::Applied => {}
        }
        out.send(&Balanced { cents: account.cents })?;
        if account.puts.is_multiple_of(PUTS_PER_MILESTONE) {
            out.emit(&Milestone { puts: account.puts, cents: account.cents })?;
        }
        Ok(())
    }
}

pub(crate) struct Risk;

impl Stage for Risk {
    type State = u64;
    type Output = Scored;

    fn apply(&self, score: &mut u64, event: &Context<'_>, out: &mut Out<'_, Scored>) -> Result<(), Reject> {
        let Some(put) = event.event::<Put>()? else { return Ok(()) };
        *score = mix(*score ^ put.note.len() as u64);
        if score.is_multiple_of(2) {
            out.send(&Scored { score: *score })?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Book {
    pub(crate) entries: u64,
    pub(crate) milestones: u64,
    pub(crate) hash: u64,
}

pub(crate) struct Ledger;

impl Stage for Ledger {
    type State = Book;
    type Output = Nothing;

    fn apply(&self, book: &mut Book, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if event.event::<Milestone>()?.is_some() {
            book.milestones += 1;
        }
        if let Some(balanced) = event.input::<Balanced>()? {
            book.entries += 1;
            book.hash = mix(book.hash ^ balanced.cents.to_native() as u64);
        }
        if let Some(scored) = event.input::<Scored>()? {
            book.hash = mix(book.hash ^ scored.score.to_native() ^ event.seq().0);
        }
        Ok(())
    }
}

pub(crate) fn flow() -> Flow {
    Flow::named("kill9")
        .stage("balance", Balance)
        .on::<Put>()
        .on::<Milestone>()
        .emits::<Milestone>()
        .stage("risk", Risk)
        .on::<Put>()
        .stage("ledger", Ledger)
        .global()
        .on::<Milestone>()
        .after(["balance", "risk"])
        .build()
        .expect("the flow is sound")
}

/// Keeps the panics that are meant to happen off the terminal; others are shown as always.
pub(crate) fn quiet_planted_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload().downcast_ref::<String>();
            let planted = message.is_some_and(|message| message.starts_with(PLANTED));
            if !planted {
                before(info);
            }
        }));
    });
}
