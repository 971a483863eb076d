//! The command line as somebody at a terminal meets it: the real binary on a directory of its own.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// After every grace period, so that nothing depends on when the test runs.
const AS_OF: &str = "2100-01-01T00:00:00Z";

fn project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// A place to work in, with nothing of the environment in the way.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    /// With the capture's edge and one sidecar of its mesh: enough for whole traces, little enough to be quick.
    fn with_capture() -> Self {
        let bench = Bench::new();
        for (source, path) in [("logpush-workers", "demo/worker"), ("mesh", "demo/mesh/gw.jsonl.gz")] {
            bench.ok(&[
                "import",
                "--source",
                source,
                "--rules",
                &project("demo/calltrail.toml"),
                &project(path),
            ]);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CALLTRAIL_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("CALLTRAIL_DATA_DIR", self.path("data")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Standard output of a command that succeeds.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sentence with which a command fails.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} succeeded");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    fn export(&self) -> String {
        self.ok(&["export", "calls", "--as-of", AS_OF])
    }

    fn calls(&self) -> Vec<Value> {
        self.export().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unzipped(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(project(path)).unwrap();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(file), &mut bytes).unwrap();
    bytes
}

#[test]
fn importing_twice_changes_nothing() {
    let bench = Bench::with_capture();
    let before = bench.export();
    let again = bench.ok(&["import", "--source", "mesh", &project("demo/mesh/gw.jsonl.gz")]);
    assert!(again.contains("335 lines in 1 delivery, 1 of them known before"), "{again}");
    assert_eq!(before, bench.export());
}

#[test]
fn the_same_lines_are_the_same_delivery_however_they_come() {
    let bench = Bench::new();
    let lines = unzipped("demo/mesh/vault-sidecar-proxy.jsonl.gz");
    let plain = bench.write("vault.jsonl", &lines);
    let zstd = bench.write("vault.log", &zstd::encode_all(&lines[..], 3).unwrap());
    assert!(bench.ok(&["import", "--source", "mesh", &plain]).contains("1 delivery, 0 of them known"));
    assert!(bench.ok(&["import", "--source", "mesh", &zstd]).contains("1 delivery, 1 of them known"));

    let mut from_stdin = bench.command(&["import", "--source", "mesh", "-"]);
    let mut child =
        from_stdin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&gzipped(&lines)).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains("1 delivery, 1 of them known"), "{output}");
}

#[test]
fn a_line_that_cannot_be_read_is_kept_and_its_neighbours_too() {
    let bench = Bench::new();
    let mut lines = unzipped("demo/mesh/vault-sidecar-proxy.jsonl.gz");
    lines.extend_from_slice(b"this is no JSON\n");
    let said = bench.ok(&["import", "--source", "mesh", &bench.write("vault.jsonl", &lines)]);
    assert!(said.contains("1 reject") && said.contains("line 6") && said.contains("not_json"), "{said}");
    let rejects = bench.ok(&["rejects", "--format", "ndjson"]);
    let reject: Value = serde_json::from_str(rejects.trim()).unwrap();
    assert_eq!((&reject["line"], &reject["reason"]), (&6.into(), &"not_json".into()));
    assert!(!bench.calls().is_empty());
}

#[test]
fn a_file_that_breaks_half_way_is_read_as_far_as_it_goes_and_reported() {
    let bench = Bench::new();
    let whole = gzipped(&unzipped("demo/mesh/vault-sidecar-proxy.jsonl.gz"));
    let broken = bench.write("vault.jsonl.gz", &whole[..whole.len() / 2]);
    let good = project("demo/mesh/ledger-sidecar-proxy.jsonl.gz");
    let error = bench.error(&["import", "--source", "mesh", &broken, &good]);
    assert!(error.contains("vault.jsonl.gz") && error.contains("what could be was imported"), "{error}");
    let sent: u64 = bench.ok(&["calls", "--format", "ndjson", "--limit", "0"]).lines().count() as u64;
    assert!(sent >= 13, "the whole file was imported all the same: {sent}");
}

#[test]
fn each_form_of_a_list_can_be_read_by_its_readers() {
    let bench = Bench::with_capture();
    let list = |form: &str| bench.ok(&["calls", "--format", form, "--limit", "20"]);
    let ndjson: Vec<Value> = list("ndjson").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(ndjson.len(), 20);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&list("json")).unwrap().len(), 20);
    let csv = list("csv");
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(csv.headers().unwrap().get(0), Some("id"));
    assert_eq!(csv.records().map(Result::unwrap).count(), 20);
    let table = list("table");
    assert!(table.contains("caller → callee") && table.contains("(mtls)"), "{table}");
    assert!(!table.contains('\x1b'), "no colour where there is no terminal");
    let more = bench.run(&["calls", "--limit", "20"]);
    assert!(String::from_utf8_lossy(&more.stderr).contains("there are more"));
}

#[test]
fn statistics_are_told_to_people_to_spreadsheets_and_to_programs() {
    let bench = Bench::with_capture();
    let stats = |form: &str| {
        let period =
            ["stats", "--from", "2026-11-01", "--to", "2026-12-01", "--step", "all", "--by", "callee"];
        bench.ok(&[&period[..], &["--format", form]].concat())
    };
    let page: Value = serde_json::from_str(&stats("json")).unwrap();
    let rows = page["rows"].as_array().unwrap();
    let calls: i64 = rows.iter().map(|row| row["calls"].as_i64().unwrap()).sum();
    assert_eq!(calls, bench.calls().len() as i64, "each call is counted once");
    let csv = stats("csv");
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(csv.headers().unwrap().get(0), Some("at"));
    assert_eq!(csv.records().map(Result::unwrap).count(), rows.len());
    let table = stats("table");
    assert!(table.contains("callee") && table.contains("p99") && table.contains(" ms"), "{table}");
    let before = bench.ok(&["stats", "--to", "2020-01-01"]);
    assert!(before.contains("choose another period"), "{before}");
}

#[test]
fn filters_choose_and_their_mistakes_say_what_to_write() {
    let bench = Bench::with_capture();
    let denied = bench.ok(&["calls", "--decision", "deny", "--format", "ndjson", "--limit", "0"]);
    assert!(denied.lines().count() > 20);
    for call in denied.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
        assert!(call["decisions"].as_array().unwrap().iter().any(|d| d["effect"] == "deny"), "{call}");
    }
    let to_the_gateway = bench.ok(&["calls", "--callee", "gw", "--from", "2026-11-24", "--format", "ndjson"]);
    assert!(to_the_gateway.lines().all(|l| l.contains("\"gw\"")) && !to_the_gateway.is_empty());
    for (arguments, hint) in [
        (&["calls", "--from", "yesterday"][..], "2026-11-24T02:56:50Z"),
        (&["calls", "--decision", "maybe"], "allow, deny"),
        (&["calls", "--finding", "bad"], "identity_mismatch"),
        (&["stats", "--step", "60"], "5m"),
        (&["stats", "--by", "principal"], "status_class"),
        (&["stats", "--from", "2026-11-25", "--to", "2026-11-24"], "before"),
        (&["trace", "XYZ"], "32 lower-case"),
        (&["import", "--source", "a/b", "x"], "letters, digits"),
        (&["import", "--source", "mesh", "/nowhere-at-all"], "/nowhere-at-all"),
        (&["export", "calls", "--format", "table"], "--format ndjson"),
        (&["calls", "--server", "localhost:7311"], "http://HOST:7311 or https://HOST"),
        (&["call", "0123456789abcdef0123456789abcdef"], "0123456789abcdef"),
        (&["trace", "0123456789abcdef0123456789abcdef"], "no call of trace"),
    ] {
        let error = bench.error(arguments);
        assert!(error.contains(hint), "{arguments:?}: {error}");
    }
}

#[test]
fn a_question_about_no_data_creates_none() {
    let bench = Bench::new();
    for command in [&["calls"][..], &["findings"], &["rejects"], &["export", "calls"], &["rebuild"]] {
        let error = bench.error(command);
        assert!(error.contains("--data-dir"), "{command:?}: {error}");
    }
    assert!(!bench.path("data").exists());
}

#[test]
fn a_call_is_found_by_any_of_its_ids_and_shows_its_evidence() {
    let bench = Bench::with_capture();
    let calls = bench.calls();
    let through_gateway = |c: &&Value| c["legs"].as_array().unwrap().len() > 1 && c["principal"].is_object();
    let call = calls.iter().find(through_gateway).expect("a call with two legs and a principal");
    let id = call["id"].as_str().unwrap();
    let leg = &call["legs"][1];
    for any_id in [id, leg["id"].as_str().unwrap()] {
        let found: Value = serde_json::from_str(&bench.ok(&["call", any_id, "--format", "json"])).unwrap();
        assert_eq!(found["id"], call["id"]);
    }
    let page = bench.ok(&["call", id, "--lines"]);
    let subject = call["principal"]["subject"].as_str().unwrap();
    for part in
        ["Who", "For whom", "By whose leave", "How sure", subject, leg["line_sha256"].as_str().unwrap()]
    {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    let raw = String::from_utf8(unzipped("demo/mesh/gw.jsonl.gz")).unwrap();
    assert!(raw.lines().any(|line| page.contains(line)), "the raw line is shown as it was received");
}

#[test]
fn a_trace_is_drawn_as_a_tree() {
    let bench = Bench::with_capture();
    let calls = bench.calls();
    let child = calls.iter().find(|c| c["parent_id"].is_string() && c["trace_id"].is_string()).unwrap();
    let trace = child["trace_id"].as_str().unwrap();
    let tree = bench.ok(&["trace", trace]);
    assert!(tree.starts_with(&format!("trace {trace}")), "{tree}");
    assert!(tree.contains("└─ ") && tree.contains("   └─ "), "a child stands under its parent:\n{tree}");
    assert!(!tree.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn a_rebuild_gives_the_same_export_to_the_byte() {
    let bench = Bench::with_capture();
    let before = bench.export();
    bench.ok(&["rebuild", "--rules", &project("demo/calltrail.toml")]);
    assert!(before == bench.export(), "the export differs after a rebuild");
    assert!(before.lines().count() > 300);
}

#[test]
fn a_reader_that_has_seen_enough_ends_an_export_in_peace() {
    let bench = Bench::with_capture();
    let mut command = bench.command(&["export", "calls"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(serde_json::from_str::<Value>(&first).is_ok());
}

/// The demo while it serves; ended by its own process id.
struct Demo {
    child: Child,
    base: String,
    printed: String,
}

impl Demo {
    fn serving(bench: &Bench) -> Demo {
        let mut command = bench.command(&["demo", "--listen", "127.0.0.1:0"]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        // From here on its end is this value's business, also when the test fails.
        let mut demo = Demo { child, base: String::new(), printed: String::new() };
        for line in BufReader::new(demo.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(rest) = line.strip_prefix("Serving on ") {
                demo.base = rest.split(' ').next().unwrap().to_owned();
                return demo;
            }
            demo.printed.push_str(&line);
            demo.printed.push('\n');
        }
        panic!("the demo ended before it served:\n{}", demo.printed);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_prints_calls_findings_and_addresses_and_starts_clean_each_time() {
    let bench = Bench::new();
    let demo = || bench.ok(&["demo", "--exit", "--listen", "127.0.0.1:0"]);
    let first = demo();
    for part in
        ["caller → callee", "denied", "findings, the gravest kinds first", "/v1/calls?finding=", "/metrics"]
    {
        assert!(first.contains(part), "{part} is missing in\n{first}");
    }
    let heading = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(heading(&first), heading(&demo()), "a second run starts clean");
}

#[test]
fn the_demo_tells_each_finding_in_a_sentence_and_shows_no_call_over_and_over() {
    let printed = Bench::new().ok(&["demo", "--exit", "--listen", "127.0.0.1:0"]);
    let (table, rest) = printed.split_once("findings, the gravest kinds first").unwrap();
    let findings = rest.split_once("Open:").unwrap().0;

    // Numbers in paths apart, no caller, callee and request stand in more than two rows.
    let mut alike = std::collections::BTreeMap::new();
    for row in table.lines().filter(|row| row.contains(" → ") && !row.contains("caller →")) {
        let columns: Vec<&str> = row.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        let at = columns.iter().position(|c| c.contains(" → ")).unwrap();
        let request = columns[at + 1].trim_end_matches(|c: char| c.is_ascii_digit());
        *alike.entry((columns[at].to_owned(), request.to_owned())).or_insert(0) += 1;
    }
    assert!(alike.len() > 12 && alike.values().all(|rows| *rows <= 2), "{alike:#?}");

    // What a group says it holds is what it shows and what it says there is more.
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for line in findings.lines().skip(1).filter(|l| !l.is_empty()) {
        if let Some(more) = line.trim_start().strip_prefix("and ") {
            groups.last_mut().unwrap().1 += more.split(' ').next().unwrap().parse::<usize>().unwrap();
            assert!(more.contains("/v1/findings?kind="), "{line}");
        } else if line.starts_with("       ") {
            groups.last_mut().unwrap().1 += 1;
        } else {
            groups.push((line.trim_start().split(' ').next().unwrap().parse().unwrap(), 0));
        }
    }
    assert!(
        groups.len() >= 5 && groups.iter().all(|(number, told)| number == told),
        "{groups:?}\n{findings}"
    );
    let sentences = findings.lines().filter(|l| l.starts_with("       0")).count();
    assert!((20..=50).contains(&sentences), "{sentences} sentences in\n{findings}");
}

#[test]
fn the_demo_is_the_same_whatever_the_environment_says_about_servers() {
    let bench = Bench::new();
    let mut demo = bench.command(&["demo", "--exit", "--listen", "127.0.0.1:0"]);
    for (name, value) in [
        ("CALLTRAIL_LISTEN", "nowhere"),
        ("CALLTRAIL_RULES", "/nowhere-at-all/rules.toml"),
        ("CALLTRAIL_MAX_BODY_BYTES", "1KiB"),
        ("CALLTRAIL_MAX_DECOMPRESSED_BYTES", "1KiB"),
        ("CALLTRAIL_MAX_LINES", "none"),
        ("CALLTRAIL_LOG_FORMAT", "verse"),
        ("CALLTRAIL_SERVER", "http://127.0.0.1:9"),
        ("CALLTRAIL_TOKEN", "ct_of_another_server"),
        ("http_proxy", "http://127.0.0.1:9"),
    ] {
        demo.env(name, value);
    }
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("caller → callee"));
}

#[test]
fn a_running_server_answers_the_same_commands() {
    let bench = Bench::new();
    let demo = Demo::serving(&bench);
    assert!(demo.printed.contains("Open:"), "{}", demo.printed);
    let elsewhere = Bench::new();
    let ask = |arguments: &[&str]| elsewhere.ok(&[arguments, &["--server", &demo.base]].concat());
    let calls: Vec<Value> = ask(&["export", "calls", "--as-of", AS_OF])
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(calls.len() > 1_000 && calls.iter().all(|c| c["legs"].is_array()));
    let with_trace = calls.iter().find(|c| c["trace_id"].is_string()).unwrap();
    let (id, trace) = (with_trace["id"].as_str().unwrap(), with_trace["trace_id"].as_str().unwrap());
    assert!(ask(&["call", id, "--lines"]).contains(id));
    assert!(ask(&["trace", trace]).contains("└─ "));
    assert!(ask(&["findings", "--finding", "denied", "--format", "ndjson"]).contains("\"denied\""));
    assert!(ask(&["rejects"]).contains("no rejects"));
    let period =
        ["stats", "--from", "2026-11-24", "--to", "2026-11-25", "--step", "all", "--by", "callee,decision"];
    assert!(ask(&period).contains("decision") && ask(&period).contains("deny"));
    let known = ask(&["import", "--source", "logpush-zone", &project("demo/zone")]);
    assert!(known.contains("1 delivery, 1 of them known before"), "{known}");
    assert!(elsewhere.error(&["call", "nobody", "--server", &demo.base]).contains("nobody"));
    assert!(!elsewhere.path("data").exists(), "a question to a server needs no directory");

    let taken = demo.base.trim_start_matches("http://");
    let error = elsewhere.error(&["demo", "--exit", "--listen", taken]);
    assert!(error.contains("--listen"), "{error}");
}

/// Lines hold who did what: nobody else may read them, whatever the umask allows and whoever makes the directory first.
#[cfg(unix)]
#[test]
fn what_is_stored_is_for_its_owner_only_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let log = bench.write("a.log", b"{}\n");
    let output = Command::new("sh")
        .args(["-c", "umask 000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_calltrail")])
        .args(["import", "--source", "mesh", &log])
        .env("CALLTRAIL_DATA_DIR", bench.path("new/data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mode = |path: &str| bench.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("new"), mode("new/data"), mode("new/data/calltrail.db")], [0o700, 0o700, 0o600]);
}
