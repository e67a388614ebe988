//! What the batches without events say, as JSON so that anyone can read it with any tool.

use serde::{Deserialize, Serialize};

use crate::contract::REASON_MAX;
use crate::ids::{BatchNo, Epoch, Seq};

/// A 128-bit digest that finds divergence; it does not prove anything to an outsider, the chain does that.
///
/// Digests of single items are added, wrapping, so neither the order in which shards finish nor their number
/// changes the sum; the seq inside every item binds the order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of one item at a place: the seed keeps items of different stages and outputs apart.
    #[inline]
    pub fn of(seed: u64, bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128_with_seed(bytes, seed))
    }

    /// Puts another item in.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Takes an item out again.
    #[inline]
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(&text, 16) {
            Ok(value) if digits => Ok(Self(value)),
            _ => Err(serde::de::Error::custom("a digest is 32 hexadecimal digits")),
        }
    }
}

/// The digests of every stage after `seq` and everything before it: the body of a checkpoint batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last event that the digests cover.
    pub seq: Seq,
    /// The flow that ran.
    pub flow: String,
    /// One entry per stage, in the order in which the flow declares them.
    pub stages: Vec<StageDigest>,
    /// How far each leaf has delivered.
    pub leaves: Vec<LeafProgress>,
}

impl Checkpoint {
    /// The body of its batch.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checkpoint is plain data")
    }

    /// Reads the body of a checkpoint batch.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn from_json(body: &[u8]) -> Result<Self, serde_json::Error> {
        read(body)
    }
}

/// Reads a body of JSON; the error is short, whatever the parser quotes of the text.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body).map_err(|error| {
        let reason = error.to_string();
        if reason.len() <= REASON_MAX {
            return error;
        }
        serde::de::Error::custom(reason.chars().take(REASON_MAX).collect::<String>())
    })
}

/// What one stage did and knows, as two numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageDigest {
    /// The stage's name.
    pub stage: String,
    /// Everything it put out: values, commands, rejections.
    pub outputs: Digest,
    /// Its state, over all keys.
    pub state: Digest,
}

/// How far a leaf has delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafProgress {
    /// The leaf's name.
    pub leaf: String,
    /// Everything that follows from events up to this one has been handed to the outside.
    pub delivered: Seq,
}

/// What recovery found at the end of a log and cut off: the body of a recovery batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryNote {
    /// The writer that did the recovery.
    pub epoch: Epoch,
    /// The last batch that was kept.
    pub kept: BatchNo,
    /// The last seq that was kept.
    pub kept_seq: Seq,
    /// The segment file in which the cut lies; absent when the log ended cleanly.
    pub segment: Option<String>,
    /// Where in that file.
    pub offset: u64,
    /// Whole batches behind the cut that were dropped because something before them was missing.
    pub dropped: Vec<BatchNo>,
    /// The lettered row of the recovery table that decided.
    pub row: String,
}

impl RecoveryNote {
    /// Reads the body of a recovery batch.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn from_json(body: &[u8]) -> Result<Self, serde_json::Error> {
        read(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_binds_bytes_and_seed_and_sums_forget_the_order() {
        let [a, b, c] = [Digest::of(1, b"a"), Digest::of(1, b"b"), Digest::of(2, b"a")];
        assert!(a != b && a != c && b != c && a != Digest::default());
        assert_eq!(a.plus(b).plus(c), c.plus(a).plus(b));
        assert_eq!(a.plus(b).minus(a), b);
        assert_eq!(Digest(u128::MAX).plus(Digest(2)), Digest(1));
        assert_eq!(Digest(1).minus(Digest(2)), Digest(u128::MAX));
    }

    #[test]
    fn a_checkpoint_comes_back_from_its_body() {
        let stage = StageDigest { stage: "totals".into(), outputs: Digest(7), state: Digest(8) };
        let leaf = LeafProgress { leaf: "out".into(), delivered: Seq(6) };
        let checkpoint =
            Checkpoint { seq: Seq(9), flow: "f".into(), stages: vec![stage], leaves: vec![leaf] };
        assert_eq!(Checkpoint::from_json(&checkpoint.to_json()).unwrap(), checkpoint);
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_in_few_words() {
        let long = format!("{{\"seq\":\"{}\"}}", "x".repeat(1 << 14));
        let (checkpoint, note) =
            (Checkpoint::from_json(long.as_bytes()), RecoveryNote::from_json(long.as_bytes()));
        for error in [checkpoint.unwrap_err(), note.map(drop).unwrap_err()] {
            assert!(error.to_string().len() < 1_000);
        }
    }

    #[test]
    fn a_digest_is_32_hexadecimal_digits_and_nothing_else() {
        let digest = Digest(0xabc);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{}abc\"", "0".repeat(29)));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert_eq!(format!("{digest:?}"), format!("Digest({digest})"));
        let others =
            [String::new(), "0".repeat(31), "0".repeat(33), format!("+{}", "0".repeat(31)), "g".repeat(32)];
        for other in others {
            let refused = serde_json::from_str::<Digest>(&format!("\"{other}\"")).unwrap_err();
            assert!(refused.to_string().contains("32 hexadecimal digits"), "{other}: {refused}");
        }
    }
}
