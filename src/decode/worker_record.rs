//! Finds calltrail's records in a Worker's console output and puts them together: one head, one entry per subrequest.
//!
//! Console output of other code is skipped, and so is a record of a later version: the event is still a server leg.

use super::timestamp;
use super::wire_object::Text;
use super::worker_wire::{LogEntry, Record};
use crate::model::{SpanId, Timestamp, TraceId};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// The version of records that is read, for ever.
const RECORD_VERSION: i64 = 1;

/// The text of every console argument that may be a record, with the time at which it was logged.
pub fn candidates(logs: &[LogEntry<'_>]) -> Vec<(Option<Timestamp>, String)> {
    let mut found = Vec::new();
    for entry in logs {
        let Some(message) = entry.message.map(RawValue::get) else { continue };
        if !message.contains(r#"\"ct\""#) {
            continue;
        }
        let logged_at = entry.timestamp.get().and_then(timestamp::parse);
        let arguments: Vec<&RawValue> = match serde_json::from_str(message) {
            Ok(arguments) => arguments,
            Err(_) => entry.message.into_iter().collect(),
        };
        let texts =
            arguments.into_iter().filter_map(|argument| serde_json::from_str::<String>(argument.get()).ok());
        found.extend(texts.map(|text| (logged_at, without_halved_characters(text))));
    }
    found
}

/// A message that JavaScript cut inside an emoji leaves half of it, as an escape that is no valid JSON: the record must not be
/// lost for it. `JSON.stringify` escapes halves only, never whole characters.
fn without_halved_characters(text: String) -> String {
    const HALF: &str = r"\ud";
    if !text.contains(HALF) {
        return text;
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(HALF) {
        let end = (at + 6).min(rest.len());
        let digits = rest.as_bytes()[at + 3..end].iter().all(u8::is_ascii_hexdigit);
        let is_half = end - at == 6 && digits && matches!(rest.as_bytes()[at + 3], b'8'..=b'9' | b'a'..=b'f');
        whole.push_str(&rest[..at]);
        whole.push_str(if is_half { r"\ufffd" } else { HALF });
        rest = &rest[if is_half { end } else { at + HALF.len() }..];
    }
    whole.push_str(rest);
    whole
}

/// What the records of one invocation say.
#[derive(Default)]
pub struct Trail<'a> {
    pub head: Option<Record<'a>>,
    pub calls: Vec<CallRecord<'a>>,
    /// The sequence numbers of all records, in order of arrival.
    numbers: Vec<u64>,
    /// The last call of each span and trace, by its place in `calls`: which one an end belongs to.
    last: HashMap<(Text<'a>, Text<'a>), usize>,
}

/// One subrequest: a `c`, or a `b` with the `e` that may have followed it.
pub struct CallRecord<'a> {
    pub record: Record<'a>,
    /// When the last of its records was logged.
    pub logged_at: Option<Timestamp>,
}

impl<'a> Trail<'a> {
    pub fn read(candidates: &'a [(Option<Timestamp>, String)]) -> Self {
        let mut trail = Trail::default();
        for (logged_at, text) in candidates {
            if let Some(record) = parse(text) {
                trail.take(record, *logged_at);
            }
        }
        trail
    }

    fn take(&mut self, mut record: Record<'a>, logged_at: Option<Timestamp>) {
        if record.ct.0 != Some(RECORD_VERSION) {
            return;
        }
        self.numbers.extend(record.q.unsigned());
        for inner in std::mem::take(&mut record.r).0 {
            self.take(inner, logged_at);
        }
        if self.head.is_none() && trace_id(&record).is_some() && invocation_span(&record).is_some() {
            self.head = Some(record.clone());
        }
        match record.k.get() {
            Some("c" | "b") => self.begin(record, logged_at),
            Some("e") => self.end(record, logged_at),
            _ => {}
        }
    }

    /// Whether the numbers, which count from 0, leave one out: a record is missing. The last ones may be missing all the same.
    pub fn has_gap(&self) -> bool {
        let mut numbers = self.numbers.clone();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.last().is_some_and(|last| *last >= numbers.len() as u64)
    }

    fn begin(&mut self, record: Record<'a>, logged_at: Option<Timestamp>) {
        self.last.insert((record.s.clone(), record.t.clone()), self.calls.len());
        self.calls.push(CallRecord { record, logged_at });
    }

    /// Completes the call that a `b` began; where the `b` is missing, the end alone still tells of a call.
    fn end(&mut self, end: Record<'a>, logged_at: Option<Timestamp>) {
        let begun = self.last.get(&(end.s.clone(), end.t.clone())).and_then(|at| self.calls.get_mut(*at));
        let Some(call) = begun else { return self.begin(end, logged_at) };
        call.logged_at = logged_at;
        let record = &mut call.record;
        (record.ms, record.st, record.ur, record.err) = (end.ms, end.st, end.ur, end.err);
    }
}

fn parse(text: &str) -> Option<Record<'_>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

pub fn trace_id(record: &Record<'_>) -> Option<TraceId> {
    TraceId::parse(record.t.get()?).ok()
}

pub fn invocation_span(record: &Record<'_>) -> Option<SpanId> {
    SpanId::parse(record.w.get()?).ok()
}

pub fn parent_span(record: &Record<'_>) -> Option<SpanId> {
    SpanId::parse(record.wp.get()?).ok()
}

pub fn call_span(record: &Record<'_>) -> Option<SpanId> {
    SpanId::parse(record.s.get()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(texts: impl Iterator<Item = String>) -> Vec<(Option<Timestamp>, String)> {
        texts.map(|text| (None, text)).collect()
    }

    #[test]
    fn an_end_completes_the_last_call_of_its_span() {
        let told = logged(
            [
                r#"{"ct":1,"k":"b","s":"one","m":"GET"}"#,
                r#"{"ct":1,"k":"b","s":"two","m":"PUT"}"#,
                r#"{"ct":1,"k":"b","s":"one","m":"POST"}"#,
                r#"{"ct":1,"k":"e","s":"one","st":200}"#,
                r#"{"ct":1,"k":"e","s":"three","st":500}"#,
                r#"{"ct":1,"k":"e","s":"two","st":404}"#,
            ]
            .map(str::to_owned)
            .into_iter(),
        );
        let trail = Trail::read(&told);
        let calls = trail.calls.iter().map(|call| (call.record.m.get(), call.record.st.0));
        let calls: Vec<_> = calls.collect();
        let expected =
            [(Some("GET"), None), (Some("PUT"), Some(404)), (Some("POST"), Some(200)), (None, Some(500))];
        assert_eq!(calls, expected);
    }

    #[test]
    fn a_number_that_is_left_out_is_a_record_that_is_missing() {
        let gap = |numbers: &[u32]| {
            let told = numbers.iter().map(|q| format!(r#"{{"ct":1,"k":"c","s":"{q}","q":{q}}}"#));
            Trail::read(&logged(told)).has_gap()
        };
        assert!(!gap(&[]) && !gap(&[0]) && !gap(&[2, 0, 1]) && !gap(&[0, 1, 1]));
        assert!(gap(&[1]), "the head");
        assert!(gap(&[0, 2]) && gap(&[0, 1, 4_000_000_000]));
        let unnumbered = logged(std::iter::once(r#"{"ct":1,"k":"c","s":"a"}"#.to_owned()));
        assert!(!Trail::read(&unnumbered).has_gap());
    }

    /// Looked for among all calls each time, these would be ten thousand million comparisons.
    #[test]
    fn many_ends_without_a_beginning_cost_no_more_than_their_number() {
        let told = logged((0..100_000).map(|n| format!(r#"{{"ct":1,"k":"e","s":"{n}"}}"#)));
        assert_eq!(Trail::read(&told).calls.len(), 100_000);
    }
}
