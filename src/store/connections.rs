//! When a caller's own proxy used a pair of ends: spans of time, since a port is used again by another connection later.
//!
//! Uses no further apart than the gap that parts two connections are one span. The spans of a socket are thus the groups of
//! uses that hang together, whatever the order in which they became known. Whether a span explains a call is the asker's
//! judgement.

use super::bulk::Target;
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Connection, Store, StoreError, index_text};
use crate::model::{CONNECTION_SLACK_US, Holder, SocketPair, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sockets per `in` list.
const SOCKETS: usize = 512;
/// Rows per statement.
const ROWS: usize = 64;
const SPANS: Target =
    Target { table: "connection", columns: "socket, first_us, proxy, party, last_us", on_conflict: "" };

/// Hash of a socket and its holder: their spans, first and last use in microseconds.
type Spans = BTreeMap<(Vec<u8>, Holder), BTreeSet<(i64, i64)>>;
/// Socket hash, proxy, party, first and last use.
type Row = (Vec<u8>, String, String, i64, i64);

impl Store {
    /// Every span in which a caller's own proxy used one of the sockets, by socket and time.
    pub async fn known_connections(&self, sockets: &[SocketPair]) -> Result<Vec<Connection>, StoreError> {
        // Before the database is: see there. A use that is in both is the same in both.
        let underway = self.underway();
        let asked: HashMap<Vec<u8>, &SocketPair> = sockets.iter().map(|s| (socket_hash(s), s)).collect();
        let hashes: Vec<&Vec<u8>> = asked.keys().collect();
        let mut known = Vec::new();
        for hashes in hashes.chunks(SOCKETS) {
            for (hash, proxy, party, first, last) in self.rows::<Row>(select(hashes)).await? {
                let Some(socket) = asked.get(&hash) else { continue };
                let (socket, holder) = (SocketPair::clone(socket), Holder { proxy, party });
                known.push(Connection { socket, holder, first: Timestamp(first), last: Timestamp(last) });
            }
        }
        if let Some(underway) = underway {
            known.extend(sockets.iter().flat_map(|socket| underway.connections(socket)).cloned());
        }
        known.sort_by(|a, b| (&a.socket, a.first, &a.holder).cmp(&(&b.socket, b.first, &b.holder)));
        Ok(known)
    }
}

/// Adds uses to what is stored. Only whoever holds the correlator's row may: nobody else changes the spans meanwhile.
pub(super) async fn add(tx: &mut Tx, uses: &[Connection]) -> Result<(), StoreError> {
    let mut new = Spans::new();
    for used in uses {
        let span = (used.first.micros(), used.last.micros());
        new.entry((socket_hash(&used.socket), as_stored(&used.holder))).or_default().insert(span);
    }
    let stored = stored_spans(tx, &new).await?;
    let (mut gone, mut added) = (Vec::new(), Vec::new());
    for (held, uses) in new {
        let before = stored.get(&held).cloned().unwrap_or_default();
        let after = merged(before.union(&uses), CONNECTION_SLACK_US);
        gone.extend(before.difference(&after).map(|(first, _)| (held.clone(), *first)));
        for (first, last) in after.difference(&before) {
            added.extend(place(&held, *first));
            added.push(Bind::int(*last));
        }
    }
    for gone in gone.chunks(ROWS) {
        tx.execute(delete(gone)).await?;
    }
    tx.insert(&SPANS, added).await?;
    Ok(())
}

async fn stored_spans(tx: &mut Tx, sockets: &Spans) -> Result<Spans, StoreError> {
    let mut hashes: Vec<&Vec<u8>> = sockets.keys().map(|(hash, _)| hash).collect();
    hashes.dedup();
    let mut stored = Spans::new();
    for hashes in hashes.chunks(SOCKETS) {
        for (hash, proxy, party, first, last) in tx.rows::<Row>(select(hashes)).await? {
            stored.entry((hash, Holder { proxy, party })).or_default().insert((first, last));
        }
    }
    Ok(stored)
}

fn select(hashes: &[&Vec<u8>]) -> Stmt {
    let mut select = stmt("select socket, proxy, party, first_us, last_us from connection where socket in ");
    select.push_list(hashes.iter().map(|h| Bind::bytes(h.as_slice())).collect());
    select
}

fn delete(spans: &[((Vec<u8>, Holder), i64)]) -> Stmt {
    let mut delete = stmt("delete from connection where (socket, first_us, proxy, party) in (values ");
    let places = vec!["(?, ?, ?, ?)"; spans.len()].join(", ");
    delete.push(&places, spans.iter().flat_map(|(held, first)| place(held, *first)));
    delete.push(")", []);
    delete
}

/// The primary key of a span.
fn place((socket, holder): &(Vec<u8>, Holder), first: i64) -> [Bind; 4] {
    let (proxy, party) = (Bind::text(&holder.proxy), Bind::text(&holder.party));
    [Bind::bytes(socket.as_slice()), Bind::int(first), proxy, party]
}

/// A use as it is answered once it is stored.
pub(super) fn as_read(used: &Connection) -> Connection {
    Connection { holder: as_stored(&used.holder), ..used.clone() }
}

fn as_stored(holder: &Holder) -> Holder {
    let [proxy, party] = [&holder.proxy, &holder.party].map(|text| index_text(text).into_owned());
    Holder { proxy, party }
}

/// A socket pair as the table knows it.
fn socket_hash(socket: &SocketPair) -> Vec<u8> {
    let hash =
        Sha256::new().chain_update(&socket.client).chain_update([0]).chain_update(&socket.server).finalize();
    hash[..16].to_vec()
}

/// Spans that lie no further apart than the gap, as one. They come in the order of their beginnings.
fn merged<'a>(spans: impl IntoIterator<Item = &'a (i64, i64)>, gap_us: i64) -> BTreeSet<(i64, i64)> {
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for &(first, last) in spans {
        match apart.last_mut() {
            Some(open) if first <= open.1.saturating_add(gap_us) => open.1 = open.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(spans: &[(i64, i64)], gap_us: i64) -> Vec<(i64, i64)> {
        merged(&spans.iter().copied().collect::<BTreeSet<_>>(), gap_us).into_iter().collect()
    }

    #[test]
    fn spans_are_one_when_they_lie_no_further_apart_than_the_gap() {
        assert_eq!(of(&[(0, 10), (15, 20)], 5), [(0, 20)]);
        assert_eq!(of(&[(0, 10), (16, 20)], 5), [(0, 10), (16, 20)]);
        assert_eq!(of(&[(0, 100), (5, 6), (103, 104)], 5), [(0, 104)], "one within another does not end it");
    }

    proptest! {
        #[test]
        fn the_spans_are_the_same_whatever_the_order_of_arrival(
            uses in prop::collection::vec((0_i64..200, 0_i64..9), 1..20),
            order in any::<prop::sample::Index>(),
        ) {
            let uses: Vec<_> = uses.into_iter().map(|(first, length)| (first, first + length)).collect();
            let mut other = uses.clone();
            other.rotate_left(order.index(uses.len()));
            other.reverse();
            let one_by_one = |uses: &[(i64, i64)]| {
                uses.iter().fold(BTreeSet::new(), |mut stored: BTreeSet<(i64, i64)>, used| {
                    stored.insert(*used);
                    merged(&stored, 7)
                })
            };
            prop_assert_eq!(one_by_one(&uses), merged(&uses.iter().copied().collect::<BTreeSet<_>>(), 7));
            prop_assert_eq!(one_by_one(&uses), one_by_one(&other));
        }
    }
}
