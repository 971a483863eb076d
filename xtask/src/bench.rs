//! `cargo xtask bench`: builds what is measured, installs what it is compared with, and hands on.
//!
//! What the chosen measures do not need is not installed: `--only import,decode` needs neither Python nor Java nor Postgres.

use crate::postgres::{Commits, Server};
use crate::{instructions, steps, testbed};
use anyhow::Result;
use std::path::Path;

pub fn run(root: &Path, words: &[&str]) -> Result<()> {
    if words.contains(&"--instructions") {
        return instructions::run(root, words.contains(&"--accept"));
    }
    let chosen = chosen(words);
    let needs =
        |measures: &[&str]| chosen.as_ref().is_none_or(|c| c.iter().any(|m| measures.contains(&m.as_str())));
    let mut environment = vec![
        ("CALLTRAIL_BENCH_PROGRAM", root.join("target/release/calltrail").display().to_string()),
        ("CALLTRAIL_BENCH_WORK", root.join("target/bench").display().to_string()),
        ("CALLTRAIL_BENCH_DOCUMENT", root.join("docs/benchmarks.md").display().to_string()),
    ];
    steps::build_bench(root)?;
    if words.contains(&"--help") || words.contains(&"-h") {
        return steps::run_bench(root, words, &environment);
    }
    if needs(&["duckdb"]) {
        environment
            .push(("CALLTRAIL_BENCH_PYTHON", testbed::python_with_duckdb(root)?.display().to_string()));
    }
    if needs(&["zipkin"]) {
        environment.push(("CALLTRAIL_BENCH_ZIPKIN", testbed::zipkin_jar(root)?.display().to_string()));
    }
    // Lives as long as the measures do.
    let server = match needs(&["postgres-import", "postgres-live", "postgres-bare"]) {
        true => {
            let bed = testbed::install(root)?;
            Some(Server::start(&bed.postgres_bin, &root.join(".testbed/bench-postgres"), Commits::ToTheDisk)?)
        }
        false => None,
    };
    environment.extend(server.iter().map(|server| ("CALLTRAIL_BENCH_POSTGRES_URL", server.url())));
    steps::run_bench(root, words, &environment)
}

/// Names after `--only`; none means all.
fn chosen(words: &[&str]) -> Option<Vec<String>> {
    let after = words.iter().position(|word| *word == "--only").and_then(|i| words.get(i + 1)).copied();
    let names = after.or_else(|| words.iter().find_map(|word| word.strip_prefix("--only=")))?;
    Some(names.split(',').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn only_what_is_named_is_installed_for() {
        assert_eq!(chosen(&["--quick"]), None);
        let names = || Some(vec!["import".to_owned(), "decode".to_owned()]);
        assert_eq!(chosen(&["--quick", "--only", "import,decode"]), names());
        assert_eq!(chosen(&["--only=import,decode"]), names());
    }
}
