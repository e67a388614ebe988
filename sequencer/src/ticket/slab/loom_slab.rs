//! Models of the slab.
