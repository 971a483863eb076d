//! Evidence: nothing lost, nothing stored twice, nothing changed.

use crate::bed::Bed;
use crate::fixtures::delivery;
use calltrail::evidence::commitment::{DeliveryLeaf, line_root};
use calltrail::evidence::tree;
use calltrail::model::{Delivery, DeliveryId};
use calltrail::store::{Commit, Store};
use std::collections::BTreeMap;

pub async fn lines_come_back_byte_for_byte(bed: &Bed) {
    let hostile: [&[u8]; 5] =
        [b"{\"a\":1}", b"nul \0 inside", b"\xff\xfe no utf-8", b"", "\u{feff}Grüße\r".as_bytes()];
    let named = Delivery { proxy: Some("web-1".to_owned()), ..delivery("mesh", &[b"named"]) };
    let unnamed = Delivery { proxy: Some(String::new()), ..delivery("mesh", &[b"named by the empty name"]) };
    let huge = vec![b'x'; 3 << 20];
    let large = delivery("mesh", &[&huge, b"after", &huge]);
    let sent = vec![delivery("edge", &hostile), named, unnamed, delivery("mesh", &[]), large];
    let commits = bed.store.commit(&sent).await.unwrap();
    assert_eq!(commits, (1..=5).map(|number| Commit::Stored { number }).collect::<Vec<_>>());
    let stored = bed.store.deliveries_after(0, usize::MAX).await.unwrap();
    assert_eq!(stored.iter().map(|d| d.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (stored, sent) in stored.into_iter().zip(sent) {
        assert!(stored.delivery == sent, "delivery {} changed", stored.number);
    }
}

pub async fn a_repeated_delivery_is_not_stored_twice(bed: &Bed) {
    let (a, b) = (delivery("edge", &[b"a"]), delivery("edge", &[b"b"]));
    let first = bed.store.commit(&[a.clone(), a.clone()]).await.unwrap();
    assert_eq!(first, [Commit::Stored { number: 1 }, Commit::Duplicate { number: 1 }]);
    // The same upload comes again later, among new ones.
    let later = Delivery { received_at: a.received_at.plus_us(1), ..a.clone() };
    let second = bed.store.commit(&[later, b.clone()]).await.unwrap();
    assert_eq!(second, [Commit::Duplicate { number: 1 }, Commit::Stored { number: 2 }]);
    assert_eq!(
        bed.store.commit(&[b, a.clone()]).await.unwrap(),
        [2, 1].map(|number| Commit::Duplicate { number })
    );
    assert_eq!(bed.store.commit(&[]).await.unwrap(), []);

    assert_eq!(bed.store.head().await.unwrap(), 2);
    assert_eq!(bed.store.deliveries_after(0, 100).await.unwrap()[0].delivery, a);
    let totals = bed.store.totals().await.unwrap();
    assert_eq!((totals.deliveries, totals.lines), (2, 2));
}

fn numbered(n: usize) -> Delivery {
    delivery("edge", &[format!("line {n}").as_bytes(), b"common"])
}

pub async fn numbers_are_gap_free_when_two_processes_commit_at_once(bed: &Bed) {
    let other = bed.another().await;
    let commit = |store: Store, first: usize| {
        tokio::spawn(async move {
            let batch: Vec<Delivery> = (first..first + 3).map(numbered).collect();
            store.commit(&batch).await.unwrap()
        })
    };
    let tasks: Vec<_> =
        (0..40).map(|i| commit(if i % 2 == 0 { bed.store.clone() } else { other.clone() }, i * 3)).collect();
    let mut numbers = Vec::new();
    for task in tasks {
        for commit in task.await.unwrap() {
            let Commit::Stored { number } = commit else { panic!("{commit:?}, but all are different") };
            numbers.push(number);
        }
    }
    numbers.sort();
    assert_eq!(numbers, (1..=120).collect::<Vec<u64>>());
    assert_eq!(bed.store.head().await.unwrap(), 120);
    assert_eq!(bed.store.totals().await.unwrap().lines, 240);
    other.close().await;
}

pub async fn two_processes_that_receive_the_same_uploads_store_each_once(bed: &Bed) {
    let other = bed.another().await;
    let tasks: Vec<_> = (0..24)
        .map(|i| {
            let store = if i % 2 == 0 { bed.store.clone() } else { other.clone() };
            // Overlapping, and every other time in reverse order.
            let mut batch: Vec<Delivery> = (i / 4..i / 4 + 6).map(numbered).collect();
            if i % 3 == 0 {
                batch.reverse();
            }
            tokio::spawn(async move {
                let ids: Vec<DeliveryId> = batch.iter().map(|d| d.id).collect();
                (ids, store.commit(&batch).await.unwrap())
            })
        })
        .collect();
    let (mut stored, mut by_id) = (Vec::new(), BTreeMap::new());
    for task in tasks {
        let (ids, commits) = task.await.unwrap();
        for (id, commit) in ids.into_iter().zip(commits) {
            let (Commit::Stored { number } | Commit::Duplicate { number }) = commit;
            assert_eq!(*by_id.entry(id).or_insert(number), number, "{id} has two numbers");
            if let Commit::Stored { number } = commit {
                stored.push(number);
            }
        }
    }
    stored.sort();
    assert_eq!(stored, (1..=11).collect::<Vec<u64>>(), "each of the eleven was new exactly once");
    assert_eq!(bed.store.deliveries_after(0, 1000).await.unwrap().len(), 11);
    other.close().await;
}

pub async fn the_tree_is_the_one_that_an_auditor_computes_from_the_lines(bed: &Bed) {
    for batch in 0..5 {
        let deliveries: Vec<Delivery> = (0..=batch).map(|n| numbered(10 * batch + n)).collect();
        bed.store.commit(&deliveries).await.unwrap();
    }
    let secrets = bed.bytes("select secret from delivery order by number").await;
    let stored = bed.store.deliveries_after(0, 1000).await.unwrap();
    let leaves = stored.iter().zip(&secrets).map(|(stored, secret)| {
        let delivery = &stored.delivery;
        let secret: [u8; 32] = secret.as_slice().try_into().unwrap();
        let leaf = DeliveryLeaf {
            source: &delivery.source,
            proxy: delivery.proxy.as_deref(),
            received_at: delivery.received_at,
            line_count: delivery.lines.len() as u64,
            line_root: line_root(&secret, delivery.lines.iter().map(Vec::as_slice)),
        };
        leaf.hash()
    });
    let root = tree::root(leaves);
    let frontier = bed.bytes("select frontier from log_head").await.remove(0);
    assert_eq!(tree::Frontier::from_bytes(15, &frontier).unwrap().root(), root);
    let kept: Vec<Vec<u8>> = bed.bytes("select leaf_hash from delivery order by number").await;
    assert_eq!(tree::root(kept.into_iter().map(|h| h.try_into().unwrap())), root);
    assert_eq!(
        secrets.iter().collect::<std::collections::BTreeSet<_>>().len(),
        15,
        "each has its own secret"
    );
}

pub async fn reading_stops_after_enough_lines_and_goes_on_there(bed: &Bed) {
    let deliveries: Vec<Delivery> = (0..5).map(numbered).collect();
    bed.store.commit(&deliveries).await.unwrap();
    let numbers = async |after, max_lines| {
        let read = bed.store.deliveries_after(after, max_lines).await.unwrap();
        read.iter().map(|d| d.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0, 4).await, [1, 2]);
    assert_eq!(numbers(2, 3).await, [3, 4]);
    assert_eq!(numbers(4, 0).await, [5], "at least one when there is one");
    assert_eq!(numbers(5, 100).await, [0; 0]);
}

pub async fn any_line_can_be_shown(bed: &Bed) {
    let long: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 700_000]).collect();
    let lines: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
    bed.store.commit(&[delivery("mesh", &[b"one", b"two"]), delivery("mesh", &lines)]).await.unwrap();
    assert_eq!(bed.store.raw_line(1, 2).await.unwrap().as_deref(), Some(b"two".as_slice()));
    assert!(bed.store.raw_line(2, 3).await.unwrap().unwrap() == long[2], "in another block");
    for (delivery, line) in [(1, 0), (1, 3), (2, 5), (3, 1), (0, 1)] {
        assert_eq!(bed.store.raw_line(delivery, line).await.unwrap(), None, "{delivery}:{line}");
    }
}
