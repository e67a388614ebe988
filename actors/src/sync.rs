//! The one switch between what the system gives, loom's, and shuttle's; and the orderings that a proof rests on.
//!
//! Under loom, models of a few accesses go through every interleaving that memory orders allow. Under shuttle, whole
//! flows run on a scheduler that draws lots at every atomic, lock and message; there all orders are sequential.
//!
//! Each ordering that a proof rests on has a name ([`Site`]): one half of an access, or a fence. Under loom a model can weaken one with
//! [`weaken`] and must then fail: `loom_mutants.rs` has one such model for each.

pub(crate) use std::sync::atomic::Ordering;

/// Bounded channels.
pub(crate) mod channel {
    #[cfg(not(shuttle))]
    pub(crate) use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::mpsc::{
        Receiver, SyncSender as Sender, TryRecvError, sync_channel as bounded,
    };
}

/// Threads that this crate starts.
pub(crate) mod thread {
    #[cfg(shuttle)]
    pub(crate) use shuttle::thread::{Builder, JoinHandle};
    #[cfg(not(shuttle))]
    pub(crate) use std::thread::{Builder, JoinHandle};
}

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// A place in the code whose memory ordering a proof rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// A ringer's release of what it published.
    DoorbellRing,
    /// The consumer's acquire of what was published before it was rung for.
    DoorbellAnswer,
    /// Between setting a bell's flag and looking whether the poller will see it.
    LookingSeen,
    /// Between "I do not look any more" and looking once more.
    LookingEnd,
    /// The sender's release of the words it wrote.
    WordsPublish,
    /// The receiver's acquire of them.
    WordsPublished,
    /// The receiver's release of the words it took.
    WordsFree,
    /// The sender's acquire of words to write over.
    WordsFreed,
    /// A worker's release of what it did for events up to its cursor.
    CursorPass,
    /// Another's acquire of that.
    CursorPassed,
    /// Between moving and looking whether someone waits for it.
    WaitingTake,
    /// Between "I wait" and looking once more.
    WaitingRaise,
    /// Between publishing a cursor and looking up to where the sequencer sleeps.
    OrderMoved,
    /// Between saying up to where the sequencer sleeps and looking once more.
    OrderArm,
    /// Between "I hold commands back" and trying the front door once more.
    BacklogRaise,
    /// A worker's release of the commands that went to the front door after all.
    BacklogLower,
    /// The sequencer's acquire of that.
    BacklogDown,
}

/// The ordering of a load, or of the reading half of an exchange.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn acquire(_: Site) -> Ordering {
    Ordering::Acquire
}

/// The ordering of a store, or of the writing half of an exchange.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn release(_: Site) -> Ordering {
    Ordering::Release
}

/// A sequentially consistent fence.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence(_: Site) {
    #[cfg(not(shuttle))]
    std::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(all(loom, test))]
pub(crate) use mutants::weaken;
#[cfg(loom)]
pub(crate) use mutants::{acquire, fence, release};

#[cfg(loom)]
mod mutants {
    //! Orderings that a model can weaken, for the thread that runs the model.
    use std::cell::Cell;

    use super::{Ordering, Site};

    std::thread_local! {
        static WEAK: Cell<Option<Site>> = const { Cell::new(None) };
    }

    pub(crate) fn acquire(site: Site) -> Ordering {
        if WEAK.get() == Some(site) { Ordering::Relaxed } else { Ordering::Acquire }
    }

    pub(crate) fn release(site: Site) -> Ordering {
        if WEAK.get() == Some(site) { Ordering::Relaxed } else { Ordering::Release }
    }

    pub(crate) fn fence(site: Site) {
        let ordering = if WEAK.get() == Some(site) { Ordering::AcqRel } else { Ordering::SeqCst };
        loom::sync::atomic::fence(ordering);
    }

    /// Runs `model` with the ordering of one site weakened: accesses to relaxed, fences to acquire-release.
    #[cfg(test)]
    pub(crate) fn weaken(site: Site, model: impl FnOnce()) {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                WEAK.set(None);
            }
        }
        WEAK.set(Some(site));
        let _restore = Restore;
        model();
    }
}
