//! The log, as the actors and subscribers read it again.

use std::sync::Arc;

use downbeat_actors::{History, HistoryError};
use downbeat_record::{Batch, BatchKind, Seq};
use downbeat_wal::Trust;
use downbeat_wal::reader::{ReadError, ReadOptions, Reader};

use crate::shared::Shared;

/// Opens a reader on the log of this engine. It reads everything that is whole; how much of that is durable the
/// engine knows better than the bytes do.
pub(crate) fn reader(shared: &Shared, from: Seq) -> Result<Reader, ReadError> {
    let own = Some(shared.own);
    let options = ReadOptions { from, trust: Trust::Everything, verify_chain: false, own };
    Reader::on(Arc::clone(&shared.log), options)
}

/// The log of an engine, as far as it is durable.
pub(crate) struct LogHistory {
    shared: Arc<Shared>,
}

impl LogHistory {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl History for LogHistory {
    fn durable(&self) -> Seq {
        self.shared.durable()
    }

    fn read(
        &self,
        from: Seq,
        upto: Seq,
        take: &mut dyn FnMut(Arc<Batch>) -> bool,
    ) -> Result<(), HistoryError> {
        if from > upto {
            return Ok(());
        }
        if !self.shared.wait_durable(upto) {
            return Err(format!("the engine stopped before seq {upto} was durable").into());
        }
        let mut reader = reader(&self.shared, from)?;
        let mut next = from;
        while next <= upto {
            let Some(located) = reader.next_batch()? else {
                return Err(
                    format!("the log ends at seq {} although {upto} is durable", Seq(next.0 - 1)).into()
                );
            };
            if located.batch.kind() != BatchKind::Data {
                continue;
            }
            next = located.batch.next_seq();
            if !take(located.batch) {
                break;
            }
        }
        Ok(())
    }
}
