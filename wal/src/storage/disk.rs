//! Files of a real directory, opened `O_DIRECT` where the filesystem has it.
//!
//! All names are resolved against one open directory, never through a symbolic link; files are 0600 in a
//! directory that is 0700. Where `O_DIRECT` is refused the same bytes go through the page cache, and the same
//! syncs make them durable.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat_record::BLOCK;
use rustix::fs::{
    Advice, AtFlags, CWD, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, fadvise, fallocate,
    fdatasync, flock, fstat, fsync, openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, ReadWriteFlags, pread, pwritev2};

use crate::names;
use crate::storage::blocking::Blocking;
use crate::storage::{Access, Entry, EntryKind, File, Handle, Lock, Queue, Storage};

/// Which queue a [`Disk`] gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskQueue {
    /// io_uring, or `pwritev2` where the kernel refuses it.
    Auto,
    /// io_uring or an error.
    Uring,
    /// `pwritev2`.
    Blocking,
}

/// A directory on a disk.
pub struct Disk {
    path: PathBuf,
    dir: OwnedFd,
    direct: bool,
    queue: DiskQueue,
}

impl Disk {
    /// Opens a directory, creating it (and its parents) when `create`.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::NotFound`] when there is none and it may not be created.
    pub fn open(path: &Path, create: bool, queue: DiskQueue) -> io::Result<Self> {
        if create {
            make_durably(path, |dir| Ok(fsync(openat(CWD, dir, DIRECTORY, Mode::empty())?)?))?;
        }
        let dir = openat(CWD, path, DIRECTORY, Mode::empty())?;
        let direct = direct_works(&dir);
        Ok(Self { path: path.to_path_buf(), dir, direct, queue })
    }

    /// True when files bypass the page cache.
    pub fn direct(&self) -> bool {
        self.direct
    }

    fn flags(&self, access: Access) -> OFlags {
        let base = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let direct = if self.direct { OFlags::DIRECT } else { OFlags::empty() };
        base | direct
            | match access {
                Access::Read => OFlags::RDONLY,
                Access::Write => OFlags::RDWR,
                Access::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Asks the filesystem by opening the directory's own kind of file; a file without a name leaves no trace.
fn direct_works(dir: &OwnedFd) -> bool {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE | OFlags::DIRECT;
    match openat(dir, ".", flags, OWNER_ONLY) {
        Ok(_) => true,
        // No files without names here, or a directory that we may only read: then it goes without.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::ISDIR | Errno::ACCESS | Errno::ROFS | Errno::NOENT) => {
            false
        }
        // That something has run out says nothing about it.
        Err(Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOMEM) => true,
        Err(_) => false,
    }
}

/// Makes the directory, and with `sync` every name on the way to it durable: a log whose directory is gone after a power
/// cut has lost everything it acknowledged. Names that are there may have been made by somebody who died before he could;
/// where there is a log already, he could not have written it.
fn make_durably(path: &Path, sync: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let here = |dir: &Path| dir.as_os_str().is_empty();
    let existing = path.ancestors().find(|dir| here(dir) || dir.exists());
    let holds_log = names::MANIFEST.iter().any(|name| path.join(name).exists());
    let mut is_new = existing != Some(path);
    if is_new {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    }
    for (distance, dir) in path.ancestors().skip(1).enumerate() {
        match sync(if here(dir) { Path::new(".") } else { dir }) {
            // It may not be ours to read. A disk that fails is another matter.
            Err(error) if !is_new && Errno::from_io_error(&error) != Some(Errno::IO) => {}
            synced => synced?,
        }
        is_new &= existing != Some(dir);
        if holds_log && distance == 0 {
            break;
        }
    }
    Ok(())
}

impl Storage for Disk {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_owned().into_string() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says it here.
                FileType::Unknown => statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| FileType::from_raw_mode(stat.st_mode))?,
                known => known,
            };
            let kind = if kind == FileType::RegularFile { EntryKind::File } else { EntryKind::Other };
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let fd = openat(&self.dir, name, self.flags(access), OWNER_ONLY)?;
        if !self.direct && access == Access::Read {
            // What a failed sync left in the page cache is not on the disk, and what is read is taken for durable. A
            // file system that will not forget it is as good as one without.
            let _ = fadvise(&fd, 0, None, Advice::DontNeed);
        }
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Arc::new(DiskFile(fd)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(fsync(&self.dir)?)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(Flock::take(&self.dir, name)?))
    }

    fn holder(&self, name: &str) -> Option<u32> {
        let fd = openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
        let mut text = [0; 16];
        let len = rustix::io::read(fd.ok()?, &mut text).ok()?;
        std::str::from_utf8(&text[..len]).ok()?.trim().parse().ok()
    }

    fn queue(&self, depth: usize) -> io::Result<(Box<dyn Queue>, Option<String>)> {
        match self.queue {
            DiskQueue::Blocking => Ok((Box::new(Blocking::new()?), None)),
            DiskQueue::Uring => Ok((ring(depth)?, None)),
            DiskQueue::Auto => or_blocking(ring(depth)),
        }
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

fn ring(depth: usize) -> io::Result<Box<dyn Queue>> {
    Ok(Box::new(crate::storage::uring::Uring::new(depth)?))
}

/// `pwritev2`, with a notice that says why, where there is no ring.
fn or_blocking(ring: io::Result<Box<dyn Queue>>) -> io::Result<(Box<dyn Queue>, Option<String>)> {
    match ring {
        Ok(queue) => Ok((queue, None)),
        Err(error) => {
            let notice = format!("io_uring is not available here ({error}); writing with pwritev2 instead");
            Ok((Box::new(Blocking::new()?), Some(notice)))
        }
    }
}

struct DiskFile(OwnedFd);

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(fstat(&self.0)?.st_size.unsigned_abs())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buf.len() {
            match pread(&self.0, &mut buf[read..], offset + read as u64) {
                Ok(0) => break,
                // Only the end of the file comes in a part of a block; a direct read cannot go on from there.
                Ok(len) if len % BLOCK != 0 => return Ok(read + len),
                Ok(len) => read += len,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<usize> {
        let flags = if dsync { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
        match pwritev2(&self.0, &[io::IoSlice::new(bytes)], offset, flags) {
            // A filesystem without the flag gets the two steps it stands for.
            Err(Errno::OPNOTSUPP) if dsync => {
                let written = pwritev2(&self.0, &[io::IoSlice::new(bytes)], offset, ReadWriteFlags::empty())?;
                fdatasync(&self.0)?;
                Ok(written)
            }
            result => Ok(result?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(fdatasync(&self.0)?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // The zero-fill that follows reserves the space as well, block by block.
            Err(Errno::OPNOTSUPP) => Ok(rustix::fs::ftruncate(&self.0, len)?),
            result => Ok(result?),
        }
    }

    fn handle(&self) -> Handle<'_> {
        Handle::Fd(self.0.as_fd())
    }
}

/// The kernel's lock of an open file, which every copy of the descriptor shares.
struct Flock {
    fd: OwnedFd,
    pid: u32,
}

impl Flock {
    fn take(dir: &OwnedFd, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = openat(dir, name, flags, OWNER_ONLY)?;
        flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        let pid = std::process::id();
        // The number is for people who wonder who holds the lock; the lock itself is the kernel's.
        let text = format!("{pid}\n");
        let _ = rustix::fs::ftruncate(&fd, 0);
        let _ = rustix::io::pwrite(&fd, text.as_bytes(), 0);
        Ok(Self { fd, pid })
    }
}

impl Lock for Flock {}

impl Drop for Flock {
    fn drop(&mut self) {
        // Closing would not be enough: a program that another thread is just starting has a copy of the descriptor
        // until it runs. A forked process has one as well, and it must not give away the lock of the one that forked.
        if self.pid == std::process::id() {
            let _ = flock(&self.fd, FlockOperation::Unlock);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use downbeat_record::AlignedBuf;
    use rustix::fs::{fcntl_getfl, mknodat};
    use rustix::io::{FdFlags, fcntl_getfd, preadv2};

    use super::*;
    use crate::storage::Backend;

    #[test]
    fn a_lock_ends_when_it_is_dropped_whoever_has_a_copy_of_its_descriptor() {
        let temp = tempfile::tempdir().unwrap();
        let dir = openat(CWD, temp.path(), DIRECTORY, Mode::empty()).unwrap();
        let lock = Flock::take(&dir, "LOCK").unwrap();
        let copy = lock.fd.try_clone().unwrap();
        assert!(Flock::take(&dir, "LOCK").is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        drop(lock);
        let mut next = Flock::take(&dir, "LOCK").unwrap();
        // As if this process had been forked from the one that took it.
        next.pid += 1;
        let held = next.fd.try_clone().unwrap();
        drop(next);
        assert!(Flock::take(&dir, "LOCK").is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        drop((copy, held));
        Flock::take(&dir, "LOCK").unwrap();
    }

    #[test]
    fn files_bypass_the_cache_where_the_file_system_lets_them_and_are_not_handed_to_programs() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), "").unwrap();
        let disk = Disk::open(temp.path(), false, DiskQueue::Auto).unwrap();
        let works = openat(&disk.dir, "a", OFlags::RDWR | OFlags::DIRECT, Mode::empty()).is_ok();
        assert!(works || !disk.direct());
        // Some file systems have no files without names, with which it is found out.
        let unnamed = openat(&disk.dir, ".", OFlags::RDWR | OFlags::TMPFILE, OWNER_ONLY).is_ok();
        assert_eq!(disk.direct(), works && unnamed);
        for direct in [works, false] {
            let disk = Disk { dir: disk.dir.try_clone().unwrap(), path: PathBuf::new(), direct, ..disk };
            for access in [Access::Read, Access::Write] {
                let fd = openat(&disk.dir, "a", disk.flags(access), OWNER_ONLY).unwrap();
                assert_eq!(fcntl_getfl(&fd).unwrap().contains(OFlags::DIRECT), direct);
                assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
            }
        }
    }

    #[test]
    fn without_a_ring_it_writes_all_the_same_and_says_why() {
        let (queue, notice) = or_blocking(Err(Errno::PERM.into())).unwrap();
        assert_eq!(queue.backend(), Backend::Blocking);
        let notice = notice.unwrap();
        assert!(notice.contains("io_uring") && notice.contains("not permitted"), "{notice}");
        let (_, notice) = or_blocking(Ok(Box::new(Blocking::new().unwrap()))).unwrap();
        assert_eq!(notice, None);
    }

    #[test]
    fn what_a_page_cache_holds_is_forgotten_before_it_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let cached = |name: &str| {
            let file = fs::File::open(temp.path().join(name)).unwrap();
            let mut bytes = [0; BLOCK];
            preadv2(&file, &mut [io::IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT).is_ok()
        };
        // The system may keep what it is asked to forget, for a moment.
        let forgets = |name: &str, asked: &dyn Fn()| {
            (0..20).any(|_| {
                let path = temp.path().join(name);
                fs::write(&path, [1; BLOCK]).unwrap();
                fs::File::open(&path).unwrap().sync_all().unwrap();
                asked();
                !cached(name)
            })
        };
        let asked = || {
            let file = fs::File::open(temp.path().join("b")).unwrap();
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        };
        if !forgets("b", &asked) {
            // A file system that is memory has nothing to forget.
            return;
        }
        let disk = Disk::open(temp.path(), false, DiskQueue::Blocking).unwrap();
        let disk = Disk { direct: false, ..disk };
        assert!(forgets("a", &|| drop(disk.open("a", Access::Read).unwrap())));
        let mut bytes = [0; BLOCK];
        let file = disk.open("a", Access::Read).unwrap();
        assert_eq!((file.read_at(&mut bytes, 0).unwrap(), bytes), (BLOCK, [1; BLOCK]));
    }

    #[test]
    fn a_lock_is_not_elsewhere_and_not_handed_to_programs() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("elsewhere"), "12\n").unwrap();
        std::os::unix::fs::symlink("elsewhere", temp.path().join("LOCK")).unwrap();
        let disk = Disk::open(temp.path(), false, DiskQueue::Auto).unwrap();
        assert_eq!(disk.holder("elsewhere"), Some(12));
        assert_eq!(disk.holder("LOCK"), None);
        assert!(disk.lock("LOCK").is_err());
        let lock = Flock::take(&disk.dir, "elsewhere").unwrap();
        assert!(fcntl_getfd(&lock.fd).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn what_came_into_the_place_of_a_file_is_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), "").unwrap();
        std::os::unix::fs::symlink("a", temp.path().join("link")).unwrap();
        let disk = Disk::open(temp.path(), false, DiskQueue::Auto).unwrap();
        mknodat(&disk.dir, "pipe", FileType::Fifo, OWNER_ONLY, 0).unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        // A pipe that waits for its other end would wait for ever.
        std::thread::spawn(move || {
            for (name, access) in
                ["link", "pipe"].into_iter().flat_map(|name| [(name, Access::Read), (name, Access::Write)])
            {
                assert!(disk.open(name, access).is_err(), "{name}");
            }
            tell.send(()).unwrap();
        });
        told.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_file_that_ends_within_a_block_is_read_to_its_end() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), [7; BLOCK + 100]).unwrap();
        let disk = Disk::open(temp.path(), false, DiskQueue::Auto).unwrap();
        let file = disk.open("a", Access::Read).unwrap();
        let mut bytes = AlignedBuf::zeroed(4 * BLOCK);
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), BLOCK + 100);
        assert!(bytes[..BLOCK + 100].iter().all(|byte| *byte == 7));
        assert_eq!(file.read_at(&mut bytes, BLOCK as u64).unwrap(), 100);
    }

    #[test]
    fn random_numbers_are_not_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::open(temp.path(), false, DiskQueue::Auto).unwrap();
        assert_ne!(disk.random().unwrap(), disk.random().unwrap());
    }

    /// What an opening makes durable, from the directory on.
    fn synced(path: &Path) -> Vec<PathBuf> {
        let synced = RefCell::new(Vec::new());
        let sync = |dir: &Path| {
            assert!(path.is_dir(), "first it is made");
            synced.borrow_mut().push(dir.to_path_buf());
            Ok(())
        };
        make_durably(path, sync).unwrap();
        synced.take()
    }

    #[test]
    fn every_name_on_the_way_to_a_new_log_is_made_durable_whoever_made_it() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("a/log");
        let above: Vec<_> = log.ancestors().skip(1).map(Path::to_path_buf).collect();
        assert_eq!(synced(&log), above);
        assert_eq!(synced(&log), above, "the one before may have died at any step");
        fs::write(log.join(names::MANIFEST[1]), "").unwrap();
        assert_eq!(synced(&log), above[..1], "whoever wrote this had done it");
    }

    #[test]
    fn a_disk_that_cannot_make_a_name_durable_is_told_and_a_directory_of_others_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("log");
        let refused = |of: &Path, errno: Errno| {
            make_durably(&log, |dir| if dir == of { Err(errno.into()) } else { Ok(()) }).is_err()
        };
        assert!(refused(temp.path(), Errno::ACCESS), "it holds the new name");
        fs::remove_dir(&log).unwrap();
        assert!(!refused(Path::new("/"), Errno::ACCESS));
        let deep = temp.path().join("a/log");
        let sync = |dir: &Path| if dir == temp.path() { Err(Errno::ACCESS.into()) } else { Ok(()) };
        assert!(make_durably(&deep, sync).is_err(), "it holds the new name of the one that holds the log");
        for dir in [temp.path(), Path::new("/")] {
            assert!(refused(dir, Errno::IO) && !refused(dir, Errno::ACCESS));
        }
    }
}
