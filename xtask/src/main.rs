//! `cargo xtask test`: the one command that runs every test of calltrail against the real thing.
//!
//! It installs what the tests need into `.testbed/`, starts a Postgres, and runs formatting, clippy, tests and documentation in
//! that order. What cannot be had fails the run with a sentence that says what to install: nothing is skipped.

mod bench;
mod instructions;
mod postgres;
mod steps;
mod testbed;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask test                 installs what the tests need into .testbed/ and runs every test
cargo xtask test --only NAME     the same testbed, but only tests/NAME.rs, or the tests whose name contains NAME
cargo xtask testbed              installs only, and prints the environment that the tests read
cargo xtask sim ...              writes a simulated world: the lines of edge and mesh, and the truth beside them
cargo xtask score ...            holds an export against truth; without more words it says what it needs
cargo xtask join-quality ...     measures the join in simulated worlds and on real captures, writes docs/join-quality.md
cargo xtask bench ...            measures speed beside DuckDB, Zipkin and bare databases, writes docs/benchmarks.md; --help tells more
cargo xtask bench --instructions counts the instructions that decode, hash and join take for one line, under callgrind";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    let root = workspace_root()?;
    match words {
        ["test"] => test(&root, None),
        ["test", "--only", name] => test(&root, Some(name)),
        ["sim", options @ ..] => simulate(&root, options),
        ["testbed"] => {
            let bed = testbed::install(&root)?;
            bed.environment().iter().for_each(|(name, value)| println!("export {name}={value:?}"));
            Ok(())
        }
        ["score", rest @ ..] => steps::run_program(&root, "calltrail-score", rest),
        ["join-quality", rest @ ..] => steps::run_program(&root, "calltrail-quality", rest),
        ["bench", rest @ ..] => bench::run(&root, rest),
        _ => bail!("what to do? One of:\n{USAGE}"),
    }
}

/// The simulator is a program of its own, so that building this one stays quick.
fn simulate(root: &Path, options: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "-p", "calltrail-sim", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .arg("--")
        .args(options)
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the simulator failed");
    }
    Ok(())
}

fn test(root: &Path, only: Option<&str>) -> Result<()> {
    let bed = testbed::install(root)?;
    let mut environment = bed.environment();
    let given = std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty());
    // Lives as long as the tests do: dropping it stops the server, whatever became of them.
    let server = match &given {
        Some(_) => None,
        None => Some(postgres::Server::start(
            &bed.postgres_bin,
            &root.join(".testbed/postgres"),
            postgres::Commits::ToThePageCache,
        )?),
    };
    let url = given.unwrap_or_else(|| server.as_ref().map(postgres::Server::url).unwrap_or_default());
    environment.push(("TEST_DATABASE_URL", url));

    let mut tally = steps::Tally::default();
    let outcome = match only {
        Some(name) => steps::run_only(root, name, &environment, &mut tally),
        None => steps::run_all(root, &environment, &mut tally),
    };
    drop(server);
    if let Err(error) = &outcome {
        println!("\nFAILED: {error:#}");
    }
    println!("\n{tally}");
    outcome.and_then(|()| tally.check())
}

/// Cargo tells where this crate is; the workspace is its parent.
fn workspace_root() -> Result<PathBuf> {
    let here = std::env::var("CARGO_MANIFEST_DIR").context("run it as `cargo xtask test`")?;
    Ok(Path::new(&here).parent().context("xtask has no parent folder")?.to_owned())
}
