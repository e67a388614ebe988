//! An event type: a name, a version, a shape, and how its values become bytes and are read in place.

use rkyv::Archived;
use rkyv::api::low::{LowSerializer, LowValidator, access, to_bytes_in_with_alloc};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Error, Failure};
use rkyv::ser::allocator::{ArenaHandle, SubAllocator};
use rkyv::ser::writer::{Buffer, Positional};
use rkyv::{Portable, Serialize};

use crate::error::DecodeError;
use crate::shape::Shaped;
use crate::verified::Verified;

/// A type whose values can be sequenced, logged and read in place. Derive it with `#[derive(Event)]`, together
/// with rkyv's three derives. Those look for `::rkyv`; a crate without that dependency of its own adds
/// `#[rkyv(crate = downbeat_record::rkyv)]`.
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
/// assert_eq!((Deposited::NAME, Deposited::VERSION), ("bank.Deposited", 1));
/// # Ok::<(), downbeat_record::DecodeError>(())
/// ```
pub trait Event: rkyv::Archive + Shaped + Sized + 'static {
    /// The contract's name, unique within a log: `domain.PastTense` by custom.
    const NAME: &'static str;
    /// The contract's version; a change of shape needs a new one.
    const VERSION: u16;

    /// Writes the value as an archive to the front of `out` and returns its length: the root is its last
    /// bytes. Allocates nothing in steady state. The bytes do not depend on where `out` lies; to *read* them,
    /// the archive must start on a multiple of 16 bytes, as every payload in a [`Batch`](crate::Batch) does.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooLarge`] when `out` is shorter than the archive, which is then undefined but safe to
    /// use; [`Event::encoded_len_max`] is enough. An archive has less than 2 GiB.
    fn encode(&self, out: &mut [u8]) -> Result<usize, DecodeError>;

    /// The archive in place, checked: no copy, no allocation.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] when the bytes are not an archive of this type, or do not start on a multiple
    /// of its alignment.
    fn view(bytes: Verified<&[u8]>) -> Result<&Archived<Self>, DecodeError>;

    /// An upper bound of what [`Event::encode`] writes, in bytes: what a producer reserves.
    #[inline]
    fn encoded_len_max(&self) -> usize {
        let root = size_of::<Archived<Self>>();
        match self.out_of_line_max() {
            0 => root,
            // The root may have to be moved up to its alignment after out-of-line data.
            out_of_line => out_of_line + align_of::<Archived<Self>>() - 1 + root,
        }
    }
}

/// The longest archive: its pointers are signed 32-bit distances, and rkyv panics when one does not fit.
const ARCHIVE_LEN_MAX: usize = i32::MAX as usize;

/// Writes into a slice, with `A` for what it has to keep meanwhile. No shared pointers: [`Shaped`] has none.
type Encoder<'a, A> = LowSerializer<Buffer<'a>, A, Failure>;

/// What `#[derive(Event)]` calls to encode; the bounds are checked where the type is concrete.
#[doc(hidden)]
#[inline]
pub fn encode<T>(value: &T, out: &mut [u8], contract: &'static str) -> Result<usize, DecodeError>
where
    T: Shaped
        + for<'a> Serialize<Encoder<'a, SubAllocator<'a>>>
        + for<'a> Serialize<Encoder<'a, ArenaHandle<'a>>>,
{
    let room = out.len().min(ARCHIVE_LEN_MAX);
    let out = &mut out[..room];
    if value.out_of_line_max() == 0 {
        // Usually there is nothing to keep meanwhile, and what that would need is not made ready.
        let written = to_bytes_in_with_alloc(value, Buffer::from(&mut *out), SubAllocator::new(&mut []));
        if let Ok(written) = written {
            return Ok(written.pos());
        }
    }
    rkyv::util::with_arena(|arena| {
        to_bytes_in_with_alloc(value, Buffer::from(out), arena.acquire())
            .map(|written| written.pos())
            .map_err(|_| DecodeError::TooLarge { contract, room })
    })
}

/// What `#[derive(Event)]` calls to read in place.
#[doc(hidden)]
#[inline]
pub fn view<'a, A>(bytes: Verified<&'a [u8]>, contract: &'static str) -> Result<&'a A, DecodeError>
where
    A: Portable + for<'b> CheckBytes<LowValidator<'b, Failure>> + for<'b> CheckBytes<LowValidator<'b, Error>>,
{
    access::<A, Failure>(bytes.bytes()).map_err(|_| invalid::<A>(bytes.bytes(), contract))
}

/// Checks once more what is not an archive, for the reason: to carry one costs where there is none as well.
#[cold]
fn invalid<A>(bytes: &[u8], contract: &'static str) -> DecodeError
where
    A: Portable + for<'b> CheckBytes<LowValidator<'b, Error>>,
{
    let reason = access::<A, Error>(bytes).err().map(|error| error.to_string());
    DecodeError::Invalid { contract, reason: reason.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, encoded_here};

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(crate = crate, name = "test.Fixed")]
    struct Fixed {
        flag: bool,
        amount: u128,
    }

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(crate = crate)]
    struct Nothing;

    #[repr(align(16))]
    struct Aligned([u8; 160]);

    #[test]
    fn a_fixed_type_takes_its_size_and_nothing_more() {
        let (event, mut out) = (Fixed { flag: true, amount: 7 }, Aligned([0; 160]));
        assert_eq!(event.encoded_len_max(), 32);
        assert_eq!(event.encode(&mut out.0), Ok(32));
        let archived = Fixed::view(encoded_here(&out.0[..32])).unwrap();
        assert_eq!((archived.flag, archived.amount.to_native()), (true, 7));
    }

    #[test]
    fn an_event_without_fields_takes_no_bytes() {
        assert_eq!(Nothing.encoded_len_max(), 0);
        assert_eq!(Nothing.encode(&mut []), Ok(0));
        assert!(Nothing::view(encoded_here(&[])).is_ok());
    }

    #[test]
    fn a_misaligned_place_gets_the_same_bytes_and_refuses_to_be_read_there() {
        let event = Fixed { flag: true, amount: u128::MAX / 3 };
        let (mut aligned, mut shifted) = (Aligned([0; 160]), Aligned([0; 160]));
        event.encode(&mut aligned.0).unwrap();
        for shift in 1..16 {
            event.encode(&mut shifted.0[shift..]).unwrap();
            assert_eq!(aligned.0[..32], shifted.0[shift..shift + 32]);
            let error = Fixed::view(encoded_here(&shifted.0[shift..shift + 32])).err().unwrap();
            assert!(matches!(error, DecodeError::Invalid { contract: "test.Fixed", .. }), "{error}");
        }
    }

    #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(crate = crate)]
    struct Nested {
        all: Vec<Vec<String>>,
        one: Option<Box<u64>>,
    }

    #[test]
    fn what_is_empty_takes_its_fixed_part() {
        let (event, mut out) = (Nested { all: Vec::new(), one: None }, Aligned([0; 160]));
        let len = event.encode(&mut out.0).unwrap();
        assert_eq!(len, size_of::<Archived<Nested>>());
        let archived = Nested::view(encoded_here(&out.0[..len])).unwrap();
        assert!(archived.all.is_empty() && archived.one.is_none());
    }

    /// Says that it is its fixed part and nothing else, which is wrong.
    #[derive(rkyv::Archive, rkyv::Serialize)]
    struct Understated(Vec<String>);

    impl Shaped for Understated {
        fn shape() -> crate::Shape {
            Vec::<String>::shape()
        }

        fn out_of_line_max(&self) -> usize {
            0
        }
    }

    #[test]
    fn a_type_that_says_too_little_of_itself_is_encoded_all_the_same() {
        let (event, mut out) = (Understated(vec!["twenty bytes or more".into(); 3]), Aligned([0; 160]));
        let len = encode(&event, &mut out.0, "Understated").unwrap();
        let archived = view::<Archived<Understated>>(encoded_here(&out.0[..len]), "Understated").unwrap();
        assert!(archived.0.len() == 3 && archived.0.iter().all(|name| name == "twenty bytes or more"));
    }

    #[test]
    fn what_is_no_archive_is_refused_with_the_reason() {
        let mut out = Aligned([0; 160]);
        let event = Nested { all: vec![vec!["x".into()]; 3], one: None };
        let len = event.encode(&mut out.0).unwrap();
        out.0[len - 12] ^= 0x40;
        let error = Nested::view(encoded_here(&out.0[..len])).err().unwrap();
        let DecodeError::Invalid { contract: "Nested", reason } = error else { panic!("{error}") };
        assert!(!reason.is_empty());
    }

    #[test]
    fn a_place_that_is_too_short_is_an_error() {
        let error = Fixed { flag: true, amount: 7 }.encode(&mut [0; 31]).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { contract: "test.Fixed", room: 31 });
    }
}
