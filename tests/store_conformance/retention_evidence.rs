//! Lines that need not be kept any longer: they go, and everything that proves the others stays.

use crate::bed::Bed;
use crate::fixtures::*;
use crate::retention::cutoffs;
use calltrail::model::*;
use calltrail::store::{Change, Commit, Store, StoreError};
use std::collections::BTreeSet;

fn received(n: u32) -> Delivery {
    let line = format!("line of {n}");
    Delivery { received_at: HOUR.plus_us(i64::from(n)), ..delivery("mesh", &[line.as_bytes(), b"another"]) }
}

/// Deliveries 1 to `count`, received so many microseconds after the hour, derived up to `position`.
async fn committed(store: &Store, count: u32, position: u64) {
    let all: Vec<Delivery> = (1..=count).map(received).collect();
    store.commit(&all).await.unwrap();
    let at = store.take_correlator().await.unwrap();
    let change = Change { epoch: at.epoch, from: at.number, to: position, ..Change::default() };
    store.apply(&change).await.unwrap();
}

fn received_before(after_us: i64) -> Cutoffs {
    cutoffs(&[(RetentionClass::Evidence, after_us)])
}

pub async fn lines_go_and_the_tree_stays_what_it_was(bed: &Bed) {
    committed(&bed.store, 600, 600).await;
    let before = bed.store.verify(|_| ()).await.unwrap();
    bed.store.remove(&received_before(501), LATER, |_, _| ()).await.unwrap();
    let after = bed.store.verify(|_| ()).await.unwrap();
    assert_eq!((after.forgotten, after.blocks), (500, 100), "exactly those that were removed");
    assert_eq!((after.deliveries, after.lines, after.root), (before.deliveries, before.lines, before.root));
    let removed = bed.store.removed().await.unwrap();
    let evidence =
        Removed { class: RetentionClass::Evidence, before: HOUR.plus_us(501), through_delivery: 500 };
    assert_eq!(removed, [evidence]);
    let removals = bed.store.removals().await.unwrap();
    assert_eq!((removals[0].items, removals[0].lines, removals[0].deliveries), (500, 1_000, Some((1, 500))));
    assert_eq!(bed.store.raw_line(500, 1).await.unwrap(), None);
    assert_eq!(bed.store.raw_line(501, 1).await.unwrap().unwrap(), b"line of 501");
    let left = bed.store.deliveries_after(0, usize::MAX).await.unwrap();
    assert_eq!((left.len(), left[0].number), (100, 501), "whoever reads from the beginning begins there");
    assert!(bed.bytes("select secret from delivery where secret is not null").await.len() == 100);
}

pub async fn what_has_not_been_derived_does_not_go(bed: &Bed) {
    committed(&bed.store, 10, 4).await;
    bed.store.remove(&received_before(100), LATER, |_, _| ()).await.unwrap();
    let left = bed.store.deliveries_after(0, usize::MAX).await.unwrap();
    assert_eq!(left.iter().map(|d| d.number).collect::<Vec<_>>(), [5, 6, 7, 8, 9, 10]);
}

pub async fn a_delivery_whose_lines_are_gone_is_still_known(bed: &Bed) {
    committed(&bed.store, 5, 5).await;
    bed.store.remove(&received_before(4), LATER, |_, _| ()).await.unwrap();
    let again = bed.store.commit(&[received(2), received(6)]).await.unwrap();
    assert_eq!(again, [Commit::Duplicate { number: 2 }, Commit::Stored { number: 6 }]);
    assert_eq!(bed.store.verify(|_| ()).await.unwrap().forgotten, 3);
}

pub async fn lines_that_somebody_else_removed_are_named(bed: &Bed) {
    committed(&bed.store, 5, 5).await;
    bed.store.remove(&received_before(3), LATER, |_, _| ()).await.unwrap();
    bed.alter("delete from block where delivery_id = (select id from delivery where number = 4)").await;
    let error = bed.store.verify(|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("delivery 4 should hold 2 lines"), "{error}");
    bed.alter("update delivery set secret = null where number = 4").await;
    let error = bed.store.verify(|_| ()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Inconsistent(what) if what.contains("delivery 4 has no lines")),
        "{error}"
    );
}

pub async fn two_that_remove_at_once_count_each_line_once(bed: &Bed) {
    committed(&bed.store, 2_000, 2_000).await;
    let other = bed.another().await;
    let rules = received_before(5_000);
    let (one, two) =
        tokio::join!(bed.store.remove(&rules, LATER, |_, _| ()), other.remove(&rules, LATER, |_, _| ()));
    one.and(two).unwrap();
    let removals = bed.store.removals().await.unwrap();
    assert_eq!(removals.iter().map(|removal| removal.lines).sum::<i64>(), 4_000);
    assert_eq!(bed.store.verify(|_| ()).await.unwrap().forgotten, 2_000);
    other.close().await;
}

/// A table that a later migration adds is either derived, and then listed where it is carried, or named here.
pub async fn every_table_that_is_derived_is_carried(bed: &Bed) {
    let evidence =
        ["_sqlx_migrations", "log_head", "delivery", "block", "token", "journal", "journal_head", "lease"];
    let known: BTreeSet<&str> = calltrail::store::derived_tables().chain(evidence).collect();
    let names = match bed.is_sqlite() {
        true => {
            "select cast(name as blob) from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        }
        false => "select convert_to(tablename::text, 'UTF8') from pg_tables where schemaname = 'public'",
    };
    for name in bed.bytes(names).await {
        let name = String::from_utf8(name).unwrap();
        assert!(known.contains(name.as_str()), "{name}");
    }
}
