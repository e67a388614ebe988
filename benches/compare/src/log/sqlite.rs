//! SQLite: a write-ahead log that is synced at every commit.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};

use crate::event::{Event, number};
use crate::log::peer::{Committer, Peer, key};
use crate::log::shape::Shape;

/// What it promises, and how it was set.
pub(crate) const SAYS: &str = "journal_mode=WAL, synchronous=FULL: fdatasync of its log at commit; one connection that threads take in turn";

/// What it is: the library that is built in.
pub(crate) fn name() -> String {
    format!("SQLite {}", rusqlite::version())
}

const INSERT: &str = "INSERT INTO events (number, body) VALUES (?1, ?2)";

/// Threads share a connection: one writes at a time in any case, and a lock is cheaper than its busy handler.
pub(crate) struct Sqlite {
    connection: Option<Arc<Mutex<Connection>>>,
    file: PathBuf,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("events.sqlite");
        let connection = Connection::open(&file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE events (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
        Ok(Self { connection: Some(Arc::new(Mutex::new(connection))), file })
    }
}

impl Peer for Sqlite {
    fn committer(&self, index: usize, _: Shape) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Hold { connection: self.connection.clone().context("it is closed")?, index }))
    }

    fn reopen_and_count(&mut self) -> Result<u64> {
        drop(self.connection.take());
        let connection = Connection::open(&self.file)?;
        let count: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
        Ok(count.try_into()?)
    }
}

struct Hold {
    connection: Arc<Mutex<Connection>>,
    index: usize,
}

impl Committer for Hold {
    fn commit(&mut self, events: &[Event]) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for event in events {
                insert.execute(params![key(self.index, number(event)).cast_signed(), event.as_slice()])?;
            }
        }
        Ok(transaction.commit()?)
    }
}
