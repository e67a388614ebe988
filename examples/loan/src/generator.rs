//! Makes up loan traffic in the real log's proportions from a seed: any volume, in time order, in bounded memory.
//!
//! ```text
//!  profile: counts taken from the real log
//!      │ one draw per decision
//!      ▼
//!  script: the whole life of one application ──admit──► active, at most 4096 ──earliest first──► LoanInput
//! ```
//!
//! - The same seed and volume give the same events on every platform: whole numbers only, a fixed generator, ties
//!   in time broken by case.
//! - Every application runs to the end of its script, so proportions hold for a short run too; with
//!   [`Volume::Events`] the last one admitted is cut off where the volume is full.
//! - Applications arrive every four minutes on average, about four times as often as in the real log; a volume
//!   that would outlast 150 years is played faster, so that times stay within what a timestamp holds.

mod profile;
mod rng;
mod script;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use rng::Rng;
use script::Step;

use crate::input::{CaseId, LoanInput};

/// The most applications that are active at once; more wait for one of them to end.
const ACTIVE_MAX: usize = 4096;
/// 2011-10-01 00:00 in Amsterdam, where the real log begins.
const START_MS: u64 = 1_317_420_000_000;
const ARRIVAL_MEAN_MS: u64 = 240_000;
const SPAN_MAX_MS: u64 = 150 * 365 * 86_400_000;
/// Applications have at least this many events on average, with room to spare.
const EVENTS_PER_APPLICATION_MIN: u64 = 10;
const FIRST_CASE: u64 = 173_688;
const CASE_STRIDE: u64 = 3;

/// How much to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// This many applications, with all their events: about 20 each.
    Applications(u64),
    /// Exactly this many events.
    Events(u64),
}

/// Loan traffic from a seed, as an iterator in time order.
///
/// ```
/// use downbeat_example_loan::{Generator, Summary, Volume};
///
/// let inputs: Vec<_> = Generator::new(7, Volume::Applications(100)).collect();
/// assert_eq!(Summary::of(&inputs).applications, 100);
/// assert!(inputs.is_sorted_by_key(|input| input.time_ns));
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    left: Volume,
    /// By how many bits all durations are shortened.
    speedup: u32,
    next_arrival_ms: u64,
    next_case: u64,
    active: BinaryHeap<Reverse<Due>>,
    /// By [`Due::slot`]: what each active application has still to do.
    scripts: Vec<Script>,
    free: Vec<u32>,
}

/// An active application, ordered by when its next step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    time_ms: u64,
    case: u64,
    slot: u32,
}

#[derive(Clone, Debug, Default)]
struct Script {
    steps: Vec<Step>,
    position: u32,
    amount_eur: u64,
}

impl Generator {
    /// Traffic from a seed.
    pub fn new(seed: u64, volume: Volume) -> Self {
        let applications = match volume {
            Volume::Applications(applications) => applications,
            Volume::Events(events) => events / EVENTS_PER_APPLICATION_MIN,
        };
        let span_ms = u128::from(applications) * u128::from(ARRIVAL_MEAN_MS);
        let speedup = (0..64).find(|shift| span_ms >> shift <= u128::from(SPAN_MAX_MS)).unwrap_or(63);
        Self {
            rng: Rng::new(seed),
            left: volume,
            speedup,
            next_arrival_ms: START_MS,
            next_case: FIRST_CASE,
            active: BinaryHeap::with_capacity(ACTIVE_MAX),
            scripts: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Admits applications until the next event is that of an active one.
    fn admit_due(&mut self) {
        while !matches!(self.left, Volume::Applications(0) | Volume::Events(0))
            && self.active.len() < ACTIVE_MAX
        {
            if self.active.peek().is_some_and(|Reverse(due)| due.time_ms < self.next_arrival_ms) {
                return;
            }
            self.admit();
        }
    }

    fn admit(&mut self) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.scripts.push(Script::default());
            u32::try_from(self.scripts.len() - 1).expect("at most ACTIVE_MAX slots")
        });
        let script = &mut self.scripts[slot as usize];
        script::write(&mut self.rng, &mut script.steps);
        script.position = 0;
        script.amount_eur = profile::amount_eur(&mut self.rng);
        match &mut self.left {
            Volume::Applications(left) => *left -= 1,
            Volume::Events(left) => {
                let len = script.steps.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                script.steps.truncate(len);
                *left -= len as u64;
            }
        }
        let case = self.next_case + u64::from(self.rng.below(CASE_STRIDE as u32));
        self.active.push(Reverse(Due { time_ms: self.next_arrival_ms, case, slot }));
        self.next_case += CASE_STRIDE;
        self.next_arrival_ms += u64::from(self.rng.below(2 * ARRIVAL_MEAN_MS as u32)) >> self.speedup;
    }
}

impl Iterator for Generator {
    type Item = LoanInput;

    fn next(&mut self) -> Option<LoanInput> {
        self.admit_due();
        let mut top = self.active.peek_mut()?;
        let Reverse(due) = &mut *top;
        let Due { time_ms, case, slot } = *due;
        let script = &mut self.scripts[slot as usize];
        let position = script.position;
        let step = script.steps[position as usize];
        script.position += 1;
        let amount_eur = (position == 0).then_some(script.amount_eur);
        match script.steps.get(position as usize + 1) {
            Some(next) => {
                due.time_ms += u64::from(next.gap_ms) >> self.speedup;
                drop(top);
            }
            None => {
                PeekMut::pop(top);
                self.free.push(slot);
            }
        }
        // An application that had to wait for a slot arrives when it gets one.
        self.next_arrival_ms = self.next_arrival_ms.max(time_ms);
        Some(LoanInput {
            case: CaseId(case),
            position,
            time_ns: time_ms * 1_000_000,
            activity: step.activity,
            transition: step.transition,
            resource: (step.resource > 0).then_some(u32::from(step.resource)),
            amount_eur,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_applications_are_active_and_never_more_than_the_limit() {
        let mut generator = Generator::new(11, Volume::Events(u64::MAX));
        generator.speedup = 0;
        let mut active_max = 0;
        for _ in 0..1_000_000 {
            generator.next();
            active_max = active_max.max(generator.active.len());
            assert!(generator.active.len() <= ACTIVE_MAX && generator.scripts.len() <= ACTIVE_MAX);
        }
        assert!(active_max > 2_000, "{active_max}");
    }
}
