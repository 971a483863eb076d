//! Who was heard and who was not: what the correlator writes about sources, and what follows from it for findings of absence.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::source::{ObserverRecord, SeenFormat, Source, Sources, Withheld, source_key};
use calltrail::model::*;
use calltrail::store::{Change, CoverageDelta, Heard, Order, Pulse, Silences};

const HOUR_US: i64 = 3_600_000_000;

fn hours(n: i64) -> Timestamp {
    HOUR.plus_us(n * HOUR_US)
}

fn source(first: i64, last: i64) -> Source {
    Source {
        name: "mesh".into(),
        deliveries: 1,
        lines: 10,
        rejects: 2,
        first_received: hours(first),
        last_received: hours(last),
    }
}

fn observer(received: i64, hour: i64, fields: i64) -> ObserverRecord {
    ObserverRecord {
        source: "mesh".into(),
        kind: ObserverKind::Sidecar,
        name: "api-sidecar-proxy".into(),
        identity: service("api").key(),
        legs: 3,
        first_received: hours(received),
        last_received: hours(received),
        format: Some(SeenFormat { hour: hours(hour), fields }),
    }
}

fn pulse(hour: i64, minutes: u64) -> Pulse {
    Pulse { observer: service("api").key(), hour: hours(hour), minutes }
}

fn window(observer: &str, after: i64, to: Timestamp) -> BlindWindow {
    BlindWindow {
        observer: observer.to_owned(),
        reason: BlindReason::Silent,
        after: hours(after),
        from: hours(after),
        to,
        known: hours(after),
    }
}

fn silences(observer: &str, range: (i64, i64), windows: Vec<BlindWindow>) -> Silences {
    Silences { observer: observer.to_owned(), from: hours(range.0), to: hours(range.1), windows }
}

async fn hear(bed: &Bed, heard: Heard) {
    derive(&bed.store, Change { heard, ..Change::default() }).await;
}

async fn known(bed: &Bed) -> Sources {
    bed.store.sources(LATER).await.unwrap()
}

pub async fn what_is_heard_adds_up_whatever_the_order(bed: &Bed) {
    let steps = [
        Heard { sources: vec![source(5, 6)], observers: vec![observer(5, 2, 0b001)], ..Heard::default() },
        Heard { sources: vec![source(1, 9)], observers: vec![observer(9, 2, 0b100)], ..Heard::default() },
        Heard { sources: vec![source(2, 3)], observers: vec![observer(1, 1, 0b010)], ..Heard::default() },
    ];
    let expected_source = Source { deliveries: 3, lines: 30, rejects: 6, ..source(1, 9) };
    // Of the format the newest hour counts, with all fields that were seen in it.
    let expected = ObserverRecord {
        legs: 9,
        first_received: hours(1),
        last_received: hours(9),
        ..observer(0, 2, 0b101)
    };
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        bed.store.reset_derived().await.unwrap();
        for n in order {
            hear(bed, steps[n].clone()).await;
        }
        let known = known(bed).await;
        assert_eq!(known.sources, std::slice::from_ref(&expected_source), "{order:?}");
        assert_eq!(known.observers, std::slice::from_ref(&expected), "{order:?}");
    }
}

pub async fn names_that_are_one_once_stored_add_up_in_one_step(bed: &Bed) {
    let named = |name: &str, fields| ObserverRecord { name: name.to_owned(), ..observer(5, 2, fields) };
    let beat = |name: &str, minutes| Pulse { observer: name.to_owned(), ..pulse(0, minutes) };
    let observers = vec![named("a\0b", 0b01), named("a\u{fffd}b", 0b10)];
    let pulses = vec![beat("a\0b", 0b01), beat("a\u{fffd}b", 0b10)];
    hear(bed, Heard { observers, pulses, ..Heard::default() }).await;
    let known = known(bed).await.observers;
    let [one] = &known[..] else { panic!("{known:?}") };
    assert_eq!((one.legs, one.format), (6, Some(SeenFormat { hour: hours(2), fields: 0b11 })));
    assert!(bed.store.unheard(&[beat("a\0b", 0b11)]).await.unwrap().is_empty());
}

pub async fn minutes_are_told_apart_by_whether_they_are_news_and_found_around_a_time(bed: &Bed) {
    let all = u64::MAX >> 4;
    let pulses = vec![pulse(0, 1), pulse(5, 0b110), pulse(6, all), pulse(30, 1)];
    hear(bed, Heard { pulses, ..Heard::default() }).await;
    hear(bed, Heard { pulses: vec![pulse(5, 0b001)], ..Heard::default() }).await;
    let asked = [pulse(5, 0b111), pulse(5, 0b1000), pulse(7, 1), pulse(6, 1)];
    assert_eq!(bed.store.unheard(&asked).await.unwrap(), [pulse(5, 0b1000), pulse(7, 1)]);

    let api = service("api").key();
    let around = async |first: i64, reach: i64| {
        let found = bed.store.pulses_around(&api, hours(first), hours(reach)).await.unwrap();
        found.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(around(6, 8).await, [(hours(5), 0b111), (hours(6), all), (hours(30), 1)]);
    assert_eq!(around(31, 33).await, [(hours(30), 1)]);
    assert_eq!(around(0, 1).await, [(hours(0), 1), (hours(5), 0b111)]);
    let nobody = bed.store.pulses_around("nobody", hours(0), hours(9)).await.unwrap();
    assert!(nobody.is_empty());
}

/// A finding that says that `api`, and of it one instance, has no record of a call an hour and a half after midnight.
async fn accused(bed: &Bed) {
    let lost = Finding {
        absent_observer: Some(service("api").key()),
        absent_instance: Some(format!("{}@10.0.0.1:1", service("api").key())),
        ..finding(FindingKind::Lost, Severity::High)
    };
    let start = hours(1).plus_us(HOUR_US / 2);
    let leg = LegFields { start, ..bare_leg(id(1), Side::Client) };
    derive_calls(&bed.store, [Call { findings: vec![lost], start, legs: vec![leg.into()], ..call(1, 0) }])
        .await;
}

async fn covered(bed: &Bed, observer: &str, hour: i64, counts: [i64; 4]) {
    let row = CoverageDelta { hour: hours(hour), ..coverage(observer, counts) };
    derive(&bed.store, Change { coverage: vec![row], ..Change::default() }).await;
}

async fn holds(bed: &Bed) -> bool {
    let filter = CallFilter { finding: Some(FindingKind::Lost), ..CallFilter::default() };
    !bed.store.calls(&filter, LATER, Order::NewestFirst, None, 9).await.unwrap().rows.is_empty()
}

pub async fn an_instance_is_judged_by_itself_and_an_idle_hour_by_the_day_before(bed: &Bed) {
    let api = service("api").key();
    let instance = format!("{api}@10.0.0.1:1");
    accused(bed).await;
    covered(bed, &api, -22, [100, 99, 0, 0]).await;
    assert!(!holds(bed).await, "nobody knows whether it still reports");
    assert_eq!(known(bed).await.withheld, [], "something is known of it");
    hear(bed, Heard { pulses: vec![pulse(0, 1)], ..Heard::default() }).await;
    assert!(!holds(bed).await, "it was heard before only");
    hear(bed, Heard { pulses: vec![pulse(2, 1)], ..Heard::default() }).await;
    assert!(holds(bed).await, "it was heard again");
    covered(bed, &api, 1, [10, 9, 0, 0]).await;
    assert!(!holds(bed).await, "the hour itself says otherwise");
    covered(bed, &instance, 1, [100, 100, 0, 0]).await;
    assert!(holds(bed).await, "the instance reports, whatever the others do");
    covered(bed, &instance, 1, [2, 0, 0, 0]).await;
    assert!(!holds(bed).await, "not any more");
}

pub async fn days_before_the_day_before_say_nothing(bed: &Bed) {
    let api = service("api").key();
    accused(bed).await;
    covered(bed, &api, -24, [100, 100, 0, 0]).await;
    hear(bed, Heard { pulses: vec![pulse(2, 1)], ..Heard::default() }).await;
    assert!(!holds(bed).await);
    let withheld = Withheld { observer: api, hour: hours(0), findings: 1 };
    let told = known(bed).await.withheld;
    assert_eq!(told.iter().map(|w| (&w.observer, w.findings)).collect::<Vec<_>>(), [(&withheld.observer, 1)]);
}

pub async fn nothing_is_held_against_the_blind(bed: &Bed) {
    let api = service("api").key();
    accused(bed).await;
    covered(bed, &api, 1, [100, 100, 0, 0]).await;
    assert!(holds(bed).await);
    // By itself, by its instance, and by a source by which it reports.
    for observer in [api.clone(), format!("{api}@10.0.0.1:1"), source_key("mesh")] {
        let reporters = vec![(api.clone(), "mesh".to_owned(), 1)];
        let blind = silences(&observer, (0, 9), vec![window(&observer, 1, hours(2))]);
        hear(bed, Heard { silences: vec![blind], reporters, ..Heard::default() }).await;
        assert!(!holds(bed).await, "{observer}");
        let before_and_after = vec![window(&observer, 0, hours(1)), window(&observer, 2, hours(3))];
        let sees = silences(&observer, (0, 9), before_and_after);
        let reporters = vec![(api.clone(), "mesh".to_owned(), -1)];
        hear(bed, Heard { silences: vec![sees], reporters, ..Heard::default() }).await;
        assert!(holds(bed).await, "{observer}");
    }
}

pub async fn a_silence_that_lasts_reaches_back_once_it_is_known_for_one(bed: &Bed) {
    let api = service("api").key();
    accused(bed).await;
    covered(bed, &api, 1, [100, 100, 0, 0]).await;
    let lasting = BlindWindow { from: hours(2), known: hours(4), ..window(&api, 1, Timestamp::MAX) };
    let silence = silences(&api, (0, 9), vec![lasting]);
    hear(bed, Heard { silences: vec![silence], latest: hours(3), ..Heard::default() }).await;
    assert!(holds(bed).await, "it was heard in the hour of the call, and may be heard again");
    hear(bed, Heard { latest: hours(4), ..Heard::default() }).await;
    assert!(!holds(bed).await, "others have gone on without it");
    hear(bed, Heard { latest: hours(1), ..Heard::default() }).await;
    assert!(!holds(bed).await, "what comes late does not turn time back");
}

pub async fn what_is_declared_survives_a_rebuild_and_is_replaced_by_what_is_declared_next(bed: &Bed) {
    let api = service("api").key();
    let declared = BlindWindow { reason: BlindReason::Declared, ..window(&source_key("mesh"), 1, hours(2)) };
    bed.store.declare(7, std::slice::from_ref(&declared)).await.unwrap();
    bed.store.reset_derived().await.unwrap();
    accused(bed).await;
    covered(bed, &api, 1, [100, 100, 0, 0]).await;
    assert!(holds(bed).await, "it does not report by that source");
    hear(bed, Heard { reporters: vec![(api, "mesh".to_owned(), 1)], ..Heard::default() }).await;
    assert!(!holds(bed).await);
    let told = known(bed).await;
    assert_eq!((told.blind, told.grace_us), (vec![declared], 7));
    bed.store.declare(7, &[]).await.unwrap();
    assert!(holds(bed).await);
}

/// What is left of instances that are gone, after calls of a hundred days have gone with them.
pub async fn who_is_gone_is_forgotten_with_the_time_in_which_he_was_heard(bed: &Bed) {
    const DAYS: i64 = 24;
    let (old, new, busy) = ("old@10.0.0.1:1", "new@10.0.0.2:1", "busy@10.0.0.3:1");
    let minutes = u64::MAX >> 4;
    let beat = |who: &str, hour| Pulse { observer: who.to_owned(), hour: hours(hour), minutes };
    let carried = |who: &str, received| ObserverRecord { name: who.to_owned(), ..observer(received, 0, 1) };
    let source = source_key("mesh");
    let silent = |who: &str| silences(who, (0, 2), vec![window(who, 1, Timestamp::MAX)]);
    let over = BlindWindow { to: hours(3), ..window(new, 2, hours(3)) };
    let heard = Heard {
        observers: vec![carried(old, 1), carried(new, 100 * DAYS), carried(busy, 1)],
        pulses: [old, new, busy, &source]
            .iter()
            .flat_map(|who| [beat(who, -9), beat(who, 0), beat(who, 1)])
            .collect(),
        silences: vec![silent(old), silent(busy), silent(&source), silences(new, (2, 3), vec![over])],
        latest: hours(100 * DAYS),
        ..Heard::default()
    };
    hear(bed, heard).await;
    // Somebody still sends to this one what it does not tell of.
    covered(bed, busy, 100 * DAYS, [9, 0, 0, 0]).await;
    covered(bed, old, 1, [9, 9, 0, 0]).await;
    let calls = [call(1, 0), Call { start: hours(100 * DAYS), ..call(2, 0) }];
    derive_calls(&bed.store, calls).await;
    let rules = crate::retention::cutoffs(&[(RetentionClass::Calls, 50 * DAYS * HOUR_US)]);
    bed.store.remove(&rules, LATER, |_, _| ()).await.unwrap();

    assert_eq!(bed.texts("select observer from blind_window order by 1").await, [busy, &source]);
    assert_eq!(bed.texts("select name from observer").await, [new]);
    // The minutes by which those silences are known, and no others.
    let pulses = bed.texts("select observer from pulse order by observer, hour_us").await;
    assert_eq!(pulses, [busy, busy, &source, &source]);
    assert_eq!(bed.texts("select identity from coverage").await, [busy]);
    let around = bed.store.pulses_around(busy, hours(101 * DAYS), hours(102 * DAYS)).await.unwrap();
    assert_eq!(around.len(), 2, "when it is heard again, its silence has an end");
}
