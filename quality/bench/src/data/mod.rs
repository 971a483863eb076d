//! The data that is measured with: requests of three lines each, a function of a seed.
//!
//! One request is a Worker's event, the gateway's line and the line of the service's sidecar: a visitor's call of the Worker,
//! the Worker's of the gateway, the gateway's of the service, so three calls out of five legs. `cast` says who there is,
//! `request` what happens, `tell` what each observer writes of it, `files` and `load` in which order it arrives.

pub mod cast;
pub mod files;
pub mod load;
pub mod pool;
pub mod request;
mod spans;
pub mod tell;

/// Of each request.
pub const LINES: u64 = 3;
pub const CALLS: u64 = 3;
pub const LEGS: u64 = 5;

/// What the data is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    pub seed: u64,
    pub requests: u64,
    /// First request, microseconds since the epoch.
    pub start_us: i64,
    pub requests_per_second: f64,
}

impl Recipe {
    /// 2026-11-20T00:00:00Z: a fixed day, so that the same seed gives the same bytes.
    pub const START_US: i64 = 1_795_132_800_000_000;

    pub fn lines(&self) -> u64 {
        self.requests * LINES
    }

    pub fn calls(&self) -> u64 {
        self.requests * CALLS
    }
}
