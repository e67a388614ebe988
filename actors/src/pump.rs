//! What an actor holds, whatever carries it: it is rung, looks at its lanes, and says whether there is more.

use std::sync::Arc;

use crate::leaf::LeafWorker;
use crate::node::Node;
use crate::worker::{Progress, Worker};

/// What an actor holds and does when it is rung.
pub(crate) trait Pump: Send + 'static {
    fn node(&self) -> &Arc<Node>;
    fn pump(&mut self) -> Progress;

    /// True when the last turn had the thread for so long that others are to have it now.
    fn lingered(&self) -> bool {
        false
    }
}

impl Pump for Worker {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn lingered(&self) -> bool {
        self.turn.lingered()
    }

    fn pump(&mut self) -> Progress {
        Self::pump(self)
    }
}

impl Pump for LeafWorker {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn lingered(&self) -> bool {
        self.lingered
    }

    fn pump(&mut self) -> Progress {
        Self::pump(self)
    }
}
