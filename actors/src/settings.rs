//! How a flow is spread over actors and threads. None of it changes a result.

use crate::wait::Wait;

/// Settings of the actors; a restart may change any of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Into how many shards keyed stages are split. Default 1.
    pub shards: u32,
    /// Threads that run stages, each with a runtime of its own. Default 1: one core for the order, one for the
    /// flow.
    pub threads: usize,
    /// What the threads that run stages do when there is nothing to do. Default: sleep.
    pub wait: Wait,
    /// The core of the first of these threads; the others get those after it. Default `None`: wherever the system
    /// puts them.
    pub first_core: Option<usize>,
    /// Bytes a lane holds, of tokens (16 bytes each) and values. Default 128 KiB; never less than the most that
    /// one event may send, which is a little over 64 KiB a stage.
    pub lane_bytes: usize,
    /// Batches that may be on their way to a worker: the window of the order. Default 64.
    pub batches: usize,
    /// Events between two checkpoints. Default 65,536.
    pub checkpoint_interval: u64,
    /// Bytes that a worker may hold back of commands, each counted with 256 besides its payload, and a leaf of values, each with
    /// 80 besides. Default 256 MiB.
    ///
    /// Commands: while the front door is full they wait for it; beyond this the flow is taken for running away. While the log is read
    /// again they wait for their place in it: what a stage emits that was new to a long log comes behind all of that, so
    /// such a log needs room for it whenever it is opened. Values: while the log is read again, a leaf that is behind holds what
    /// it gets before the next checkpoint in the log.
    pub backlog_bytes: usize,
    /// Events by which the order goes on while a shard group is rebuilt, and the others with it. Default 262,144.
    ///
    /// What the group emits for them is held in memory until it is back, and while it is away nothing else slows producers
    /// down: without an end they could be faster than the group for ever.
    pub absent_events: u64,
    /// How often a shard group may be rebuilt after a crash before it is given up. Default 5.
    pub rebuilds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 1,
            threads: 1,
            wait: Wait::Park,
            first_core: None,
            lane_bytes: 128 * 1024,
            batches: 64,
            checkpoint_interval: 65_536,
            backlog_bytes: 256 << 20,
            absent_events: 1 << 18,
            rebuilds: 5,
        }
    }
}
