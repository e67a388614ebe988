//! Runs inputs through a target: `cargo run -p downbeat-fuzz-targets --example repro -- TARGET FILE…`; with
//! `DOWNBEAT_FUZZ_SHOW` set it prints what they stand for.

downbeat_fuzz_targets::counting_allocator!();

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or_default();
    for file in arguments {
        downbeat_fuzz_targets::run(&target, &std::fs::read(file)?);
    }
    Ok(())
}
