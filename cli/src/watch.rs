//! Says who everybody waits for: a command that stands still without a word leaves its user to guess.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use downbeat::{Engine, Health, Seq, WorkerStatus};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a worker may be at one event before that is said.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does the work, and meanwhile says of each stage and leaf that has been at one event for [`PATIENCE`] that it has: once for each
/// such event.
pub(crate) fn watched<T>(engine: &Engine, say: impl Fn(&str) + Send, work: impl FnOnce() -> T) -> T {
    let (end, ended) = sync_channel::<Infallible>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut said = HashMap::new();
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                standing(engine.workers(), &mut said).iter().for_each(|line| say(line));
            }
        });
        let done = work();
        drop(end);
        done
    })
}

/// What there is to say, beyond what was `said` of a worker at a seq before.
fn standing(workers: Vec<WorkerStatus>, said: &mut HashMap<(String, u32), Seq>) -> Vec<String> {
    let mut lines = Vec::new();
    for WorkerStatus { name, shard, cursor, health } in workers {
        let Health::Stalled { since } = health else { continue };
        if since < PATIENCE {
            continue;
        }
        let line = format!(
            "`{name}`, shard {shard}, has been at one event for {} s, after seq {cursor}; what is behind it waits",
            since.as_secs()
        );
        if said.insert((name, shard), cursor) != Some(cursor) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, cursor: u64, health: Health) -> WorkerStatus {
        WorkerStatus { name: name.to_owned(), shard: 1, cursor: Seq(cursor), health }
    }

    #[test]
    fn who_stands_is_named_once_for_each_event() {
        let mut said = HashMap::new();
        let stalled = |seconds| Health::Stalled { since: Duration::from_secs(seconds) };
        let mut lines = |name, cursor, health| standing(vec![worker(name, cursor, health)], &mut said);
        assert!(lines("review", 41, Health::Lagging { by: 1_000 }).is_empty(), "it gets on");
        assert!(lines("review", 41, stalled(2)).is_empty(), "it may be over in a moment");
        let line = "`review`, shard 1, has been at one event for 3 s, after seq 41; what is behind it waits";
        assert_eq!(lines("review", 41, stalled(3)), [line]);
        assert!(lines("review", 41, stalled(4)).is_empty(), "that was said");
        assert_eq!(lines("notify", 41, stalled(4)).len(), 1, "another one");
        assert_eq!(lines("review", 42, stalled(3)).len(), 1, "another event");
    }

    #[test]
    fn it_is_looked_at_while_the_work_goes_on_and_no_longer() {
        use downbeat::{Context, Event, Flow, Key, Nothing, Options, Out, Reject, Stage};
        use std::sync::Mutex;
        use std::sync::mpsc::{Receiver, sync_channel};

        #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[event(name = "test.Happened", crate = downbeat::record)]
        struct Happened;

        /// Waits until it is told to go on.
        struct Stuck(Mutex<Receiver<()>>);

        impl Stage for Stuck {
            type State = u64;
            type Output = Nothing;

            fn apply(&self, _: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
                let _ = self.0.lock().expect("nobody panics").recv_timeout(Duration::from_secs(30));
                Ok(())
            }
        }

        let dir = tempfile::tempdir().expect("a directory");
        let (go_on, waits) = sync_channel(1);
        let flow = Flow::named("test").stage("stuck", Stuck(Mutex::new(waits))).on::<Happened>();
        let flow = flow.build().expect("the flow is sound");
        let engine = Engine::open(Options::new(dir.path()), flow).expect("it opens");
        let said = Mutex::new(Vec::new());
        watched(
            &engine,
            |line| {
                said.lock().expect("nobody panics").push(line.to_owned());
                let _ = go_on.try_send(());
            },
            || {
                engine.submit(&Happened).key(Key(1)).wait().expect("it is durable");
                engine.close().expect("it goes through once somebody said something");
            },
        );
        let said = said.into_inner().expect("nobody panics");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("`stuck`, shard 0, has been at one event for 3 s"), "{said:?}");
    }
}
