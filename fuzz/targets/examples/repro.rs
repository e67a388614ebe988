//! Runs inputs through a target: `cargo run -p downbeat-fuzz-targets --example repro -- TARGET FILE…`; with
//! `DOWNBEAT_FUZZ_SHOW` set it prints what they stand for.

use downbeat_fuzz_targets::TARGETS;

downbeat_fuzz_targets::counting_allocator!();

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(std::io::Error::other(format!("there is no target {name:?}, only {}", known.join(", "))));
    };
    for file in arguments {
        (target.run)(&std::fs::read(file)?);
    }
    Ok(())
}
