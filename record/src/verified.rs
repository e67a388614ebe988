//! Bytes that may be read as a type: the checksum gate, in the type system.

/// Wraps what a checksum was verified for, or what this process encoded itself.
///
/// Only this crate can make one, and only from a sealed or checked [`crate::Batch`] or from its own encoder;
/// typed access takes nothing else, so reading unchecked bytes does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Precondition: the caller verified a checksum over the bytes, or encoded them itself.
    #[inline]
    pub(crate) const fn vouch(inner: T) -> Self {
        Self(inner)
    }
}

impl<'a> Verified<&'a [u8]> {
    /// The bytes themselves.
    #[inline]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Vouches for bytes that this process got from [`crate::Event::encode`] and that never left its memory.
///
/// Typed access checks the archive all the same; what this skips is only the checksum.
#[inline]
pub const fn encoded_here(bytes: &[u8]) -> Verified<&[u8]> {
    Verified::vouch(bytes)
}
