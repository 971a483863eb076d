//! Questions about calls. What comes back carries only the findings that hold at the time of asking: a call and its findings
//! are read from one state of the database, since the correlator may replace both at any moment.

use super::call_rows::{leg_key, trace_key};
use super::error::inconsistent;
use super::places::{Asked, Numbered};
use super::select::HOLDS;
use super::statement::{Bind, Tx, stmt};
use super::{Order, Page, Store, StoreError};
use crate::model::{Call, CallFilter, CallId, Cursor, LegId, Timestamp, TraceId};
use std::collections::{HashMap, HashSet};

/// Numbers per `in` list.
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
        let mut tx = self.snapshot().await?;
        // One more than asked for says whether there is another page.
        let asked = Asked { filter, as_of, order, after, limit: limit.saturating_add(1) };
        let mut places = self.places(&mut tx, asked).await?;
        let more = places.len() > limit as usize;
        places.truncate(limit as usize);
        let next = places.last().filter(|_| more).map(|place| place.at);
        let numbers: Vec<i64> = places.into_iter().map(|place| place.number).collect();
        let mut calls = self.numbered_calls(&mut tx, &numbers).await?;
        // A key is only a hash.
        calls.retain(|(_, call)| filter.trace_id.is_none_or(|trace| call.trace_id == Some(trace)));
        Ok(Page { rows: tx.with_holding(calls, as_of).await?, next })
    }

    /// By leg id or call id (every id that a call ever had). The call's id differs from the asked one after re-pairing.
    pub async fn call_by_leg(&self, id: &CallId, as_of: Timestamp) -> Result<Option<Call>, StoreError> {
        let mut tx = self.snapshot().await?;
        let numbers = self.numbers_under(&mut tx, &[leg_key(id)], None).await?;
        let mut calls = self.numbered_calls(&mut tx, &numbers).await?;
        // A call whose own id it is comes before one that has a leg of that id.
        let own = calls.iter().position(|(_, c)| c.id == *id);
        let found = own.or_else(|| calls.iter().position(|(_, c)| c.legs.iter().any(|leg| leg.id == *id)));
        let found = found.map(|i| calls.swap_remove(i)).into_iter().collect();
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
        self.first(keys, None, as_of, limit).await
    }

    /// The calls of a trace by start, the first `limit` of them.
    pub async fn trace(&self, id: &TraceId, as_of: Timestamp, limit: u32) -> Result<Page<Call>, StoreError> {
        self.first(&[trace_key(id)], Some(*id), as_of, limit).await
    }

    async fn first(
        &self,
        keys: &[i64],
        trace: Option<TraceId>,
        as_of: Timestamp,
        limit: u32,
    ) -> Result<Page<Call>, StoreError> {
        let mut tx = self.snapshot().await?;
        let numbers = self.numbers_under(&mut tx, keys, None).await?;
        let first = self.in_order(&mut tx, &numbers, Order::OldestFirst, limit as usize + 1).await?;
        let mut calls = self.numbered_calls(&mut tx, &first).await?;
        calls.retain(|(_, call)| trace.is_none() || call.trace_id == trace);
        let more = calls.len() > limit as usize;
        calls.truncate(limit as usize);
        let next = calls.last().filter(|_| more).map(|(_, c)| Cursor { start: c.start, id: c.id });
        Ok(Page { rows: tx.with_holding(calls, as_of).await?, next })
    }

    /// Of the numbers those of calls that are there, by start and id, at most `limit`.
    pub(super) async fn in_order(
        &self,
        tx: &mut Tx,
        numbers: &[i64],
        order: Order,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let mut places: Vec<(i64, Vec<u8>, i64)> = Vec::new();
        for numbers in numbers.chunks(IDS) {
            let mut select = stmt("select start_us, id, number from call where number in ");
            select.push_list(numbers.iter().copied().map(Bind::int).collect());
            places.extend(tx.rows::<(i64, Vec<u8>, i64)>(select).await?);
        }
        places.sort_unstable();
        if order == Order::NewestFirst {
            places.reverse();
        }
        places.truncate(limit);
        Ok(places.into_iter().map(|(_, _, number)| number).collect())
    }

    /// The calls with these numbers, in their order, with all their findings; without those that are gone.
    pub(super) async fn numbered_calls(
        &self,
        tx: &mut Tx,
        numbers: &[i64],
    ) -> Result<Vec<Numbered>, StoreError> {
        let mut calls: HashMap<i64, Call> = HashMap::with_capacity(numbers.len());
        for numbers in numbers.chunks(IDS) {
            let mut select = stmt("select number, packed from call where number in ");
            select.push_list(numbers.iter().copied().map(Bind::int).collect());
            let rows: Vec<(i64, Vec<u8>)> = tx.rows(select).await?;
            let (numbers, packed): (Vec<i64>, Vec<Vec<u8>>) = rows.into_iter().unzip();
            calls.extend(numbers.into_iter().zip(self.unpack(tx, &packed).await?));
        }
        Ok(numbers.iter().filter_map(|number| Some((*number, calls.remove(number)?))).collect())
    }
}

impl Tx {
    /// The calls without the findings that do not hold.
    pub(super) async fn with_holding(
        &mut self,
        calls: Vec<Numbered>,
        as_of: Timestamp,
    ) -> Result<Vec<Call>, StoreError> {
        let accused = calls.iter().filter(|(_, c)| !c.findings.is_empty());
        let accused: Vec<i64> = accused.map(|(number, _)| *number).collect();
        let mut holding: HashSet<(i64, i64)> = HashSet::new();
        for numbers in accused.chunks(IDS) {
            let mut select = stmt("select f.number, f.ordinal from finding f where f.number in ");
            select.push_list(numbers.iter().copied().map(Bind::int).collect());
            select.push(" and ", []);
            select.push(HOLDS, [Bind::int(as_of.micros())]);
            holding.extend(self.rows::<(i64, i64)>(select).await?);
        }
        let only_holding = |(number, mut call): Numbered| {
            let mut ordinals = 0..;
            call.findings.retain(|_| ordinals.next().is_some_and(|n| holding.contains(&(number, n))));
            call
        };
        Ok(calls.into_iter().map(only_holding).collect())
    }
}

pub(super) fn call_id(bytes: Vec<u8>) -> Result<CallId, StoreError> {
    bytes.try_into().map(LegId).map_err(|_| inconsistent("call", "an id is not 16 bytes long"))
}
