//! Who else used the cores: everyone but this process and the servers that it started.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Clock ticks a second: the same on every Linux this runs on.
const TICKS: f64 = 100.0;

/// Processor time used so far, by everyone and by what is measured.
pub(crate) struct Load {
    at: Instant,
    all: f64,
    own: f64,
    server: Option<u32>,
}

impl Load {
    /// As of now; `server` and what it has started count as ours.
    pub(crate) fn now(server: Option<u32>) -> Self {
        let own = ticks_of(std::process::id()) + server.map_or(0.0, ticks_of_tree);
        Self { at: Instant::now(), all: ticks_of_all().unwrap_or(0.0), own, server }
    }

    /// The share of all cores that others have used since: 0 to 1. What the kernel does for us on threads of its
    /// own counts as others.
    pub(crate) fn others_since(&self) -> f64 {
        let now = Self::now(self.server);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let seconds = (now.at - self.at).as_secs_f64();
        let used = (now.all - self.all) - (now.own - self.own);
        (used / TICKS / (seconds * cores)).clamp(0.0, 1.0)
    }
}

/// The first line of `/proc/stat` without idle and waiting.
fn ticks_of_all() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    Some(ticks.iter().take(8).sum::<f64>() - ticks.get(3)? - ticks.get(4)?)
}

/// What a process has used; 0 when it is gone.
fn ticks_of(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    parse(&stat).map_or(0.0, |(_, ticks)| ticks)
}

/// What a process and all below it have used. One that ends counts with its parent, which waits for it.
fn ticks_of_tree(root: u32) -> f64 {
    let Ok(entries) = fs::read_dir("/proc") else { return 0.0 };
    let processes: BTreeMap<u32, (u32, f64)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|process: u32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            Some((process, parse(&stat)?))
        })
        .collect();
    let is_below = |process: &u32| {
        std::iter::successors(Some(*process), |process| processes.get(process).map(|(parent, _)| *parent))
            .take(16)
            .any(|ancestor| ancestor == root)
    };
    processes.iter().filter(|(process, _)| is_below(process)).map(|(_, (_, ticks))| ticks).sum()
}

/// The parent, and user and system time, of the process itself and of children it has waited for.
fn parse(stat: &str) -> Option<(u32, f64)> {
    // The name may hold spaces; what follows its parenthesis does not.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some((fields.get(1)?.parse().ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_spaces_in_its_name_is_read() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 100";
        assert_eq!(parse(stat), Some((7, 127.0)));
    }

    #[test]
    fn what_this_process_does_is_not_others() {
        let load = Load::now(None);
        let begun = Instant::now();
        let mut sum = 0u64;
        while begun.elapsed().as_millis() < 300 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        let own = ticks_of(std::process::id()) - load.own;
        assert!(own >= 5.0, "300 ms of work are {own} ticks");
        assert!((0.0..=1.0).contains(&load.others_since()));
    }
}
