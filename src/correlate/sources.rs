//! What is wrong with a source, or with one of those whose lines it carries: silence, incompleteness, a format that leaves out
//! what the join needs. Pure: a function of what is known of the sources and of the time of asking.
//!
//! One finding here stands for all the findings of absence that are *not* raised on calls: nobody is accused by a gap in a log.

use super::coverage::{CHAINS_OF, CONNECTIONS_OF, MESH, party_of};
use super::findings::EDGE_OBSERVER;
use crate::model::source::{BlindWindow, CoverageOf, Sources, source_key};
use crate::model::{BlindReason, FindingKind, Severity, SourceFinding, SpiffeId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_US: i64 = 3_600_000_000;
/// Names that are told before the rest is only counted.
const NAMES_TOLD: usize = 3;

/// Names of the fields that a format lacks, of its bits: `decode::needs::missing`.
pub type Missing = fn(i64) -> Vec<&'static str>;

const NOTHING_CONCLUDED: &str = "nothing is concluded from what it did not log";

/// Proxies of a source that lack the same fields: since when each is known to, and its name.
type Alike<'a> = BTreeMap<(&'a str, Vec<&'a str>), Vec<(Timestamp, &'a str)>>;

/// What holds at `as_of`, the latest first.
pub fn findings(known: &Sources, as_of: Timestamp, missing: Missing) -> Vec<SourceFinding> {
    let scene = Scene { known, as_of };
    let mut found = scene.silences();
    found.extend(scene.low_coverage());
    found.extend(scene.withheld());
    found.extend(scene.format_gaps(missing));
    found.iter_mut().for_each(|finding| {
        // Some begin with whom they are about.
        finding.sentence[..1].make_ascii_uppercase();
    });
    found.sort_by(|a, b| {
        (b.from, &a.sources, &a.observer, a.kind).cmp(&(a.from, &b.sources, &b.observer, b.kind))
    });
    found
}

struct Scene<'a> {
    known: &'a Sources,
    as_of: Timestamp,
}

impl Scene<'_> {
    fn sources_of(&self, party: &str) -> Vec<String> {
        let reports = self.known.reporters.iter().filter(|(key, _)| key == party);
        reports.map(|(_, source)| source.clone()).collect()
    }

    /// The sources of a window's observer, and the observer where it is not the source itself.
    fn place(&self, observer: &str) -> (Vec<String>, Option<String>) {
        match observer.strip_prefix("source:") {
            Some(source) => (vec![source.to_owned()], None),
            None => (self.sources_of(observer), Some(observer.to_owned())),
        }
    }

    fn silences(&self) -> Vec<SourceFinding> {
        let begun = self.known.blind.iter().filter(|w| w.after <= self.as_of);
        begun.filter_map(|window| self.silence(window)).collect()
    }

    fn silence(&self, window: &BlindWindow) -> Option<SourceFinding> {
        let (sources, observer) = self.place(&window.observer);
        let who = named(&window.observer);
        let (from, to) = (window.after, Some(window.to).filter(|_| window.is_over()));
        let until = to.map_or_else(|| "until further notice".to_owned(), |to| format!("to {to}"));
        let nothing = "Nothing is concluded from what it did not say then.";
        let (kind, severity, sentence) = match (window.reason, to) {
            (BlindReason::Declared, _) => (
                FindingKind::BlindWindow,
                Severity::Info,
                format!("{who} is declared blind from {from} {until}. {nothing}"),
            ),
            (BlindReason::Silent, _) if self.told_otherwise(window, &sources) => return None,
            (BlindReason::Silent, Some(to)) => (
                FindingKind::BlindWindow,
                Severity::Low,
                format!(
                    "No line tells of {who} between {from} and {to}, and its rhythm before that makes no such pause. {nothing}"
                ),
            ),
            (BlindReason::Silent, None) if self.as_of < window.known.plus_us(self.known.grace_us) => {
                return None;
            }
            (BlindReason::Silent, None) => (
                FindingKind::SilentSource,
                Severity::Medium,
                format!(
                    "No line has told of {who} since {from}, and its rhythm before that makes no such pause: look at its \
                     log, its shipper or its job."
                ),
            ),
        };
        Some(SourceFinding { from, to, kind, severity, sources, observer, sentence })
    }

    /// A silence within one that its source has, or that an operator has declared, is told there.
    fn told_otherwise(&self, window: &BlindWindow, sources: &[String]) -> bool {
        let within = |other: &BlindWindow| other.after <= window.from && window.to <= other.to;
        let silent = |source: &String| {
            let key = source_key(source);
            let of_source = self.known.blind.iter().filter(|other| other.observer == key);
            let is_own = key == window.observer;
            of_source.filter(|other| !is_own || other.reason == BlindReason::Declared).any(within)
        };
        !sources.is_empty() && sources.iter().all(silent)
    }

    fn low_coverage(&self) -> Vec<SourceFinding> {
        let over = |row: &&CoverageOf| row.hour.plus_us(HOUR_US + self.known.grace_us) <= self.as_of;
        let rows: Vec<&CoverageOf> = self.known.low.iter().filter(over).collect();
        let low: Low<'_> = rows.iter().map(|r| (r.observer.as_str(), r.hour)).collect();
        let mut worth: Vec<&CoverageOf> =
            rows.iter().filter(|row| is_worth_telling(row, &low)).copied().collect();
        worth.sort();
        let follows = |a: &&CoverageOf, b: &&CoverageOf| {
            a.observer == b.observer && b.hour.micros() - a.hour.micros() <= HOUR_US
        };
        worth.chunk_by(follows).map(|hours| self.low(hours)).collect()
    }

    fn low(&self, hours: &[&CoverageOf]) -> SourceFinding {
        let sum = |of: fn(&CoverageOf) -> i64| hours.iter().map(|row| of(row)).sum::<i64>();
        let (expected, seen) = (sum(|r| r.inbound_expected), sum(|r| r.inbound_seen));
        let (observer, last) = (&hours[0].observer, hours[hours.len() - 1].hour);
        let who = named(observer);
        let (told, so) = if observer.starts_with(CONNECTIONS_OF) {
            let told = format!(
                "Of {expected} calls to or from it {who} logged {seen} with the addresses that the other end logged"
            );
            (told, "a connection that it did not log may yet be its own")
        } else if observer.starts_with(CHAINS_OF) {
            let told = format!(
                "Of {expected} calls to or from it on which the other end's line shows the edge's header, {who}'s own showed it on {seen}"
            );
            (told, "what it was asked for by a request from the edge may not be known to be")
        } else if expected > 0 {
            (format!("{who} logged {seen} of {expected} calls that others sent to it"), NOTHING_CONCLUDED)
        } else {
            let (expected, seen) = (sum(|r| r.outbound_expected), sum(|r| r.outbound_seen));
            (
                format!("{who} logged {seen} of {expected} calls that others received from it"),
                NOTHING_CONCLUDED,
            )
        };
        let party = party_of(observer);
        let party = party.rsplit_once('@').map_or(party, |(party, _)| party);
        SourceFinding {
            from: hours[0].hour,
            to: Some(last.plus_us(HOUR_US)),
            kind: FindingKind::LowCoverage,
            severity: Severity::Medium,
            sources: self.sources_of(party),
            observer: Some(observer.clone()),
            sentence: format!("{told}: less than 99 %, so {so}."),
        }
    }

    fn withheld(&self) -> Vec<SourceFinding> {
        let mut by_observer: BTreeMap<&str, (Timestamp, Timestamp, i64)> = BTreeMap::new();
        for row in &self.known.withheld {
            let sum = by_observer.entry(party_of(&row.observer)).or_insert((row.hour, row.hour, 0));
            *sum = (sum.0.min(row.hour), sum.1.max(row.hour), sum.2 + row.findings);
        }
        let finding = |(observer, (first, last, count)): (&str, (Timestamp, Timestamp, i64))| {
            let (sources, who) = (self.sources_of(observer), named(observer));
            let (kind, why) = match sources.is_empty() {
                true => (FindingKind::SilentSource, format!("No line has ever come from {who}")),
                false => (FindingKind::LowCoverage, format!("Nothing shows how completely {who} reports")),
            };
            let findings = if count == 1 {
                "a finding that rests".to_owned()
            } else {
                format!("{count} findings that rest")
            };
            SourceFinding {
                from: first,
                to: Some(last.plus_us(HOUR_US)),
                kind,
                severity: Severity::Medium,
                sources,
                observer: Some(observer.to_owned()),
                sentence: format!("{why}: {findings} on its silence cannot be raised."),
            }
        };
        by_observer.into_iter().map(finding).collect()
    }

    fn format_gaps(&self, missing: Missing) -> Vec<SourceFinding> {
        let mut alike = Alike::new();
        for observer in &self.known.observers {
            let Some(format) = observer.format.filter(|f| observer.kind.is_proxy() && f.hour <= self.as_of)
            else {
                continue;
            };
            let lacks = missing(format.fields);
            if !lacks.is_empty() {
                alike.entry((&observer.source, lacks)).or_default().push((format.hour, &observer.name));
            }
        }
        alike.into_iter().map(|((source, lacks), proxies)| format_gap(source, &lacks, &proxies)).collect()
    }
}

/// Who reported badly in which hour.
type Low<'a> = BTreeSet<(&'a str, Timestamp)>;

/// An instance is told of only where its party as a whole looks well, and by its port where that is known; the connections and the
/// chains of a party only where it reports well otherwise.
fn is_worth_telling(row: &CoverageOf, low: &Low<'_>) -> bool {
    let is_low = |observer: &str| low.contains(&(observer, row.hour));
    // Where all together look bad, so does one of them, and it is told of.
    if row.observer == MESH {
        return false;
    }
    let party = party_of(&row.observer);
    if party != row.observer {
        return party != MESH && !party.contains('@') && !is_low(party);
    }
    match row.observer.rsplit_once('@') {
        None => true,
        Some((party, _)) if is_low(party) => false,
        Some((_, address)) => {
            let by_port = format!("{}:", row.observer);
            has_port(address) || !low.iter().any(|(o, hour)| *hour == row.hour && o.starts_with(&by_port))
        }
    }
}

fn format_gap(source: &str, lacks: &[&str], proxies: &[(Timestamp, &str)]) -> SourceFinding {
    let names: BTreeSet<&str> = proxies.iter().map(|(_, name)| *name).collect();
    let told: Vec<&str> = names.iter().copied().take(NAMES_TOLD).collect();
    let more = names.len() - told.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let lacks_any = |fields: &[&str]| fields.iter().any(|field| lacks.contains(field));
    let lacks_all = |fields: &[&str]| fields.iter().all(|field| lacks.contains(field));
    let costs = [
        (lacks_any(&["node_id"]), "who wrote a line is not told by it"),
        (lacks_all(&["traceparent", "request_id"]), "its calls are joined by their connections only"),
        (
            lacks_any(&["downstream_peer_uri_san", "upstream_peer_uri_san"]),
            "nobody that it talks to is verified",
        ),
        (
            lacks_any(&["downstream_direct_remote_address", "upstream_local_address", "upstream_host"]),
            "connections cannot be told apart",
        ),
    ];
    let costs: Vec<&str> = costs.iter().filter(|(does, _)| *does).map(|(_, cost)| *cost).collect();
    let costs = if costs.is_empty() { String::new() } else { format!(" ({})", costs.join("; ")) };
    let sentence = format!(
        "The access-log format of {}{more} in {source} does not print {}{costs}: use the recommended format, or say in \
         [[formats]] under which names they stand.",
        told.join(", "),
        lacks.join(", ")
    );
    SourceFinding {
        from: proxies.iter().map(|(hour, _)| *hour).min().unwrap_or_default(),
        to: None,
        kind: FindingKind::FormatGap,
        severity: Severity::Low,
        sources: vec![source.to_owned()],
        observer: Some(told.join(", ") + &more),
        sentence,
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty())
}

/// Whom a key stands for, in a sentence.
pub fn named(key: &str) -> String {
    let key = party_of(key);
    if let Some(source) = key.strip_prefix("source:") {
        return format!("the source {source}");
    }
    if key == EDGE_OBSERVER {
        return "the edge's Workers".to_owned();
    }
    let (party, at) = match key.rsplit_once('@') {
        Some((party, address)) => (party, format!(" at {address}")),
        None => (key, String::new()),
    };
    let name = match party.parse::<SpiffeId>() {
        Ok(id) => id.short_name().to_owned(),
        Err(_) => party.split_once(':').map_or(party, |(_, name)| name).to_owned(),
    };
    format!("the proxy of {name}{at}")
}

/// The interval in which a share lies with 95 % certainty, of `seen` among `expected` (Wilson's).
pub fn interval(seen: i64, expected: i64) -> (f64, f64) {
    if expected < 1 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_964;
    let (n, p) = (expected as f64, seen as f64 / expected as f64);
    let (middle, spread) = (p + Z * Z / (2.0 * n), Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt());
    let whole = 1.0 + Z * Z / n;
    (((middle - spread) / whole).max(0.0), ((middle + spread) / whole).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObserverKind;
    use crate::model::source::{ObserverRecord, SeenFormat};

    const HOUR: Timestamp = Timestamp(1_795_485_600_000_000);
    const WEB: &str = "spiffe://td.consul/ns/default/dc/dc1/svc/web";

    fn minute(n: i64) -> Timestamp {
        HOUR.plus_us(n * 60_000_000)
    }

    fn silent(observer: &str, after: i64, to: Option<i64>) -> BlindWindow {
        BlindWindow {
            observer: observer.to_owned(),
            reason: BlindReason::Silent,
            after: minute(after),
            from: minute(after + i64::from(to.is_none())),
            to: to.map_or(Timestamp::MAX, minute),
            known: minute(after + 5),
        }
    }

    fn low(observer: &str, hours: i64, counts: [i64; 4]) -> CoverageOf {
        let [inbound_expected, inbound_seen, outbound_expected, outbound_seen] = counts;
        let hour = HOUR.plus_us(hours * HOUR_US);
        CoverageOf {
            observer: observer.to_owned(),
            hour,
            inbound_expected,
            inbound_seen,
            outbound_expected,
            outbound_seen,
        }
    }

    fn known() -> Sources {
        Sources {
            reporters: vec![(WEB.to_owned(), "mesh".to_owned())],
            grace_us: 120_000_000,
            ..Sources::default()
        }
    }

    fn told(known: &Sources, as_of: Timestamp) -> Vec<(FindingKind, String)> {
        findings(known, as_of, |_| vec!["traceparent"]).into_iter().map(|f| (f.kind, f.sentence)).collect()
    }

    #[test]
    fn a_silence_is_told_once_it_is_known_for_one_and_of_its_source_rather_than_of_each_proxy() {
        let mut known = known();
        known.blind = vec![silent(WEB, 10, None)];
        assert_eq!(told(&known, minute(16)), []);
        let found = told(&known, minute(17));
        assert_eq!(found[0].0, FindingKind::SilentSource);
        assert!(found[0].1.contains("the proxy of web since"), "{}", found[0].1);

        known.blind.push(silent("source:mesh", 10, None));
        let found = told(&known, minute(17));
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("the source mesh since"), "{}", found[0].1);

        known.blind[1] = silent("source:mesh", 10, Some(40));
        known.blind[0] = silent(WEB, 10, Some(40));
        let found = told(&known, minute(60));
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [FindingKind::BlindWindow]);
    }

    #[test]
    fn a_declared_outage_explains_the_silence_within_it() {
        let declared = BlindWindow { reason: BlindReason::Declared, ..silent("source:mesh", 5, None) };
        let known = Sources { blind: vec![declared, silent("source:mesh", 10, None)], ..known() };
        let found = told(&known, minute(60));
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("declared blind") && found[0].1.contains("until further notice"));
    }

    #[test]
    fn hours_that_follow_each_other_are_one_finding_and_an_instance_stands_for_itself_only_alone() {
        let mut known = known();
        known.low = vec![
            low(WEB, 0, [100, 50, 0, 0]),
            low(WEB, 1, [100, 60, 0, 0]),
            low(&format!("{WEB}@10.0.0.1"), 1, [50, 0, 0, 0]),
            low(&format!("{WEB}@10.0.0.1"), 3, [3, 0, 0, 0]),
            low(&format!("{WEB}@10.0.0.1:20000"), 3, [3, 0, 0, 0]),
            low(WEB, 9, [100, 50, 0, 0]),
        ];
        let found = told(&known, HOUR.plus_us(9 * HOUR_US));
        let sentences: Vec<&str> = found.iter().map(|(_, sentence)| sentence.as_str()).collect();
        assert_eq!(sentences.len(), 2, "the last hour is not over yet: {sentences:?}");
        assert!(sentences[0].contains("web at 10.0.0.1:20000 logged 0 of 3"), "{sentences:?}");
        assert!(sentences[1].contains("The proxy of web logged 110 of 200"), "{sentences:?}");
    }

    #[test]
    fn proxies_with_the_same_gap_are_told_of_together() {
        let observer = |n: i64| ObserverRecord {
            source: "mesh".to_owned(),
            kind: ObserverKind::Sidecar,
            name: format!("web-{n}"),
            identity: WEB.to_owned(),
            legs: 1,
            first_received: HOUR,
            last_received: HOUR,
            format: Some(SeenFormat { hour: HOUR, fields: 0 }),
        };
        let known = Sources { observers: (0..5).map(observer).collect(), ..known() };
        let found = told(&known, HOUR);
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("web-0, web-1, web-2 and 2 more in mesh does not print traceparent"));
    }

    #[test]
    fn a_share_of_few_is_known_less_well_than_one_of_many() {
        let (few, many) = (interval(10, 10), interval(1000, 1000));
        assert!(few.0 < 0.73 && many.0 > 0.99 && few.1 > 0.999);
        assert_eq!(interval(0, 0), (0.0, 1.0));
    }
}
