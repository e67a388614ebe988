//! Encoding: within its bound, with the root at the end, and back again.

mod sample;

use downbeat_record::{DecodeError, Event, encoded_here, rkyv};
use proptest::prelude::*;
use sample::{Everything, encoded, everything, text};

#[derive(Debug, PartialEq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Texts {
    first: u8,
    texts: Vec<Vec<String>>,
    wide: Vec<u128>,
    last: String,
}

fn round_trip<E>(event: &E) -> E
where
    E: Event,
    rkyv::Archived<E>: rkyv::Deserialize<E, rkyv::rancor::Strategy<rkyv::de::Pool, rkyv::rancor::Panic>>,
{
    let bytes = encoded(event);
    rkyv::deserialize::<E, rkyv::rancor::Panic>(E::view(encoded_here(&bytes)).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn every_value_comes_back_and_keeps_its_bound(event in everything()) {
        let bytes = encoded(&event);
        prop_assert!(bytes.len() <= event.encoded_len_max());
        prop_assert!(event.encoded_len_max() <= bytes.len() + 1_024, "the bound is far above the truth");
        prop_assert_eq!(round_trip(&event), event);
    }

    #[test]
    fn nested_strings_come_back_and_keep_their_bound(
        first in any::<u8>(),
        texts in proptest::collection::vec(proptest::collection::vec(text(), 0..6), 0..6),
        wide in proptest::collection::vec(any::<u128>(), 0..4),
        last in text(),
    ) {
        let event = Texts { first, texts, wide, last };
        prop_assert!(encoded(&event).len() <= event.encoded_len_max());
        prop_assert_eq!(round_trip(&event), event);
    }

    #[test]
    fn the_root_is_the_end_of_the_archive(event in everything()) {
        let bytes = encoded(&event);
        let root = Everything::view(encoded_here(&bytes)).unwrap();
        let at = std::ptr::from_ref(root) as usize - bytes.as_ptr() as usize;
        prop_assert_eq!(at + size_of_val(root), bytes.len());
    }

    #[test]
    fn the_bytes_depend_on_the_value_alone(event in everything(), dirt in any::<u8>(), shift in 0..16_usize) {
        let bytes = encoded(&event);
        let mut other = vec![dirt; shift + event.encoded_len_max() + 99];
        let len = event.encode(&mut other[shift..]).unwrap();
        prop_assert_eq!(&other[shift..shift + len], &bytes[..]);
        prop_assert!(other[shift + len..].iter().all(|byte| *byte == dirt), "written behind the archive");
    }

    #[test]
    fn a_place_that_is_too_short_is_an_error(event in everything(), cut in any::<prop::sample::Index>()) {
        let len = encoded(&event).len();
        let room = cut.index(len);
        let error = event.encode(&mut vec![0; room]).unwrap_err();
        prop_assert_eq!(error, DecodeError::TooLarge { contract: "test.Everything", room });
    }

    #[test]
    fn a_view_of_any_bytes_is_a_value_or_an_error(
        event in everything(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&event);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.resize(cut.index(bytes.len() + 1), 0);
        if let Ok(view) = Everything::view(encoded_here(&bytes)) {
            let _ = rkyv::deserialize::<Everything, rkyv::rancor::Panic>(view).unwrap();
        }
    }
}
