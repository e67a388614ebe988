//! What an engine takes out of its log when it opens: keys that were used, contracts, checkpoints.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;

use downbeat_flow::{EventType, Flow, Kinds, source_of};
use downbeat_record::{
    BatchKind, Checkpoint, Contract, ContractError, ContractTable, Kind, Seq, Shown, SourceId, Timestamp,
    WholeBatch,
};
use downbeat_sequencer::{IdempotencyWindow, LAST_MAX, Settings};

use crate::error::{Error, ErrorKind};

type Failure = Box<dyn StdError + Send + Sync>;

/// The numbers that a log gives to the event types of a program.
pub(crate) struct Bound {
    /// For the flow.
    pub(crate) kinds: Arc<Kinds>,
    /// For those who submit.
    pub(crate) submitted: Vec<(TypeId, Kind)>,
    /// The table has contracts that the log has not seen.
    pub(crate) grew: bool,
}

/// Gathers state while the log shows its batches in order.
pub(crate) struct Recovery {
    pub(crate) window: IdempotencyWindow,
    pub(crate) contracts: ContractTable,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Who emitted something, and the first event of each.
    emitters: BTreeMap<SourceId, Seq>,
    pub(crate) last_seq: Seq,
    pub(crate) last_timestamp: Timestamp,
}

impl Recovery {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            window: IdempotencyWindow::new(settings.idempotency),
            contracts: ContractTable::new(),
            checkpoints: Vec::new(),
            emitters: BTreeMap::new(),
            last_seq: Seq::ZERO,
            last_timestamp: Timestamp::default(),
        }
    }

    /// Takes in one batch.
    pub(crate) fn visit(&mut self, batch: &WholeBatch<'_>) -> Result<(), Failure> {
        match batch.kind() {
            BatchKind::Data => self.events(batch)?,
            BatchKind::Contracts => {
                let table = ContractTable::from_json(batch.body())?;
                table.continues(&self.contracts)?;
                self.contracts = table;
            }
            BatchKind::Checkpoint => {
                let checkpoint = Checkpoint::from_json(batch.body())?;
                let (seq, last) = (checkpoint.seq, self.last_seq);
                if seq > last {
                    return Err(
                        format!("it is a checkpoint of seq {seq}, and the log is at seq {last}").into()
                    );
                }
                self.checkpoints.push(checkpoint);
            }
            BatchKind::Heartbeat | BatchKind::Recovery => {}
        }
        Ok(())
    }

    fn events(&mut self, batch: &WholeBatch<'_>) -> Result<(), Failure> {
        let last = batch.last_timestamp();
        if last > LAST_MAX {
            return Err(format!(
                "an event of it has timestamp {last}, later than any clock that is believed"
            )
            .into());
        }
        for record in batch.records() {
            if record.timestamp <= self.last_timestamp {
                let (found, before) = (record.timestamp, self.last_timestamp);
                return Err(format!(
                    "seq {} has timestamp {found}, the event before it {before}",
                    record.seq
                )
                .into());
            }
            if self.contracts.get(record.fields.kind).is_none() {
                let (seq, kind) = (record.seq, record.fields.kind.0);
                return Err(
                    format!("seq {seq} is of kind {kind}, which no contract before it explains").into()
                );
            }
            self.last_timestamp = record.timestamp;
            self.window.insert_record(&record);
            if record.fields.derived {
                self.emitters.entry(record.fields.source).or_insert(record.seq);
            }
        }
        self.last_seq = Seq(batch.next_seq().0 - 1);
        Ok(())
    }

    /// Refuses a log that holds what a stage gave which the flow does not have: nobody would compare it, and under another
    /// name the stage would emit all of it once more.
    pub(crate) fn check_stages(&self, flow: &Flow) -> Result<(), Error> {
        let stages = flow.stages().iter().map(|stage| &*stage.name);
        let known: Vec<&str> = stages.chain(flow.retired().iter().map(String::as_str)).collect();
        let sources: Vec<SourceId> = known.iter().map(|name| source_of(name)).collect();
        let mut digests = self
            .checkpoints
            .iter()
            .flat_map(|logged| logged.stages.iter().map(|one| (logged.seq, &one.stage)));
        let (seq, who) = if let Some((seq, stage)) =
            digests.find(|(_, stage)| !known.contains(&stage.as_str()))
        {
            (seq, format!("a stage `{}`, of which it has digests at seq {seq}", Shown(stage)))
        } else if let Some((_, seq)) = self.emitters.iter().find(|(source, _)| !sources.contains(source)) {
            (*seq, format!("the stage that emitted seq {seq}"))
        } else {
            return Ok(());
        };
        let what = format!(
            "the flow does not have {who}: open the log with the code that wrote it. If the stage is gone for good, say so with \
             `retired`; under another name it is a new stage, which emits for all of the log once more"
        );
        Err(Error::new(ErrorKind::Diverged, what).at(seq))
    }

    /// Gives numbers to the contracts of a flow and of the events declared besides.
    pub(crate) fn bind(&mut self, flow: &Flow, events: &[EventType]) -> Result<Bound, ContractError> {
        let before = self.contracts.len();
        let contracts = &mut self.contracts;
        let kinds = flow.bind(|contract: Contract| contracts.register(contract))?;
        let mut submitted = Vec::new();
        for one in flow.event_types().iter().chain(events) {
            submitted.push((one.type_id, contracts.register(one.contract())?));
        }
        Ok(Bound { kinds, submitted, grew: contracts.len() > before })
    }
}
