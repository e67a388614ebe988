//! A writer as its parent sees it: a process, and the lines that come out of its pipe.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use downbeat::Seq;

use super::rng::Rng;
use super::story::{Story, Told};

/// A writer that says nothing for this long hangs. It is waited for twice: the first time may have gone by while
/// everything here was stopped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How to start writers.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The program.
    pub(crate) program: PathBuf,
    /// The log.
    pub(crate) log: PathBuf,
    /// Where their stderr goes.
    pub(crate) errors: PathBuf,
    /// Acknowledge what is not durable yet: a fault that the check must notice.
    pub(crate) ack_early: bool,
}

/// One writer and what it says.
pub(crate) struct Writer {
    child: Child,
    /// The lines, in the order in which they came; closed at the end of the pipe.
    lines: Receiver<Line>,
}

/// A line, and what was the hour when it came.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) at: usize,
}

impl Start {
    /// A writer that goes on where the story ends, until it is killed or has submitted everything below `until`.
    /// `hour` is asked whenever a line has come, before it is passed on.
    pub(crate) fn writer(
        &self,
        story: &Story,
        until: Option<u64>,
        rng: &mut Rng,
        hour: impl Fn() -> usize + Send + 'static,
    ) -> anyhow::Result<Writer> {
        let from: Vec<_> = story.from.iter().map(u64::to_string).collect();
        let errors = OpenOptions::new().create(true).append(true).open(&self.errors)?;
        let mut command = Command::new(&self.program);
        command.arg("crash-writer").arg(&self.log).args(["--from", &from.join(",")]);
        command.args(["--shards", &(1 + rng.below(3)).to_string()]);
        command.args(["--threads", &(1 + rng.below(2)).to_string()]);
        if rng.below(4) == 0 {
            command.arg("--blocking");
        }
        if let Some(until) = until {
            command.args(["--until", &until.to_string()]);
        }
        if self.ack_early {
            command.arg("--ack-early");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("{}", self.program.display()))?;
        let out = child.stdout.take().context("the writer has a pipe")?;
        let (tell, lines) = sync_channel(1 << 16);
        thread::spawn(move || listen(out, &tell, hour));
        Ok(Writer { child, lines })
    }

    /// A writer that submits what may have been in flight, and closes the log.
    pub(crate) fn finish(&self, story: &mut Story, rng: &mut Rng) -> anyhow::Result<()> {
        let mut writer = self.writer(story, Some(story.until()), rng, || 0)?;
        let ended = loop {
            match writer.next_line(PATIENCE).or_else(|_| writer.next_line(PATIENCE)) {
                Ok(line) => drop(story.take(&line.text)?),
                Err(_) if story.closed_at != Seq::ZERO => break writer.child.wait()?,
                Err(RecvTimeoutError::Disconnected) => bail!("it ended by itself: {}", writer.child.wait()?),
                Err(RecvTimeoutError::Timeout) => bail!("it did not close the log: {}", writer.kill()?.0),
            }
        };
        ensure!(ended.success(), "{ended}");
        Ok(())
    }
}

impl Writer {
    /// The next line.
    pub(crate) fn next_line(&self, patience: Duration) -> Result<Line, RecvTimeoutError> {
        self.lines.recv_timeout(patience)
    }

    /// Lets it live for `life`, from its birth or from its first acknowledgement, and kills it. Every line goes to
    /// `told`. Returns how long it took to open the log, if it did.
    pub(crate) fn live(
        mut self,
        life: Duration,
        from_birth: bool,
        mut told: impl FnMut(Line) -> anyhow::Result<Told>,
    ) -> anyhow::Result<Option<Duration>> {
        let born = Instant::now();
        let mut opened = None;
        let mut dies_at = if from_birth { born + life } else { born + PATIENCE };
        let (mut loaded, mut again) = (from_birth, !from_birth);
        loop {
            match self.next_line(dies_at.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if told(line)? != Told::Acknowledged {
                        opened.get_or_insert_with(|| born.elapsed());
                    } else if !loaded {
                        (loaded, dies_at) = (true, Instant::now() + life);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the writer ended by itself: {}", self.child.wait()?)
                }
                Err(RecvTimeoutError::Timeout) if !loaded && again => {
                    (again, dies_at) = (false, Instant::now() + PATIENCE);
                }
                Err(RecvTimeoutError::Timeout) => break,
            }
            // Lines may come faster than the time runs out.
            if Instant::now() >= dies_at {
                break;
            }
        }
        let (status, lines) = self.kill()?;
        for line in lines {
            if told(line)? != Told::Acknowledged {
                opened.get_or_insert_with(|| born.elapsed());
            }
        }
        ensure!(loaded, "the writer acknowledged nothing in twice {PATIENCE:?}");
        ensure!(status.code().is_none(), "the writer ended by itself: {status}");
        Ok(opened)
    }

    /// Kills it; what it had said comes out to the end.
    pub(crate) fn kill(&mut self) -> anyhow::Result<(ExitStatus, Vec<Line>)> {
        self.child.kill()?;
        let lines = self.lines.iter().collect();
        Ok((self.child.wait()?, lines))
    }
}

/// Passes whole lines on; the last one may have been cut by the kill, and then was not said.
fn listen(out: ChildStdout, tell: &SyncSender<Line>, hour: impl Fn() -> usize) {
    let mut out = BufReader::with_capacity(1 << 16, out);
    loop {
        let mut text = String::new();
        match out.read_line(&mut text) {
            Ok(_) if text.ends_with('\n') => {
                if tell.send(Line { text, at: hour() }).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Where the writers of a directory complain.
pub(crate) fn errors_in(dir: &Path) -> PathBuf {
    dir.join("writer.log")
}
