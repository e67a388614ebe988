//! The disk without a log: direct writes into a zero-filled file, not synced. The limit that the log stands beside.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use downbeat_record::AlignedBuf;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::pwrite;

/// A zero-filled file that is written directly, by several threads that each have one write in flight.
pub struct RawDisk {
    file: File,
    bytes: u64,
}

impl RawDisk {
    /// Makes a file of `bytes` bytes at `path`.
    ///
    /// # Errors
    ///
    /// The system's; above all where the filesystem has no `O_DIRECT`.
    pub fn new(path: &Path, bytes: u64) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?);
        // It needs no name, and cannot outlive the process without one.
        std::fs::remove_file(path)?;
        let zeros = AlignedBuf::zeroed(1 << 20);
        for offset in (0..bytes).step_by(zeros.len()) {
            write(&file, &zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self { file, bytes })
    }

    /// Writes the whole file once, in pieces of `piece` bytes, with `depth` writes in flight; how long it took.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// When the file is not a multiple of `piece * depth`.
    pub fn overwrite(&self, piece: usize, depth: u64) -> io::Result<Duration> {
        let pieces = self.bytes / piece as u64;
        assert_eq!(pieces * piece as u64, self.bytes, "a file of whole pieces");
        let mut buffer = AlignedBuf::zeroed(piece);
        buffer.fill(0x5a);
        let buffer = &buffer;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..depth)
                .map(|first| {
                    scope.spawn(move || {
                        (first..pieces)
                            .step_by(depth as usize)
                            .try_for_each(|index| write(&self.file, buffer, index * piece as u64))
                    })
                })
                .collect();
            writers.into_iter().try_for_each(|writer| writer.join().expect("a writer does not panic"))
        })?;
        Ok(begun.elapsed())
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = pwrite(file, bytes, offset)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
