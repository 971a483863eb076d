//! What the demo prints: the most telling calls, the findings by kind, and where to look further.

use super::paint::Paint;
use super::{phrase, table};
use crate::api::dto::{CallDto, FindingDto};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Rows of the table.
const SHOWN: usize = 25;
/// Of them, at most this many calls that carry findings; the others are what an ordinary call looks like.
const WITH_FINDINGS: usize = 17;

/// The table of calls with a note how many there are.
pub fn calls(all: &[CallDto], paint: Paint) -> String {
    let shown = telling(all);
    let total = phrase::count(all.len() as u64, "call", "calls");
    let joined = all.iter().filter(|c| c.basis != "single").count();
    let heading =
        format!("{total}, {joined} of them seen from both sides or more. The {} most telling:", shown.len());
    format!("{}\n{}", paint.bold(&heading), table::calls(&shown, paint))
}

/// One call of each sort: findings and verdicts apart, those that are ordinary last, in the order of their start.
fn telling(all: &[CallDto]) -> Vec<CallDto> {
    let (mut shown, mut sorts) = (Vec::new(), BTreeSet::new());
    let sort = |c: &CallDto| {
        (phrase::finding_kinds(&c.findings), phrase::decisions(c), c.outcome.stopped_at.clone())
    };
    let (marked, calm): (Vec<&CallDto>, Vec<&CallDto>) = all.iter().partition(|c| !c.findings.is_empty());
    shown.extend(marked.into_iter().filter(|c| sorts.insert(sort(c))).take(WITH_FINDINGS));
    let whole_trace =
        calm.iter().find(|c| c.parent_id.is_none() && c.principal.is_some()).map(|c| c.trace_id.clone());
    let (of_it, others): (Vec<&CallDto>, Vec<&CallDto>) =
        calm.into_iter().partition(|c| whole_trace.as_ref() == Some(&c.trace_id));
    let room = SHOWN - shown.len();
    let mut requests = BTreeSet::new();
    let new = |c: &&CallDto| requests.insert((phrase::parties(c), phrase::request(c)));
    shown.extend(of_it.into_iter().chain(others).filter(new).take(room));
    shown.sort_by_key(|c| (c.start_us, c.id.clone()));
    shown.into_iter().cloned().collect()
}

/// The findings by kind, the gravest first, each with an example in its own words.
pub fn findings(all: &[CallDto], paint: Paint) -> String {
    let mut kinds: BTreeMap<&str, (u64, &FindingDto)> = BTreeMap::new();
    for finding in all.iter().flat_map(|c| &c.findings) {
        kinds.entry(&finding.kind).and_modify(|(n, _)| *n += 1).or_insert((1, finding));
    }
    let gravity = |f: &FindingDto| ["high", "medium", "low", "info"].iter().position(|s| *s == f.severity);
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by_key(|(n, f)| (gravity(f), std::cmp::Reverse(*n)));
    let total = phrase::count(kinds.iter().map(|(n, _)| n).sum(), "finding", "findings");
    let mut text = format!("{}\n", paint.bold(&format!("{total}, with an example of each kind:")));
    for (number, f) in kinds {
        let head = format!("{:>5}  {:<18}", number, f.kind);
        let _ = writeln!(text, "{} {}", paint.severity(&f.severity, &head), phrase::printable(&f.sentence));
    }
    text
}

/// Addresses to open, of calls that are worth it.
pub fn addresses(all: &[CallDto], base: &str, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold("Open:"));
    let accused = all.iter().find(|c| c.findings.iter().any(|f| f.severity == "high")).or(all.first());
    let traces = all.iter().filter_map(|c| c.trace_id.as_deref());
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    traces.for_each(|t| *sizes.entry(t).or_default() += 1);
    let largest = sizes.into_iter().max_by_key(|(id, n)| (*n, *id)).map(|(id, _)| id);
    let kind = accused.and_then(|c| c.findings.first()).map_or("denied", |f| f.kind.as_str());
    let mut open = |path: String, what: &str| {
        let _ = writeln!(text, "  {:<72} {}", format!("{base}{path}"), paint.dim(what));
    };
    if let Some(call) = accused {
        open(format!("/v1/calls/{}", call.id), "one call");
    }
    if let Some(trace) = largest {
        open(format!("/v1/traces/{trace}"), "one request and all it set off");
    }
    open(format!("/v1/calls?finding={kind}"), "calls with a finding");
    open("/v1/findings".to_owned(), "all findings");
    open("/metrics".to_owned(), "for Prometheus");
    if let Some(trace) = largest {
        let _ = writeln!(text, "Or, in another terminal:\n  calltrail trace {trace} --server {base}");
    }
    text
}
