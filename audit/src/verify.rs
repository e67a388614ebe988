//! Does every byte of the log hold?

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use downbeat_record::{
    Batch, BatchKind, BatchNo, Checkpoint, ContractTable, LogId, RecoveryNote, Root, Seq, Timestamp, json,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::{Located, ReadOptions, Reader};

use crate::error::{AuditError, Finding};

/// How much is verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Decodes every payload by its contract, besides checksums and chain. Default true.
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
    /// The last event read.
    pub seq: Seq,
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
    /// Events at the end that no later batch says were durable: they may never have been acknowledged.
    pub unproved: u64,
}

/// Verifies a log: structure, every checksum, the chain of hashes, dense seqs, increasing timestamps, contracts,
/// and (with [`VerifyOptions::payloads`]) that every payload is what its contract says.
///
/// # Errors
///
/// [`AuditError`] with the first place that does not hold, and how far everything does.
pub fn verify(
    dir: &Path,
    options: VerifyOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Verified, AuditError> {
    let mut state = State::new(options);
    let all = ReadOptions { from: Seq(1), trust: Trust::Everything, verify_chain: true };
    let failed = |intact, source| AuditError::Log { intact, source };
    let mut reader = Reader::open_with(dir, all).map_err(|source| failed(Seq::ZERO, source))?;
    state.found.log_id = reader.log_id();
    loop {
        let next = reader.next_batch().map_err(|source| failed(state.found.last_seq, source))?;
        let Some(located) = next else { break };
        if let Err(finding) = state.take(&located) {
            return Err(AuditError::Content {
                path: located.path.to_path_buf(),
                offset: located.offset,
                intact: state.found.last_seq,
                finding,
            });
        }
        let found = &state.found;
        progress(Progress { batches: found.batches, bytes: found.bytes, seq: found.last_seq });
    }
    Ok(state.finish())
}

struct State {
    options: VerifyOptions,
    found: Verified,
    files: BTreeSet<std::sync::Arc<Path>>,
    epoch: u64,
    durable: BatchNo,
    /// Batches of events that no mark has covered yet.
    unmarked: VecDeque<(BatchNo, u64)>,
}

impl State {
    fn new(options: VerifyOptions) -> Self {
        let found = Verified {
            log_id: LogId::default(),
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
        };
        let (files, unmarked) = (BTreeSet::new(), VecDeque::new());
        Self { options, found, files, epoch: 0, durable: BatchNo::ZERO, unmarked }
    }

    fn take(&mut self, located: &Located) -> Result<(), Finding> {
        let batch = &*located.batch;
        let header = batch.header();
        if header.epoch().0 < self.epoch {
            return Err(Finding::Epoch { found: header.epoch().0, before: self.epoch });
        }
        match batch.kind() {
            BatchKind::Data => self.events(batch)?,
            BatchKind::Contracts => {
                let table = ContractTable::from_json(batch.body()).map_err(Finding::Contracts)?;
                table.continues(&self.found.contracts).map_err(Finding::Contracts)?;
                self.found.contracts = table;
            }
            BatchKind::Checkpoint => {
                let control = |source| Finding::Control { what: "checkpoint", source };
                let checkpoint = Checkpoint::from_json(batch.body()).map_err(control)?;
                let (seq, last) = (checkpoint.seq, self.found.last_seq);
                if seq > last {
                    return Err(Finding::CheckpointAhead { seq, last });
                }
                self.found.checkpoints.push(checkpoint);
            }
            BatchKind::Recovery => {
                let control = |source| Finding::Control { what: "recovery note", source };
                self.found.cuts.push(serde_json::from_slice(batch.body()).map_err(control)?);
            }
            BatchKind::Heartbeat => {}
        }
        let found = &mut self.found;
        found.batches += 1;
        found.bytes += batch.padded_len() as u64;
        found.last_root = located.root;
        found.epochs += u64::from(header.epoch().0 > self.epoch);
        self.epoch = header.epoch().0;
        if self.files.insert(located.path.clone()) {
            found.segments += 1;
        }
        self.durable = self.durable.max(header.durable());
        self.unmarked.push_back((located.batch_no, u64::from(batch.count())));
        while self.unmarked.front().is_some_and(|(batch_no, _)| *batch_no <= self.durable) {
            self.unmarked.pop_front();
        }
        Ok(())
    }

    fn events(&mut self, batch: &Batch) -> Result<(), Finding> {
        let mut last = self.found.last_timestamp;
        for record in batch.records() {
            let seq = record.seq;
            if record.timestamp <= last {
                return Err(Finding::Time { seq, found: record.timestamp, before: last });
            }
            last = record.timestamp;
            let kind = record.fields.kind;
            let Some(contract) = self.found.contracts.get(kind) else {
                return Err(Finding::UnknownKind { seq, kind: kind.0 });
            };
            if self.options.payloads
                && let Err(source) = json::decode(&contract.shape, record.payload())
            {
                return Err(Finding::Payload { seq, contract: contract.name.clone(), source });
            }
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

    fn finish(mut self) -> Verified {
        self.found.unproved = self.unmarked.iter().map(|(_, events)| events).sum();
        self.found
    }
}
