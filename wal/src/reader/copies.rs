//! The memory of the batches that a reader gives out, used again when nobody holds them any more.
//!
//! New memory costs more than everything else that is done to a batch: each page of it is zeroed by the kernel when it is
//! first touched.

use std::collections::VecDeque;
use std::sync::Arc;

use downbeat_record::{Batch, WholeBatch};

/// Batches remembered at most. Who holds more gets new memory for them.
const GIVEN_MAX: usize = 256;

/// Batches that were given out, the oldest first: readers of a log let go of them in that order.
#[derive(Default)]
pub(super) struct Copies {
    given: VecDeque<Arc<Batch>>,
}

impl Copies {
    /// A copy of a batch, in memory that is free again if there is some.
    pub(super) fn copy(&mut self, whole: &WholeBatch<'_>) -> Arc<Batch> {
        let copy = self.again(whole).unwrap_or_else(|| Arc::new(whole.to_batch()));
        if self.given.len() == GIVEN_MAX {
            self.given.pop_front();
        }
        self.given.push_back(Arc::clone(&copy));
        copy
    }

    fn again(&mut self, whole: &WholeBatch<'_>) -> Option<Arc<Batch>> {
        let free = Arc::get_mut(self.given.front_mut()?)?;
        // Small batches in large memory would be more than who counts their bytes believes to hold.
        let fits = (whole.padded_len()..=2 * whole.padded_len()).contains(&free.capacity());
        if fits {
            whole.copy_to(free);
        }
        self.given.pop_front().filter(|_| fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use downbeat_record::{BLOCK, BatchKind, BatchNo, Epoch, Root, Seq, Stamp, Timestamp};

    fn bytes(blocks: usize, salt: u32) -> Vec<u8> {
        let body = vec![0x5a; blocks * BLOCK - 1_000];
        let mut batch = Batch::control(BatchKind::Contracts, Seq(9), Timestamp(7), &body);
        let prev_root = Root::default();
        let (batch_no, epoch, durable) = (BatchNo(3), Epoch(1), BatchNo(2));
        batch.seal(&Stamp { batch_no, epoch, salt, prev_root, durable, clock_error_ns: 0 });
        batch.bytes().to_vec()
    }

    fn copy(copies: &mut Copies, blocks: usize, salt: u32) -> Arc<Batch> {
        let bytes = bytes(blocks, salt);
        let copy = copies.copy(&WholeBatch::check(&bytes).unwrap());
        assert_eq!(copy.bytes(), bytes);
        assert_eq!((copy.kind(), copy.first_seq(), copy.count()), (BatchKind::Contracts, Seq(9), 0));
        copy
    }

    #[test]
    fn memory_is_used_again_when_nobody_holds_it_and_not_before() {
        let mut copies = Copies::default();
        let first = copy(&mut copies, 4, 1);
        let second = copy(&mut copies, 4, 2);
        assert_ne!(first.bytes().as_ptr(), second.bytes().as_ptr());
        let (memory, of_first) = (first.bytes().as_ptr().addr(), bytes(4, 1));
        assert_eq!(first.bytes(), of_first, "who holds a batch sees it as it was");
        drop(first);
        let third = copy(&mut copies, 3, 3);
        assert_eq!(third.bytes().as_ptr().addr(), memory);
        assert_eq!(
            third.capacity(),
            4 * BLOCK,
            "an allocator may give the same place again, but not more of it"
        );
        assert_eq!((second.bytes(), third.bytes()), (&bytes(4, 2)[..], &bytes(3, 3)[..]));
    }

    #[test]
    fn a_small_batch_gets_no_large_memory() {
        let mut copies = Copies::default();
        drop(copy(&mut copies, 8, 1));
        assert_eq!(copy(&mut copies, 3, 2).capacity(), 3 * BLOCK);
        drop(copy(&mut copies, 8, 3));
        assert_eq!(copies.given.len(), 1, "what does not fit is let go of");
    }

    #[test]
    fn no_more_is_remembered_than_said() {
        let mut copies = Copies::default();
        let held: Vec<_> = (0..GIVEN_MAX + 10).map(|_| copy(&mut copies, 1, 0)).collect();
        assert_eq!(copies.given.len(), GIVEN_MAX);
        assert_eq!(Arc::strong_count(&held[0]), 1);
    }
}
