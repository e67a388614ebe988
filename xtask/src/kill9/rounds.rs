//! The rounds: a writer is started, killed, started again; and what it said is written down.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Args;
use crate::crash::oracle::Seen;
use crate::crash::pipe::{Start, errors_in};
use crate::crash::rng::Rng;
use crate::crash::story::Story;

/// How the rounds went.
pub(crate) struct Rounds {
    /// What the pipes told.
    pub(crate) story: Story,
    pub(crate) kills: u32,
    /// Of these, before the writer had opened the log.
    pub(crate) kills_while_opening: u32,
    pub(crate) took: Duration,
}

/// What a run showed.
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) rounds: Rounds,
    pub(crate) seen: Seen,
}

impl Report {
    /// Writers that were killed.
    pub fn kills(&self) -> u32 {
        self.rounds.kills
    }

    /// Receipts that came through the pipe.
    pub fn acknowledged(&self) -> u64 {
        self.rounds.story.count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, seen } = self;
        let story = &rounds.story;
        writeln!(f, "seed           {seed}")?;
        writeln!(f, "kills          {} ({} while opening)", rounds.kills, rounds.kills_while_opening)?;
        writeln!(f, "events         {} in {} batches", seen.events, seen.batches)?;
        writeln!(f, "  submitted    {}, each once", story.until())?;
        writeln!(f, "  acknowledged {}, each at its seq", story.count())?;
        writeln!(f, "  recovered    {}, in the log though not acknowledged before a kill", story.recovered)?;
        writeln!(f, "  emitted      {}", seen.emitted)?;
        writeln!(f, "  rejected     {}", seen.rejected)?;
        let rows: Vec<_> = story.rows.iter().map(|(row, times)| format!("{row} {times}")).collect();
        writeln!(f, "opens by row   {} (- cut nothing)", rows.join(", "))?;
        writeln!(f, "checkpoints    {}, each equal on one thread", seen.checkpoints)?;
        writeln!(f, "states         equal to the model: {} accounts, one book", seen.accounts)?;
        write!(
            f,
            "took           {:.1} s and {:.1} s for the check",
            rounds.took.as_secs_f64(),
            seen.took.as_secs_f64()
        )
    }
}

/// Rounds of killing, then one writer that is left to finish.
pub(crate) fn tell(program: &Path, args: &Args, seed: u64, dir: &Path, log: &Path) -> anyhow::Result<Rounds> {
    let begun = Instant::now();
    let mut rng = Rng::new(seed);
    let mut story = Story::new();
    let mut kills_while_opening = 0;
    let start =
        Start { program: program.to_owned(), log: log.to_owned(), errors: errors_in(dir), ack_early: false };
    let mut opening = Duration::from_millis(20);
    for round in 0..args.rounds {
        let writer = start.writer(&story, None, &mut rng, || 0)?;
        // One in four dies somewhere between its birth and a little after it can have opened the log.
        let while_opening = round > 0 && rng.below(4) == 0;
        let life = if while_opening { opening * 3 / 2 } else { Duration::from_millis(args.load_ms_max) };
        let life = Duration::from_micros(rng.below(1 + life.as_micros() as u64));
        let context = || format!("round {round}, see {}", start.errors.display());
        let opened = writer.live(life, while_opening, |line| story.take(&line.text)).with_context(context)?;
        match opened {
            Some(took) => opening = took,
            None => kills_while_opening += 1,
        }
        story.died();
    }
    start.finish(&mut story, &mut rng).context("the writer that is left alive")?;
    Ok(Rounds { story, kills: args.rounds, kills_while_opening, took: begun.elapsed() })
}
