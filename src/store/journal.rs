//! The journal: what had been believed and is no longer. It is written with the change that takes it back and never changed, and
//! it stays when what is derived is thrown away.

use super::bulk::Target;
use super::calls::call_id;
use super::error::inconsistent;
use super::packed_leg::Code;
use super::select::HOLDS;
use super::statement::{Bind, Tx, stmt};
use super::{Change, Store, StoreError};
use crate::model::{CallId, JournalEntry, LegId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const ROWS: usize = 256;
const COLUMNS: &str = "call_id, now_id, at_us, delivery, what, finding, before, after, since_us";
const ENTRIES: Target = Target { table: "journal", columns: COLUMNS, on_conflict: "" };
const WIDTH: usize = 9;

/// Writes what of the change's drafts had been believed, before the rows that said so are replaced; and how far everything
/// has been derived, from which later changes tell what was believed.
/// `old`: the numbers of those rows.
pub(super) async fn write(
    tx: &mut Tx,
    change: &Change,
    old: &BTreeMap<CallId, i64>,
) -> Result<(), StoreError> {
    if !change.journal.is_empty() {
        let entries = believed(tx, change, old).await?;
        append(tx, entries.iter().map(EntryRow::from)).await?;
    }
    if change.reaches_end {
        let update = stmt("update journal_head set believed = ? where believed < ?");
        tx.execute(update.int(change.to as i64).int(change.to as i64)).await?;
    }
    Ok(())
}

/// Those entries whose old belief anybody could have been told.
async fn believed(
    tx: &mut Tx,
    change: &Change,
    old: &BTreeMap<CallId, i64>,
) -> Result<Vec<JournalEntry>, StoreError> {
    let rows: Vec<(i64,)> = tx.rows(stmt("select believed from journal_head")).await?;
    let head = rows.first().ok_or_else(|| inconsistent("journal_head", "its only row is missing"))?.0 as u64;
    // While old ground is derived again, nothing new is learnt.
    if change.from < head {
        return Ok(Vec::new());
    }
    let told: Vec<_> = change.journal.iter().filter(|d| d.known_by <= head).collect();
    let of_absence = told.iter().filter(|d| d.of_absence).filter_map(|d| old.get(&d.entry.call).copied());
    let of_absence: BTreeSet<i64> = of_absence.collect();
    let counted = counting(tx, &of_absence, told.first().map(|d| d.entry.at)).await?;
    let counts =
        |e: &JournalEntry| e.finding.is_some_and(|kind| counted.contains(&(e.call, kind.code().into())));
    Ok(told.into_iter().filter(|d| !d.of_absence || counts(&d.entry)).map(|d| d.entry.clone()).collect())
}

/// Which findings of the calls with these numbers count at a time: their kinds.
async fn counting(
    tx: &mut Tx,
    calls: &BTreeSet<i64>,
    at: Option<Timestamp>,
) -> Result<BTreeSet<(CallId, i64)>, StoreError> {
    let (Some(at), mut counting) = (at, BTreeSet::new()) else { return Ok(BTreeSet::new()) };
    let numbers: Vec<Bind> = calls.iter().copied().map(Bind::int).collect();
    for numbers in numbers.chunks(ROWS) {
        let mut select = stmt("select f.call_id, f.kind from finding f where f.number in ");
        select.push_list(numbers.to_vec());
        select.push(" and ", []);
        select.push(HOLDS, [Bind::int(at.micros())]);
        for (id, kind) in tx.rows::<(Vec<u8>, i64)>(select).await? {
            counting.insert((call_id(id)?, kind));
        }
    }
    Ok(counting)
}

impl Store {
    /// What was taken back of calls that were known by any of these ids, in the order in which it was written.
    pub async fn journal(&self, ids: &[LegId]) -> Result<Vec<JournalEntry>, StoreError> {
        let mut rows: Vec<(i64, JournalEntry)> = Vec::new();
        let ids: Vec<Bind> = ids.iter().map(|id| Bind::bytes(id.0)).collect();
        for ids in ids.chunks(ROWS) {
            let mut select = stmt(format!("select number, {COLUMNS} from journal where call_id in "));
            select.push_list(ids.to_vec());
            for row in self.rows::<JournalRow>(select).await? {
                rows.push((row.number, row.entry.entry()?));
            }
        }
        rows.sort_by_key(|(number, _)| *number);
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }
}

/// Entries after one, in their order.
pub(super) async fn after(tx: &mut Tx, number: i64, limit: usize) -> Result<Vec<JournalRow>, StoreError> {
    let select = format!("select number, {COLUMNS} from journal where number > ? order by number limit ?");
    tx.rows(stmt(select).int(number).int(limit as i64)).await
}

/// In their order; how many.
pub(super) async fn append(tx: &mut Tx, entries: impl Iterator<Item = EntryRow>) -> Result<u64, StoreError> {
    tx.insert(&ENTRIES, entries.flat_map(EntryRow::binds).collect()).await
}

/// The numbers are each database's own; the order is the same.
#[derive(sqlx::FromRow)]
pub(super) struct JournalRow {
    pub number: i64,
    #[sqlx(flatten)]
    pub entry: EntryRow,
}

#[derive(PartialEq, sqlx::FromRow)]
pub(super) struct EntryRow {
    call_id: Vec<u8>,
    now_id: Vec<u8>,
    at_us: i64,
    delivery: i64,
    what: String,
    finding: Option<String>,
    before: Option<String>,
    after: Option<String>,
    since_us: Option<i64>,
}

impl From<&JournalEntry> for EntryRow {
    fn from(e: &JournalEntry) -> Self {
        EntryRow {
            call_id: e.call.0.to_vec(),
            now_id: e.now.0.to_vec(),
            at_us: e.at.micros(),
            delivery: e.delivery as i64,
            what: e.what.as_str().to_owned(),
            finding: e.finding.map(|f| f.as_str().to_owned()),
            before: e.before.clone(),
            after: e.after.clone(),
            since_us: e.since.map(Timestamp::micros),
        }
    }
}

impl EntryRow {
    fn binds(self) -> [Bind; WIDTH] {
        [
            Bind::bytes(self.call_id),
            Bind::bytes(self.now_id),
            Bind::int(self.at_us),
            Bind::int(self.delivery),
            Bind::text(&self.what),
            Bind::maybe_text(self.finding.as_deref()),
            Bind::maybe_text(self.before.as_deref()),
            Bind::maybe_text(self.after.as_deref()),
            Bind::Int(self.since_us),
        ]
    }

    fn entry(self) -> Result<JournalEntry, StoreError> {
        let wrong = |e: String| inconsistent("journal", e);
        Ok(JournalEntry {
            call: call_id(self.call_id)?,
            now: call_id(self.now_id)?,
            at: Timestamp(self.at_us),
            delivery: self.delivery as u64,
            what: self.what.parse().map_err(wrong)?,
            finding: self.finding.map(|f| f.parse()).transpose().map_err(wrong)?,
            before: self.before,
            after: self.after,
            since: self.since_us.map(Timestamp),
        })
    }
}
