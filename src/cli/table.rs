//! Calls and findings as tables for people and as CSV for spreadsheets.
//!
//! A table fits the terminal; CSV carries everything at full length and no cell that a spreadsheet would run as a formula.

use super::paint::Paint;
use super::phrase;
use crate::api::dto::{CallDto, FindingRow, IdentityDto, PrincipalDto, RejectDto, SourceFindingDto};
use crate::api::dto_stats::StatsRow;
use comfy_table::{ContentArrangement, LineStyle, Table, presets};

/// Columns from which on most rows of a table fit on one line.
const WIDE: u16 = 180;

fn table(paint: Paint, header: &[&str]) -> Table {
    let mut table = Table::new();
    // Rules between the rows only where rows will be folded: else each is one line.
    let mut style = presets::UTF8_HORIZONTAL_ONLY;
    if paint.width.is_none_or(|columns| columns >= WIDE) {
        style = style.row_separator(LineStyle::none());
    }
    table.load_style(style).set_header(header.to_vec()).force_no_tty();
    if let Some(width) = paint.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn rendered(table: &Table) -> String {
    format!("{}\n", table.trim_fmt())
}

/// One row per call.
pub fn calls(rows: &[CallDto], paint: Paint) -> String {
    let header =
        ["when (UTC)", "principal", "caller → callee", "request", "decision", "outcome", "basis", "findings"];
    let mut table = table(paint, &header);
    for call in rows {
        table.add_row([
            phrase::when(&call.start),
            phrase::principal(call.principal.as_ref()),
            phrase::parties(call),
            phrase::request(call),
            phrase::decisions(call),
            phrase::outcome(call),
            phrase::basis(call),
            phrase::finding_kinds(&call.findings),
        ]);
    }
    rendered(&table)
}

/// One row per finding.
pub fn findings(rows: &[FindingRow], paint: Paint) -> String {
    let mut table = table(paint, &["when (UTC)", "severity", "finding", "what", "call"]);
    for f in rows {
        let what = phrase::printable(&f.sentence);
        table.add_row([phrase::when(&f.start), f.severity.clone(), f.kind.clone(), what, f.call_id.clone()]);
    }
    rendered(&table)
}

/// One row per line that could not be read.
pub fn rejects(rows: &[RejectDto], paint: Paint) -> String {
    let mut table = table(paint, &["received (UTC)", "source", "delivery", "line", "reason", "detail"]);
    for r in rows {
        let detail = phrase::printable(&r.detail);
        let (delivery, line) = (r.delivery.to_string(), r.line.to_string());
        let (source, reason) = (phrase::printable(&r.source), r.reason.clone());
        table.add_row([phrase::when(&r.received_at), source, delivery, line, reason, detail]);
    }
    rendered(&table)
}

/// Any rows under a header.
pub fn plain(header: &[&str], rows: Vec<Vec<String>>, paint: Paint) -> String {
    let mut table = table(paint, header);
    table.add_rows(rows);
    rendered(&table)
}

/// A cell that a spreadsheet would take for a formula is led by an apostrophe, as OWASP's "CSV Injection" advises.
pub fn cell(text: &str) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

fn identity_cells(identity: &IdentityDto) -> [String; 4] {
    let id = identity.spiffe_id.clone().unwrap_or_default();
    [identity.name.clone(), id, identity.kind.clone(), identity.assurance.clone()]
}

fn principal_cells(principal: Option<&PrincipalDto>) -> [String; 3] {
    principal.map_or_else(Default::default, |p| [p.kind.clone(), p.subject.clone(), p.attribution.clone()])
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

const CALL_COLUMNS: &[&str] = &[
    "id",
    "trace_id",
    "parent_id",
    "start",
    "caller",
    "caller_spiffe_id",
    "caller_kind",
    "caller_assurance",
    "callee",
    "callee_spiffe_id",
    "callee_kind",
    "callee_assurance",
    "principal_kind",
    "principal",
    "principal_attribution",
    "protocol",
    "method",
    "authority",
    "path",
    "decisions",
    "status",
    "grpc_status",
    "duration_us",
    "attempts",
    "request_body_bytes",
    "response_body_bytes",
    "flags",
    "stopped_at",
    "stopped_why",
    "basis",
    "confidence",
    "ambiguous",
    "state",
    "findings",
];

fn call_cells(call: &CallDto) -> Vec<String> {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let o = &call.outcome;
    let decisions: Vec<String> = call.decisions.iter().map(phrase::decision).collect();
    let mut cells = vec![call.id.clone(), text(&call.trace_id), text(&call.parent_id), call.start.clone()];
    cells.extend(identity_cells(&call.caller));
    cells.extend(identity_cells(&call.callee));
    cells.extend(principal_cells(call.principal.as_ref()));
    cells.extend([call.protocol.clone(), text(&call.method), text(&call.authority), text(&call.path)]);
    cells.extend([decisions.join("; "), number(o.status), number(o.grpc_status), number(o.duration_us)]);
    cells.extend([o.attempts.to_string(), number(o.request_body_bytes), number(o.response_body_bytes)]);
    cells.extend([o.flags.join("; "), text(&o.stopped_at), text(&o.stopped_why)]);
    cells.extend([
        call.basis.clone(),
        call.confidence.to_string(),
        call.ambiguous.to_string(),
        call.state.clone(),
    ]);
    cells.push(phrase::finding_kinds(&call.findings));
    cells
}

fn csv(header: Option<&[&str]>, rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(header) = header {
        writer.write_record(header)?;
    }
    for row in rows {
        writer.write_record(row.iter().map(|c| cell(c)))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Calls as CSV. Without the header for every page but the first.
pub fn calls_csv(rows: &[CallDto], with_header: bool) -> anyhow::Result<String> {
    csv(with_header.then_some(CALL_COLUMNS), rows.iter().map(call_cells))
}

/// Findings as CSV: those on calls, then those on sources, which have no call to fill the other columns with.
pub fn findings_csv(rows: &[FindingRow], on_sources: &[SourceFindingDto]) -> anyhow::Result<String> {
    const COLUMNS: &[&str] = &[
        "finding",
        "severity",
        "sentence",
        "raised_at",
        "call_id",
        "trace_id",
        "start",
        "caller",
        "caller_spiffe_id",
        "caller_kind",
        "caller_assurance",
        "callee",
        "callee_spiffe_id",
        "callee_kind",
        "callee_assurance",
        "principal_kind",
        "principal",
        "principal_attribution",
        "method",
        "path",
        "status",
    ];
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let cells = |f: &FindingRow| {
        let mut cells = vec![f.kind.clone(), f.severity.clone(), f.sentence.clone(), f.raised_at.clone()];
        cells.extend([f.call_id.clone(), text(&f.trace_id), f.start.clone()]);
        cells.extend(identity_cells(&f.caller));
        cells.extend(identity_cells(&f.callee));
        cells.extend(principal_cells(f.principal.as_ref()));
        cells.extend([text(&f.method), text(&f.path), number(f.status)]);
        cells
    };
    let of_source = |f: &SourceFindingDto| {
        let mut cells = vec![f.kind.clone(), f.severity.clone(), f.sentence.clone(), f.from.clone()];
        cells.resize(COLUMNS.len(), String::new());
        cells
    };
    csv(Some(COLUMNS), rows.iter().map(cells).chain(on_sources.iter().map(of_source)))
}

/// Statistics as CSV: columns of what is not told apart are empty.
pub fn stats_csv(rows: &[StatsRow]) -> anyhow::Result<String> {
    const COLUMNS: &[&str] = &[
        "at",
        "caller",
        "caller_kind",
        "caller_spiffe_id",
        "callee",
        "callee_kind",
        "callee_spiffe_id",
        "decision",
        "status_class",
        "calls",
        "failed",
        "request_body_bytes",
        "response_body_bytes",
        "timed",
        "duration_sum_us",
        "p50_us",
        "p95_us",
        "p99_us",
    ];
    let cells = |r: &StatsRow| {
        let caller = [&r.caller, &r.caller_kind, &r.caller_spiffe_id];
        let callee = [&r.callee, &r.callee_kind, &r.callee_spiffe_id];
        let dimensions = caller.into_iter().chain(callee).chain([&r.decision, &r.status_class]);
        let mut cells = vec![r.at.clone()];
        cells.extend(dimensions.map(|text| text.clone().unwrap_or_default()));
        cells.extend([r.calls, r.failed, r.request_body_bytes, r.response_body_bytes].map(|n| n.to_string()));
        cells.extend([r.timed, r.duration_sum_us].map(|n| n.to_string()));
        cells.extend([r.p50_us, r.p95_us, r.p99_us].map(number));
        cells
    };
    csv(Some(COLUMNS), rows.iter().map(cells))
}

/// Rejects as CSV.
pub fn rejects_csv(rows: &[RejectDto]) -> anyhow::Result<String> {
    let cells = |r: &RejectDto| {
        let place = [r.delivery.to_string(), r.line.to_string()];
        let text = [r.received_at.clone(), r.source.clone()].into_iter().chain(place);
        text.chain([r.reason.clone(), r.detail.clone()]).collect()
    };
    csv(Some(&["received_at", "source", "delivery", "line", "reason", "detail"]), rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "\r"] {
            assert!(cell(&format!("{start}cmd")).starts_with('\''), "{start:?}");
        }
        assert_eq!(cell("/orders"), "/orders");
    }
}
