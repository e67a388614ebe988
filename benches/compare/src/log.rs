//! Durable logs: the same events, the same promise, each with its own best way to batch.
//!
//! ```text
//!  shape ─► every log, new ─► crew: threads that commit and wait ─► events a second, time of a commit
//! ```
//!
//! A commit counts when the log has said that it is durable: written and synced. A log that says so earlier is
//! marked, and not compared with.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use downbeat_benches::Run;

use crate::compare::{Disk, Measured, Rounds, Row, Standing, Subject};
use crate::log::crew::Crew;
use crate::log::peer::Peer;
use crate::log::shape::Shape;
use crate::report::{Goal, Table, Unit, best_peer, ratio};
use crate::{Session, progress};

mod crew;
mod peer;
mod shape;

mod engine;
mod fed;
mod wal;

mod fjall;
mod okay;
mod raft;
mod redb;
mod sqlite;
mod walrus;

mod etcd;
mod nats;
mod postgres;
mod redis;

/// The share of the cores that may go to others: the kernel writes for us on threads of its own.
const OTHERS: f64 = 0.25;

/// Samples of a table that may be taken again.
const AGAIN: usize = 40;

/// Measures every shape.
pub(crate) fn compare(session: &mut Session) -> Result<()> {
    session.run.floor("before");
    for shape in Shape::all(&session.run) {
        if session.wants_cell(shape.name) {
            one(session, shape)?;
        }
    }
    session.run.floor("after");
    Ok(())
}

fn one(session: &mut Session, shape: Shape) -> Result<()> {
    let scratch = session.run.scratch(shape.name);
    std::fs::create_dir_all(scratch.path()).with_context(|| format!("{}", scratch.path().display()))?;
    let mut rows = rows(session, shape, scratch.path());
    let title = format!("log: {}", shape.title);
    let disk = Some(Disk::of(&session.run)?);
    Rounds { run: &session.run, others: OTHERS, disk, times: 1, again: AGAIN }.measure(&title, &mut rows);
    let best = best_peer(&rows, Unit::PerSecond);
    let ours = rows.iter().filter(|row| row.standing == Standing::Ours).map(|row| row.name.as_str());
    let ratios = ours
        .filter_map(|name| {
            // With more under way from one thread it is another question.
            let goal = shape.goal.filter(|_| name != AHEAD).map(Goal::AtLeast);
            ratio(&rows, Unit::PerSecond, name, best?, goal)
        })
        .collect();
    session.show(&Table { title: &title, unit: Unit::PerSecond, rows: &rows, percentiles: true, ratios });
    progress(format_args!("{title}: ending"));
    Ok(())
}

const ALONE: &str = "downbeat-wal";
const AHEAD: &str = "downbeat-wal, 8 under way";
const FED: &str = "downbeat-wal, fed";
const ENGINE: &str = "downbeat";

/// Every log, new, in a directory of its own.
fn rows(session: &Session, shape: Shape, dir: &Path) -> Vec<Row<'static>> {
    let mut rows = Rows { session, shape, dir, rows: Vec::new() };
    let synced = "RWF_DSYNC, fdatasync";
    if shape.threads == 1 {
        rows.add(ALONE, Standing::Ours, synced, wal::SAYS, |dir| Ok(wal::Wal::new(dir, 1)));
    } else {
        rows.add(FED, Standing::Ours, synced, fed::SAYS, |dir| fed::Fed::open(dir, shape));
    }
    if shape.name == "64k-8" {
        rows.shape.threads = 1;
        rows.add(AHEAD, Standing::Ours, synced, wal::SAYS_AHEAD, |dir| Ok(wal::Wal::new(dir, shape.threads)));
        rows.shape = shape;
    }
    rows.add(ENGINE, Standing::Ours, synced, engine::SAYS, |dir| engine::Whole::open(dir, shape));
    rows.peer("raft-engine 0.4.2", "fdatasync", raft::SAYS, |dir| raft::Raft::open(dir, shape));
    rows.peer("raft-engine, prefilled", "fdatasync", raft::SAYS_PREFILLED, |dir| {
        raft::Raft::prefilled(dir, shape)
    });
    rows.peer("okaywal 0.3.1", "fdatasync", okay::SAYS, |dir| okay::Okay::open(dir, shape));
    rows.peer("walrus-rust 0.2.0", "msync", walrus::SAYS, |dir| walrus::Walrus::open(dir, shape.threads));
    rows.peer("fjall 3.1.13", "fdatasync", fjall::SAYS, fjall::Fjall::open);
    rows.peer("redb 4.6.0", "fdatasync", redb::SAYS, redb::Redb::open);
    rows.peer(&sqlite::name(), "fdatasync", sqlite::SAYS, sqlite::Sqlite::open);
    rows.peer("PostgreSQL", "fdatasync", postgres::SAYS, postgres::Postgres::start);
    rows.peer("Redis Streams", "fdatasync", redis::SAYS, redis::Redis::start);
    rows.peer("etcd", "fdatasync", etcd::SAYS, etcd::Etcd::start);
    let less = Standing::Less(nats::LESS.to_owned());
    rows.add("NATS JetStream", less, "not synced", nats::SAYS, nats::Nats::start);
    rows.rows
}

struct Rows<'s> {
    session: &'s Session,
    shape: Shape,
    dir: &'s Path,
    rows: Vec<Row<'static>>,
}

impl Rows<'_> {
    fn peer<P: Peer + 'static>(
        &mut self,
        name: &str,
        word: &'static str,
        says: &str,
        open: impl FnOnce(&Path) -> Result<P>,
    ) {
        self.add(name, Standing::Same, word, says, open);
    }

    fn add<P: Peer + 'static>(
        &mut self,
        name: &str,
        standing: Standing,
        word: &'static str,
        says: &str,
        open: impl FnOnce(&Path) -> Result<P>,
    ) {
        if !self.session.wants_row(name, &standing) {
            return;
        }
        progress(format_args!("log: {}: opening {name}", self.shape.title));
        let place: String =
            name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
        let dir = self.dir.join(format!("{}-{place}", self.shape.name));
        let mut says = says.to_owned();
        let subject = open(&dir).and_then(|peer| {
            if let Some(version) = peer.version() {
                says = format!("{version}: {says}");
            }
            let subject: Box<dyn Subject> = Box::new(Committing::start(Arc::new(peer), self.shape)?);
            Ok(subject)
        });
        self.rows.push(Row::new(name, standing, word, says, subject));
    }
}

/// A log and the threads that commit to it.
struct Committing {
    crew: Option<Crew>,
    peer: Arc<dyn Peer>,
}

impl Committing {
    fn start(peer: Arc<dyn Peer>, shape: Shape) -> Result<Self> {
        Ok(Self { crew: Some(Crew::start(&peer, shape)?), peer })
    }
}

impl Subject for Committing {
    fn prepare(&mut self) -> Result<()> {
        self.peer.settle()?;
        self.crew.as_ref().map_or(Ok(()), Crew::settle)
    }

    fn measure(&mut self) -> Result<Measured> {
        self.crew.as_mut().context("it is closed")?.work()
    }

    fn server(&self) -> Option<u32> {
        self.peer.server()
    }

    fn verify(&mut self) -> Result<()> {
        let crew = self.crew.take().context("it is closed")?;
        let acknowledged = crew.events();
        drop(crew);
        let peer = Arc::get_mut(&mut self.peer).context("a committer is left")?;
        let held = peer.reopen_and_count()?;
        ensure!(held == acknowledged, "it holds {held} events, {acknowledged} were acknowledged");
        Ok(())
    }
}

/// The shapes by name, for the command line.
pub(crate) fn cells(run: &Run) -> Vec<&'static str> {
    Shape::all(run).iter().map(|shape| shape.name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn shape(threads: usize, events: usize) -> Shape {
        let time_max = Duration::from_secs(20);
        let file_bytes = 8 << 20;
        Shape {
            name: "test",
            title: "test",
            threads,
            events,
            commits_max: 6,
            time_max,
            file_bytes,
            goal: None,
        }
    }

    /// Commits from one thread and from several, one event and many, then opens it again and counts.
    fn holds<P: Peer + 'static>(several: bool, open: impl Fn(&Path, Shape) -> Result<P>) {
        for threads in [1, 3] {
            for events in [1, 3_000] {
                if threads > 1 && !several {
                    continue;
                }
                let dir = tempfile::tempdir().expect("a directory");
                let shape = shape(threads, events);
                let peer = open(&dir.path().join("log"), shape).expect("it opens");
                let mut subject = Committing::start(Arc::new(peer), shape).expect("threads start");
                for _ in 0..2 {
                    subject.prepare().expect("it settles");
                    let measured = subject.measure().expect("it commits");
                    assert_eq!(measured.sample.count, 6 * events as u64);
                    assert_eq!(measured.latencies.count(), 6);
                }
                let crew = subject.crew.as_ref().expect("it is open");
                assert_eq!(crew.events(), 12 * events as u64);
                subject
                    .verify()
                    .unwrap_or_else(|error| panic!("{threads} threads, {events} events: {error:#}"));
            }
        }
    }

    #[test]
    fn our_log_holds_what_it_acknowledged() {
        holds(false, |dir, _| Ok(wal::Wal::new(dir, 1)));
        holds(false, |dir, _| Ok(wal::Wal::new(dir, 8)));
    }

    #[test]
    fn our_log_behind_an_order_holds_what_it_acknowledged() {
        holds(true, fed::Fed::open);
    }

    #[test]
    fn our_engine_holds_what_it_acknowledged() {
        holds(true, engine::Whole::open);
    }

    #[test]
    fn raft_engine_holds_what_it_acknowledged() {
        holds(true, raft::Raft::open);
        holds(true, raft::Raft::prefilled);
    }

    #[test]
    fn okaywal_holds_what_it_acknowledged() {
        holds(true, okay::Okay::open);
    }

    #[test]
    fn fjall_holds_what_it_acknowledged() {
        holds(true, |dir, _| fjall::Fjall::open(dir));
    }

    #[test]
    fn redb_holds_what_it_acknowledged() {
        holds(true, |dir, _| redb::Redb::open(dir));
    }

    #[test]
    fn sqlite_holds_what_it_acknowledged() {
        holds(true, |dir, _| sqlite::Sqlite::open(dir));
    }

    /// It reads its directory from the environment, so it is tested in a process of its own.
    #[test]
    fn walrus_holds_what_it_acknowledged() {
        if std::env::var_os(crate::WALRUS_DATA_DIR).is_some() {
            return holds(true, |dir, shape| {
                // One directory serves all, under names of ours.
                let name = format!("{}x{}", shape.threads, shape.events);
                walrus::Walrus::open(&dir.with_file_name(name), shape.threads)
            });
        }
        let dir = tempfile::tempdir().expect("a directory");
        let again = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "log::tests::walrus_holds_what_it_acknowledged"])
            .env(crate::WALRUS_DATA_DIR, dir.path())
            .env("WALRUS_QUIET", "1")
            .output()
            .expect("it runs again");
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
    }

    /// A log that loses one event is found out.
    #[test]
    fn a_log_that_holds_less_than_it_acknowledged_fails_its_row() {
        struct Leaky;
        impl Peer for Leaky {
            fn committer(&self, _: usize, _: Shape) -> Result<Box<dyn peer::Committer>> {
                Ok(Box::new(Self))
            }
            fn reopen_and_count(&mut self) -> Result<u64> {
                Ok(5)
            }
        }
        impl peer::Committer for Leaky {
            fn commit(&mut self, _: &[crate::event::Event]) -> Result<()> {
                Ok(())
            }
        }
        let mut subject = Committing::start(Arc::new(Leaky), shape(1, 1)).expect("threads start");
        subject.measure().expect("it commits");
        let error = subject.verify().expect_err("it holds less").to_string();
        assert_eq!(error, "it holds 5 events, 6 were acknowledged");
    }
}
