//! Atomics and cells: the standard ones, or loom's when models are checked.
//!
//! Every ordering that a proof rests on has a name here ([`Site`]). Under loom a model can weaken one of them
//! with [`weaken`] and must then fail: that is how the tests show that no ordering is decoration.

pub(crate) use std::sync::atomic::Ordering;

#[cfg(loom)]
pub(crate) use loom::{
    future::AtomicWaker,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64},
};
#[cfg(not(loom))]
pub(crate) use {
    atomic_waker::AtomicWaker,
    std::sync::Arc,
    std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64},
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
    /// The same, handed on from one producer to another.
    RingHeadSeen,
    /// Between publishing and looking whether someone sleeps.
    BellRing,
    /// Between saying "I sleep" and looking once more.
    BellArm,
    /// The sequencer's release of a result to the holder of a ticket.
    TicketComplete,
    /// The holder's acquire of a result.
    TicketDone,
    /// A freed ticket's release to the next user.
    TicketFree,
}

/// The ordering to use at `site`.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn order(_site: Site, ordering: Ordering) -> Ordering {
    ordering
}

/// A sequentially consistent fence.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn fence(_site: Site) {
    std::sync::atomic::fence(Ordering::SeqCst);
}

#[cfg(all(loom, test))]
pub(crate) use mutants::weaken;
#[cfg(loom)]
pub(crate) use mutants::{fence, order};

#[cfg(loom)]
mod mutants {
    //! Orderings that a model can weaken, for the thread that runs the model.
    use std::cell::Cell;

    use super::{Ordering, Site};

    std::thread_local! {
        static WEAK: Cell<Option<Site>> = const { Cell::new(None) };
    }

    pub(crate) fn order(site: Site, ordering: Ordering) -> Ordering {
        if WEAK.get() == Some(site) { Ordering::Relaxed } else { ordering }
    }

    pub(crate) fn fence(site: Site) {
        if WEAK.get() == Some(site) {
            loom::sync::atomic::fence(Ordering::AcqRel);
        } else {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
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

/// Says whom to wake.
#[inline]
pub(crate) fn register(slot: &AtomicWaker, waker: &std::task::Waker) {
    #[cfg(loom)]
    slot.register(waker.clone());
    #[cfg(not(loom))]
    slot.register(waker);
}

/// Takes the waker out, so that a dropped ticket does not keep a task alive.
#[inline]
pub(crate) fn take_waker(slot: &AtomicWaker) -> Option<std::task::Waker> {
    #[cfg(loom)]
    return slot.take_waker();
    #[cfg(not(loom))]
    return slot.take();
}
