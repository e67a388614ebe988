//! Atomics and cells: the standard ones, or loom's when models are checked.
//!
//! Every ordering that a proof rests on has a name here ([`Site`]): one half of an access, or a fence. Under loom a
//! model can weaken one of them with [`weaken`] and must then fail: `loom_mutants.rs` has one such model for each,
//! so no ordering is decoration.

mod waker;

pub(crate) use std::sync::atomic::Ordering;

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64},
    sync::{Arc, Mutex, MutexGuard},
};
pub(crate) use waker::WakerSlot;
#[cfg(not(loom))]
pub(crate) use {
    std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64},
    std::sync::{Arc, Mutex, MutexGuard},
};

/// A place in the code whose memory ordering a proof rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// A producer's release of a written run to the consumer.
    RingCommit,
    /// The consumer's acquire of a written run.
    RingCommitted,
    /// The consumer's release of read runs to producers.
    RingHead,
    /// A producer's acquire of runs to overwrite, from the consumer.
    RingRoom,
    /// The same, handed on by the producer that saw it.
    RingHeadNoted,
    /// The same, taken over by another producer.
    RingHeadSeen,
    /// Between publishing and looking whether someone sleeps.
    BellRing,
    /// Between saying "I sleep" and looking once more.
    BellArm,
    /// The sequencer's release of a result to the holder of a ticket.
    TicketSettled,
    /// The sequencer's acquire of what the holder did before: left a waker, or let go.
    TicketSettle,
    /// The holder's acquire of a result.
    TicketDone,
    /// The holder's release of the waker it left.
    TicketWaits,
    /// The holder's acquire of the sequencer's last access to a slot that the holder frees.
    TicketDrop,
    /// The holder's release of its last access to a slot that the sequencer frees.
    TicketDropped,
    /// A freed slot's release to the next user.
    TicketFree,
    /// The next user's acquire of it.
    TicketTake,
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

/// The ordering of an exchange both of whose halves count.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn acquire_release(_: Site, _: Site) -> Ordering {
    Ordering::AcqRel
}

/// A sequentially consistent fence.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence(_: Site) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(all(loom, test))]
pub(crate) use mutants::weaken;
#[cfg(loom)]
pub(crate) use mutants::{acquire, acquire_release, fence, release};

#[cfg(loom)]
mod mutants {
    //! Orderings that a model can weaken, for the thread that runs the model.
    use std::cell::Cell;

    use super::{Ordering, Site};

    std::thread_local! {
        static WEAK: Cell<Option<Site>> = const { Cell::new(None) };
    }

    fn is_weak(site: Site) -> bool {
        WEAK.get() == Some(site)
    }

    pub(crate) fn acquire(site: Site) -> Ordering {
        if is_weak(site) { Ordering::Relaxed } else { Ordering::Acquire }
    }

    pub(crate) fn release(site: Site) -> Ordering {
        if is_weak(site) { Ordering::Relaxed } else { Ordering::Release }
    }

    pub(crate) fn acquire_release(reading: Site, writing: Site) -> Ordering {
        match (is_weak(reading), is_weak(writing)) {
            (false, false) => Ordering::AcqRel,
            (true, _) => release(writing),
            (false, true) => Ordering::Acquire,
        }
    }

    pub(crate) fn fence(site: Site) {
        let ordering = if is_weak(site) { Ordering::AcqRel } else { Ordering::SeqCst };
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

/// Keeps a value on cache lines of its own; two lines, because they are fetched in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
