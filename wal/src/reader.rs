//! Reading a log: from its start or from a seq, finished or while it is being written, in any process.
//!
//! A reader takes no lock and changes nothing. It goes over the same bytes with the same code as recovery
//! (`scan.rs`), and checks checksums always and the chain unless told not to.
//!
//! A batch that reads well may still be cut by a recovery, if it was never acknowledged. By default a reader
//! therefore gives out only batches that something behind them, or the manifest, says were durable
//! ([`Trust::Durable`]). At the end of what can be trusted [`Reader::next_batch`] returns `None`; asking again
//! later goes on from there, which is how a log is followed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat_record::{BLOCK, Batch, BatchKind, BatchNo, Epoch, LogId, Root, SegmentId, Seq, Shown};

use crate::error::{Damage, ScanError};
use crate::manifest::Manifest;
use crate::names;
use crate::recovery;
use crate::scan::{Chain, Found, SegmentScan};
use crate::segment::{HeaderBlock, SegmentHeader};
use crate::storage::disk::{Disk, DiskQueue};
use crate::storage::{Access, Storage};
use crate::survey::{Survey, read_header, read_manifest};
use crate::window::Pace;

mod copies;
mod scout;

use copies::Copies;
use scout::Scout;

/// Which batches a reader gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that a later batch or the manifest says were durable.
    #[default]
    Durable,
    /// Those up to this one, by the word of somebody who knows: the writer in the same process.
    UpTo(BatchNo),
    /// Every whole batch that continues the chain: what a recovery would keep, when reading begins with the log. On a log
    /// that is being written, or was not closed, the last of them may be cut later; and with a later seq what stands before its
    /// segment is not looked at, where a recovery may find that the log ends.
    Everything,
}

/// How a log is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The first seq wanted; the batch that holds it is the first one given out. [`Seq::ZERO`] is the beginning of the
    /// oldest segment, whatever its header says: what checks a log does not let the log say where to begin.
    pub from: Seq,
    /// Which batches are given out.
    pub trust: Trust,
    /// Checks that every batch is chained to the one before. Without it only checksums are checked.
    pub verify_chain: bool,
    /// Who has the log open knows which batches are its own: from which one on, and of which epoch. What an earlier
    /// writer left under such a number was cut, and only a segment header that is damaged lets it be found.
    pub own: Option<(BatchNo, Epoch)>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { from: Seq(1), trust: Trust::Durable, verify_chain: true, own: None }
    }
}

/// A batch and where it was read.
#[derive(Clone)]
pub struct Located {
    /// The batch.
    pub batch: Arc<Batch>,
    /// Its number.
    pub batch_no: BatchNo,
    /// Its root; zero when the chain is not verified.
    pub root: Root,
    /// The file.
    pub path: Arc<Path>,
    /// Where in the file.
    pub offset: u64,
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no log.
    #[error("{}: there is no log here", Shown(dir.display()))]
    NotFound {
        /// The directory.
        dir: PathBuf,
    },
    /// The segment was retired while it was wanted; what is left begins later.
    #[error("{}: segment {segment} is gone; read from a seq that is still kept", Shown(path.display()))]
    SegmentGone {
        /// The file it was.
        path: PathBuf,
        /// Its number.
        segment: SegmentId,
    },
    /// The log has been shortened at its beginning.
    #[error("seq {from} is gone, the log begins with {oldest}")]
    Retired {
        /// The seq asked for.
        from: Seq,
        /// The first seq there is.
        oldest: Seq,
    },
    /// What is there is not a log that holds together.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

/// Reads batches in order.
pub struct Reader {
    storage: Arc<dyn Storage>,
    options: ReadOptions,
    log_id: LogId,
    /// The next segment to enter, while none is open.
    segment: SegmentId,
    scan: Option<Open>,
    chain: Chain,
    /// The chain has begun: the first segment entered need not continue anything.
    begun: bool,
    /// The segment before was read ahead.
    streaming: bool,
    /// The highest batch known durable.
    durable: BatchNo,
    scout: Option<Scout>,
    copies: Copies,
}

/// The segment being read.
struct Open {
    scan: SegmentScan,
    path: Arc<Path>,
    /// A later writer kept only batches before this one.
    limit: Option<BatchNo>,
}

impl Open {
    /// True when the batch that stands here under this number is none of the log any more.
    fn is_cut(&self, batch_no: BatchNo) -> bool {
        self.limit == Some(batch_no)
    }
}

impl Reader {
    /// Opens the log in `dir` at its start, trusting what was durable and verifying the chain.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] when there is none; otherwise what makes the directory unreadable.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::open_with(dir, ReadOptions::default())
    }

    /// Opens the log in `dir`.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`], and [`ReadError::Retired`] when the seq wanted is not kept any more.
    pub fn open_with(dir: impl AsRef<Path>, options: ReadOptions) -> Result<Self, ReadError> {
        let dir = dir.as_ref();
        let not_found = || ReadError::NotFound { dir: dir.to_path_buf() };
        match Disk::open(dir, false, DiskQueue::Blocking) {
            Ok(disk) => Self::on(Arc::new(disk), options),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_found()),
            Err(source) => {
                Err(ScanError::Io { action: "open the directory", path: dir.to_path_buf(), source }.into())
            }
        }
    }

    /// Opens the log in a storage.
    ///
    /// # Errors
    ///
    /// As [`Reader::open_with`].
    pub fn on(storage: Arc<dyn Storage>, options: ReadOptions) -> Result<Self, ReadError> {
        let survey = Survey::take(&*storage)?;
        let Some(log_id) = survey.log_id() else {
            recovery::expect_no_log(&*storage, &survey)?;
            return Err(ReadError::NotFound { dir: storage.path("") });
        };
        let oldest = survey.manifest.map_or(SegmentId(1), |manifest| manifest.oldest);
        let headers =
            || survey.segments.range(oldest..).filter_map(|(id, segment)| Some((id, segment.header()?)));
        // Where the header of the oldest is none, that is what there is to say: nothing was retired.
        let shortened = oldest != SegmentId(1) && options.from != Seq::ZERO;
        let first = headers().next().filter(|(id, _)| shortened && **id == oldest);
        if let Some(oldest) = first.map(|(_, header)| header.first_seq).filter(|seq| *seq > options.from) {
            return Err(ReadError::Retired { from: options.from, oldest });
        }
        // The last segment that begins at or before the seq. Segments that a crash left over begin later than
        // the one that replaced them, or carry a lower epoch than an earlier one.
        let mut segment = oldest;
        let mut epoch = downbeat_record::Epoch(0);
        for (id, header) in headers() {
            if header.epoch >= epoch && header.first_seq <= options.from {
                (segment, epoch) = (*id, header.epoch);
            }
        }
        let mut reader = Self {
            storage,
            options,
            log_id,
            segment,
            scan: None,
            chain: Chain::start(),
            begun: segment == SegmentId(1),
            streaming: false,
            durable: BatchNo::ZERO,
            scout: None,
            copies: Copies::default(),
        };
        reader.learn(survey.manifest);
        Ok(reader)
    }

    /// The identity of the log.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The batch that comes next.
    pub fn next_no(&self) -> BatchNo {
        self.chain.next_batch
    }

    /// The seq that the next batch begins with.
    pub fn next_seq(&self) -> Seq {
        self.chain.next_seq
    }

    /// Raises the watermark of [`Trust::UpTo`].
    pub fn trust_up_to(&mut self, batch_no: BatchNo) {
        self.options.trust = Trust::UpTo(batch_no);
    }

    /// The next batch, or `None` when there is none yet that can be trusted. Batches without events are given out
    /// from the start of the segment in which the seq wanted lies: the contracts there explain what follows.
    ///
    /// # Errors
    ///
    /// [`ReadError::Scan`] when something that was durable is not there; the reader then stays where it is.
    pub fn next_batch(&mut self) -> Result<Option<Located>, ReadError> {
        loop {
            let Some(located) = self.step()? else { return Ok(None) };
            if located.batch.kind() != BatchKind::Data || located.batch.next_seq() > self.options.from {
                return Ok(Some(located));
            }
        }
    }

    /// The batches there are; ends where [`Reader::next_batch`] says `None`, and after an error.
    pub fn batches(&mut self) -> impl Iterator<Item = Result<Located, ReadError>> + '_ {
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let next = self.next_batch();
            failed = next.is_err();
            next.transpose()
        })
    }

    fn step(&mut self) -> Result<Option<Located>, ReadError> {
        let (mut fresh, mut again) = (false, false);
        loop {
            if self.scan.is_none() && !self.enter(self.segment)? {
                if !self.is_promised(self.chain.next_batch)? {
                    return Ok(None);
                }
                // A live writer may have begun it after the look above and before the promise was found.
                if !std::mem::replace(&mut again, true) {
                    continue;
                }
                return Err(self.no_beginning()?);
            }
            let open = self.scan.as_mut().expect("a segment is open");
            let found = if open.is_cut(self.chain.next_batch) {
                Found::Nothing(Damage::Zeros)
            } else {
                open.scan.find(&self.chain)?
            };
            match found {
                Found::Batch(whole, root) => {
                    let (batch_no, epoch) = (self.chain.next_batch, whole.header().epoch());
                    if self.options.own.is_some_and(|(from, own)| batch_no >= from && epoch != own) {
                        // What a killed writer had in flight may have landed here since this was entered.
                        let header = open.scan.header;
                        let limit = self.limit(&header)?;
                        let open = self.scan.as_mut().expect("a segment is open");
                        open.limit = limit;
                        if open.is_cut(batch_no) {
                            continue;
                        }
                        let (path, offset) = (open.path.to_path_buf(), open.scan.offset);
                        let reason = Damage::Misdirected { found: batch_no, epoch };
                        return Err(self.missing(path, offset, reason));
                    }
                    let batch = self.copies.copy(&whole);
                    if !self.is_trusted(self.chain.next_batch)? {
                        return Ok(None);
                    }
                    let open = self.scan.as_ref().expect("a segment is open");
                    if open.is_cut(self.chain.next_batch) {
                        continue;
                    }
                    return Ok(Some(self.pass(batch, root)));
                }
                Found::Nothing(damage) => {
                    // Another process may have written since the window was read.
                    if !std::mem::replace(&mut fresh, true) {
                        self.streaming = open.scan.window.is_ahead();
                        open.scan.window.forget();
                        continue;
                    }
                    if self.is_made_anew()? {
                        (self.scan, self.scout, fresh) = (None, None, false);
                        continue;
                    }
                    if self.enter(SegmentId(self.segment.0 + 1))? {
                        fresh = false;
                        continue;
                    }
                    if !self.is_promised(self.chain.next_batch)? {
                        return Ok(None);
                    }
                    // A live writer may have written it after the look above and before the promise was found.
                    if !std::mem::replace(&mut again, true) {
                        self.scan.as_mut().expect("a segment is open").scan.window.forget();
                        continue;
                    }
                    return Err(self.damaged(damage)?);
                }
            }
        }
    }

    /// Something in the segment in which the reader stands was durable and is not there. Where that segment ends in zeros,
    /// as a full one does, it may be the next one that is damaged.
    fn damaged(&self, damage: Damage) -> Result<ReadError, ReadError> {
        if damage == Damage::Zeros {
            let name = names::segment(SegmentId(self.segment.0 + 1));
            if let reason @ Damage::Header(_) = self.beginning(&name)? {
                return Ok(self.missing(self.storage.path(&name), 0, reason));
            }
        }
        let open = self.scan.as_ref().expect("a segment is open");
        Ok(self.missing(open.path.to_path_buf(), open.scan.offset, damage))
    }

    /// The segment with which reading should begin is not one any more, although something in it was durable.
    fn no_beginning(&self) -> Result<ReadError, ReadError> {
        let name = names::segment(self.segment);
        let reason = self.beginning(&name)?;
        Ok(self.missing(self.storage.path(&name), 0, reason))
    }

    /// What is wrong where a segment should begin.
    fn beginning(&self, name: &str) -> Result<Damage, ReadError> {
        let Ok(file) = self.storage.open(name, Access::Read) else { return Ok(Damage::NoSegment) };
        Ok(match read_header(&*self.storage, name, &file)? {
            HeaderBlock::Invalid(error) => Damage::Header(error),
            HeaderBlock::Empty | HeaderBlock::Valid(..) => Damage::Zeros,
        })
    }

    /// The next batch was durable, and this is what is there instead.
    fn missing(&self, path: PathBuf, offset: u64, reason: Damage) -> ReadError {
        ReadError::Scan(ScanError::Damaged {
            path,
            offset,
            batch: self.chain.next_batch,
            first_seq: self.chain.next_seq,
            resumes: None,
            durable: self.durable.max(self.chain.next_batch),
            reason,
        })
    }

    fn pass(&mut self, batch: Arc<Batch>, root: Root) -> Located {
        let open = self.scan.as_mut().expect("a segment is open");
        let (batch_no, offset) = (self.chain.next_batch, open.scan.offset);
        self.durable = self.durable.max(batch.header().durable());
        self.chain.pass(batch.next_seq(), root);
        open.scan.pass(batch.padded_len());
        Located { batch, batch_no, root, path: Arc::clone(&open.path), offset }
    }

    /// Goes into a segment if it is there and continues the chain.
    fn enter(&mut self, id: SegmentId) -> Result<bool, ReadError> {
        let name = names::segment(id);
        let mut opened = self.storage.open(&name, Access::Read);
        if is_missing(&opened) {
            let manifest = read_manifest(&*self.storage)?;
            self.learn(manifest);
            self.renew_limit()?;
            let retired = manifest.is_some_and(|manifest| manifest.oldest > id);
            if !retired && self.header(SegmentId(id.0 + 1))?.is_none() {
                return Ok(false);
            }
            // A live writer may have made both since.
            opened = self.storage.open(&name, Access::Read);
            if retired || is_missing(&opened) {
                return Err(ReadError::SegmentGone { path: self.storage.path(&name), segment: id });
            }
        }
        let file = match opened {
            Ok(file) => file,
            Err(source) => {
                return Err(ScanError::Io { action: "open", path: self.storage.path(&name), source }.into());
            }
        };
        let HeaderBlock::Valid(header, root) = read_header(&*self.storage, &name, &file)? else {
            return Ok(false);
        };
        if !self.begun {
            self.chain = Chain::adopt(&header);
            self.begun = true;
        }
        let (log_id, found) = (self.log_id, header.log_id);
        if found != log_id {
            let path = self.storage.path(&name);
            return Err(ScanError::ForeignSegment { path, found, expected: log_id }.into());
        }
        let continues = if self.options.verify_chain {
            self.chain.continues_in(&header)
        } else {
            (header.first_batch_no, header.first_seq) == (self.chain.next_batch, self.chain.next_seq)
                && header.epoch >= self.chain.epoch
        };
        if !continues {
            return self.explain_break(&header, &name);
        }
        self.chain.enter(&header, root);
        let limit = self.limit(&header)?;
        let path = self.storage.path(&name);
        let pace = Pace::on(&*self.storage, self.streaming);
        let mut scan = SegmentScan::new(path.clone(), header, file, pace);
        scan.verify_chain = self.options.verify_chain;
        self.segment = id;
        self.scan = Some(Open { scan, path: path.into(), limit });
        // A later writer may have made this segment anew since the scout went into it.
        self.scout.take_if(|scout| scout.stands_in(id));
        Ok(true)
    }

    /// True when a later writer kept nothing of this segment and began it once more.
    fn is_made_anew(&self) -> Result<bool, ReadError> {
        let open = self.scan.as_ref().filter(|open| open.scan.offset == BLOCK as u64);
        let Some(open) = open else { return Ok(false) };
        Ok(self.header(self.segment)?.is_some_and(|header| header != open.scan.header))
    }

    /// Where a later writer went on, if one did: what stands in this segment from there on was cut.
    fn limit(&self, header: &SegmentHeader) -> Result<Option<BatchNo>, ReadError> {
        let next = self.header(SegmentId(header.segment.0 + 1))?;
        Ok(next.filter(|next| next.epoch > header.epoch).map(|next| next.first_batch_no))
    }

    /// A segment that begins elsewhere: later than here is a gap, which the caller judges; the same place with
    /// another past is an altered log.
    fn explain_break(&self, header: &SegmentHeader, name: &str) -> Result<bool, ReadError> {
        if header.epoch < self.chain.epoch || header.first_batch_no > self.chain.next_batch {
            return Ok(false);
        }
        let path = self.storage.path(name);
        Err(ScanError::ChainBroken { path, offset: 0, batch: header.first_batch_no }.into())
    }

    fn header(&self, id: SegmentId) -> Result<Option<SegmentHeader>, ReadError> {
        let name = names::segment(id);
        match self.storage.open(&name, Access::Read) {
            Ok(file) => Ok(match read_header(&*self.storage, &name, &file)? {
                HeaderBlock::Valid(header, _) if header.log_id == self.log_id => Some(header),
                _ => None,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                Err(ScanError::Io { action: "open", path: self.storage.path(&name), source }.into())
            }
        }
    }

    fn is_trusted(&mut self, batch_no: BatchNo) -> Result<bool, ReadError> {
        match self.options.trust {
            Trust::Everything => Ok(true),
            Trust::UpTo(limit) => Ok(batch_no <= limit),
            Trust::Durable => {
                if self.durable < batch_no {
                    self.look_ahead(batch_no)?;
                }
                Ok(self.durable >= batch_no)
            }
        }
    }

    /// True when something says that the batch was durable.
    fn is_promised(&mut self, batch_no: BatchNo) -> Result<bool, ReadError> {
        if matches!(self.options.trust, Trust::UpTo(limit) if batch_no <= limit) {
            return Ok(true);
        }
        if self.durable < batch_no {
            self.look_ahead(batch_no)?;
        }
        Ok(self.durable >= batch_no)
    }

    /// Reads durable marks ahead of the place, then the manifest, until one covers `batch_no`.
    fn look_ahead(&mut self, batch_no: BatchNo) -> Result<(), ReadError> {
        if let Some(open) = &self.scan {
            let behind =
                self.scout.as_ref().is_none_or(|scout| scout.is_behind(self.segment, open.scan.offset));
            if behind {
                self.scout = Some(Scout::at(self.segment, open.scan.offset));
            }
        }
        if let Some(scout) = &mut self.scout {
            let marked = scout.go(&*self.storage, self.log_id, batch_no)?;
            self.durable = self.durable.max(marked);
        }
        if self.durable < batch_no {
            self.learn(read_manifest(&*self.storage)?);
        }
        if self.durable >= batch_no {
            self.renew_limit()?;
        }
        Ok(())
    }

    /// Looks again where a later writer went on: it may be one that says what is durable, of a batch of its own. What a
    /// killed writer had in flight can land here even now.
    fn renew_limit(&mut self) -> Result<(), ReadError> {
        let Some(header) = self.scan.as_ref().map(|open| open.scan.header) else { return Ok(()) };
        let limit = self.limit(&header)?;
        self.scan.as_mut().expect("it is open").limit = limit;
        Ok(())
    }

    fn learn(&mut self, manifest: Option<Manifest>) {
        if let Some(manifest) = manifest.filter(|manifest| manifest.log_id == self.log_id) {
            self.durable = self.durable.max(manifest.durable);
        }
    }
}

fn is_missing<T>(opened: &io::Result<T>) -> bool {
    opened.as_ref().err().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
