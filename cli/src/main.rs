//! The `downbeat` program with the flow of the worked example; a program of your own needs the same few lines.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    downbeat_cli::main_with(&[downbeat_cli::loan()], "mimalloc")
}
