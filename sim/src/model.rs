//! The obvious model: the same bank as a fold over the events, in one loop, with maps, and nothing of ours.
//!
//! It knows neither stages nor shards, lanes, batches or files. What the world computed in pieces, in any
//! interleaving and over any number of crashes has to be what this loop computes at once.

use std::collections::BTreeMap;

use downbeat_record::{Digest, Key, Seq};
use rkyv::util::AlignedVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::bank::{Account, Total, mix};

/// One event, as a client or a stage meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Money from outside.
    Deposit {
        /// How much.
        cents: u64,
    },
    /// Money to another account.
    Move {
        /// Which.
        to: u64,
        /// How much.
        cents: u64,
    },
    /// Money from another account.
    Credit {
        /// How much.
        cents: u64,
    },
    /// The word that a stage refused an event.
    Rejection,
}

/// What has to follow from an event: exactly one event with it as its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// A credit to an account.
    Credit {
        /// Which.
        to: Key,
        /// How much.
        cents: u64,
    },
    /// A rejection.
    Rejection,
}

/// The bank after some events.
#[derive(Default)]
pub struct Model {
    /// By account.
    pub accounts: BTreeMap<Key, Account>,
    /// Over all.
    pub total: Total,
    /// What was posted for an event.
    pub posted: BTreeMap<Seq, u64>,
    /// What has to follow from an event.
    pub consequences: BTreeMap<Seq, Consequence>,
}

impl Model {
    /// Takes in the event at `seq`, about `key`.
    pub fn apply(&mut self, seq: Seq, key: Key, meaning: Meaning) {
        if meaning == Meaning::Rejection {
            return;
        }
        let account = self.accounts.entry(key).or_default();
        match meaning {
            Meaning::Deposit { cents } | Meaning::Credit { cents } => account.cents += cents,
            Meaning::Move { cents, .. } if account.cents < cents => {
                self.consequences.insert(seq, Consequence::Rejection);
                return;
            }
            Meaning::Move { to, cents } => {
                account.cents -= cents;
                self.consequences.insert(seq, Consequence::Credit { to: Key(to), cents });
            }
            Meaning::Rejection => {}
        }
        account.trail = mix(account.trail, seq.0, account.cents);
        self.total.count += 1;
        self.total.trail = mix(self.total.trail, seq.0, account.cents);
        self.posted.insert(seq, self.total.trail);
    }

    /// The digests of the states of `book` and `ledger`, as `docs/format.md` defines them.
    pub fn digests(&self) -> [Digest; 2] {
        let of = |stage: &str, key: Key, bytes: AlignedVec| {
            Digest::of(xxh3_64(stage.as_bytes()).wrapping_add(key.0), &bytes).0
        };
        let bytes = |account: &Account| rkyv::to_bytes::<rkyv::rancor::Panic>(account);
        let sum = |sum: u128, (key, account): (&Key, &Account)| match bytes(account) {
            Ok(bytes) => sum.wrapping_add(of("book", *key, bytes)),
        };
        let ledger = match rkyv::to_bytes::<rkyv::rancor::Panic>(&self.total) {
            Ok(bytes) if self.total.count > 0 => of("ledger", Key::NONE, bytes),
            Ok(_) => 0,
        };
        [Digest(self.accounts.iter().fold(0, sum)), Digest(ledger)]
    }
}
