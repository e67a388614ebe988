//! An event type: a name, a version, a shape, and how its values become bytes and are read in place.

use rkyv::Archived;
use rkyv::api::high::{HighSerializer, HighValidator, access, to_bytes_in_with_alloc};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::writer::{Buffer, Positional};
use rkyv::{Portable, Serialize};

use crate::error::DecodeError;
use crate::shape::Shaped;
use crate::verified::Verified;

/// A type whose values can be sequenced, logged and read in place. Derive it with `#[derive(Event)]`.
///
/// ```
/// use downbeat_record::{Event, rkyv};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(name = "bank.Deposited", version = 1)]
/// struct Deposited {
///     account: u64,
///     cents: i64,
///     memo: String,
/// }
///
/// let event = Deposited { account: 7, cents: 1_250, memo: "rent".into() };
/// let mut bytes = [0; 256];
/// let len = event.encode(&mut bytes)?;
/// assert!(len <= event.encoded_len_max());
/// assert_eq!(Deposited::NAME, "bank.Deposited");
/// # Ok::<(), downbeat_record::DecodeError>(())
/// ```
pub trait Event: rkyv::Archive + Shaped + Sized + 'static {
    /// The contract's name, unique within a log: `domain.PastTense` by custom.
    const NAME: &'static str;
    /// The contract's version; a change of shape needs a new one.
    const VERSION: u16;

    /// Writes the value as an archive to the front of `out`, which must be 16-byte aligned, and returns its
    /// length. Allocates nothing in steady state.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooLarge`] when `out` is shorter than the archive; [`Event::encoded_len_max`] is enough.
    fn encode(&self, out: &mut [u8]) -> Result<usize, DecodeError>;

    /// The archive in place, checked: no copy, no allocation.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] when the bytes are not an archive of this type.
    fn view(bytes: Verified<&[u8]>) -> Result<&Archived<Self>, DecodeError>;

    /// An upper bound of what [`Event::encode`] writes, in bytes: what a producer reserves.
    #[inline]
    fn encoded_len_max(&self) -> usize {
        // The root may have to be moved up to its alignment after out-of-line data.
        size_of::<Archived<Self>>() + align_of::<Archived<Self>>() - 1 + self.out_of_line_max()
    }
}

/// What `#[derive(Event)]` calls to encode; the bounds are checked where the type is concrete.
#[doc(hidden)]
pub fn encode<T>(value: &T, out: &mut [u8], contract: &'static str) -> Result<usize, DecodeError>
where
    T: for<'a> Serialize<HighSerializer<Buffer<'a>, ArenaHandle<'a>, rancor::Failure>>,
{
    let room = out.len();
    rkyv::util::with_arena(|arena| {
        to_bytes_in_with_alloc::<_, _, rancor::Failure>(value, Buffer::from(out), arena.acquire())
            .map(|written| written.pos())
            .map_err(|_| DecodeError::TooLarge { contract, room })
    })
}

/// What `#[derive(Event)]` calls to read in place.
#[doc(hidden)]
pub fn view<'a, A>(bytes: Verified<&'a [u8]>, contract: &'static str) -> Result<&'a A, DecodeError>
where
    A: Portable + for<'b> CheckBytes<HighValidator<'b, rancor::Error>>,
{
    access::<A, rancor::Error>(bytes.bytes())
        .map_err(|error| DecodeError::Invalid { contract, reason: error.to_string() })
}
