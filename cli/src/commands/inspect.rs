//! `downbeat inspect`: events as they stand in the log, decoded without the application's code.

use std::io::{self, BufWriter, Write};

use downbeat::record::Shown;
use downbeat::{Correlation, Key, Seq};
use downbeat_audit::{DecodedEvent, EventFilter, Inspector, inspect};

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::figures::when;

pub(crate) fn run(args: InspectArgs) -> Result<(), Failure> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Failure::usage(format_args!("--from {from} is behind --to {to}")));
    }
    let filter = EventFilter {
        from: args.from.map(Seq),
        to: args.to.map(Seq),
        kind: args.kind.clone(),
        correlation: args.correlation.map(Correlation),
        key: args.key.map(Key).or_else(|| args.key_of.as_deref().map(Key::of)),
    };
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut events = inspect(&args.log, filter)?;
    let mut shown = 0u64;
    for event in events.by_ref().take(limit) {
        match event {
            Ok(event) => show(&mut out, &event, args.json)?,
            Err(error) => {
                // What is before the damage is shown before the damage is, if anybody reads it.
                let _ = out.flush();
                return Err(error.into());
            }
        }
        shown += 1;
    }
    out.flush()?;
    // Contracts that stand behind what was read are not known.
    let to_the_end = limit > 0 && !events.is_done();
    match args.kind {
        Some(kind) if shown == 0 && to_the_end => known_kind(&kind, &events),
        _ => Ok(()),
    }
}

/// Nothing of a kind that the log has is an answer; of a kind that it has not, it is a typing error.
fn known_kind(kind: &str, events: &Inspector) -> Result<(), Failure> {
    let mut names = events.contracts().iter().map(|(_, contract)| contract.name.as_str());
    if names.any(|name| name == kind) {
        return Ok(());
    }
    let names: Vec<_> = events.contracts().iter().map(|(_, contract)| contract.name.as_str()).collect();
    Err(Failure::usage(format_args!("the log has no contract `{kind}`; it has {}", names.join(", "))))
}

/// Two lines for a person, or one for a machine.
pub(super) fn show(out: &mut impl Write, event: &DecodedEvent, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", event.to_json());
    }
    let ((name, version), fields) = (&event.contract, &event.fields);
    write!(out, "{:>9}  {}  {} v{version}", event.seq, when(event.timestamp), Shown(name))?;
    if fields.key != Key::NONE {
        write!(out, "  key {}", fields.key)?;
    }
    if fields.causation != Seq::ZERO {
        write!(out, "  caused by {}", fields.causation)?;
    }
    writeln!(out, "\n           {}", Shown(&event.payload))
}
