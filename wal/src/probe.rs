//! What this disk can do, measured and asked: the numbers that a report of ours must stand beside.
//!
//! The floor is a bare 4 KiB durable write (`RWF_DSYNC`) to a zero-filled file, one at a time: nothing that
//! acknowledges single events can be faster. Whether the device really keeps what it acknowledges cannot be
//! found out from here.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::{AlignedBuf, BLOCK};
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, fstatvfs, major, minor, openat};

use crate::pool::write_all;
use crate::storage::disk::{Disk, DiskQueue};
use crate::storage::{Access, File, Storage};

const PROBE_BYTES: u64 = 1 << 20;

/// How long one thing took, over many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Half were faster.
    pub p50: Duration,
    /// 99 of 100 were faster.
    pub p99: Duration,
    /// 999 of 1000 were faster.
    pub p999: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Latency {
    /// The percentiles of these samples; `None` without any.
    pub fn of(samples: &mut [Duration]) -> Option<Self> {
        samples.sort_unstable();
        let max = *samples.last()?;
        let at = |permille: usize| samples[(samples.len() * permille / 1000).min(samples.len() - 1)];
        Some(Self { p50: at(500), p99: at(990), p999: at(999), max })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |duration: Duration| duration.as_nanos() as f64 / 1e3;
        let (p50, p99, p999, max) = (us(self.p50), us(self.p99), us(self.p999), us(self.max));
        write!(f, "p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, max {max:.0} µs")
    }
}

/// A file to measure on. It has no name any more, so it cannot outlive the process.
pub struct Floor {
    file: Arc<dyn File>,
    block: AlignedBuf,
    next: u64,
}

impl Floor {
    /// Makes the file in `dir`; zero-filled as segments are, or with its space only reserved.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new(dir: &Path, zero_filled: bool) -> io::Result<Self> {
        let disk = Disk::open(dir, false, DiskQueue::Blocking)?;
        let name = format!("probe-{:016x}.tmp", disk.random()?);
        let file = disk.open(&name, Access::Create)?;
        disk.remove(&name)?;
        file.allocate(PROBE_BYTES)?;
        if zero_filled {
            write_all(&*file, &AlignedBuf::zeroed(PROBE_BYTES as usize), 0)?;
        }
        file.sync_data()?;
        let mut block = AlignedBuf::zeroed(BLOCK);
        block.fill(0xdb);
        Ok(Self { file, block, next: 0 })
    }

    /// One durable write, timed.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn measure(&mut self) -> io::Result<Duration> {
        let begun = Instant::now();
        let written = self.file.write_at(&self.block, self.next, true)?;
        let took = begun.elapsed();
        if written != BLOCK {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.next = (self.next + BLOCK as u64) % PROBE_BYTES;
        Ok(took)
    }
}

/// The time of `n` bare 4 KiB durable writes in `dir`, one after the other.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::InvalidInput`] when `n` is 0.
pub fn disk_floor(dir: &Path, n: usize) -> io::Result<Latency> {
    latency(&mut Floor::new(dir, true)?, n)
}

/// As [`disk_floor`], into space that was only reserved: what a log without zero-filled segments would pay.
///
/// # Errors
///
/// As [`disk_floor`].
pub fn unwritten_floor(dir: &Path, n: usize) -> io::Result<Latency> {
    // Each block can be converted once.
    latency(&mut Floor::new(dir, false)?, n.min((PROBE_BYTES / BLOCK as u64) as usize))
}

fn latency(floor: &mut Floor, n: usize) -> io::Result<Latency> {
    let mut samples = (0..n).map(|_| floor.measure()).collect::<io::Result<Vec<_>>>()?;
    Latency::of(&mut samples).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// What can be asked about the place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The filesystem's name, or its magic number.
    pub filesystem: String,
    /// Files can bypass the page cache.
    pub direct: bool,
    /// io_uring works, or why not.
    pub io_uring: Result<(), String>,
    /// The device's cache: `write back` loses power-cut data without flushes, `write through` does not.
    pub write_cache: Option<String>,
    /// The device can make a single write durable without flushing everything.
    pub fua: Option<bool>,
    /// Free space in bytes.
    pub free_bytes: u64,
}

/// Asks about the directory of a log.
///
/// # Errors
///
/// The system's, for a directory that cannot be opened.
pub fn facts(dir: &Path) -> io::Result<Facts> {
    let disk = Disk::open(dir, false, DiskQueue::Blocking)?;
    let fd = openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let vfs = fstatvfs(&fd)?;
    let device = fstat(&fd)?.st_dev;
    let queue = queue_directory(major(device), minor(device));
    let setting = |name: &str| {
        let text = fs::read_to_string(queue.as_ref()?.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    Ok(Facts {
        filesystem: filesystem(i128::from(fstatfs(&fd)?.f_type)),
        direct: disk.direct(),
        io_uring: io_uring(),
        write_cache: setting("write_cache"),
        fua: setting("fua").map(|fua| fua == "1"),
        free_bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize),
    })
}

/// The block layer's settings of a device; a partition has those of its disk.
fn queue_directory(major: u32, minor: u32) -> Option<std::path::PathBuf> {
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    [device.join("queue"), device.parent()?.join("queue")].into_iter().find(|queue| queue.is_dir())
}

fn io_uring() -> Result<(), String> {
    crate::storage::uring::Uring::new(1).map(drop).map_err(|error| error.to_string())
}

/// From `linux/magic.h`.
fn filesystem(magic: i128) -> String {
    match magic {
        0xef53 => "ext4".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        0xf2f5_2010 => "f2fs".into(),
        0x794c_7630 => "overlayfs".into(),
        0x6969 => "nfs".into(),
        0x6573_5546 => "fuse".into(),
        other => format!("{other:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_can_be_asked_and_measured() {
        let dir = tempfile::tempdir().unwrap();
        let facts = facts(dir.path()).unwrap();
        assert!(facts.free_bytes > 0);
        let floor = disk_floor(dir.path(), 20).unwrap();
        assert!(floor.p50 <= floor.p99 && floor.p99 <= floor.max);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_percentile_is_the_first_time_that_the_share_does_not_exceed() {
        let mut times: Vec<Duration> = (1..=1_000).rev().map(Duration::from_micros).collect();
        let Latency { p50, p99, p999, max } = Latency::of(&mut times).unwrap();
        assert_eq!([p50, p99, p999, max].map(|time| time.as_micros()), [501, 991, 1_000, 1_000]);
        let one = Latency::of(&mut times[..1]).unwrap();
        assert_eq!((one.p50, one.max), (times[0], times[0]));
    }

    #[test]
    fn percentiles_of_nothing_are_none() {
        assert_eq!(Latency::of(&mut []), None);
    }
}
