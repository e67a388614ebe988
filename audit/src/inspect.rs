//! What does the log say? Events as JSON, decoded by the contracts in the log, without the application's code.

use std::path::Path;
use std::sync::Arc;

use downbeat_record::{
    Batch, BatchKind, ContractTable, Correlation, Fields, Key, Kind, Place, Record, Seq, Timestamp, json,
};
use downbeat_wal::Trust;
use downbeat_wal::reader::{Located, ReadOptions, Reader};
use serde_json::{Value, json};

use crate::error::{AuditError, Finding};

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
    /// The event as one JSON object. Ids are hexadecimal; absent ones are left out.
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

/// Opens a log for reading events that match `filter`.
///
/// # Errors
///
/// [`AuditError::Log`] when there is no log, or it cannot be read.
pub fn inspect(dir: &Path, filter: EventFilter) -> Result<Inspector, AuditError> {
    let from = filter.from.unwrap_or(Seq(1)).max(Seq(1));
    let options = ReadOptions { from, trust: Trust::Everything, verify_chain: false };
    let opened = Reader::open_with(dir, options);
    let reader = opened.map_err(|source| AuditError::Log { intact: Seq::ZERO, source })?;
    Ok(Inspector {
        reader,
        filter,
        from,
        contracts: ContractTable::new(),
        current: None,
        last: Seq(from.0 - 1),
        failed: false,
    })
}

/// Reads events. `next` returns `None` at the end of the log; asked again later it goes on from there, which is
/// how a log is followed. After an error it returns `None` for good.
pub struct Inspector {
    reader: Reader,
    filter: EventFilter,
    from: Seq,
    contracts: ContractTable,
    current: Option<(Located, Place)>,
    last: Seq,
    failed: bool,
}

impl Inspector {
    /// The contracts met so far.
    pub fn contracts(&self) -> &ContractTable {
        &self.contracts
    }

    /// The seq with which the log goes on behind what was read.
    pub fn next_seq(&self) -> Seq {
        self.reader.next_seq()
    }

    fn step(&mut self) -> Result<Option<DecodedEvent>, AuditError> {
        loop {
            if let Some((located, place)) = self.current.take() {
                let batch: &Batch = &located.batch;
                let mut records = batch.resume(place);
                while let Some(record) = records.next() {
                    if self.filter.to.is_some_and(|to| record.seq > to) {
                        self.failed = true;
                        return Ok(None);
                    }
                    self.last = record.seq;
                    if self.is_wanted(&record) {
                        let event = self.decode(&record, &located)?;
                        let place = records.place();
                        self.current = Some((located.clone(), place));
                        return Ok(Some(event));
                    }
                }
            }
            let intact = self.last;
            let next = self.reader.next_batch().map_err(|source| AuditError::Log { intact, source })?;
            let Some(located) = next else { return Ok(None) };
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

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let EventFilter { kind, correlation, key, .. } = &self.filter;
        let of_kind =
            |name: &String| self.name_of(record.fields.kind).is_some_and(|(known, _)| known == name);
        record.seq >= self.from
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
        AuditError::Content { path, offset, intact: self.last, finding }
    }
}

impl Iterator for Inspector {
    type Item = Result<DecodedEvent, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed |= step.is_err();
        step.transpose()
    }
}
