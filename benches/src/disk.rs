//! The disk without a log: direct writes into a zero-filled file, not synced, and direct reads of what a log wrote. The
//! limits that the log stands beside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat_record::AlignedBuf;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{pread, pwrite};

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

/// Bytes of one direct read.
const READ_BYTES: usize = 1 << 20;

/// Reads the first `bytes` bytes of the segments in `dir` directly and in order, `depth` reads in flight; the bytes and
/// how long it took.
///
/// # Errors
///
/// The system's.
///
/// # Panics
///
/// When there are fewer.
pub fn read_segments(dir: &Path, bytes: u64, depth: usize) -> io::Result<(u64, Duration)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    paths.sort();
    let (mut pieces, mut planned) = (Vec::new(), 0);
    for path in paths {
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = Arc::new(File::from(openat(CWD, &path, flags, Mode::empty())?));
        let here = file.metadata()?.len().min(bytes - planned);
        pieces.extend((0..here).step_by(READ_BYTES).map(|offset| (file.clone(), offset)));
        planned += here;
    }
    assert_eq!(planned, bytes, "the segments hold what is to be read");
    let pieces = &pieces;
    let begun = Instant::now();
    let read = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..depth)
            .map(|first| {
                scope.spawn(move || -> io::Result<u64> {
                    let mut buffer = AlignedBuf::zeroed(READ_BYTES);
                    let mine = pieces.iter().skip(first).step_by(depth);
                    mine.map(|(file, offset)| Ok(pread(file, &mut buffer[..], *offset)? as u64)).sum()
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader does not panic"))
            .sum::<io::Result<u64>>()
    })?;
    Ok((read, begun.elapsed()))
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = pwrite(file, bytes, offset)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
