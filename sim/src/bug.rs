//! Planted bugs: each breaks one promise, and a checker that does not notice does not count.

/// A bug that is planted into the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Receipts are given when a batch is handed to the disk.
    EarlyReceipt,
    /// Effects leave the process when the stage has run.
    EarlyEffect,
    /// The device confirms syncs and does nothing.
    LyingSync,
    /// Recovery leaves out the last event that it found.
    LastEventDropped,
    /// Recovery leaves out an event in the middle.
    SeqSkipped,
    /// Recovery brings back an event that an earlier one has cut.
    Resurrection,
    /// Recovery does not rebuild the window of idempotency keys.
    KeysForgotten,
    /// A stage applies some events twice.
    AppliedTwice,
    /// A stage takes what is there instead of waiting for those before it.
    UnorderedJoin,
    /// A damaged log is made to open again by zeroing what is damaged.
    DamageWiped,
    /// A derived event is lost between the stage and the door.
    CommandLost,
    /// Recovery leaves out the last event of a group.
    GroupTorn,
    /// A log that is in order is called damaged.
    RefusedForNothing,
    /// Recovery gives an event the time of the one before it.
    TimeStands,
    /// A reader leaves out the last event.
    ReaderShort,
    /// A reader shows what is not durable yet.
    ReaderAhead,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::EarlyReceipt,
        Self::EarlyEffect,
        Self::LyingSync,
        Self::LastEventDropped,
        Self::SeqSkipped,
        Self::Resurrection,
        Self::KeysForgotten,
        Self::AppliedTwice,
        Self::UnorderedJoin,
        Self::DamageWiped,
        Self::CommandLost,
        Self::GroupTorn,
        Self::RefusedForNothing,
        Self::TimeStands,
        Self::ReaderShort,
        Self::ReaderAhead,
    ];
}
