//! Questions about calls. What comes back carries only the findings that hold at the time of asking.

use super::apply::leg_key;
use super::error::inconsistent;
use super::select::{self, HOLDS};
use super::statement::{Bind, stmt};
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
        // One more than asked for says whether there is another page. It takes a second round only where calls came more than once.
        while calls.len() <= wanted {
            let ask = (wanted + 1 - calls.len()) as u32;
            let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
                self.rows(select::calls(filter, as_of, order, after, ask)).await?;
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
        let more = calls.len() > wanted;
        calls.truncate(wanted);
        let next = calls.last().filter(|_| more).map(|c| Cursor { start: c.start, id: c.id });
        Ok(Page { rows: self.with_holding(calls, as_of).await?, next })
    }

    /// By leg id or call id (every id that a call ever had). The call's id differs from the asked one after re-pairing.
    pub async fn call_by_leg(&self, id: &CallId, as_of: Timestamp) -> Result<Option<Call>, StoreError> {
        let calls = self.calls_by_key(&[leg_key(id)]).await?;
        // A call whose own id it is comes before one that has a leg of that id.
        let own = calls.iter().position(|c| c.id == *id);
        let found = own.or_else(|| calls.iter().position(|c| c.legs.iter().any(|leg| leg.id == *id)));
        let found = found.map(|i| calls[i].clone()).into_iter().collect();
        Ok(self.with_holding(found, as_of).await?.pop())
    }

    /// Calls that hold any of the keys; for ids that are not leg ids. The asker checks (keys are hashes).
    pub async fn calls_with_keys(&self, keys: &[i64], as_of: Timestamp) -> Result<Vec<Call>, StoreError> {
        let calls = self.calls_by_key(keys).await?;
        self.with_holding(calls, as_of).await
    }

    /// All calls of a trace by start.
    pub async fn trace(&self, id: &TraceId, as_of: Timestamp) -> Result<Vec<Call>, StoreError> {
        let select = "select packed from call where trace_id = ? order by start_us, id";
        let calls = self.packed_calls(stmt(select).bytes(id.0)).await?;
        self.with_holding(calls, as_of).await
    }

    /// The calls without the findings that do not hold.
    pub(super) async fn with_holding(
        &self,
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
