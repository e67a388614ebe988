//! What is in flight, and how far the log is durable: the pure core of the writer.
//!
//! ```text
//!   front                                              back
//!  ┌─────────┬─────────┬─────────┬─────────┬─────────┐
//!  │ Durable │ Written │ Written │ Writing │ Written │   popped from the front once Durable
//!  └─────────┴─────────┴─────────┴─────────┴─────────┘
//!            └── a sync covers this prefix ┘
//! ```
//!
//! Invariants: the watermark moves over the front only, so it never passes a write that is not durable; a sync
//! covers the contiguous written prefix *of one file*; at most one sync is outstanding; what is popped was
//! durable; memory is held until then, so a batch is never reused under the kernel.

use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_record::{BatchNo, SegmentId, Seq};

use crate::storage::{File, Source};

/// How far a log is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable {
    /// The last batch that is.
    pub batch_no: BatchNo,
    /// The last seq up to it.
    pub seq: Seq,
}

/// One write on its way.
pub(crate) struct Flight {
    /// How far the log is durable once this and everything before is; for a segment header, as before.
    pub(crate) mark: Durable,
    pub(crate) segment: SegmentId,
    pub(crate) file: Arc<dyn File>,
    pub(crate) source: Source,
    pub(crate) offset: u64,
    pub(crate) dsync: bool,
    /// How often it was handed over again.
    pub(crate) attempt: u16,
    pub(crate) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes are written, the rest is on its way; so many tries made no progress.
    Writing {
        done: usize,
        stalls: u32,
    },
    Written,
    Durable,
}

/// The writes in flight, oldest first.
pub(crate) struct Pipeline {
    flights: VecDeque<Flight>,
    /// The ticket of the front.
    first: u64,
    durable: Durable,
    writing: usize,
    /// The outstanding sync makes everything before this ticket durable.
    covering: Option<u64>,
}

impl Pipeline {
    pub(crate) fn new(durable: Durable) -> Self {
        Self { flights: VecDeque::new(), first: 0, durable, writing: 0, covering: None }
    }

    /// Takes a write; the answer is its ticket.
    pub(crate) fn push(&mut self, flight: Flight) -> u64 {
        self.flights.push_back(flight);
        self.writing += 1;
        self.first + self.flights.len() as u64 - 1
    }

    pub(crate) fn flight(&mut self, ticket: u64) -> &mut Flight {
        let first = self.first;
        let index = ticket.checked_sub(first).map(|index| index as usize);
        let flight = index.and_then(|index| self.flights.get_mut(index));
        flight.unwrap_or_else(|| panic!("ticket {ticket} is not in flight, the front is {first}"))
    }

    /// The write that this try of it was handed over for, if it has not ended.
    pub(crate) fn outstanding(&mut self, ticket: u64, attempt: u16) -> Option<&mut Flight> {
        let index = ticket.checked_sub(self.first)? as usize;
        let flight = self.flights.get_mut(index)?;
        let outstanding = flight.attempt == attempt && matches!(flight.progress, Progress::Writing { .. });
        outstanding.then_some(flight)
    }

    /// A write has ended, whole.
    pub(crate) fn written(&mut self, ticket: u64) {
        let flight = self.flight(ticket);
        assert!(matches!(flight.progress, Progress::Writing { .. }), "{:?} ended twice", flight.progress);
        flight.progress = if flight.dsync { Progress::Durable } else { Progress::Written };
        self.writing -= 1;
        self.advance();
    }

    /// The segment to sync, if a sync is due: it is from then on outstanding.
    pub(crate) fn begin_sync(&mut self) -> Option<(SegmentId, Arc<dyn File>)> {
        if self.covering.is_some() {
            return None;
        }
        let front = self.flights.front()?;
        let (segment, file) = (front.segment, Arc::clone(&front.file));
        let prefix = self.flights.iter().take_while(|flight| {
            !matches!(flight.progress, Progress::Writing { .. }) && Arc::ptr_eq(&flight.file, &file)
        });
        let len = prefix.count();
        if len == 0 {
            return None;
        }
        self.covering = Some(self.first + len as u64);
        Some((segment, file))
    }

    /// The outstanding sync has ended well.
    pub(crate) fn synced(&mut self) {
        let end = self.covering.take().expect("a sync ends once");
        for ticket in self.first..end {
            let flight = self.flight(ticket);
            assert!(
                !matches!(flight.progress, Progress::Writing { .. }),
                "ticket {ticket} was covered too early"
            );
            flight.progress = Progress::Durable;
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.flights.front().is_some_and(|flight| flight.progress == Progress::Durable) {
            let flight = self.flights.pop_front().expect("there is a front");
            assert!(flight.mark >= self.durable, "{:?} after {:?}", flight.mark, self.durable);
            self.durable = flight.mark;
            self.first += 1;
        }
    }

    pub(crate) fn durable(&self) -> Durable {
        self.durable
    }

    /// Writes that have not ended.
    pub(crate) fn writing(&self) -> usize {
        self.writing
    }

    /// Writes that are not durable.
    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    /// True when no sync is outstanding either: what it covers is in flight until it has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }
}
