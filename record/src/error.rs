//! What can be wrong with bytes that claim to be a record.

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
    /// An event inside a checksummed body does not parse: a writer's fault, not the disk's.
    #[error("event {index} of the batch does not parse at byte {offset}")]
    Event {
        /// Which event, from 0.
        index: u32,
        /// Where it should start.
        offset: usize,
    },
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
