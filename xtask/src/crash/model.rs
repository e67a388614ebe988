//! The obvious model: what the flow should know, from its inputs in the order of the log.
//!
//! It shares with the stages only the events and the rule which puts are refused; how states change is said a
//! second time here.

use std::collections::BTreeMap;

use downbeat::{Key, PANICKED, Seq};

use super::flow::{Account, Book, Milestone, PUTS_PER_MILESTONE, Put, Verdict, verdict};
use super::rng::mix;

/// An event that must follow from another one, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    Milestone(Milestone),
    Rejected { reason: String, panicked: bool },
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) accounts: BTreeMap<Key, Account>,
    pub(crate) scores: BTreeMap<Key, u64>,
    pub(crate) book: Book,
    /// What has to come, by its cause.
    pub(crate) due: BTreeMap<Seq, Derived>,
}

impl Model {
    pub(crate) fn put(&mut self, seq: Seq, key: Key, put: &Put) {
        let account = self.accounts.entry(key).or_default();
        match verdict(put.n, put.cents) {
            Verdict::Applied => {
                account.puts += 1;
                account.cents = account.cents.wrapping_add(put.cents);
                if account.puts.is_multiple_of(PUTS_PER_MILESTONE) {
                    let milestone = Milestone { puts: account.puts, cents: account.cents };
                    self.due.insert(seq, Derived::Milestone(milestone));
                }
                self.book.entries += 1;
                self.book.hash = mix(self.book.hash ^ account.cents as u64);
            }
            Verdict::Rejected(reason) => {
                self.due.insert(seq, Derived::Rejected { reason, panicked: false });
            }
            Verdict::Panicked(_) => {
                self.due.insert(seq, Derived::Rejected { reason: PANICKED.to_owned(), panicked: true });
            }
        }
        let score = self.scores.entry(key).or_default();
        *score = mix(*score ^ put.note.len() as u64);
        if score.is_multiple_of(2) {
            self.book.hash = mix(self.book.hash ^ *score ^ seq.0);
        }
    }

    /// A derived event of the log; false when it is not due.
    pub(crate) fn derived(&mut self, cause: Seq, key: Key, derived: &Derived) -> bool {
        if self.due.remove(&cause).as_ref() != Some(derived) {
            return false;
        }
        if matches!(derived, Derived::Milestone(_)) {
            self.accounts.entry(key).or_default().milestones += 1;
            self.book.milestones += 1;
        }
        true
    }
}
