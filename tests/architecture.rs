//! Holds the table of `src/lib.rs` against what the files really import, and the house rules against what they look like.
//!
//! It reads text, not types: comments and strings are blanked out first and `#[cfg(test)]` modules are left out, so what it
//! sees is what the program is made of. Each rule is one line of a table; a failure names the file and the line.

#[path = "architecture/source.rs"]
mod source;

use source::{Source, ident_before, word_starts};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Who may name which of our modules. The longest prefix that fits a file is its rule.
#[rustfmt::skip]
const MAY_USE: &[(&str, &[&str])] = &[
    ("src/model/",            &["model"]),
    ("src/decode/",           &["decode", "model"]),
    ("src/evidence/",         &["evidence", "model"]),
    ("src/handover.rs",       &["decode", "model"]),
    ("src/store/",            &["store", "model", "evidence"]),
    ("src/correlate/",        &["correlate", "model"]),
    ("src/correlate/task.rs", &["correlate", "model", "decode", "handover", "store", "telemetry"]),
    // The task's way to all that new legs can touch: it asks the store and decides nothing.
    ("src/correlate/closure.rs", &["correlate", "model", "store"]),
    ("src/correlate/difference.rs", &["correlate", "model", "store"]),
    ("src/correlate/inferred.rs", &["correlate", "model", "store"]),
    ("src/correlate/likeness/stored.rs", &["correlate", "model", "store"]),
    ("src/correlate/why/component.rs", &["correlate", "model", "store"]),
    ("src/correlate/unravel.rs", &["correlate", "model", "store"]),
    ("src/correlate/listen.rs", &["correlate", "model", "decode", "store"]),
    ("src/ingest/",           &["ingest", "decode", "model", "evidence", "handover", "store", "telemetry"]),
    // One HTTP surface: the same gate, the same parameters, the same form of an error as the query API.
    ("src/ingest/http",       &["ingest", "decode", "model", "evidence", "handover", "store", "telemetry",
                                "api::auth", "api::error", "api::params"]),
    ("src/api/",              &["api", "model", "store", "telemetry", "suggest", "correlate::keys",
                              "correlate::why", "correlate::Rules",
                                "correlate::sources", "decode::needs"]),
    ("src/suggest.rs",        &[]),
    ("src/tls.rs",            &[]),
    ("src/telemetry",         &["telemetry", "model", "tls"]),
    ("src/config",            &["config", "model", "store", "suggest", "correlate", "ingest::http::Limits",
                                "decode::mapped::FIELDS"]),
    ("src/cli/",              &["*"]),
    ("src/app",               &["*"]),
    ("src/lib.rs",            &["*"]),
    ("src/main.rs",           &["*"]),
];

/// Crates that belong to one place: what they stand for must not leak.
#[rustfmt::skip]
const CRATE_ONLY_IN: &[(&str, &[&str])] = &[
    ("sqlx",       &["src/store/"]),
    ("axum",       &["src/ingest/http", "src/api/", "src/app"]),
    ("serde_json", &["src/decode/", "src/api/", "src/cli/", "src/config"]),
    ("clap",       &["src/cli/", "src/config", "src/main.rs"]),
    ("reqwest",    &["src/cli/", "src/tls.rs"]),
    ("rustls",     &["src/tls.rs"]),
];

/// Crates that pure code does without.
#[rustfmt::skip]
const CRATE_NOT_IN: &[(&str, &[&str])] = &[
    ("serde",   &["src/model/"]),
    ("tokio",   &["src/model/", "src/decode/", "src/evidence/"]),
    ("rand",    &["src/model/", "src/decode/", "src/correlate/"]),
    ("tracing", &["src/model/", "src/decode/", "src/evidence/"]),
];

/// Only this file may ask what time it is.
const CLOCK: &str = "src/model/time.rs";
const CLOCK_CALLS: &[&str] = &["Utc::now", "SystemTime::now"];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;
const BANNED_WORDS: &[&str] = &["util", "utils", "helper", "helpers", "manager"];

#[test]
fn modules_import_only_what_the_map_allows() {
    let mut faults = Vec::new();
    for file in program() {
        let Some((_, allowed)) =
            MAY_USE.iter().filter(|(prefix, _)| file.name.starts_with(prefix)).max_by_key(|(p, _)| p.len())
        else {
            faults.push(format!("{}: has no line in MAY_USE of tests/architecture.rs", file.name));
            continue;
        };
        for (line, path) in file.own_imports() {
            let fits = |rule: &str| rule == "*" || path == rule || path.starts_with(&format!("{rule}::"));
            if !allowed.iter().any(|rule| fits(rule)) {
                faults.push(format!("{}:{line}: names crate::{path}, may name {allowed:?}", file.name));
            }
        }
    }
    report("imports against the map of src/lib.rs", faults);
}

#[test]
fn vendors_crates_stay_where_they_belong() {
    let mut faults = Vec::new();
    for file in program() {
        let within = |places: &[&str]| places.iter().any(|place| file.name.starts_with(place));
        for (krate, places) in CRATE_ONLY_IN.iter().filter(|(_, places)| !within(places)) {
            let lines = file.names_crate(krate);
            faults.extend(lines.iter().map(|l| format!("{}:{l}: {krate} belongs in {places:?}", file.name)));
        }
        for (krate, _) in CRATE_NOT_IN.iter().filter(|(_, places)| within(places)) {
            let lines = file.names_crate(krate);
            faults.extend(lines.iter().map(|l| format!("{}:{l}: {krate} does not belong here", file.name)));
        }
    }
    report("crates out of place", faults);
}

#[test]
fn only_one_file_asks_what_time_it_is() {
    let mut faults = Vec::new();
    for file in program().iter().filter(|file| file.name != CLOCK) {
        for call in CLOCK_CALLS {
            let lines = file.lines_with(call);
            faults.extend(
                lines.iter().map(|l| format!("{}:{l}: {call}: take a Clock or a Timestamp", file.name)),
            );
        }
    }
    report("the clock", faults);
}

#[test]
fn files_and_functions_can_be_read_in_one_go() {
    let mut faults = Vec::new();
    for file in program() {
        let lines = file.program_lines();
        if lines > MAX_FILE_LINES {
            faults.push(format!("{}: {lines} lines, at most {MAX_FILE_LINES} (tests aside)", file.name));
        }
        for function in file.functions().iter().filter(|f| f.lines > MAX_FUNCTION_LINES) {
            faults.push(format!(
                "{}:{}: fn {} has {} lines, at most {MAX_FUNCTION_LINES}",
                file.name, function.line, function.name, function.lines
            ));
        }
    }
    report("length", faults);
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let mut faults = Vec::new();
    for file in program().into_iter().chain(rust_files("xtask/src")).chain(rust_files("tests")) {
        let own = Path::new(&file.name).file_stem().map(|s| s.to_string_lossy().into_owned());
        let names = file.declared().into_iter().chain(own.map(|name| (1, name)));
        for (line, name) in
            names.filter(|(_, name)| words_of(name).any(|w| BANNED_WORDS.contains(&w.as_str())))
        {
            faults.push(format!("{}:{line}: {name}: say what it is for", file.name));
        }
    }
    report("names", faults);
}

#[test]
fn every_module_says_why_it_exists() {
    let files = program().into_iter().chain(rust_files("xtask/src")).chain(rust_files("tests"));
    let silent = files.filter(|file| !file.text.starts_with("//!") && !file.text.starts_with("/*!"));
    report("files that do not open with //!", silent.map(|file| format!("{}:1", file.name)).collect());
}

#[test]
fn the_map_names_every_module() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = map
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub mod "))
        .map(|l| l.trim_end_matches(';'))
        .collect();
    assert!(!modules.is_empty(), "src/lib.rs declares no module");
    let missing = modules.iter().filter(|module| !map.contains(&format!("| [`{module}`] |")));
    report("modules without a line in the table of src/lib.rs", missing.map(ToString::to_string).collect());
}

#[test]
fn migrations_come_in_pairs() {
    let names = |database: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(database);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        files.filter(|name| name.ends_with(".sql")).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    assert!(!sqlite.is_empty(), "migrations/sqlite holds no .sql file");
    let single = sqlite.symmetric_difference(&postgres).cloned();
    report("migrations for one database only", single.collect());
}

#[test]
fn no_path_of_somebodys_machine_is_in_a_tracked_file() {
    // Written in two halves, so that this file does not name them itself.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut faults = Vec::new();
    for name in tracked_files() {
        let Ok(bytes) = fs::read(root().join(&name)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = paths.iter().find(|path| line.contains(**path)) {
                faults.push(format!("{name}:{}: holds {path}", number + 1));
            }
        }
    }
    report("machine paths", faults);
}

// --- how the files are found ---

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything that the program is made of: tests in files of their own aside.
fn program() -> Vec<Source> {
    let files = rust_files("src");
    assert!(files.len() > 20, "only {} files under src: is this the right folder?", files.len());
    files.into_iter().filter(|f| !f.name.ends_with("/tests.rs") && !f.name.contains("/tests/")).collect()
}

fn rust_files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push(Source::new(name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn tracked_files() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let output = output.expect("git tells which files are tracked: install git");
    let names = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = names.split('\0').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    assert!(!names.is_empty(), "git tracks no file here: run the tests in a clone");
    names
}

fn words_of(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if c != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[track_caller]
fn report(what: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{what}:\n  {}\n", faults.join("\n  "));
}

// --- that the rules can fail ---

fn sample(text: &str) -> Source {
    Source::new("src/sample.rs".to_owned(), text.to_owned())
}

#[test]
fn an_import_is_seen_in_every_spelling() {
    let file = sample(
        "//! [`crate::doc`] is no import\nuse crate::{api, store::{Store, sql}};\nuse super::super::decode::Frame;\n\
         fn f() { crate::ingest::run(\"crate::text\") } // crate::comment\n#[cfg(test)]\nmod tests { use crate::cli; }\n",
    );
    let seen = file.own_imports();
    let seen: Vec<(usize, &str)> = seen.iter().map(|(line, path)| (*line, path.as_str())).collect();
    assert_eq!(seen, [(2, "api"), (2, "store"), (4, "ingest::run"), (3, "decode::Frame")]);
}

#[test]
fn a_step_up_stays_in_the_module_or_leaves_it_by_where_the_file_is() {
    let text =
        "use super::rules::Rules;\nuse super::super::tree;\nuse super::super::super::{store, model};\n";
    let deep = Source::new("src/correlate/findings/lost.rs".to_owned(), text.to_owned());
    let seen: Vec<String> = deep.own_imports().into_iter().map(|(_, path)| path).collect();
    assert_eq!(seen, ["correlate::findings::rules::Rules", "correlate::tree", "store", "model"]);
}

#[test]
fn a_crate_is_seen_as_a_path_and_as_an_attribute_but_not_as_part_of_a_word() {
    let file =
        sample("#[derive(sqlx::FromRow)]\nstruct A;\nuse my_sqlx::B;\nuse sqlx;\nlet sqlx_pool = 1;\n");
    assert_eq!(file.names_crate("sqlx"), [1, 4]);
}

#[test]
fn a_function_is_measured_from_its_name_to_its_closing_brace() {
    let file = sample(
        "fn short() -> u8 { 1 }\nimpl A {\n    fn long(a: [u8; 2]) {\n        let b = '{';\n    }\n}\nfn no_body();\n",
    );
    let found: Vec<(String, usize, usize)> =
        file.functions().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("short".to_owned(), 1, 1), ("long".to_owned(), 3, 3)]);
}

#[test]
fn names_are_read_word_by_word() {
    assert_eq!(words_of("SessionManager").collect::<Vec<_>>(), ["session", "manager"]);
    assert_eq!(words_of("line_util").collect::<Vec<_>>(), ["line", "util"]);
    assert_eq!(ident_before("pub fn line_util", 16), "line_util");
    assert_eq!(word_starts("fn f(); fnord()", "fn").count(), 1);
}
