//! `cargo xtask score`: holds an export against truth and prints the verdict.

use anyhow::{Context, Result, bail};
use calltrail_score::{Labels, export, score, truth};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
score --truth TRUTH.jsonl[.gz] --export EXPORT.ndjson [--labels MAP.json] [--format table|json]

EXPORT is what `calltrail export calls` writes. MAP.json says which of truth's labels each finding may stand for; without it,
truth speaks of findings by their own names (the simulator does).";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("score: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<()> {
    let mut given = [None, None, None, None];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let names = ["--truth", "--export", "--labels", "--format"];
        let Some(place) = names.iter().position(|name| *name == word) else {
            bail!("what is `{word}`?\n{USAGE}")
        };
        given[place] = Some(words.next().with_context(|| format!("{word} needs a value\n{USAGE}"))?);
    }
    let [Some(truth), Some(export), labels, format] = given else { bail!("{USAGE}") };
    let labels = labels.map_or_else(|| Ok(Labels::own_names()), |path| Labels::load(&PathBuf::from(path)))?;
    let real = truth::load(&PathBuf::from(truth))?;
    let score = score(&real, &export::load(&PathBuf::from(export))?, &labels);
    match format.as_deref().unwrap_or("table") {
        "table" => print!("{score}"),
        "json" => println!("{}", serde_json::to_string_pretty(&score)?),
        other => bail!("`{other}` is no format: table or json"),
    }
    Ok(())
}
