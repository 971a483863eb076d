//! What the statistics gain and lose when calls replace others: each call is counted once, under the minute in which it started.
//!
//! It knows only sums and differences, so that the order in which lines come, and into which steps they are cut, leaves no trace.

use crate::model::statistic::MINUTE_US;
use crate::model::{
    Call, CountedParty, EffectClass, Figures, Histogram, Identity, IdentityKind, SpiffeId, StatisticDelta,
    StatisticKey, StatusClass, Timestamp,
};
use std::collections::{BTreeMap, HashMap};

/// By what calls are counted, lent by the calls themselves: most of them share it with others.
type Lent<'a> = (Timestamp, Party<'a>, Party<'a>, EffectClass, StatusClass);
type Party<'a> = (IdentityKind, &'a str, Option<&'a SpiffeId>);

/// What changes when `new` calls stand where `old` ones stood: what is the same in both is not in it.
pub fn difference<'a>(
    old: impl Iterator<Item = &'a Call>,
    new: impl Iterator<Item = &'a Call>,
) -> Vec<StatisticDelta> {
    let mut sums: HashMap<Lent<'a>, (&'a Call, Figures)> = HashMap::new();
    for (call, sign) in old.map(|call| (call, -1)).chain(new.map(|call| (call, 1))) {
        count(&mut sums.entry(lent_by(call)).or_insert_with(|| (call, Figures::default())).1, call, sign);
    }
    let mut changed: BTreeMap<StatisticKey, Figures> = BTreeMap::new();
    for (call, figures) in sums.into_values().filter(|(_, figures)| !figures.are_nothing()) {
        changed.entry(key_of(call)).or_default().merge(&figures);
    }
    changed.into_iter().filter(|(_, figures)| !figures.are_nothing()).collect()
}

/// Adds (or with `sign` -1 takes away) one call.
fn count(figures: &mut Figures, call: &Call, sign: i64) {
    let outcome = &call.outcome;
    let bytes = |bytes: Option<u64>| {
        bytes.map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX).min(Figures::MOST_BYTES))
    };
    let add = |sum: &mut i64, n: i64| *sum = sum.wrapping_add(sign * n);
    add(&mut figures.calls, 1);
    add(&mut figures.failed, call.failed().into());
    add(&mut figures.request_body_bytes, bytes(outcome.request_body_bytes));
    add(&mut figures.response_body_bytes, bytes(outcome.response_body_bytes));
    if let Some(us) = outcome.duration_us {
        add(&mut figures.duration_sum_us, us.clamp(0, Histogram::MOST_US));
        figures.durations.add(us, sign);
    }
}

fn lent_by(call: &Call) -> Lent<'_> {
    (
        minute(call.start),
        party(&call.caller),
        party(&call.callee),
        EffectClass::of(call),
        StatusClass::of(call),
    )
}

fn party(identity: &Identity) -> Party<'_> {
    let name = CountedParty::crowd(identity).unwrap_or(&identity.name);
    (identity.kind, name, identity.spiffe_id.as_ref())
}

fn key_of(call: &Call) -> StatisticKey {
    StatisticKey {
        minute: minute(call.start),
        caller: CountedParty::of(&call.caller),
        callee: CountedParty::of(&call.callee),
        effect: EffectClass::of(call),
        status_class: StatusClass::of(call),
    }
}

fn minute(start: Timestamp) -> Timestamp {
    start.plus_us(-start.micros().rem_euclid(MINUTE_US))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::facts::Facts;
    use crate::correlate::{Rules, assemble};
    use crate::decode::decode_delivery;
    use crate::model::{Assurance, Delivery, DeliveryId};

    /// A call of two sides, as a mesh logs it.
    fn call() -> Call {
        let lines: &[u8] = include_bytes!(
            "../../tests/fixtures/envoy/recommended/both_sides_of_a_traced_call_verify_each_other.ndjson"
        );
        let lines = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
        let delivery = Delivery {
            id: DeliveryId([0; 32]),
            source: "mesh".to_owned(),
            proxy: None,
            received_at: Timestamp(1_795_489_030_000_000),
            lines,
        };
        let legs = decode_delivery(&delivery, 1).legs;
        assemble(legs, &Facts::default(), &Rules::default()).remove(0)
    }

    fn with_outcome(call: &Call, change: impl FnOnce(&mut Call)) -> Call {
        let mut call = call.clone();
        change(&mut call);
        call
    }

    #[test]
    fn a_replaced_call_is_taken_away_where_it_stood_and_counted_where_it_stands() {
        let old = call();
        let new = with_outcome(&old, |c| {
            c.start = c.start.plus_us(MINUTE_US);
            (c.outcome.status, c.outcome.duration_us) = (Some(503), Some(70_000));
            c.outcome.response_body_bytes = Some(9);
        });
        let changes = difference([&old].into_iter(), [&new].into_iter());
        let told: Vec<_> =
            changes.iter().map(|(k, f)| (k.status_class.as_str(), f.calls, f.failed)).collect();
        assert_eq!(told, [("2xx", -1, 0), ("5xx", 1, 1)]);
        assert_eq!(changes[0].0.minute.plus_us(MINUTE_US), changes[1].0.minute);
        assert_eq!((changes[1].1.response_body_bytes, changes[1].1.duration_sum_us), (9, 70_000));
        assert_eq!(changes[1].1.durations.quantile(50), Some(71_680));

        let mut both = Figures::default();
        for deltas in [difference([].into_iter(), [&old].into_iter()), changes] {
            deltas.iter().for_each(|(_, figures)| both.merge(figures));
        }
        assert_eq!(vec![(key_of(&new), both)], difference([].into_iter(), [&new].into_iter()));
    }

    #[test]
    fn a_call_that_changes_in_nothing_that_is_counted_changes_no_sum() {
        let old = call();
        let new = with_outcome(&old, |c| (c.ambiguous, c.parent_inferred) = (7, true));
        assert_eq!(difference([&old].into_iter(), [&new].into_iter()), []);
    }

    #[test]
    fn users_and_addresses_are_counted_as_crowds_and_services_one_by_one() {
        let by = |kind, name: &str, assurance| {
            let caller = Identity { kind, name: name.to_owned(), spiffe_id: None, assurance };
            with_outcome(&call(), |c| c.caller = caller)
        };
        let calls = [
            by(IdentityKind::User, "u-1", Assurance::Jwt),
            by(IdentityKind::User, "u-2", Assurance::Jwt),
            by(IdentityKind::Unknown, "192.0.2.1", Assurance::Address),
            by(IdentityKind::Unknown, "unknown", Assurance::None),
            by(IdentityKind::Service, "a", Assurance::Asserted),
            by(IdentityKind::Service, "b", Assurance::Mtls),
            by(IdentityKind::Service, "b", Assurance::Asserted),
        ];
        let changes = difference([].into_iter(), calls.iter());
        let told: Vec<_> = changes.iter().map(|(k, f)| (k.caller.key.as_str(), f.calls)).collect();
        let expected = [
            ("service:a", 1),
            ("service:b", 2),
            ("unknown:all addresses", 1),
            ("unknown:unknown", 1),
            ("user:all users", 2),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_hostile_size_or_duration_is_bounded_alike_when_it_comes_and_when_it_goes() {
        let hostile = with_outcome(&call(), |c| {
            c.outcome.request_body_bytes = Some(u64::MAX);
            c.outcome.duration_us = Some(i64::MAX);
            c.start = Timestamp(i64::MIN + 1);
        });
        let mut sum = Figures::default();
        let come = difference([].into_iter(), [&hostile].into_iter());
        let gone = difference([&hostile].into_iter(), [].into_iter());
        come.iter().chain(&gone).for_each(|(_, figures)| sum.merge(figures));
        assert!(sum.are_nothing());
        assert_eq!(come[0].1.request_body_bytes, Figures::MOST_BYTES);
        assert_eq!(come[0].1.duration_sum_us, Histogram::MOST_US);
    }
}
