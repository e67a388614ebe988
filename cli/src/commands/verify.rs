//! `downbeat verify`: is the log whole, in order and unaltered?

use std::io::{self, Write};
use std::path::Path;

use downbeat::Seq;
use downbeat_audit::{Verified, VerifyOptions, verify};
use serde_json::json;

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::figures::when;
use crate::page::{Page, bytes, count, number};
use crate::progress::counter;

pub(crate) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let counter = counter(!args.no_progress, "verifying");
    let verified =
        verify(&args.log, VerifyOptions::default(), |progress| counter.set_position(progress.seq.0));
    counter.finish_and_clear();
    let verified = verified?;
    if args.json {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", object(&verified))?;
        return Ok(out.flush()?);
    }
    Ok(page(&args.log, &verified).print()?)
}

fn object(verified: &Verified) -> serde_json::Value {
    let contracts = verified.contracts.iter().map(|(_, contract)| json!([contract.name, contract.version]));
    json!({
        "log_id": verified.log_id.to_string(),
        "events": verified.events,
        "first_seq": verified.first_seq,
        "last_seq": verified.last_seq,
        "first_timestamp_ns": verified.first_timestamp,
        "last_timestamp_ns": verified.last_timestamp,
        "segments": verified.segments,
        "batches": verified.batches,
        "bytes": verified.bytes,
        "openings": verified.epochs,
        "cuts": verified.cuts.len(),
        "checkpoints": verified.checkpoints.len(),
        "unproved": verified.unproved,
        "closed": verified.closed,
        "notices": verified.notices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "contracts": contracts.collect::<Vec<_>>(),
        "last_root": verified.last_root.to_string(),
    })
}

fn page(log: &Path, verified: &Verified) -> Page {
    let mut page = Page::titled(log.display());
    page.check(true, "every checksum and every link of the chain holds");
    let missing = match verified.first_seq {
        Seq(0 | 1) => "no seq is missing".to_owned(),
        first => format!("from seq {} on none is missing", number(first.0)),
    };
    page.check(true, format_args!("{missing}, times increase, payloads are what their contracts say"));
    rows(page.gap(), verified);
    page
}

/// What a log that was verified is.
pub(crate) fn rows(page: &mut Page, verified: &Verified) {
    if verified.events == 0 {
        page.row("events", "none");
    } else {
        let [first, last] = [verified.first_seq, verified.last_seq].map(|seq| number(seq.0));
        page.row("events", format_args!("{}, seq {first} to {last}", number(verified.events)));
        page.row("ordered", format_args!("from {}", when(verified.first_timestamp)));
        page.row("", format_args!("to   {}", when(verified.last_timestamp)));
    }
    let (batches, segments) =
        (count(verified.batches, "batch", "batches"), count(verified.segments, "segment", "segments"));
    page.row("on disk", format_args!("{} in {batches}, {segments}", bytes(verified.bytes)));
    page.row("openings", number(verified.epochs));
    for cut in verified.cuts.iter().filter(|cut| cut.segment.is_some()) {
        page.row("", format_args!("opening {} cut a torn end off, behind seq {}", cut.epoch, cut.kept_seq));
    }
    page.row("checkpoints", number(verified.checkpoints.len() as u64));
    for (index, (_, contract)) in verified.contracts.iter().enumerate() {
        let label = if index == 0 { "contracts" } else { "" };
        page.row(label, format_args!("{} v{}", contract.name, contract.version));
    }
    if verified.unproved > 0 {
        page.row("not proved durable", format_args!("the last {} events", number(verified.unproved)));
    }
    page.row("last root", "").line(format_args!("  {}", verified.last_root));
    for notice in &verified.notices {
        page.gap().line(format_args!("Worth a look: {notice}."));
    }
}
