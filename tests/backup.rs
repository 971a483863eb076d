//! A backup as an operator takes it, beside a server that goes on writing, and what becomes of it: restored, damaged, refused.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "crash/sender.rs"]
#[allow(dead_code, reason = "only its lines are wanted here")]
mod sender;

use calltrail::store::{Location, Store, StoredDelivery};
use common::{Backend, Serve, http};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Lines of two sides of a call that nobody else made.
fn upload(number: u64) -> Vec<u8> {
    let (client, server) = sender::call(number);
    format!("{client}\n{server}\n").into_bytes()
}

/// A server's directory with so many deliveries of one call each.
fn imported(deliveries: u64) -> Backend {
    let backend = Backend::sqlite();
    let files = backend.directory().join("lines");
    fs::create_dir(&files).unwrap();
    for number in 1..=deliveries {
        fs::write(files.join(format!("{number:04}.jsonl")), upload(number)).unwrap();
    }
    backend.run(&["import", "--source", "mesh", "--proxy", "p", files.to_str().unwrap()]);
    backend
}

fn file(backend: &Backend, name: &str) -> (PathBuf, String) {
    let path = backend.directory().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

async fn deliveries(directory: &Path) -> Vec<StoredDelivery> {
    let store = Store::open_existing(&Location::Directory(directory.to_owned())).await.unwrap();
    let all = store.deliveries_after(0, usize::MAX).await.unwrap();
    store.close().await;
    all
}

fn root(said: &str) -> &str {
    said.lines().find_map(|line| line.strip_prefix("root of the evidence: ")).unwrap()
}

#[tokio::test]
async fn a_backup_taken_while_uploads_go_on_holds_every_delivery_acknowledged_before_it() {
    let (backend, restored) = (Backend::sqlite(), Backend::sqlite());
    let (copy, name) = file(&backend, "copy");
    let mut server = Serve::on(&backend).start();
    let (address, stop, sent) = (server.address, AtomicBool::new(false), AtomicU64::new(0));
    let (acknowledged, heard) = mpsc::channel();
    let (before, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let number = sent.fetch_add(1, Ordering::SeqCst) + 1;
                assert_eq!(http::post(address, "/ingest/mesh", &upload(number)).unwrap().status, 200);
                acknowledged.send(number).unwrap();
            }
        });
        let before = heard.iter().find(|number| *number >= 20).unwrap();
        let said = backend.run(&["backup", "--to", &name]);
        // Whoever is on the way now is acknowledged after the backup.
        let after = sent.load(Ordering::SeqCst);
        heard.iter().find(|number| *number > after).unwrap();
        stop.store(true, Ordering::SeqCst);
        (before, said)
    });
    assert!(server.terminate().success());
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "lines hold who did what");
    }

    let told = restored.run(&["restore", "--from", &name]);
    assert_eq!(root(&told), root(&said), "{told}");
    let (all, kept) = (deliveries(&backend.data()).await, deliveries(&restored.data()).await);
    assert!(kept.len() as u64 >= before && kept.len() < all.len(), "{before} {} {}", kept.len(), all.len());
    assert_eq!(kept[..], all[..kept.len()], "what is restored is the log up to its head, byte for byte");

    let served = Serve::on(&restored).start();
    served.ingest("mesh", &upload(1_000_000));
    let page = served.wait_for("/v1/calls?limit=1000", |page| page["complete"] == true);
    assert_eq!(page["calls"].as_array().unwrap().len(), kept.len() + 1, "and it goes on from there");
}

#[test]
fn a_restored_directory_answers_as_the_old_one_did() {
    let (backend, restored) = (imported(5), Backend::sqlite());
    let export = |backend: &Backend| backend.run(&["export", "calls", "--as-of", "2100-01-01T00:00:00Z"]);
    let (_, name) = file(&backend, "copy");
    let said = backend.run(&["backup", "--to", &name]);
    assert!(said.contains("10 lines in 5 deliveries and 5 blocks, each proven"), "{said}");
    let told = restored.run(&["restore", "--from", &name]);
    assert!(told.contains("10 lines in 5 deliveries") && told.contains("5 calls joined"), "{told}");
    assert_eq!(export(&restored), export(&backend));
    restored.run(&["rebuild"]);
    assert_eq!(export(&restored), export(&backend), "also when all of it is derived again");
}

#[test]
fn neither_a_backup_nor_a_restore_overwrites_anything() {
    let (backend, restored) = (imported(1), Backend::sqlite());
    let (copy, name) = file(&backend, "copy");
    backend.run(&["backup", "--to", &name]);
    let before = fs::read(&copy).unwrap();
    let error = backend.fail(&["backup", "--to", &name]);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&copy).unwrap(), before);
    // One that was broken off, or is still being written.
    fs::write(backend.directory().join("other.partial"), "").unwrap();
    let error = backend.fail(&["backup", "--to", &file(&backend, "other").1]);
    assert!(error.contains("other.partial is there already"), "{error}");

    let error = backend.fail(&["restore", "--from", &name]);
    assert!(error.contains("holds data already (calltrail.db)"), "{error}");
    // A log of changes that an older database left behind would be played into the restored one.
    fs::create_dir(restored.data()).unwrap();
    fs::write(restored.data().join("calltrail.db-wal"), "x").unwrap();
    let error = restored.fail(&["restore", "--from", &name]);
    assert!(error.contains("holds data already (calltrail.db-wal)"), "{error}");
    fs::remove_file(restored.data().join("calltrail.db-wal")).unwrap();
    fs::write(restored.data().join("calltrail.toml"), "").unwrap();
    restored.run(&["restore", "--from", &name]);
}

/// Where the bytes that a question about a backup gives stand in it: the middle of them.
async fn place_of(file: &Path, select: &'static str) -> usize {
    use sqlx::Connection;
    let url = format!("sqlite://{}?immutable=1", file.display());
    let mut db = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let packed: Vec<u8> = sqlx::query_scalar(select).fetch_one(&mut db).await.unwrap();
    let start = fs::read(file).unwrap().windows(packed.len()).position(|window| window == packed);
    start.unwrap() + packed.len() / 2
}

const LINES_OF_2: &str = "select packed from block join delivery on id = delivery_id where number = 2";
const A_CALL: &str = "select packed from call limit 1";

#[tokio::test]
async fn a_flipped_byte_in_a_backup_is_refused_and_named() {
    let (backend, restored) = (imported(3), Backend::sqlite());
    let (copy, name) = file(&backend, "copy");
    backend.run(&["backup", "--to", &name]);
    let whole = fs::read(&copy).unwrap();
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write(&copy, bytes).unwrap();
        let error = restored.fail(&["restore", "--from", &name]);
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert!(!restored.data().exists(), "nothing is put in place: {error}");
    };
    let (lines, call) = (place_of(&copy, LINES_OF_2).await, place_of(&copy, A_CALL).await);
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    refused(&flipped(lines), &["nothing was restored", "is damaged", "delivery 2"]);
    // No tree covers what was derived: the hash of the whole file does.
    refused(&flipped(call), &["is damaged", "its evidence is whole"]);
    refused(&whole[..whole.len() - 1], &["its last bytes, the seal, are missing"]);
    refused(b"", &["its last bytes, the seal, are missing"]);
    fs::write(&copy, &whole).unwrap();
    restored.run(&["restore", "--from", &name]);
}

#[test]
fn what_is_already_damaged_becomes_no_backup() {
    let backend = imported(3);
    let sql = "update delivery set received_at_us = received_at_us + 1 where number = 2";
    backend.alter(sql);
    let (copy, name) = file(&backend, "copy");
    let error = backend.fail(&["backup", "--to", &name]);
    assert!(error.contains("no backup was made") && error.contains("delivery 2"), "{error}");
    assert!(!copy.exists() && !backend.directory().join("copy.partial").exists());
}

/// The same evidence as an older calltrail kept it, which knew so many migrations.
async fn older(current: &Backend, migrations: usize) -> Backend {
    use sqlx::{Connection, Executor, SqliteConnection, migrate::Migrator};
    let backend = Backend::sqlite();
    let (known, all) = (backend.directory().join("migrations"), "migrations/sqlite");
    let mut files: Vec<_> = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    fs::create_dir(&known).unwrap();
    for file in &files[..migrations] {
        fs::copy(file, known.join(file.file_name().unwrap())).unwrap();
    }
    fs::create_dir(backend.data()).unwrap();
    let url = format!("sqlite://{}?mode=rwc", backend.data().join("calltrail.db").display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    Migrator::new(known).await.unwrap().run(&mut db).await.unwrap();
    let sql = format!(
        "attach '{}' as new; delete from log_head; insert into log_head select * from new.log_head;
         insert into delivery select * from new.delivery; insert into block select * from new.block",
        current.data().join("calltrail.db").display()
    );
    db.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    db.close().await.unwrap();
    backend
}

#[tokio::test]
async fn what_an_older_calltrail_wrote_is_backed_up_as_it_is_and_brought_up_to_date_when_restored() {
    let current = imported(2);
    let (old, restored) = (older(&current, 6).await, Backend::sqlite());
    let (_, name) = file(&old, "copy");
    let said = old.run(&["backup", "--to", &name]);
    assert_eq!(root(&said), root(&current.run(&["backup", "--to", &file(&current, "copy").1])));
    assert!(old.fail(&["calls"]).contains("written by an older calltrail"), "the backup changed nothing");
    let told = restored.run(&["restore", "--from", &name]);
    assert!(told.contains("0 calls joined; 2 deliveries are still to be derived"), "{told}");
    assert!(restored.run(&["rebuild"]).starts_with("2 calls derived"));
}
