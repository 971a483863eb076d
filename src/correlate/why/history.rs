//! What was believed of a call when: what its lines tell by the time they came, and what the journal keeps of beliefs that were
//! taken back.

use super::words;
use crate::correlate::build::settling;
use crate::correlate::rules::Rules;
use crate::model::identity::words;
use crate::model::{Believed, Call, CallId, JournalEntry, Leg, LegId, Side, Timestamp};
use std::collections::BTreeSet;

/// What happened to what is believed of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    FirstSeen,
    /// A further line of a side that was known.
    Line,
    /// The first line of the other side.
    Completed,
    /// The call goes by another id since.
    Renamed,
    Settled,
    /// A line that came after no more were expected.
    Amended,
    FindingRaised,
    FindingWithdrawn,
    /// A fact that had been believed of a settled call is believed otherwise.
    Changed,
}
words!(What {
    FirstSeen => "first_seen", Line => "line", Completed => "completed", Renamed => "renamed", Settled => "settled",
    Amended => "amended", FindingRaised => "finding_raised", FindingWithdrawn => "finding_withdrawn", Changed => "changed",
});

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub what: What,
    /// Of a finding its kind, of a change what about the call changed.
    pub about: Option<String>,
    /// The delivery that brought it about.
    pub delivery: Option<u64>,
    pub leg: Option<LegId>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub sentence: String,
}

/// A call's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Ids by which it was known before.
    pub former_ids: Vec<CallId>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

/// `call` carries the findings that hold at `as_of`; `journal` what was taken back of any of its legs.
pub fn history(call: &Call, journal: &[JournalEntry], rules: &Rules, as_of: Timestamp) -> History {
    let mut events = lines(call, rules);
    let raised_late = |kind: &str| {
        journal
            .iter()
            .any(|e| e.what == Believed::FindingRaised && e.finding.is_some_and(|f| f.as_str() == kind))
    };
    let standing = call.findings.iter().filter(|f| !raised_late(f.kind.as_str()));
    events.extend(standing.map(|f| {
        let text = format!("{} ({}): {}", f.kind, f.severity, f.sentence);
        raised(f.raised_at, f.kind.as_str(), text, None)
    }));
    events.extend(journal.iter().flat_map(taken_back));
    events.retain(|e| e.at <= as_of);
    events.sort_by_key(|e| (e.at, e.what));
    events.dedup();
    let renamed =
        events.iter().filter(|e| e.what == What::Renamed).filter_map(|e| e.before.as_ref()?.parse().ok());
    let superseded = journal.iter().filter(|e| e.what == Believed::Superseded).map(|e| e.call);
    let former: BTreeSet<CallId> = renamed.chain(superseded).filter(|id| *id != call.id).collect();
    History { former_ids: former.into_iter().collect(), events }
}

/// What the lines tell by when they came.
fn lines(call: &Call, rules: &Rules) -> Vec<Event> {
    let mut in_order: Vec<&Leg> = call.legs.iter().collect();
    in_order.sort_by_key(|l| (l.line.received_at, l.line.delivery, l.line.line, l.id));
    let mut events = Vec::new();
    let (mut known, mut in_time): (Vec<&Leg>, Vec<&Leg>) = (Vec::new(), Vec::new());
    for leg in in_order {
        let before = settled_at(&known, rules);
        in_time.push(leg);
        // Under the rules at hand another line may count as late than under those by which the call was derived.
        let late = call.amended && settling(&in_time, rules).1;
        if late {
            in_time.pop();
            let was_amended = events.iter().any(|e: &Event| e.what == What::Amended);
            events.extend(before.filter(|_| !was_amended).map(settled));
        }
        events.extend(line(call, &known, leg, late));
        known.push(leg);
    }
    let last_in_time = events.iter().all(|e| e.what != What::Amended);
    events.extend(last_in_time.then(|| settled(call.settles_at)));
    events
}

fn settled_at(known: &[&Leg], rules: &Rules) -> Option<Timestamp> {
    (!known.is_empty()).then(|| settling(known, rules).0)
}

fn settled(at: Timestamp) -> Event {
    let sentence = "no more lines were expected".to_owned();
    Event {
        at,
        what: What::Settled,
        about: None,
        delivery: None,
        leg: None,
        before: None,
        after: None,
        sentence,
    }
}

/// The events of one line: that it came, and that the call goes by its id since.
fn line(call: &Call, known: &[&Leg], leg: &Leg, late: bool) -> Vec<Event> {
    let other_side = known.iter().any(|k| k.side != leg.side) || !known.iter().any(|k| k.side == leg.side);
    let first_of_side = !known.iter().any(|k| k.side == leg.side);
    let what = match (known.is_empty(), late) {
        (true, _) => What::FirstSeen,
        (false, true) => What::Amended,
        (false, false) if first_of_side => What::Completed,
        (false, false) => What::Line,
    };
    let (side, line) = (if leg.side == Side::Client { "client" } else { "server" }, &leg.line);
    let completes = if late && first_of_side && other_side { ", which completes the call" } else { "" };
    let sentence = format!(
        "the {side} line of {} came ({} delivery {} line {}){completes}",
        leg.observer.name, line.source, line.delivery, line.line
    );
    let event = Event {
        at: line.received_at,
        what,
        about: None,
        delivery: Some(line.delivery),
        leg: Some(leg.id),
        before: None,
        after: None,
        sentence,
    };
    let canonical =
        |known: &[&Leg]| call.legs.iter().map(|l| l.id).find(|id| known.iter().any(|k| k.id == *id));
    let with: Vec<&Leg> = known.iter().copied().chain([leg]).collect();
    let renamed = canonical(known).zip(canonical(&with)).filter(|(before, after)| before != after);
    let renamed = renamed.map(|(before, after)| Event {
        what: What::Renamed,
        before: Some(before.to_string()),
        after: Some(after.to_string()),
        sentence: format!("it was known as {before} until then, and is as {after} since"),
        ..event.clone()
    });
    std::iter::once(event).chain(renamed).collect()
}

fn raised(at: Timestamp, kind: &str, text: String, delivery: Option<u64>) -> Event {
    Event {
        at,
        what: What::FindingRaised,
        about: Some(kind.to_owned()),
        delivery,
        leg: None,
        before: None,
        after: Some(text.clone()),
        sentence: text,
    }
}

/// The events of one entry of the journal.
fn taken_back(entry: &JournalEntry) -> Vec<Event> {
    let kind = entry.finding.map_or("", |f| f.as_str());
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    match entry.what {
        Believed::FindingRaised => vec![raised(entry.at, kind, said(&entry.after), Some(entry.delivery))],
        Believed::FindingWithdrawn => {
            let first = entry.since.map(|since| raised(since, kind, said(&entry.before), None));
            let held = entry.since.map_or_else(String::new, |since| {
                format!(", after it had held for {}", words::span(entry.at.0 - since.0))
            });
            let withdrawn = Event {
                what: What::FindingWithdrawn,
                before: entry.before.clone(),
                ..changed(
                    entry,
                    Some(kind),
                    format!("{kind}: withdrawn by delivery {}{held}.", entry.delivery),
                )
            };
            first.into_iter().chain([withdrawn]).collect()
        }
        Believed::Superseded => {
            let sentence = format!("{} is no call's own id any more: {} has its line", entry.call, entry.now);
            vec![changed(entry, None, sentence)]
        }
        Believed::Legs => {
            let sentence = format!(
                "line {} had been taken for one of {} and is one of {}",
                entry.call,
                said(&entry.before),
                said(&entry.after)
            );
            vec![changed(entry, None, sentence)]
        }
        what => {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            let sentence =
                format!("{what}: {} until then, {} since", or_none(&entry.before), or_none(&entry.after));
            vec![changed(entry, None, sentence)]
        }
    }
}

fn changed(entry: &JournalEntry, about: Option<&str>, sentence: String) -> Event {
    Event {
        at: entry.at,
        what: What::Changed,
        about: Some(about.unwrap_or(entry.what.as_str()).to_owned()),
        delivery: Some(entry.delivery),
        leg: None,
        before: entry.before.clone(),
        after: entry.after.clone(),
        sentence,
    }
}
