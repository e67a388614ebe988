//! What lies in a log directory: the manifest, and the first block of every segment. Nothing is changed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use downbeat_record::{AlignedBuf, BLOCK, LogId, SegmentId};

use crate::error::ScanError;
use crate::manifest::{Manifest, Slot};
use crate::names;
use crate::segment::{HeaderBlock, HeaderError, SegmentHeader};
use crate::storage::{Access, EntryKind, File, Storage};

/// A directory, read once.
pub(crate) struct Survey {
    pub(crate) manifest: Option<Manifest>,
    /// Some manifest slot is there but says nothing.
    pub(crate) manifest_damaged: bool,
    /// By number: what the first block of the file is, and how long the file is.
    pub(crate) segments: BTreeMap<SegmentId, Segment>,
    /// Files that a crash left half prepared.
    pub(crate) unfinished: Vec<String>,
}

#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) block: HeaderBlock,
    pub(crate) len: u64,
}

impl Segment {
    pub(crate) fn header(&self) -> Option<&SegmentHeader> {
        match &self.block {
            HeaderBlock::Valid(header, _) => Some(header),
            _ => None,
        }
    }
}

impl Survey {
    /// Looks at every file of ours. Errors are those that make a directory unusable for readers and writers
    /// alike: foreign, misplaced or newer segments, links, read errors.
    pub(crate) fn take(storage: &dyn Storage) -> Result<Self, ScanError> {
        let mut survey = Self {
            manifest: None,
            manifest_damaged: false,
            segments: BTreeMap::new(),
            unfinished: Vec::new(),
        };
        let entries = storage.list().map_err(|source| ScanError::Io {
            action: "list",
            path: storage.path(""),
            source,
        })?;
        for entry in entries {
            let segment = names::parse_segment(&entry.name);
            let ours = segment.is_some() || names::MANIFEST.contains(&entry.name.as_str());
            if ours && entry.kind != EntryKind::File {
                return Err(ScanError::NotAFile { path: storage.path(&entry.name) });
            }
            if let Some(id) = segment {
                // A file that vanishes between listing and opening was retired: it is not there.
                if let Some(segment) = survey_segment(storage, id)? {
                    survey.segments.insert(id, segment);
                }
            } else if names::parse_unfinished(&entry.name).is_some() {
                survey.unfinished.push(entry.name);
            }
        }
        survey.read_manifest(storage)?;
        survey.check_identity(storage)?;
        Ok(survey)
    }

    fn read_manifest(&mut self, storage: &dyn Storage) -> Result<(), ScanError> {
        for name in names::MANIFEST {
            match read_slot(storage, name)? {
                Slot::Absent => {}
                Slot::Invalid => self.manifest_damaged = true,
                Slot::Newer { major, minor } => {
                    return Err(ScanError::NewerFormat { path: storage.path(name), major, minor });
                }
                Slot::Impossible => {
                    let source = HeaderError::Numbers;
                    return Err(ScanError::OtherEncoding { path: storage.path(name), source });
                }
                Slot::Valid(slot) => {
                    if self.manifest.is_none_or(|other| other.generation < slot.generation) {
                        self.manifest = Some(slot);
                    }
                }
            }
        }
        Ok(())
    }

    /// The log that this directory holds, when anything says so.
    pub(crate) fn log_id(&self) -> Option<LogId> {
        let from_manifest = self.manifest.map(|manifest| manifest.log_id);
        from_manifest.or_else(|| self.segments.values().find_map(Segment::header).map(|header| header.log_id))
    }

    fn check_identity(&self, storage: &dyn Storage) -> Result<(), ScanError> {
        let Some(expected) = self.log_id() else { return Ok(()) };
        for (id, segment) in &self.segments {
            let path = || storage.path(&names::segment(*id));
            match segment.block {
                HeaderBlock::Valid(header, _) if header.log_id != expected => {
                    return Err(ScanError::ForeignSegment { path: path(), found: header.log_id, expected });
                }
                HeaderBlock::Valid(header, _) if header.segment != *id => {
                    return Err(ScanError::Misplaced { path: path(), found: header.segment });
                }
                HeaderBlock::Valid(header, _) if segment.len < header.segment_size => {
                    let (len, expected) = (segment.len, header.segment_size);
                    return Err(ScanError::Truncated { path: path(), len, expected });
                }
                HeaderBlock::Invalid(HeaderError::Newer { major, minor }) => {
                    return Err(ScanError::NewerFormat { path: path(), major, minor });
                }
                HeaderBlock::Invalid(
                    source @ (HeaderError::UnknownFeature | HeaderError::Fingerprint | HeaderError::Numbers),
                ) => return Err(ScanError::OtherEncoding { path: path(), source }),
                _ => {}
            }
        }
        Ok(())
    }
}

fn survey_segment(storage: &dyn Storage, id: SegmentId) -> Result<Option<Segment>, ScanError> {
    let name = names::segment(id);
    let file = match storage.open(&name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ScanError::Io { action: "open", path: storage.path(&name), source }),
    };
    let len =
        file.len().map_err(|source| ScanError::Io { action: "stat", path: storage.path(&name), source })?;
    let block = read_header(storage, &name, &file)?;
    Ok(Some(Segment { block, len }))
}

/// Reads and classifies the first block of a segment file.
pub(crate) fn read_header(
    storage: &dyn Storage,
    name: &str,
    file: &Arc<dyn File>,
) -> Result<HeaderBlock, ScanError> {
    let mut block = AlignedBuf::zeroed(BLOCK);
    match file.read_at(&mut block, 0) {
        Ok(len) => Ok(HeaderBlock::parse(&block[..len])),
        Err(source) => Err(ScanError::Unreadable { path: storage.path(name), offset: 0, source }),
    }
}

/// The newer valid manifest slot, for readers that only want that.
pub(crate) fn read_manifest(storage: &dyn Storage) -> Result<Option<Manifest>, ScanError> {
    let mut survey =
        Survey { manifest: None, manifest_damaged: false, segments: BTreeMap::new(), unfinished: Vec::new() };
    survey.read_manifest(storage)?;
    Ok(survey.manifest)
}

fn read_slot(storage: &dyn Storage, name: &str) -> Result<Slot, ScanError> {
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Slot::Absent),
        Err(source) => return Err(ScanError::Io { action: "open", path: storage.path(name), source }),
    };
    let mut block = AlignedBuf::zeroed(BLOCK);
    match file.read_at(&mut block, 0) {
        Ok(0) => Ok(Slot::Absent),
        Ok(len) => Ok(Slot::parse(&block[..len])),
        Err(source) => Err(ScanError::Unreadable { path: storage.path(name), offset: 0, source }),
    }
}
