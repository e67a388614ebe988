//! The rounds: a writer is started, killed, started again; and what it said is written down.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use downbeat::Seq;

use super::Args;
use super::oracle::Seen;
use super::rng::Rng;
use super::writer::{PRODUCERS, UNTOLD_MAX};

/// A writer that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the pipes told, over all rounds.
pub(crate) struct Story {
    /// Where each n was acknowledged; `Seq::ZERO` when it was not.
    pub(crate) acknowledged: Vec<Seq>,
    /// Per producer, the first n that is not acknowledged.
    pub(crate) from: Vec<u64>,
    /// Every n below was submitted.
    pub(crate) until: u64,
    /// The last seq, as the writer that closed the log said.
    pub(crate) closed_at: Seq,
    pub(crate) kills: u32,
    /// Of these, before the writer had opened the log.
    pub(crate) kills_while_opening: u32,
    /// Resubmitted, and found in the log: written, but not acknowledged before the kill.
    pub(crate) recovered: u64,
    /// How often each row of the recovery table cut something; `-` for an open that cut nothing.
    pub(crate) rows: BTreeMap<String, u32>,
    pub(crate) took: Duration,
}

/// What a run showed.
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) story: Story,
    pub(crate) seen: Seen,
}

impl Report {
    /// Writers that were killed.
    pub fn kills(&self) -> u32 {
        self.story.kills
    }

    /// Receipts that came through the pipe.
    pub fn acknowledged(&self) -> u64 {
        self.story.count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, story, seen } = self;
        writeln!(f, "seed           {seed}")?;
        writeln!(f, "kills          {} ({} while opening)", story.kills, story.kills_while_opening)?;
        writeln!(f, "events         {} in {} batches", seen.events, seen.batches)?;
        writeln!(f, "  submitted    {}, each once", story.until)?;
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
            story.took.as_secs_f64(),
            seen.took.as_secs_f64()
        )
    }
}

impl Story {
    fn count(&self) -> u64 {
        self.acknowledged.iter().filter(|seq| **seq != Seq::ZERO).count() as u64
    }

    /// Takes in one receipt.
    fn acknowledge(&mut self, n: u64, seq: Seq, duplicate: bool, frontier: &[u64]) -> anyhow::Result<()> {
        let lane = (n % PRODUCERS) as usize;
        ensure!(n == self.from[lane], "n {n} was acknowledged where {} comes next", self.from[lane]);
        self.from[lane] += PRODUCERS;
        if duplicate {
            ensure!(n < frontier[lane], "n {n} is called a duplicate, and was not submitted before");
            self.recovered += 1;
        }
        let at = usize::try_from(n)?;
        if self.acknowledged.len() <= at {
            self.acknowledged.resize(at + 1, Seq::ZERO);
        }
        self.acknowledged[at] = seq;
        Ok(())
    }
}

/// One writer and what it says.
struct Writer {
    child: Child,
    /// The lines, in the order in which they came; closed at the end of the pipe.
    lines: Receiver<String>,
}

/// Rounds of killing, then one writer that is left to finish.
pub(crate) fn tell(program: &Path, args: &Args, seed: u64, dir: &Path, log: &Path) -> anyhow::Result<Story> {
    let start = Instant::now();
    let mut rng = Rng::new(seed);
    let mut story = Story {
        acknowledged: Vec::new(),
        from: (0..PRODUCERS).collect(),
        until: 0,
        closed_at: Seq::ZERO,
        kills: 0,
        kills_while_opening: 0,
        recovered: 0,
        rows: BTreeMap::new(),
        took: Duration::ZERO,
    };
    // Per producer, no n from here on was ever submitted.
    let mut frontier = story.from.clone();
    let mut opening = Duration::from_millis(20);
    for round in 0..args.rounds {
        let writer = spawn(program, dir, log, &story, None, &mut rng)?;
        // One in four dies somewhere between its birth and a little after it can have opened the log.
        let while_opening = round > 0 && rng.below(4) == 0;
        let life = if while_opening { opening * 3 / 2 } else { Duration::from_millis(args.load_ms_max) };
        let life = Duration::from_micros(rng.below(1 + life.as_micros() as u64));
        let context = || format!("round {round}, see {}", dir.join("writer.log").display());
        let opened = live(writer, life, while_opening, &mut story, &frontier).with_context(context)?;
        story.kills += 1;
        match opened {
            Some(took) => opening = took,
            None => story.kills_while_opening += 1,
        }
        for (lane, from) in frontier.iter_mut().zip(&story.from) {
            *lane = (*lane).max(from + UNTOLD_MAX * PRODUCERS);
        }
    }
    story.until = frontier.iter().copied().max().unwrap_or_default();
    let writer = spawn(program, dir, log, &story, Some(story.until), &mut rng)?;
    finish(writer, &mut story, &frontier).context("the writer that is left alive")?;
    story.took = start.elapsed();
    Ok(story)
}

fn spawn(
    program: &Path,
    dir: &Path,
    log: &Path,
    story: &Story,
    until: Option<u64>,
    rng: &mut Rng,
) -> anyhow::Result<Writer> {
    let from: Vec<_> = story.from.iter().map(u64::to_string).collect();
    let errors = OpenOptions::new().create(true).append(true).open(dir.join("writer.log"))?;
    let mut command = Command::new(program);
    command.arg("kill9-writer").arg(log).args(["--from", &from.join(",")]);
    command.args(["--shards", &(1 + rng.below(3)).to_string(), "--threads", &(1 + rng.below(2)).to_string()]);
    if let Some(until) = until {
        command.args(["--until", &until.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut child = command.spawn().with_context(|| format!("{}", program.display()))?;
    let out = child.stdout.take().context("the writer has a pipe")?;
    let (tell, lines) = sync_channel(1 << 16);
    thread::spawn(move || listen(out, &tell));
    Ok(Writer { child, lines })
}

/// Passes whole lines on; the last one may have been cut by the kill, and then was not said.
fn listen(out: ChildStdout, tell: &SyncSender<String>) {
    let mut out = BufReader::with_capacity(1 << 16, out);
    loop {
        let mut line = String::new();
        match out.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {
                if tell.send(line).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Lets the writer live for `life`, from its birth or from its first acknowledgement, and kills it. Returns how
/// long it took to open the log, if it did.
fn live(
    mut writer: Writer,
    life: Duration,
    from_birth: bool,
    story: &mut Story,
    frontier: &[u64],
) -> anyhow::Result<Option<Duration>> {
    let born = Instant::now();
    let mut opened = None;
    let mut dies_at = if from_birth { born + life } else { born + PATIENCE };
    let mut loaded = from_birth;
    loop {
        match writer.lines.recv_timeout(dies_at.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let acknowledges = take(&line, story, frontier)?;
                if !acknowledges {
                    opened.get_or_insert_with(|| born.elapsed());
                } else if !loaded {
                    (loaded, dies_at) = (true, Instant::now() + life);
                }
            }
            Err(_) if Instant::now() < dies_at => {
                let status = writer.child.wait()?;
                bail!("the writer ended by itself: {status}");
            }
            Err(_) => break,
        }
        // Lines may come faster than the time runs out.
        if Instant::now() >= dies_at {
            break;
        }
    }
    writer.child.kill()?;
    for line in writer.lines {
        if !take(&line, story, frontier)? {
            opened.get_or_insert_with(|| born.elapsed());
        }
    }
    let status = writer.child.wait()?;
    ensure!(loaded, "the writer acknowledged nothing in {PATIENCE:?}");
    ensure!(status.code().is_none(), "the writer ended by itself: {status}");
    Ok(opened)
}

fn finish(mut writer: Writer, story: &mut Story, frontier: &[u64]) -> anyhow::Result<()> {
    loop {
        match writer.lines.recv_timeout(PATIENCE) {
            Ok(line) => drop(take(&line, story, frontier)?),
            Err(_) if story.closed_at != Seq::ZERO => break,
            Err(error) => {
                writer.child.kill()?;
                bail!("it did not close the log: {error}, {}", writer.child.wait()?);
            }
        }
    }
    let status = writer.child.wait()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Takes in one line; true when it acknowledges an event.
fn take(line: &str, story: &mut Story, frontier: &[u64]) -> anyhow::Result<bool> {
    let mut words = line.split_whitespace();
    let mut word = || words.next().with_context(|| format!("half a line: {line:?}"));
    match word()? {
        "a" => {
            let (n, seq) = (word()?.parse()?, Seq(word()?.parse()?));
            let duplicate = word()? == "d";
            story.acknowledge(n, seq, duplicate, frontier)?;
            return Ok(true);
        }
        "opened" => {
            let _last_seq = word()?;
            *story.rows.entry(word()?.to_owned()).or_default() += 1;
        }
        "closed" => story.closed_at = Seq(word()?.parse()?),
        other => bail!("the writer said {other:?}"),
    }
    Ok(false)
}
