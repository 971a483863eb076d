//! What the correlator writes about sources and observers, and what it asks of what it wrote: who was heard, when, by what way.
//!
//! Everything here grows with the evidence (sums, extremes, bits that are set) or is replaced in ranges, so that the order in
//! which lines come does not matter.

use super::bulk::Target;
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError, index_text};
use crate::model::source::{BlindWindow, ObserverRecord, SeenFormat, Source};
use crate::model::{BlindReason, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Rows per statement.
const ROWS: usize = 64;

/// What the deliveries of one step tell of who was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Added to what is stored.
    pub sources: Vec<Source>,
    pub observers: Vec<ObserverRecord>,
    pub pulses: Vec<Pulse>,
    /// Key of a party, a source, and how many more legs of stored calls say that the one reports by the other.
    pub reporters: Vec<(String, String, i64)>,
    pub silences: Vec<Silences>,
    /// The latest end that any line tells of.
    pub latest: Timestamp,
}

/// The minutes of an hour for which lines of an observer came: bit 0 is the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pulse {
    pub observer: String,
    pub hour: Timestamp,
    pub minutes: u64,
}

/// The silences of an observer that began in `[from, to)`, in place of those that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silences {
    pub observer: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub windows: Vec<BlindWindow>,
}

impl Store {
    /// Of these pulses, those with a minute that is not stored yet.
    pub async fn unheard(&self, pulses: &[Pulse]) -> Result<Vec<Pulse>, StoreError> {
        let mut stored: HashMap<(String, i64), u64> = HashMap::new();
        for some in pulses.chunks(ROWS) {
            let mut select =
                stmt("select observer, hour_us, minutes from pulse where (observer, hour_us) in (values ");
            let places = vec!["(?, ?)"; some.len()].join(", ");
            let binds =
                some.iter().flat_map(|p| [Bind::text(&index_text(&p.observer)), Bind::int(p.hour.micros())]);
            select.push(&places, binds);
            select.push(")", []);
            for (observer, hour, minutes) in self.rows::<(String, i64, i64)>(select).await? {
                stored.insert((observer, hour), minutes as u64);
            }
        }
        let is_new = |pulse: &&Pulse| {
            let known = stored.get(&(index_text(&pulse.observer).into_owned(), pulse.hour.micros()));
            pulse.minutes & !known.copied().unwrap_or(0) != 0
        };
        Ok(pulses.iter().filter(is_new).cloned().collect())
    }

    /// Stored pulses of an observer: from an hour before the last one before `first` to the first one at or after `reach`.
    pub async fn pulses_around(
        &self,
        observer: &str,
        first: Timestamp,
        reach: Timestamp,
    ) -> Result<BTreeMap<Timestamp, u64>, StoreError> {
        let observer = index_text(observer);
        let select = "select hour_us, minutes from pulse where observer = ? \
             and hour_us >= coalesce((select max(p.hour_us) from pulse p where p.observer = ? and p.hour_us < ?), ?) - 3600000000 \
             and hour_us <= coalesce((select min(p.hour_us) from pulse p where p.observer = ? and p.hour_us >= ?), ?)";
        let select = stmt(select).text(&observer).text(&observer).int(first.micros()).int(first.micros());
        let select = select.text(&observer).int(reach.micros()).int(reach.micros());
        let rows: Vec<(i64, i64)> = self.rows(select).await?;
        Ok(rows.into_iter().map(|(hour, minutes)| (Timestamp(hour), minutes as u64)).collect())
    }

    /// Puts the operator's word in force: how long lines may take, and the outages that are known. It is not part of what is
    /// derived, and holds for what was derived before as well.
    pub async fn declare(&self, grace_us: i64, outages: &[BlindWindow]) -> Result<(), StoreError> {
        let mut tx = self.begin_derived().await?;
        tx.execute(stmt("update correlator set grace_us = ?").int(grace_us)).await?;
        let declared = BlindReason::Declared.as_str();
        tx.execute(stmt("delete from blind_window where reason = ?").text(declared)).await?;
        tx.insert(&WINDOWS, window_rows(outages)).await?;
        tx.commit().await
    }
}

pub(super) async fn add(tx: &mut Tx, heard: &Heard) -> Result<(), StoreError> {
    tx.insert(&SOURCES, source_rows(&heard.sources)).await?;
    tx.insert(&OBSERVERS, observer_rows(&heard.observers)).await?;
    tx.insert(&PULSES, pulse_rows(&heard.pulses)).await?;
    tx.insert(&REPORTERS, reporter_rows(&heard.reporters)).await?;
    for silences in &heard.silences {
        let delete =
            "delete from blind_window where observer = ? and reason = ? and after_us >= ? and after_us < ?";
        let delete = stmt(delete).text(&index_text(&silences.observer)).text(BlindReason::Silent.as_str());
        tx.execute(delete.int(silences.from.micros()).int(silences.to.micros())).await?;
        tx.insert(&WINDOWS, window_rows(&silences.windows)).await?;
    }
    let latest = heard.latest.micros();
    let update = "update correlator set heard_us = ? where heard_us < ?";
    tx.execute(stmt(update).int(latest).int(latest)).await?;
    Ok(())
}

const SOURCES: Target = Target {
    table: "source",
    columns: "name, deliveries, lines, rejects, first_received_us, last_received_us",
    on_conflict: " on conflict (name) do update set deliveries = source.deliveries + excluded.deliveries, \
        lines = source.lines + excluded.lines, rejects = source.rejects + excluded.rejects, \
        first_received_us = case when excluded.first_received_us < source.first_received_us \
        then excluded.first_received_us else source.first_received_us end, \
        last_received_us = case when excluded.last_received_us > source.last_received_us \
        then excluded.last_received_us else source.last_received_us end",
};

fn source_rows(sources: &[Source]) -> Vec<Bind> {
    let rows = sources.iter().flat_map(|s| {
        let counts = [s.deliveries, s.lines, s.rejects, s.first_received.micros(), s.last_received.micros()];
        std::iter::once(Bind::text(&s.name)).chain(counts.map(Bind::int))
    });
    rows.collect()
}

/// Of the format the newest hour counts, and of that hour all fields that any line had.
const OBSERVERS: Target = Target {
    table: "observer",
    columns: "source, kind, name, identity, legs, first_received_us, last_received_us, format_hour_us, format_fields",
    on_conflict: " on conflict (source, kind, name, identity) do update set legs = observer.legs + excluded.legs, \
        first_received_us = case when excluded.first_received_us < observer.first_received_us \
        then excluded.first_received_us else observer.first_received_us end, \
        last_received_us = case when excluded.last_received_us > observer.last_received_us \
        then excluded.last_received_us else observer.last_received_us end, \
        format_fields = case when observer.format_hour_us is null or excluded.format_hour_us > observer.format_hour_us \
        then excluded.format_fields when excluded.format_hour_us = observer.format_hour_us \
        then observer.format_fields | excluded.format_fields else observer.format_fields end, \
        format_hour_us = case when observer.format_hour_us is null or excluded.format_hour_us > observer.format_hour_us \
        then excluded.format_hour_us else observer.format_hour_us end",
};

/// Names may be one only once they are stored.
fn observer_rows(observers: &[ObserverRecord]) -> Vec<Bind> {
    let mut merged: BTreeMap<(&str, &str, String, String), ObserverRecord> = BTreeMap::new();
    for o in observers {
        let (name, identity) = (index_text(&o.name).into_owned(), index_text(&o.identity).into_owned());
        merged
            .entry((o.source.as_str(), o.kind.as_str(), name, identity))
            .and_modify(|known| add_observer(known, o))
            .or_insert_with(|| o.clone());
    }
    let rows = merged.into_iter().flat_map(|((source, kind, name, identity), o)| {
        [
            Bind::text(source),
            Bind::text(kind),
            Bind::text(&name),
            Bind::text(&identity),
            Bind::int(o.legs),
            Bind::int(o.first_received.micros()),
            Bind::int(o.last_received.micros()),
            Bind::Int(o.format.map(|format| format.hour.micros())),
            Bind::Int(o.format.map(|format| format.fields)),
        ]
    });
    rows.collect()
}

/// As the database adds to the row that it has.
fn add_observer(known: &mut ObserverRecord, other: &ObserverRecord) {
    known.legs += other.legs;
    known.first_received = known.first_received.min(other.first_received);
    known.last_received = known.last_received.max(other.last_received);
    known.format = match (known.format.take(), other.format) {
        (Some(a), Some(b)) if a.hour == b.hour => Some(SeenFormat { fields: a.fields | b.fields, ..a }),
        (Some(a), Some(b)) => Some(if a.hour > b.hour { a } else { b }),
        (a, b) => a.or(b),
    };
}

const PULSES: Target = Target {
    table: "pulse",
    columns: "observer, hour_us, minutes",
    on_conflict: " on conflict (observer, hour_us) do update set minutes = pulse.minutes | excluded.minutes",
};

fn pulse_rows(pulses: &[Pulse]) -> Vec<Bind> {
    let mut merged: BTreeMap<(String, i64), u64> = BTreeMap::new();
    for p in pulses {
        *merged.entry((index_text(&p.observer).into_owned(), p.hour.micros())).or_default() |= p.minutes;
    }
    let rows = merged.into_iter().flat_map(|((observer, hour_us), minutes)| {
        [Bind::text(&observer), Bind::int(hour_us), Bind::int(minutes as i64)]
    });
    rows.collect()
}

const REPORTERS: Target = Target {
    table: "reporter",
    columns: "identity, source, legs",
    on_conflict: " on conflict (identity, source) do update set legs = reporter.legs + excluded.legs",
};

fn reporter_rows(reporters: &[(String, String, i64)]) -> Vec<Bind> {
    let mut merged: BTreeMap<(String, &str), i64> = BTreeMap::new();
    for (identity, source, legs) in reporters {
        *merged.entry((index_text(identity).into_owned(), source)).or_default() += legs;
    }
    let rows = merged
        .into_iter()
        .filter(|(_, legs)| *legs != 0)
        .flat_map(|((identity, source), legs)| [Bind::text(&identity), Bind::text(source), Bind::int(legs)]);
    rows.collect()
}

const WINDOWS: Target = Target {
    table: "blind_window",
    columns: "observer, reason, after_us, from_us, to_us, known_us",
    on_conflict: " on conflict do nothing",
};

fn window_rows(windows: &[BlindWindow]) -> Vec<Bind> {
    let rows = windows.iter().flat_map(|w| {
        let times = [w.after, w.from, w.to, w.known].map(|time| Bind::int(time.micros()));
        [Bind::text(&index_text(&w.observer)), Bind::text(w.reason.as_str())].into_iter().chain(times)
    });
    rows.collect()
}
