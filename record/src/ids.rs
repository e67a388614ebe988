//! The numbers that cross a crate border, each a type of its own.
//!
//! A [`Seq`] is a place in the total order, a [`BatchNo`] a place in the chain of batches, an *offset* a byte
//! in a file, an *index* a slot in memory. None converts into another by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The absent id; it takes no bytes in a log.
            pub const NONE: Self = Self(0);

            /// True for [`Self::NONE`].
            #[inline]
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }

            /// An id from any text: the 128-bit xxh3 of its bytes, never [`Self::NONE`].
            pub fn of(text: &str) -> Self {
                Self(xxhash_rust::xxh3::xxh3_128(text.as_bytes()).max(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }
    };
}

number! {
    /// A place in the total order: dense, gap-free, starting at 1. `Seq(0)` is "before the first event".
    Seq(u64)
}
number! {
    /// A place in the chain of batches: dense, starting at 1. `BatchNo(0)` is "before the first batch".
    BatchNo(u64)
}
number! {
    /// The fencing number of a log: one higher at every open for writing.
    Epoch(u64)
}
number! {
    /// The number of a segment file, starting at 1; its file name is this number.
    SegmentId(u64)
}
number! {
    /// Nanoseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
    Timestamp(u64)
}
number! {
    /// The number that a log gives to a contract (name and version) when it is first used. `Kind(0)` is no kind.
    Kind(u16)
}
number! {
    /// Who submitted an event: a number the application chooses, below [`SourceId::OF_STAGES`], or a stage of the flow for
    /// derived events.
    SourceId(u32)
}
number! {
    /// The entity an event is about: an account, an order, an application. `Key(0)` is "about none".
    Key(u64)
}

id128! {
    /// Ties the events of one transaction together through every hop; compatible with a W3C trace-id.
    Correlation
}
id128! {
    /// What a producer calls one event, so that sending it again changes nothing.
    IdempotencyKey
}

impl SourceId {
    /// The first number of those that belong to stages; what comes from outside has one below.
    pub const OF_STAGES: Self = Self(0x8000_0000);

    /// True for the numbers that belong to stages.
    #[inline]
    pub const fn is_of_a_stage(self) -> bool {
        self.0 >= Self::OF_STAGES.0
    }
}

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl BatchNo {
    /// Before the first batch.
    pub const ZERO: Self = Self(0);

    /// The batch after this one.
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Key {
    /// About no entity in particular.
    pub const NONE: Self = Self(0);

    /// A key from any text: the 64-bit xxh3 of its bytes, never [`Self::NONE`].
    pub fn of(text: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(text.as_bytes()).max(1))
    }

    /// Which of `shards` owns this key. Version 1 of the rule: xxh3-64 of the little-endian key, then the high
    /// half of its product with the shard count. It never decides a result, only where the work is done.
    #[inline]
    pub fn shard(self, shards: u32) -> u32 {
        let hash = xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes());
        ((u128::from(hash) * u128::from(shards)) >> 64) as u32
    }
}

/// The identity of a log, drawn at random when it is created and part of everything that is hashed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_their_range_and_one_shard_owns_everything() {
        let mut seen = [false; 8];
        for key in 0..1_000 {
            assert_eq!(Key(key).shard(1), 0);
            seen[Key(key).shard(8) as usize] = true;
        }
        assert!(seen.iter().all(|s| *s));
    }

    #[test]
    fn the_shard_rule_is_version_1() {
        let shards: Vec<u32> = (1..=8).map(|key| Key(key).shard(8)).collect();
        assert_eq!(shards, SHARD_RULE_1);
    }

    #[test]
    fn a_log_is_named_by_its_digits() {
        let log = LogId([0xa1; 16]);
        assert_eq!(
            (log.to_string(), format!("{log:?}")),
            ("a1".repeat(16), format!("LogId({})", "a1".repeat(16)))
        );
    }

    /// Golden: changing these moves keys between shards and needs a new version of the rule.
    const SHARD_RULE_1: [u32; 8] = [1, 1, 2, 6, 4, 3, 4, 5];

    /// The reference vectors of XXH3 for the empty text.
    #[test]
    fn ids_of_text_are_xxh3_and_never_absent() {
        assert_eq!(Key::of(""), Key(0x2d06_8005_38d3_94c2));
        assert_eq!(Correlation::of("").to_string(), "99aa06d3014798d86001c324468d497f");
        assert_ne!(Key::of("alice"), Key::of("bob"));
        assert!(Correlation::NONE.is_none() && !IdempotencyKey::of("a").is_none());
    }

    #[test]
    fn ids_print_as_what_they_are() {
        assert_eq!(format!("{} {:?}", Seq(7), Seq(7)), "7 Seq(7)");
        assert_eq!(Correlation(0xab).to_string(), format!("{}ab", "0".repeat(30)));
        assert_eq!(LogId([0x0f; 16]).to_string(), "0f".repeat(16));
        assert_eq!(serde_json::to_string(&Seq(u64::MAX)).unwrap(), u64::MAX.to_string());
        assert_eq!((Seq::ZERO.next(), BatchNo::ZERO.next()), (Seq(1), BatchNo(1)));
    }
}
