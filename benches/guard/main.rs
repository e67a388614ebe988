//! The hot paths one by one, for counting their instructions: `cargo xtask guard` runs this under callgrind.
//!
//! ```text
//!  guard list                       name and count of every path
//!  guard machine                    what this program was compiled for, and what the processor shows it
//!  guard log DIR EVENTS             makes the log that the reading paths read
//!  guard run NAME COUNT [DIR]       goes a path COUNT times, and prints how often it was gone
//! ```
//!
//! A path is gone COUNT times in one run and twice as often in another; the difference of the two is free of what
//! comes before and after. So a path may prepare what it likes, as long as that does not depend on COUNT.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that xtask reads")]

mod machine;
mod paths;

use std::path::Path;

use downbeat_benches::flow::{Spread, five};
use downbeat_benches::made;
use downbeat_wal::Options;

use paths::PATHS;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => PATHS.iter().for_each(|path| println!("{}\t{}", path.name, path.count)),
        ["machine"] => println!("{}", machine::look()),
        ["log", dir, events] => log(Path::new(dir), number(events)),
        ["run", name, count] => println!("{}", run(name, number(count), Path::new(""))),
        ["run", name, count, dir] => println!("{}", run(name, number(count), Path::new(dir))),
        _ => panic!("{arguments:?}: see the page at the start of benches/guard/main.rs"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn run(name: &str, count: u64, dir: &Path) -> u64 {
    let path = PATHS.iter().find(|path| path.name == name);
    let path = path.unwrap_or_else(|| panic!("there is no path `{name}`; `list` names those there are"));
    (path.go)(count, dir)
}

/// Small segments: what is behind the end of a log is looked at too.
fn log(dir: &Path, events: u64) {
    let options = Options { segment_bytes: 4 << 20, ..Options::new(dir) };
    made::log(&options, &five(Spread::Together), events);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_baseline() {
        let baseline = include_str!("../guard.json");
        for path in PATHS {
            assert!(
                baseline.contains(&format!("\"{}\"", path.name)),
                "{}: cargo xtask guard --update",
                path.name
            );
        }
    }

    #[test]
    fn every_path_is_gone_about_as_often_as_asked() {
        let dir = std::env::temp_dir().join(format!("downbeat-guard-{}", std::process::id()));
        log(&dir, 2_000);
        for path in PATHS {
            let gone = (path.go)(2_000, &dir);
            assert!((2_000..10_000).contains(&gone), "{}: {gone}", path.name);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
