//! A file that cannot be opened is not one that is not there, nor is a directory empty that cannot be listed: nothing is cut, and
//! nothing made anew.

#[path = "common/log.rs"]
mod common;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use common::{append, expect_events, memory_options, open};
use downbeat_wal::storage::{Access, Entry, File, Lock, Queue, Storage};
use downbeat_wal::{BackendChoice, Memory, Options, ReadOptions, Reader, Trust, names};

/// A directory in memory in which one file cannot be opened; without a name, it cannot be listed.
struct Denied {
    memory: Memory,
    name: String,
}

impl Storage for Denied {
    fn path(&self, name: &str) -> PathBuf {
        self.memory.path(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        if self.name.is_empty() { Err(io::ErrorKind::PermissionDenied.into()) } else { self.memory.list() }
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        if name == self.name {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            self.memory.open(name, access)
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.memory.sync_dir()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.memory.lock(name)
    }

    fn holder(&self, name: &str) -> Option<u32> {
        self.memory.holder(name)
    }

    fn queue(&self, depth: usize) -> io::Result<(Box<dyn Queue>, Option<String>)> {
        self.memory.queue(depth)
    }

    fn random(&self) -> io::Result<u64> {
        self.memory.random()
    }

    fn single_threaded(&self) -> bool {
        true
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error_and_no_empty_one() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    append(&mut log, 3, 5_000);
    log.drain().unwrap();
    drop(log);
    let storage = Arc::new(Denied { memory: memory.copy(), name: String::new() });
    let options = Options { backend: BackendChoice::Storage(storage.clone()), ..memory_options(&memory) };
    let refused = open(&options).map(drop).unwrap_err().to_string();
    assert!(refused.contains("cannot list"), "{refused}");
    assert!(Reader::on(storage.clone(), ReadOptions::default()).is_err());
    let (_, _, kept) = open(&memory_options(&storage.memory)).unwrap();
    expect_events(&kept, 3, 5_000);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_no_missing_file() {
    let memory = Memory::new();
    let (mut log, _, _) = open(&memory_options(&memory)).unwrap();
    for _ in 0..20 {
        append(&mut log, 3, 5_000);
        log.drain().unwrap();
    }
    drop(log);
    let segments = [1, 2].map(|id| names::segment(downbeat_record::SegmentId(id)));
    let files = segments.into_iter().chain(names::MANIFEST.map(str::to_owned));
    for name in files {
        assert!(memory.bytes(&name).is_some(), "{name} is there");
        let storage = Arc::new(Denied { memory: memory.copy(), name: name.clone() });
        let options =
            Options { backend: BackendChoice::Storage(storage.clone()), ..memory_options(&storage.memory) };
        let refused = open(&options).map(drop).unwrap_err().to_string();
        assert!(refused.contains(&name) && refused.contains("cannot open"), "{name}: {refused}");

        let options = ReadOptions { trust: Trust::Everything, ..Default::default() };
        let read = Reader::on(storage.clone(), options).and_then(|mut reader| {
            while reader.next_batch()?.is_some() {}
            Ok(())
        });
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains(&name), "{name}: {refused}");

        let (_, _, kept) = open(&memory_options(&storage.memory)).unwrap();
        expect_events(&kept, 60, 5_000);
    }
}
