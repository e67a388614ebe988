//! `downbeat doctor`: what this machine, this disk and this log are like.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use downbeat::{names, probe};
use downbeat_audit::{Verdict, VerifyOptions, verify};

use super::verify::rows;
use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::page::{Page, bytes, time};

/// Bare durable writes that are measured.
const FLOOR_SAMPLES: usize = 200;

pub(crate) fn run(args: DoctorArgs) -> Result<(), Failure> {
    let dir = &args.dir;
    let failed = |error| Failure::io(format_args!("{}: cannot be probed: {error}", dir.display()));
    let facts = probe::facts(dir).map_err(failed)?;
    let mut page = Page::titled(dir.display());
    page.row("kernel", read("/proc/sys/kernel/osrelease"));
    page.row("processors", available_parallelism().map_or("unknown".to_owned(), |count| count.to_string()));
    page.row(
        "io_uring",
        match &facts.io_uring {
            Ok(()) => "works".to_owned(),
            Err(reason) => format!("refused ({reason}); logs are written with pwritev2"),
        },
    );
    page.row("locked memory", limit("Max locked memory"));
    page.row("open files", limit("Max open files"));
    page.gap().row("filesystem", &facts.filesystem);
    page.row("free", bytes(facts.free_bytes));
    page.row("O_DIRECT", if facts.direct { "works" } else { "refused; writes go through the page cache" });
    page.row("write cache", facts.write_cache.as_deref().unwrap_or("unknown"));
    page.row(
        "FUA",
        match facts.fua {
            Some(true) => "yes: a write can be durable without a flush of all",
            Some(false) => "no",
            None => "unknown",
        },
    );
    let floor = probe::disk_floor(dir, FLOOR_SAMPLES).map_err(failed)?;
    let shown = |floor: &probe::Latency| format!("p50 {}   p99 {}", time(floor.p50), time(floor.p99));
    page.row("fdatasync floor", shown(&floor));
    page.row("", "a bare 4 KiB durable write: no single event can be faster");
    if let Ok(unwritten) = probe::unwritten_floor(dir, FLOOR_SAMPLES) {
        page.row("unwritten extents", shown(&unwritten));
        page.row("", "the same into space only reserved; logs are zero-filled");
    }
    if holds_log(dir) {
        let verified = verify(dir, VerifyOptions { payloads: false }, |_| {});
        match &verified {
            Ok(verified) => rows(page.gap(), verified),
            Err(error) => {
                let holds_not = error.verdict() == Verdict::DoesNotHold;
                page.gap().row("log", if holds_not { "does not hold" } else { "could not be checked" });
            }
        }
        let printed = page.print();
        verified?;
        return Ok(printed?);
    }
    page.gap().row("log", "none here");
    Ok(page.print()?)
}

/// True for the directory of a log.
pub(crate) fn holds_log(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| {
        let name = name.to_string_lossy();
        names::MANIFEST.contains(&&*name) || names::parse_segment(&name).is_some()
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or("unknown".to_owned(), |text| text.trim().to_owned())
}

/// A limit of this process, as the kernel shows it.
fn limit(name: &str) -> String {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut words = line.unwrap_or_default().split_whitespace();
    match words.next() {
        Some("unlimited") => "unlimited".to_owned(),
        Some(soft) => match soft.parse() {
            Ok(count) if name.contains("memory") => bytes(count),
            _ => soft.to_owned(),
        },
        None => "unknown".to_owned(),
    }
}
