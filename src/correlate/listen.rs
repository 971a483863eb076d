//! What the lines of a step tell of those who wrote them: who was heard, by what source, in which minutes, in what format; and
//! which silences begin, end or go away with that. What a silence means is decided in [`super::blind`]; this brings together the
//! minutes that the decision needs.

use super::blind::{self, Minutes};
use super::coverage::{host, instance};
use super::findings::EDGE_OBSERVER;
use super::rules::Rules;
use crate::decode::DecodedDelivery;
use crate::model::source::{BlindWindow, ObserverRecord, SeenFormat, Source, source_key};
use crate::model::{BlindReason, Call, Identity, Leg, ObserverKind, Side, Timestamp};
use crate::store::{DeliveryHead, Heard, Pulse, Silences, Store, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Who wrote a leg, by what source: source, kind, name, key of the workload that it calls its own.
type Who = (Arc<str>, ObserverKind, String, String);

/// What has been heard so far in a step.
#[derive(Debug, Default)]
pub struct Ear {
    sources: BTreeMap<String, Source>,
    observers: BTreeMap<Who, ObserverRecord>,
    minutes: BTreeMap<String, Minutes>,
    latest: Timestamp,
}

impl Ear {
    /// `counted`: the delivery is derived again, and source and observers are counted with it already.
    pub fn hear(&mut self, delivery: &DeliveryHead, decoded: &DecodedDelivery, counted: bool) {
        let new = i64::from(!counted);
        let received_at = delivery.received_at;
        let source = self.sources.entry(delivery.source.clone()).or_insert_with(|| Source {
            name: delivery.source.clone(),
            deliveries: 0,
            lines: 0,
            rejects: 0,
            first_received: received_at,
            last_received: received_at,
        });
        source.deliveries += new;
        source.lines += new * i64::from(delivery.line_count);
        source.rejects += new * decoded.rejects.len() as i64;
        source.first_received = source.first_received.min(received_at);
        source.last_received = source.last_received.max(received_at);
        // Few wrote the many lines of a delivery: each is named once.
        let mut voices: HashMap<Voice<'_>, Told> = HashMap::new();
        for (leg, fields) in decoded.legs.iter().zip(&decoded.fields) {
            // A line cannot tell of a time after it came: a clock that says so is wrong.
            let at = leg.end().min(leg.line.received_at);
            self.latest = self.latest.max(at);
            voices.entry(Voice::of(leg)).or_default().hear(leg, at, *fields);
        }
        for (voice, told) in voices {
            self.add(voice, told, received_at, new);
        }
    }

    fn add(&mut self, voice: Voice<'_>, told: Told, received_at: Timestamp, new: i64) {
        for key in voice.keys() {
            let minutes = self.minutes.entry(key).or_default();
            told.minutes.iter().for_each(|(hour, bits)| *minutes.entry(*hour).or_default() |= bits);
        }
        let who = (voice.source.clone(), voice.kind, voice.name.to_owned(), voice.local.key());
        let observer =
            self.observers.entry(who).or_insert_with_key(|(source, kind, name, identity)| ObserverRecord {
                source: source.to_string(),
                kind: *kind,
                name: name.clone(),
                identity: identity.clone(),
                legs: 0,
                first_received: received_at,
                last_received: received_at,
                format: None,
            });
        observer.legs += new * told.legs;
        observer.first_received = observer.first_received.min(received_at);
        observer.last_received = observer.last_received.max(received_at);
        observer.format = together(observer.format, told.format);
    }

    /// What was heard, with the silences as they are now.
    pub async fn tell(self, store: &Store, heard: &mut Heard) -> Result<(), StoreError> {
        let mut pulses = Vec::new();
        for (observer, minutes) in self.minutes {
            pulses.extend(minutes.into_iter().map(|(hour, minutes)| Pulse {
                observer: observer.clone(),
                hour,
                minutes,
            }));
        }
        heard.pulses = store.unheard(&pulses).await?;
        heard.silences = silences(store, &heard.pulses).await?;
        heard.sources = self.sources.into_values().collect();
        heard.observers = self.observers.into_values().collect();
        heard.latest = self.latest;
        Ok(())
    }
}

/// Of every observer that was heard in minutes that are new: the silences around them.
async fn silences(store: &Store, new: &[Pulse]) -> Result<Vec<Silences>, StoreError> {
    let mut all = Vec::new();
    for of_one in new.chunk_by(|a, b| a.observer == b.observer) {
        let hours = || of_one.iter().map(|pulse| pulse.hour);
        let Some((first, last)) = hours().min().zip(hours().max()) else { continue };
        let observer = &of_one[0].observer;
        let mut minutes = store.pulses_around(observer, first, blind::reach(last)).await?;
        for pulse in of_one {
            *minutes.entry(pulse.hour).or_default() |= pulse.minutes;
        }
        let blind::Replaced { observer, from, to, windows } = blind::windows(observer, &minutes, first, last);
        all.push(Silences { observer, from, to, windows });
    }
    Ok(all)
}

/// Whoever wrote a leg, as its line names him.
#[derive(PartialEq, Eq, Hash)]
struct Voice<'a> {
    source: &'a Arc<str>,
    kind: ObserverKind,
    name: &'a str,
    local: &'a Identity,
    /// Of his own end of the connection.
    host: Option<&'a str>,
}

impl<'a> Voice<'a> {
    fn of(leg: &'a Leg) -> Self {
        let own_end = leg.socket.as_ref().map(|socket| match leg.side {
            Side::Client => &socket.client,
            Side::Server => &socket.server,
        });
        Voice {
            source: &leg.line.source,
            kind: leg.observer.kind,
            name: &leg.observer.name,
            local: &leg.local,
            host: own_end.map(|address| host(address)),
        }
    }

    /// Under which names he is heard: his source; the workload whose proxy it is, and the instance; or the edge.
    fn keys(&self) -> Vec<String> {
        let mut keys = vec![source_key(self.source)];
        match self.kind {
            ObserverKind::Worker => keys.push(EDGE_OBSERVER.to_owned()),
            ObserverKind::Sidecar | ObserverKind::Gateway => {
                keys.push(self.local.key());
                keys.extend(self.host.map(|host| instance(self.local, host)));
            }
            ObserverKind::Zone => {}
        }
        keys
    }
}

/// What one of them told in a delivery.
#[derive(Default)]
struct Told {
    legs: i64,
    minutes: Minutes,
    format: Option<SeenFormat>,
}

impl Told {
    fn hear(&mut self, leg: &Leg, at: Timestamp, fields: i64) {
        self.legs += 1;
        blind::add(&mut self.minutes, at);
        if leg.observer.kind.is_proxy() {
            self.format = together(self.format, Some(SeenFormat { hour: at.hour(), fields }));
        }
    }
}

/// The later hour's; of one hour all fields that were seen.
fn together(one: Option<SeenFormat>, other: Option<SeenFormat>) -> Option<SeenFormat> {
    match (one, other) {
        (Some(one), Some(other)) if one.hour == other.hour => {
            Some(SeenFormat { fields: one.fields | other.fields, ..one })
        }
        (Some(one), Some(other)) => Some(if one.hour > other.hour { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// By which sources the proxies of parties report, counted over calls: a leg in a format without certificates is told by the
/// call that it is part of.
#[derive(Debug, Default)]
pub struct Reporters(BTreeMap<(String, Arc<str>), i64>);

impl Reporters {
    /// Adds (or with `sign` -1 takes away) what a call says.
    pub fn count(&mut self, call: &Call, sign: i64) {
        for leg in &call.legs {
            let party = match leg.observer.kind {
                ObserverKind::Worker => EDGE_OBSERVER.to_owned(),
                ObserverKind::Sidecar | ObserverKind::Gateway => match leg.side {
                    Side::Client => call.caller.key(),
                    Side::Server => call.callee.key(),
                },
                ObserverKind::Zone => continue,
            };
            *self.0.entry((party, leg.line.source.clone())).or_default() += sign;
        }
    }

    /// What is to be added to what is stored.
    pub fn changes(self) -> Vec<(String, String, i64)> {
        let changed = self.0.into_iter().filter(|(_, legs)| *legs != 0);
        changed.map(|((party, source), legs)| (party, source.to_string(), legs)).collect()
    }
}

/// The outages that an operator has declared, as windows of their sources.
pub fn declared(rules: &Rules) -> Vec<BlindWindow> {
    let window = |outage: &super::rules::Outage| BlindWindow {
        observer: source_key(&outage.source),
        reason: BlindReason::Declared,
        after: outage.from,
        from: outage.from,
        to: outage.to.unwrap_or(Timestamp::MAX),
        known: outage.from,
    };
    rules.outages.iter().map(window).collect()
}
