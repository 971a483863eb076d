//! Access-log lines in a format that an operator has described: each of our fields is fetched from where he says it stands,
//! and the line is then read like any other of Envoy's.
//!
//! It refuses to guess: a field that the description does not name is not read, whatever it is called. What the line has not
//! got is told by the operator's own name for it.

use super::envoy;
use super::envoy_wire::EnvoyLine;
use super::line::Line;
use super::shape::{self, Shape};
use super::{reject, timestamp};
use crate::model::{CustomFormat, LegFields, Reject, RejectReason};
use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Every field that a description may name, as the recommended format calls it; `duration` in the format's own unit, the rest in
/// Envoy's. `docs/rules.md` says what each is for.
pub const FIELDS: &[&str] = &[
    "access_log_type",
    "attempts",
    "authority",
    "bytes_received",
    "bytes_sent",
    "calltrail",
    "cf_ray",
    "connection_id",
    "connection_termination_details",
    "direction",
    "downstream_direct_remote_address",
    "downstream_local_address",
    "downstream_local_uri_san",
    "downstream_peer_cert_end",
    "downstream_peer_cert_start",
    "downstream_peer_serial",
    "downstream_peer_uri_san",
    "downstream_remote_address",
    "duration",
    "grpc_status",
    "hop",
    "method",
    "node_cluster",
    "node_id",
    "parent_hop",
    "path",
    "protocol",
    "rbac",
    "rbac_network",
    "request_id",
    "requested_server_name",
    "response_code",
    "response_code_details",
    "response_flags",
    "start_time",
    "traceparent",
    "unique_id",
    "upstream_cluster",
    "upstream_connection_id",
    "upstream_host",
    "upstream_local_address",
    "upstream_local_uri_san",
    "upstream_peer_cert_end",
    "upstream_peer_cert_start",
    "upstream_peer_uri_san",
    "upstream_transport_failure_reason",
];

const DURATION: &str = "duration";
/// What [`EnvoyLine`] reads a mapped duration from.
const DURATION_US: &str = "calltrail_duration_us";
const START_TIME: &str = "start_time";

/// The first of the formats that the line is in.
pub fn described<'f>(text: &str, line: &Line<'_>, formats: &'f [CustomFormat]) -> Option<&'f CustomFormat> {
    formats.iter().find(|format| is_in(text, line, format))
}

fn is_in(text: &str, line: &Line<'_>, format: &CustomFormat) -> bool {
    if format.source.as_ref().is_some_and(|source| **source != *line.reference.source) {
        return false;
    }
    let Some(path) = &format.has else {
        // A source's word holds for what a shipper has wrapped, not for the wrapping.
        return format.source.is_some() && shape::of(text) != Shape::Wrapped;
    };
    // Most lines of other formats do not hold the word at all, and need not be parsed to know that.
    let last = path.rsplit('.').next().unwrap_or(path);
    if !text.contains(last) {
        return false;
    }
    let Ok(object) = serde_json::from_str::<Value>(text) else { return false };
    match (at(&object, path), &format.equals) {
        (Some(value), Some(wanted)) => plain(value).as_deref() == Some(wanted),
        (found, None) => found.is_some(),
        (None, Some(_)) => false,
    }
}

pub fn decode(text: &str, line: &Line<'_>, format: &CustomFormat) -> Result<Vec<LegFields>, Reject> {
    let what = format!("a line of format {:?}", format.name);
    let object: Value = serde_json::from_str(text).map_err(|e| reject::json(&e, &what))?;
    let fields = Value::Object(ours(&object, format, &what)?);
    let wire = EnvoyLine::deserialize(&fields).map_err(|e| reject::json(&e, &what))?;
    let header_logged = format.fields.get("calltrail").is_some_and(|path| at(&object, path).is_some());
    envoy::legs(&wire, line, header_logged)
}

/// The line as if it had been written with our names.
fn ours(object: &Value, format: &CustomFormat, what: &str) -> Result<Map<String, Value>, Reject> {
    let mut fields = Map::new();
    for (field, path) in &format.fields {
        let value = at(object, path);
        match field.as_str() {
            START_TIME => {
                fields.insert(field.clone(), start_time(value, path, format, what)?);
            }
            DURATION => {
                let unit_us = format.duration_unit.microseconds();
                let us = value.and_then(plain).and_then(|text| text.trim().parse::<f64>().ok());
                let us = us.map(|number| (number * unit_us).round()).filter(|us| us.is_finite());
                fields.extend(us.map(|us| (DURATION_US.to_owned(), Value::from(us as i64))));
            }
            _ => fields.extend(value.map(|value| (field.clone(), value.clone()))),
        }
    }
    Ok(fields)
}

fn start_time(value: Option<&Value>, path: &str, format: &CustomFormat, what: &str) -> Result<Value, Reject> {
    let Some(text) = value.and_then(plain).filter(|text| !text.is_empty() && text != "-") else {
        let why = format!("{what} without {path}, which its description gives as start_time");
        return Err(Reject::new(RejectReason::MissingField, why));
    };
    let time = match &format.time_format {
        None => timestamp::parse(&text),
        Some(written) => DateTime::parse_from_str(&text, written)
            .map(|time| time.timestamp_micros())
            .or_else(|_| {
                NaiveDateTime::parse_from_str(&text, written).map(|t| t.and_utc().timestamp_micros())
            })
            .ok()
            .and_then(timestamp::in_range),
    };
    let as_what = format.time_format.as_ref().map_or_else(
        || {
            "a time (RFC 3339, or a number since 1970); if it is written otherwise, say how with time_format"
                .to_owned()
        },
        |written| format!("a time as {written:?}"),
    );
    time.map(|time| Value::from(time.to_string())).ok_or_else(|| reject::invalid(what, path, &as_what))
}

/// What stands at a path: of keys that hold dots themselves, the longest counts first.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let object = value.as_object()?;
    if let Some(found) = object.get(path) {
        return Some(found);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| at(object.get(&path[..dot])?, &path[dot + 1..]))
}

/// A scalar as text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode_delivery_in;
    use crate::model::{Delivery, DeliveryId, DurationUnit, Leg, Protocol, Side, Timestamp};
    use serde_json::json;

    fn format(fields: &[(&str, &str)]) -> CustomFormat {
        let fields = fields.iter().map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned())).collect();
        CustomFormat {
            name: "acme".into(),
            has: Some("up.cluster".into()),
            fields,
            ..CustomFormat::default()
        }
    }

    fn read(line: &Value, format: CustomFormat) -> Result<Vec<Leg>, Reject> {
        let delivery = Delivery {
            id: DeliveryId([0; 32]),
            source: "mesh".to_owned(),
            proxy: Some("web-sidecar-proxy".to_owned()),
            received_at: Timestamp(0),
            lines: vec![line.to_string().into_bytes()],
        };
        let mut decoded = decode_delivery_in(&delivery, 1, &[format]);
        decoded.rejects.pop().map_or(Ok(decoded.legs), |(_, reject)| Err(reject))
    }

    fn acme() -> CustomFormat {
        format(&[
            ("start_time", "ts"),
            ("duration", "time.total"),
            ("method", "req.method"),
            ("response_code", "status"),
            ("upstream_cluster", "up.cluster"),
            ("upstream_peer_uri_san", "tls.peer"),
            ("protocol", "req.proto"),
        ])
    }

    fn line() -> Value {
        json!({
            "ts": "2026-11-24T02:56:50.5Z", "time": {"total": 12.5}, "status": "503", "response_code": 200,
            "req": {"method": "GET", "proto": "HTTP/1.1"}, "up": {"cluster": "api.default.dc1.internal.td.consul"},
            "tls.peer": "spiffe://td.consul/ns/default/dc/dc1/svc/api"
        })
    }

    #[test]
    fn each_field_is_read_from_where_its_path_leads_and_no_other_is() {
        let legs = read(&line(), acme()).unwrap();
        let leg = &legs[0];
        assert_eq!((legs.len(), leg.side, leg.protocol), (1, Side::Client, Protocol::Http1));
        assert_eq!(
            (leg.method.as_deref(), leg.status, leg.duration_us),
            (Some("GET"), Some(503), Some(12_500))
        );
        assert_eq!(leg.peer.name, "api");
        assert!(leg.peer.spiffe_id.is_some(), "the key with a dot in it");
        assert!(!leg.header_logged);
        let foreign = json!({"ts": 1, "method": "PUT"});
        assert!(read(&foreign, acme()).unwrap_err().detail.contains("no known format"));
    }

    #[test]
    fn durations_and_times_are_read_in_the_units_of_the_format() {
        for (unit, us) in [
            (DurationUnit::Microseconds, 13),
            (DurationUnit::Milliseconds, 12_500),
            (DurationUnit::Seconds, 12_500_000),
        ] {
            let legs = read(&line(), CustomFormat { duration_unit: unit, ..acme() }).unwrap();
            assert_eq!(legs[0].duration_us, Some(us), "{unit:?}");
        }
        for (text, written) in [
            (json!("24/Nov/2026:03:56:50 +0100"), "%d/%b/%Y:%H:%M:%S %z"),
            (json!("2026-11-24 02:56:50"), "%Y-%m-%d %H:%M:%S"),
        ] {
            let mut line = line();
            line["ts"] = text;
            let legs = read(&line, CustomFormat { time_format: Some(written.into()), ..acme() }).unwrap();
            assert_eq!(legs[0].start.to_string(), "2026-11-24T02:56:50.000000Z");
        }
        let mut in_seconds = line();
        in_seconds["ts"] = json!(1_795_489_010.25);
        assert_eq!(read(&in_seconds, acme()).unwrap()[0].start.to_string(), "2026-11-24T02:56:50.250000Z");
    }

    #[test]
    fn what_is_missing_is_told_by_the_operators_own_name() {
        let mut without = line();
        without["ts"] = Value::Null;
        let reject = read(&without, acme()).unwrap_err();
        assert_eq!(reject.reason, RejectReason::MissingField);
        assert!(reject.detail.contains("\"acme\" without ts"), "{}", reject.detail);
        without["ts"] = json!("24.11.2026");
        let reject = read(&without, acme()).unwrap_err();
        assert_eq!(reject.reason, RejectReason::InvalidField);
        assert!(reject.detail.contains("ts is not a time"), "{}", reject.detail);
        assert!(!reject.detail.contains("24.11"), "content is not quoted");
    }

    #[test]
    fn a_source_can_stand_for_its_format_also_inside_a_shippers_wrapping() {
        let by_source = CustomFormat { has: None, source: Some("mesh".into()), ..acme() };
        assert_eq!(read(&line(), by_source.clone()).unwrap().len(), 1);
        let wrapped = json!({"proxy": "cart-sidecar-proxy", "line": line().to_string()});
        assert_eq!(read(&wrapped, by_source.clone()).unwrap()[0].observer.name, "cart-sidecar-proxy");
        let elsewhere = CustomFormat { source: Some("other".into()), ..by_source };
        assert!(read(&line(), elsewhere).is_err());
        let one_value = CustomFormat { equals: Some("no".into()), ..acme() };
        assert!(read(&line(), one_value).is_err());
    }

    #[test]
    fn every_field_that_may_be_named_is_one_that_is_read() {
        for field in FIELDS {
            let key = if *field == DURATION { DURATION_US } else { field };
            let value =
                if field.starts_with("rbac") { json!({"enforced_engine_result": "7"}) } else { json!(7) };
            let object = Value::Object(Map::from_iter([(key.to_owned(), value)]));
            let wire = EnvoyLine::deserialize(&object).unwrap();
            assert!(format!("{wire:?}").contains('7'), "{field}");
        }
    }
}
