//! The recovery table: every way in which a directory can be found, and what is done about it.
//!
//! `docs/recovery.md` is the same table for readers; `tests/recovery_table.rs` has one test per row, named
//! after it. *Kept* is the longest prefix of whole, chained batches; *next* is the first batch that is not part
//! of it; *D* is the highest batch that anything says was durable: a durable mark in the header of any batch of
//! this log, the manifest, or the header of a segment that a later writer began.

use std::fmt;

/// How a log was found, when it could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// **A.** No manifest and no segment in use. A log is created (or its creation, cut short by a crash, begun
    /// again): nothing can have been acknowledged before the first manifest is durable.
    A,
    /// **B.** A manifest, and no segment in use. The log is empty.
    B,
    /// **C.** The manifest says that the last writer closed the log after the last kept batch. What is behind
    /// was never written, and is not looked at.
    C,
    /// **D.** Only zeros follow the kept batches. The writer stopped with nothing in flight.
    D,
    /// **E.** Bytes follow, D is before *next*, and no whole batch is among them. A torn tail: nobody was told
    /// about it, it is cut.
    E,
    /// **F.** As E, but whole batches follow the gap. They were in flight together with the batch that is
    /// missing, so D is before it and they were never acknowledged: an acknowledgement waits for everything
    /// before. They are cut as well, since they stand for nothing without what precedes them.
    F,
    /// **G.** As E, and the gap is the header of the next segment: the log was rolling when it stopped.
    G,
}

impl Row {
    /// The letter in the table.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
            Self::G => "G",
        }
    }

    /// True when something was cut that the next writer must note.
    pub fn is_cut(self) -> bool {
        matches!(self, Self::E | Self::F | Self::G)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}
