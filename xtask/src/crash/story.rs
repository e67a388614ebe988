//! What the pipes told, over all the writers of one log.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use downbeat::Seq;

use super::writer::{PRODUCERS, UNTOLD_MAX};

/// What the writers of one log said.
#[derive(Clone)]
pub(crate) struct Story {
    /// Where each n was acknowledged; `Seq::ZERO` when it was not.
    pub(crate) acknowledged: Vec<Seq>,
    /// Per producer, the first n that is not acknowledged.
    pub(crate) from: Vec<u64>,
    /// Per producer, no n from here on was ever submitted by a writer that has died.
    pub(crate) frontier: Vec<u64>,
    /// The last seq, as the writer that closed the log said.
    pub(crate) closed_at: Seq,
    /// Resubmitted, and found in the log: written, but not acknowledged before a writer died.
    pub(crate) recovered: u64,
    /// How often each row of the recovery table cut something; `-` for an open that cut nothing.
    pub(crate) rows: BTreeMap<String, u32>,
}

/// What a line told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Opened,
    Acknowledged,
    Closed,
}

impl Story {
    /// Nothing was said.
    pub(crate) fn new() -> Self {
        let from: Vec<_> = (0..PRODUCERS).collect();
        Self {
            acknowledged: Vec::new(),
            frontier: from.clone(),
            from,
            closed_at: Seq::ZERO,
            recovered: 0,
            rows: BTreeMap::new(),
        }
    }

    /// How many events were acknowledged.
    pub(crate) fn count(&self) -> u64 {
        self.acknowledged.iter().filter(|seq| **seq != Seq::ZERO).count() as u64
    }

    /// Every n below may be in the log, and is once a writer has submitted it again.
    pub(crate) fn until(&self) -> u64 {
        self.frontier.iter().copied().max().unwrap_or_default()
    }

    /// Takes in one line.
    pub(crate) fn take(&mut self, line: &str) -> anyhow::Result<Told> {
        let mut words = line.split_whitespace();
        let mut word = || words.next().with_context(|| format!("half a line: {line:?}"));
        match word()? {
            "a" => {
                let (n, seq) = (word()?.parse()?, Seq(word()?.parse()?));
                let duplicate = word()? == "d";
                self.acknowledge(n, seq, duplicate)?;
                Ok(Told::Acknowledged)
            }
            "opened" => {
                let _last_seq = word()?;
                *self.rows.entry(word()?.to_owned()).or_default() += 1;
                Ok(Told::Opened)
            }
            "closed" => {
                self.closed_at = Seq(word()?.parse()?);
                Ok(Told::Closed)
            }
            other => bail!("the writer said {other:?}"),
        }
    }

    /// Takes in one receipt.
    fn acknowledge(&mut self, n: u64, seq: Seq, duplicate: bool) -> anyhow::Result<()> {
        let lane = (n % PRODUCERS) as usize;
        ensure!(n == self.from[lane], "n {n} was acknowledged where {} comes next", self.from[lane]);
        self.from[lane] += PRODUCERS;
        if duplicate {
            ensure!(n < self.frontier[lane], "n {n} is called a duplicate, and was not submitted before");
            self.recovered += 1;
        }
        let at = usize::try_from(n)?;
        if self.acknowledged.len() <= at {
            self.acknowledged.resize(at + 1, Seq::ZERO);
        }
        self.acknowledged[at] = seq;
        Ok(())
    }

    /// The writer is dead: what it had in flight may be in the log.
    pub(crate) fn died(&mut self) {
        for (lane, from) in self.frontier.iter_mut().zip(&self.from) {
            *lane = (*lane).max(from + UNTOLD_MAX * PRODUCERS);
        }
    }
}
