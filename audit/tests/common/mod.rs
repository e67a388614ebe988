//! A flow that joins, emits and rejects, and logs written by a real engine.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};

use downbeat::{Context, Engine, Event, Flow, Key, Nothing, Options, Out, Reject, Shaped, Stage};

#[derive(Clone, Copy, Shaped, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[shaped(crate = downbeat::record)]
pub enum Channel {
    Branch,
    Online { country: [u8; 2] },
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Moved", version = 1, crate = downbeat::record)]
pub struct Moved {
    pub cents: i64,
    pub memo: String,
    pub channel: Channel,
    pub tags: Vec<String>,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Reached", version = 1, crate = downbeat::record)]
pub struct Reached {
    pub balance: i64,
}

/// One balance per account; `factor` is what other code would do otherwise.
pub struct Balance {
    pub factor: i64,
}

impl Stage for Balance {
    type State = i64;
    type Output = Reached;

    fn apply(
        &self,
        balance: &mut i64,
        event: &Context<'_>,
        out: &mut Out<'_, Reached>,
    ) -> Result<(), Reject> {
        let Some(moved) = event.event::<Moved>()? else { return Ok(()) };
        let before = *balance;
        *balance += moved.cents.to_native() * self.factor;
        if *balance < 0 {
            return Err(Reject::new("overdrawn"));
        }
        if *balance / 100 > before / 100 {
            out.send(&Reached { balance: *balance })?;
            out.emit(&Reached { balance: *balance })?;
        }
        Ok(())
    }
}

pub struct Count;

impl Stage for Count {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, count: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *count += u64::from(event.input::<Reached>()?.is_some());
        Ok(())
    }
}

pub fn flow(factor: i64) -> Flow {
    Flow::named("bank")
        .stage("balance", Balance { factor })
        .on::<Moved>()
        .emits::<Reached>()
        .stage("count", Count)
        .global()
        .after(["balance"])
        .build()
        .expect("the flow is sound")
}

pub fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.log.segment_bytes = 1 << 20;
    options.log.spare_segments = 1;
    options.order.batch_bytes = 16 << 10;
    options.actors.checkpoint_interval = 500;
    options
}

/// Writes `events` events in `lives` lives of the engine.
pub fn write(dir: &Path, events: u64, lives: u64) {
    for life in 0..lives {
        let engine = Engine::open(options(dir), flow(1)).expect("the engine opens");
        for n in 0..events / lives {
            let moved = Moved {
                cents: if n % 41 == 40 { -100_000 } else { (n % 90) as i64 },
                memo: format!("movement {n} of life {life}"),
                channel: if n % 2 == 0 { Channel::Branch } else { Channel::Online { country: *b"NL" } },
                tags: (0..n % 3).map(|tag| format!("tag {tag}")).collect(),
            };
            engine.submit(&moved).key(Key(n % 7 + 1)).send().expect("there is room");
        }
        engine.close().expect("the engine closes");
    }
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).expect("the directory is there");
    let mut names: Vec<PathBuf> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    names.sort();
    names
}
