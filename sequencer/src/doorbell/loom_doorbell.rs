//! Models of the doorbell.
