//! What an engine takes out of its log when it opens: keys that were used, contracts, checkpoints.

use std::any::TypeId;
use std::error::Error as StdError;
use std::sync::Arc;

use downbeat_flow::{EventType, Flow, Kinds};
use downbeat_record::{
    BatchKind, Checkpoint, Contract, ContractError, ContractTable, Kind, Seq, Timestamp, WholeBatch,
};
use downbeat_sequencer::{IdempotencyWindow, LAST_MAX, Settings};

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
    pub(crate) last_seq: Seq,
    pub(crate) last_timestamp: Timestamp,
}

impl Recovery {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            window: IdempotencyWindow::new(settings.idempotency),
            contracts: ContractTable::new(),
            checkpoints: Vec::new(),
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
            BatchKind::Checkpoint => self.checkpoints.push(Checkpoint::from_json(batch.body())?),
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
            self.last_timestamp = record.timestamp;
            self.window.insert_record(&record);
        }
        self.last_seq = Seq(batch.next_seq().0 - 1);
        Ok(())
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
