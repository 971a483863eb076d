//! Carries the pure join along the committed evidence: reads deliveries, widens to everything that they can touch, assembles,
//! writes the difference with the new position. Its state can be lost at any moment: what is not written is derived again.

use super::adopt::{adopt, is_orphan, search_window};
use super::assemble::pairing_slack_us;
use super::closure::Closure;
use super::coverage::{self, Coverage};
use super::facts::{Facts, connection_of};
use super::{Rules, assemble, keys};
use crate::decode::{DecodedDelivery, decode_delivery};
use crate::model::{Call, CallId, Leg, Timestamp};
use crate::store::{
    Change, Connection, CoverageDelta, IndexedCall, Position, Store, StoreError, StoredDelivery, StoredReject,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;

/// Lines derived in one transaction: enough to share a statement, few enough to be seen soon.
const LINES_PER_STEP: usize = 5_000;
/// Most calls of one identity that are looked at when a parent is inferred.
const ADOPTION_LIMIT: u32 = 10_000;
/// Pause before the database is tried again when it was not available.
const RETRY: Duration = Duration::from_millis(500);

/// Derives until the evidence's end has been reached, then returns. For `import`, `rebuild` and tests.
pub async fn catch_up(store: &Store, rules: &Rules) -> Result<(), StoreError> {
    let mut position = store.take_correlator().await?;
    while let Some(next) = step(store, rules, position, Timestamp::MAX).await? {
        position = next;
    }
    Ok(())
}

/// Runs until `stop` says so: derives whenever `committed` moves on; retries when the database is not available; starts again
/// when fenced.
pub async fn run(
    store: Store,
    rules: Rules,
    mut committed: watch::Receiver<u64>,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut position: Option<Position> = None;
    loop {
        committed.mark_unchanged();
        let outcome = advance(&store, &rules, &mut position).await;
        let wait = async {
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    // A closed channel means that no writer is left; the stop signal then ends the loop.
                    if committed.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the correlator cannot go on and will try again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::select! {
            () = wait => {}
            () = &mut stop => return,
        }
    }
}

/// One step; true when there may be more to do at once.
async fn advance(store: &Store, rules: &Rules, position: &mut Option<Position>) -> Result<bool, StoreError> {
    let at = match *position {
        Some(at) => at,
        None => store.take_correlator().await?,
    };
    *position = Some(at);
    match step(store, rules, at, Timestamp::MAX).await {
        Ok(Some(next)) => {
            *position = Some(next);
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(error) => {
            // Whatever was under way is given up: the next step takes the office again and reads where it stands.
            *position = None;
            Err(error)
        }
    }
}

/// Derives the next deliveries, of those received up to `until`; `None` when there are none.
pub async fn step(
    store: &Store,
    rules: &Rules,
    at: Position,
    until: Timestamp,
) -> Result<Option<Position>, StoreError> {
    let deliveries = store.deliveries_after(at.number, LINES_PER_STEP).await?;
    let Some(last) = deliveries.last().map(|d| d.number) else { return Ok(None) };
    let decoded = tokio::task::spawn_blocking(move || decode_all(deliveries, until)).await;
    let Decoded { legs, rejects } =
        decoded.map_err(|e| StoreError::Other(format!("decoding ended early: {e}")))?;

    let connections = connections(&legs);
    let closure = Closure::around(store, legs, pairing_slack_us(rules)).await?;
    let facts = gather_facts(store, &closure).await?;
    let mut calls = assemble(closure.all_legs().cloned(), &facts, rules);
    let changed_orphans = infer_parents(store, &closure, &mut calls).await?;

    let mut change = difference(&closure, calls, changed_orphans);
    change.rejects = rejects;
    change.connections = connections;
    (change.epoch, change.from, change.to) = (at.epoch, at.number, last);
    store.apply(&change).await?;
    Ok(Some(Position { number: last, epoch: at.epoch }))
}

struct Decoded {
    legs: Vec<Leg>,
    rejects: Vec<StoredReject>,
}

fn decode_all(deliveries: Vec<StoredDelivery>, until: Timestamp) -> Decoded {
    let mut all = Decoded { legs: Vec::new(), rejects: Vec::new() };
    for StoredDelivery { number, delivery } in
        deliveries.into_iter().filter(|d| d.delivery.received_at <= until)
    {
        let DecodedDelivery { legs, rejects } = decode_delivery(&delivery, number);
        all.legs.extend(legs);
        all.rejects.extend(rejects.into_iter().map(|(line, reject)| StoredReject {
            delivery: number,
            line,
            source: delivery.source.clone(),
            received_at: delivery.received_at,
            reason: reject.reason,
            detail: reject.detail,
        }));
    }
    all
}

fn connections(legs: &[Leg]) -> Vec<Connection> {
    let uses = legs.iter().filter_map(connection_of);
    uses.map(|(socket, first, last)| Connection { socket: socket.clone(), first, last }).collect()
}

/// The connections that the closure's own client legs tell, and those that the store knows for server legs without one.
async fn gather_facts(store: &Store, closure: &Closure) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    facts.add_legs(closure.all_legs());
    let sockets: BTreeSet<_> = closure
        .all_legs()
        .filter(|l| l.is_mesh_server())
        .filter_map(|l| l.socket.clone().filter(|s| !facts.is_known(s, l.start)))
        .collect();
    let sockets: Vec<_> = sockets.into_iter().collect();
    for known in store.known_connections(&sockets).await? {
        facts.add_connection(known.socket, known.first, known.last);
    }
    Ok(facts)
}

/// Gives orphans their inferred parents: those among `calls`, and stored ones that these calls could have caused. Returns the
/// stored ones whose parent changed.
async fn infer_parents(
    store: &Store,
    closure: &Closure,
    calls: &mut [Call],
) -> Result<Vec<(Call, Call)>, StoreError> {
    let own: BTreeSet<CallId> = calls.iter().map(|c| c.id).chain(closure.replaced.keys().copied()).collect();
    let mut orphans = stored_orphans(store, closure, calls, &own).await?;
    let mut serving = Serving::default();
    let windows = calls
        .iter()
        .filter(|c| is_orphan(c))
        .chain(orphans.values())
        .filter_map(|o| Some((o.caller.key(), search_window(o)?)));
    serving.load(store, windows, calls, &own).await?;

    let adopted: Vec<Option<CallId>> = calls.iter().map(|c| serving.parent_of(c)).collect();
    for (call, parent) in calls.iter_mut().zip(adopted).filter(|(c, _)| is_orphan(c)) {
        call.parent_inferred = parent.is_some();
        call.parent_id = parent;
    }
    let mut changed = Vec::new();
    for orphan in std::mem::take(&mut orphans).into_values() {
        let parent = serving.parent_of(&orphan);
        if parent != orphan.parent_id {
            changed.push((
                Call { parent_inferred: parent.is_some(), parent_id: parent, ..orphan.clone() },
                orphan,
            ));
        }
    }
    Ok(changed)
}

/// Stored orphans that left while one of these calls, old or new, was being served by their caller.
async fn stored_orphans(
    store: &Store,
    closure: &Closure,
    calls: &[Call],
    own: &BTreeSet<CallId>,
) -> Result<BTreeMap<CallId, Call>, StoreError> {
    let mut spans: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    for call in calls.iter().chain(closure.replaced.values()).filter(|c| served_in_mesh(c)) {
        let span = spans.entry(call.callee.key()).or_insert((call.start, call.end()));
        *span = (span.0.min(call.start), span.1.max(call.end()));
    }
    let mut orphans = BTreeMap::new();
    for (identity, (from, to)) in spans {
        for orphan in store.orphans(&identity, from, to, ADOPTION_LIMIT).await? {
            if !own.contains(&orphan.id) {
                orphans.insert(orphan.id, orphan);
            }
        }
    }
    Ok(orphans)
}

fn served_in_mesh(call: &Call) -> bool {
    call.legs.iter().any(Leg::is_mesh_server)
}

/// Calls that were being served, by the identity that served them.
#[derive(Default)]
struct Serving {
    by_identity: BTreeMap<String, Vec<Call>>,
}

impl Serving {
    async fn load(
        &mut self,
        store: &Store,
        windows: impl Iterator<Item = (String, (Timestamp, Timestamp))>,
        calls: &[Call],
        own: &BTreeSet<CallId>,
    ) -> Result<(), StoreError> {
        let mut spans: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
        for (identity, (from, to)) in windows {
            let span = spans.entry(identity).or_insert((from, to));
            *span = (span.0.min(from), span.1.max(to));
        }
        for (identity, (from, to)) in spans {
            let mut served = store.calls_serving(&identity, from, to, 0, ADOPTION_LIMIT).await?;
            served.retain(|c| !own.contains(&c.id));
            served.extend(calls.iter().filter(|c| served_in_mesh(c) && c.callee.key() == identity).cloned());
            served.sort_by_key(|c| (c.start, c.id));
            self.by_identity.insert(identity, served);
        }
        Ok(())
    }

    fn parent_of(&self, orphan: &Call) -> Option<CallId> {
        adopt(orphan, self.by_identity.get(&orphan.caller.key())?)
    }
}

/// What must be written so that the store says what these calls say.
fn difference(closure: &Closure, calls: Vec<Call>, orphans: Vec<(Call, Call)>) -> Change {
    let mut measured: Coverage = Coverage::new();
    let mut change = Change::default();
    let kept: BTreeSet<CallId> = calls.iter().map(|c| c.id).collect();
    for old in closure.replaced.values() {
        coverage::count(&mut measured, old, -1);
        if !kept.contains(&old.id) {
            change.removed.push(old.id);
        }
    }
    for call in calls {
        coverage::count(&mut measured, &call, 1);
        if closure.replaced.get(&call.id) != Some(&call) {
            change.upserts.push(indexed(call));
        }
    }
    change.upserts.extend(orphans.into_iter().map(|(new, _)| indexed(new)));
    change.coverage = measured.into_iter().filter(|(_, counts)| *counts != [0; 4]).map(delta).collect();
    change
}

fn indexed(call: Call) -> IndexedCall {
    IndexedCall { keys: keys::of_call(&call), orphan: is_orphan(&call), call }
}

fn delta(((identity, hour), counts): ((String, Timestamp), coverage::Counts)) -> CoverageDelta {
    let [inbound_expected, inbound_seen, outbound_expected, outbound_seen] = counts;
    CoverageDelta { identity, hour, inbound_expected, inbound_seen, outbound_expected, outbound_seen }
}
