//! Opening a log for writing, step by step, and what a crash after each step leaves.
//!
//! ```text
//!  1 lock                       nothing: the kernel drops the lock
//!  2 recover (reads only)       nothing
//!  3 sync what is kept          nothing: the same batches are kept again
//!  4 manifest, epoch + 1        an epoch that wrote nothing
//!  5 remove litter              fewer useless files
//!  6 manifest, kept is durable  as 5
//!  7 queue, pool                prepared segments, which the next open makes anew
//! ```
//!
//! Steps 4 to 6 are in this order because the manifest of the writer before may need a segment that is litter now, and because
//! what a killed process had in flight may land in the litter, and say there that what is kept here had been cut.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use downbeat_record::header::BATCH_HEADER_LEN;
use downbeat_record::{BatchNo, Epoch, LogId, RecoveryNote, Root, SegmentId, Seq, Timestamp};

use super::Log;
use crate::error::{OpenError, ScanError};
use crate::manifest::Manifest;
use crate::names;
use crate::options::{BackendChoice, Options};
use crate::pipeline::Pipeline;
use crate::pool::{self, Pool};
use crate::recovery::{self, Outcome, Row, Visit};
use crate::storage::disk::{Disk, DiskQueue};
use crate::storage::{Access, Backend, EntryKind, Lock, Storage};

/// Dropped batches are named up to this many; a note must fit into a batch.
const DROPPED_NAMED_MAX: usize = 128;

/// What opening a log found and did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// The identity of the log.
    pub log_id: LogId,
    /// The fencing number of this writer.
    pub epoch: Epoch,
    /// The row of the recovery table that decided.
    pub row: Row,
    /// Batches kept, and shown to the visitor.
    pub batches: u64,
    /// The last batch kept.
    pub last_batch: BatchNo,
    /// The seq that comes next.
    pub next_seq: Seq,
    /// The highest timestamp kept; the next one must be later.
    pub last_timestamp: Timestamp,
    /// What was cut, if anything; it becomes the first batch that is written.
    pub cut: Option<RecoveryNote>,
    /// What writes the log.
    pub backend: Backend,
    /// Lines worth showing to a person.
    pub notices: Vec<String>,
}

pub(super) fn open(options: &Options, visit: &mut Visit<'_>) -> Result<(Log, Recovered), OpenError> {
    let settings = options.checked().map_err(|what| OpenError::Settings { what })?;
    let storage = storage(options)?;
    let lock = lock(&*storage, options)?;
    let mut contracts = None;
    let outcome = recovery::recover(&*storage, visit, &mut contracts)?;
    if outcome.row == Row::A && !options.create {
        return Err(OpenError::NotFound { dir: options.dir.clone() });
    }
    // They are written again at the start of every segment.
    if contracts.as_ref().is_some_and(|body| BATCH_HEADER_LEN + body.len() > settings.batch_bytes) {
        let what = "batch_bytes must hold the contracts of this log; open it with the batch_bytes it was written with";
        return Err(OpenError::Settings { what });
    }
    settle(&*storage, &outcome)?;

    let log_id = match outcome.log_id {
        Some(log_id) => log_id,
        None => draw_log_id(&*storage).map_err(|source| io_error(&*storage, "draw", "", source))?,
    };
    let epoch = Epoch(outcome.epoch.0 + 1);
    let last_segment = SegmentId(outcome.resume_at.0 - 1);
    let mut manifest = Manifest {
        generation: outcome.manifest.map_or(1, |manifest| manifest.generation + 1),
        log_id,
        epoch,
        oldest: outcome.oldest,
        newest: last_segment,
        durable: outcome.durable().batch_no,
        durable_seq: outcome.durable().seq,
        closed: false,
    };
    if !outcome.litter.is_empty() {
        let noted = outcome.manifest.map(|before| (before.durable, before.durable_seq));
        let (durable, durable_seq) = noted.unwrap_or_default();
        write_manifest(&*storage, &Manifest { durable, durable_seq, ..manifest })?;
        clear(&*storage, &outcome.litter)?;
        manifest.generation += 1;
    }
    write_manifest(&*storage, &manifest)?;

    let (queue, notice) = storage
        .queue(settings.depth)
        .map_err(|source| OpenError::Backend { dir: options.dir.clone(), source })?;
    let pool = Pool::start(&storage, &settings, queue.bell(), outcome.resume_at, manifest.generation)
        .map_err(|source| io_error(&*storage, "start the thread for", "", source))?;

    let note = note(&*storage, &outcome, epoch);
    let recovered = Recovered {
        log_id,
        epoch,
        row: outcome.row,
        batches: outcome.kept.batches,
        last_batch: outcome.durable().batch_no,
        next_seq: outcome.chain.next_seq,
        last_timestamp: outcome.kept.last_timestamp,
        cut: note.clone(),
        backend: queue.backend(),
        notices: outcome.notices.iter().cloned().chain(notice).collect(),
    };
    let log = Log {
        settings,
        queue,
        pipeline: Pipeline::new(outcome.durable()),
        pool,
        storage,
        log_id,
        epoch,
        oldest: outcome.oldest,
        segment: None,
        last_segment,
        next_batch: outcome.chain.next_batch,
        next_seq: outcome.chain.next_seq,
        link: Root::default(),
        last_root: outcome.chain.last_root,
        contracts,
        note,
        unmarked: false,
        idle_since: Instant::now(),
        poison: None,
        syncing: None,
        syncs: 0,
        done: Vec::new(),
        _lock: lock,
    };
    Ok((log, recovered))
}

fn storage(options: &Options) -> Result<Arc<dyn Storage>, OpenError> {
    let queue = match &options.backend {
        BackendChoice::Storage(storage) => return Ok(Arc::clone(storage)),
        BackendChoice::Auto => DiskQueue::Auto,
        BackendChoice::Uring => DiskQueue::Uring,
        BackendChoice::Blocking => DiskQueue::Blocking,
    };
    match Disk::open(&options.dir, options.create, queue) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::NotFound { dir: options.dir.clone() })
        }
        Err(source) => {
            Err(ScanError::Io { action: "open the directory", path: options.dir.clone(), source }.into())
        }
    }
}

fn lock(storage: &dyn Storage, options: &Options) -> Result<Box<dyn Lock>, OpenError> {
    let entries = storage.list().map_err(|source| io_error(storage, "list", "", source))?;
    if entries.iter().any(|entry| entry.name == names::LOCK && entry.kind != EntryKind::File) {
        return Err(ScanError::NotAFile { path: storage.path(names::LOCK) }.into());
    }
    if !options.create {
        let ours = |name: &str| names::MANIFEST.contains(&name) || names::parse_segment(name).is_some();
        if !entries.iter().any(|entry| entry.kind == EntryKind::File && ours(&entry.name)) {
            return Err(OpenError::NotFound { dir: options.dir.clone() });
        }
    }
    match storage.lock(names::LOCK) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let path = storage.path(names::LOCK);
            Err(OpenError::Locked { path, pid: storage.holder(names::LOCK) })
        }
        Err(source) => Err(io_error(storage, "lock", names::LOCK, source)),
    }
}

/// Makes durable what is kept: it may have been written by a process that died before it could sync, and from
/// here on the manifest says that it is durable.
fn settle(storage: &dyn Storage, outcome: &Outcome) -> Result<(), OpenError> {
    if outcome.row == Row::C {
        return Ok(());
    }
    let Some(last) = outcome.kept.last_segment else { return Ok(()) };
    for id in outcome.unsettled_from.0..=last.0 {
        let name = names::segment(SegmentId(id));
        let synced = storage.open(&name, Access::Read).and_then(|file| file.sync_data());
        synced.map_err(|source| io_error(storage, "sync", &name, source))?;
    }
    Ok(())
}

fn write_manifest(storage: &dyn Storage, manifest: &Manifest) -> Result<(), OpenError> {
    let name = names::MANIFEST[manifest.slot()];
    pool::write_manifest(storage, manifest).map_err(|source| io_error(storage, "write", name, source))
}

/// Removes what nobody needs, before anything is made under the same names. The last segment first, so that whoever looks
/// meanwhile never sees one that comes after a gap.
fn clear(storage: &dyn Storage, litter: &[String]) -> Result<(), OpenError> {
    for name in litter.iter().rev() {
        storage.remove(name).map_err(|source| io_error(storage, "remove", name, source))?;
    }
    storage.sync_dir().map_err(|source| io_error(storage, "sync", "", source))
}

fn note(storage: &dyn Storage, outcome: &Outcome, epoch: Epoch) -> Option<RecoveryNote> {
    let end = outcome.end.as_ref().filter(|_| outcome.row.is_cut())?;
    let path: PathBuf = storage.path(&names::segment(end.segment));
    Some(RecoveryNote {
        epoch,
        kept: outcome.durable().batch_no,
        kept_seq: outcome.durable().seq,
        segment: path.file_name().map(|name| name.to_string_lossy().into_owned()),
        offset: end.offset,
        dropped: outcome.dropped.iter().copied().take(DROPPED_NAMED_MAX).collect(),
        row: outcome.row.to_string(),
    })
}

fn draw_log_id(storage: &dyn Storage) -> io::Result<LogId> {
    let (high, low) = (storage.random()?, storage.random()?);
    Ok(LogId((u128::from(high) << 64 | u128::from(low)).to_be_bytes()))
}

fn io_error(storage: &dyn Storage, action: &'static str, name: &str, source: io::Error) -> OpenError {
    ScanError::Io { action, path: storage.path(name), source }.into()
}
