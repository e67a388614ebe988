//! `downbeat replay`: does the code give what the log records?

use std::io::{self, Write};

use downbeat::Seq;
use downbeat_audit::{AuditError, ReplayOptions, Replayed, replay};
use serde_json::json;

use crate::args::ReplayArgs;
use crate::failure::Failure;
use crate::figures::{digests, digests_json, timed};
use crate::known::{Known, find};
use crate::page::{Page, number, rate, time};
use crate::progress::counter;

pub(crate) fn run(args: ReplayArgs, flows: &[Known]) -> Result<(), Failure> {
    let known = find(flows, &args.flow)?;
    let counter = counter(!args.no_progress, "replaying");
    let command_backlog_bytes = (args.command_backlog_mib as usize) << 20;
    let options = ReplayOptions { to: args.to.map(Seq), shards: args.shards, command_backlog_bytes };
    let (replayed, took) = timed(|| {
        replay(&args.log, &(known.flow)(), options, |progress| counter.set_position(progress.seq.0)).map_err(
            |error| match error {
                error @ AuditError::Recalled { .. } => {
                    Failure::from(error).and("here that is --command-backlog-mib")
                }
                error => error.into(),
            },
        )
    });
    counter.finish_and_clear();
    let replayed = replayed?;
    if args.json {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", object(&replayed))?;
        return Ok(out.flush()?);
    }
    let shards = if args.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", args.shards) };
    let mut page = Page::titled(format_args!("{}: {}, {shards}", known.name, args.log.display()));
    let Replayed { events, derived, checkpoints, .. } = replayed;
    match checkpoints {
        0 => page.row("digests", "the log holds none for these events; nothing was compared"),
        _ => page.check(true, format_args!("the digests are those of {} checkpoints", number(checkpoints))),
    };
    if derived > 0 {
        page.check(true, format_args!("{} events are emitted again, byte for byte", number(derived)));
    }
    page.gap().row("events", format_args!("{} in {}", number(events), time(took)));
    page.row("rate", format_args!("{} events/s", number(rate(events, took))));
    if replayed.rejected > 0 {
        page.row("rejected", number(replayed.rejected));
    }
    if replayed.pending > 0 {
        page.row("not in the log yet", format_args!("{} emitted events", number(replayed.pending)));
    }
    page.row("last seq", number(replayed.last_seq.0));
    digests(&mut page, &replayed.stages);
    Ok(page.print()?)
}

fn object(replayed: &Replayed) -> serde_json::Value {
    json!({
        "events": replayed.events,
        "derived": replayed.derived,
        "rejected": replayed.rejected,
        "pending": replayed.pending,
        "last_seq": replayed.last_seq,
        "checkpoints": replayed.checkpoints,
        "digests": digests_json(&replayed.stages),
    })
}
