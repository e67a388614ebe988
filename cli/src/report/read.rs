//! Reads a run again: from the JSON that `bench` wrote, or from a page, which holds the same.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use downbeat_benches::cells::Measured;
use downbeat_benches::cells::measured::{FORMAT, VERSION};
use serde_json::Value;

use crate::failure::Failure;

/// How the JSON stands in a page.
pub(crate) const IN_PAGE: &str = r#"<script type="application/json" id="downbeat-bench">"#;
/// How it ends there.
pub(crate) const PAGE_END: &str = "</script>";

/// Reads a run from a file.
pub(crate) fn measured(path: &Path) -> Result<Measured, Failure> {
    let text = fs::read(path)
        .map_err(|error| Failure::io(format_args!("{}: cannot be read: {error}", path.display())))?;
    parse(&String::from_utf8_lossy(&text))
        .map_err(|what| Failure::does_not_hold(format_args!("{}: {what}", path.display())))
}

fn parse(text: &str) -> Result<Measured, String> {
    let json = match text.split_once(IN_PAGE) {
        Some((_, rest)) => rest.split_once(PAGE_END).map_or(rest, |(json, _)| json),
        None => text,
    };
    let expected = "expected what `downbeat bench --json` or `--html` wrote";
    let value: Value =
        serde_json::from_str(json).map_err(|error| format!("is not JSON ({error}), {expected}"))?;
    if value.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(format!("is not a run of bench, {expected}"));
    }
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(format!("has version {version} and this program reads {VERSION}; measure again"));
        }
        None => return Err(format!("has no version, {expected}")),
    }
    if let Some(number) = beyond(&value) {
        return Err(format!("has the number {number:e}, which nothing measures, {expected}"));
    }
    let measured: Measured = serde_json::from_value(value).map_err(|error| format!("{error}, {expected}"))?;
    Ok(measured)
}

/// Numbers of a run are within these, or 0; the scales of its plots count on that.
const NUMBERS: RangeInclusive<f64> = 1e-12..=1e24;

/// The first number that is not.
fn beyond(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => {
            number.as_f64().filter(|number| *number != 0.0 && !NUMBERS.contains(&number.abs()))
        }
        Value::Array(values) => values.iter().find_map(beyond),
        Value::Object(fields) => fields.values().find_map(beyond),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_run_is_said_in_one_line() {
        for (text, begins) in [
            ("", "is not JSON (EOF"),
            ("<html></html>", "is not JSON (expected value"),
            ("{}", "is not a run of bench"),
            (r#"{"format":"downbeat-bench"}"#, "has no version"),
            (r#"{"format":"downbeat-bench","version":2}"#, "has version 2 and this program reads 1"),
            (r#"{"format":"downbeat-bench","version":1}"#, "missing field `run`"),
            (r#"{"format":"downbeat-bench","version":1,"run":[1.7e308]}"#, "has the number 1.7e308"),
            (r#"{"format":"downbeat-bench","version":1,"run":{"p50":-5e-324}}"#, "has the number -5e-324"),
        ] {
            let what = parse(text).unwrap_err();
            assert!(what.starts_with(begins) && !what.contains('\n'), "{what}");
        }
    }
}
