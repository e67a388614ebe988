//! redb: a copy-on-write tree; one transaction at a time, each synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer, key};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str =
    "Durability::Immediate: synced at commit; a key an event, a transaction a commit";

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

pub(crate) struct Redb {
    database: Option<Arc<Database>>,
    file: PathBuf,
}

impl Redb {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("events.redb");
        Ok(Self { database: Some(Arc::new(Database::create(&file)?)), file })
    }
}

impl Peer for Redb {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Hold { database: self.database.clone().context("it is closed")?, index }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        drop(self.database.take());
        let database = Database::open(&self.file)?;
        Ok(database.begin_read()?.open_table(EVENTS)?.len()?)
    }
}

struct Hold {
    database: Arc<Database>,
    index: usize,
}

impl Committer for Hold {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(EVENTS)?;
            for event in events {
                table.insert(key(self.index, number(event)), event.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }
}
