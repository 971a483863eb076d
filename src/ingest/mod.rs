//! Where bytes arrive: HTTP, and the group commit behind every way in.

pub mod body;
pub mod http;
mod http_body;
pub mod room;
pub mod writer;
