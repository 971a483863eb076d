//! Opening, closing and what is kept besides evidence.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::store::{Change, Location, Store, StoreError, TokenRow};

pub async fn what_was_written_is_there_after_opening_again(bed: &Bed) {
    let sent = delivery("mesh", &[b"one"]);
    bed.store.commit(std::slice::from_ref(&sent)).await.unwrap();
    derive_calls(&bed.store, [call(1, 0)]).await;
    bed.store.close().await;
    assert!(matches!(bed.store.ping().await, Err(StoreError::Unavailable(_))), "closed");
    for store in [Store::open_existing(&bed.location).await.unwrap(), bed.another().await] {
        store.ping().await.unwrap();
        assert_eq!(store.deliveries_after(0, 9).await.unwrap()[0].delivery, sent);
        assert_eq!(store.call_by_leg(&id(1), LATER).await.unwrap(), Some(call(1, 0)));
        store.close().await;
    }
}

pub async fn a_database_of_a_newer_version_is_refused_with_a_sentence(bed: &Bed) {
    bed.bytes(
        "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
         select 9999, 'from the future', installed_on, success, checksum, 1 from _sqlx_migrations where version = 1",
    )
    .await;
    for opened in [Store::open(&bed.location).await, Store::open_existing(&bed.location).await] {
        let error = opened.err().expect("it knows tables that this program does not").to_string();
        assert!(error.contains("was written by a newer calltrail"), "{error}");
    }
}

pub async fn tokens_are_kept_by_name_until_revoked(bed: &Bed) {
    let token = |name: &str, sha256, scopes: &[&str]| TokenRow {
        name: name.to_owned(),
        sha256: [sha256; 32],
        scopes: scopes.iter().map(|s| s.to_string()).collect(),
        created_at: HOUR,
    };
    let (push, grafana) = (token("push", 1, &["ingest:edge", "ingest:mesh"]), token("grafana", 2, &["read"]));
    bed.store.add_token(&push).await.unwrap();
    bed.store.add_token(&grafana).await.unwrap();
    assert_eq!(bed.store.tokens().await.unwrap(), [grafana.clone(), push]);
    let error = bed.store.add_token(&token("push", 3, &["admin"])).await.unwrap_err().to_string();
    assert!(error.contains("\"push\" already"), "{error}");
    assert!(bed.store.revoke_token("push").await.unwrap());
    assert!(!bed.store.revoke_token("push").await.unwrap());
    assert_eq!(bed.store.tokens().await.unwrap(), [grafana]);
}

#[tokio::test]
async fn reading_where_nothing_is_says_how_to_begin() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let error = Store::open_existing(&Location::Directory(nowhere.clone())).await.err().unwrap().to_string();
    assert!(error.contains("there is no calltrail data in") && error.contains("--data-dir"), "{error}");
    assert!(!nowhere.exists(), "reading makes no directory");
}

#[tokio::test]
async fn a_path_that_is_no_directory_is_refused_with_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path().to_owned(), file.path().join("below")] {
        let error = Store::open(&Location::Directory(path)).await.err().unwrap().to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("calltrail.db"),
        "not a database, but long enough to be read as one".repeat(100),
    )
    .unwrap();
    let error =
        Store::open(&Location::Directory(directory.path().to_owned())).await.err().unwrap().to_string();
    assert!(error.contains("not a database"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("a/b");
    Store::open(&Location::Directory(data.clone())).await.unwrap().close().await;
    assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_its_password_stays_secret() {
    let url = "postgres://trail:hunter2@127.0.0.1:1/calltrail";
    let error = Store::open(&Location::Postgres(url.to_owned())).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("check the url") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again_without_a_restart() {
    crate::bed::on_postgres(async |bed: &Bed| {
        bed.store.commit(&[delivery("mesh", &[b"before"])]).await.unwrap();
        let ended = bed
            .bytes(
                "select pid::text::bytea from pg_stat_activity, lateral pg_terminate_backend(pid) \
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .await;
        assert!(!ended.is_empty(), "the store had connections");
        // A connection may be found dead only when it is used: that is worth a retry, and nothing else.
        let mut last = Err(StoreError::Other("never tried".to_owned()));
        for _ in 0..20 {
            last = bed.store.commit(&[delivery("mesh", &[b"after"])]).await;
            match &last {
                Err(StoreError::Unavailable(_)) => continue,
                _ => break,
            }
        }
        assert_eq!(last.unwrap(), [calltrail::store::Commit::Stored { number: 2 }]);
    })
    .await;
}

#[tokio::test]
async fn one_process_at_a_time_holds_the_correlators_office() {
    crate::bed::on_postgres(async |bed: &Bed| {
        let other = bed.another().await;
        let mut held = bed.store.try_office().await.unwrap().expect("nobody has it yet");
        assert!(other.try_office().await.unwrap().is_none());
        held.leave().await;
        held = other.try_office().await.unwrap().expect("it was given back");
        assert!(bed.store.try_office().await.unwrap().is_none());

        // Its session ends without its doing: it hears of that, and whoever waits has the office.
        let (_, waited) = tokio::join!(end_whoever_holds_the_office(bed), async {
            held.lost().await;
            bed.store.office().await
        });
        waited.leave().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_was_followed_writes_nothing_any_more() {
    crate::bed::on_postgres(async |bed: &Bed| {
        let mut held = bed.store.try_office().await.unwrap().expect("nobody has it yet");
        let first = bed.store.in_office(&held);
        let at = first.take_correlator().await.unwrap();
        first.declare(1, &[]).await.unwrap();
        end_whoever_holds_the_office(bed).await;
        held.lost().await;

        let other = bed.another().await;
        let next = other.try_office().await.unwrap().expect("the first one's session has ended");
        let second = other.in_office(&next);
        let change = Change { epoch: at.epoch, from: 0, to: 0, ..Change::default() };
        first.apply(&change).await.expect("nobody has written since: it is not too late yet");
        let at = second.take_correlator().await.unwrap();
        for refused in [
            first.apply(&change).await,
            first.take_correlator().await.map(drop),
            first.declare(1, &[]).await,
            first.reset_derived().await.map(drop),
        ] {
            assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        }
        second.apply(&Change { epoch: at.epoch, ..change }).await.expect("nobody has come between");
        next.leave().await;
    })
    .await;
}

async fn end_whoever_holds_the_office(bed: &Bed) {
    bed.bytes(
        "select pid::text::bytea from pg_locks, lateral pg_terminate_backend(pid) \
         where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    )
    .await;
}
