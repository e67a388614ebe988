//! The recovery table: every way in which a directory can be found, and what is done about it.
//!
//! `docs/recovery.md` is the same table for readers; `tests/recovery_table.rs` has one test per row, named
//! after it. *Kept* is the longest prefix of whole, chained batches; *next* is the first batch that is not part
//! of it; *D* is the highest batch that anything says was durable: a durable mark in the header of any batch of
//! this log, the manifest, or the header of a segment that a later writer began.
//!
//! One rule stands before all rows: where the next segment was begun by a *later epoch*, its header says how many
//! batches that writer kept, and what stands behind them in the segment before was cut then, for good. Without
//! this a write of a killed process that reaches the disk late would come back to life.

use std::fmt;

/// How a directory was found. A to G open, H to Q refuse; [`crate::ScanError::row`] gives the row of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// **Fresh.** No manifest, no segment in use, and no batch in one that says that another was durable. A log is
    /// created (or its creation, cut short by a crash, begun again): nothing can have been acknowledged before the
    /// first manifest is durable.
    A,
    /// **Empty.** A manifest, and no batch. Nothing is kept, nothing is cut.
    B,
    /// **Closed.** The manifest says that the last writer closed the log after the last kept batch. What is
    /// behind was never written, and is not looked at.
    C,
    /// **Stopped.** Only zeros follow the kept batches. The writer stopped with nothing in flight, or nothing of
    /// what was in flight reached the disk.
    D,
    /// **Torn.** Bytes follow, D is before *next*, and no whole batch is among them. Nobody was told about
    /// them: they are cut.
    E,
    /// **Torn, with islands.** As E, but whole batches follow the gap. They were in flight together with the
    /// missing one, so they were never acknowledged: an acknowledgement waits for everything before. They are
    /// cut as well, since they stand for nothing without what precedes them.
    F,
    /// **Torn header.** As E, and the gap is the header of the next segment: the log was rolling.
    G,
    /// **Damaged.** D is at or behind *next*: somebody was told that this batch is durable, and it is not there.
    /// Going on would lose it silently.
    H,
    /// **Unreadable.** The device returned an error. What is there is not known, so it is not the end.
    I,
    /// **Missing segment.** A file is not there, although a later one is in use or the manifest names it. Names
    /// are durable before a segment is used, so no crash did this.
    J,
    /// **Chain broken.** A whole batch or header with the right numbers has another past. A torn write does not
    /// pass its checksum, so bytes were replaced.
    K,
    /// **Foreign.** A segment of another log.
    L,
    /// **Misplaced.** A segment of this log under the name of another.
    M,
    /// **Other format.** A newer major version, a batch of a kind or version that is not known, or settings that fix the bytes differently.
    N,
    /// **Not a file.** A link or directory under the name of a segment or manifest; links are not followed.
    O,
    /// **Truncated.** A segment shorter than its header says. It had its full size before it was used.
    P,
    /// **Manifest lost.** Both slots are unreadable and segment 1 is not there: retired or lost, nobody knows.
    Q,
}

impl Row {
    /// The letter in the table.
    pub fn letter(self) -> char {
        char::from(b'A' + self as u8)
    }

    /// True when something was cut that the next writer must note.
    pub fn is_cut(self) -> bool {
        matches!(self, Self::E | Self::F | Self::G)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.letter(), f)
    }
}
