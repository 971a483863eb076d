//! A world to test the join in: users, Workers, gateways, sidecars and services that call each other, with attacks among them; the
//! lines that the real programs would write about it; the faults that happen to lines; and the truth.
//!
//! Everything is a function of a seed. Nothing here knows how calltrail joins: the crate does not depend on it.

pub mod faults;
pub mod lines;
pub mod records;
pub mod truth;
pub mod world;
pub mod write;
