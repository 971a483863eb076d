//! Periods in which a sender is silent: a node's agent that is down, a Logpush job that is switched off.

use super::draw::Draws;
use super::options::{Faults, Outage, Source, Who};
use std::collections::BTreeSet;

pub struct Outages(Vec<Outage>);

impl Outages {
    /// The given ones, and those that chance adds within the period.
    pub fn new(faults: &Faults, proxies: BTreeSet<&str>, period_us: (i64, i64), draws: &Draws) -> Self {
        let random = &faults.random_outages;
        let first = |kind: &str, count: usize, names: Vec<&str>| -> Vec<String> {
            let in_order = draws.share(kind, 100.0, names.into_iter());
            in_order.into_iter().take(count).map(str::to_owned).collect()
        };
        let all_sources = [Source::Mesh, Source::Edge, Source::Zone];
        let silent_proxies = first("silent_proxies", random.proxies, proxies.into_iter().collect());
        let silent_sources = first("silent_sources", random.sources, all_sources.map(Source::name).to_vec());
        let by_name = |name: &String| all_sources.into_iter().find(|source| source.name() == name);
        let who = silent_proxies.into_iter().map(Who::Proxy);
        let who = who.chain(silent_sources.iter().filter_map(by_name).map(Who::Source));
        let drawn = who.map(|who| {
            let from_us = draws.of("outage_start", &format!("{who:?}")).between(period_us.0, period_us.1);
            Outage { who, from_us, to_us: from_us + i64::from(random.seconds) * 1_000_000 }
        });
        let mut all: Vec<Outage> = faults.outages.iter().cloned().chain(drawn).collect();
        all.sort_by_key(|outage| outage.from_us);
        Outages(all)
    }

    pub fn silence(&self, source: Source, proxy: Option<&str>, sends_at_us: i64) -> bool {
        self.of(source, proxy).any(|outage| (outage.from_us..outage.to_us).contains(&sends_at_us))
    }

    /// The same time, or the end of the outage in which it lies: what is sent again or is under way arrives only then.
    pub fn over_at(&self, source: Source, proxy: Option<&str>, mut at_us: i64) -> i64 {
        for outage in self.of(source, proxy) {
            if (outage.from_us..outage.to_us).contains(&at_us) {
                at_us = outage.to_us;
            }
        }
        at_us
    }

    /// In the order in which they begin.
    fn of(&self, source: Source, proxy: Option<&str>) -> impl Iterator<Item = &Outage> {
        self.0.iter().filter(move |outage| match &outage.who {
            Who::Proxy(node_id) => proxy == Some(node_id),
            Who::Source(silent) => *silent == source,
        })
    }

    pub fn into_list(self) -> Vec<Outage> {
        self.0
    }
}
