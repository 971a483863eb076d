//! `cargo xtask join-quality`, and single runs for whoever looks for the cause of a figure.

use anyhow::{Context, Result, bail};
use calltrail_quality::figures::{self, Settings};
use calltrail_quality::worlds::{self, Plan, Show};
use calltrail_quality::{baselines, captures, degrade, derive, explain, judged, plans, report};
use calltrail_score::score;
use calltrail_score::score::What;
use calltrail_sim::faults::Faults;
use calltrail_sim::world::Config;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
join-quality [--calls N] [--seed S] [--quick] [--only PLAN]      the table; writes docs/join-quality.md unless quick
join-quality world [--preset NAME] [--calls N] [--worlds N] [--seed S] [--faults JSON] [--config JSON] [--show CASE,...] [--most N]
join-quality plan NAME [--calls N] [--worlds N] [--seed S] [--show CASE,...] [--most N]   (a world of the table, by a part of its name)
join-quality capture fullstack-a|hop [--seed S] [--show CASE,...]   (seed 0: undamaged)

CASE: wrong_proven, wrong_keyed, wrong_pair, false_accusation, wrong_principal, wrong_parent, missed_pair, missed_parent,
missed_principal, missed_finding, unexplained_finding";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("join-quality: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `--name value` pairs, and the words before them.
struct Words {
    plain: Vec<String>,
    named: BTreeMap<String, String>,
}

impl Words {
    fn new(words: Vec<String>) -> Result<Self> {
        let (mut plain, mut named) = (Vec::new(), BTreeMap::new());
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some("quick") => {
                    named.insert("quick".to_owned(), String::new());
                }
                Some(name) => {
                    let value = words.next().with_context(|| format!("{word} needs a value\n{USAGE}"))?;
                    named.insert(name.to_owned(), value);
                }
                None => plain.push(word),
            }
        }
        Ok(Words { plain, named })
    }

    fn text(&self, name: &str, otherwise: &str) -> String {
        self.named.get(name).cloned().unwrap_or_else(|| otherwise.to_owned())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, otherwise: T) -> Result<T> {
        match self.named.get(name) {
            Some(text) => text.parse().ok().with_context(|| format!("--{name} {text} is no number")),
            None => Ok(otherwise),
        }
    }
}

fn run(words: Vec<String>) -> Result<()> {
    let words = Words::new(words)?;
    let plain: Vec<&str> = words.plain.iter().map(String::as_str).collect();
    match plain[..] {
        ["world"] => world(&words),
        ["plan", name] => plan(name, &words),
        ["capture", name] => capture(name, &words),
        [] => table(&words),
        _ => bail!("{USAGE}"),
    }
}

/// Fails when a zero has become non-zero.
fn table(words: &Words) -> Result<()> {
    let quick = words.named.contains_key("quick");
    let settings = Settings {
        calls: words.number("calls", if quick { 200_000 } else { 10_000_000 })?,
        seed: words.number("seed", 20_261_124)?,
        threads: words.number("threads", 2)?,
        quick,
        only: words.named.get("only").cloned(),
    };
    println!("join-quality: {} calls, seed {}", settings.calls, settings.seed);
    let figures = figures::measure(&root(), &settings)?;
    println!("{}", report::table(&figures.rows));
    if !quick && settings.only.is_none() {
        let path = root().join("docs/join-quality.md");
        std::fs::write(&path, report::document(&figures, &settings))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let broken: Vec<&str> = figures.rows.iter().filter(|r| r.broken).map(|r| r.measure.as_str()).collect();
    if !broken.is_empty() {
        bail!("what must be zero is not: {}", broken.join("; "));
    }
    Ok(())
}

fn show(words: &Words) -> Result<Show> {
    let names = words.text("show", "");
    let what = names.split(',').filter(|n| !n.is_empty()).map(|n| {
        serde_json::from_value::<What>(n.into()).with_context(|| format!("`{n}` is no case\n{USAGE}"))
    });
    Ok(Show {
        what: what.collect::<Result<_>>()?,
        scenario: words.named.get("scenario").cloned(),
        most: words.number("most", 10)?,
    })
}

fn world(words: &Words) -> Result<()> {
    let preset = words.text("preset", "default");
    let config = Config::preset(&preset).with_context(|| format!("`{preset}` is no preset"))?;
    let mut value = serde_json::to_value(&config)?;
    let more: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&words.text("config", "{}")).context("--config")?;
    value.as_object_mut().into_iter().for_each(|v| v.extend(more.clone()));
    let mut config: Config = serde_json::from_value(value).context("--config")?;
    config.calls = words.number("calls", config.calls)?;
    let faults: Faults = serde_json::from_str(&words.text("faults", "{}")).context("--faults")?;
    run_worlds(&Plan { config, faults, declares_outages: false, skew_bound_us: None }, words)
}

/// The same worlds that the table is made of.
fn plan(name: &str, words: &Words) -> Result<()> {
    let plans = plans::all(words.number("calls", 10_000)?);
    let named = plans.into_iter().find(|p| p.name.contains(name));
    run_worlds(&named.with_context(|| format!("no world's name contains `{name}`"))?.plan, words)
}

fn run_worlds(plan: &Plan, words: &Words) -> Result<()> {
    let started = std::time::Instant::now();
    let verdict = worlds::run(
        plan,
        words.number("seed", 1)?,
        words.number("worlds", 1)?,
        words.number("threads", 1)?,
        &[],
        &show(words)?,
    );
    verdict.explained.iter().for_each(|text| println!("{text}\n"));
    println!("{}", verdict.ours.summary());
    println!("clock bounds {}", verdict.clock_bounds);
    println!("{} worlds, {} rejects, {:?}", verdict.worlds, verdict.rejects, started.elapsed());
    Ok(())
}

fn capture(name: &str, words: &Words) -> Result<()> {
    let capture = match name {
        "fullstack-a" => captures::fullstack_a(&root())?,
        "hop" => captures::hop(&root())?,
        _ => bail!("{USAGE}"),
    };
    let seed = words.number("seed", 0)?;
    let default = words.number("default", 0.0)?;
    let damage = match seed {
        0 if default > 0.0 => degrade::Damage { default_format: default, ..degrade::Damage::default() },
        0 => degrade::Damage::default(),
        _ => degrade::Damage::of_the_issue(seed),
    };
    let (deliveries, truth) = degrade::degrade(&capture, damage);
    let derived = derive::derive(&deliveries, &capture.rules);
    let ours = score(&truth, &judged::exported(&derived, judged::AS_OF), &capture.labels);
    let show = show(words)?;
    let cases = ours.cases.iter().filter(|c| show.what.contains(&c.what)).take(show.most);
    cases.for_each(|case| println!("{}\n", explain::explain(case, &truth, &derived)));
    println!("{}", ours.summary());
    let legs = derive::decode(&deliveries).0;
    for baseline in [baselines::by_span, baselines::traces, baselines::users_of_traces] {
        let score = score(&truth, &baseline(&legs), &capture.labels);
        println!("baseline: pairs {}; principals {}", score.pairs, score.principals);
    }
    Ok(())
}
