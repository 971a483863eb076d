//! A change's calls, keys and findings as rows. A call that changes is written anew under the next number.

use super::bulk::Target;
use super::key_run::{Pair, short};
use super::packed_leg::Code;
use super::party::Party;
use super::statement::{Bind, Tx};
use super::{IndexedCall, StoreError, index_text};
use crate::model::{Call, CallId, Finding, Identity, IdentityKind, SpiffeId, TraceId};
use std::collections::{BTreeMap, HashMap};

/// Calls are written together in buckets of 65,536.
pub(super) const BUCKET_BITS: u32 = 16;
const CALL_WIDTH: usize = 15;
const FINDING_WIDTH: usize = 13;
const CALLS: Target = Target {
    table: "call",
    columns: "number, bucket, id, start_us, lasted_us, caller, callee, principal, effect, basis, status_class, failed, \
        duration_us, orphan, packed",
    on_conflict: "",
};
const FINDINGS: Target = Target {
    table: "finding",
    columns: "number, ordinal, call_id, kind, severity, caller, callee, start_us, hour_us, end_us, raised_at_us, \
        absent_observer, absent_instance",
    on_conflict: "",
};
const BUCKETS: Target = Target {
    table: "bucket",
    columns: "bucket, first_start_us, last_start_us",
    on_conflict: " on conflict (bucket) do update set \
        first_start_us = case when excluded.first_start_us < bucket.first_start_us \
        then excluded.first_start_us else bucket.first_start_us end, \
        last_start_us = case when excluded.last_start_us > bucket.last_start_us \
        then excluded.last_start_us else bucket.last_start_us end",
};

/// The key under which a call is found by the id of one of its legs: ids are hashes, so their beginning will do.
pub(super) fn leg_key(id: &CallId) -> i64 {
    beginning(&id.0)
}

/// The key under which the calls of a trace are found. Turned, so that no leg's id begins as a trace's does.
pub(super) fn trace_key(id: &TraceId) -> i64 {
    beginning(&id.0).rotate_left(1) ^ 0x7472_6163
}

fn beginning(bytes: &[u8; 16]) -> i64 {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&bytes[..8]);
    i64::from_be_bytes(beginning)
}

/// The correlator's keys, one for each id that the call has or had, and its trace's.
pub(super) fn pairs_of(indexed: &IndexedCall, number: i64) -> impl Iterator<Item = Pair> {
    let call = &indexed.call;
    let ids = call.legs.iter().map(|leg| &leg.id).chain([&call.id]).map(leg_key);
    let keys = indexed.keys.iter().copied().chain(ids).chain(call.trace_id.as_ref().map(trace_key));
    keys.map(move |key| (short(key), number))
}

/// Whoever the calls name, each once, and for each call the places of its caller, callee and principal among them.
pub(super) struct Named {
    pub parties: Vec<Party>,
    of_calls: Vec<[Option<usize>; 3]>,
}

/// A party as a call names it.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Identity(IdentityKind, &'a str, Option<&'a SpiffeId>),
    Principal(&'a str),
}

impl Named {
    pub(super) fn of<'a>(upserts: impl Iterator<Item = &'a IndexedCall>) -> Named {
        let (mut named, mut places) = (Named { parties: Vec::new(), of_calls: Vec::new() }, HashMap::new());
        let mut by_party: HashMap<Party, usize> = HashMap::new();
        let mut place_of = |name: Name<'a>, party: &dyn Fn() -> Party| {
            *places.entry(name).or_insert_with(|| {
                // Two names may come to one party.
                let next = by_party.len();
                *by_party.entry(party()).or_insert(next)
            })
        };
        for indexed in upserts {
            let call = &indexed.call;
            let mut of = |identity: &'a Identity| {
                let name = Name::Identity(identity.kind, &identity.name, identity.spiffe_id.as_ref());
                place_of(name, &|| Party::of(identity))
            };
            let (caller, callee) = (of(&call.caller), of(&call.callee));
            let principal = call.principal.as_ref().map(|p| p.principal.subject.as_str());
            let principal = principal.map(|p| place_of(Name::Principal(p), &|| Party::of_principal(p)));
            named.of_calls.push([Some(caller), Some(callee), principal]);
        }
        let mut parties: Vec<(Party, usize)> = by_party.into_iter().collect();
        parties.sort_unstable_by_key(|(_, place)| *place);
        named.parties = parties.into_iter().map(|(party, _)| party).collect();
        named
    }

    /// For each call the numbers of its caller, callee and principal.
    fn numbers<'a>(
        &'a self,
        numbers: &'a HashMap<Party, i64>,
    ) -> impl Iterator<Item = [Option<i64>; 3]> + 'a {
        let numbers: Vec<Option<i64>> =
            self.parties.iter().map(|party| numbers.get(party).copied()).collect();
        self.of_calls.iter().map(move |places| places.map(|place| place.and_then(|place| numbers[place])))
    }
}

/// Digit of a status class; 0 where no status was seen.
fn status_class(call: &Call) -> i64 {
    call.outcome.status.map(|s| i64::from(s / 100)).filter(|class| (1..=5).contains(class)).unwrap_or(0)
}

pub(super) struct CallRows {
    calls: Vec<Bind>,
    findings: Vec<Bind>,
    buckets: BTreeMap<i64, (i64, i64)>,
    pub pairs: Vec<Pair>,
}

impl CallRows {
    /// `packed`: the calls as bytes, in the order of the upserts.
    pub(super) fn of(
        upserts: &BTreeMap<CallId, &IndexedCall>,
        packed: Vec<Vec<u8>>,
        named: &Named,
        parties: &HashMap<Party, i64>,
        first_number: i64,
    ) -> CallRows {
        let mut rows = CallRows {
            calls: Vec::with_capacity(upserts.len() * CALL_WIDTH),
            findings: Vec::new(),
            buckets: BTreeMap::new(),
            pairs: Vec::with_capacity(upserts.len() * 10),
        };
        let upserts = (first_number..).zip(upserts.values()).zip(packed);
        for (((number, indexed), packed), parties) in upserts.zip(named.numbers(parties)) {
            rows.add(number, indexed, packed, parties);
        }
        rows
    }

    fn add(&mut self, number: i64, indexed: &IndexedCall, packed: Vec<u8>, parties: [Option<i64>; 3]) {
        let call = &indexed.call;
        let [caller, callee, principal] = parties;
        let (caller, callee) = (caller.unwrap_or(0), callee.unwrap_or(0));
        let (start_us, bucket) = (call.start.micros(), number >> BUCKET_BITS);
        self.calls.extend([
            Bind::int(number),
            Bind::int(bucket),
            Bind::bytes(call.id.0),
            Bind::int(start_us),
            Bind::int(call.end().micros().saturating_sub(start_us)),
            Bind::int(caller),
            Bind::int(callee),
            Bind::Int(principal),
            Bind::Int(call.effect().map(|effect| effect.code().into())),
            Bind::int(call.basis.code().into()),
            Bind::int(status_class(call)),
            Bind::int(call.failed().into()),
            Bind::Int(call.outcome.duration_us),
            Bind::int(indexed.orphan.into()),
            Bind::bytes(packed),
        ]);
        for (ordinal, finding) in (0..).zip(&call.findings) {
            self.findings.extend(finding_row(call, [number, ordinal, caller, callee], finding));
        }
        let range = self.buckets.entry(bucket).or_insert((start_us, start_us));
        *range = (range.0.min(start_us), range.1.max(start_us));
        self.pairs.extend(pairs_of(indexed, number));
    }

    pub(super) fn findings(&self) -> i64 {
        (self.findings.len() / FINDING_WIDTH) as i64
    }

    pub(super) async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        tx.insert(&CALLS, self.calls).await?;
        tx.insert(&FINDINGS, self.findings).await?;
        let buckets = self.buckets.into_iter().flat_map(|(b, (first, last))| [b, first, last]);
        tx.insert(&BUCKETS, buckets.map(Bind::int).collect()).await?;
        Ok(())
    }
}

fn finding_row(
    call: &Call,
    [number, ordinal, caller, callee]: [i64; 4],
    finding: &Finding,
) -> [Bind; FINDING_WIDTH] {
    let observer = |o: &Option<String>| Bind::maybe_text(o.as_deref().map(index_text).as_deref());
    [
        Bind::int(number),
        Bind::int(ordinal),
        Bind::bytes(call.id.0),
        Bind::int(finding.kind.code().into()),
        Bind::int(finding.severity.code().into()),
        Bind::int(caller),
        Bind::int(callee),
        Bind::int(call.start.micros()),
        Bind::int(call.start.hour().micros()),
        Bind::int(call.end().micros()),
        Bind::int(finding.raised_at.micros()),
        observer(&finding.absent_observer),
        observer(&finding.absent_instance),
    ]
}
