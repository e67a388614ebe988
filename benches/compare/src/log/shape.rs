//! Who commits how much at once.

use std::time::Duration;

use downbeat_benches::Run;

use crate::event::EVENT_BYTES;

/// One way to commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// How it is called on the command line.
    pub(crate) name: &'static str,
    /// How it is called in a report.
    pub(crate) title: &'static str,
    /// Threads, each with one commit under way.
    pub(crate) threads: usize,
    /// Events of a commit.
    pub(crate) events: usize,
    /// Commits of a sample at most, of all threads.
    pub(crate) commits_max: i64,
    /// Time of a sample at most.
    pub(crate) time_max: Duration,
    /// Bytes of a file of a log that is written in files of a fixed size.
    pub(crate) file_bytes: u64,
    /// How often Downbeat should be faster than the best peer with the same promise.
    pub(crate) goal: Option<f64>,
}

impl Shape {
    /// All of them, by the scale of the run.
    pub(crate) fn all(run: &Run) -> [Self; 5] {
        let time_max = Duration::from_millis(run.pick(2_000, 200, 500));
        let shape = |name, title, threads, events, [test, full]: [i64; 2], goal| Self {
            name,
            title,
            threads,
            events,
            commits_max: run.pick(test, full, full),
            time_max,
            file_bytes: run.pick(8, 64, 64) << 20,
            goal,
        };
        [
            shape("one", "1 thread, one event a commit", 1, 1, [8, i64::MAX], None),
            shape("threads", "64 threads, one event a commit each", 64, 1, [128, i64::MAX], Some(1.5)),
            shape("64k", "1 thread, 1,024 events a commit (64 KiB)", 1, 1_024, [3, 1_024], Some(1.5)),
            shape("64k-8", "8 threads, 1,024 events a commit each (64 KiB)", 8, 1_024, [16, 1_024], None),
            shape("1m", "1 thread, 16,384 events a commit (1 MiB)", 1, 16_384, [2, 96], Some(1.3)),
        ]
    }

    /// Payload bytes that one sample appends at most; where only time bounds it, more than any log has done.
    pub(crate) fn sample_bytes_max(&self) -> u64 {
        let commits = u64::try_from(self.commits_max.min(200_000)).unwrap_or(0);
        commits * (self.events * EVENT_BYTES) as u64
    }
}
