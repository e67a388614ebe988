//! Writes loan events as files that [`input`](crate::input) reads back to the same events: samples and round trips.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::input::{CaseId, LoanInput, write_utc};

/// Writes one JSON object a line, in the order given; absent fields are left out.
///
/// # Errors
///
/// Those of the writer.
pub fn write_jsonl(out: &mut impl Write, inputs: impl IntoIterator<Item = LoanInput>) -> io::Result<()> {
    for input in inputs {
        // No text of a loan event needs escaping.
        let LoanInput { case, activity, transition, .. } = input;
        write!(out, r#"{{"case":{case},"activity":"{activity}","transition":"{transition}","time":""#)?;
        write_utc(out, input.time_ns)?;
        write!(out, "\"")?;
        if let Some(resource) = input.resource {
            write!(out, r#","resource":{resource}"#)?;
        }
        if let Some(amount) = input.amount_eur {
            write!(out, r#","amount":{amount}"#)?;
        }
        writeln!(out, "}}")?;
    }
    Ok(())
}

/// Writes a header and one row a line, in the order given; absent fields are empty cells.
///
/// # Errors
///
/// Those of the writer.
pub fn write_csv(out: &mut impl Write, inputs: impl IntoIterator<Item = LoanInput>) -> io::Result<()> {
    writeln!(out, "case,activity,transition,time,resource,amount")?;
    for input in inputs {
        let LoanInput { case, activity, transition, .. } = input;
        write!(out, "{case},{activity},{transition},")?;
        write_utc(out, input.time_ns)?;
        write_cell(out, input.resource.map(u64::from))?;
        write_cell(out, input.amount_eur)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Writes a trace for each case, cases in the order in which they first appear, events by position. An amount
/// is the trace's: it reads back on the first event of its case.
///
/// # Errors
///
/// Those of the writer.
pub fn write_xes(out: &mut impl Write, inputs: &[LoanInput]) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8" ?>"#)?;
    writeln!(out, r#"<log xes.version="1.0" xmlns="http://www.xes-standard.org/">"#)?;
    for trace in traces(inputs) {
        writeln!(out, "\t<trace>")?;
        writeln!(out, "\t\t<string key=\"concept:name\" value=\"{}\"/>", trace[0].case)?;
        if let Some(amount) = trace.iter().find_map(|input| input.amount_eur) {
            writeln!(out, "\t\t<string key=\"AMOUNT_REQ\" value=\"{amount}\"/>")?;
        }
        for input in trace {
            write_xes_event(out, input)?;
        }
        writeln!(out, "\t</trace>")?;
    }
    writeln!(out, "</log>")
}

fn write_xes_event(out: &mut impl Write, input: &LoanInput) -> io::Result<()> {
    writeln!(out, "\t\t<event>")?;
    if let Some(resource) = input.resource {
        writeln!(out, "\t\t\t<string key=\"org:resource\" value=\"{resource}\"/>")?;
    }
    writeln!(out, "\t\t\t<string key=\"lifecycle:transition\" value=\"{}\"/>", input.transition)?;
    writeln!(out, "\t\t\t<string key=\"concept:name\" value=\"{}\"/>", input.activity)?;
    write!(out, "\t\t\t<date key=\"time:timestamp\" value=\"")?;
    write_utc(out, input.time_ns)?;
    writeln!(out, "\"/>\n\t\t</event>")
}

fn write_cell(out: &mut impl Write, number: Option<u64>) -> io::Result<()> {
    match number {
        Some(number) => write!(out, ",{number}"),
        None => write!(out, ","),
    }
}

fn traces(inputs: &[LoanInput]) -> Vec<Vec<&LoanInput>> {
    let mut index_of: BTreeMap<CaseId, usize> = BTreeMap::new();
    let mut traces: Vec<Vec<&LoanInput>> = Vec::new();
    for input in inputs {
        let index = *index_of.entry(input.case).or_insert(traces.len());
        match traces.get_mut(index) {
            Some(trace) => trace.push(input),
            None => traces.push(vec![input]),
        }
    }
    for trace in &mut traces {
        trace.sort_by_key(|input| input.position);
    }
    traces
}
