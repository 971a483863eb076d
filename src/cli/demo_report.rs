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
/// Of the same caller, callee and kind of request, at most this many.
const ALIKE: usize = 2;
/// Findings that accuse somebody and get a line of their own, shared among their kinds.
const ACCUSED: usize = 40;
/// Where the time begins in [`phrase::when`]: the day is the same for all.
const TIME_OF_DAY: usize = 11;

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
    let (mut shown, mut sorts, mut alike) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    let sort = |c: &CallDto| {
        (phrase::finding_kinds(&c.findings), phrase::decisions(c), c.outcome.stopped_at.clone())
    };
    let mut is_new = |c: &&CallDto| {
        let seen: &mut usize = alike.entry(kind_of_request(c)).or_default();
        *seen += 1;
        *seen <= ALIKE
    };
    let (marked, calm): (Vec<&CallDto>, Vec<&CallDto>) = all.iter().partition(|c| !c.findings.is_empty());
    let marked = marked.into_iter().filter(|c| sorts.insert(sort(c)));
    shown.extend(marked.filter(&mut is_new).take(WITH_FINDINGS));
    let whole_trace =
        calm.iter().find(|c| c.parent_id.is_none() && c.principal.is_some()).map(|c| c.trace_id.clone());
    let (of_it, others): (Vec<&CallDto>, Vec<&CallDto>) =
        calm.into_iter().partition(|c| whole_trace.as_ref() == Some(&c.trace_id));
    let room = SHOWN - shown.len();
    shown.extend(of_it.into_iter().chain(others).filter(&mut is_new).take(room));
    shown.sort_by_key(|c| (c.start_us, c.id.clone()));
    shown.into_iter().cloned().collect()
}

/// Caller, callee and request, whatever the numbers in its path: a call for each of a hundred invoices is one kind.
fn kind_of_request(call: &CallDto) -> (String, String) {
    let request = phrase::request(call);
    let segments =
        request.split('/').map(|s| if s.starts_with(|c: char| c.is_ascii_digit()) { "*" } else { s });
    (phrase::parties(call), segments.collect::<Vec<_>>().join("/"))
}

/// The findings by kind, the gravest first, with their number: a line for each of the newest that accuse somebody, one for the
/// others, and where the rest is.
pub fn findings(all: &[CallDto], base: &str, paint: Paint) -> String {
    let mut kinds: BTreeMap<&str, Vec<(&CallDto, &FindingDto)>> = BTreeMap::new();
    for (call, finding) in all.iter().flat_map(|c| c.findings.iter().map(move |f| (c, f))) {
        kinds.entry(&finding.kind).or_default().push((call, finding));
    }
    let gravity = |f: &FindingDto| ["high", "medium", "low", "info"].iter().position(|s| *s == f.severity);
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by_key(|found| (gravity(found[0].1), std::cmp::Reverse(found.len())));
    let accuses = |f: &FindingDto| matches!(f.severity.as_str(), "high" | "medium");
    let each = (ACCUSED / kinds.iter().filter(|found| accuses(found[0].1)).count().max(1)).max(1);
    let total = phrase::count(kinds.iter().map(|found| found.len() as u64).sum(), "finding", "findings");
    let mut text = format!("{}\n", paint.bold(&format!("{total}, the gravest kinds first, newest first:")));
    for found in kinds {
        let lines = if accuses(found[0].1) { each } else { 1 };
        text.push_str(&of_one_kind(&found, lines, base, paint));
    }
    text
}

/// A heading with the number, then a sentence for each; a sentence that is the same word for word is printed once.
fn of_one_kind(found: &[(&CallDto, &FindingDto)], lines: usize, base: &str, paint: Paint) -> String {
    let FindingDto { kind, severity, .. } = found[0].1;
    let mut text = paint.severity(severity, &format!("{:>5}  {kind}, {severity}", found.len())) + "\n";
    let (mut said, mut printed) = (BTreeSet::new(), 0);
    for (call, finding) in found.iter().filter(|(_, f)| said.insert(&f.sentence)).take(lines) {
        let time = phrase::when(&call.start).split_off(TIME_OF_DAY);
        let _ = writeln!(text, "       {}  {}", paint.dim(&time), phrase::printable(&finding.sentence));
        printed += 1;
    }
    if found.len() > printed {
        let more = format!("and {} more: {base}/v1/findings?kind={kind}", found.len() - printed);
        let _ = writeln!(text, "       {}", paint.dim(&more));
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
