//! Claims about the ring.
