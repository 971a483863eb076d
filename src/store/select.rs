//! Filters as SQL: only the clauses that are asked for, each written so that an index serves it.

use super::packed_leg::Code;
use super::statement::{Bind, Stmt, stmt};
use super::statistics::status_code;
use super::{Order, Store, StoreError, statement::Tx};
use crate::model::{CallFilter, Cursor, FindingFilter, StatusClass, Timestamp};

/// How well somebody reported in some hours, by what others sent it where that could be measured, else by what others received
/// from it: 0 where that is less than 99 %, 1 where it is not but too few calls tell of it, else 2; null where nothing is known.
/// How many are enough is `model::ENOUGH_CALLS`.
macro_rules! reported {
    ($who:literal, $hours:literal) => {
        concat!(
            "(select case when sum(v.inbound_expected) >= 1 then \
              case when sum(v.inbound_seen) * 100 < sum(v.inbound_expected) * 99 then 0 \
              when sum(v.inbound_expected) < 300 then 1 else 2 end \
              when sum(v.outbound_expected) >= 1 then \
              case when sum(v.outbound_seen) * 100 < sum(v.outbound_expected) * 99 then 0 \
              when sum(v.outbound_expected) < 300 then 1 else 2 end end \
              from coverage v where v.identity = ",
            $who,
            " and ",
            $hours,
            ")"
        )
    };
}

/// Who reports, or does not, of a key by which somebody is measured: of a party's connections or chains that party's proxy. The
/// prefixes are `correlate`'s.
macro_rules! reporter {
    ($who:literal) => {
        concat!("replace(replace(", $who, ", 'connections of ', ''), 'chains of ', '')")
    };
}

/// Of the hour; where that says nothing, of the day before, but only if lines of that observer have come again since: else nobody
/// knows that it still reports.
macro_rules! reported_then {
    ($who:literal) => {
        concat!(
            "coalesce(",
            reported!($who, "v.hour_us = f.hour_us"),
            ", case when exists (select 1 from pulse p where p.observer = ",
            reporter!($who),
            " and p.hour_us >= f.hour_us) then ",
            reported!($who, "v.hour_us < f.hour_us and v.hour_us >= f.hour_us - 86400000000"),
            " end)"
        )
    };
}

/// Whether all proxies together lost no more than 3 % in some hours: so much that one of them that is silent does not silence
/// the others. The edge is alone. The names are `correlate`'s.
macro_rules! together {
    ($hours:literal) => {
        concat!(
            "(select case when sum(v.inbound_seen) * 100 >= sum(v.inbound_expected) * 97 then 2 else 0 end \
              from coverage v where v.identity = case when f.absent_observer like 'connections of %' \
              then 'connections of mesh' else 'mesh' end and v.inbound_expected > 0 and ",
            $hours,
            " having count(*) > 0)"
        )
    };
}

/// A blind window (`b`) of this observer that covers the end of a finding's call.
macro_rules! blind {
    ($who:expr) => {
        concat!(
            "exists (select 1 from blind_window b where b.observer = ",
            $who,
            " and b.to_us > f.end_us and (b.from_us <= f.end_us or (b.after_us <= f.end_us \
              and b.known_us <= (select heard_us from correlator))))"
        )
    };
}

/// The one rule by which a finding (`f`) holds at a time, the value of its `?`. What a line says holds from when it was raised.
/// That something is *missing* holds only if whoever should have reported it (the instance where it is known, else the party)
/// reported well, and was not blind when the call ended: neither itself, nor any source by which it reports. Where too few calls
/// tell of it, all proxies together must not have reported badly either.
pub(super) const HOLDS: &str = concat!(
    "f.raised_at_us <= ? and (f.absent_observer is null or (coalesce(nullif(coalesce(",
    reported_then!("f.absent_instance"),
    ", ",
    reported_then!("f.absent_observer"),
    ", 0), 1), case when f.absent_observer = 'edge' then 2 end, ",
    together!("v.hour_us = f.hour_us"),
    ", ",
    together!("v.hour_us < f.hour_us and v.hour_us >= f.hour_us - 86400000000"),
    ", 2) > 0 and not ",
    blind!(reporter!("f.absent_observer")),
    " and not ",
    blind!(reporter!("f.absent_instance")),
    " and not exists (select 1 from reporter r where r.identity = ",
    reporter!("f.absent_observer"),
    " and r.legs > 0 and ",
    blind!("'source:' || r.source"),
    ")))"
);

/// Who and what a filter names, as numbers. An empty list: nothing stored bears the name.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    pub callers: Option<Vec<i64>>,
    pub callees: Option<Vec<i64>>,
    pub principals: Option<Vec<i64>>,
    /// Calls of the trace.
    pub calls: Option<Vec<i64>>,
}

impl Named {
    pub(super) fn is_nothing(&self) -> bool {
        let lists = [&self.callers, &self.callees, &self.principals, &self.calls];
        lists.into_iter().flatten().any(Vec::is_empty)
    }
}

impl Store {
    pub(super) async fn named(&self, tx: &mut Tx, filter: &CallFilter) -> Result<Named, StoreError> {
        let mut named = Named::default();
        if let Some(caller) = &filter.caller {
            named.callers = Some(self.parties_called(tx, caller).await?);
        }
        if let Some(callee) = &filter.callee {
            named.callees = Some(self.parties_called(tx, callee).await?);
        }
        if let Some(subject) = &filter.principal {
            named.principals = Some(self.principals_called(tx, subject).await?);
        }
        if let Some(trace) = &filter.trace_id {
            named.calls = Some(self.numbers_under(tx, &[super::call_rows::trace_key(trace)], None).await?);
        }
        Ok(named)
    }
}

/// What a call (`c`) must be, apart from its time.
pub(super) fn call_clauses(select: &mut Stmt, filter: &CallFilter, named: &Named) {
    one_of(select, "c.principal", named.principals.as_deref());
    one_of(select, "c.caller", named.callers.as_deref());
    one_of(select, "c.callee", named.callees.as_deref());
    verdict_clauses(select, filter);
}

/// As [`call_clauses`], where the parties are known otherwise.
pub(super) fn verdict_clauses(select: &mut Stmt, filter: &CallFilter) {
    if let Some(effect) = filter.decision {
        // As text, so that the index of what was denied serves it.
        select.push(&format!(" and c.effect = {}", effect.code()), []);
    }
    if let Some(class) = filter.status {
        status_clause(select, class);
    }
    if let Some(basis) = filter.basis {
        select.push(&format!(" and c.basis = {}", basis.code()), []);
    }
}

/// Of a class that is not the usual one, said as the index of these has it; the usual one is found by the way, and by no index that
/// would give them in no order.
fn status_clause(select: &mut Stmt, class: StatusClass) {
    let clause = match class {
        StatusClass::Successful => " and +c.status_class = 2".to_owned(),
        class => format!(" and c.status_class <> 2 and c.status_class = {}", status_code(class)),
    };
    select.push(&clause, []);
}

/// One is asked for as one: an `in` would keep an index from giving the order.
pub(super) fn one_of(select: &mut Stmt, column: &str, asked: Option<&[i64]>) {
    match asked {
        None => {}
        Some([one]) => select.push(&format!(" and {column} = ?"), [Bind::int(*one)]),
        Some([]) => select.push(" and 1 = 0", []),
        Some(several) => {
            select.push(&format!(" and {column} in "), []);
            select.push_list(several.iter().copied().map(Bind::int).collect());
        }
    }
}

/// Findings that hold, newest first: `start_us, call_id, ordinal, number`. `callees`: as in [`Named`].
pub(super) fn findings(
    filter: &FindingFilter,
    callees: Option<&[i64]>,
    as_of: Timestamp,
    after: Option<Cursor>,
    limit: u32,
) -> Stmt {
    let mut select = matching_findings(filter, callees, as_of);
    keyset(&mut select, "f.start_us", "f.call_id", Order::NewestFirst, after);
    let order = " order by f.start_us desc, f.call_id desc, f.ordinal limit ?";
    select.push(order, [Bind::int(limit.into())]);
    select
}

/// The same of one call (its start, its number), from beyond an ordinal.
pub(super) fn findings_of_call(filter: &FindingFilter, as_of: Timestamp, of_call: [Bind; 3]) -> Stmt {
    let mut select = matching_findings(filter, None, as_of);
    select.push(" and f.start_us = ? and f.number = ? and f.ordinal > ? order by f.ordinal", of_call);
    select
}

fn matching_findings(filter: &FindingFilter, callees: Option<&[i64]>, as_of: Timestamp) -> Stmt {
    let mut select = stmt("select f.start_us, f.call_id, f.ordinal, f.number from finding f where ");
    select.push(HOLDS, [Bind::int(as_of.micros())]);
    times(&mut select, "f.start_us", filter.from, filter.to);
    if let Some(kind) = filter.kind {
        select.push(" and f.kind = ?", [Bind::int(kind.code().into())]);
    }
    if let Some(severity) = filter.severity {
        select.push(" and f.severity = ?", [Bind::int(severity.code().into())]);
    }
    one_of(&mut select, "f.callee", callees);
    select
}

pub(super) fn times(select: &mut Stmt, start: &str, from: Option<Timestamp>, to: Option<Timestamp>) {
    if let Some(from) = from {
        select.push(&format!(" and {start} >= ?"), [Bind::int(from.micros())]);
    }
    if let Some(to) = to {
        select.push(&format!(" and {start} < ?"), [Bind::int(to.micros())]);
    }
}

/// Beyond a place. The start by itself first: the index knows it and nothing of ids.
pub(super) fn keyset(select: &mut Stmt, start: &str, id: &str, order: Order, after: Option<Cursor>) {
    let Some(after) = after else { return };
    let beyond = match order {
        Order::NewestFirst => "<",
        Order::OldestFirst => ">",
    };
    let at = Bind::int(after.start.micros());
    let binds = [at.clone(), at, Bind::bytes(after.id.0)];
    select.push(&format!(" and {start} {beyond}= ? and ({start} {beyond} ? or {id} {beyond} ?)"), binds);
}

pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::NewestFirst => " desc",
        Order::OldestFirst => "",
    }
}
