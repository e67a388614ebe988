//! Leaf `notify`: one line in a file for every offer sent and every decision, exactly once across crashes.
//!
//! ```text
//! seq <tab> case <tab> what happened
//! ```
//!
//! The file is the leaf's memory: the seq of its last whole line is how far it delivered. An event causes at
//! most one line, because an offer is sent by one activity and a decision is made by another.
//!
//! A crash leaves whole lines and perhaps a piece of one behind them. `resume` cuts the piece off, and what it
//! told is delivered again, which writes the line it would have been.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use downbeat::{Delivery, Leaf, LeafError, Seq};

use super::event::Decided;
use super::offer::{Check, OfferStep};
use crate::summary::Outcome;

/// No line is longer.
const LINE_BYTES_MAX: u64 = 256;

/// Writes notifications.
#[derive(Debug)]
pub struct Notify {
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
}

impl Notify {
    /// Writes to this file, which is made when it is not there; without one, nowhere.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, file: None }
    }
}

impl Leaf for Notify {
    fn resume(&mut self) -> Result<Option<Seq>, LeafError> {
        let Some(path) = &self.path else { return Ok(None) };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let resumed = opened.and_then(|mut file| Ok((last_delivered(&mut file)?, file)));
        let (delivered, file) =
            resumed.map_err(|error| LeafError::new(format!("{}: {error}", path.display())))?;
        self.file = Some(BufWriter::new(file));
        Ok(Some(delivered))
    }

    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<(), LeafError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let (seq, case) = (delivery.seq, delivery.key);
        let undecodable = |error: downbeat::record::DecodeError| LeafError::new(error.to_string());
        if delivery.stage == "offer" {
            let offer = delivery.value::<OfferStep>().map_err(undecodable)?;
            let check = match rkyv::deserialize::<Check, rkyv::rancor::Error>(&offer.check) {
                Ok(Check::Running) => ", fraud check running",
                Ok(Check::Done) => ", fraud check done",
                _ => "",
            };
            writeln!(file, "{seq}\t{case}\toffer {} sent, score {}{check}", offer.number, offer.points)?;
        } else {
            let decided = delivery.value::<Decided>().map_err(undecodable)?;
            let outcome = match rkyv::deserialize::<Outcome, rkyv::rancor::Error>(&decided.outcome) {
                Ok(Outcome::Approved) => "approved",
                Ok(Outcome::Declined) => "declined",
                _ => "cancelled",
            };
            write!(file, "{seq}\t{case}\t{outcome}")?;
            if let Some(amount) = decided.amount_eur.as_ref() {
                write!(file, ", {amount} EUR")?;
            }
            writeln!(file)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LeafError> {
        self.file.as_mut().map_or(Ok(()), |file| Ok(file.flush()?))
    }
}

/// The seq of the last whole line. What stands behind it is cut off, and the file is left at its end; a file
/// that holds anything else than notifications is left alone.
fn last_delivered(file: &mut File) -> io::Result<Seq> {
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "holds other lines than notifications");
    let len = file.seek(SeekFrom::End(0))?;
    let start = len.saturating_sub(2 * LINE_BYTES_MAX);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, torn) = tail.split_at(whole);
    let begins_with_seq = torn.iter().take_while(|byte| **byte != b'\t').all(u8::is_ascii_digit);
    if !begins_with_seq || torn.len() as u64 > LINE_BYTES_MAX {
        return Err(foreign());
    }
    let delivered = match lines.split_last() {
        None if start > 0 => return Err(foreign()),
        None => Seq::ZERO,
        Some((_, lines)) => {
            let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            seq_of(&lines[begin..]).ok_or_else(foreign)?
        }
    };
    file.set_len(start + whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok(delivered)
}

fn seq_of(line: &[u8]) -> Option<Seq> {
    std::str::from_utf8(line).ok()?.split_once('\t')?.0.parse().ok().map(Seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(text: &str) -> (Result<Option<Seq>, LeafError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notifications");
        std::fs::write(&path, text).unwrap();
        let seq = Notify::new(Some(path.clone())).resume();
        (seq, std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_torn_last_line_is_cut_and_told_again() {
        let whole = "7\t12\toffer 1 sent, score 640\n19\t12\tapproved, 5000 EUR\n";
        for torn in ["", "2", "21\t13\tdecl"] {
            let (seq, left) = resumed(&format!("{whole}{torn}"));
            assert_eq!((seq.unwrap(), left.as_str()), (Some(Seq(19)), whole));
        }
    }

    #[test]
    fn a_new_file_begins_at_the_beginning() {
        for text in ["", "7\t12\toff"] {
            let (seq, left) = resumed(text);
            assert_eq!((seq.unwrap(), left.as_str()), (Some(Seq::ZERO), ""));
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_and_left_alone() {
        let diary = "dear diary,\nit rained".to_owned();
        for text in [diary, "it rained".to_owned(), format!("{}\n", "x".repeat(2_000)), "x".repeat(2_000)] {
            let (seq, left) = resumed(&text);
            assert!(seq.is_err());
            assert_eq!(left, text);
        }
    }

    #[test]
    fn without_a_file_nothing_is_remembered() {
        assert_eq!(Notify::new(None).resume().unwrap(), None);
    }
}
