//! Where calls stand that match a filter, by start and id: which index leads, and how far is looked.
//!
//! What is few (callees, verdicts) has an index over all calls. What may be as many as there are users has one that is led by the
//! bucket of calls that were written together; there buckets are looked into one after the other, as far as their starts say that
//! they can hold anything.

use super::packed_leg::Code;
use super::select::{self, HOLDS, Named};
use super::statement::{Bind, Stmt, Tx, stmt};
use super::statistics::status_code;
use super::{Order, Store, StoreError};
use crate::model::{CallFilter, Cursor, Timestamp};

/// Numbers per `in` list.
const IDS: usize = 512;
/// Callees that one statement looks for.
const CALLEES: usize = 8;
/// Parts of one statement that are merged.
const BRANCHES: usize = 64;
/// First digits of a status, and none.
const STATUS_CLASSES: std::ops::Range<i64> = 0..6;

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub at: Cursor,
    pub number: i64,
}

type PlaceRow = (i64, Vec<u8>, i64);

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub filter: &'a CallFilter,
    pub as_of: Timestamp,
    pub order: Order,
    pub after: Option<Cursor>,
    pub limit: u32,
}

impl Store {
    /// The first places beyond `after`, in order. With fewer than `limit` there are no more.
    pub(super) async fn places(&self, tx: &mut Tx, asked: Asked<'_>) -> Result<Vec<Place>, StoreError> {
        let named = self.named(tx, asked.filter).await?;
        if named.is_nothing() {
            return Ok(Vec::new());
        }
        let mut found = Found { asked, places: Vec::new() };
        if asked.filter.finding.is_some() {
            found.add(tx, asked.by_finding(&named)).await?;
        } else if let Some(calls) = &named.calls {
            for calls in calls.chunks(IDS) {
                found.add(tx, asked.of_calls(calls, &named)).await?;
            }
        } else if named.principals.is_some() || named.callers.is_some() {
            found.by_bucket(tx, &named).await?;
        } else if let Some(callees) = &named.callees {
            for callees in callees.chunks(CALLEES) {
                found.add(tx, asked.by_callee(callees)).await?;
            }
        } else {
            found.add(tx, asked.by_start()).await?;
        }
        Ok(found.places)
    }
}

/// What has been found so far, in order and no more than asked for.
struct Found<'a> {
    asked: Asked<'a>,
    places: Vec<Place>,
}

impl Found<'_> {
    async fn add(&mut self, tx: &mut Tx, select: Stmt) -> Result<(), StoreError> {
        for (start_us, id, number) in tx.rows::<PlaceRow>(select).await? {
            let at = Cursor { start: Timestamp(start_us), id: super::calls::call_id(id)? };
            self.places.push(Place { at, number });
        }
        self.places.sort_unstable_by_key(|place| place.at);
        if self.asked.order == Order::NewestFirst {
            self.places.reverse();
        }
        self.places.dedup();
        self.places.truncate(self.asked.limit as usize);
        Ok(())
    }

    /// Ever more buckets at a time, while they hold few, until what is found comes before all that the others can hold.
    async fn by_bucket(&mut self, tx: &mut Tx, named: &Named) -> Result<(), StoreError> {
        let buckets: Vec<(i64, i64)> = tx.rows(self.asked.buckets()).await?;
        let (mut rest, mut some) = (buckets.as_slice(), 1);
        while !rest.is_empty() && !self.is_enough(rest[0].1) {
            let (next, after) = rest.split_at(some.min(rest.len()));
            let next: Vec<i64> = next.iter().map(|(bucket, _)| *bucket).collect();
            self.within(tx, &next, named).await?;
            let is_full = self.places.len() >= self.asked.limit as usize;
            (rest, some) = (after, if is_full { 1 } else { (some * 4).min(BRANCHES) });
        }
        Ok(())
    }

    /// Within one bucket the index gives the order of what one party sent to one callee. Where that makes too many questions, the
    /// calls are sorted instead.
    async fn within(&mut self, tx: &mut Tx, buckets: &[i64], named: &Named) -> Result<(), StoreError> {
        let led = match (named.principals.as_deref(), named.callers.as_deref()) {
            (Some([principal]), _) => Some(("principal", *principal)),
            (None, Some([caller])) => Some(("caller", *caller)),
            _ => None,
        };
        let (Some((column, who)), Some([_]) | None) = (led, named.callees.as_deref()) else {
            return self.add(tx, self.asked.sorted_within(buckets, named)).await;
        };
        let pairs: Vec<(i64, i64)> = match named.callees.as_deref() {
            Some([callee]) => buckets.iter().map(|bucket| (*bucket, *callee)).collect(),
            _ => tx.rows(callees_within(buckets, column, who)).await?,
        };
        match pairs.len() {
            0 => Ok(()),
            few if few <= BRANCHES => self.add(tx, self.asked.by_pair(&pairs, named)).await,
            _ => self.add(tx, self.asked.sorted_within(buckets, named)).await,
        }
    }

    /// `edge_us`: no call that has not been looked at comes before this start.
    fn is_enough(&self, edge_us: i64) -> bool {
        self.places.len() >= self.asked.limit as usize
            && self.places.last().is_some_and(|last| match self.asked.order {
                Order::NewestFirst => last.at.start.micros() > edge_us,
                Order::OldestFirst => last.at.start.micros() < edge_us,
            })
    }
}

impl Asked<'_> {
    fn order_by(&self, start: &str, id: &str) -> String {
        let direction = select::direction(self.order);
        format!(" order by {start}{direction}, {id}{direction} limit ?")
    }

    fn limit(&self) -> [Bind; 1] {
        [Bind::int(self.limit.into())]
    }

    /// What every statement over calls (`c`) asks, and in which order.
    fn end(&self, select: &mut Stmt, named: &Named) {
        self.clauses(select, named);
        select.push(&self.order_by("c.start_us", "c.id"), self.limit());
    }

    fn clauses(&self, select: &mut Stmt, named: &Named) {
        select::times(select, "c.start_us", self.filter.from, self.filter.to);
        select::call_clauses(select, self.filter, named);
        select::keyset(select, "c.start_us", "c.id", self.order, self.after);
    }

    fn by_start(&self) -> Stmt {
        let mut select = stmt("select c.start_us, c.id, c.number from call c where 1 = 1");
        self.end(&mut select, &Named::default());
        select
    }

    /// Findings have what is asked for most at themselves, so that few calls are looked at in vain.
    fn by_finding(&self, named: &Named) -> Stmt {
        let mut select = stmt("select distinct f.start_us, f.call_id, f.number from finding f");
        let filter = self.filter;
        let of_call = named.principals.is_some()
            || filter.decision.is_some()
            || filter.status.is_some()
            || filter.basis.is_some();
        select.push(if of_call { " join call c on c.number = f.number where " } else { " where " }, []);
        select.push(HOLDS, [Bind::int(self.as_of.micros())]);
        let kind = filter.finding.map(|kind| [i64::from(kind.code())]);
        select::one_of(&mut select, "f.kind", kind.as_ref().map(|kind| &kind[..]));
        select::one_of(&mut select, "f.callee", named.callees.as_deref());
        select::one_of(&mut select, "f.caller", named.callers.as_deref());
        select::one_of(&mut select, "f.number", named.calls.as_deref());
        select::one_of(&mut select, "c.principal", named.principals.as_deref());
        select::verdict_clauses(&mut select, filter);
        select::times(&mut select, "f.start_us", filter.from, filter.to);
        select::keyset(&mut select, "f.start_us", "f.call_id", self.order, self.after);
        let direction = select::direction(self.order);
        let order = format!(" order by f.start_us{direction}, f.call_id{direction}, f.number limit ?");
        select.push(&order, self.limit());
        select
    }

    fn of_calls(&self, calls: &[i64], named: &Named) -> Stmt {
        let mut select = stmt("select c.start_us, c.id, c.number from call c where c.number in ");
        select.push_list(calls.iter().copied().map(Bind::int).collect());
        self.end(&mut select, named);
        select
    }

    /// The index gives the order only within one callee and one status class: the first of each that is asked for, and of these the
    /// first.
    fn by_callee(&self, callees: &[i64]) -> Stmt {
        let classes = self.filter.status.map_or(STATUS_CLASSES, |class| {
            let code = status_code(class);
            code..code + 1
        });
        let branches = callees.iter().flat_map(|callee| classes.clone().map(move |class| [*callee, class]));
        self.merged(branches, " and c.callee = ? and c.status_class = ?", &Named::default())
    }

    /// `pairs`: buckets and callees.
    fn by_pair(&self, pairs: &[(i64, i64)], named: &Named) -> Stmt {
        let branches = pairs.iter().map(|(bucket, callee)| [*bucket, *callee]);
        let named = Named { callees: None, ..named.clone() };
        self.merged(branches, " and c.bucket = ? and c.callee = ?", &named)
    }

    /// The first of each branch, and of these the first.
    fn merged(&self, branches: impl Iterator<Item = [i64; 2]>, clauses: &str, named: &Named) -> Stmt {
        let mut select = stmt("select s.start_us, s.id, s.number from (");
        for (at, values) in branches.enumerate() {
            let all = if at == 0 { "" } else { " union all " };
            let one = "select * from (select c.start_us, c.id, c.number from call c where 1 = 1";
            select.push(&format!("{all}{one}{clauses}"), values.map(Bind::int));
            self.end(&mut select, named);
            select.push(&format!(") b{at}"), []);
        }
        select.push(") s", []);
        select.push(&self.order_by("s.start_us", "s.id"), self.limit());
        select
    }

    /// Buckets that can hold anything, with the start before which (or after which) nothing in it is, in the order to look in.
    fn buckets(&self) -> Stmt {
        let (edge, by) = match self.order {
            Order::NewestFirst => ("last_start_us", "last_start_us desc"),
            Order::OldestFirst => ("first_start_us", "first_start_us"),
        };
        let mut select = stmt(format!("select bucket, {edge} from bucket where 1 = 1"));
        let beyond = self.after.map(|after| after.start.micros());
        let (mut from, mut to) =
            (self.filter.from.map(Timestamp::micros), self.filter.to.map(Timestamp::micros));
        match self.order {
            Order::NewestFirst => to = [to, beyond].into_iter().flatten().min(),
            Order::OldestFirst => from = [from, beyond].into_iter().flatten().max(),
        }
        if let Some(from) = from {
            select.push(" and last_start_us >= ?", [Bind::int(from)]);
        }
        if let Some(to) = to {
            select.push(" and first_start_us <= ?", [Bind::int(to)]);
        }
        select.push(&format!(" order by {by}"), []);
        select
    }

    /// All calls of the buckets that match, sorted by start: the index tells first which start the last one wanted has, so that no
    /// more calls than these are looked at themselves.
    fn sorted_within(&self, buckets: &[i64], named: &Named) -> Stmt {
        let (beyond, furthest) = match self.order {
            Order::NewestFirst => (">=", "min"),
            Order::OldestFirst => ("<=", "max"),
        };
        let mut select = stmt("select c.start_us, c.id, c.number from call c where 1 = 1");
        let clauses = |select: &mut Stmt| {
            select::one_of(select, "c.bucket", Some(buckets));
            self.clauses(select, named);
        };
        clauses(&mut select);
        let bound = format!(
            " and c.start_us {beyond} (select {furthest}(n.start_us) from (select c.start_us as start_us from call c where 1 = 1"
        );
        select.push(&bound, []);
        clauses(&mut select);
        select.push(
            &format!(" order by +c.start_us{} limit ?) n)", select::direction(self.order)),
            self.limit(),
        );
        select.push(&self.order_by("+c.start_us", "c.id"), self.limit());
        select
    }
}

/// In which buckets a party called whom (`column`: what it is to the calls), by leaps over all calls of the same callee.
fn callees_within(buckets: &[i64], column: &str, who: i64) -> Stmt {
    let next = format!("(select min(c.callee) from call c where c.{column} = ? and c.bucket = ");
    let mut select = stmt("with recursive called (bucket, callee) as (select b.bucket, ");
    select.push(&format!("{next}b.bucket) from bucket b where 1 = 1"), [Bind::int(who)]);
    select::one_of(&mut select, "b.bucket", Some(buckets));
    let after = format!(
        " union all select t.bucket, {next}t.bucket and c.callee > t.callee) from called t where t.callee is not null) \
         select bucket, callee from called where callee is not null"
    );
    select.push(&after, [Bind::int(who)]);
    select
}

/// The buckets in which calls that started in a range can stand, as a list for `in`.
pub(super) fn buckets_between(select: &mut Stmt, from: Option<Timestamp>, to: Option<Timestamp>) {
    select.push("(select b.bucket from bucket b where 1 = 1", []);
    if let Some(from) = from {
        select.push(" and b.last_start_us >= ?", [Bind::int(from.micros())]);
    }
    if let Some(to) = to {
        select.push(" and b.first_start_us < ?", [Bind::int(to.micros())]);
    }
    select.push(")", []);
}

/// A call with its number: under what its findings stand.
pub(super) type Numbered = (i64, crate::model::Call);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Effect, StatusClass};
    use crate::store::Location;

    async fn plan(store: &Store, mut select: Stmt) -> String {
        select = Stmt::new(format!("explain query plan {}", select.sql()), select.binds().to_vec());
        let steps: Vec<(i64, i64, i64, String)> = store.rows(select).await.unwrap();
        steps.into_iter().map(|(.., step)| step + "\n").collect()
    }

    #[tokio::test]
    async fn what_is_few_is_found_by_an_index_of_its_own_in_the_order_of_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
        let class = |class| CallFilter { status: Some(class), ..CallFilter::default() };
        let (failed, well) = (class(StatusClass::ServerError), class(StatusClass::Successful));
        let denied = CallFilter { decision: Some(Effect::Deny), ..CallFilter::default() };
        let all = CallFilter::default();
        let since = CallFilter { from: Some(Timestamp(5)), to: Some(Timestamp(9)), ..failed.clone() };
        let of_callee = "call_by_callee (callee=? AND status_class=?";
        for (filter, callees, index) in [
            (&all, None, "call_by_start"),
            (&well, None, "call_by_start"),
            (&failed, None, "call_unusual (status_class=?"),
            (&since, None, "call_unusual (status_class=? AND start_us>? AND start_us<?"),
            (&denied, None, "call_denied"),
            (&all, Some([7]), of_callee),
            (&failed, Some([7]), of_callee),
            (&since, Some([7]), of_callee),
        ] {
            for order in [Order::NewestFirst, Order::OldestFirst] {
                let asked = Asked { filter, as_of: Timestamp(0), order, after: None, limit: 50 };
                let select = callees.map_or_else(|| asked.by_start(), |callees| asked.by_callee(&callees));
                let plan = plan(&store, select).await;
                assert!(plan.contains(index), "{filter:?} of {callees:?}:\n{plan}");
                assert!(!plan.contains("SCAN c\n"), "{plan}");
                // Of equal starts by id, and what is merged: never of all that match.
                assert!(!plan.contains("FOR ORDER BY") || callees.is_some(), "{plan}");
            }
        }
    }
}
