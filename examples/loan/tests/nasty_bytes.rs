//! Whatever the bytes, reading ends with events or one line of error: no panic, no endless read, no unbounded memory.

use std::io::{self, Read, Write};

use downbeat_example_loan::{
    Format, Generator, InputError, Loaded, OnBadInput, Volume, read_from, write_csv, write_jsonl, write_xes,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const FORMATS: [Option<Format>; 4] = [None, Some(Format::Xes), Some(Format::Jsonl), Some(Format::Csv)];
const POLICIES: [OnBadInput; 3] = [OnBadInput::Stop, OnBadInput::Skip, OnBadInput::DeadLetter];

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads under every format and policy, and checks what always holds.
fn read_all_ways(bytes: &[u8]) {
    for format in FORMATS {
        let [stopped, skipped, kept] = POLICIES.map(|policy| read_from(bytes, "nasty", format, policy));
        for error in [&stopped, &skipped, &kept].into_iter().filter_map(|result| result.as_ref().err()) {
            let line = error.to_string();
            assert!(!line.contains(['\n', '\r']) && line.contains("nasty") && line.len() < 2_000, "{line}");
        }
        match (stopped, skipped, kept) {
            (_, Ok(skipped), Ok(kept)) => {
                assert_eq!((skipped.bad, skipped.dead_letters.len()), (kept.bad, 0));
                assert_eq!(kept.bad, kept.dead_letters.len() as u64);
                assert!(skipped.inputs == kept.inputs);
                for letter in kept.dead_letters {
                    assert!(letter.raw.len() <= 3 * 512 && !letter.to_string().contains(['\n', '\r']));
                }
            }
            (Err(_), Err(skipped), Err(kept)) => assert_eq!(skipped.to_string(), kept.to_string()),
            (stopped, skipped, kept) => panic!("{stopped:?} {skipped:?} {kept:?}"),
        }
    }
}

#[test]
fn nasty_files_are_refused_or_skipped() {
    let deep_json = format!("{{\"case\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_xml = format!("<log>{}", "<a>".repeat(100_000));
    let long_value =
        format!("<log><trace><string key='concept:name' value='{}'/></trace></log>", "9".repeat(3 << 20));
    let many_attributes = format!("<log><trace><string {}/></trace></log>", "a='1' ".repeat(10_000));
    let laughs = "<!DOCTYPE log [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><log><trace>\
                  <string key='concept:name' value='&b;'/></trace></log>";
    let nasty: [&[u8]; 24] = [
        b"",
        b"\n\n\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe<\0l\0o\0g\0>\0",
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00",
        b"<",
        b"<log",
        b"</log>",
        b"<log></log></log>",
        b"<log/><log/>",
        b"<log>&undefined;</log>",
        b"<log><trace></log></trace>",
        b"<log><!-- ",
        b"{",
        b"{}\n[]\nnull\n{\"case\":1e999}",
        b"{\"case\":-1,\"case\":{\"a\":[1,{}]}}\xff\n",
        b"case,\n",
        b"\"case\",\"activity\"\"\n",
        deep_json.as_bytes(),
        deep_xml.as_bytes(),
        many_attributes.as_bytes(),
        laughs.as_bytes(),
    ];
    for bytes in nasty.into_iter().chain([long_value.as_bytes()]) {
        read_all_ways(bytes);
        read_all_ways(&gzipped(bytes));
    }
}

#[test]
fn a_line_without_end_is_read_in_bounded_memory_and_skipped() {
    let endless = io::repeat(b'x').take(64 << 20).chain("\n{\"case\":1}\n".as_bytes());
    let Loaded { bad, dead_letters, .. } =
        read_from(endless, "pipe", Some(Format::Jsonl), OnBadInput::DeadLetter).unwrap();
    assert_eq!(bad, 2);
    assert!(dead_letters[0].to_string().contains("longer than 1048576 bytes"));
    assert_eq!(dead_letters[1].place.line, 2);
    for endless in ["<log a='", "<log><!--", "<log>text", "<log><trace><string value=\""] {
        let endless = endless.as_bytes().chain(io::repeat(b'x'));
        let error = read_from(endless, "pipe", Some(Format::Xes), OnBadInput::Skip).unwrap_err();
        assert!(matches!(error, InputError::XmlTooLong { .. }), "{error}");
    }
}

#[test]
fn a_read_that_fails_says_at_which_line() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    for (format, text) in [(Format::Xes, "<log>\n\n<trace>"), (Format::Jsonl, "\n\n"), (Format::Csv, "case")]
    {
        // The head is read at once, so the failure must come after it.
        let text = format!("{}{}", text, " ".repeat(5_000));
        let error =
            read_from(text.as_bytes().chain(Failing), "pipe", Some(format), OnBadInput::Skip).unwrap_err();
        let line = if format == Format::Csv { 1 } else { 3 };
        assert_eq!(error.to_string(), format!("pipe:{line}: cannot be read: the cable is out"));
    }
}

#[test]
fn a_cut_gzip_is_an_error_wherever_it_is_cut() {
    let inputs: Vec<_> = Generator::new(31, Volume::Events(300)).collect();
    let mut text = Vec::new();
    write_jsonl(&mut text, inputs).unwrap();
    let packed = gzipped(&text);
    for len in 2..packed.len() {
        for policy in POLICIES {
            let error = read_from(&packed[..len], "cut.gz", Some(Format::Jsonl), policy).unwrap_err();
            assert!(matches!(error, InputError::GzipTruncated { .. }), "{len}: {error}");
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Cut(usize),
    Drop(usize, usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let (at, len) = (0..6_000_usize, 0..300_usize);
    prop_oneof![
        4 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => at.clone().prop_map(Damage::Cut),
        2 => (at.clone(), len.clone()).prop_map(|(at, len)| Damage::Drop(at, len)),
        2 => (at, len).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |at: usize, len: usize, max: usize| at.min(max)..(at + len).min(max);
        match *self {
            Self::Set(at, byte) => bytes.iter_mut().skip(at).take(1).for_each(|target| *target = byte),
            Self::Cut(at) => bytes.truncate(at),
            Self::Drop(at, len) => drop(bytes.drain(range(at, len, bytes.len()))),
            Self::Repeat(at, len) => bytes.extend_from_within(range(at, len, bytes.len())),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all_ways(&bytes);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[<>/=\"'&;{}:,0-9a-zA-Z_\\[\\] \n\\\\é-]{0,200}") {
        read_all_ways(text.as_bytes());
    }

    #[test]
    fn any_damage_to_a_good_file_is_read_without_a_panic(
        seed: u64,
        format in 0..3_usize,
        packed: bool,
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let inputs: Vec<_> = Generator::new(seed, Volume::Events(25)).collect();
        let mut bytes = Vec::new();
        match format {
            0 => write_xes(&mut bytes, &inputs).unwrap(),
            1 => write_jsonl(&mut bytes, inputs).unwrap(),
            _ => write_csv(&mut bytes, inputs).unwrap(),
        }
        if packed {
            bytes = gzipped(&bytes);
        }
        for damage in damages {
            damage.apply(&mut bytes);
        }
        read_all_ways(&bytes);
    }
}
