//! What was derived, from one database to another, row by row: where lines have been removed it cannot be derived again there.
//!
//! The correlator's position is written last: broken off before that, the next run begins anew.

use super::bulk::Target;
use super::cells::Cells;
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError};

/// Deliveries whose lines are removed in one step.
const DELIVERIES: i64 = 256;

struct Table {
    target: Target,
    /// So many of the first columns are those in whose order it is read.
    keys: usize,
    /// Rows of one step: some are large.
    rows: usize,
}

const fn table(table: &'static str, keys: usize, columns: &'static str, rows: usize) -> Table {
    Table { target: Target { table, columns, on_conflict: "" }, keys, rows }
}

const TABLES: &[Table] = &[
    table("party", 1, "id, key, name", 1_024),
    table("dictionary", 1, "id, bytes", 16),
    table(
        "call",
        1,
        "number, bucket, id, start_us, lasted_us, caller, callee, principal, effect, basis, status_class, failed, \
         duration_us, orphan, packed",
        512,
    ),
    table("bucket", 1, "bucket, first_start_us, last_start_us", 1_024),
    table("key_run", 1, "id, pairs, base, top, blocks, first_us, last_us, dead, firsts, filter", 1),
    table("key_filter", 1, "place, bytes", 2_048),
    table("key_chunk", 1, "place, bytes", 512),
    table(
        "finding",
        2,
        "number, ordinal, call_id, kind, severity, caller, callee, start_us, hour_us, end_us, raised_at_us, absent_observer, \
         absent_instance",
        512,
    ),
    table("reject", 2, "delivery, line, source, received_at_us, reason, detail", 1_024),
    table("connection", 4, "socket, first_us, proxy, party, last_us", 1_024),
    table(
        "coverage",
        2,
        "identity, hour_us, inbound_expected, inbound_seen, outbound_expected, outbound_seen",
        1_024,
    ),
    table(
        "statistic",
        6,
        "level, at_us, caller, callee, effect, status_class, calls, failed, request_body_bytes, response_body_bytes, \
         duration_sum_us, durations",
        512,
    ),
    table("source", 1, "name, deliveries, lines, rejects, first_received_us, last_received_us", 1_024),
    table(
        "observer",
        4,
        "source, kind, name, identity, legs, first_received_us, last_received_us, format_hour_us, format_fields",
        1_024,
    ),
    table("reporter", 2, "identity, source, legs", 1_024),
    table("pulse", 2, "observer, hour_us, minutes", 1_024),
    table("blind_window", 3, "observer, reason, after_us, from_us, to_us, known_us", 1_024),
    table(
        "retention",
        3,
        "class, rule, day_us, first_at_us, last_at_us, through_us, items, lines, bytes, first_delivery, last_delivery",
        1_024,
    ),
    table("removed", 1, "class, through_us, through_number", 16),
    table("measured", 1, "name, through_us", 16),
];

const CORRELATOR: &[&str] = &[
    "position",
    "call_count",
    "finding_count",
    "reject_count",
    "heard_us",
    "grace_us",
    "next_call",
    "next_run",
    "removals",
    "removed_before_us",
    "counted",
];

/// Names of the tables that are carried so.
pub fn derived_tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.target.table).chain(["correlator"])
}

impl Store {
    /// Everything derived and what is written down of removals, in place of what the target has derived. Nobody may write to either.
    /// The evidence must be there already; lines that have been removed here meanwhile are removed there, too.
    pub async fn carry_derived(&self, target: &Store) -> Result<(), StoreError> {
        target.clear_derived().await?;
        let mut from = self.snapshot().await?;
        for table in TABLES {
            table.carry(&mut from, target).await?;
        }
        let mut tx = target.begin().await?;
        let select = stmt(format!("select {} from correlator", CORRELATOR.join(", ")));
        for Cells(row) in from.rows::<Cells>(select).await? {
            let update =
                format!("update correlator set epoch = epoch + 1, {} = ?", CORRELATOR.join(" = ?, "));
            let mut update = stmt(update);
            update.push("", row);
            tx.execute(update).await?;
        }
        tx.commit().await?;
        target.forget_lines().await
    }

    async fn clear_derived(&self) -> Result<(), StoreError> {
        self.reset_derived().await?;
        let mut tx = self.begin().await?;
        for table in TABLES {
            tx.execute(stmt(format!("delete from {}", table.target.table))).await?;
        }
        tx.commit().await
    }

    /// Lines of deliveries that have been removed where this was carried from, after they were carried.
    async fn forget_lines(&self) -> Result<(), StoreError> {
        let through = self.bygone().await?.evidence_through as i64;
        loop {
            let select =
                "select id from delivery where number <= ? and secret is not null order by number limit ?";
            let ids: Vec<(Vec<u8>,)> = self.rows(stmt(select).int(through).int(DELIVERIES)).await?;
            if ids.is_empty() {
                return Ok(());
            }
            let mut tx = self.begin().await?;
            for change in
                ["delete from block where delivery_id in ", "update delivery set secret = null where id in "]
            {
                let mut change = stmt(change);
                change.push_list(ids.iter().map(|(id,)| Bind::bytes(id.clone())).collect());
                tx.execute(change).await?;
            }
            tx.commit().await?;
        }
    }
}

impl Table {
    async fn carry(&self, from: &mut Tx, target: &Store) -> Result<(), StoreError> {
        let Target { table, columns, .. } = self.target;
        let key = columns.split(", ").take(self.keys).collect::<Vec<_>>().join(", ");
        let mut after: Option<Vec<Bind>> = None;
        loop {
            let mut select = stmt(format!("select {columns} from {table}"));
            if let Some(after) = after {
                let places = vec!["?"; self.keys].join(", ");
                select.push(&format!(" where ({key}) > ({places})"), after);
            }
            select.push(&format!(" order by {key} limit ?"), [Bind::int(self.rows as i64)]);
            let rows: Vec<Cells> = from.rows(select).await?;
            let Some(Cells(last)) = rows.last() else { return Ok(()) };
            after = Some(last[..self.keys].to_vec());
            let binds = rows.into_iter().flat_map(|Cells(row)| row).collect();
            let mut tx = target.begin_derived().await?;
            tx.insert(&self.target, binds).await?;
            tx.commit().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::distribution::{Origin, tables_of};
    use std::collections::BTreeSet;

    #[test]
    fn all_that_is_derived_or_written_on_the_way_is_carried_and_nothing_else() {
        let carried: BTreeSet<&str> = TABLES.iter().map(|table| table.target.table).collect();
        let all: BTreeSet<&str> = tables_of(Origin::Derived).chain(tables_of(Origin::Carried)).collect();
        assert_eq!(carried, all);
    }
}
