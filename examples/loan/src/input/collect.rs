//! Gathers what was read: good events into time order, bad ones as the caller chose.

use std::collections::BTreeMap;

use super::error::{BadInput, InputError};
use super::fields::Event;
use super::{CaseId, LoanInput};

/// The most bad inputs that [`OnBadInput::DeadLetter`] keeps; one more is an error, never a silent loss.
pub const DEAD_LETTERS_MAX: usize = 100_000;

/// What to do with an event that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadInput {
    /// Stop with an error.
    #[default]
    Stop,
    /// Count it and go on.
    Skip,
    /// Keep it for the caller and go on, up to [`DEAD_LETTERS_MAX`].
    DeadLetter,
}

/// What an input held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The events in time order, ties in the order of the file.
    pub inputs: Vec<LoanInput>,
    /// How many inputs were bad: lines, XES events, or XES traces whose own attributes are bad.
    pub bad: u64,
    /// The bad inputs, in the order of the file; empty unless [`OnBadInput::DeadLetter`] was asked for.
    pub dead_letters: Vec<BadInput>,
}

pub(super) struct Collector {
    on_bad: OnBadInput,
    loaded: Loaded,
    /// Events per case so far. Ordered rather than hashed: ids come from outside, and no choice of ids may be slow.
    positions: BTreeMap<CaseId, u32>,
}

impl Collector {
    pub(super) fn new(on_bad: OnBadInput) -> Self {
        Self { on_bad, loaded: Loaded::default(), positions: BTreeMap::new() }
    }

    pub(super) fn accept(&mut self, case: CaseId, event: Event, amount_eur: Option<u64>) {
        let next = self.positions.entry(case).or_insert(0);
        let position = *next;
        *next = next.checked_add(1).expect("fewer than 2^32 events of a case fit into memory");
        let Event { time_ns, activity, transition, resource } = event;
        self.loaded.inputs.push(LoanInput {
            case,
            position,
            time_ns,
            activity,
            transition,
            resource,
            amount_eur,
        });
    }

    pub(super) fn refuse(&mut self, bad: BadInput) -> Result<(), InputError> {
        match self.on_bad {
            OnBadInput::Stop => return Err(InputError::Bad(Box::new(bad))),
            OnBadInput::Skip => {}
            OnBadInput::DeadLetter if self.loaded.dead_letters.len() == DEAD_LETTERS_MAX => {
                return Err(InputError::TooManyDeadLetters { place: bad.place });
            }
            OnBadInput::DeadLetter => self.loaded.dead_letters.push(bad),
        }
        self.loaded.bad += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Loaded {
        // Stable: events of one instant stay in the order of the file.
        self.loaded.inputs.sort_by_key(|input| input.time_ns);
        self.loaded
    }
}
