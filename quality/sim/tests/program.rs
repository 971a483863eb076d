//! The program that `cargo xtask sim` runs: files on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn new_directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

fn sim(out: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calltrail-sim"))
        .args(options)
        .arg("--out")
        .arg(out)
        .output()
        .expect("the simulator starts")
}

/// Every file under a directory, by its name within it.
fn files(under: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![under.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(under).expect("it is under it").to_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn the_same_seed_and_options_give_the_same_bytes() {
    let bad_day = [
        "--seed",
        "7",
        "--calls",
        "1500",
        "--loss",
        "5",
        "--duplicates",
        "5",
        "--late",
        "10",
        "--reorder",
        "30",
        "--clock-offset",
        "2",
        "--clock-drift",
        "50",
        "--clock-steps",
        "1",
        "--truncate",
        "16384",
        "--strip",
        "10",
        "--default-format",
        "30",
        "--nat",
        "per-connection",
        "--outages",
        "1",
    ];
    let (one, other) = (new_directory("sim-one"), new_directory("sim-other"));
    for out in [&one, &other] {
        let output = sim(out, &bad_day);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (one, other) = (files(&one), files(&other));
    assert!(one.contains_key(Path::new("truth.jsonl")) && one.contains_key(Path::new("calltrail.toml")));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(one == other, "the same files, other bytes");
}

#[test]
fn what_was_used_is_written_down_and_can_be_given_back() {
    let (first, again) = (new_directory("sim-first"), new_directory("sim-again"));
    assert!(
        sim(&first, &["--seed", "8", "--calls", "800", "--preset", "hop", "--loss", "3"]).status.success()
    );
    let (config, faults) = (first.join("config.json"), first.join("faults.json"));
    let given = ["--seed", "8", "--config", config.to_str().unwrap(), "--faults", faults.to_str().unwrap()];
    let output = sim(&again, &given);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(files(&first) == files(&again));
}

#[test]
fn it_does_not_mix_a_new_world_into_an_old_one_and_says_so() {
    let out = new_directory("sim-full");
    assert!(sim(&out, &["--seed", "1", "--calls", "300"]).status.success());
    let output = sim(&out, &["--seed", "2", "--calls", "300"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not empty") && said.contains("sim-full"), "{said}");
}
