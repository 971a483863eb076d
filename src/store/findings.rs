//! Questions about findings, rejects and counts.

use super::calls::call_id;
use super::error::inconsistent;
use super::select;
use super::statement::{Bind, stmt};
use super::{Page, Store, StoreError, StoredReject, Totals};
use crate::model::{Call, CallId, Cursor, Finding, FindingFilter, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Start, call id, ordinal, the call's number.
type FindingRow = (i64, Vec<u8>, i64, i64);

impl Store {
    /// Findings that hold at `as_of` with the call that each is on (by id), newest first. A page never parts the findings of
    /// one call and so may hold a few more than `limit`.
    pub async fn findings(
        &self,
        filter: &FindingFilter,
        as_of: Timestamp,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<(Call, Finding)>, StoreError> {
        let mut tx = self.snapshot().await?;
        let callees = match &filter.callee {
            Some(callee) => Some(self.parties_called(&mut tx, callee).await?),
            None => None,
        };
        let select = select::findings(filter, callees.as_deref(), as_of, after, limit);
        let mut rows: Vec<FindingRow> = tx.rows(select).await?;
        let mut next = None;
        if let Some((start_us, id, ordinal, number)) = rows.last().filter(|_| rows.len() >= limit as usize) {
            next = Some(Cursor { start: Timestamp(*start_us), id: call_id(id.clone())? });
            let of_call = [*start_us, *number, *ordinal].map(Bind::int);
            rows.extend(tx.rows(select::findings_of_call(filter, as_of, of_call)).await?);
        }
        let numbers: BTreeSet<i64> = rows.iter().map(|(_, _, _, number)| *number).collect();
        let calls = self.numbered_calls(&mut tx, &numbers.into_iter().collect::<Vec<_>>()).await?;
        let mut found = Vec::with_capacity(rows.len());
        let by_number: BTreeMap<i64, &Call> = calls.iter().map(|(number, call)| (*number, call)).collect();
        for (_, id, ordinal, number) in rows {
            let id = call_id(id)?;
            let finding =
                by_number.get(&number).and_then(|call| call.findings.get(ordinal as usize)).cloned();
            found.push((
                id,
                finding.ok_or_else(|| inconsistent("finding", format!("{id} has no such finding")))?,
            ));
        }
        let calls = tx.with_holding(calls, as_of).await?;
        let calls: BTreeMap<CallId, Call> = calls.into_iter().map(|c| (c.id, c)).collect();
        let rows = found.into_iter().filter_map(|(id, finding)| Some((calls.get(&id)?.clone(), finding)));
        Ok(Page { rows: rows.collect(), next })
    }

    /// Newest first.
    pub async fn rejects(&self, limit: u32) -> Result<Vec<StoredReject>, StoreError> {
        let select = "select delivery, line, source, received_at_us, reason, detail from reject \
                      order by delivery desc, line desc limit ?";
        let rows: Vec<(i64, i64, String, i64, String, String)> =
            self.rows(stmt(select).int(limit.into())).await?;
        rows.into_iter()
            .map(|(delivery, line, source, received_at_us, reason, detail)| {
                Ok(StoredReject {
                    delivery: delivery as u64,
                    line: line as u32,
                    source,
                    received_at: Timestamp(received_at_us),
                    reason: reason.parse().map_err(|e| inconsistent("reject", e))?,
                    detail,
                })
            })
            .collect()
    }

    pub async fn totals(&self) -> Result<Totals, StoreError> {
        // Counters, kept in the transactions that change them: counting rows would take ever longer.
        let select = "select h.next_number, h.line_count, c.call_count, c.finding_count, c.reject_count, c.position \
                      from log_head h, correlator c";
        let row: (i64, i64, i64, i64, i64, i64) = self.only_row("log_head", stmt(select)).await?;
        Ok(Totals {
            deliveries: row.0 as u64 - 1,
            lines: row.1 as u64,
            calls: row.2 as u64,
            findings: row.3 as u64,
            rejects: row.4 as u64,
            position: row.5 as u64,
        })
    }
}
