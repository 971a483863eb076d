//! What the tests that run the real program share: starting `calltrail serve` on a free port, waiting until it is ready,
//! posting, asking. No mocks, no sleeps: whoever waits, waits for something that the program says.
//!
//! It refuses to know anything about calls: what is right stands in the tests.
#![allow(dead_code, unused_imports, reason = "each test file is a crate of its own and uses a part of this")]

pub mod backend;
pub mod collector;
pub mod http;
pub mod server;

pub use backend::Backend;
pub use http::Answer;
pub use server::{Calltrail, Serve};

/// The value of a variable that `cargo xtask test` sets; the test fails with a sentence where it is missing.
pub fn required(name: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| {
        panic!("{name} is not set: run the tests with `cargo xtask test`, which installs what it names")
    })
}

/// A file that comes with the project.
pub fn project_file(path: &str) -> String {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}
