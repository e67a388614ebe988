//! What the workers of a shard group share: when one is gone, the others do not wait for it.
//!
//! Whoever builds a group reads the log into all of its workers and waits until they are through. A worker that
//! crashes then would never let those after it get there. So the first that goes says so and rings the others, who
//! give up what they hold of the log; who built the group comes back, hears of the crash, and builds it again.

use std::sync::Arc;

use crate::node::Node;
use crate::sync::{AtomicBool, Ordering};

/// Shared by one incarnation of a group.
pub(crate) struct Fate {
    fallen: AtomicBool,
    nodes: Vec<Arc<Node>>,
}

impl Fate {
    pub(crate) fn new(nodes: impl Iterator<Item = Arc<Node>>) -> Self {
        Self { fallen: AtomicBool::new(false), nodes: nodes.collect() }
    }

    /// A worker of the group is gone.
    pub(crate) fn fall(&self) {
        // Relaxed: the rings order it.
        if !self.fallen.swap(true, Ordering::Relaxed) {
            for node in &self.nodes {
                node.pulse.end();
                node.bell.ring();
            }
        }
    }

    /// True when a worker of the group is gone.
    #[inline]
    pub(crate) fn has_fallen(&self) -> bool {
        self.fallen.load(Ordering::Relaxed)
    }
}
