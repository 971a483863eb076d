//! What had been believed and is taken back: kept once, and only if anybody could have been told it.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::*;
use calltrail::store::{Change, StoreError};

/// Taken back by the delivery after the one that it rested on.
fn draft(call: u32, what: Believed, known_by: u64) -> JournalDraft {
    let entry = JournalEntry {
        call: id(call),
        now: id(call),
        at: LATER,
        delivery: known_by + 1,
        what,
        finding: None,
        before: Some("inferred 0.95 of 5".to_owned()),
        after: None,
        since: None,
    };
    JournalDraft { entry, known_by, of_absence: false }
}

fn takes_back(journal: Vec<JournalDraft>) -> Change {
    Change { journal, reaches_end: true, ..Change::default() }
}

fn derived_all() -> Change {
    Change { reaches_end: true, ..Change::default() }
}

async fn kept(bed: &Bed, calls: &[u32]) -> Vec<JournalEntry> {
    let ids: Vec<LegId> = calls.iter().map(|n| id(*n)).collect();
    bed.store.journal(&ids).await.unwrap()
}

pub async fn what_is_taken_back_is_kept_in_its_order(bed: &Bed) {
    derive(&bed.store, derived_all()).await;
    let withdrawn = JournalDraft {
        entry: JournalEntry {
            finding: Some(FindingKind::Denied),
            after: Some("a \0 stood there".into()),
            since: Some(HOUR),
            ..draft(1, Believed::FindingWithdrawn, 1).entry
        },
        ..draft(1, Believed::FindingWithdrawn, 1)
    };
    let first = vec![withdrawn.clone(), draft(2, Believed::Basis, 1), draft(3, Believed::Legs, 1)];
    derive(&bed.store, takes_back(first)).await;
    derive(&bed.store, takes_back(vec![draft(1, Believed::Principal, 2)])).await;
    let expected = [
        JournalEntry { after: Some("a \u{fffd} stood there".into()), ..withdrawn.entry },
        draft(3, Believed::Legs, 1).entry,
        draft(1, Believed::Principal, 2).entry,
    ];
    assert_eq!(kept(bed, &[3, 1, 77]).await, expected);
    assert_eq!(kept(bed, &[]).await, []);
}

/// A call that was stored on the way through a backlog and replaced before its end.
pub async fn what_nobody_was_told_is_not_kept(bed: &Bed) {
    derive(&bed.store, derived_all()).await;
    derive(&bed.store, Change::default()).await;
    // The end was reached with the first delivery; the second was only passed.
    derive(&bed.store, takes_back(vec![draft(1, Believed::Basis, 2), draft(2, Believed::Basis, 1)])).await;
    assert_eq!(kept(bed, &[1, 2]).await, [draft(2, Believed::Basis, 1).entry]);
    // With the third the end was reached again.
    derive(&bed.store, takes_back(vec![draft(1, Believed::Basis, 3)])).await;
    assert_eq!(kept(bed, &[1]).await, [draft(1, Believed::Basis, 3).entry]);
}

pub async fn deriving_old_ground_again_leaves_the_journal_as_it_is(bed: &Bed) {
    derive(&bed.store, derived_all()).await;
    derive(&bed.store, takes_back(vec![draft(1, Believed::Basis, 1)])).await;
    bed.store.reset_derived().await.unwrap();
    derive(&bed.store, takes_back(vec![draft(1, Believed::Basis, 0)])).await;
    derive(&bed.store, takes_back(vec![draft(1, Believed::Basis, 1)])).await;
    assert_eq!(kept(bed, &[1]).await, [draft(1, Believed::Basis, 1).entry]);
    // Beyond what had been derived before, things are learnt again.
    derive(&bed.store, takes_back(vec![draft(1, Believed::Caller, 2)])).await;
    assert_eq!(kept(bed, &[1]).await.len(), 2);
}

pub async fn a_finding_that_never_counted_is_not_taken_back(bed: &Bed) {
    let silent = service("api").key();
    let lost =
        Finding { absent_observer: Some(silent.clone()), ..finding(FindingKind::Lost, Severity::Medium) };
    let accused = |n| indexed(Call { findings: vec![lost.clone()], ..call(n, 0) });
    let withdrawn = |n| {
        let mut draft = draft(n, Believed::FindingWithdrawn, 1);
        (draft.entry.finding, draft.of_absence) = (Some(FindingKind::Lost), true);
        draft
    };
    let first = Change {
        upserts: vec![accused(1), accused(2)],
        coverage: vec![coverage(&silent, [10, 5, 0, 0])],
        ..derived_all()
    };
    derive(&bed.store, first).await;
    derive(&bed.store, takes_back(vec![withdrawn(1)])).await;
    assert_eq!(kept(bed, &[1]).await, [], "half of its lines were missing: nobody was accused");
    let reports_well = Change { coverage: vec![coverage(&silent, [990, 995, 0, 0])], ..derived_all() };
    derive(&bed.store, reports_well).await;
    derive(&bed.store, Change { upserts: vec![indexed(call(2, 0))], ..takes_back(vec![withdrawn(2)]) }).await;
    assert_eq!(kept(bed, &[2]).await, [withdrawn(2).entry], "it had counted until this change");
}

pub async fn whoever_lost_the_office_takes_nothing_back(bed: &Bed) {
    derive(&bed.store, derived_all()).await;
    let old = bed.store.take_correlator().await.unwrap();
    bed.another().await.take_correlator().await.unwrap();
    let change = takes_back(vec![draft(1, Believed::Basis, 1)]);
    let stale = Change { epoch: old.epoch, from: old.number, to: old.number + 1, ..change };
    assert!(matches!(bed.store.apply(&stale).await, Err(StoreError::Fenced)));
    assert_eq!(kept(bed, &[1]).await, []);
}
