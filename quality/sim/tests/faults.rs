//! What faults do to the lines of the lab's run, and what they say about it.

mod lab;

use calltrail_sim::faults::*;
use calltrail_sim::lines;
use calltrail_sim::records::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

const SEED: u64 = 7;

fn received(faults: Faults) -> Received {
    apply(lab::all_records(), &faults, SEED)
}

fn lines_of(source: &str, received: &Received) -> Vec<ReceivedLine> {
    received.lines.iter().filter(|line| line.source == source).cloned().collect()
}

fn told(received: &Received) -> BTreeSet<Tell> {
    received.lines.iter().flat_map(|line| line.tells.clone()).collect()
}

/// Places of the records whose lines arrived damaged so.
fn hit(change: Change, received: &Received) -> BTreeSet<usize> {
    received.lines.iter().filter(|line| line.changed.contains(&change)).map(|line| line.record).collect()
}

#[test]
fn without_faults_every_line_arrives_once_as_it_was_written() {
    let records = lab::all_records();
    let received = apply(records.clone(), &Faults::default(), SEED);
    assert_eq!(received.lines.len(), records.len());
    for line in &received.lines {
        assert_eq!(line.text, lines::line(&records[line.record]));
        assert!(line.changed.is_empty());
    }
    assert!(received.lost.is_empty() && received.outages.is_empty());
    assert!(received.clocks.iter().all(|clock| clock.offset_us(1_795_489_010_000_000) == 0));
    assert_eq!(received.clocks.len(), 14);
}

#[test]
fn a_line_arrives_after_its_end_within_the_flush_of_its_sender() {
    let records = lab::all_records();
    let received = apply(records.clone(), &Faults::default(), SEED);
    for line in &received.lines {
        let (end_us, longest_us) = match &records[line.record] {
            Record::Envoy(envoy) => (envoy.start_us + envoy.duration_us, 10_000_000),
            Record::Worker(event) => (event.end_us, 60_000_000),
            Record::Zone(row) => (row.end_us, 60_000_000),
        };
        let waited_us = line.received_at_us - end_us;
        assert!((1..=longest_us).contains(&waited_us), "{waited_us} us: {}", line.text);
    }
    assert!(received.lines.is_sorted_by_key(|line| (line.received_at_us, line.delivery)));
}

#[test]
fn a_delivery_is_of_one_sender_at_one_time_and_not_too_large() {
    let faults = Faults { max_lines_per_delivery: 100, transit_max_s: 3.0, ..Faults::default() };
    let mut deliveries: BTreeMap<usize, Vec<ReceivedLine>> = BTreeMap::new();
    for line in received(faults).lines {
        deliveries.entry(line.delivery).or_default().push(line);
    }
    assert!(deliveries.len() > 30);
    for lines in deliveries.values() {
        let senders: HashSet<_> =
            lines.iter().map(|l| (l.source, l.proxy.clone(), l.received_at_us)).collect();
        assert_eq!(senders.len(), 1);
        assert!(lines.len() <= 100);
    }
}

#[test]
fn the_same_seed_gives_the_same_lines_and_another_seed_others() {
    let faults =
        Faults { loss_percent: PerSource::same(10.0), duplicate_lines_percent: 5.0, ..Faults::default() };
    assert_eq!(received(faults.clone()).lines, received(faults.clone()).lines);
    assert_ne!(received(faults.clone()).lines, apply(lab::all_records(), &faults, SEED + 1).lines);
}

#[test]
fn lost_lines_are_accounted_for_per_source() {
    let clean = received(Faults::default());
    let mesh_only = PerSource { mesh: 20.0, ..PerSource::default() };
    let lossy = received(Faults { loss_percent: mesh_only, ..Faults::default() });
    let lost: BTreeSet<Tell> = lossy.lost.iter().map(|lost| lost.tell.clone()).collect();
    assert!((450..650).contains(&lost.len()), "{} of 2729", lost.len());
    assert!(lossy.lost.iter().all(|lost| lost.why == Why::Loss));
    assert_eq!(told(&clean), told(&lossy).union(&lost).cloned().collect());
    assert!(told(&lossy).is_disjoint(&lost));
    assert_eq!(lines_of("edge", &clean).len(), lines_of("edge", &lossy).len());
}

/// So that two runs that differ in one option can be compared line by line.
#[test]
fn one_fault_does_not_change_whom_another_hits() {
    let strip = Faults { strip_headers_percent: 30.0, ..Faults::default() };
    let alone = hit(Change::Stripped, &received(strip.clone()));
    let also_lost = Faults { loss_percent: PerSource::same(20.0), ..strip.clone() };
    let also_lost = received(Faults { late_lines_percent: 10.0, nat: Nat::PerRequest, ..also_lost });
    let arrived: BTreeSet<usize> = also_lost.lines.iter().map(|line| line.record).collect();
    assert_eq!(hit(Change::Stripped, &also_lost), alone.intersection(&arrived).copied().collect());
    let more = hit(Change::Stripped, &received(Faults { strip_headers_percent: 50.0, ..strip }));
    assert!(alone.is_subset(&more) && alone.len() < more.len());
}

#[test]
fn a_silent_proxy_sends_nothing_and_the_outage_is_on_record() {
    let clean = received(Faults::default());
    let times: Vec<i64> = clean.lines.iter().map(|line| line.received_at_us).collect();
    let (first, last) = (*times.first().unwrap(), *times.last().unwrap());
    let who = Who::Proxy("api-sidecar-proxy".to_owned());
    let outage = Outage { who, from_us: first, to_us: last + 1 };
    let silent = received(Faults { outages: vec![outage.clone()], ..Faults::default() });
    assert_eq!(silent.outages, [outage]);
    assert!(silent.lines.iter().all(|line| line.proxy.as_deref() != Some("api-sidecar-proxy")));
    assert_eq!(silent.lost.len(), 847);
    assert!(silent.lost.iter().all(|lost| lost.why == Why::Outage));
}

#[test]
fn what_is_late_or_sent_again_waits_for_the_end_of_the_silence() {
    let first = received(Faults::default()).lines[0].received_at_us;
    let outage =
        Outage { who: Who::Source(Source::Mesh), from_us: first + 60_000_000, to_us: first + 7_200_000_000 };
    let faults = Faults { late_lines_percent: 50.0, duplicate_deliveries_percent: 50.0, ..Faults::default() };
    let silent = received(Faults { outages: vec![outage.clone()], ..faults });
    let mesh: Vec<i64> = lines_of("mesh", &silent).iter().map(|line| line.received_at_us).collect();
    assert!(mesh.iter().all(|at| !(outage.from_us..outage.to_us).contains(at)));
    assert!(mesh.iter().any(|at| *at >= outage.to_us) && mesh.iter().any(|at| *at < outage.from_us));
}

#[test]
fn random_outages_silence_as_many_as_asked_for() {
    let random = RandomOutages { proxies: 2, sources: 1, seconds: 3_600 };
    let silent = received(Faults { random_outages: random, ..Faults::default() });
    let proxies: Vec<&Who> =
        silent.outages.iter().map(|o| &o.who).filter(|w| matches!(w, Who::Proxy(_))).collect();
    assert_eq!((silent.outages.len(), proxies.len()), (3, 2));
    assert_ne!(proxies[0], proxies[1]);
    assert!(!silent.lost.is_empty());
}

#[test]
fn a_copy_of_a_line_comes_in_another_delivery() {
    let doubled = received(Faults { duplicate_lines_percent: 20.0, ..Faults::default() });
    let mut of_record: BTreeMap<usize, Vec<&ReceivedLine>> = BTreeMap::new();
    doubled.lines.iter().for_each(|line| of_record.entry(line.record).or_default().push(line));
    let copies: Vec<_> = of_record.values().filter(|lines| lines.len() == 2).collect();
    assert!((600..900).contains(&copies.len()), "{} of 3723", copies.len());
    for pair in copies {
        assert_eq!((&pair[0].text, &pair[0].tells), (&pair[1].text, &pair[1].tells));
        assert!(pair[0].delivery != pair[1].delivery && pair[0].received_at_us < pair[1].received_at_us);
    }
}

#[test]
fn a_repeated_delivery_is_the_same_bytes_and_a_recut_one_is_not() {
    let bodies = |faults: Faults| {
        let mut bodies: BTreeMap<usize, String> = BTreeMap::new();
        received(faults)
            .lines
            .iter()
            .for_each(|l| bodies.entry(l.delivery).or_default().push_str(&(l.text.clone() + "\n")));
        bodies.into_values().collect::<Vec<String>>()
    };
    let clean = bodies(Faults::default());
    let distinct = |bodies: &[String]| bodies.iter().cloned().collect::<BTreeSet<_>>().len();
    let repeated = bodies(Faults { duplicate_deliveries_percent: 100.0, ..Faults::default() });
    assert_eq!((repeated.len(), distinct(&repeated)), (2 * clean.len(), clean.len()));
    let recut = bodies(Faults { recut_deliveries_percent: 100.0, ..Faults::default() });
    assert!(distinct(&recut) > clean.len());
    let total = |bodies: &[String]| bodies.iter().map(String::len).sum::<usize>();
    assert_eq!(total(&recut), 2 * total(&clean));
}

#[test]
fn late_lines_arrive_within_a_day_and_nothing_is_lost() {
    let clean = received(Faults::default());
    let late = received(Faults { late_lines_percent: 30.0, ..Faults::default() });
    assert_eq!(told(&clean), told(&late));
    let on_time: BTreeMap<usize, i64> =
        clean.lines.iter().map(|line| (line.record, line.received_at_us)).collect();
    let delays: Vec<i64> =
        late.lines.iter().map(|line| line.received_at_us - on_time[&line.record]).collect();
    let delayed = delays.iter().filter(|us| **us > 0).count();
    assert!((950..1_300).contains(&delayed), "{delayed} of 3723");
    assert!(delays.iter().all(|us| (0..=86_400_000_000 + 60_000_000).contains(us)));
    assert!(delays.iter().any(|us| *us > 12 * 3_600_000_000));
}

#[test]
fn a_clock_error_moves_what_a_proxy_logs_by_just_the_offset_on_record() {
    let records = lab::all_records();
    let clock = ClockFaults { offset_max_s: 300.0, drift_max_ppm: 100.0, steps: 2, step_max_s: 5.0 };
    let skewed = apply(records.clone(), &Faults { clock, ..Faults::default() }, SEED);
    let clocks: BTreeMap<&str, &ProxyClock> = skewed.clocks.iter().map(|c| (c.proxy.as_str(), c)).collect();
    for line in &skewed.lines {
        let Record::Envoy(truly) = &records[line.record] else { continue };
        let shown = lines::time::micros(
            truly.start_us + clocks[line.proxy.as_deref().unwrap()].offset_us(truly.start_us),
        );
        assert_eq!(lab::text(&lab::object(&line.text), "start_time"), Some(shown));
    }
    assert_eq!(hit(Change::Clock, &skewed).len(), 2729);
}

#[test]
fn stripped_lines_keep_no_id_that_a_header_carries() {
    let stripped = received(Faults { strip_headers_percent: 50.0, ..Faults::default() });
    let count = hit(Change::Stripped, &stripped).len();
    assert!((1_200..1_500).contains(&count), "{count} of 2729");
    for line in stripped.lines.iter().filter(|line| line.changed == [Change::Stripped]) {
        let line = lab::object(&line.text);
        for header in ["traceparent", "tracestate", "request_id", "cf_ray", "calltrail"] {
            assert!(line[header].is_null());
        }
        assert!(lab::text(&line, "unique_id").is_some());
    }
}

#[test]
fn a_share_of_the_proxies_logs_in_consuls_default_format() {
    let mixed = received(Faults { default_format_percent: 50.0, ..Faults::default() });
    let by_default = |line: &ReceivedLine| line.changed == [Change::DefaultFormat];
    let proxies = |default: bool| -> BTreeSet<_> {
        mixed.lines.iter().filter(|l| by_default(l) == default).filter_map(|l| l.proxy.clone()).collect()
    };
    assert_eq!((proxies(true).len(), proxies(false).len()), (7, 7));
    assert!(proxies(true).is_disjoint(&proxies(false)));
    for line in &mixed.lines {
        assert_eq!(lab::object(&line.text).contains_key("x_forwarded_for"), by_default(line));
    }
}

/// Addresses that the callee's sidecar saw, by proxy and connection.
fn addresses_seen(nat: Nat) -> BTreeMap<(String, i64), Vec<String>> {
    let mut seen: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for line in received(Faults { nat, ..Faults::default() }).lines {
        let line = lab::object(&line.text);
        if lab::text(&line, "direction").as_deref() == Some("1") {
            let connection = (lab::text(&line, "node_id").unwrap(), line["connection_id"].as_i64().unwrap());
            seen.entry(connection)
                .or_default()
                .push(lab::text(&line, "downstream_direct_remote_address").unwrap());
        }
    }
    seen
}

#[test]
fn a_nat_gives_each_connection_another_address_and_keeps_it() {
    let (truly, behind) = (addresses_seen(Nat::None), addresses_seen(Nat::PerConnection));
    assert!(behind.keys().eq(truly.keys()));
    let firsts: BTreeSet<&String> = behind.values().map(|seen| &seen[0]).collect();
    assert_eq!(firsts.len(), behind.len(), "no two connections share one");
    for (connection, seen) in &behind {
        assert!(seen.iter().all(|address| *address == seen[0] && !truly[connection].contains(address)));
    }
}

#[test]
fn the_harsh_nat_gives_each_request_another_address() {
    let seen: Vec<String> = addresses_seen(Nat::PerRequest).into_values().flatten().collect();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
}

#[test]
fn a_frozen_clock_dates_a_call_by_the_last_answer_before_it() {
    let mut records = lab::all_records();
    let two_calls = |record: &Record| match record {
        Record::Worker(event) => event.records.len() == 2,
        _ => false,
    };
    let at = records.iter().position(two_calls).unwrap();
    let Record::Worker(event) = &mut records[at] else { unreachable!() };
    let start_us = event.start_us;
    event.head.as_mut().unwrap().at_us = start_us + 2_000;
    for (record, (begins_us, lasts_us)) in event.records.iter_mut().zip([(3_000, 10_000), (17_000, 5_000)]) {
        (record.start_us, record.duration_us) = (start_us + begins_us, lasts_us);
    }
    let faults = Faults { frozen_worker_clocks: true, ..Faults::default() };
    let frozen = apply(records, &faults, SEED).lines.into_iter().find(|line| line.record == at).unwrap();
    let event = lab::worker(&lab::object(&frozen.text));
    let logged: Vec<(i64, i64)> =
        event.records.iter().map(|r| (r.start_us - start_us, r.duration_us)).collect();
    assert_eq!(logged, [(0, 13_000), (13_000, 9_000)]);
    assert_eq!(event.head.unwrap().at_us, start_us);
}

#[test]
fn a_truncated_event_keeps_the_head_and_loses_the_records_behind_the_limit() {
    let mut records = lab::all_records();
    let is_event = |record: &Record| matches!(record, Record::Worker(event) if !event.records.is_empty());
    let at = records.iter().position(is_event).unwrap();
    let Record::Worker(event) = &mut records[at] else { unreachable!() };
    let template = event.records[0].clone();
    event.records = (0..90)
        .map(|n| WorkerRecord {
            call: 10_000 + n,
            span_id: format!("{n:016x}"),
            sequence: n as u32 + 1,
            ..template.clone()
        })
        .collect();
    let faults = Faults { truncate_worker_logs_chars: Some(16_384), ..Faults::default() };
    let received = apply(records, &faults, SEED);
    let line = received.lines.iter().find(|line| line.record == at).unwrap();
    let logs = lab::object(&line.text)["Logs"].as_array().unwrap().clone();
    let texts: Vec<&str> = logs.iter().map(|entry| entry["Message"][0].as_str().unwrap()).collect();
    let mark = "<<<Logpush: messages truncated>>>";
    assert!(texts.last().unwrap().ends_with(mark));
    assert_eq!(texts.iter().map(|text| text.len()).sum::<usize>(), 16_384 + mark.len());
    assert_eq!((line.changed.as_slice(), line.tells[0].role), (&[Change::Truncated][..], Role::WorkerHead));
    let lost: Vec<CallNo> = received.lost.iter().map(|lost| lost.tell.call).collect();
    assert_eq!(line.tells.len() - 1 + lost.len(), 90);
    assert!(lost.iter().eq(&((10_090 - lost.len())..10_090).collect::<Vec<_>>()), "the last ones: {lost:?}");
    assert_eq!(hit(Change::Truncated, &received).len(), 1, "all others are shorter");
}

#[test]
fn an_event_whose_head_was_cut_off_is_an_envelope() {
    let bare = received(Faults { truncate_worker_logs_chars: Some(100), ..Faults::default() });
    let events = lines_of("edge", &bare);
    assert!(events.iter().all(|line| line.tells.len() == 1 && line.tells[0].role == Role::WorkerEnvelope));
    let without_head = events.iter().filter(|line| line.changed.contains(&Change::HeadRecordLost)).count();
    assert_eq!(without_head, 333, "three had none from the start");
}

#[test]
fn a_long_exception_leaves_no_room_for_the_log() {
    let mut records = lab::all_records();
    let at = records.iter().position(|record| matches!(record, Record::Worker(_))).unwrap();
    let Record::Worker(event) = &mut records[at] else { unreachable!() };
    event.exceptions = vec![("RangeError".to_owned(), "é".repeat(20_000), event.start_us)];
    let faults = Faults { truncate_worker_logs_chars: Some(16_384), ..Faults::default() };
    let line = apply(records, &faults, SEED).lines.into_iter().find(|line| line.record == at).unwrap();
    let event = lab::object(&line.text);
    let expected = "é".repeat(16_384 - "RangeError".len()) + "<<<Logpush: exception messages truncated>>>";
    assert_eq!(event["Exceptions"][0]["Message"], expected);
    assert_eq!(event["Logs"].as_array().unwrap().len(), 1);
    assert_eq!(event["Logs"][0]["Message"][0], "<<<Logpush: messages truncated>>>");
}

#[test]
fn faults_are_read_from_a_few_words() {
    let text = r#"{"loss_percent": {"mesh": 5}, "nat": "per_request", "clock": {"offset_max_s": 300},
        "outages": [{"who": {"proxy": "gw"}, "from_us": 1, "to_us": 2}, {"who": {"source": "edge"}, "from_us": 3, "to_us": 4}]}"#;
    let faults: Faults = serde_json::from_str(text).unwrap();
    assert_eq!((faults.loss_percent.mesh, faults.nat, faults.envoy_flush_s), (5.0, Nat::PerRequest, 10));
    assert_eq!(faults.outages[1].who, Who::Source(Source::Edge));
    assert!(serde_json::from_str::<Faults>(r#"{"lost_percent": 5}"#).is_err());
    assert_eq!(serde_json::from_str::<Faults>("{}").unwrap(), Faults::default());
}
