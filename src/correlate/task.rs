//! Carries the pure join along the committed evidence: reads deliveries, widens to everything that they can touch, assembles,
//! writes the difference with the new position. Its state can be lost at any moment: what is not written is derived again.

use super::assemble::pairing_slack_us;
use super::believed::taken_back;
use super::bygone;
use super::closure::Closure;
use super::difference::difference;
use super::facts::{CONNECTION_SLACK_US, Facts, connection_of};
use super::inferred::infer_parents;
use super::likeness::{rejoin, stored};
use super::listen::{self, Ear};
use super::{Rules, assemble};
use crate::decode::{DecodedDelivery, decode_delivery_in};
use crate::handover::{self, Handover};
use crate::model::{Call, Clock, CustomFormat, Leg, Timestamp};
use crate::store::{
    Change, Connection, DeliveryHead, Position, Store, StoreError, StoredDelivery, StoredReject,
};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

/// Lines derived in one transaction: enough to share a statement, few enough to be seen soon.
const LINES_PER_STEP: usize = 10_000;
/// Pause before the database is tried again when it was not available.
const RETRY: Duration = Duration::from_millis(500);
/// Likeness is weighed by whole minutes: not for each delivery again.
const WEIGH_EVERY: Duration = Duration::from_secs(20);
/// Where deliveries never cease, it is weighed between them after this long.
const WEIGH_AT_LATEST_US: i64 = 60_000_000;

/// When likeness is weighed next.
struct Weighing {
    /// Where nothing else is to do.
    from: Instant,
    /// When it had all been weighed.
    done_at: Timestamp,
    /// A step has been made since: deliveries and minutes take turns.
    stepped: bool,
}

impl Weighing {
    fn overdue(&self, now: Timestamp) -> bool {
        self.stepped && now.0 - self.done_at.0 >= WEIGH_AT_LATEST_US
    }

    /// `more`: something is left to be weighed.
    fn weighed(&mut self, more: bool, now: Timestamp) {
        self.from = Instant::now() + if more { Duration::ZERO } else { WEIGH_EVERY };
        self.stepped = false;
        if !more {
            self.done_at = now;
        }
    }
}

/// Derives what is committed meanwhile, until nobody commits any more and the end is reached. For `import`: nobody is told anything on
/// the way there, so that full steps are waited for.
pub async fn keep_up(
    store: &Store,
    rules: &Rules,
    clock: &dyn Clock,
    mut committed: watch::Receiver<u64>,
    handover: &Handover,
) -> Result<(), StoreError> {
    let store = store.deriving();
    let mut office = Derivation::begin(&store, rules, clock, handover).await?;
    loop {
        committed.mark_unchanged();
        // Whoever is held back sends no more before something is derived.
        while office.step(if handover.holds_back() { 0 } else { LINES_PER_STEP }).await? {}
        tokio::select! {
            // Closed when the writer has ended.
            changed = committed.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(handover::LOOK_AGAIN) => {}
        }
    }
    office.finish().await
}

/// Derives until the evidence's end has been reached, then returns. For `rebuild` and tests.
pub async fn catch_up(store: &Store, rules: &Rules, clock: &dyn Clock) -> Result<(), StoreError> {
    let (store, handover) = (store.deriving(), Handover::default());
    Derivation::begin(&store, rules, clock, &handover).await?.finish().await
}

/// Runs until `stop` says so: derives whenever `committed` moves on; retries when the database is not available; starts again
/// when fenced.
pub async fn run(
    store: Store,
    rules: Rules,
    clock: impl Clock,
    mut committed: watch::Receiver<u64>,
    handover: Handover,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let store = store.deriving();
    let mut office: Option<Derivation> = None;
    let mut weighing = Weighing { from: Instant::now(), done_at: clock.now(), stepped: false };
    loop {
        committed.mark_unchanged();
        let advanced = async {
            let mut held = match office.take() {
                Some(held) => held,
                None => Derivation::begin(&store, &rules, &clock, &handover).await?,
            };
            let more = held.step_or_weigh(&mut weighing).await;
            match &more {
                Ok(_) => office = Some(held),
                // Whatever was under way is given up: the next turn takes the office again and reads where it stands.
                Err(_) => held.give_up().await,
            }
            more
        };
        let outcome = advanced.await;
        let wait = async {
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    // A closed channel means that no writer is left; the stop signal then ends the loop.
                    let changed = async {
                        if committed.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    };
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(weighing.from) => {}
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
            () = &mut stop => break,
        }
    }
    // The office is left and the store closed after this: nothing must be on its way then.
    if let Some(held) = office {
        held.give_up().await;
    }
}

/// The correlator's office, its place in the evidence, and what it is writing: the legs of a step are joined while the calls of the
/// step before go into the database.
struct Derivation<'a> {
    store: &'a Store,
    rules: &'a Rules,
    /// Tells when beliefs were taken back, nothing else.
    clock: &'a dyn Clock,
    handover: &'a Handover,
    position: Position,
    writing: Option<JoinHandle<Result<(), StoreError>>>,
}

impl<'a> Derivation<'a> {
    /// Puts the rules in force and takes the correlator's place in the evidence.
    async fn begin(
        store: &'a Store,
        rules: &'a Rules,
        clock: &'a dyn Clock,
        handover: &'a Handover,
    ) -> Result<Self, StoreError> {
        store.declare(rules.longest_grace_us(), &listen::declared(rules)).await?;
        let position = store.take_correlator().await?;
        // What waits may have been derived by whoever held the office before.
        handover.clear();
        Ok(Derivation { store, rules, clock, handover, position, writing: None })
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        while self.step(0).await? {}
        while self.weigh().await? {}
        Ok(())
    }

    /// One step; true when there may be more to do at once.
    async fn step_or_weigh(&mut self, weighing: &mut Weighing) -> Result<bool, StoreError> {
        let overdue = weighing.overdue(self.clock.now());
        if !overdue && self.step(0).await? {
            weighing.stepped = true;
            return Ok(true);
        }
        if !overdue && Instant::now() < weighing.from {
            return Ok(false);
        }
        let more = self.weigh().await?;
        weighing.weighed(more, self.clock.now());
        Ok(more || overdue)
    }

    async fn weigh(&mut self) -> Result<bool, StoreError> {
        self.written().await?;
        stored::weigh(self.store, self.rules, self.clock, self.position).await
    }

    /// Waits until the last step is in the database.
    async fn written(&mut self) -> Result<(), StoreError> {
        match self.writing.take() {
            Some(writing) => {
                writing.await.map_err(|e| StoreError::Other(format!("writing a step ended early: {e}")))?
            }
            None => Ok(()),
        }
    }

    /// What was being written has then been written, or never will be: nothing of it comes after the office is taken again.
    async fn give_up(mut self) {
        if let Err(error) = self.written().await {
            tracing::debug!(%error, "the step before was not written either");
        }
    }

    /// Derives the next deliveries and begins to write what they come to. False when there are none, or not `least_lines` in them:
    /// then all that was derived has been written.
    async fn step(&mut self, least_lines: usize) -> Result<bool, StoreError> {
        let (store, rules, at) = (self.store, self.rules, self.position);
        let heads = store.delivery_heads_after(at.number, LINES_PER_STEP).await?;
        let lines = heads.iter().map(|head| head.line_count as usize).sum::<usize>();
        let Some(last) = heads.last().map(|head| head.number).filter(|_| lines >= least_lines) else {
            self.written().await?;
            return Ok(false);
        };
        let counted = store.bygone().await?.counted;
        let Decoded { legs, rejects, ear } =
            decoded(store, heads, self.handover, &rules.formats, counted).await?;
        let connecting = spawn_blocking({
            let legs = legs.clone();
            move || connections(&legs)
        });
        let closure = Closure::around(store, legs, pairing_slack_us(rules)).await?;
        let facts = gather_facts(store, &closure).await?;
        let (mut calls, closure, facts) = assemble_apart(closure, facts, rules.clone()).await?;
        rejoin::again(&closure.replaced, &mut calls, &facts, rules);

        // What follows is asked of the database alone. What had been removed by now may have been missing above.
        self.written().await?;
        let bygone = store.bygone().await?;
        let changed_orphans = infer_parents(store, &closure.replaced, &mut calls).await?;
        bygone::withhold(&closure.replaced, &mut calls, bygone.calls_before);
        let now = self.clock.now();
        let differing = spawn_blocking(move || {
            let journal = taken_back(&closure.replaced, &calls, now, last);
            Change { journal, ..difference(&closure, calls, changed_orphans, &facts) }
        });
        let mut change = ended(differing).await?;
        change.reaches_end = lines < LINES_PER_STEP;
        ear.tell(store, &mut change.heard).await?;
        (change.rejects, change.connections) = (rejects, ended(connecting).await?);
        (change.epoch, change.from, change.to) = (at.epoch, at.number, last);
        self.writing = Some(store.begin_to_apply(change));
        self.position.number = last;
        Ok(true)
    }
}

/// Assembles off the threads that serve requests: a large trace must not hold up an answer.
async fn assemble_apart(
    mut closure: Closure,
    facts: Facts,
    rules: Rules,
) -> Result<(Vec<Call>, Closure, Facts), StoreError> {
    ended(spawn_blocking(move || {
        let legs = std::mem::take(&mut closure.legs);
        (assemble(legs, &facts, &rules), closure, facts)
    }))
    .await
}

/// What was worked out on another thread.
async fn ended<T>(work: JoinHandle<T>) -> Result<T, StoreError> {
    work.await.map_err(|e| StoreError::Other(format!("a step ended early: {e}")))
}

struct Decoded {
    legs: Vec<Leg>,
    rejects: Vec<StoredReject>,
    ear: Ear,
}

/// What the deliveries come to: handed over, else decoded from the evidence.
async fn decoded(
    store: &Store,
    heads: Vec<DeliveryHead>,
    handover: &Handover,
    formats: &[CustomFormat],
    counted: u64,
) -> Result<Decoded, StoreError> {
    let handed: Vec<_> =
        heads.iter().map(|head| handover.take(&head.id, head.number, head.received_at)).collect();
    let missing = heads.iter().zip(&handed).filter(|(_, handed)| handed.is_none());
    let stored = store.with_lines(missing.map(|(head, _)| head.clone()).collect()).await?;
    let formats = formats.to_vec();
    ended(spawn_blocking(move || {
        let decode = |d: &StoredDelivery| decode_delivery_in(&d.delivery, d.number, &formats);
        let mut stored = stored.par_iter().map(decode).collect::<Vec<_>>().into_iter();
        let mut all = Decoded { legs: Vec::new(), rejects: Vec::new(), ear: Ear::default() };
        for (head, handed) in heads.iter().zip(handed) {
            all.add(head, handed.or_else(|| stored.next()).unwrap_or_default(), counted);
        }
        all
    }))
    .await
}

impl Decoded {
    fn add(&mut self, head: &DeliveryHead, decoded: DecodedDelivery, counted: u64) {
        self.ear.hear(head, &decoded, head.number <= counted);
        let DecodedDelivery { legs, rejects, .. } = decoded;
        self.legs.extend(legs);
        self.rejects.extend(rejects.into_iter().map(|(line, reject)| StoredReject {
            delivery: head.number,
            line,
            source: head.source.clone(),
            received_at: head.received_at,
            reason: reject.reason,
            detail: reject.detail,
        }));
    }
}

/// What the client legs tell about their connections, in as few spans of use as that takes.
fn connections(legs: &[Leg]) -> Vec<Connection> {
    let mut uses: Vec<_> = legs.iter().filter_map(connection_of).collect();
    uses.sort_unstable();
    let mut spans: Vec<Connection> = Vec::new();
    for (socket, holder, first, last) in uses {
        let goes_on = |span: &Connection| {
            span.socket == *socket && span.holder == holder && first <= span.last.plus_us(CONNECTION_SLACK_US)
        };
        match spans.last_mut() {
            Some(span) if goes_on(span) => {
                span.last = span.last.max(last);
            }
            _ => spans.push(Connection { socket: socket.clone(), holder, first, last }),
        }
    }
    spans
}

/// The connections that the closure's own client legs tell, and those that the store knows for server legs without one.
pub(super) async fn gather_facts(store: &Store, closure: &Closure) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    facts.add_legs(&closure.legs);
    let sockets: BTreeSet<_> = closure
        .legs
        .iter()
        .filter(|l| l.is_mesh_server())
        .filter_map(|l| l.socket.clone().filter(|s| !facts.is_known(s, l.start, &l.peer)))
        .collect();
    let sockets: Vec<_> = sockets.into_iter().collect();
    for known in store.known_connections(&sockets).await? {
        facts.add_connection(known.socket, known.holder, known.first, known.last);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_deliveries_never_cease_likeness_takes_turns_with_them_until_all_is_weighed() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let mut weighing = Weighing { from: Instant::now(), done_at: at(0), stepped: true };
        assert!(!weighing.overdue(at(59)) && weighing.overdue(at(60)));
        weighing.weighed(true, at(60));
        assert!(!weighing.overdue(at(61)), "deliveries are next");
        weighing.stepped = true;
        assert!(weighing.overdue(at(61)));
        weighing.weighed(false, at(61));
        weighing.stepped = true;
        assert!(!weighing.overdue(at(120)) && weighing.overdue(at(121)));
    }
}
