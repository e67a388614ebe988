//! The names of the files in a log directory.
//!
//! ```text
//! LOCK                            one writer at a time
//! MANIFEST.0, MANIFEST.1          written in turn
//! 00000000000000000001.seg        a segment: in use, or prepared (its header block is zero)
//! 00000000000000000009.seg.tmp    a segment that is still being prepared
//! ```
//!
//! Everything else belongs to strangers: it is neither read nor removed.

use downbeat_record::SegmentId;

/// The file that the one writer of a log holds locked; it names the writer's process.
pub const LOCK: &str = "LOCK";
/// The two slots of the manifest; generation `g` is written to slot `g % 2`.
pub const MANIFEST: [&str; 2] = ["MANIFEST.0", "MANIFEST.1"];

const DIGITS: usize = 20;

/// The file of a segment.
pub fn segment(id: SegmentId) -> String {
    format!("{:020}.seg", id.0)
}

/// The file of a segment that is being prepared.
pub fn unfinished(id: SegmentId) -> String {
    format!("{:020}.seg.tmp", id.0)
}

/// The segment that a file name stands for.
pub fn parse_segment(name: &str) -> Option<SegmentId> {
    number(name.strip_suffix(".seg")?)
}

/// The segment that was being prepared under this file name.
pub fn parse_unfinished(name: &str) -> Option<SegmentId> {
    number(name.strip_suffix(".seg.tmp")?)
}

fn number(digits: &str) -> Option<SegmentId> {
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|id| *id != 0).map(SegmentId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_spelling_is_a_segment() {
        let id = SegmentId(42);
        assert_eq!(parse_segment(&segment(id)), Some(id));
        assert_eq!(parse_unfinished(&unfinished(id)), Some(id));
        for name in
            ["42.seg", "00000000000000000000.seg", "0000000000000000004x.seg", "x.seg", ".seg", "LOCK"]
        {
            assert_eq!(parse_segment(name), None, "{name}");
        }
        assert_eq!(parse_segment("99999999999999999999.seg"), None, "does not fit 64 bits");
    }
}
