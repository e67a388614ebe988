//! A flow in parallel, on ractor actors.
//!
//! ractor carries lifecycle, supervision and doorbells; data travels as cursors into sequenced batches and as
//! one-word tokens in bounded lanes. Every group of stages is a worker, every worker an actor; a shard of a keyed
//! group is a worker of its own. The order of arrival never matters: a worker applies event `s` only when all
//! workers upstream have passed `s`, and what they sent for `s` is on its lanes by then.
//!
//! ```text
//!            Feeds (sequencer thread)                  Actors (handle)
//!               │ Arc<Batch>, to every worker             │ durable, fold_states, fault
//!      ┌────────┴───────┐                                 ▼
//!      ▼                ▼          lane            lane, durable only
//!  [worker A] ──token + value──► [worker B] ──token + value──► [leaf]
//!      │ commands                     │
//!      └──────► Commands (ingress) ◄──┘        a crash: its group is rebuilt from History and joins again
//! ```
//!
//! Bounds: batches by the window of the order; lanes by their size, checked before an event is applied; a
//! mailbox holds at most one ring. What stops, stops its upstream, and in the end the producer.
#![forbid(unsafe_code)]
// What only threads of the system need.
#![cfg_attr(shuttle, allow(dead_code))]

mod actors;
mod backlog;
mod board;
mod doorbell;
mod error;
mod fate;
mod faults;
mod feeds;
mod gate;
mod group;
mod health;
#[cfg(not(shuttle))]
#[doc(hidden)]
pub mod hop;
mod hops;
#[cfg(not(shuttle))]
mod host;
#[cfg(shuttle)]
#[path = "shuttle_host.rs"]
mod host;
mod lane;
mod leaf;
#[cfg(all(test, loom))]
mod loom_mutants;
mod node;
mod order;
mod outgoing;
mod pin;
mod plan;
#[cfg(not(shuttle))]
mod poller;
mod ports;
mod pump;
mod requests;
mod settings;
mod sync;
mod token;
mod wait;
mod waiting;
mod words;
mod worker;

pub use actors::{Actors, WorkerStatus};
pub use board::{Divergence, Sums, compare};
pub use error::StartError;
pub use faults::Fault;
pub use feeds::Feeds;
pub use health::{Health, STALLED_AFTER};
pub use hops::HopLatency;
pub use pin::pin;
pub use ports::{CommandRefused, Commands, History, HistoryError, Ports};
pub use settings::Settings;
pub use token::Token;
pub use wait::Wait;
