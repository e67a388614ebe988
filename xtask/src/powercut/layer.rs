//! The layer under the file system: a FUSE file that is the disk, and that writes down what is asked of it.
//!
//! One thread serves all requests, one after the other, so what is written down has one order. A disk that is put
//! in gets a name of its own, because the kernel keeps pages of files it knows.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use super::disk::{Disk, Op};
use crate::crash::rng::Rng;

/// Nothing about a file changes while it exists.
const FOREVER: Duration = Duration::from_secs(3600);
/// A flush takes up to this long, so that whoever acknowledges before it is done is caught in the act.
const FLUSH_US_MAX: u64 = 1_500;

/// A disk that can be taken out and put in.
pub(crate) struct Layer {
    state: Arc<Mutex<State>>,
    at: PathBuf,
    // Ends the serving thread, and comes last.
    _session: BackgroundSession,
}

struct State {
    disk: Disk,
    ops: Vec<Op>,
    /// Counts the disks; the name and the inode of the one that is in.
    serial: u64,
    /// Says that a flush is done and does nothing: a disk that lies.
    lies: bool,
    rng: Rng,
}

impl Layer {
    /// Mounts the layer on an empty directory.
    pub(crate) fn mount(at: &Path, seed: u64) -> anyhow::Result<Self> {
        let state =
            State { disk: Disk::new(0), ops: Vec::new(), serial: 1, lies: false, rng: Rng::new(seed) };
        let state = Arc::new(Mutex::new(state));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("downbeat-powercut".into())];
        let files = Files { state: Arc::clone(&state) };
        let session = fuser::spawn_mount(files, at, &config)
            .with_context(|| format!("cannot mount a FUSE file system on {}", at.display()))?;
        Ok(Self { state, at: at.to_owned(), _session: session })
    }

    /// Puts a disk in, and says where it is.
    pub(crate) fn insert(&self, disk: Disk, lies: bool) -> PathBuf {
        let mut state = lock(&self.state);
        state.serial += 1;
        state.disk = disk;
        state.ops.clear();
        state.lies = lies;
        self.at.join(name(state.serial))
    }

    /// What the disk is now, as if it had kept everything.
    pub(crate) fn disk(&self) -> Disk {
        lock(&self.state).disk.clone()
    }

    /// What was asked of it since it was put in.
    pub(crate) fn ops(&self) -> Vec<Op> {
        lock(&self.state).ops.clone()
    }

    /// Tells how many operations there were, whenever it is asked.
    pub(crate) fn hour(&self) -> impl Fn() -> usize + Send + use<> {
        let state = Arc::clone(&self.state);
        move || lock(&state).ops.len()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(serial: u64) -> String {
    format!("disk.{serial}")
}

/// The layer as the kernel asks it.
struct Files {
    state: Arc<Mutex<State>>,
}

impl Files {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let state = lock(&self.state);
        let root = inode == INodeNo::ROOT;
        let kind = if root { FileType::Directory } else { FileType::RegularFile };
        let size = if root { 0 } else { state.disk.len() };
        let known = root || inode.0 == state.serial;
        known.then_some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if root { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What the kernel cannot do it says, and then it asks in smaller pieces.
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, asked: &OsStr, reply: ReplyEntry) {
        let inode = INodeNo(lock(&self.state).serial);
        let found = parent == INodeNo::ROOT && asked.to_str() == Some(&name(inode.0));
        match self.attributes(inode).filter(|_| found) {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FOREVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = lock(&self.state);
        if inode.0 != state.serial {
            drop(state);
            return reply.error(Errno::EIO);
        }
        let bytes = state.disk.read(offset, size as usize);
        drop(state);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.state);
        if inode.0 != state.serial {
            drop(state);
            return reply.error(Errno::EIO);
        }
        let written = state.disk.write(offset, data);
        state.ops.push(Op::Write { offset, bytes: data[..written].into() });
        drop(state);
        reply.written(written as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Somebody closes the file; that is no flush of a disk.
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let (covers, takes) = {
            let mut state = lock(&self.state);
            (state.ops.len(), Duration::from_micros(state.rng.below(FLUSH_US_MAX)))
        };
        pause(takes);
        let mut state = lock(&self.state);
        if !state.lies {
            state.ops.push(Op::Flush { covers });
        }
        drop(state);
        reply.ok();
    }
}

#[allow(clippy::disallowed_methods, reason = "a disk takes its time; nothing waits for a state here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
