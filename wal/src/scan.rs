//! Walking over the batches of a segment: the one reading path, used by recovery and by readers alike.
//!
//! A batch is *there* when its header and body pass their checksums, it carries the salt and the epoch of its
//! segment, and it is the one that comes next. A batch that is there but not chained to the one before is no
//! accident of a disk, and an error of its own.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{BLOCK, BatchError, BatchHeader, BatchNo, Epoch, Root, Seq, WholeBatch, is_zero};

use crate::error::{Damage, ScanError};
use crate::segment::{SEGMENT_BYTES_MAX, SegmentHeader};
use crate::storage::File;
use crate::window::{Pace, Window};

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) next_batch: BatchNo,
    pub(crate) next_seq: Seq,
    pub(crate) epoch: Epoch,
    /// What the next batch of the current segment is chained to.
    pub(crate) link: Root,
    /// The root of the last batch, which the header of the next segment must hold.
    pub(crate) last_root: Root,
}

impl Chain {
    /// Before the first segment of a log.
    pub(crate) fn start() -> Self {
        Self {
            next_batch: BatchNo(1),
            next_seq: Seq(1),
            epoch: Epoch(0),
            link: Root::default(),
            last_root: Root::default(),
        }
    }

    /// As a segment header says; for the oldest segment there is.
    pub(crate) fn adopt(header: &SegmentHeader) -> Self {
        Self {
            next_batch: header.first_batch_no,
            next_seq: header.first_seq,
            epoch: header.epoch,
            link: Root::default(),
            last_root: header.prev_root,
        }
    }

    /// True when the segment begins exactly where this chain ends.
    pub(crate) fn continues_in(&self, header: &SegmentHeader) -> bool {
        header.first_batch_no == self.next_batch
            && header.first_seq == self.next_seq
            && header.prev_root == self.last_root
            && header.epoch >= self.epoch
    }

    /// Goes into a segment.
    pub(crate) fn enter(&mut self, header: &SegmentHeader, root: Root) {
        self.epoch = header.epoch;
        self.link = root;
    }

    /// Goes over a batch behind which `next_seq` comes.
    pub(crate) fn pass(&mut self, next_seq: Seq, root: Root) {
        self.next_batch = self.next_batch.next();
        self.next_seq = next_seq;
        self.link = root;
        self.last_root = root;
    }
}

/// What stands at a place where a batch should.
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation for every batch")]
pub(crate) enum Found<'a> {
    Batch(WholeBatch<'a>, Root),
    Nothing(Damage),
}

/// A place in a segment.
pub(crate) struct SegmentScan {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) window: Window,
    pub(crate) offset: u64,
    /// Computes roots and checks links.
    pub(crate) verify_chain: bool,
}

impl SegmentScan {
    /// At the first batch of a segment.
    pub(crate) fn new(path: PathBuf, header: SegmentHeader, file: Arc<dyn File>, pace: Pace) -> Self {
        Self { path, header, window: Window::new(file, pace), offset: BLOCK as u64, verify_chain: true }
    }

    /// Looks for the batch that comes next, and checks it where it was read. The place moves only by
    /// [`SegmentScan::pass`].
    pub(crate) fn find(&mut self, chain: &Chain) -> Result<Found<'_>, ScanError> {
        let offset = self.offset;
        let room = self.header.segment_size.saturating_sub(offset);
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            // No damage says what a later build would say. Cut, it would be lost by going back to this one.
            Err(Damage::Batch(source)) if source.is_newer() => {
                return Err(ScanError::NewerBatch { path: self.path.clone(), offset, source });
            }
            Err(damage) => return Ok(Found::Nothing(damage)),
        };
        if header.padded_len() as u64 > room {
            return Ok(Found::Nothing(Damage::TooLong { claimed: header.padded_len() as u64 }));
        }
        let expected = (self.header.batch_salt(), self.header.epoch, chain.next_batch, chain.next_seq);
        if (header.salt(), header.epoch(), header.batch_no(), header.first_seq()) != expected {
            let (found, epoch) = (header.batch_no(), header.epoch());
            return Ok(Found::Nothing(Damage::Misdirected { found, epoch }));
        }
        let bytes = match self.window.at(offset, header.padded_len()) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ScanError::Unreadable { path: self.path.clone(), offset, source }),
        };
        let batch = match WholeBatch::check(bytes) {
            Ok(batch) => batch,
            Err(BatchError::Short { .. }) => return Ok(Found::Nothing(Damage::EndOfFile)),
            Err(error) => return Ok(Found::Nothing(error.into())),
        };
        if !self.verify_chain {
            return Ok(Found::Batch(batch, Root::default()));
        }
        if header.prev_root() != chain.link {
            let batch = header.batch_no();
            return Err(ScanError::ChainBroken { path: self.path.clone(), offset, batch });
        }
        let root = batch.root();
        Ok(Found::Batch(batch, root))
    }

    /// Goes over the batch that was found, which takes so many bytes.
    pub(crate) fn pass(&mut self, padded_len: usize) {
        self.offset += padded_len as u64;
    }

    /// The header of a batch at `offset`, if its checksum holds.
    pub(crate) fn header_at(&mut self, offset: u64) -> Result<Result<BatchHeader, Damage>, ScanError> {
        let room = self.header.segment_size.saturating_sub(offset).min(BLOCK as u64) as usize;
        match self.window.at(offset, room) {
            Ok(bytes) if bytes.len() < BATCH_HEADER_LEN => Ok(Err(Damage::EndOfFile)),
            Ok(bytes) if is_zero(bytes) => Ok(Err(Damage::Zeros)),
            Ok(bytes) => Ok(BatchHeader::parse(bytes).map_err(Damage::from)),
            Err(source) => Err(ScanError::Unreadable { path: self.path.clone(), offset, source }),
        }
    }
}

/// What was found behind the place where a log ends.
#[derive(Default)]
pub(crate) struct Behind {
    /// Whole batches that belong to the log but have lost what stood before them, and the seqs they begin with.
    pub(crate) islands: Vec<(BatchNo, Seq)>,
    /// The highest durable mark in any of their headers.
    pub(crate) durable: BatchNo,
    /// Anything but zeros was there.
    pub(crate) dirty: bool,
}

impl Behind {
    /// Looks at every block of a file from one place to its end.
    ///
    /// `salt` is that of the segment, if its header can be read: [`may_belong`].
    pub(crate) fn look(
        &mut self,
        path: PathBuf,
        mut window: Window,
        place: Range<u64>,
        salt: Option<u32>,
        next: BatchNo,
    ) -> Result<(), ScanError> {
        let mut offset = place.start;
        // Headers that lie about a length must not have the same bytes read again and again.
        let mut patience = place.end.saturating_sub(place.start).saturating_mul(4);
        while offset < place.end {
            let unreadable = |source| ScanError::Unreadable { path: path.clone(), offset, source };
            let bytes = window.at(offset, BLOCK).map_err(unreadable)?;
            if bytes.is_empty() {
                break;
            }
            let mut step = BLOCK as u64;
            if !is_zero(bytes) {
                self.dirty = true;
                match BatchHeader::parse(bytes) {
                    // As where a batch is looked for: it may say that what is damaged was acknowledged.
                    Err(source)
                        if source.is_newer() && salt.is_some() && BatchHeader::salt_in(bytes) == salt =>
                    {
                        return Err(ScanError::NewerBatch { path, offset, source });
                    }
                    Ok(header) if may_belong(&header, salt, next) => {
                        self.durable = self.durable.max(header.durable());
                        let unreadable =
                            |source| ScanError::Unreadable { path: path.clone(), offset, source };
                        // Memory is not taken on the word of a header: what does not fit into the file is not whole.
                        let len = header.padded_len();
                        let fits = offset + len as u64 <= place.end && len as u64 <= patience;
                        let len = if fits { len } else { BLOCK };
                        let whole = window.at(offset, len).map_err(unreadable)?;
                        if WholeBatch::check(whole).is_ok() {
                            step = header.padded_len() as u64;
                            if header.batch_no() >= next {
                                self.islands.push((header.batch_no(), header.first_seq()));
                            }
                        } else {
                            patience = patience.saturating_sub(len as u64);
                        }
                    }
                    _ => {}
                }
            }
            offset += step;
        }
        Ok(())
    }
}

/// Whether a header that stands behind the end of a log, where batch `next` would come, may be of that log.
///
/// The salt of the segment keeps a payload that looks like a batch from being taken for one. Without it nothing
/// does: then all are taken that could have been written there, since to cut what was acknowledged is worse than to refuse.
#[doc(hidden)]
pub fn may_belong(header: &BatchHeader, salt: Option<u32>, next: BatchNo) -> bool {
    let most = SEGMENT_BYTES_MAX / BLOCK as u64;
    match salt {
        Some(salt) => header.salt() == salt,
        None => header.batch_no() >= next && header.batch_no().0 - next.0 <= most,
    }
}

#[cfg(test)]
mod tests {
    use downbeat_record::{Batch, Stamp, Timestamp};

    use super::*;

    /// Found by reading: without the salt of its segment, that of the first header found decided, were it one in a payload.
    #[test]
    fn where_no_salt_is_known_whatever_could_come_next_may_belong() {
        let header = |batch_no| {
            let mut batch = Batch::with_capacity(4096, 0);
            batch.open(Seq(1));
            batch.push(&downbeat_record::Fields::default(), Timestamp(1), &[]).unwrap();
            batch.seal(&Stamp {
                batch_no: BatchNo(batch_no),
                epoch: Epoch(1),
                salt: 7,
                prev_root: Root::default(),
                durable: BatchNo(0),
                clock_error_ns: 0,
            });
            BatchHeader::parse(batch.bytes()).unwrap()
        };
        let next = BatchNo(10);
        let belongs = |batch_no, salt| may_belong(&header(batch_no), salt, next);
        assert_eq!([belongs(10, Some(7)), belongs(9, Some(7)), belongs(10, Some(8))], [true, true, false]);
        assert_eq!([belongs(10, None), belongs(1_000, None)], [true, true]);
        assert_eq!([belongs(9, None), belongs(1 << 40, None)], [false, false]);
    }
}
