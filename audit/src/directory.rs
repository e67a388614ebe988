//! What lies in the directory of a log: the manifest, and the first block of every segment file.
//!
//! A reader goes from batch to batch and stops where none follows. Whether the log may end there is said by what
//! else lies in the directory: that is what is looked at here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use downbeat_record::{BLOCK, BatchHeader, BatchNo, SegmentId, Seq, WholeBatch, is_zero};
use downbeat_wal::segment::{HeaderBlock, SegmentHeader};
use downbeat_wal::{ScanError, may_belong, names};
use rustix::fs::{Mode, OFlags};

use crate::manifest::Manifests;

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// A directory, read once.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    pub(crate) manifests: Manifests,
    pub(crate) segments: BTreeMap<SegmentId, HeaderBlock>,
}

impl Directory {
    /// Reads the first block of every file of ours; changes nothing and takes no lock.
    pub(crate) fn read(path: &Path) -> Result<Self, ScanError> {
        let manifests = Manifests::read(path)?;
        let mut directory = Self { path: path.to_path_buf(), manifests, segments: BTreeMap::new() };
        let list = |source| ScanError::Io { action: "list", path: path.to_path_buf(), source };
        for entry in fs::read_dir(path).map_err(list)? {
            let name = entry.map_err(list)?.file_name();
            let Some(id) = name.to_str().and_then(names::parse_segment) else { continue };
            match directory.open(id) {
                // A file that vanishes between listing and opening was retired: it is not there.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(ScanError::Io { action: "open", path: directory.file(id), source });
                }
                Ok(file) => {
                    let mut block = Vec::with_capacity(BLOCK);
                    file.take(BLOCK as u64)
                        .read_to_end(&mut block)
                        .map_err(|source| directory.unreadable(id, 0, source))?;
                    directory.segments.insert(id, HeaderBlock::parse(&block));
                }
            }
        }
        Ok(directory)
    }

    /// The file of a segment.
    pub(crate) fn file(&self, id: SegmentId) -> PathBuf {
        self.path.join(names::segment(id))
    }

    /// The header of a segment, when it holds.
    pub(crate) fn header(&self, id: SegmentId) -> Option<&SegmentHeader> {
        match self.segments.get(&id) {
            Some(HeaderBlock::Valid(header, _)) => Some(header),
            _ => None,
        }
    }

    /// The segment that the log begins with, by the word of the manifest.
    pub(crate) fn oldest(&self) -> SegmentId {
        self.manifests.newest.map_or(SegmentId(1), |manifest| manifest.oldest)
    }

    /// True when the manifest or a later segment says that this one is in use.
    pub(crate) fn is_needed(&self, id: SegmentId) -> bool {
        self.manifests.newest.is_some_and(|manifest| manifest.newest >= id)
            || self.segments.keys().any(|later| *later > id && self.header(*later).is_some())
    }

    /// Bytes of all segments in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.keys().filter_map(|id| self.header(*id)).map(|header| header.segment_size).sum()
    }

    /// True when there is nothing but zeros in the block at this place, or the file ends there.
    pub(crate) fn is_zero(&self, id: SegmentId, offset: u64) -> Result<bool, ScanError> {
        let unreadable = |source| self.unreadable(id, offset, source);
        let mut file = match self.open(id) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(source) => return Err(unreadable(source)),
        };
        let mut block = Vec::with_capacity(BLOCK);
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        file.take(BLOCK as u64).read_to_end(&mut block).map_err(unreadable)?;
        Ok(is_zero(&block))
    }

    /// Looks at every block from this place on, to the end of the last file.
    pub(crate) fn look_behind(
        &self,
        from: SegmentId,
        offset: u64,
        next: BatchNo,
    ) -> Result<Behind, ScanError> {
        let mut behind = Behind::default();
        for id in self.segments.range(from..).map(|(id, _)| *id) {
            let start = if id == from { offset.max(BLOCK as u64) } else { BLOCK as u64 };
            behind.look(self, id, start, next)?;
        }
        Ok(behind)
    }

    fn open(&self, id: SegmentId) -> io::Result<File> {
        open(&self.file(id))
    }

    fn unreadable(&self, id: SegmentId, offset: u64, source: io::Error) -> ScanError {
        ScanError::Unreadable { path: self.file(id), offset, source }
    }
}

/// What stands behind a place where a log ends, or was cut.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// The highest durable mark in the header of any batch there.
    pub(crate) durable: BatchNo,
    /// Whole batches there, and the seqs they begin with.
    pub(crate) islands: Vec<(BatchNo, Seq)>,
    /// The first block there that is not zero.
    pub(crate) dirty: Option<(PathBuf, u64)>,
}

impl Behind {
    /// Looks at every block of one file from `offset` on.
    ///
    /// The salt of the segment, if its header can be read, tells which are of the log: [`may_belong`].
    pub(crate) fn look(
        &mut self,
        directory: &Directory,
        id: SegmentId,
        mut offset: u64,
        next: BatchNo,
    ) -> Result<(), ScanError> {
        let salt = directory.header(id).map(SegmentHeader::batch_salt);
        let mut file = match directory.open(id) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(directory.unreadable(id, offset, source)),
        };
        let (mut window, mut start) = (Vec::with_capacity(WINDOW), offset);
        // Headers that lie about a length must not have the same bytes read again and again.
        let len = file.metadata().map_err(|source| directory.unreadable(id, offset, source))?.len();
        // A file may have been made longer; what is behind its segment is nobody's.
        let len = directory.header(id).map_or(len, |header| len.min(header.segment_size));
        let mut patience = len.saturating_sub(offset).saturating_mul(4);
        while offset < len {
            if offset >= start + window.len() as u64 {
                start = offset;
                fill(&mut file, start, WINDOW as u64, &mut window)
                    .map_err(|source| directory.unreadable(id, start, source))?;
                if window.is_empty() {
                    return Ok(());
                }
            }
            let rest = &window[(offset - start) as usize..];
            let Some(zeros) = rest.chunks(BLOCK).position(|block| !is_zero(block)) else {
                offset = start + window.len() as u64;
                continue;
            };
            offset += (zeros * BLOCK) as u64;
            self.dirty.get_or_insert_with(|| (directory.file(id), offset));
            let bytes = &rest[zeros * BLOCK..];
            let header = match BatchHeader::parse(bytes) {
                Ok(header) if may_belong(&header, salt, next) => header,
                Err(source) if source.is_newer() && salt.is_some() && BatchHeader::salt_in(bytes) == salt => {
                    return Err(ScanError::NewerBatch { path: directory.file(id), offset, source });
                }
                _ => {
                    offset += BLOCK as u64;
                    continue;
                }
            };
            self.durable = self.durable.max(header.durable());
            let claimed = header.padded_len() as u64;
            if offset + claimed > len || claimed > patience {
                offset += BLOCK as u64;
                continue;
            }
            if ((rest.len() - zeros * BLOCK) as u64) < claimed {
                start = offset;
                fill(&mut file, start, header.padded_len().max(WINDOW) as u64, &mut window)
                    .map_err(|source| directory.unreadable(id, start, source))?;
            }
            offset += match WholeBatch::check(&window[(offset - start) as usize..]) {
                Ok(batch) => {
                    if header.batch_no() >= next {
                        self.islands.push((header.batch_no(), header.first_seq()));
                    }
                    batch.padded_len() as u64
                }
                Err(_) => {
                    patience -= claimed;
                    BLOCK as u64
                }
            };
        }
        Ok(())
    }
}

/// Opens a file to read it; never through a link, and without waiting for whoever else should open it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Reads up to `len` bytes; fewer where the file ends, however much a header claims.
fn fill(file: &mut File, offset: u64, len: u64, window: &mut Vec<u8>) -> io::Result<()> {
    window.clear();
    file.seek(SeekFrom::Start(offset))?;
    file.take(len).read_to_end(window).map(drop)
}
