//! Bad input, as a table: what is in the file, and the one line that says where it is wrong, how, and what was expected.

use std::io::Write;

use downbeat_example_loan::{Format, InputError, Loaded, OnBadInput, Reason, Source, read, read_from};
use flate2::Compression;
use flate2::write::GzEncoder;

const GOOD: &str =
    r#"{"case":7,"activity":"A_SUBMITTED","transition":"COMPLETE","time":"2011-10-01T00:38:44.546+02:00"}"#;

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn first_error(name: &str, format: Option<Format>, bytes: &[u8]) -> String {
    match read_from(bytes, name, format, OnBadInput::Stop) {
        Ok(loaded) => panic!("{} was read: {loaded:?}", String::from_utf8_lossy(bytes)),
        Err(error) => error.to_string(),
    }
}

/// `good` with one thing replaced by another, which must be there once.
fn with(good: &str, from: &str, to: &str) -> String {
    assert_eq!(good.matches(from).count(), 1, "{from}");
    good.replace(from, to)
}

#[test]
fn a_bad_line_of_jsonl_is_named() {
    let long = format!("{{\"case\":\"{}\"}}", "x".repeat(100));
    let table: &[(&str, &str)] = &[
        (
            "{\"case\":7,",
            "malformed line: EOF while parsing a value at column 10, expected a JSON object with case, activity, transition and time",
        ),
        (
            "[1]",
            "malformed line: invalid type: sequence, expected a JSON object with case, activity, transition and time",
        ),
        (
            "{} {}",
            "malformed line: trailing characters at column 4, expected a JSON object with case, activity, transition and time",
        ),
        ("{}", "field case is missing, expected a whole number, the application's id"),
        ("{\"case\":null}", "field case is missing, expected a whole number, the application's id"),
        ("{\"case\":7.5}", "field case is 7.5, expected a whole number, the application's id"),
        ("{\"case\":\"A-1\"}", "field case is \"A-1\", expected a whole number, the application's id"),
        ("{\"case\":\"+1\"}", "field case is \"+1\", expected a whole number, the application's id"),
        ("{\"case\":[7]}", "field case is a list, expected a whole number, the application's id"),
        ("{\"case\":7}", "field activity is missing, expected an activity such as \"A_SUBMITTED\""),
        ("{\"case\":7,\"case\":7}", "field case is there twice, expected once"),
        (
            "{\"cases\":7}",
            "unknown field \"cases\", expected case, activity, transition, time, resource or amount",
        ),
        (
            &long,
            "field case is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, expected a whole number, the application's id",
        ),
        (
            &with(GOOD, "A_SUBMITTED", "A_SUBMITED"),
            "unknown activity \"A_SUBMITED\", expected one of the log's 24, such as \"A_SUBMITTED\"",
        ),
        (
            &with(GOOD, "A_SUBMITTED", r"A\nB"),
            "unknown activity \"A\\nB\", expected one of the log's 24, such as \"A_SUBMITTED\"",
        ),
        (
            &with(GOOD, "\"A_SUBMITTED\"", "1"),
            "field activity is 1, expected an activity such as \"A_SUBMITTED\"",
        ),
        (
            &with(GOOD, "COMPLETE", "complete"),
            "unknown transition \"complete\", expected SCHEDULE, START or COMPLETE",
        ),
        (
            &with(GOOD, "2011-10-01T", "2011-10-32T"),
            "field time is \"2011-10-32T00:38:44.546+02:00\": no such day, expected a time such as 2011-10-01T00:38:44.546+02:00",
        ),
        (
            &with(GOOD, "\"2011-10-01T00:38:44.546+02:00\"", "1317422324"),
            "field time is 1317422324, expected a time such as 2011-10-01T00:38:44.546+02:00",
        ),
        (
            &with(GOOD, "\"time\":\"2011-10-01T00:38:44.546+02:00\"", "\"amount\":1"),
            "field time is missing, expected a time such as 2011-10-01T00:38:44.546+02:00",
        ),
        (&with(GOOD, "}", ",\"amount\":-3}"), "field amount is -3, expected a whole number of euro"),
        (&with(GOOD, "}", ",\"amount\":12.5}"), "field amount is 12.5, expected a whole number of euro"),
        (&with(GOOD, "}", ",\"amount\":true}"), "field amount is true, expected a whole number of euro"),
        (
            &with(GOOD, "}", ",\"resource\":4294967296}"),
            "field resource is 4294967296, expected a whole number from 0 to 4294967295",
        ),
    ];
    for (line, expected) in table {
        let file = format!("{GOOD}\n\n{line}\n{GOOD}\n");
        assert_eq!(first_error("loans.jsonl", None, file.as_bytes()), format!("loans.jsonl:3: {expected}"));
        let loaded = read_from(file.as_bytes(), "loans.jsonl", None, OnBadInput::Skip).unwrap();
        assert_eq!((loaded.inputs.len(), loaded.bad), (2, 1), "{line}");
    }
}

#[test]
fn a_bad_row_of_csv_is_named() {
    const HEADER: &str = "case,activity,transition,time,resource,amount";
    const ROW: &str = "7,A_SUBMITTED,COMPLETE,2011-10-01T00:38:44.546+02:00,112,20000";
    let table: &[(&str, &str)] = &[
        ("7,A_SUBMITTED", "malformed line: 2 cells under a header of 6, expected a cell for each column"),
        (&format!("{ROW},"), "malformed line: 7 cells under a header of 6, expected a cell for each column"),
        (
            &with(ROW, "112", "\"112"),
            "malformed line: a quote is not closed, expected a cell such as \"1,5\" or \"say \"\"yes\"\"\"",
        ),
        (
            &with(ROW, "112", "\"11\"2"),
            "malformed line: text after a closing quote, expected a cell such as \"1,5\" or \"say \"\"yes\"\"\"",
        ),
        (&with(ROW, "7,A", ",A"), "field case is missing, expected a whole number, the application's id"),
        (
            &with(ROW, "112", "a clerk"),
            "field resource is \"a clerk\", expected a whole number from 0 to 4294967295",
        ),
        (&with(ROW, "20000", "20.000"), "field amount is \"20.000\", expected a whole number of euro"),
        (&with(ROW, "COMPLETE", ""), "field transition is missing, expected SCHEDULE, START or COMPLETE"),
    ];
    for (row, expected) in table {
        let file = format!("{HEADER}\r\n{ROW}\r\n{row}\r\n{ROW}");
        assert_eq!(first_error("loans.csv", None, file.as_bytes()), format!("loans.csv:3: {expected}"));
        let loaded = read_from(file.as_bytes(), "loans.csv", None, OnBadInput::Skip).unwrap();
        assert_eq!((loaded.inputs.len(), loaded.bad), (2, 1), "{row}");
    }
}

#[test]
fn a_bad_csv_header_is_an_error_that_cannot_be_skipped() {
    let columns = "the columns case, activity, transition, time and if known resource, amount";
    for (header, expected) in [
        ("case,activity", format!("field transition is missing, expected {columns}")),
        ("case,case", "field case is there twice, expected once".to_owned()),
        (
            "case,activity,transition,time,ammount",
            "unknown field \"ammount\", expected case, activity, transition, time, resource or amount"
                .to_owned(),
        ),
    ] {
        let file = format!("{header}\n1,2\n");
        for policy in [OnBadInput::Stop, OnBadInput::Skip, OnBadInput::DeadLetter] {
            let error = read_from(file.as_bytes(), "loans.csv", None, policy).unwrap_err();
            assert_eq!(error.to_string(), format!("CSV header: loans.csv:1: {expected}"));
        }
    }
}

const TRACE: &str = "<log>
<trace>
<string key='concept:name' value='173688'/>
<string key='AMOUNT_REQ' value='20000'/>
<event>
<string key='concept:name' value='A_SUBMITTED'/>
<string key='lifecycle:transition' value='COMPLETE'/>
<date key='time:timestamp' value='2011-10-01T00:38:44.546+02:00'/>
</event>
<event>
<string key='concept:name' value='A_PARTLYSUBMITTED'/>
<string key='lifecycle:transition' value='COMPLETE'/>
<date key='time:timestamp' value='2011-10-01T00:38:44.880+02:00'/>
</event>
</trace>
</log>
";

#[test]
fn a_bad_event_of_xes_is_named_with_its_case() {
    // What is replaced by what, the message, and how many events are left.
    let table = [
        (
            "A_PARTLYSUBMITTED",
            "A_FOO",
            "loans.xes:10: case 173688: unknown activity \"A_FOO\", expected one of the log's 24, such as \"A_SUBMITTED\"",
            1,
        ),
        (
            "<string key='concept:name' value='A_SUBMITTED'/>",
            "",
            "loans.xes:5: case 173688: field concept:name is missing, expected an activity such as \"A_SUBMITTED\"",
            1,
        ),
        (
            "44.880+02:00",
            "44.880",
            "loans.xes:10: case 173688: field time:timestamp is \"2011-10-01T00:38:44.880\": no offset from UTC, expected a time such as 2011-10-01T00:38:44.546+02:00",
            1,
        ),
        (
            "<string key='concept:name' value='A_SUBMITTED'/>",
            "<string key='concept:name' value='A_SUBMITTED'/><string key='concept:name' value='A_SUBMITTED'/>",
            "loans.xes:5: case 173688: field concept:name is there twice, expected once",
            1,
        ),
        (
            "<string key='concept:name' value='A_SUBMITTED'/>",
            "<string key='concept:name' value=''/><string key='concept:name' value='A_SUBMITTED'/>",
            "loans.xes:5: case 173688: field concept:name is there twice, expected once",
            1,
        ),
        (
            "value='20000'",
            "value='20k'",
            "loans.xes:2: case 173688: field AMOUNT_REQ is \"20k\", expected a whole number of euro",
            0,
        ),
        (
            "value='173688'",
            "value='A-1'",
            "loans.xes:2: case A-1: field concept:name is \"A-1\", expected a whole number, the application's id",
            0,
        ),
        (
            "<string key='concept:name' value='173688'/>",
            "",
            "loans.xes:2: field concept:name is missing, expected a whole number, the application's id",
            0,
        ),
        (
            "</trace>",
            "</trace>\n<event></event>",
            "loans.xes:16: an <event> outside a <trace>, expected it inside",
            2,
        ),
    ];
    for (from, to, expected, left) in table {
        let file = with(TRACE, from, to);
        assert_eq!(first_error("loans.xes", None, file.as_bytes()), expected);
        let Loaded { inputs, bad, dead_letters } =
            read_from(file.as_bytes(), "loans.xes", None, OnBadInput::DeadLetter).unwrap();
        assert_eq!((inputs.len(), bad), (left, 1), "{to}");
        assert_eq!(dead_letters[0].to_string(), expected);
        // A trace takes its events along, and says how many they are.
        assert_eq!(dead_letters[0].raw.starts_with("2 events"), left == 0, "{}", dead_letters[0].raw);
        assert!(left == 0 || inputs[0].amount_eur == Some(20_000), "the first event left carries the amount");
    }
}

#[test]
fn malformed_xml_is_an_error_that_cannot_be_skipped() {
    let deep = format!("<log>{}", "\n<a>".repeat(70));
    let long = format!("<log>\n<!-- {} --></log>", "x".repeat(1 << 20));
    let table: &[(&str, &str)] = &[
        (&TRACE[..TRACE.len() - 8], "15: malformed XML: the file ends inside an element"),
        (&TRACE[..TRACE.len() - 60], "13: malformed XML: tag not closed: `>` not found before end of input"),
        (
            &with(TRACE, "</trace>", "</trice>"),
            "15: malformed XML: expected `</trace>`, but `</trice>` was found",
        ),
        ("<log></log></log>", "1: malformed XML: close tag `</log>` does not match any open tag"),
        ("<html>\n</html>", "1: malformed XML: the root element is <html>, not <log>"),
        ("<log/>\n<log/>", "2: malformed XML: a second root element"),
        ("<log/>\nmore", "1: malformed XML: text outside the root element"),
        ("<!-- nothing -->\n", "2: malformed XML: the file ends without an element"),
        (
            &with(TRACE, "value='20000'", "value='&euro;'"),
            "4: malformed XML: at 1..5: unrecognized entity `euro`",
        ),
        (
            &with(TRACE, "value='20000'", "value='1' value='2'"),
            "4: malformed XML: position 34: duplicated attribute, previous declaration at position 24",
        ),
        (&deep, "65: XML elements are nested deeper than 64, expected at most that"),
        (&long, "2: an XML tag or text is longer than 1048576 bytes, expected a shorter one"),
    ];
    for (file, expected) in table {
        for policy in [OnBadInput::Stop, OnBadInput::Skip, OnBadInput::DeadLetter] {
            let error = read_from(file.as_bytes(), "loans.xes", None, policy).unwrap_err().to_string();
            let error = error.strip_suffix(", expected a well-formed XES document").unwrap_or(&error);
            assert_eq!(error, format!("loans.xes:{expected}"));
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_named() {
    let jsonl = [GOOD.as_bytes(), b"\n{\"case\":\"\xe9\"}\n"].concat();
    assert_eq!(
        first_error("loans.jsonl", None, &jsonl),
        "loans.jsonl:2: not UTF-8 at byte 9 of the line, expected UTF-8 text"
    );
    let xes = b"<log>\n<trace>\n<string key='concept:name' value='\xe9'/></trace></log>";
    assert_eq!(
        first_error("loans.xes", None, xes),
        "loans.xes:3: malformed XML: cannot decode input using UTF-8: invalid utf-8 sequence of 1 bytes from index 34, expected a well-formed XES document"
    );
}

#[test]
fn a_broken_gzip_is_an_error_that_cannot_be_skipped() {
    let lines = format!("{GOOD}\n").repeat(1_000);
    let whole = gzipped(lines.as_bytes());
    let (cut, mut damaged) = (&whole[..whole.len() - 9], whole.clone());
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    for policy in [OnBadInput::Stop, OnBadInput::Skip, OnBadInput::DeadLetter] {
        let error = read_from(cut, "loans.jsonl.gz", None, policy).unwrap_err().to_string();
        assert_eq!(
            error,
            "loans.jsonl.gz:1001: the gzip stream is cut off, expected more after this line: fetch the file again"
        );
        let error = read_from(damaged.as_slice(), "loans.jsonl.gz", None, policy).unwrap_err().to_string();
        assert_eq!(
            error,
            "loans.jsonl.gz:1001: the gzip stream is damaged: corrupt gzip stream does not have a matching checksum, expected a valid one: fetch the file again"
        );
    }
}

#[test]
fn what_is_no_log_at_all_is_named() {
    for (bytes, expected) in [
        (b"".to_vec(), "x: empty, expected XES, JSONL or CSV"),
        (b" \r\n\n".to_vec(), "x: empty, expected XES, JSONL or CSV"),
        (gzipped(b""), "x: empty, expected XES, JSONL or CSV"),
        (
            b"PK\x03\x04zip".to_vec(),
            "x:1: unknown format, begins with \"PK\\u{3}\\u{4}zip\", expected XES, JSONL or CSV, plain or gzip",
        ),
    ] {
        assert_eq!(first_error("x", None, &bytes), expected);
    }
    assert_eq!(first_error("x", Some(Format::Csv), b""), "x: empty, expected XES, JSONL or CSV");
}

#[test]
fn a_file_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = read(&Source::from(folder.path()), OnBadInput::Skip).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: is a directory, expected a file", folder.path().display()));
    let missing = folder.path().join("no\nsuch.csv");
    let error = read(&Source::from(&missing), OnBadInput::Skip).unwrap_err();
    assert!(matches!(error, InputError::NotFound { .. }));
    assert_eq!(error.to_string(), format!("{}/no\\nsuch.csv: no such file", folder.path().display()));
}

#[test]
fn dead_letters_keep_the_place_the_reason_and_a_bounded_beginning() {
    let long = format!("{{\"ammount\":\"{}\"}}", "x".repeat(10_000));
    let file = format!("{{\n{GOOD}\n{long}\n");
    let loaded = read_from(file.as_bytes(), "loans.jsonl", None, OnBadInput::DeadLetter).unwrap();
    assert_eq!((loaded.inputs.len(), loaded.bad), (1, 2));
    let [first, second] = loaded.dead_letters.try_into().unwrap();
    assert_eq!((first.place.line, first.raw.as_str()), (1, "{"));
    assert_eq!((second.place.line, second.reason), (3, Reason::UnknownField("ammount".into())));
    assert_eq!((second.raw.len(), &second.raw[..12]), (512, "{\"ammount\":\""));
}

#[test]
fn more_dead_letters_than_are_kept_are_an_error() {
    let file = "{\n".repeat(100_001);
    let error = read_from(file.as_bytes(), "loans.jsonl", None, OnBadInput::DeadLetter).unwrap_err();
    assert_eq!(
        error.to_string(),
        "loans.jsonl:100001: the bad input after 100000 others, more are not kept: skip them, or see whether this is a loan log"
    );
    assert_eq!(read_from(file.as_bytes(), "loans.jsonl", None, OnBadInput::Skip).unwrap().bad, 100_001);
}
