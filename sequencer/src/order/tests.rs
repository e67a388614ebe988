//! Claims about the order.
