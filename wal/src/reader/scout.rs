//! Looking ahead for durable marks: batch headers only, at the price of reading each once more.

use downbeat_record::{BLOCK, BatchNo, LogId, SegmentId};

use crate::error::ScanError;
use crate::names;
use crate::scan::SegmentScan;
use crate::segment::HeaderBlock;
use crate::storage::{Access, Storage};
use crate::survey::read_header;
use crate::window::Pace;

/// A place ahead of a reader.
pub(super) struct Scout {
    segment: SegmentId,
    offset: u64,
    scan: Option<SegmentScan>,
    durable: BatchNo,
}

impl Scout {
    pub(super) fn at(segment: SegmentId, offset: u64) -> Self {
        Self { segment, offset, scan: None, durable: BatchNo::ZERO }
    }

    /// True when it is in this segment.
    pub(super) fn stands_in(&self, segment: SegmentId) -> bool {
        self.segment == segment
    }

    /// True when the reader has overtaken it.
    pub(super) fn is_behind(&self, segment: SegmentId, offset: u64) -> bool {
        (self.segment, self.offset) < (segment, offset)
    }

    /// Goes from header to header until one carries a mark of at least `wanted`, or there is no further one.
    pub(super) fn go(
        &mut self,
        storage: &dyn Storage,
        log_id: LogId,
        wanted: BatchNo,
    ) -> Result<BatchNo, ScanError> {
        let mut fresh = false;
        while self.durable < wanted {
            if self.scan.is_none() && !self.enter(storage, log_id)? {
                break;
            }
            let scan = self.scan.as_mut().expect("a segment is open");
            let header = scan.header_at(self.offset)?.ok().filter(|header| {
                (header.salt(), header.epoch()) == (scan.header.batch_salt(), scan.header.epoch)
                    && self.offset + header.padded_len() as u64 <= scan.header.segment_size
            });
            match header {
                Some(header) => {
                    self.durable = self.durable.max(header.durable());
                    self.offset += header.padded_len() as u64;
                    fresh = false;
                }
                None if !fresh => {
                    scan.window.forget();
                    fresh = true;
                }
                None => {
                    let epoch = scan.header.epoch;
                    let mut next = Self::at(SegmentId(self.segment.0 + 1), BLOCK as u64);
                    if !next.enter(storage, log_id)? {
                        break;
                    }
                    next.durable = self.durable;
                    // A later writer had kept what is before its first batch.
                    let later =
                        next.scan.as_ref().map(|scan| scan.header).filter(|header| header.epoch > epoch);
                    if let Some(header) = later {
                        next.durable = next.durable.max(BatchNo(header.first_batch_no.0 - 1));
                    }
                    *self = next;
                    fresh = false;
                }
            }
        }
        Ok(self.durable)
    }

    fn enter(&mut self, storage: &dyn Storage, log_id: LogId) -> Result<bool, ScanError> {
        let name = names::segment(self.segment);
        // A reader that cannot open the file says so when it gets there; the scout only knows nothing.
        let Ok(file) = storage.open(&name, Access::Read) else { return Ok(false) };
        match read_header(storage, &name, &file)? {
            HeaderBlock::Valid(header, _) if header.log_id == log_id => {
                self.scan = Some(SegmentScan::new(storage.path(&name), header, file, Pace::SPARSE));
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
