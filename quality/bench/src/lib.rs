//! Measures calltrail from outside, beside others that do the same work, and writes the table of docs/benchmarks.md.
//!
//! Nothing here knows how calltrail works inside: it is asked by its command line, by HTTP, and, for the parser alone, by its
//! public functions. Every measure of a round follows the one before at once, and ratios are made within a round.

pub mod bench;
pub mod data;
pub mod figures;
pub mod goals;
pub mod http;
pub mod machine;
pub mod measures;
pub mod options;
pub mod place;
pub mod process;
pub mod report;
pub mod server;
