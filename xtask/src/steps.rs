//! The steps in their order, and the sum of what cargo's test runners say. The first step that fails ends the run.

use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

type Environment = [(&'static str, String)];

/// Sum of all `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    fn read(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else { return };
        let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// A run in which something failed, was left out, or nothing ran at all is not a green one.
    pub fn check(&self) -> Result<()> {
        ensure!(self.failed == 0, "{} tests failed", self.failed);
        ensure!(self.ignored == 0, "{} tests are marked `ignore`: nothing is skipped here", self.ignored);
        ensure!(self.passed > 0, "no test ran");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

pub fn run_all(root: &Path, environment: &Environment, tally: &mut Tally) -> Result<()> {
    let cargo = |words: &str| cargo(root, words, environment);
    run(cargo("fmt --all --check"), "the formatting is off: run `cargo fmt --all`")?;
    run(
        cargo("clippy --workspace --all-targets -- -D warnings"),
        "clippy has something to say: see above, and clippy.toml for our own bans",
    )?;
    count(cargo("test --workspace --lib --bins --tests --no-fail-fast"), "tests failed: see above", tally)?;
    count(cargo("test --doc"), "examples in the documentation failed: see above", tally)?;
    run(
        cargo("run --release --package calltrail-quality -- --quick"),
        "the join has become worse: a figure that must be zero is not, see the table above",
    )?;
    let mut doc = cargo("doc --no-deps");
    doc.env("RUSTDOCFLAGS", "-Dwarnings");
    run(doc, "rustdoc has something to say: see above")
}

/// A program of the workspace, built for speed: what it measures is large.
pub fn run_program(root: &Path, package: &str, words: &[&str]) -> Result<()> {
    let mut command = silent_cargo(root, &format!("run --quiet --release --package {package} --"), &[]);
    command.args(words);
    run(command, "it did not end well: see above")
}

/// Builds calltrail as it is shipped, and what measures it, in one go: apart, cargo would build calltrail twice, each with other
/// features of the crates that both use.
pub fn build_bench(root: &Path) -> Result<()> {
    let words = "build --release --package calltrail --package calltrail-bench";
    run(cargo(root, words, &[]), "calltrail does not build: see above")
}

/// What measures, with words and environment of its own.
pub fn run_bench(root: &Path, words: &[&str], environment: &Environment) -> Result<()> {
    let mut command = Command::new(root.join("target/release/calltrail-bench"));
    command.args(words).current_dir(root).stdin(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    run(command, "it did not end well: see above")
}

/// A whole file of tests where there is one of that name, else every test whose name contains it.
pub fn run_only(root: &Path, name: &str, environment: &Environment, tally: &mut Tally) -> Result<()> {
    let file = root.join("tests").join(name).with_extension("rs");
    let words = if file.exists() {
        format!("test --test {name}")
    } else {
        format!("test --workspace --lib --bins --tests {name}")
    };
    count(cargo(root, &words, environment), "tests failed: see above", tally)
}

fn cargo(root: &Path, words: &str, environment: &Environment) -> Command {
    println!("\nxtask: cargo {words}");
    silent_cargo(root, words, environment)
}

/// For programs whose output is read by others.
fn silent_cargo(root: &Path, words: &str, environment: &Environment) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split(' ')).current_dir(root).stdin(Stdio::null());
    // Cargo has set these for xtask itself; what it starts for others must not see them.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn run(mut command: Command, advice: &'static str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{advice}");
    Ok(())
}

/// As `run`, but passes the output on line by line and adds up the counts in it.
fn count(mut command: Command, advice: &'static str, tally: &mut Tally) -> Result<()> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        tally.read(&line);
    }
    if !child.wait()?.success() {
        bail!("{advice}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_closing_line_is_the_sum_of_every_runner() {
        let mut tally = Tally::default();
        tally.read("running 3 tests");
        tally.read(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.40s",
        );
        tally.read("test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        assert_eq!(tally.to_string(), "15 passed, 2 failed");
        assert_eq!(tally.ignored, 1);
    }

    #[test]
    fn a_run_without_tests_or_with_ignored_ones_is_not_green() {
        assert!(Tally::default().check().is_err());
        assert!(Tally { passed: 1, failed: 0, ignored: 1 }.check().is_err());
        assert!(Tally { passed: 1, failed: 0, ignored: 0 }.check().is_ok());
    }
}
