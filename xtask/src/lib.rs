//! The one entry for developers: checks of the tree itself, the models, and rounds of kill -9 and of power cuts.
//!
//! | command | what it holds the tree to |
//! |---|---|
//! | `ci` | everything that has to pass before a change is merged, in `.ci/run` |
//! | `tidy` | style rules that a machine can see ([`tidy`]) |
//! | `arrows` | who may import whom, and what nobody may know ([`arrows`]) |
//! | `loom` | the models of the lock-free parts, and their mutants ([`models`]) |
//! | `shuttle` | flows on actors, on a scheduler that draws lots ([`models`]) |
//! | `miri`, `sanitize` | what the tests do to memory ([`memory`]) |
//! | `guard` | instructions per event of the hot paths, against a baseline ([`guard`]) |
//! | `kill9` | a writer killed again and again, against an oracle outside of it ([`kill9`]) |
//! | `powercut` | the power cut under a writer, on a disk that loses what was not flushed ([`powercut`]) |
//! | `check-loan` | the summary of the real loan log ([`loan`]) |
//!
//! `tidy` and `arrows` also run as tests, and `kill9` and `powercut` in a short form, so `cargo test --workspace` covers them.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

pub mod arrows;
pub mod crash;
pub mod guard;
pub mod kill9;
pub mod loan;
pub mod memory;
pub mod models;
pub mod pgo;
pub mod powercut;
pub mod tidy;
mod tree;

pub use tree::{Finding, root};

/// The code in the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
