//! A move from one database to another as an operator makes it: beside a server, broken off, and refused.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "crash/sender.rs"]
#[allow(dead_code, reason = "only its lines are wanted here")]
mod sender;

use calltrail::model::LegId;
use calltrail::store::Store;
use common::{Backend, Serve};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

const AS_OF: &str = "2100-01-01T00:00:00Z";

fn upload(number: u64) -> Vec<u8> {
    let (client, server) = sender::call(number);
    format!("{client}\n{server}\n").into_bytes()
}

/// So many deliveries of one call each, from files.
fn import(backend: &Backend, deliveries: u64) {
    let files = backend.directory().join("lines");
    fs::create_dir(&files).unwrap();
    for number in 1..=deliveries {
        fs::write(files.join(format!("{number:04}.jsonl")), upload(number)).unwrap();
    }
    backend.run(&["import", "--source", "mesh", files.to_str().unwrap()]);
}

fn export(backend: &Backend) -> String {
    backend.run(&["export", "calls", "--as-of", AS_OF])
}

/// What a call is, whenever its lines were received.
fn calls(backend: &Backend) -> BTreeSet<String> {
    let call = |line: &str| {
        let call: Value = serde_json::from_str(line).unwrap();
        let words = ["id", "start", "caller", "callee", "basis", "outcome", "findings"];
        words.iter().map(|word| call[*word].to_string()).collect()
    };
    export(backend).lines().map(call).collect()
}

/// `calltrail migrate` from one to the other.
fn migrate(from: &Backend, to: &Backend) -> Vec<String> {
    let words = ["migrate", "--from", &from.url(), "--to", &to.url()];
    words.map(str::to_owned).to_vec()
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

async fn head(backend: &Backend) -> u64 {
    let store = Store::open(&backend.location()).await.unwrap();
    let head = store.head().await.unwrap();
    store.close().await;
    head
}

/// Lets nobody insert a delivery of that number into a Postgres before it is opened again.
struct Trap {
    session: PgConnection,
}

impl Trap {
    async fn set(backend: &Backend, number: u64) -> Trap {
        let mut session = PgConnection::connect(&backend.url()).await.unwrap();
        let sql = format!(
            "select pg_advisory_lock(7);
             create function trap() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
             create trigger trap before insert on delivery for each row when (new.number = {number})
                 execute function trap()"
        );
        session.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        Trap { session }
    }

    /// Asks until the answer is that number.
    async fn wait(&mut self, question: &'static str, answer: i64) {
        while sqlx::query_scalar::<_, i64>(question).fetch_one(&mut self.session).await.unwrap() != answer {
            std::thread::yield_now();
        }
    }

    async fn wait_until_somebody_is_in_it(&mut self) {
        self.wait("select count(*) from pg_locks where locktype = 'advisory' and not granted", 1).await;
    }

    /// When nothing is left of whoever was in it.
    async fn open(mut self) {
        self.session.execute("select pg_advisory_unlock(7)").await.unwrap();
        let others = "select count(*) from pg_stat_activity where application_name = 'calltrail' \
                      and datname = current_database()";
        self.wait(others, 0).await;
        self.session.execute("drop trigger trap on delivery").await.unwrap();
        self.session.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_move_from_a_served_directory_to_postgres_survives_a_kill_and_loses_nothing() {
    let (from, to) = (Backend::sqlite(), Backend::postgres());
    let migrate = migrate(&from, &to);
    let mut server = Serve::on(&from).start();
    (1..=70).for_each(|number| drop(server.ingest("mesh", &upload(number))));
    let error = from.fail(&words(&migrate));
    assert!(error.contains("70 deliveries are carried so far, and the source is not at rest"), "{error}");
    assert_eq!(head(&to).await, 70);

    (71..=700).for_each(|number| drop(server.ingest("mesh", &upload(number))));
    server.wait_for("/v1/calls", |page| page["complete"] == true);
    assert!(server.terminate().success());
    from.run(&["token", "create", "--scope", "read", "--name", "grafana"]);
    let known = calls(&from);

    let mut trap = Trap::set(&to, 650).await;
    let mut killed = Command::new(env!("CARGO_BIN_EXE_calltrail"));
    from.point(&mut killed);
    let mut killed = killed.args(&migrate).stderr(Stdio::null()).spawn().unwrap();
    trap.wait_until_somebody_is_in_it().await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    trap.open().await;
    let reached = head(&to).await;
    assert!((71..650).contains(&reached), "what was durable stays: {reached}");

    let said = from.run(&words(&migrate));
    assert!(said.contains("1,400 lines in 700 deliveries and 700 blocks, each proven"), "{said}");
    assert!(said.contains("1 token and 0 entries") && said.contains("700 calls derived"), "{said}");
    assert_eq!(export(&to), export(&from), "equal evidence gives equal bytes");
    assert!(to.run(&["token", "list"]).contains("grafana"));
    let said = from.run(&words(&migrate));
    assert!(said.contains("0 tokens and 0 entries") && said.contains("700 calls"), "once more: {said}");

    let imported = Backend::postgres();
    import(&imported, 700);
    assert_eq!(calls(&to), calls(&imported));
    assert_eq!(known.len(), 700);
}

#[tokio::test]
async fn what_had_been_believed_moves_along_and_back() {
    let (from, to, back) = (Backend::sqlite(), Backend::postgres(), Backend::sqlite());
    import(&from, 3);
    from.alter(
        "insert into journal (call_id, now_id, at_us, delivery, what, finding, before, after, since_us) values
             (zeroblob(16), zeroblob(16), 5, 1, 'basis', null, 'single', 'proven', null),
             (zeroblob(16), zeroblob(16), 6, 2, 'finding_raised', 'bypass', null, null, 4)",
    );
    let journal = async |backend: &Backend| {
        let store = Store::open(&backend.location()).await.unwrap();
        let entries = store.journal(&[LegId([0; 16])]).await.unwrap();
        store.close().await;
        entries
    };
    let entries = journal(&from).await;
    assert_eq!(entries.len(), 2);
    assert!(from.run(&words(&migrate(&from, &to))).contains("2 entries of the journal carried"));
    assert_eq!(journal(&to).await, entries);
    assert!(to.run(&words(&migrate(&to, &back))).contains("2 entries of the journal carried"));
    assert_eq!(journal(&back).await, entries);
    assert_eq!(export(&back), export(&from));
}

#[test]
fn a_backup_can_be_moved_into_postgres() {
    let (from, to) = (Backend::sqlite(), Backend::postgres());
    import(&from, 3);
    let copy = from.directory().join("copy");
    from.run(&["backup", "--to", copy.to_str().unwrap()]);
    let url = format!("sqlite://{}", copy.display());
    from.run(&["migrate", "--from", &url, "--to", &to.url()]);
    assert_eq!(export(&to), export(&from));
}

#[tokio::test]
async fn a_target_with_other_evidence_is_refused_and_left_as_it_is() {
    for to in [Backend::postgres(), Backend::sqlite()] {
        let from = Backend::sqlite();
        import(&from, 3);
        import(&to, 2);
        let before = export(&to);
        let error = from.fail(&words(&migrate(&from, &to)));
        assert!(error.contains("the target holds other evidence than the source"), "{error}");
        assert_eq!(export(&to), before);
    }
}

#[test]
fn a_place_that_cannot_be_understood_is_not_repeated_with_its_password() {
    let from = Backend::sqlite();
    let error = from.fail(&["migrate", "--from", "postgre://me:hunter2@db/x", "--to", "sqlite://new"]);
    assert!(error.contains("--from names no place") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_target_that_is_served_is_refused() {
    let (from, to) = (Backend::sqlite(), Backend::postgres());
    import(&from, 1);
    let server = Serve::on(&to).start();
    server.ingest("mesh", &upload(1));
    server.wait_for("/v1/calls", |page| page["complete"] == true);
    let error = from.fail(&words(&migrate(&from, &to)));
    assert!(error.contains("another calltrail works in the target: stop it first"), "{error}");
}

#[tokio::test]
async fn evidence_that_was_changed_is_carried_no_further() {
    for from in [Backend::sqlite(), Backend::postgres()] {
        let to = Backend::sqlite();
        import(&from, 3);
        from.alter("update delivery set source = 'another' where number = 2");
        let error = from.fail(&words(&migrate(&from, &to)));
        assert!(error.contains("delivery 2") && error.contains("is not what was committed"), "{error}");
        assert_eq!(head(&to).await, 0, "and nothing that came with it");
    }
}
