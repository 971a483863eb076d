//! The command line as somebody at a terminal meets it: the real binary on a directory of its own.

use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// After every grace period, so that nothing depends on when the test runs.
pub const AS_OF: &str = "2100-01-01T00:00:00Z";

pub fn project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// The lines of a gzip file of the project.
pub fn unzipped(path: &str) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(project(path)).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

/// A place to work in, with nothing of the environment in the way.
pub struct Bench {
    directory: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CALLTRAIL_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("CALLTRAIL_DATA_DIR", self.path("data")).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn calls(&self) -> Vec<Value> {
        let exported = self.ok(&["export", "calls", "--as-of", AS_OF]);
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
