//! Decoding by shape: what serde would say of the Rust value, without the Rust type.

mod sample;

use downbeat_record::{Event, Shape, Shaped, encoded_here, json, rkyv};
use proptest::prelude::*;
use sample::{Everything, encoded, everything, zero};

fn decoded<E: Event>(event: &E) -> serde_json::Value {
    // Through the JSON of the shape, as a reader of a log has it.
    let shape: Shape = serde_json::from_str(&serde_json::to_string(&E::shape()).unwrap()).unwrap();
    json::decode(&shape, encoded_here(&encoded(event))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

    #[test]
    fn a_payload_decodes_to_what_serde_gives(event in everything()) {
        prop_assume!(event.float.is_finite() && event.small_float.is_finite());
        prop_assert_eq!(decoded(&event), serde_json::to_value(&event).unwrap());
    }
}

#[test]
fn fields_keep_the_order_of_their_declaration() {
    let (decoded, serde) = (decoded(&zero()), serde_json::to_value(zero()).unwrap());
    assert_eq!(decoded.to_string(), serde.to_string());
}

#[test]
fn the_ends_of_every_number_survive() {
    for (long, wide, wide_signed) in [(u64::MAX, u128::MAX, i128::MIN), (1 << 53 | 1, 1 << 100, i128::MAX)] {
        let event = Everything { longs: (long, i64::MIN), wide, wide_signed, ..zero() };
        let value = decoded(&event);
        assert_eq!(value["longs"][0].as_u64(), Some(long));
        assert_eq!(value["longs"][1].as_i64(), Some(i64::MIN));
        assert_eq!(value["wide"].as_str(), Some(wide.to_string().as_str()));
        assert_eq!(value["wide_signed"].as_str(), Some(wide_signed.to_string().as_str()));
    }
}

#[test]
fn floats_that_json_cannot_hold_are_named() {
    for (float, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let value = decoded(&Everything { float, small_float: float as f32, ..zero() });
        assert_eq!((value["float"].as_str(), value["small_float"].as_str()), (Some(name), Some(name)));
    }
    assert!(decoded(&Everything { float: -0.0, ..zero() })["float"].as_f64().unwrap().is_sign_negative());
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Text(String);

#[test]
fn strings_of_every_length_around_the_inline_form_decode() {
    let sizes = (0..=80).chain([127, 128, 255, 256, 16_383, 16_384, 100_000]);
    for len in sizes.filter(|len| !cfg!(miri) || *len < 1_000) {
        let text: String = "aé".chars().cycle().take(len).collect();
        assert_eq!(decoded(&Text(text.clone())), serde_json::Value::String(text));
    }
}

#[derive(serde::Serialize, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Outcome {
    Approved { rate: f64 },
    Declined(String),
    Withdrawn,
}

#[test]
fn an_enum_can_be_an_event() {
    for outcome in
        [Outcome::Approved { rate: 3.5 }, Outcome::Declined("no income".into()), Outcome::Withdrawn]
    {
        assert_eq!(decoded(&outcome), serde_json::to_value(&outcome).unwrap());
    }
    assert_eq!(Outcome::shape().to_string(), "Outcome");
}
