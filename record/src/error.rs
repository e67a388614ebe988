//! What can be wrong with bytes that claim to be a record, and how text from outside stands in a message.

use std::fmt::{self, Write as _};

use crate::ids::BatchNo;

/// Text from outside in a message: a path, a name out of a log. Control characters are escaped, so that the message
/// stays one line and moves no terminal's cursor.
///
/// ```
/// use downbeat_record::Shown;
///
/// let name = std::path::Path::new("a\nb\u{1b}[2J.seg");
/// assert_eq!(Shown(name.display()).to_string(), r"a\nb\u{1b}[2J.seg");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|one| {
            if one.is_control() { write!(self.0, "{}", one.escape_default()) } else { self.0.write_char(one) }
        })
    }
}

/// Why bytes are not a batch of this format. Positions are relative to the start of the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header says.
    #[error("only {len} bytes are left where a batch should be")]
    Short {
        /// Bytes there are.
        len: usize,
    },
    /// The first four bytes are not a batch's.
    #[error("no batch starts here: magic {found:#010x}")]
    Magic {
        /// What stands there.
        found: u32,
    },
    /// A layout this build does not know.
    #[error("batch layout version {found} is not known to this build, which reads version 1")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A kind of batch this build does not know.
    #[error("batch kind {found} is not known to this build")]
    Kind {
        /// The kind found.
        found: u8,
    },
    /// A flag or reserved field that this build does not know is set.
    #[error("the batch uses a feature that this build does not know")]
    UnknownFeature,
    /// The header's checksum does not match its bytes.
    #[error("the header checksum is {found:#010x}, its bytes give {expected:#010x}")]
    HeaderChecksum {
        /// The checksum stored.
        found: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// The body's checksum does not match its bytes.
    #[error("the body checksum is {found:#010x}, its bytes give {expected:#010x}")]
    BodyChecksum {
        /// The checksum stored.
        found: u32,
        /// The checksum of the bytes.
        expected: u32,
    },
    /// Count, length and first seq cannot all be true.
    #[error("{count} events in {body_len} bytes cannot be")]
    Lengths {
        /// Events claimed.
        count: u32,
        /// Body bytes claimed.
        body_len: u32,
    },
    /// A batch knows of those before it only.
    #[error("batch {batch_no} says that batch {durable} was durable before it was written")]
    Mark {
        /// Its number.
        batch_no: BatchNo,
        /// The batch that it calls durable.
        durable: BatchNo,
    },
    /// An event inside a checksummed body does not parse: a writer's fault, not the disk's.
    #[error("event {index} of the batch does not parse at byte {offset}")]
    Event {
        /// Which event, from 0.
        index: u32,
        /// Where it should start.
        offset: usize,
    },
}

impl BatchError {
    /// True when a later format explains it: the checksum of the header is true, and it says what this build does not know.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Kind { .. } | Self::UnknownFeature)
    }
}

/// Why an event cannot be encoded or its bytes not be read as the type asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a valid archive of the type.
    #[error("the payload is not a valid {contract}: {reason}")]
    Invalid {
        /// The contract's name.
        contract: &'static str,
        /// What the check said.
        reason: String,
    },
    /// The encoded event is longer than the space for it.
    #[error("{contract} does not fit into {room} bytes")]
    TooLarge {
        /// The contract's name.
        contract: &'static str,
        /// The space there was.
        room: usize,
    },
    /// A shape asks for bytes that the payload does not have.
    #[error("the payload does not hold {what} at byte {offset}")]
    Shape {
        /// What should be there.
        what: &'static str,
        /// Where.
        offset: usize,
    },
}
