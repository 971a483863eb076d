//! `cargo xtask bench --instructions`: how many instructions the hot paths take for one line, counted by callgrind.
//!
//! The count does not depend on who else uses the machine, so a path that has become longer is seen at once. It does depend on
//! the compiler: where the counts move after a new one, `--accept` writes them down anew.

use crate::steps;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Each path, and how many lines one request is to it.
const PATHS: [(&str, u64); 6] = [
    ("decode-worker", 1),
    ("decode-mesh", 2),
    ("split", 2),
    ("hash-delivery", 2),
    ("hash-lines", 2),
    ("join", 3),
];
const REQUESTS: u64 = 200;
const TIMES: u64 = 5;
/// Percent above what was written down; the allocator alone makes for one or two.
const TOLERANCE: f64 = 5.0;
const KNOWN: &str = "quality/bench/instructions.txt";

pub fn run(root: &Path, accept: bool) -> Result<()> {
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    ensure!(
        valgrind.is_ok_and(|s| s.success()),
        "valgrind does not run: install it (Debian: `apt install valgrind`)"
    );
    steps::build_bench(root)?;
    let known = read(&root.join(KNOWN));
    let (mut counts, mut longer) = (String::new(), Vec::new());
    println!("{:14} {:>16} {:>12} {:>8}", "path", "instructions/line", "known", "change");
    for (path, lines) in PATHS {
        let once = count(root, path, 1)?;
        let count = (count(root, path, 1 + TIMES)? - once) / (TIMES * REQUESTS * lines);
        writeln!(counts, "{path} {count}")?;
        let change = known.get(path).map(|known| (count as f64 / *known as f64 - 1.0) * 100.0);
        let shown = change.map_or("new".to_owned(), |change| format!("{change:+.1} %"));
        println!("{path:14} {count:>16} {:>12} {shown:>8}", known.get(path).copied().unwrap_or_default());
        longer.extend(
            change.filter(|change| *change > TOLERANCE).map(|change| format!("{path} by {change:.1} %")),
        );
    }
    println!("where they go: callgrind_annotate target/bench/callgrind.PATH");
    if accept {
        return fs::write(root.join(KNOWN), counts).context("cannot write down the counts");
    }
    ensure!(longer.is_empty(), "longer than {KNOWN} says: {} (--accept writes it down)", longer.join(", "));
    Ok(())
}

fn count(root: &Path, path: &str, times: u64) -> Result<u64> {
    let out = root.join("target/bench").join(format!("callgrind.{path}"));
    fs::create_dir_all(root.join("target/bench"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(root.join("target/release/calltrail-counted"))
        .args([path, &REQUESTS.to_string(), &times.to_string()])
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{path} failed under valgrind: {}", said.trim());
    }
    let text = fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("no count in {}", out.display()))
}

fn read(path: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(p, n)| Some((p.to_owned(), n.parse().ok()?)))
        .collect()
}
