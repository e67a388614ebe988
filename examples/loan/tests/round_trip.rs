//! What is written reads back as the same events, in every format, plain, gzipped, named or sniffed.

use std::io::Write;
use std::path::PathBuf;

use downbeat_example_loan::{
    Format, Generator, LoanInput, OnBadInput, Source, Volume, read, read_from, write_csv, write_jsonl,
    write_xes,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const FORMATS: [(Format, &str); 3] = [(Format::Xes, "xes"), (Format::Jsonl, "jsonl"), (Format::Csv, "csv")];

fn written(format: Format, inputs: &[LoanInput]) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Xes => write_xes(&mut out, inputs).unwrap(),
        Format::Jsonl => write_jsonl(&mut out, inputs.iter().copied()).unwrap(),
        Format::Csv => write_csv(&mut out, inputs.iter().copied()).unwrap(),
    }
    out
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read_bytes(bytes: &[u8], format: Option<Format>) -> Vec<LoanInput> {
    read_from(bytes, "test", format, OnBadInput::Stop).unwrap().inputs
}

#[test]
fn every_format_reads_back_as_written() {
    let inputs: Vec<_> = Generator::new(21, Volume::Events(30_000)).collect();
    for (format, _) in FORMATS {
        let bytes = written(format, &inputs);
        for bytes in [gzipped(&bytes), [b"\xef\xbb\xbf".as_slice(), &bytes].concat(), bytes] {
            assert!(read_bytes(&bytes, Some(format)) == inputs, "{format:?}");
            assert!(read_bytes(&bytes, None) == inputs, "{format:?}, sniffed");
        }
    }
}

#[test]
fn files_are_read_by_name_and_by_content() {
    let inputs: Vec<_> = Generator::new(22, Volume::Applications(50)).collect();
    let folder = tempfile::tempdir().unwrap();
    for (format, ending) in FORMATS {
        let bytes = written(format, &inputs);
        for (name, bytes) in [
            (format!("a.{ending}"), bytes.clone()),
            (format!("a.{ending}.gz"), gzipped(&bytes)),
            ("plain".to_owned(), bytes.clone()),
            ("packed".to_owned(), gzipped(&bytes)),
        ] {
            let path: PathBuf = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert!(read(&Source::from(&path), OnBadInput::Stop).unwrap().inputs == inputs, "{path:?}");
        }
    }
}

#[test]
fn a_gzip_of_several_members_is_read_to_the_end() {
    let inputs: Vec<_> = Generator::new(23, Volume::Events(2_000)).collect();
    let bytes = written(Format::Jsonl, &inputs);
    let (left, right) = bytes.split_at(bytes.len() / 3);
    assert!(read_bytes(&[gzipped(left), gzipped(right)].concat(), None) == inputs);
}

#[test]
fn events_are_merged_by_time_and_ties_keep_their_place_in_the_file() {
    let csv = "time,case,transition,activity\n\
               2011-10-01T02:00:00+02:00,2,START,W_Afhandelen leads\n\
               2011-10-01T00:00:00Z,1,START,W_Afhandelen leads\n\
               2011-10-01T00:00:00.0Z,2,COMPLETE,W_Afhandelen leads\n\
               2011-09-30T23:59:59.999999999Z,2,SCHEDULE,W_Afhandelen leads\n";
    let inputs = read_bytes(csv.as_bytes(), None);
    let order: Vec<_> = inputs.iter().map(|input| (input.case.0, input.position)).collect();
    assert_eq!(order, [(2, 2), (2, 0), (1, 0), (2, 1)]);
}

#[test]
fn the_id_and_amount_of_a_trace_may_stand_behind_its_events() {
    let xes = r#"<log><trace>
        <event><string key='concept:name' value='A_SUBMITTED'/><string key='lifecycle:transition' value='COMPLETE'/>
        <date key='time:timestamp' value='2011-10-01T00:00:00Z'><string key='concept:name' value='nested'/></date>
        </event>
        <int key='AMOUNT_REQ' value='&#x35;00'></int><string key='concept:name' value='7'/></trace></log>"#;
    let inputs = read_bytes(xes.as_bytes(), None);
    assert_eq!(inputs.len(), 1);
    assert_eq!((inputs[0].case.0, inputs[0].amount_eur), (7, Some(500)));
}

#[test]
fn a_format_without_events_holds_none() {
    for text in ["<log/>", "<?xml version='1.0'?><log></log>\n", "case,activity,transition,time\n"] {
        assert_eq!(read_bytes(text.as_bytes(), None), []);
    }
}

proptest! {
    #[test]
    fn any_events_read_back_from_lines(seed: u64, events in 0..200_u64, shift in 0..1_000_000_u64, resource: u32, amount: u64) {
        let mut inputs: Vec<_> = Generator::new(seed, Volume::Events(events)).collect();
        for input in &mut inputs {
            input.time_ns += shift;
            input.resource = input.resource.map(|_| resource);
            input.amount_eur = input.amount_eur.map(|_| amount);
        }
        for (format, _) in &FORMATS[usize::from(events == 0)..] {
            let bytes = written(*format, &inputs);
            if !bytes.is_empty() {
                prop_assert!(read_bytes(&bytes, Some(*format)) == inputs);
            }
        }
    }
}
