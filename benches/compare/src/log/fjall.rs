//! fjall: an LSM tree whose journal is synced.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer, key};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str =
    "write batch with PersistMode::SyncData: fdatasync of the journal; a key an event";

pub(crate) struct Fjall {
    open: Option<(Database, Keyspace)>,
    dir: PathBuf,
}

impl Fjall {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        Ok(Self { open: Some(open(dir)?), dir: dir.to_owned() })
    }
}

fn open(dir: &Path) -> Result<(Database, Keyspace)> {
    let database = Database::builder(dir).open()?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
    Ok((database, events))
}

impl Peer for Fjall {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        let (database, events) = self.open.clone().context("it is closed")?;
        Ok(Box::new(Hold { database, events, index }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        drop(self.open.take());
        Ok(open(&self.dir)?.1.len()? as u64)
    }
}

struct Hold {
    database: Database,
    events: Keyspace,
    index: usize,
}

impl Committer for Hold {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for event in events {
            batch.insert(&self.events, key(self.index, number(event)).to_be_bytes(), event.as_slice());
        }
        Ok(batch.commit()?)
    }
}
