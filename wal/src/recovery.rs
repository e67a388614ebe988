//! Recovery: finds the end of a log, or the reason why it must not be gone on with.
//!
//! ```text
//!  survey ─► walk the segments, keep every whole chained batch ─► the first one that is not there: X
//!                                                                  │
//!            D ≥ X: acknowledged data is damaged, refuse ◄─────────┤ look at every block behind X
//!            otherwise: a torn tail, cut ◄─────────────────────────┘
//! ```
//!
//! Nothing is written here, so a crash during recovery leaves what was there, and the next recovery finds the
//! same. A cut needs no change to the files either: the writer goes on in a *new* segment with a higher epoch,
//! and the header of that segment says where the cut is ([`Row`] and the limit in `walk`).

use std::error::Error;
use std::sync::Arc;

use downbeat_record::{BLOCK, BatchKind, BatchNo, Epoch, LogId, SegmentId, Seq, Timestamp, WholeBatch};

use crate::error::{Damage, OpenError, ScanError};
use crate::manifest::Manifest;
use crate::names;
use crate::pipeline::Durable;
use crate::scan::{Behind, Chain, Found, SegmentScan};
use crate::segment::{HeaderBlock, SEGMENT_BYTES_MAX, SegmentHeader};
use crate::storage::{Access, File, Storage};
use crate::survey::Survey;
use crate::window::{Pace, Window};

pub mod table;

pub use table::Row;

/// Shows kept batches to whoever opens the log; an error ends the opening.
pub(crate) type Visit<'a> = dyn FnMut(&WholeBatch<'_>) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// What recovery found.
pub(crate) struct Outcome {
    pub(crate) row: Row,
    pub(crate) log_id: Option<LogId>,
    pub(crate) manifest: Option<Manifest>,
    /// The highest epoch in manifest and headers.
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
    pub(crate) kept: Kept,
    /// Where the log ends, when it has a segment.
    pub(crate) end: Option<End>,
    /// Whole batches that are cut.
    pub(crate) dropped: Vec<BatchNo>,
    pub(crate) oldest: SegmentId,
    /// Kept segments before this one hold nothing that might not be durable.
    pub(crate) unsettled_from: SegmentId,
    /// The first segment that the next writer may use.
    pub(crate) resume_at: SegmentId,
    /// Names to be removed.
    pub(crate) litter: Vec<String>,
    pub(crate) notices: Vec<String>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) batches: u64,
    pub(crate) last_timestamp: Timestamp,
    pub(crate) last_kind: Option<BatchKind>,
    /// The highest batch that one of them says was durable.
    pub(crate) durable: BatchNo,
    /// The kept batches reach into this segment, and end there.
    pub(crate) last_segment: Option<SegmentId>,
    end: u64,
}

pub(crate) struct End {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
}

/// Where walking stopped.
struct Stop {
    segment: SegmentId,
    offset: u64,
    reason: Damage,
    /// A batch that something in the walk itself says was durable.
    durable: BatchNo,
    /// The segment behind, whose header is none. It tells nothing about what stands behind the place.
    torn: Option<(SegmentId, Damage)>,
}

/// Reads a directory and decides. Changes nothing.
pub(crate) fn recover(
    storage: &dyn Storage,
    visit: &mut Visit<'_>,
    contracts: &mut Option<Vec<u8>>,
) -> Result<Outcome, OpenError> {
    let survey = Survey::take(storage)?;
    let mut outcome = Outcome {
        row: Row::A,
        log_id: survey.log_id(),
        manifest: survey.manifest,
        epoch: highest_epoch(&survey),
        chain: Chain::start(),
        kept: Kept::default(),
        end: None,
        dropped: Vec::new(),
        oldest: SegmentId(1),
        unsettled_from: SegmentId(1),
        resume_at: SegmentId(1),
        litter: survey.unfinished.clone(),
        notices: Vec::new(),
    };
    if outcome.log_id.is_none() {
        expect_no_log(storage, &survey)?;
        outcome.leave_behind(&survey);
        return Ok(outcome);
    }
    outcome.oldest = oldest(storage, &survey)?;
    outcome.resume_at = outcome.oldest;
    if survey.manifest_damaged {
        outcome.notices.push(match survey.manifest {
            Some(_) => "one of the two manifest slots was torn; the other one holds".into(),
            None => {
                "both manifest slots were unreadable; the manifest was made again from the segments".into()
            }
        });
    }

    let stop = walk(storage, &survey, &mut outcome, visit, contracts)?;
    decide(storage, &survey, &mut outcome, stop)?;
    outcome.unsettled_from = unsettled_from(&survey, &outcome);
    Ok(outcome)
}

/// The segment that holds the first batch which nobody says was durable.
fn unsettled_from(survey: &Survey, outcome: &Outcome) -> SegmentId {
    let noted = survey.manifest.map_or(BatchNo::ZERO, |manifest| manifest.durable);
    let first = outcome.kept.durable.max(noted).next();
    let kept = survey.segments.range(outcome.oldest..outcome.resume_at);
    let mut before =
        kept.filter(|(_, segment)| segment.header().is_some_and(|header| header.first_batch_no <= first));
    before.next_back().map_or(outcome.oldest, |(id, _)| *id)
}

fn highest_epoch(survey: &Survey) -> Epoch {
    let headers = survey.segments.values().filter_map(|segment| segment.header()).map(|header| header.epoch);
    headers.chain(survey.manifest.map(|manifest| manifest.epoch)).max().unwrap_or_default()
}

/// In a directory where nothing says which log it is: nothing may look as if there were one.
pub(crate) fn expect_no_log(storage: &dyn Storage, survey: &Survey) -> Result<(), ScanError> {
    refuse_strangers(storage, survey)?;
    expect_nothing_durable(storage, survey)
}

/// Nothing is acknowledged before there is a manifest. Where the device lost that, and the header of the segment too,
/// a batch may still say that another one was durable: then this is no place for a new log.
fn expect_nothing_durable(storage: &dyn Storage, survey: &Survey) -> Result<(), ScanError> {
    for (id, segment) in &survey.segments {
        let (name, mut behind) = (names::segment(*id), Behind::default());
        let window = Window::new(open(storage, &name)?, Pace::on(storage, true));
        behind.look(storage.path(&name), window, BLOCK as u64..segment.len, None, BatchNo(1))?;
        if behind.durable > BatchNo::ZERO {
            return Err(ScanError::Damaged {
                path: storage.path(&name),
                offset: 0,
                batch: BatchNo(1),
                first_seq: Seq(1),
                resumes: behind.islands.iter().min().map(|(_, seq)| *seq),
                durable: behind.durable,
                reason: Damage::Zeros,
            });
        }
    }
    Ok(())
}

/// A file under a segment's name that is no segment. A log has a manifest before its first segment is used, so this is no log, and
/// nothing of it may be touched.
fn refuse_strangers(storage: &dyn Storage, survey: &Survey) -> Result<(), ScanError> {
    for (id, segment) in &survey.segments {
        if let HeaderBlock::Invalid(source) = &segment.block {
            return Err(ScanError::Stranger { path: storage.path(&names::segment(*id)), source: *source });
        }
    }
    Ok(())
}

/// The segment that the log begins with.
fn oldest(storage: &dyn Storage, survey: &Survey) -> Result<SegmentId, ScanError> {
    if let Some(manifest) = survey.manifest {
        return Ok(manifest.oldest);
    }
    let first = survey.segments.keys().next().copied().unwrap_or(SegmentId(1));
    if first == SegmentId(1) {
        Ok(first)
    } else {
        Err(ScanError::ManifestLost { path: storage.path(names::MANIFEST[0]), first })
    }
}

/// Keeps every batch up to the first that is not there.
fn walk(
    storage: &dyn Storage,
    survey: &Survey,
    outcome: &mut Outcome,
    visit: &mut Visit<'_>,
    contracts: &mut Option<Vec<u8>>,
) -> Result<Stop, OpenError> {
    let mut id = outcome.oldest;
    // Where the last segment's batches ended, so that a later segment that does not go on from there is
    // blamed on that place.
    let mut stop =
        Stop { segment: id, offset: 0, reason: Damage::NoSegment, durable: BatchNo::ZERO, torn: None };
    loop {
        let segment = survey.segments.get(&id);
        // Behind what the newest writer found or made, segments of earlier ones are litter, of which an opening that was cut
        // short may have removed some.
        let writer = survey.manifest.map_or(Epoch(0), |manifest| manifest.epoch);
        let in_use = |header: &SegmentHeader| header.epoch >= writer;
        let later_in_use =
            survey.segments.range(next_segment(id)..).any(|(_, later)| later.header().is_some_and(in_use));
        let promised = survey.manifest.is_some_and(|manifest| manifest.newest >= id);
        let Some(segment) = segment else {
            if later_in_use || promised {
                let path = storage.path(&names::segment(id));
                return Err(ScanError::MissingSegment { path, segment: id }.into());
            }
            return Ok(stop);
        };
        let (header, root) = match segment.block {
            HeaderBlock::Valid(header, root) => (header, root),
            HeaderBlock::Empty => return Ok(stop),
            HeaderBlock::Invalid(error) => {
                return Ok(Stop { torn: Some((id, error.into())), ..stop });
            }
        };
        if id == outcome.oldest && id > SegmentId(1) {
            outcome.chain = Chain::adopt(&header);
        }
        if !outcome.chain.continues_in(&header) {
            return explain_break(storage, &outcome.chain, &header, id, stop).map_err(OpenError::from);
        }
        // A segment of a later epoch says how many batches its writer kept; what an earlier one wrote behind
        // that was cut then, even if it reads well today.
        let next = survey.segments.get(&next_segment(id)).and_then(|next| next.header());
        let limit = next.filter(|next| next.epoch > header.epoch).map(|next| next.first_batch_no);

        let name = names::segment(id);
        let file = open(storage, &name)?;
        let pace = Pace::on(storage, id > outcome.oldest);
        let mut scan = SegmentScan::new(storage.path(&name), header, file, pace);
        outcome.chain.enter(&header, root);
        let reason = loop {
            if limit == Some(outcome.chain.next_batch) {
                break Damage::Zeros;
            }
            match scan.find(&outcome.chain)? {
                Found::Nothing(damage) => break damage,
                Found::Batch(batch, root) => {
                    keep(outcome, id, &batch, contracts);
                    let batch_no = outcome.chain.next_batch;
                    visit(&batch).map_err(|source| OpenError::Refused { batch: batch_no, source })?;
                    outcome.chain.pass(batch.next_seq(), root);
                    let padded_len = batch.padded_len();
                    scan.pass(padded_len);
                    outcome.kept.end = scan.offset;
                }
            }
        };
        stop = Stop { segment: id, offset: scan.offset, reason, durable: BatchNo::ZERO, torn: None };
        id = next_segment(id);
    }
}

impl Outcome {
    /// Segments from `resume_at` on are litter, also those that lie ready: the writer before may have been killed, and what it
    /// had in flight may reach its files even now, on top of what this writer acknowledges. A new file is another one.
    fn leave_behind(&mut self, survey: &Survey) {
        let behind = survey.segments.range(self.resume_at..);
        self.litter.extend(behind.map(|(id, _)| names::segment(*id)));
    }
}

fn keep(outcome: &mut Outcome, id: SegmentId, batch: &WholeBatch<'_>, contracts: &mut Option<Vec<u8>>) {
    let last = batch.last_timestamp();
    let kept = &mut outcome.kept;
    kept.batches += 1;
    kept.last_timestamp = kept.last_timestamp.max(last);
    kept.last_kind = Some(batch.kind());
    kept.durable = kept.durable.max(batch.header().durable());
    kept.last_segment = Some(id);
    if batch.kind() == BatchKind::Contracts {
        *contracts = Some(batch.body().to_vec());
    }
}

/// A whole segment header that does not begin where the kept batches end.
fn explain_break(
    storage: &dyn Storage,
    chain: &Chain,
    header: &SegmentHeader,
    id: SegmentId,
    stop: Stop,
) -> Result<Stop, ScanError> {
    if header.epoch < chain.epoch {
        // Left over from before a cut: a later writer did not get as far as using the file again.
        return Ok(stop);
    }
    if header.first_batch_no > chain.next_batch {
        // Batches before this segment are missing. A writer of a later epoch had kept them; one of the same
        // epoch may only have had them in flight.
        let later = header.epoch > chain.epoch;
        let durable = if later { BatchNo(header.first_batch_no.0 - 1) } else { BatchNo::ZERO };
        return Ok(Stop { durable, ..stop });
    }
    let path = storage.path(&names::segment(id));
    Err(ScanError::ChainBroken { path, offset: 0, batch: header.first_batch_no })
}

/// Looks behind the place where walking stopped, and picks the row of the table.
fn decide(
    storage: &dyn Storage,
    survey: &Survey,
    outcome: &mut Outcome,
    stop: Stop,
) -> Result<(), ScanError> {
    let next = outcome.chain.next_batch;
    let hint = survey.manifest.map_or(BatchNo::ZERO, |manifest| manifest.durable);
    // Of a log without its front only the header of its first segment says where it begins: that one stays.
    let oldest = survey.segments.get(&outcome.oldest).and_then(|segment| segment.header());
    let begins = oldest.map(|_| outcome.oldest).filter(|oldest| *oldest > SegmentId(1));
    outcome.resume_at = outcome.kept.last_segment.or(begins).map_or(outcome.oldest, next_segment);
    let said = survey.manifest.is_some_and(|manifest| manifest.closed && manifest.durable.next() == next);
    // A segment that was used after the close: the device has lost the manifest that was written before it.
    let used = survey.segments.range(outcome.resume_at..).any(|(_, later)| later.block != HeaderBlock::Empty);
    if said && !used && stop.durable < next {
        outcome.row = if outcome.kept.last_segment.is_some() { Row::C } else { Row::B };
        outcome.leave_behind(survey);
        outcome.end = outcome.kept.last_segment.map(|_| End { segment: stop.segment, offset: stop.offset });
        return Ok(());
    }

    // A later writer may have cut here, and come no further than the header of its segment: what it was to note of the
    // cut is to be noted still.
    let begin = match outcome.kept.last_segment {
        Some(last) if last < stop.segment => End { segment: last, offset: outcome.kept.end },
        _ => End { segment: stop.segment, offset: stop.offset.max(BLOCK as u64) },
    };
    let mut behind = Behind::default();
    let (mut ends_in_zeros, mut cut_at_first) = (true, false);
    for (id, segment) in survey.segments.range(begin.segment..) {
        let salt = segment.header().map(|header| header.batch_salt());
        let from = if *id == begin.segment { begin.offset } else { BLOCK as u64 };
        let name = names::segment(*id);
        let mut here = Behind::default();
        let window = Window::new(open(storage, &name)?, Pace::on(storage, true));
        // A file may have been made longer; what is behind its segment is nobody's.
        let end = segment.len.min(segment.header().map_or(SEGMENT_BYTES_MAX, |header| header.segment_size));
        here.look(storage.path(&name), window, from..end, salt, next)?;
        ends_in_zeros &= *id != stop.segment || !here.dirty;
        cut_at_first |= *id == begin.segment && here.dirty;
        behind.islands.append(&mut here.islands);
        behind.durable = behind.durable.max(here.durable);
        behind.dirty |= here.dirty;
    }

    // Where the segment before ended as one that is full does, the log ends at the torn header.
    let Stop { segment, offset, reason, durable, torn } = stop;
    let (segment, offset, reason) = match torn {
        Some((torn, header)) if ends_in_zeros || torn == segment => (torn, 0, header),
        _ => (segment, offset, reason),
    };
    let durable = hint.max(behind.durable).max(durable);
    if durable >= next {
        let resumes = behind.islands.iter().filter(|(no, _)| *no > next).min().map(|(_, seq)| *seq);
        return Err(ScanError::Damaged {
            path: storage.path(&names::segment(segment)),
            offset,
            batch: next,
            first_seq: outcome.chain.next_seq,
            resumes,
            durable,
            reason,
        });
    }
    // Also behind one without batches, which is made anew.
    let torn_header = survey
        .segments
        .range(outcome.resume_at..)
        .any(|(_, segment)| matches!(segment.block, HeaderBlock::Invalid(_)));
    outcome.row = match (outcome.kept.last_segment, behind.dirty || torn_header) {
        (None, false) => Row::B,
        (_, false) => Row::D,
        (_, true) if !behind.islands.is_empty() => Row::F,
        (_, true) if torn_header => Row::G,
        (_, true) => Row::E,
    };
    outcome.dropped = behind.islands.iter().map(|(batch_no, _)| *batch_no).collect();
    outcome.end = Some(if cut_at_first { begin } else { End { segment, offset } });
    outcome.leave_behind(survey);
    Ok(())
}

fn open(storage: &dyn Storage, name: &str) -> Result<Arc<dyn File>, ScanError> {
    storage.open(name, Access::Read).map_err(|source| ScanError::Io {
        action: "open",
        path: storage.path(name),
        source,
    })
}

impl Outcome {
    /// How far the kept batches reach.
    pub(crate) fn durable(&self) -> Durable {
        Durable { batch_no: BatchNo(self.chain.next_batch.0 - 1), seq: Seq(self.chain.next_seq.0 - 1) }
    }
}

fn next_segment(id: SegmentId) -> SegmentId {
    SegmentId(id.0 + 1)
}
