//! What follows from evidence, written with the correlator's position or not at all.
//!
//! The first statement moves the position under its epoch and so locks the correlator's row: whoever has lost the office finds
//! no such row and stops there. Rows that are replaced are read first, for the keys and findings to be taken away and for the
//! counts, which nobody else can change meanwhile.

use super::error::inconsistent;
use super::statement::{Bind, Stmt, Tx, insert, stmt};
use super::{
    Change, CoverageDelta, IndexedCall, Position, Store, StoreError, StoredReject, connections, heard,
    index_text, journal, packed,
};
use crate::model::{Call, CallId, Effect, Finding, LegId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows per statement. On SQLite 512 take about two thirds of the time that 64 take.
const ROWS: usize = 512;
/// Ids per `in` list.
const IDS: usize = 512;

impl Store {
    /// Takes the correlator's office: raises the epoch, so that whoever held it before is fenced.
    pub async fn take_correlator(&self) -> Result<Position, StoreError> {
        let mut tx = self.begin().await?;
        let position =
            raise_epoch(&mut tx, "update correlator set epoch = epoch + 1 returning position, epoch").await?;
        tx.commit().await?;
        Ok(position)
    }

    /// Throws everything derived away and sets the position to 0, under a new epoch.
    pub async fn reset_derived(&self) -> Result<Position, StoreError> {
        let mut tx = self.begin().await?;
        let reset = "update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, \
                     reject_count = 0, heard_us = 0 returning position, epoch";
        let position = raise_epoch(&mut tx, reset).await?;
        for delete in [
            "delete from call",
            "delete from call_key",
            "delete from finding",
            "delete from reject",
            "delete from connection",
            "delete from coverage",
            "delete from source",
            "delete from observer",
            "delete from reporter",
            "delete from pulse",
            "delete from blind_window where reason = 'silent'",
        ] {
            tx.execute(stmt(delete)).await?;
        }
        tx.commit().await?;
        Ok(position)
    }

    /// All of the change and the new position, or nothing. `Fenced` when the epoch or the position is not the change's.
    pub async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        let upserts: BTreeMap<CallId, &IndexedCall> = change.upserts.iter().map(|u| (u.call.id, u)).collect();
        let rows = CallRows::of(&upserts)?;
        let mut tx = self.begin_derived().await?;
        move_position(&mut tx, change).await?;
        journal::write(&mut tx, change).await?;
        let old = old_calls(&mut tx, &upserts, &change.removed).await?;
        let removed: Vec<CallId> = old.keys().filter(|id| !upserts.contains_key(id)).copied().collect();
        let findings = replace_findings(&mut tx, &old, &rows.findings).await?;
        delete_calls(&mut tx, &removed).await?;
        delete_keys(&mut tx, &old, &upserts).await?;
        let calls = upserts.len() as i64 - old.len() as i64;
        tx.execute_all(rows.statements(&old, &upserts)).await?;
        let rejects = tx.execute_all(reject_rows(&change.rejects)).await? as i64;
        connections::add(&mut tx, &change.connections).await?;
        tx.execute_all(coverage_rows(&change.coverage)).await?;
        heard::add(&mut tx, &change.heard).await?;
        let count = "update correlator set call_count = call_count + ?, finding_count = finding_count + ?, \
                     reject_count = reject_count + ?";
        tx.execute(stmt(count).int(calls).int(findings).int(rejects)).await?;
        tx.commit().await
    }
}

async fn raise_epoch(tx: &mut Tx, update: &'static str) -> Result<Position, StoreError> {
    let rows: Vec<(i64, i64)> = tx.rows(stmt(update)).await?;
    let (number, epoch) =
        rows.into_iter().next().ok_or_else(|| inconsistent("correlator", "its only row is missing"))?;
    Ok(Position { number: number as u64, epoch: epoch as u64 })
}

async fn move_position(tx: &mut Tx, change: &Change) -> Result<(), StoreError> {
    let update = stmt("update correlator set position = ? where epoch = ? and position = ?");
    let update = update.int(change.to as i64).int(change.epoch as i64).int(change.from as i64);
    match tx.execute(update).await? {
        0 => Err(StoreError::Fenced),
        _ => Ok(()),
    }
}

/// Those of the calls that are stored, with the keys under which they stand.
async fn old_calls(
    tx: &mut Tx,
    upserts: &BTreeMap<CallId, &IndexedCall>,
    removed: &[CallId],
) -> Result<BTreeMap<CallId, BTreeSet<i64>>, StoreError> {
    let ids: BTreeSet<CallId> = upserts.keys().chain(removed).copied().collect();
    let ids: Vec<CallId> = ids.into_iter().collect();
    let mut old = BTreeMap::new();
    for ids in ids.chunks(IDS) {
        let mut select = stmt("select id, keys from call where id in ");
        select.push_list(id_binds(ids));
        for (id, keys) in tx.rows::<(Vec<u8>, Vec<u8>)>(select).await? {
            let id = id.try_into().map_err(|_| inconsistent("call", "an id is not 16 bytes long"))?;
            let (keys, _) = keys.as_chunks::<8>();
            old.insert(LegId(id), keys.iter().map(|k| i64::from_be_bytes(*k)).collect());
        }
    }
    Ok(old)
}

fn id_binds(ids: &[CallId]) -> Vec<Bind> {
    ids.iter().map(|id| Bind::bytes(id.0)).collect()
}

/// Writes the findings that are not stored yet and takes away those that hold no longer; how many more there are now.
async fn replace_findings(
    tx: &mut Tx,
    old: &BTreeMap<CallId, BTreeSet<i64>>,
    new: &BTreeSet<FindingRow>,
) -> Result<i64, StoreError> {
    let ids: Vec<CallId> = old.keys().copied().collect();
    let mut stored: BTreeSet<FindingRow> = BTreeSet::new();
    for ids in ids.chunks(IDS) {
        let mut select = stmt(SELECT_FINDING);
        select.push_list(id_binds(ids));
        stored.extend(tx.rows::<FindingRow>(select).await?);
    }
    let gone: Vec<[Bind; 2]> =
        stored.difference(new).map(|row| [Bind::bytes(row.0.as_slice()), Bind::int(row.1)]).collect();
    delete_pairs(tx, "delete from finding where (call_id, ordinal) in (values ", gone).await?;
    let added = new.difference(&stored).flat_map(finding_binds).collect();
    tx.execute_all(insert(INSERT_FINDING, FINDING_WIDTH, added, ROWS, "")).await?;
    Ok(new.len() as i64 - stored.len() as i64)
}

async fn delete_pairs(tx: &mut Tx, delete: &'static str, pairs: Vec<[Bind; 2]>) -> Result<(), StoreError> {
    for pairs in pairs.chunks(ROWS) {
        let mut delete = stmt(delete);
        delete.push(&vec!["(?, ?)"; pairs.len()].join(", "), pairs.iter().flatten().cloned());
        delete.push(")", []);
        tx.execute(delete).await?;
    }
    Ok(())
}

async fn delete_calls(tx: &mut Tx, ids: &[CallId]) -> Result<(), StoreError> {
    for ids in ids.chunks(IDS) {
        let mut delete = stmt("delete from call where id in ");
        delete.push_list(id_binds(ids));
        tx.execute(delete).await?;
    }
    Ok(())
}

/// Keys that a call stood under and stands under no longer.
async fn delete_keys(
    tx: &mut Tx,
    old: &BTreeMap<CallId, BTreeSet<i64>>,
    upserts: &BTreeMap<CallId, &IndexedCall>,
) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    for (id, keys) in old {
        let kept = upserts.get(id).map(|u| all_keys(u)).unwrap_or_default();
        gone.extend(keys.difference(&kept).map(|key| [Bind::int(*key), Bind::bytes(id.0)]));
    }
    delete_pairs(tx, "delete from call_key where (key, call_id) in (values ", gone).await
}

/// The key under which a call is found by the id of one of its legs: ids are hashes, so their beginning will do.
pub(super) fn leg_key(id: &CallId) -> i64 {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&id.0[..8]);
    i64::from_be_bytes(beginning)
}

/// The correlator's keys, and one for each id that the call has or had.
fn all_keys(indexed: &IndexedCall) -> BTreeSet<i64> {
    let ids = indexed.call.legs.iter().map(|leg| &leg.id).chain([&indexed.call.id]);
    indexed.keys.iter().copied().chain(ids.map(leg_key)).collect()
}

const CALL_WIDTH: usize = 18;
const FINDING_WIDTH: usize = 10;

/// The rows of calls and findings, made before the transaction begins.
struct CallRows {
    calls: Vec<Bind>,
    findings: BTreeSet<FindingRow>,
}

/// Call id, ordinal, kind, severity, start, its hour, the call's end, when it was raised, who was silent, which instance of it.
type FindingRow = (Vec<u8>, i64, String, String, i64, i64, i64, i64, Option<String>, Option<String>);

impl CallRows {
    fn of(upserts: &BTreeMap<CallId, &IndexedCall>) -> Result<Self, StoreError> {
        let mut rows =
            CallRows { calls: Vec::with_capacity(upserts.len() * CALL_WIDTH), findings: BTreeSet::new() };
        for indexed in upserts.values() {
            rows.calls.extend(call_row(indexed)?);
            for (ordinal, finding) in (0..).zip(&indexed.call.findings) {
                rows.findings.insert(finding_row(&indexed.call, ordinal, finding));
            }
        }
        Ok(rows)
    }

    fn statements(
        self,
        old: &BTreeMap<CallId, BTreeSet<i64>>,
        upserts: &BTreeMap<CallId, &IndexedCall>,
    ) -> Vec<Stmt> {
        let mut keys = Vec::new();
        for (id, indexed) in upserts {
            let stored = old.get(id);
            let new = all_keys(indexed).into_iter().filter(|key| stored.is_none_or(|s| !s.contains(key)));
            keys.extend(new.flat_map(|key| [Bind::int(key), Bind::bytes(id.0)]));
        }
        let mut statements = insert(INSERT_CALL, CALL_WIDTH, self.calls, ROWS, REPLACE_CALL);
        statements.extend(insert("insert into call_key (key, call_id)", 2, keys, ROWS, ""));
        statements
    }
}

const INSERT_CALL: &str = "insert into call (id, start_us, end_us, settles_at_us, trace_id, caller_key, caller_name, \
     callee_key, callee_name, principal_subject, effect, basis, status_class, failed, duration_us, orphan, keys, packed)";
const REPLACE_CALL: &str = " on conflict (id) do update set start_us = excluded.start_us, end_us = excluded.end_us, \
     settles_at_us = excluded.settles_at_us, trace_id = excluded.trace_id, caller_key = excluded.caller_key, \
     caller_name = excluded.caller_name, callee_key = excluded.callee_key, callee_name = excluded.callee_name, \
     principal_subject = excluded.principal_subject, effect = excluded.effect, basis = excluded.basis, \
     status_class = excluded.status_class, failed = excluded.failed, duration_us = excluded.duration_us, \
     orphan = excluded.orphan, keys = excluded.keys, packed = excluded.packed";
const SELECT_FINDING: &str = "select call_id, ordinal, kind, severity, start_us, hour_us, end_us, raised_at_us, \
     absent_observer, absent_instance from finding where call_id in ";
const INSERT_FINDING: &str = "insert into finding (call_id, ordinal, kind, severity, start_us, hour_us, end_us, raised_at_us, \
     absent_observer, absent_instance)";

fn call_row(indexed: &IndexedCall) -> Result<[Bind; CALL_WIDTH], StoreError> {
    let call = &indexed.call;
    let subject = call.principal.as_ref().map(|p| index_text(&p.principal.subject));
    let keys: Vec<u8> = all_keys(indexed).into_iter().flat_map(i64::to_be_bytes).collect();
    Ok([
        Bind::bytes(call.id.0),
        Bind::int(call.start.micros()),
        Bind::int(call.end().micros()),
        Bind::int(call.settles_at.micros()),
        Bind::Bytes(call.trace_id.map(|id| id.0.to_vec())),
        Bind::text(&index_text(&call.caller.key())),
        Bind::text(&index_text(&call.caller.name)),
        Bind::text(&index_text(&call.callee.key())),
        Bind::text(&index_text(&call.callee.name)),
        Bind::maybe_text(subject.as_deref()),
        Bind::maybe_text(call.effect().map(Effect::as_str)),
        Bind::text(call.basis.as_str()),
        Bind::text(call.outcome.status_class()),
        Bind::int(call.failed().into()),
        Bind::Int(call.outcome.duration_us),
        Bind::int(indexed.orphan.into()),
        Bind::bytes(keys),
        Bind::bytes(packed::pack(call)?),
    ])
}

fn finding_row(call: &Call, ordinal: i64, finding: &Finding) -> FindingRow {
    (
        call.id.0.to_vec(),
        ordinal,
        finding.kind.to_string(),
        finding.severity.to_string(),
        call.start.micros(),
        call.start.hour().micros(),
        call.end().micros(),
        finding.raised_at.micros(),
        finding.absent_observer.as_deref().map(|o| index_text(o).into_owned()),
        finding.absent_instance.as_deref().map(|o| index_text(o).into_owned()),
    )
}

fn finding_binds(
    (id, ordinal, kind, severity, start, hour, end, raised_at, absent, instance): &FindingRow,
) -> [Bind; FINDING_WIDTH] {
    [
        Bind::bytes(id.as_slice()),
        Bind::int(*ordinal),
        Bind::text(kind),
        Bind::text(severity),
        Bind::int(*start),
        Bind::int(*hour),
        Bind::int(*end),
        Bind::int(*raised_at),
        Bind::maybe_text(absent.as_deref()),
        Bind::maybe_text(instance.as_deref()),
    ]
}

fn reject_rows(rejects: &[StoredReject]) -> Vec<Stmt> {
    let rows = rejects.iter().flat_map(|r| {
        [
            Bind::int(r.delivery as i64),
            Bind::int(r.line.into()),
            Bind::text(&r.source),
            Bind::int(r.received_at.micros()),
            Bind::text(r.reason.as_str()),
            Bind::text(&r.detail),
        ]
    });
    let head = "insert into reject (delivery, line, source, received_at_us, reason, detail)";
    insert(head, 6, rows.collect(), ROWS, " on conflict do nothing")
}

fn coverage_rows(deltas: &[CoverageDelta]) -> Vec<Stmt> {
    let mut merged: HashMap<(String, i64), [i64; 4]> = HashMap::new();
    for d in deltas {
        let sums = merged.entry((index_text(&d.identity).into_owned(), d.hour.micros())).or_default();
        let delta = [d.inbound_expected, d.inbound_seen, d.outbound_expected, d.outbound_seen];
        sums.iter_mut().zip(delta).for_each(|(sum, delta)| *sum += delta);
    }
    let rows = merged.into_iter().filter(|(_, sums)| *sums != [0; 4]).flat_map(|((identity, hour), sums)| {
        [Bind::text(&identity), Bind::int(hour)].into_iter().chain(sums.map(Bind::int))
    });
    let head = "insert into coverage (identity, hour_us, inbound_expected, inbound_seen, outbound_expected, outbound_seen)";
    let tail = " on conflict (identity, hour_us) do update set \
                inbound_expected = coverage.inbound_expected + excluded.inbound_expected, \
                inbound_seen = coverage.inbound_seen + excluded.inbound_seen, \
                outbound_expected = coverage.outbound_expected + excluded.outbound_expected, \
                outbound_seen = coverage.outbound_seen + excluded.outbound_seen";
    insert(head, 6, rows.collect(), ROWS, tail)
}
