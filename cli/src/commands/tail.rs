//! `downbeat tail`: the last events of a log, and with `-f` those to come.

use std::io::{self, BufWriter, Write};
use std::thread::park_timeout;
use std::time::Duration;

use downbeat::Seq;
use downbeat_audit::{EventFilter, follow, inspect};

use super::inspect::show;
use crate::args::TailArgs;
use crate::failure::Failure;

/// How often a log of another process is looked at: nobody rings across processes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) fn run(args: TailArgs) -> Result<(), Failure> {
    // Nothing is behind the last seq there can be, so this goes to the end and decodes nothing on the way.
    let mut end = inspect(&args.log, EventFilter { from: Some(Seq(u64::MAX)), ..EventFilter::default() })?;
    if let Some(Err(error)) = end.next() {
        return Err(error.into());
    }
    let from = Seq(end.next_seq().0.saturating_sub(args.count).max(1));
    let filter = EventFilter { from: Some(from), ..EventFilter::default() };
    // Of a log that may be being written, only what is durable: the rest may be cut by a recovery.
    let mut events = if args.follow { follow(&args.log, filter)? } else { inspect(&args.log, filter)? };
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        for event in events.by_ref() {
            show(&mut out, &event?, args.json)?;
        }
        out.flush()?;
        if !args.follow {
            return Ok(());
        }
        park_timeout(LOOK_AGAIN);
    }
}
