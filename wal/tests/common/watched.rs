//! A storage that tests look over the shoulder of.
#![allow(unreachable_pub)]

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use downbeat_wal::Memory;
use downbeat_wal::storage::{Access, Entry, File, Handle, Lock, Queue, Storage};

/// Is told the file, or an empty name for the directory.
pub type Before = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// A directory in memory; before each operation on it something may happen there, or end it.
pub struct Watched {
    pub memory: Memory,
    pub before: Before,
}

impl Storage for Watched {
    fn path(&self, name: &str) -> PathBuf {
        self.memory.path(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        (self.before)("")?;
        self.memory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        (self.before)(name)?;
        let (name, before) = (name.to_owned(), Arc::clone(&self.before));
        Ok(Arc::new(WatchedFile { file: self.memory.open(&name, access)?, name, before }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.before)(from)?;
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (self.before)(name)?;
        self.memory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        (self.before)("")?;
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

struct WatchedFile {
    file: Arc<dyn File>,
    name: String,
    before: Before,
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.before)(&self.name)?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<usize> {
        (self.before)(&self.name)?;
        self.file.write_at(bytes, offset, dsync)
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.before)(&self.name)?;
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        (self.before)(&self.name)?;
        self.file.allocate(len)
    }

    fn handle(&self) -> Handle<'_> {
        self.file.handle()
    }
}
