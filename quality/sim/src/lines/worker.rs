//! A Worker's event as Logpush's dataset `workers_trace_events` writes it, with the records of calltrail's module in its log.
//!
//! A record is one text in the log: JSON inside JSON. Keys of records stand in the order in which the module builds them.

use super::first_bytes;
use super::time::epoch_ms;
use crate::records::{WorkerEvent, WorkerHead, WorkerRecord};
use serde::Serialize;

/// What Logpush puts where it cut a log message.
pub const MESSAGES_TRUNCATED: &str = "<<<Logpush: messages truncated>>>";

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WireEvent<'a> {
    #[serde(rename = "CPUTimeMs")]
    cpu_time_ms: i64,
    dispatch_namespace: &'static str,
    entrypoint: &'static str,
    event: Detail<'a>,
    event_timestamp_ms: i64,
    event_type: &'static str,
    pub exceptions: Vec<Exception>,
    pub logs: Vec<LogEntry>,
    outcome: &'a str,
    script_name: &'a str,
    script_tags: [&'static str; 0],
    script_version: Version,
    wall_time_ms: i64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    #[serde(rename_all = "PascalCase")]
    Fetch {
        /// Empty where the runtime knows none.
        #[serde(rename = "RayID")]
        ray_id: &'a str,
        request: Request<'a>,
        /// Left out when the invocation failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        response: Option<Response>,
    },
    #[serde(rename_all = "PascalCase")]
    Scheduled { cron: &'a str, scheduled_time_ms: i64 },
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(rename = "URL")]
    url: &'a str,
    method: &'a str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    status: u16,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exception {
    pub name: String,
    pub message: String,
    timestamp_ms: i64,
}

/// Arguments of one `console.log`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogEntry {
    level: &'static str,
    pub message: Vec<String>,
    timestamp_ms: i64,
    /// Which record this is, if one: its span.
    #[serde(skip)]
    pub record: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    #[serde(rename = "ID")]
    id: &'static str,
    message: &'static str,
    tag: &'static str,
}

#[derive(Serialize)]
struct Head<'a> {
    ct: u8,
    k: &'static str,
    t: &'a str,
    w: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ray: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    d: &'a str,
    pol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    q: u32,
}

#[derive(Serialize)]
struct Call<'a> {
    ct: u8,
    t: &'a str,
    k: &'static str,
    s: &'a str,
    rid: &'a str,
    svc: &'a str,
    host: &'a str,
    m: &'a str,
    p: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<u32>,
    ts: i64,
    ms: i64,
    /// 0: no response.
    st: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    ur: Option<&'a str>,
    /// A header's value, so a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    eu: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop: Option<&'a str>,
    q: u32,
}

impl<'a> WireEvent<'a> {
    pub fn of(event: &'a WorkerEvent) -> Self {
        WireEvent {
            cpu_time_ms: 0,
            dispatch_namespace: "",
            entrypoint: "",
            event: Detail::of(event),
            event_timestamp_ms: epoch_ms(event.start_us),
            event_type: if event.cron.is_some() { "scheduled" } else { "fetch" },
            exceptions: event.exceptions.iter().map(Exception::of).collect(),
            logs: logs(event),
            outcome: &event.outcome,
            script_name: &event.script,
            script_tags: [],
            script_version: Version { id: "1e7519b3-08e2-441d-ae10-7c8c6d3b7e17", message: "", tag: "" },
            wall_time_ms: epoch_ms(event.end_us) - epoch_ms(event.start_us),
        }
    }
}

impl<'a> Detail<'a> {
    fn of(event: &'a WorkerEvent) -> Self {
        match &event.cron {
            // Cron knows whole minutes.
            Some(cron) => Detail::Scheduled {
                cron,
                scheduled_time_ms: epoch_ms(event.start_us).div_euclid(60_000) * 60_000,
            },
            None => Detail::Fetch {
                ray_id: event.ray.as_deref().unwrap_or_default(),
                request: Request { url: &event.url, method: &event.method },
                response: event.status.map(|status| Response { status }),
            },
        }
    }
}

impl Exception {
    fn of((name, message, at_us): &(String, String, i64)) -> Self {
        Exception { name: name.clone(), message: message.clone(), timestamp_ms: epoch_ms(*at_us) }
    }
}

/// Entries in the order in which they were logged: by time, and within a millisecond by the module's own count.
fn logs(event: &WorkerEvent) -> Vec<LogEntry> {
    let head = event.head.iter().map(|head| (head.sequence, head_entry(head, event.ray.as_deref())));
    let calls = event.records.iter().map(|record| (record.sequence, call_entry(record)));
    let chatter = event.chatter.iter().map(|(text, at_us)| (u32::MAX, entry(text.clone(), *at_us, None)));
    let mut all: Vec<(u32, LogEntry)> = head.chain(calls).chain(chatter).collect();
    all.sort_by_key(|(sequence, entry)| (entry.timestamp_ms, *sequence));
    all.into_iter().map(|(_, entry)| entry).collect()
}

fn entry(text: String, at_us: i64, record: Option<&str>) -> LogEntry {
    let record = record.map(str::to_owned);
    LogEntry { level: "log", message: vec![text], timestamp_ms: epoch_ms(at_us), record }
}

fn head_entry(head: &WorkerHead, ray: Option<&str>) -> LogEntry {
    let text = super::to_json(&Head {
        ct: 1,
        k: "h",
        t: &head.trace_id,
        w: &head.span_id,
        wp: head.parent_span_id.as_deref(),
        ray,
        iss: head.issuer.as_deref(),
        sub: head.subject.as_deref(),
        kind: head.kind.as_deref(),
        d: &head.decision,
        pol: &head.policy,
        why: head.reason.as_deref(),
        q: head.sequence,
    });
    entry(text, head.at_us, Some(&head.span_id))
}

/// Logged when the response's headers arrived, so that start and duration give the time of the entry.
fn call_entry(record: &WorkerRecord) -> LogEntry {
    let end_us = record.start_us + record.duration_us;
    let text = super::to_json(&Call {
        ct: 1,
        t: &record.trace_id,
        k: "c",
        s: &record.span_id,
        rid: &record.request_id,
        svc: &record.service,
        host: &record.host,
        m: &record.method,
        p: first_bytes(&record.path, 256),
        a: Some(record.attempt).filter(|attempt| *attempt > 0),
        ts: epoch_ms(record.start_us),
        ms: epoch_ms(end_us) - epoch_ms(record.start_us),
        st: record.status.unwrap_or(0),
        ur: record.ray.as_deref(),
        eu: record.upstream_service_ms.map(|ms| ms.to_string()),
        err: record.error.as_deref().map(|error| first_bytes(error, 120)),
        hop: record.hop.as_deref(),
        q: record.sequence,
    });
    entry(text, end_us, Some(&record.span_id))
}
