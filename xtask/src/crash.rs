//! What rounds of kill -9 and of power cuts share: a flow, a writer, what it said through its pipe, and an oracle.
//!
//! ```text
//!  writer: engine on DIR, four threads submit n under the key n ──"a N SEQ"──► pipe ──► story
//!  log ──► oracle: what the story says was acknowledged, each n once, the model, a replay on one thread
//! ```
//!
//! The parent knows only what came through the pipe, so what a writer believed when it died cannot hide a loss.

pub(crate) mod flow;
pub(crate) mod model;
pub(crate) mod oracle;
pub(crate) mod pipe;
pub(crate) mod rng;
pub(crate) mod story;
pub(crate) mod writer;

pub use writer::{WriterArgs, write};
