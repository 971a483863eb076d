//! What comes over the wire and is no good: every line ends as legs or as one reject that says what to do; nothing panics, no
//! neighbour is lost, and no reject repeats what the line says.

use calltrail::decode::{DecodedDelivery, decode_delivery, frame};
use calltrail::model::{Delivery, DeliveryId, RejectReason, Timestamp};
use proptest::prelude::*;

const ENVOY: &str =
    include_str!("fixtures/envoy/recommended/both_sides_of_a_traced_call_verify_each_other.ndjson");
const WORKER: &str = include_str!("fixtures/worker/logpush/one_allowed_call.ndjson");
const TAIL: &str = include_str!("fixtures/worker/tail/one_allowed_call.ndjson");
const ZONE: &str = include_str!("fixtures/zone/a_subrequest_names_the_request_that_made_it.ndjson");
const WRAPPED: &str =
    include_str!("fixtures/envoy/default/l4_denial_is_told_only_by_termination_details.ndjson");

fn decode_lines(lines: Vec<Vec<u8>>) -> DecodedDelivery {
    let delivery = Delivery {
        id: DeliveryId([0; 32]),
        source: "test".to_owned(),
        proxy: None,
        received_at: Timestamp(1_795_500_000_000_000),
        lines,
    };
    decode_delivery(&delivery, 1)
}

fn decode(line: impl AsRef<[u8]>) -> DecodedDelivery {
    decode_lines(vec![line.as_ref().to_vec()])
}

fn first_line(fixture: &str) -> &str {
    fixture.lines().next().unwrap()
}

/// The line with the value of one field replaced by any JSON.
fn with_field(line: &str, field: &str, value: &str) -> String {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    object.insert(field.to_owned(), serde_json::from_str(value).unwrap());
    serde_json::Value::Object(object).to_string()
}

fn without_field(line: &str, field: &str) -> String {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    object.remove(field).unwrap();
    serde_json::Value::Object(object).to_string()
}

#[test]
fn each_reject_names_its_reason_and_what_to_do() {
    use RejectReason::*;
    let deep = format!(
        "{{\"WorkerSubrequest\":true{}{}}}",
        ",\"Subrequests\":[{\"RayID\":\"0\"".repeat(200),
        "}]".repeat(200)
    );
    let table: [(&str, Vec<u8>, RejectReason, &str); 16] = [
        ("text", b"hello".to_vec(), NotJson, "one JSON object per line"),
        ("cut short", first_line(ENVOY)[..300].into(), NotJson, "ends too early"),
        ("NUL", first_line(ENVOY).replace("GET", "\0").into(), NotJson, "not valid JSON"),
        ("no UTF-8", b"{\"method\":\"\xff\"}".to_vec(), NotJson, "byte 12"),
        ("no object", b"[1,2]".to_vec(), UnknownFormat, "one object per line"),
        ("a string", b"\"x\"".to_vec(), UnknownFormat, "one object per line"),
        (
            "somebody's JSON",
            b"{\"level\":\"info\",\"msg\":\"secret\"}".to_vec(),
            UnknownFormat,
            "fields level, msg",
        ),
        (
            "somebody's JSON, wrapped",
            br#"{"proxy":"p","line":"{\"msg\":1}"}"#.to_vec(),
            UnknownFormat,
            "fields msg",
        ),
        ("empty object", b"{}".to_vec(), UnknownFormat, "no fields"),
        (
            "too long",
            with_field(first_line(ENVOY), "path", &format!("\"/{}\"", "secret".repeat(1 << 20))).into(),
            TooLong,
            "one object per request",
        ),
        ("too deep", deep.into_bytes(), TooDeep, "127 levels"),
        ("no start_time", without_field(first_line(ENVOY), "start_time").into(), MissingField, "start_time"),
        (
            "a bad time",
            with_field(first_line(ENVOY), "start_time", "\"soon\"").into(),
            InvalidField,
            "RFC 3339",
        ),
        (
            "later format",
            with_field(first_line(ENVOY), "ct", "\"calltrail/2\"").into(),
            UnknownFormat,
            "calltrail/2",
        ),
        (
            "not the end",
            with_field(first_line(ENVOY), "access_log_type", "\"DownstreamStart\"").into(),
            InvalidField,
            "at their end",
        ),
        (
            "no time in an event",
            without_field(first_line(WORKER), "EventTimestampMs").into(),
            MissingField,
            "EventTimestampMs",
        ),
    ];
    for (what, line, reason, says) in table {
        let decoded = decode(&line);
        assert!(decoded.legs.is_empty(), "{what}");
        let (position, reject) = &decoded.rejects[0];
        assert_eq!((*position, reject.reason), (1, reason), "{what}: {}", reject.detail);
        assert!(reject.detail.contains(says), "{what}: {}", reject.detail);
        assert!(!reject.detail.contains("secret"), "{what}: {}", reject.detail);
    }
}

#[test]
fn odd_but_readable_lines_are_legs() {
    let long = format!("\"/{}\"", "x".repeat(1_000_000));
    let ignored_depth = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_in_an_unread_field = first_line(ENVOY)
        .replace("\"tracestate\":\"cf=t61rcWkgMzE,lab=1\"", &format!("\"tracestate\":{ignored_depth}"));
    assert_ne!(deep_in_an_unread_field, first_line(ENVOY));
    for (what, line) in [
        ("a field of 1 MB", with_field(first_line(ENVOY), "path", &long)),
        ("a number as text", with_field(first_line(ENVOY), "duration_ms", "\"16\"")),
        ("an object where text belongs", with_field(first_line(ENVOY), "authority", "{\"a\":[1]}")),
        ("text where an object belongs", with_field(first_line(ENVOY), "rbac", "\"-\"")),
        ("a list where an object belongs", with_field(first_line(ENVOY), "rbac", "[1]")),
        ("an unknown field", with_field(first_line(ENVOY), "new", "{\"x\":null}")),
        ("an escaped NUL", with_field(first_line(ENVOY), "authority", "\"a\\u0000b\"")),
        ("depth in a field that is not read", deep_in_an_unread_field),
        ("no response yet", with_field(first_line(ENVOY), "response_code", "0")),
        ("huge numbers", with_field(first_line(ENVOY), "bytes_sent", "1e300")),
        ("white space around it", format!("  {}  ", first_line(ENVOY))),
    ] {
        let decoded = decode(&line);
        assert_eq!((decoded.legs.len(), decoded.rejects.len()), (1, 0), "{what}: {:?}", decoded.rejects);
    }
}

#[test]
fn of_equal_keys_the_last_one_counts() {
    let line = first_line(ENVOY).replacen('{', "{\"method\":\"PUT\",\"response_code\":500,", 1);
    let leg = &decode(&line).legs[0];
    assert_eq!((leg.method.as_deref(), leg.status), (Some("GET"), Some(200)));
}

#[test]
fn keys_of_a_worker_event_are_read_in_any_case() {
    let lower = WORKER
        .replace("\"EventTimestampMs\"", "\"eventtimestampms\"")
        .replace("\"ScriptName\"", "\"SCRIPTNAME\"");
    assert_eq!(decode(lower.trim()).legs.len(), decode(WORKER.trim()).legs.len());
    assert_eq!(decode(lower.trim()).legs[0].observer.name, "edge");
}

#[test]
fn an_emoji_cut_in_half_by_the_runtime_does_not_cost_the_event() {
    let broken = first_line(WORKER).replacen(
        "\"Logs\":[",
        r#""Logs":[{"Level":"log","Message":["\ud83d"],"TimestampMs":1795486015555},"#,
        1,
    );
    let decoded = decode(&broken);
    assert_eq!((decoded.legs.len(), decoded.rejects.len()), (2, 0), "{:?}", decoded.rejects);
}

#[test]
fn a_record_with_half_an_emoji_is_still_read() {
    let broken = first_line(WORKER).replace(r#"\"svc\":"#, r#"\"err\":\"a\\ud83d\",\"svc\":"#);
    let legs = decode(&broken).legs;
    assert_eq!(legs.len(), 2);
    assert_eq!(legs[1].transport_failure.as_deref(), Some("a\u{fffd}"));
}

#[test]
fn a_record_of_a_later_version_is_ignored_and_the_event_kept() {
    let later = first_line(WORKER).replace(r#"\"ct\":1"#, r#"\"ct\":2"#);
    let legs = decode(&later).legs;
    assert_eq!(legs.len(), 1);
    assert_eq!((legs[0].span_id, &legs[0].edge_principal), (None, &None));
}

#[test]
fn two_honest_identical_lines_are_two_legs() {
    let line = without_field(first_line(ENVOY), "unique_id").into_bytes();
    let decoded = decode_lines(vec![line.clone(), line.clone()]);
    assert_ne!(decoded.legs[0].id, decoded.legs[1].id);
    assert_eq!(decoded, decode_lines(vec![line.clone(), line]));
}

#[test]
fn a_bad_line_does_not_touch_its_neighbours() {
    let body = format!("{}\n{{\"broken\":\n{}\n", first_line(ENVOY), first_line(ZONE));
    let decoded = decode_lines(frame::split(body.as_bytes(), usize::MAX).unwrap());
    assert_eq!(decoded.legs.iter().map(|leg| leg.line.line).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(decoded.rejects[0].0, 2);
}

/// Numbers that no sender writes by mistake.
const HOSTILE: &[&str] = &[
    "-1",
    "0",
    "315576000001",
    "9223372036854775",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "253402300799999",
    "253402300799999999",
    "1e300",
    "-1e300",
    "8.9e18",
];

/// The line with some of its numbers replaced, those inside its records among them.
fn with_hostile_numbers(line: &str, choices: &[usize]) -> String {
    let mut choices = choices.iter().cycle();
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(':') {
        let (before, behind) = rest.split_at(at + 1);
        text.push_str(before);
        let number = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        match HOSTILE.get(*choices.next().unwrap()) {
            Some(hostile) if number > 0 => text.push_str(hostile),
            _ => text.push_str(&behind[..number]),
        }
        rest = &behind[number..];
    }
    text + rest
}

fn real_line() -> impl Strategy<Value = &'static str> {
    let lines: Vec<&'static str> =
        [ENVOY, WORKER, TAIL, ZONE, WRAPPED].iter().flat_map(|f| f.lines()).collect();
    proptest::sample::select(lines)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Cut, overwritten or spliced at any byte, a line ends as legs or as one reject.
    #[test]
    fn a_damaged_line_is_legs_or_one_reject(
        line in real_line(), at in any::<prop::sample::Index>(), cut in 0usize..40, paste in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = line.as_bytes().to_vec();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, paste);
        let decoded = decode(&bytes);
        prop_assert_eq!(decoded.rejects.len(), usize::from(decoded.legs.is_empty()));
    }

    /// Whatever numbers a line holds, its legs begin and end between 1970 and the year 9999: later sums cannot overflow.
    #[test]
    fn hostile_numbers_never_leave_the_calendar(
        line in real_line(), choices in prop::collection::vec(0..2 * HOSTILE.len(), 1..40),
    ) {
        let line = with_hostile_numbers(line, &choices);
        for leg in decode(&line).legs {
            let (start, duration) = (i128::from(leg.start.0), i128::from(leg.duration_us.unwrap_or(0)));
            let calendar = 0..=i128::from(Timestamp::MAX.0);
            prop_assert!(duration >= 0, "{duration} in {line}");
            prop_assert!(calendar.contains(&start), "{start} in {line}");
            prop_assert!(calendar.contains(&(start + duration)), "{start} + {duration} in {line}");
        }
    }

    /// Whatever the bytes, framing keeps them all but for white space, commas and brackets between lines.
    #[test]
    fn framing_loses_no_byte_that_matters(body in prop::collection::vec(
        prop::sample::select(b"{}[]\",:\\ \n\r\t1a\xff\x00".to_vec()), 0..200,
    )) {
        let kept: usize = frame::split(&body, usize::MAX).unwrap().iter().map(Vec::len).sum();
        let between = |b: &&u8| b" \n\r\t,[]".contains(b);
        prop_assert!(kept >= body.iter().filter(|b| !between(b)).count(), "{:?}", frame::split(&body, usize::MAX).unwrap());
    }
}

/// The name under which a described format hands its duration over inside the program.
#[test]
fn a_line_cannot_say_how_long_it_took_under_a_name_of_ours() {
    let line = first_line(ENVOY);
    let said = decode(with_field(line, "calltrail_duration_us", "7"));
    let durations = |decoded: DecodedDelivery| decoded.legs.iter().map(|l| l.duration_us).collect::<Vec<_>>();
    assert_eq!(durations(said), durations(decode(line)));
}
