//! Filters as SQL: only the clauses that are asked for, each written so that an index serves it.

use super::statement::{Bind, Stmt, stmt};
use super::{Order, index_text};
use crate::model::{CallFilter, Cursor, Effect, FindingFilter, Timestamp};

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

/// Who reports, or does not, of a key by which somebody is measured: of a party's connections that party's proxy. The prefix is
/// `correlate`'s.
macro_rules! reporter {
    ($who:literal) => {
        concat!("replace(", $who, ", 'connections of ', '')")
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
    ", 2) > 0 and not exists (select 1 from blind_window b where b.to_us > f.end_us \
     and (b.from_us <= f.end_us or (b.after_us <= f.end_us and b.known_us <= (select heard_us from correlator))) \
     and (b.observer = ",
    reporter!("f.absent_observer"),
    " or b.observer = ",
    reporter!("f.absent_instance"),
    " or b.observer in (select 'source:' || r.source from reporter r where r.identity = ",
    reporter!("f.absent_observer"),
    " and r.legs > 0)))))"
);

/// Calls by start and id: `start_us, id, packed`.
pub(super) fn calls(
    filter: &CallFilter,
    as_of: Timestamp,
    order: Order,
    after: Option<Cursor>,
    limit: u32,
) -> Stmt {
    // By finding: its own index leads, since few calls have any. A call with two such findings then stands there twice.
    let (mut select, start, id) = match filter.finding {
        Some(kind) => {
            let mut select = stmt(
                "select f.start_us, f.call_id, c.packed from finding f join call c on c.id = f.call_id where f.kind = ?",
            )
            .text(kind.as_str());
            select.push(" and ", []);
            select.push(HOLDS, [Bind::int(as_of.micros())]);
            (select, "f.start_us", "f.call_id")
        }
        None => (stmt("select c.start_us, c.id, c.packed from call c where 1 = 1"), "c.start_us", "c.id"),
    };
    times(&mut select, start, filter.from, filter.to);
    call_clauses(&mut select, filter);
    keyset(&mut select, start, id, order, after);
    let direction = direction(order);
    select.push(&format!(" order by {start}{direction}, {id}{direction} limit ?"), [Bind::int(limit.into())]);
    select
}

pub(super) fn call_clauses(select: &mut Stmt, filter: &CallFilter) {
    if let Some(subject) = &filter.principal {
        select.push(" and c.principal_subject = ?", [Bind::text(&index_text(subject))]);
    }
    party(select, "caller", filter.caller.as_deref());
    party(select, "callee", filter.callee.as_deref());
    if let Some(effect) = filter.decision {
        select.push(" and c.effect = ?", [Bind::text(Effect::as_str(effect))]);
    }
    if let Some(basis) = filter.basis {
        select.push(" and c.basis = ?", [Bind::text(basis.as_str())]);
    }
    if let Some(trace) = filter.trace_id {
        select.push(" and c.trace_id = ?", [Bind::bytes(trace.0)]);
    }
}

/// By SPIFFE id or by short name, never by both at once: an `or` would keep the index from giving the order.
fn party(select: &mut Stmt, side: &str, asked: Option<&str>) {
    let Some(asked) = asked else { return };
    let column = if asked.starts_with("spiffe://") { "key" } else { "name" };
    select.push(&format!(" and c.{side}_{column} = ?"), [Bind::text(&index_text(asked))]);
}

/// Findings that hold, newest first: `start_us, call_id, ordinal, packed`.
pub(super) fn findings(filter: &FindingFilter, as_of: Timestamp, after: Option<Cursor>, limit: u32) -> Stmt {
    let mut select = matching_findings(filter, as_of);
    keyset(&mut select, "f.start_us", "f.call_id", Order::NewestFirst, after);
    let order = " order by f.start_us desc, f.call_id desc, f.ordinal limit ?";
    select.push(order, [Bind::int(limit.into())]);
    select
}

/// The same of one call (its start, its id), from beyond an ordinal.
pub(super) fn findings_of_call(filter: &FindingFilter, as_of: Timestamp, of_call: [Bind; 3]) -> Stmt {
    let mut select = matching_findings(filter, as_of);
    select.push(" and f.start_us = ? and f.call_id = ? and f.ordinal > ? order by f.ordinal", of_call);
    select
}

fn matching_findings(filter: &FindingFilter, as_of: Timestamp) -> Stmt {
    let mut select = stmt(
        "select f.start_us, f.call_id, f.ordinal, c.packed from finding f join call c on c.id = f.call_id where ",
    );
    select.push(HOLDS, [Bind::int(as_of.micros())]);
    times(&mut select, "f.start_us", filter.from, filter.to);
    if let Some(kind) = filter.kind {
        select.push(" and f.kind = ?", [Bind::text(kind.as_str())]);
    }
    if let Some(severity) = filter.severity {
        select.push(" and f.severity = ?", [Bind::text(severity.as_str())]);
    }
    party(&mut select, "callee", filter.callee.as_deref());
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

fn keyset(select: &mut Stmt, start: &str, id: &str, order: Order, after: Option<Cursor>) {
    let Some(after) = after else { return };
    let beyond = match order {
        Order::NewestFirst => "<",
        Order::OldestFirst => ">",
    };
    let binds = [Bind::int(after.start.micros()), Bind::bytes(after.id.0)];
    select.push(&format!(" and ({start}, {id}) {beyond} (?, ?)"), binds);
}

fn direction(order: Order) -> &'static str {
    match order {
        Order::NewestFirst => " desc",
        Order::OldestFirst => "",
    }
}

#[cfg(test)]
mod tests {
    use super::HOLDS;
    use crate::model::ENOUGH_CALLS;

    #[test]
    fn what_is_enough_is_the_same_in_sql() {
        assert!(HOLDS.contains(&format!("sum(v.inbound_expected) < {ENOUGH_CALLS} ")));
        assert!(HOLDS.contains(&format!("sum(v.outbound_expected) < {ENOUGH_CALLS} ")));
    }
}
