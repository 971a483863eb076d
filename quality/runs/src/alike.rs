//! Likeness in memory: pairs the legs that share no key, minute by minute, as `correlate::likeness::stored` does from the store to the
//! store.

use calltrail::correlate::Rules;
use calltrail::correlate::facts::Facts;
use calltrail::correlate::likeness::places::{self, Minute};
use calltrail::correlate::likeness::{LEAST, alike, rejoin};
use calltrail::model::{Call, CallId, Leg, LegId, Side};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Joins calls of one leg that are probably the two ends of one.
pub fn weigh(calls: &mut Vec<Call>, facts: &Facts, rules: &Rules) {
    let slack_us = places::slack_us(rules);
    let (mut minutes, call_of) = waiting(calls, slack_us);
    let mut partner_of: HashMap<LegId, LegId> = HashMap::new();
    let mut together: Vec<(Leg, Leg, u32)> = Vec::new();
    while let Some((minute, (mut clients, mut servers))) = minutes.pop_last() {
        clients.sort_by_key(|l| (l.start, l.id));
        servers.sort_by_key(|l| (l.start, l.id));
        let (clients, servers): (Vec<&Leg>, Vec<&Leg>) = (clients.iter().collect(), servers.iter().collect());
        for pair in alike(&clients, &servers, slack_us, LEAST) {
            let (client, server) = (clients[pair.client], servers[pair.server]);
            if minute.holds(client, pair.late_us) && !partner_of.contains_key(&server.id) {
                partner_of.insert(server.id, client.id);
                together.push((client.clone(), server.clone(), pair.confidence_ppm));
            }
        }
    }
    let gone: HashSet<CallId> = together.iter().map(|(_, server, _)| calls[call_of[&server.id]].id).collect();
    for (client, server, ppm) in together {
        let told = &mut calls[call_of[&client.id]];
        *told = rejoin::together(told, &client, &server, ppm, facts, rules);
    }
    calls.retain(|call| !gone.contains(&call.id));
}

type Minutes = BTreeMap<Minute, (Vec<Leg>, Vec<Leg>)>;

/// The legs about which likeness decides, by the minutes in which they count, and in which call each stands.
fn waiting(calls: &[Call], slack_us: i64) -> (Minutes, HashMap<LegId, usize>) {
    let (mut minutes, mut call_of): (Minutes, _) = (Minutes::new(), HashMap::new());
    for (place, call) in calls.iter().enumerate() {
        for leg in places::undecided(call) {
            call_of.insert(leg.id, place);
            for minute in places::minutes(leg, slack_us) {
                if leg.side == Side::Server
                    && !minute.server_seconds(slack_us).contains(&places::second(leg.start))
                {
                    continue;
                }
                let (clients, servers) = minutes.entry(minute).or_default();
                if leg.side == Side::Client { clients.push(leg.clone()) } else { servers.push(leg.clone()) }
            }
        }
    }
    minutes.retain(|_, (clients, servers)| !clients.is_empty() && !servers.is_empty());
    (minutes, call_of)
}
