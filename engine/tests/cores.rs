//! Threads that keep a core each do so, and the others may go wherever the process may.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use common::{Count, Notes, flow, options};
use downbeat::{Engine, Mode};

/// The threads of an engine, besides those of the flow.
const THREADS: [&str; 4] = ["downbeat-order", "downbeat-pool", "downbeat-leaves", "downbeat-mender"];

/// The cores that each thread of this process may use, by its name. A thread is called like the one that started it until it
/// runs: it is waited until each of an engine's has its own.
fn cores() -> BTreeMap<String, String> {
    let begun = Instant::now();
    loop {
        let threads = threads();
        if THREADS.iter().all(|wanted| threads.iter().filter(|(name, _)| name == wanted).count() == 1) {
            return threads.into_iter().collect();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{threads:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn threads() -> Vec<(String, String)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks
        .filter_map(|task| {
            // One that has ended since is none.
            let status = fs::read_to_string(task.join("status")).ok()?;
            let of =
                |key| status.lines().find_map(|line| line.strip_prefix(key)).map(|of| of.trim().to_owned());
            Some((of("Name:")?, of("Cpus_allowed_list:")?))
        })
        .collect()
}

/// Found by reading: the thread that orders went to its core first, and every thread that it started stayed on that one.
#[test]
fn in_latency_mode_the_order_and_each_flow_thread_have_a_core_of_their_own() {
    let free = fs::read_to_string("/proc/thread-self/status").unwrap();
    let free = free.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let there = std::thread::available_parallelism().unwrap().get();
    for threads in [1, there, there + 1] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path()).threads(threads).mode(Mode::Latency);
        let engine = Engine::open(options, flow(Count::default(), Notes::default())).unwrap();
        let cores = cores();
        let (order, first) = (&cores["downbeat-order"], &cores["downbeat-flow-0"]);
        assert!(order.parse::<usize>().is_ok() && first.parse::<usize>().is_ok(), "{cores:?}");
        assert!(there == 1 || order != first, "{cores:?}");
        for name in &THREADS[1..] {
            assert_eq!(cores[*name], free, "{name} of {cores:?}");
        }
        let told = |what: &str| engine.opened().notices.iter().any(|notice| notice.contains(what));
        let (few, too_few) = (threads + 1 + 2 > there, threads + 1 > there);
        assert_eq!(
            (told("never sleep"), told("keep a core each")),
            (few && !too_few, too_few),
            "{:?}",
            engine.opened().notices
        );
        engine.close().unwrap();
    }
}
