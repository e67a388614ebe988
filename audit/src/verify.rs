//! Does every byte of the log hold?
//!
//! The reader checks bytes, links, numbers and segments ([`crate::walk`] knows where a log may end); what is checked
//! here is what batches say: that time goes on, that every event is explained by a contract that stands before it,
//! and that contracts, checkpoints and recovery notes do not contradict what stands before them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat_record::{
    Batch, BatchKind, BatchNo, Checkpoint, ContractTable, LogId, Record, RecoveryNote, Root, Seq, Shown,
    Timestamp, json,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::Located;

use crate::error::{AuditError, Finding};
use crate::walk::{End, Step, Walk};

/// How much is verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Checks that every payload can be decoded by its contract, besides checksums and chain. Default true.
    pub payloads: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { payloads: true }
    }
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Batches read.
    pub batches: u64,
    /// Bytes of them on disk.
    pub bytes: u64,
    /// Bytes of all segments in use when the audit began: as many as there can be to read, as a rule a little
    /// less, since the end of a segment stays empty.
    pub bytes_total: u64,
    /// The last event read.
    pub seq: Seq,
}

impl Progress {
    pub(crate) fn pass(&mut self, batch: &Batch) {
        self.batches += 1;
        self.bytes += batch.padded_len() as u64;
    }
}

/// What a log that holds is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Its identity.
    pub log_id: LogId,
    /// Segment files with batches in them.
    pub segments: u64,
    /// Batches.
    pub batches: u64,
    /// Events.
    pub events: u64,
    /// Bytes of batches, padding included.
    pub bytes: u64,
    /// The first event.
    pub first_seq: Seq,
    /// The last event.
    pub last_seq: Seq,
    /// When the first event was ordered.
    pub first_timestamp: Timestamp,
    /// When the last event was ordered.
    pub last_timestamp: Timestamp,
    /// The root of the last batch: whoever keeps it can recognise this log later.
    pub last_root: Root,
    /// How often it was opened and written.
    pub epochs: u64,
    /// The contracts it explains itself with.
    pub contracts: ContractTable,
    /// The digests it records.
    pub checkpoints: Vec<Checkpoint>,
    /// What recoveries cut off.
    pub cuts: Vec<RecoveryNote>,
    /// Events at the end that neither a later batch nor the manifest says were durable: they may never have been
    /// acknowledged.
    pub unproved: u64,
    /// The last writer finished in order, and wrote nothing after the last batch.
    pub closed: bool,
    /// What does not put the log in doubt and is worth a look.
    pub notices: Vec<Notice>,
}

/// Something in the directory of a log that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Bytes behind the end of the log: a torn or unacknowledged end, or what is being written just now.
    Behind {
        /// The file.
        path: PathBuf,
        /// Where they begin.
        offset: u64,
        /// How many whole batches are among them.
        batches: u64,
    },
    /// A slot of the manifest that does not hold; the other one does, or the segments say it all.
    ManifestSlot {
        /// The file.
        path: PathBuf,
    },
    /// There is no manifest: nothing says how far the log was durable.
    NoManifest,
    /// The log does not begin with its first event, and its manifest says that it should not.
    Begins {
        /// Its first event.
        seq: Seq,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { path, offset, batches } => write!(
                f,
                "{}: byte {offset}: bytes behind the end of the log, {batches} whole batches among them; nothing says \
                 that they were durable, and the next opening cuts them",
                Shown(path.display())
            ),
            Self::ManifestSlot { path } => {
                write!(
                    f,
                    "{}: the manifest slot does not hold; the next opening makes it anew",
                    Shown(path.display())
                )
            }
            Self::NoManifest => f.write_str("there is no manifest: a loss at the very end would not show"),
            Self::Begins { seq } => write!(
                f,
                "the log begins with seq {seq}: its manifest says that what was before has been removed, and nothing here \
                 shows that this was in order"
            ),
        }
    }
}

/// Verifies a log: structure, every checksum, the chain of hashes over batches and segment headers, dense batch
/// numbers and seqs, increasing timestamps, contracts, what control batches say, that no recovery cut what was
/// acknowledged, and (with [`VerifyOptions::payloads`]) that every payload is what its contract says.
///
/// Takes no lock and changes nothing; a log that is being written is verified as far as it reaches.
///
/// # Errors
///
/// [`AuditError`] with the first place that does not hold, and how far everything does.
pub fn verify(
    dir: &Path,
    options: VerifyOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, AuditError> {
    let mut walk = Walk::open(dir, None, Trust::Everything, true)?;
    let mut state = State::new(options, walk.reader().log_id());
    let mut done = Progress { bytes_total: walk.directory.bytes(), ..Progress::default() };
    loop {
        match walk.step()? {
            Step::End(end) => return Ok(state.finish(end)),
            Step::Batch(located) => {
                state.take(&located)?;
                done.pass(&located.batch);
                done.seq = state.found.last_seq;
                progress(done);
            }
        }
    }
}

/// What the batches up to here say.
pub(crate) struct State {
    options: VerifyOptions,
    pub(crate) found: Verified,
    files: BTreeSet<Arc<Path>>,
    epoch: u64,
    durable: BatchNo,
    /// Batches of events that no mark has covered yet.
    unmarked: VecDeque<(BatchNo, u64)>,
    /// With what the log begins, where it does not with the first batch.
    begins: Option<Seq>,
}

impl State {
    pub(crate) fn new(options: VerifyOptions, log_id: LogId) -> Self {
        let found = Verified {
            log_id,
            segments: 0,
            batches: 0,
            events: 0,
            bytes: 0,
            first_seq: Seq::ZERO,
            last_seq: Seq::ZERO,
            first_timestamp: Timestamp::default(),
            last_timestamp: Timestamp::default(),
            last_root: Root::default(),
            epochs: 0,
            contracts: ContractTable::new(),
            checkpoints: Vec::new(),
            cuts: Vec::new(),
            unproved: 0,
            closed: false,
            notices: Vec::new(),
        };
        let (files, unmarked) = (BTreeSet::new(), VecDeque::new());
        Self { options, found, files, epoch: 0, durable: BatchNo::ZERO, unmarked, begins: None }
    }

    /// Takes in a batch that is whole and in its place.
    pub(crate) fn take(&mut self, located: &Located) -> Result<(), AuditError> {
        self.check(located).map_err(|finding| AuditError::Content {
            path: located.path.to_path_buf(),
            offset: located.offset,
            intact: Some(self.found.last_seq),
            finding: Box::new(finding),
        })
    }

    fn check(&mut self, located: &Located) -> Result<(), Finding> {
        let batch = &*located.batch;
        let header = batch.header();
        let (batch_no, mark, epoch) = (located.batch_no, header.durable(), header.epoch().0);
        if epoch < self.epoch {
            return Err(Finding::Epoch { found: epoch, before: self.epoch });
        }
        if mark >= batch_no || mark < self.durable {
            return Err(Finding::Mark { batch: batch_no, found: mark, before: self.durable });
        }
        if self.found.batches == 0 {
            self.found.last_seq = Seq(batch.first_seq().0 - 1);
            self.begins = Some(batch.first_seq()).filter(|_| batch_no > BatchNo(1));
        }
        match batch.kind() {
            BatchKind::Data => self.events(batch)?,
            BatchKind::Heartbeat => {}
            _ => self.control(batch, batch_no)?,
        }
        let found = &mut self.found;
        found.batches += 1;
        found.bytes += batch.padded_len() as u64;
        found.last_root = located.root;
        found.epochs += u64::from(epoch > self.epoch);
        found.segments += u64::from(self.files.insert(located.path.clone()));
        (self.epoch, self.durable) = (epoch, mark);
        self.unmarked.push_back((batch_no, u64::from(batch.count())));
        self.drop_marked();
        Ok(())
    }

    fn control(&mut self, batch: &Batch, batch_no: BatchNo) -> Result<(), Finding> {
        let found = &mut self.found;
        if batch.kind() == BatchKind::Contracts {
            let table = ContractTable::from_json(batch.body()).map_err(Finding::Contracts)?;
            table.continues(&found.contracts).map_err(Finding::Contracts)?;
            found.contracts = table;
        } else if batch.kind() == BatchKind::Checkpoint {
            let control = |source| Finding::Control { what: "checkpoint", source };
            let checkpoint = Checkpoint::from_json(batch.body()).map_err(control)?;
            let (seq, last) = (checkpoint.seq, found.last_seq);
            if seq > last {
                return Err(Finding::CheckpointAhead { seq, last });
            }
            found.checkpoints.push(checkpoint);
        } else {
            let control = |source| Finding::Control { what: "recovery note", source };
            let note = RecoveryNote::from_json(batch.body()).map_err(control)?;
            let (kept, kept_seq, seq) = (note.kept, note.kept_seq, found.last_seq);
            if kept.0.checked_add(1) != Some(batch_no.0) || kept_seq != seq {
                let batch = BatchNo(batch_no.0 - 1);
                return Err(Finding::Note { kept, kept_seq, batch, seq });
            }
            found.cuts.push(note);
        }
        Ok(())
    }

    fn events(&mut self, batch: &Batch) -> Result<(), Finding> {
        let mut last = self.found.last_timestamp;
        for record in batch.records() {
            if record.timestamp <= last {
                return Err(Finding::Time { seq: record.seq, found: record.timestamp, before: last });
            }
            last = record.timestamp;
            self.event(&record)?;
        }
        let found = &mut self.found;
        if found.events == 0 {
            (found.first_seq, found.first_timestamp) = (batch.first_seq(), batch.timestamp());
        }
        found.events += u64::from(batch.count());
        found.last_seq = Seq(batch.next_seq().0 - 1);
        found.last_timestamp = last;
        Ok(())
    }

    fn event(&self, record: &Record<'_>) -> Result<(), Finding> {
        let (seq, fields) = (record.seq, &record.fields);
        let Some(contract) = self.found.contracts.get(fields.kind) else {
            return Err(Finding::UnknownKind { seq, kind: fields.kind.0 });
        };
        let cause = fields.causation;
        if fields.derived && (cause == Seq::ZERO || cause >= seq || fields.idempotency_key.is_none()) {
            return Err(Finding::Derived { seq, cause });
        }
        if self.options.payloads
            && let Err(source) = json::check(&contract.shape, record.payload())
        {
            return Err(Finding::Payload { seq, contract: contract.name.clone(), source });
        }
        Ok(())
    }

    fn drop_marked(&mut self) {
        while self.unmarked.front().is_some_and(|(batch_no, _)| *batch_no <= self.durable) {
            self.unmarked.pop_front();
        }
    }

    pub(crate) fn finish(mut self, end: End) -> Verified {
        self.durable = self.durable.max(end.durable);
        self.drop_marked();
        self.found.unproved = self.unmarked.iter().map(|(_, events)| events).sum();
        (self.found.closed, self.found.notices) = (end.closed, end.notices);
        self.found.notices.extend(self.begins.map(|seq| Notice::Begins { seq }));
        self.found
    }
}
