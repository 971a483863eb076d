//! The join of a whole world in memory: what the store would say after `import`, without a store.
//!
//! Everything that decides is the engine's own. What is done here is what `correlate::task` and `correlate::inferred` do with the
//! store's help: hand the join the connections, bring together legs that are merely alike, and orphans with what their caller was serving, and add up the coverage
//! that findings of absence are held against. `tests/same_as_store.rs` holds this against the real path, call by call.

use calltrail::correlate::adopt::{adopt, is_orphan, left_at};
use calltrail::correlate::coverage::{self, Counts, Coverage};
use calltrail::correlate::facts::Facts;
use calltrail::correlate::findings::EDGE_OBSERVER;
use calltrail::correlate::likeness::decide::decide_all;
use calltrail::correlate::rules::Outage;
use calltrail::correlate::{Rules, assemble};
use calltrail::decode::decode_delivery;
use calltrail::model::{Call, CallId, Delivery, ENOUGH_CALLS, Finding, Leg, Timestamp};
use std::collections::HashMap;

/// As in `correlate::inferred`: how long before an orphan its cause may have begun, and how far two clocks may be apart.
const BACK_US: i64 = 60_000_000;
const SLACK_US: i64 = 10_000_000;
const LIMIT: usize = 5_000;

pub struct Derived {
    pub calls: Vec<Call>,
    pub rejects: usize,
    coverage: Coverage,
    /// Declared: nothing is concluded from what somebody did not say of a call that ended while its source was blind.
    outages: Vec<Outage>,
}

/// Every leg of the deliveries, which are numbered from 1.
pub fn decode(deliveries: &[Delivery]) -> (Vec<Leg>, usize) {
    let (mut legs, mut rejects) = (Vec::new(), 0);
    for (delivery, number) in deliveries.iter().zip(1..) {
        let decoded = decode_delivery(delivery, number);
        legs.extend(decoded.legs);
        rejects += decoded.rejects.len();
    }
    (legs, rejects)
}

pub fn derive(deliveries: &[Delivery], rules: &Rules) -> Derived {
    let (legs, rejects) = decode(deliveries);
    Derived { rejects, ..join(legs, rules) }
}

pub fn join(legs: Vec<Leg>, rules: &Rules) -> Derived {
    let mut facts = Facts::default();
    facts.add_legs(&legs);
    let mut calls = decide_all(assemble(legs, &facts, rules), &facts, rules);
    infer_parents(&mut calls);
    let mut coverage = Coverage::new();
    calls.iter().for_each(|call| coverage::count(&mut coverage, call, 1));
    Derived { calls, rejects: 0, coverage, outages: rules.outages.clone() }
}

impl Derived {
    /// The findings of a call that hold at `as_of`: the store's `HOLDS`, but for the windows of blindness that it learns.
    pub fn findings<'a>(&'a self, call: &'a Call, as_of: Timestamp) -> impl Iterator<Item = &'a Finding> {
        self.judged(call, as_of).filter(|(_, kept)| kept.is_none()).map(|(finding, _)| finding)
    }

    /// Those that are raised by then and do not hold, with the reason.
    pub fn kept_back<'a>(
        &'a self,
        call: &'a Call,
        as_of: Timestamp,
    ) -> impl Iterator<Item = (&'a Finding, KeptBack)> {
        self.judged(call, as_of).filter_map(|(finding, kept)| Some((finding, kept?)))
    }

    fn judged<'a>(
        &'a self,
        call: &'a Call,
        as_of: Timestamp,
    ) -> impl Iterator<Item = (&'a Finding, Option<KeptBack>)> {
        let kept = move |f: &Finding| {
            let who = f.absent_observer.as_deref()?;
            let blind = || self.was_blind(who, call.end()).then_some(KeptBack::Blind);
            self.reported_badly(f, who, call.start.hour()).or_else(blind)
        };
        call.findings.iter().filter(move |f| f.raised_at <= as_of).map(move |f| (f, kept(f)))
    }

    fn reported_badly(&self, finding: &Finding, observer: &str, hour: Timestamp) -> Option<KeptBack> {
        let of_day = |who: &str| self.before(who, hour).filter(|_| self.is_heard(who, hour));
        let one = |who: &str| self.at(who, hour).and_then(measure).or_else(|| measure(of_day(who)?));
        let instance = finding.absent_instance.as_deref().and_then(one);
        match instance.or_else(|| one(observer)) {
            None => Some(KeptBack::Unmeasured),
            Some(Measured::Low) => Some(KeptBack::Low),
            Some(Measured::Enough) => None,
            Some(Measured::Few) => {
                let all = coverage::together_with(observer)?;
                let together =
                    |[expected, seen, ..]: Counts| (expected > 0).then_some(seen * 100 >= expected * 97);
                let of_hour = self.at(&all, hour).and_then(together);
                let well = of_hour.or_else(|| together(self.before(&all, hour)?)).unwrap_or(true);
                (!well).then_some(KeptBack::Low)
            }
        }
    }

    fn was_blind(&self, observer: &str, at: Timestamp) -> bool {
        let reports_by = |outage: &Outage| (outage.source == "mesh") == (observer != EDGE_OBSERVER);
        let then = |outage: &Outage| outage.from <= at && outage.to.is_none_or(|to| to > at);
        self.outages.iter().any(|outage| reports_by(outage) && then(outage))
    }

    fn at(&self, who: &str, hour: Timestamp) -> Option<Counts> {
        self.coverage.get(&(who.to_owned(), hour)).copied()
    }

    /// The day before.
    fn before(&self, who: &str, hour: Timestamp) -> Option<Counts> {
        let sum = |a: Counts, b: Counts| std::array::from_fn(|i| a[i] + b[i]);
        self.between(who, hour.plus_us(-86_400_000_000), hour).reduce(sum)
    }

    /// Whether anything tells of the observer since.
    fn is_heard(&self, who: &str, hour: Timestamp) -> bool {
        self.between(who, hour, Timestamp(i64::MAX)).next().is_some()
    }

    fn between(&self, who: &str, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Counts> {
        self.coverage.range((who.to_owned(), from)..(who.to_owned(), to)).map(|(_, counts)| *counts)
    }
}

/// Why a finding that concludes from silence is not held against anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBack {
    /// No line tells of anything that whoever should have told would have had to tell, now or in the day before.
    Unmeasured,
    /// He, or all together where too little tells of him, did not tell of enough.
    Low,
    /// His source was declared blind.
    Blind,
}

#[derive(Clone, Copy, PartialEq)]
enum Measured {
    Low,
    /// All well so far as it goes, but it goes not far.
    Few,
    Enough,
}

/// `None` where nothing was to be reported.
fn measure([expected, seen, out_expected, out_seen]: Counts) -> Option<Measured> {
    let (expected, seen) = match (expected, out_expected) {
        (1.., _) => (expected, seen),
        (_, 1..) => (out_expected, out_seen),
        _ => return None,
    };
    Some(match seen * 100 >= expected * 99 {
        false => Measured::Low,
        true if expected < ENOUGH_CALLS => Measured::Few,
        true => Measured::Enough,
    })
}

fn infer_parents(calls: &mut [Call]) {
    let mut serving: HashMap<String, Vec<usize>> = HashMap::new();
    for call in calls.iter().filter(|c| is_orphan(c)) {
        serving.entry(call.caller.key()).or_default();
    }
    if serving.is_empty() {
        return;
    }
    for (i, call) in calls.iter().enumerate() {
        if let Some(served) = serving.get_mut(&call.callee.key()) {
            served.push(i);
        }
    }
    for served in serving.values_mut() {
        served.sort_by_key(|&i| (calls[i].start, calls[i].id));
    }
    let parents: Vec<(usize, Option<CallId>)> = (0..calls.len())
        .filter(|&i| is_orphan(&calls[i]))
        .map(|i| (i, parent_of(&calls[i], calls, &serving)))
        .collect();
    for (i, parent) in parents {
        (calls[i].parent_id, calls[i].parent_inferred) = (parent, parent.is_some());
    }
}

fn parent_of(orphan: &Call, calls: &[Call], serving: &HashMap<String, Vec<usize>>) -> Option<CallId> {
    let left = left_at(orphan)?;
    let served = serving.get(&orphan.caller.key())?;
    let first = served.partition_point(|&i| calls[i].start < left.plus_us(-BACK_US - SLACK_US));
    let last = served.partition_point(|&i| calls[i].start <= left.plus_us(SLACK_US));
    if last - first >= LIMIT {
        return None;
    }
    adopt(orphan, served[first..last].iter().map(|&i| &calls[i]))
}
