//! Where bytes arrive: HTTP, and the group commit behind every way in.

pub mod body;
pub mod http;
pub mod writer;
