//! From batch to batch through a whole log, and the reason why it ends where it ends.
//!
//! ```text
//!  Reader ──batch──► whoever asked
//!    │ none, or damage
//!    ▼
//!  Directory: does anything behind the place say that the next batch was durable?
//!    ├─ yes ─► read once more: a writer may have gone on ─► still nothing: damage, with the file to blame
//!    └─ no ──► the end of the log, and what stands behind it
//! ```
//!
//! The rule is that of recovery: a batch is missed if a durable mark, the manifest or the header of a segment that
//! a later writer began says that it was durable. It also holds behind a cut: a recovery cuts nothing that was
//! acknowledged, so a mark that says otherwise was written by someone else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat_record::{BLOCK, BatchNo, Epoch, SegmentId, Seq};
use downbeat_wal::error::Damage;
use downbeat_wal::names;
use downbeat_wal::reader::{Located, ReadError, ReadOptions, Reader};
use downbeat_wal::segment::HeaderBlock;
use downbeat_wal::{ScanError, Trust};

use crate::directory::{Behind, Directory};
use crate::error::{AuditError, Finding};
use crate::verify::Notice;

/// Goes through a log.
pub(crate) struct Walk {
    dir: PathBuf,
    reader: Reader,
    /// The directory as it was at the beginning.
    pub(crate) directory: Directory,
    /// The file read last, and the place behind the last batch in it.
    file: Option<Arc<Path>>,
    segment: SegmentId,
    offset: u64,
    epoch: Epoch,
    /// The last seq read.
    last: Seq,
    /// The log is read from its beginning, with its chain: everything up to the last seq read holds.
    whole: bool,
}

/// What comes next.
pub(crate) enum Step {
    /// A batch.
    Batch(Located),
    /// Nothing: the log ends.
    End(End),
}

/// How a log ends.
#[derive(Debug)]
pub(crate) struct End {
    /// The highest batch that the manifest says is durable.
    pub(crate) durable: BatchNo,
    /// The last writer closed the log after its last batch.
    pub(crate) closed: bool,
    /// What is worth a look.
    pub(crate) notices: Vec<Notice>,
}

impl Walk {
    /// Opens a log; `from` as in [`ReadOptions`], `None` for its beginning, wherever that is.
    pub(crate) fn open(
        dir: &Path,
        from: Option<Seq>,
        trust: Trust,
        verify_chain: bool,
    ) -> Result<Self, AuditError> {
        let from_the_start = from.is_none_or(|from| from <= Seq(1));
        let whole = verify_chain && from_the_start;
        let failed =
            |source| AuditError::Log { intact: whole.then_some(Seq::ZERO), source: Box::new(source) };
        let options = ReadOptions { from: from.unwrap_or(Seq::ZERO), trust, verify_chain, own: None };
        let reader = Reader::open_with(dir, options);
        if let Err(error @ ReadError::NotFound { .. }) = reader {
            return Err(failed(error));
        }
        let directory = Directory::read(dir).map_err(|error| failed(error.into()))?;
        let retired = matches!(reader, Err(ReadError::Retired { .. }));
        let reader = match missing_beginning(&directory).filter(|_| retired || from_the_start) {
            Some(missing) => Err(missing.into()),
            None => reader,
        };
        let reader = reader.map_err(failed)?;
        let segment = directory.oldest();
        Ok(Self {
            dir: dir.to_path_buf(),
            reader,
            directory,
            file: None,
            segment,
            offset: BLOCK as u64,
            epoch: Epoch::default(),
            last: Seq::ZERO,
            whole,
        })
    }

    /// The reader.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Everything up to here holds, when that is being verified.
    pub(crate) fn intact(&self) -> Option<Seq> {
        self.whole.then_some(self.last)
    }

    /// The next batch, or `None` where the log has no further one that can be trusted; nothing else is looked at.
    pub(crate) fn next(&mut self) -> Result<Option<Located>, AuditError> {
        let mut next = self.reader.next_batch();
        if let Err(ReadError::Scan(ScanError::Damaged { .. })) = next {
            // The batch may have been written after it was looked for and before a mark behind it was found. Now
            // that a mark is there, so is the batch.
            next = self.reader.next_batch();
        }
        match next {
            Ok(Some(located)) => {
                self.pass(&located)?;
                Ok(Some(located))
            }
            Ok(None) => Ok(None),
            Err(ReadError::Scan(ScanError::Damaged { durable, reason, .. })) => {
                Err(self.damaged(durable, Some(reason)))
            }
            Err(ReadError::SegmentGone { path, segment }) => Err(self.gone(path, segment)),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The next batch, or the end of the log, if it may end here.
    pub(crate) fn step(&mut self) -> Result<Step, AuditError> {
        if let Some(located) = self.next()? {
            return Ok(Step::Batch(located));
        }
        let (mut directory, mut behind) = self.look_behind()?;
        if behind.durable >= self.reader.next_no() {
            if let Some(located) = self.next()? {
                return Ok(Step::Batch(located));
            }
            (directory, behind) = self.look_behind()?;
            if behind.durable >= self.reader.next_no() {
                return Err(self.damaged(behind.durable, None));
            }
        }
        Ok(Step::End(self.end(&directory, behind)))
    }

    fn pass(&mut self, located: &Located) -> Result<(), AuditError> {
        if self.file.as_ref().is_none_or(|file| !Arc::ptr_eq(file, &located.path)) {
            let epoch = located.batch.header().epoch();
            if self.file.is_some() && epoch > self.epoch {
                self.check_cut(located)?;
            }
            let name = located.path.file_name().and_then(|name| name.to_str());
            self.segment = name.and_then(names::parse_segment).unwrap_or(self.segment);
            (self.file, self.epoch) = (Some(Arc::clone(&located.path)), epoch);
        }
        self.offset = located.offset + located.batch.padded_len() as u64;
        self.last = Seq(located.batch.next_seq().0 - 1);
        Ok(())
    }

    /// A later writer began a segment: what it left behind in the one before had not been acknowledged.
    fn check_cut(&self, located: &Located) -> Result<(), AuditError> {
        let mut behind = Behind::default();
        let looked = behind.look(&self.directory, self.segment, self.offset, located.batch_no);
        looked.map_err(|error| self.failed(error.into()))?;
        if behind.durable < located.batch_no {
            return Ok(());
        }
        Err(AuditError::Content {
            path: self.directory.file(self.segment),
            offset: self.offset,
            intact: self.intact(),
            finding: Box::new(Finding::Cut {
                epoch: located.batch.header().epoch(),
                batch: located.batch_no,
                durable: behind.durable,
            }),
        })
    }

    fn look_behind(&self) -> Result<(Directory, Behind), AuditError> {
        let failed = |error: ScanError| self.failed(error.into());
        let directory = Directory::read(&self.dir).map_err(failed)?;
        let next = self.reader.next_no();
        let mut behind = directory.look_behind(self.segment, self.offset, next).map_err(failed)?;
        let manifest = directory.manifests.newest.map_or(BatchNo::ZERO, |manifest| manifest.durable);
        // A writer of a later epoch had kept what is before its first batch.
        let kept = directory.segments.keys().filter_map(|id| directory.header(*id));
        let kept = kept.filter(|header| header.epoch > self.epoch && self.file.is_some());
        let kept = kept.map(|header| BatchNo(header.first_batch_no.0 - 1)).max().unwrap_or_default();
        behind.durable = behind.durable.max(manifest).max(kept);
        let hole = SegmentId(self.segment.0 + u64::from(self.file.is_some()));
        if !directory.segments.contains_key(&hole) && directory.is_needed(hole) {
            let path = directory.file(hole);
            return Err(self.failed(ScanError::MissingSegment { path, segment: hole }.into()));
        }
        Ok((directory, behind))
    }

    fn end(&self, directory: &Directory, behind: Behind) -> End {
        let manifest = directory.manifests.newest;
        let mut notices = Vec::new();
        if manifest.is_none() && directory.manifests.damaged.is_empty() {
            notices.push(Notice::NoManifest);
        }
        let damaged = directory.manifests.damaged.iter().cloned();
        notices.extend(damaged.map(|path| Notice::ManifestSlot { path }));
        if let Some((path, offset)) = behind.dirty {
            notices.push(Notice::Behind { path, offset, batches: behind.islands.len() as u64 });
        }
        End {
            durable: manifest.map_or(BatchNo::ZERO, |manifest| manifest.durable),
            closed: manifest
                .is_some_and(|manifest| manifest.closed && manifest.durable.next() == self.reader.next_no()),
            notices,
        }
    }

    /// The next batch was durable and is not there: names the file in which it, or what leads to it, should be.
    fn damaged(&self, durable: BatchNo, reason: Option<Damage>) -> AuditError {
        match self.blame(durable, reason) {
            Ok(error) | Err(error) => self.failed(error.into()),
        }
    }

    fn blame(&self, durable: BatchNo, reason: Option<Damage>) -> Result<ScanError, ScanError> {
        let directory = Directory::read(&self.dir)?;
        let (batch, first_seq) = (self.reader.next_no(), self.reader.next_seq());
        let behind = directory.look_behind(self.segment, self.offset, batch)?;
        let resumes = behind.islands.iter().filter(|(no, _)| *no > batch).min().map(|(_, seq)| *seq);
        let at = |id: SegmentId, offset, reason| {
            let path = directory.file(id);
            ScanError::Damaged { path, offset, batch, first_seq, resumes, durable, reason }
        };
        if self.file.is_none() || directory.is_zero(self.segment, self.offset)? {
            // The batch is not in this file. Is the next one what it should be?
            let id = SegmentId(self.segment.0 + u64::from(self.file.is_some()));
            match directory.segments.get(&id) {
                None if directory.is_needed(id) => {
                    return Ok(ScanError::MissingSegment { path: directory.file(id), segment: id });
                }
                Some(HeaderBlock::Invalid(error)) => return Ok(at(id, 0, Damage::Header(*error))),
                Some(HeaderBlock::Empty) if directory.is_needed(id) => return Ok(at(id, 0, Damage::Zeros)),
                Some(HeaderBlock::Valid(header, _)) if header.first_batch_no == batch => {
                    return Ok(at(id, BLOCK as u64, reason.unwrap_or(Damage::Zeros)));
                }
                _ => {}
            }
        }
        Ok(at(self.segment, self.offset, reason.unwrap_or(Damage::Zeros)))
    }

    /// A segment is not there: retired, by the word of the manifest, or lost.
    fn gone(&self, path: PathBuf, segment: SegmentId) -> AuditError {
        let manifests = crate::manifest::Manifests::read(&self.dir).unwrap_or_default();
        let retired = manifests.newest.is_some_and(|manifest| manifest.oldest > segment);
        self.failed(if retired {
            ReadError::SegmentGone { path, segment }
        } else {
            ScanError::MissingSegment { path, segment }.into()
        })
    }

    fn failed(&self, source: ReadError) -> AuditError {
        AuditError::Log { intact: self.intact(), source: Box::new(source) }
    }
}

/// A log of which later segments are there, and not the one it begins with, has lost its beginning.
fn missing_beginning(directory: &Directory) -> Option<ScanError> {
    let oldest = directory.oldest();
    directory.segments.keys().find(|id| **id > oldest && directory.header(**id).is_some())?;
    let path = directory.file(oldest);
    let first = directory.segments.keys().next().copied().unwrap_or(oldest);
    match directory.segments.get(&oldest) {
        Some(HeaderBlock::Valid(..)) => None,
        Some(HeaderBlock::Invalid(error)) => Some(ScanError::Damaged {
            path,
            offset: 0,
            batch: BatchNo(1),
            first_seq: Seq(1),
            resumes: None,
            durable: directory.manifests.newest.map_or(BatchNo(1), |manifest| manifest.durable),
            reason: Damage::Header(*error),
        }),
        _ if directory.manifests.newest.is_none() => Some(ScanError::ManifestLost { path, first }),
        _ => Some(ScanError::MissingSegment { path, segment: oldest }),
    }
}
