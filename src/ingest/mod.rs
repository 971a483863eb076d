//! Where bytes arrive: HTTP, and the group commit behind every way in.

pub mod writer;
