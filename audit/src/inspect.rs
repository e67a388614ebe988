//! What does the log say? Events as JSON, decoded by the contracts in the log, without the application's code.

use std::path::Path;
use std::sync::Arc;

use downbeat_record::{
    Batch, BatchKind, ContractTable, Correlation, Fields, Key, Kind, Place, Record, Seq, Timestamp, json,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::Located;
use serde_json::{Value, json};

use crate::error::{AuditError, Finding};
use crate::walk::{Step, Walk};

/// Which events are wanted. Everything that is `Some` must match.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// The first seq.
    pub from: Option<Seq>,
    /// The last seq.
    pub to: Option<Seq>,
    /// The name of the contract, of any version.
    pub kind: Option<String>,
    /// The transaction.
    pub correlation: Option<Correlation>,
    /// The entity.
    pub key: Option<Key>,
}

/// One event, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedEvent {
    /// Its place.
    pub seq: Seq,
    /// When it was ordered.
    pub timestamp: Timestamp,
    /// Its contract's name and version.
    pub contract: (String, u16),
    /// The rest of its header.
    pub fields: Fields,
    /// Its payload.
    pub payload: Value,
    /// The file it is in.
    pub path: Arc<Path>,
    /// Where its batch starts.
    pub offset: u64,
}

impl DecodedEvent {
    /// The event as one JSON object. Ids of 128 bits are hexadecimal, and left out where there is none; all other numbers are
    /// whole, up to 2^64: a reader that makes floats of them rounds keys and times.
    pub fn to_json(&self) -> Value {
        let fields = &self.fields;
        let mut object = json!({
            "seq": self.seq.0,
            "timestamp_ns": self.timestamp.0,
            "kind": self.contract.0,
            "version": self.contract.1,
            "derived": fields.derived,
            "source": fields.source.0,
            "key": fields.key.0,
        });
        let mut put = |name: &str, value: Value| {
            if let Some(map) = object.as_object_mut() {
                map.insert(name.to_owned(), value);
            }
        };
        if !fields.correlation.is_none() {
            put("correlation", fields.correlation.to_string().into());
        }
        if fields.causation != Seq::ZERO {
            put("causation", fields.causation.0.into());
        }
        if !fields.idempotency_key.is_none() {
            put("idempotency_key", fields.idempotency_key.to_string().into());
        }
        put("payload", self.payload.clone());
        object
    }
}

/// Opens a log for reading events that match `filter`, all that a recovery would keep. Checksums are checked, the
/// chain is not.
///
/// # Errors
///
/// [`AuditError::Log`] when there is no log, or it cannot be read.
pub fn inspect(dir: &Path, filter: EventFilter) -> Result<Inspector, AuditError> {
    Inspector::open(dir, filter, Trust::Everything)
}

/// Opens a log that is being written, to read events that match `filter` as they become durable: none that is
/// shown can be cut later.
///
/// # Errors
///
/// As [`inspect`].
pub fn follow(dir: &Path, filter: EventFilter) -> Result<Inspector, AuditError> {
    Inspector::open(dir, filter, Trust::Durable)
}

/// Reads events. `next` returns `None` at the end of the log; asked again later it goes on from there, which is
/// how a log is followed. After an error, and behind the last seq wanted, it returns `None` for good.
pub struct Inspector {
    walk: Walk,
    filter: EventFilter,
    contracts: ContractTable,
    current: Option<(Located, Place)>,
    /// Whether the end of the log is still to be looked at: once, however often one asks again.
    check_end: bool,
    done: bool,
}

impl Inspector {
    fn open(dir: &Path, filter: EventFilter, trust: Trust) -> Result<Self, AuditError> {
        let walk = Walk::open(dir, filter.from.map(|from| from.max(Seq(1))), trust, false)?;
        Ok(Self {
            walk,
            filter,
            contracts: ContractTable::new(),
            current: None,
            check_end: trust == Trust::Everything,
            done: false,
        })
    }

    /// The contracts met so far.
    pub fn contracts(&self) -> &ContractTable {
        &self.contracts
    }

    /// The seq with which the log goes on behind what was read.
    pub fn next_seq(&self) -> Seq {
        self.walk.reader().next_seq()
    }

    /// True when there will be no more events: an error was given out, or the last seq wanted is behind.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn step(&mut self) -> Result<Option<DecodedEvent>, AuditError> {
        loop {
            if let Some((located, place)) = self.current.take() {
                let batch: &Batch = &located.batch;
                let mut records = batch.resume(place);
                while let Some(record) = records.next() {
                    if self.filter.to.is_some_and(|to| record.seq > to) {
                        self.done = true;
                        return Ok(None);
                    }
                    self.done = self.filter.to == Some(record.seq);
                    if self.is_wanted(&record) {
                        let event = self.decode(&record, &located)?;
                        let place = records.place();
                        self.current = Some((located.clone(), place));
                        return Ok(Some(event));
                    }
                }
            }
            if self.done {
                return Ok(None);
            }
            let Some(located) = self.next_batch()? else { return Ok(None) };
            match located.batch.kind() {
                BatchKind::Data => {
                    let place = located.batch.records().place();
                    self.current = Some((located, place));
                }
                BatchKind::Contracts => {
                    let table = ContractTable::from_json(located.batch.body())
                        .map_err(|error| self.content(&located, Finding::Contracts(error)))?;
                    self.contracts = table;
                }
                _ => {}
            }
        }
    }

    fn next_batch(&mut self) -> Result<Option<Located>, AuditError> {
        if !self.check_end {
            return self.walk.next();
        }
        match self.walk.step()? {
            Step::Batch(located) => Ok(Some(located)),
            Step::End(_) => {
                self.check_end = false;
                Ok(None)
            }
        }
    }

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let EventFilter { kind, correlation, key, .. } = &self.filter;
        let of_kind =
            |name: &String| self.name_of(record.fields.kind).is_some_and(|(known, _)| known == name);
        self.filter.from.is_none_or(|from| record.seq >= from)
            && key.is_none_or(|key| key == record.fields.key)
            && correlation.is_none_or(|wanted| wanted == record.fields.correlation)
            && kind.as_ref().is_none_or(of_kind)
    }

    fn name_of(&self, kind: Kind) -> Option<(&str, u16)> {
        self.contracts.get(kind).map(|contract| (contract.name.as_str(), contract.version))
    }

    fn decode(&self, record: &Record<'_>, located: &Located) -> Result<DecodedEvent, AuditError> {
        let (seq, kind) = (record.seq, record.fields.kind);
        let Some(contract) = self.contracts.get(kind) else {
            return Err(self.content(located, Finding::UnknownKind { seq, kind: kind.0 }));
        };
        let payload = json::decode(&contract.shape, record.payload()).map_err(|source| {
            self.content(located, Finding::Payload { seq, contract: contract.name.clone(), source })
        })?;
        Ok(DecodedEvent {
            seq,
            timestamp: record.timestamp,
            contract: (contract.name.clone(), contract.version),
            fields: record.fields,
            payload,
            path: located.path.clone(),
            offset: located.offset,
        })
    }

    fn content(&self, located: &Located, finding: Finding) -> AuditError {
        let (path, offset) = (located.path.to_path_buf(), located.offset);
        AuditError::Content { path, offset, intact: self.walk.intact(), finding: Box::new(finding) }
    }
}

impl Iterator for Inspector {
    type Item = Result<DecodedEvent, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step();
        self.done |= step.is_err();
        step.transpose()
    }
}
