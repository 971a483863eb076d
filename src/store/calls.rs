//! Questions about calls. What comes back carries only the findings that hold at the time of asking: a call and its findings
//! are read from one state of the database, since the correlator may replace both at any moment.

use super::apply::leg_key;
use super::derived::with_keys;
use super::error::inconsistent;
use super::select::{self, HOLDS};
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Order, Page, Store, StoreError, packed};
use crate::model::{Call, CallFilter, CallId, Cursor, LegId, Timestamp, TraceId};
use std::collections::HashSet;

/// Ids per `in` list.
const IDS: usize = 512;

impl Store {
    /// One page of the calls that match, by start and id.
    pub async fn calls(
        &self,
        filter: &CallFilter,
        as_of: Timestamp,
        order: Order,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Call>, StoreError> {
        let wanted = limit as usize;
        let (mut calls, mut after): (Vec<Call>, _) = (Vec::new(), after);
        let mut tx = self.snapshot().await?;
        // One more than asked for says whether there is another page. It takes a second round only where calls came more than once.
        while calls.len() <= wanted {
            let ask = (wanted + 1 - calls.len()) as u32;
            let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
                tx.rows(select::calls(filter, as_of, order, after, ask)).await?;
            let was_last = rows.len() < ask as usize;
            for (start_us, id, bytes) in rows {
                let cursor = Cursor { start: Timestamp(start_us), id: call_id(id)? };
                if after != Some(cursor) {
                    calls.push(packed::unpack(&bytes)?);
                }
                after = Some(cursor);
            }
            if was_last {
                break;
            }
        }
        let page = page(calls, limit);
        Ok(Page { rows: tx.with_holding(page.rows, as_of).await?, next: page.next })
    }

    /// By leg id or call id (every id that a call ever had). The call's id differs from the asked one after re-pairing.
    pub async fn call_by_leg(&self, id: &CallId, as_of: Timestamp) -> Result<Option<Call>, StoreError> {
        let mut tx = self.snapshot().await?;
        let calls = tx.packed_calls(with_keys(&[leg_key(id)])).await?;
        // A call whose own id it is comes before one that has a leg of that id.
        let own = calls.iter().position(|c| c.id == *id);
        let found = own.or_else(|| calls.iter().position(|c| c.legs.iter().any(|leg| leg.id == *id)));
        let found = found.map(|i| calls[i].clone()).into_iter().collect();
        Ok(tx.with_holding(found, as_of).await?.pop())
    }

    /// Calls that hold any of the keys, by start, the first `limit` of them; for ids that are not leg ids. The asker checks
    /// (keys are hashes).
    pub async fn calls_with_keys(
        &self,
        keys: &[i64],
        as_of: Timestamp,
        limit: u32,
    ) -> Result<Page<Call>, StoreError> {
        if keys.is_empty() {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        self.first(with_keys(keys), as_of, limit).await
    }

    /// The calls of a trace by start, the first `limit` of them.
    pub async fn trace(&self, id: &TraceId, as_of: Timestamp, limit: u32) -> Result<Page<Call>, StoreError> {
        let select = stmt("select c.packed from call c where c.trace_id = ?").bytes(id.0);
        self.first(select, as_of, limit).await
    }

    async fn first(&self, mut select: Stmt, as_of: Timestamp, limit: u32) -> Result<Page<Call>, StoreError> {
        let mut tx = self.snapshot().await?;
        select.push(" order by c.start_us, c.id limit ?", [Bind::int(i64::from(limit) + 1)]);
        let page = page(tx.packed_calls(select).await?, limit);
        Ok(Page { rows: tx.with_holding(page.rows, as_of).await?, next: page.next })
    }
}

/// Of calls of which one more was asked for than wanted: the page, and where the next one starts.
fn page(mut calls: Vec<Call>, limit: u32) -> Page<Call> {
    let more = calls.len() > limit as usize;
    calls.truncate(limit as usize);
    let next = calls.last().filter(|_| more).map(|c| Cursor { start: c.start, id: c.id });
    Page { rows: calls, next }
}

impl Tx {
    /// The calls without the findings that do not hold.
    pub(super) async fn with_holding(
        &mut self,
        mut calls: Vec<Call>,
        as_of: Timestamp,
    ) -> Result<Vec<Call>, StoreError> {
        let accused: Vec<CallId> = calls.iter().filter(|c| !c.findings.is_empty()).map(|c| c.id).collect();
        let mut holding: HashSet<(CallId, usize)> = HashSet::new();
        for ids in accused.chunks(IDS) {
            let mut select = stmt("select f.call_id, f.ordinal from finding f where f.call_id in ");
            select.push_list(ids.iter().map(|id| Bind::bytes(id.0)).collect());
            select.push(" and ", []);
            select.push(HOLDS, [Bind::int(as_of.micros())]);
            for (id, ordinal) in self.rows::<(Vec<u8>, i64)>(select).await? {
                holding.insert((call_id(id)?, ordinal as usize));
            }
        }
        for call in &mut calls {
            let id = call.id;
            let mut ordinals = 0..;
            call.findings.retain(|_| ordinals.next().is_some_and(|n| holding.contains(&(id, n))));
        }
        Ok(calls)
    }
}

pub(super) fn call_id(bytes: Vec<u8>) -> Result<CallId, StoreError> {
    bytes.try_into().map(LegId).map_err(|_| inconsistent("call", "an id is not 16 bytes long"))
}
