//! What was measured on, and with which versions: figures without them mean nothing.

use crate::bench::Bench;
use std::fs;
use std::process::Command;

/// Lines of the document: what, and which.
pub fn describe(bench: &Bench) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("processor", first_value("/proc/cpuinfo", "model name")),
        ("memory", first_value("/proc/meminfo", "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("load average at the end", read("/proc/loadavg")),
        ("calltrail", said(Command::new(&bench.program).arg("--version"))),
        ("commit", said(Command::new("git").args(["describe", "--always", "--dirty"]))),
        ("rustc", said(Command::new("rustc").arg("--version"))),
    ];
    if let Some(python) = &bench.python {
        let script = "import duckdb, sys; print(duckdb.__version__, 'on Python', sys.version.split()[0])";
        lines.push(("DuckDB", said(Command::new(python).args(["-c", script]))));
    }
    if let Some(jar) = &bench.zipkin_jar {
        lines.push(("Zipkin", jar.file_name().unwrap_or_default().to_string_lossy().into_owned()));
        lines.push(("Java", said(Command::new("java").arg("--version"))));
    }
    lines
}

/// The first line that a program prints.
fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    output.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn first_value(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value =
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()));
    value.unwrap_or_else(|| "unknown".to_owned())
}
