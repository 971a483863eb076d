#!/usr/bin/env python3
"""Writes the dashboards in json/. Python's standard library only.

    python3 dashboards/generate.py           writes them
    python3 dashboards/generate.py --check   fails when what is committed differs

Why a program: the same column is named in a query, in the transformation that puts it in its place, in overrides and in
links. Here it is named once. What the columns are is calltrail's matter (src/api/grafana_rows.rs); tests/dashboards.rs
asks a running calltrail for each of them.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent / "json"
OVERVIEW, AUDIT = "calltrail-overview", "calltrail-audit"
SOURCE = {"type": "yesoreyeram-infinity-datasource", "uid": "${datasource}"}
TIMES = {"from": "${__from}", "to": "${__to}"}
FILTERS = {name: f"${{{name}}}" for name in ["principal", "caller", "callee", "decision", "basis", "finding"]}

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
EFFECTS = {"allow": GREEN, "deny": RED, "not judged": GREY}
BASES = {"proven": GREEN, "keyed": BLUE, "inferred": YELLOW, "single": ORANGE}
CLASSES = {"1xx": GREY, "2xx": GREEN, "3xx": BLUE, "4xx": YELLOW, "5xx": RED, "none": GREY}
SEVERITIES = {"high": RED, "medium": ORANGE, "low": YELLOW, "info": BLUE}
ASSURANCES = {"mtls": GREEN, "jwt": GREEN, "signed": GREEN, "asserted": YELLOW, "address": ORANGE, "none": ORANGE}
QUANTILES = {"p50": GREEN, "p95": YELLOW, "p99": ORANGE}


@dataclass
class Column:
    """A column of an answer; `title` is what a person reads, empty for one that is not shown in a table."""

    name: str
    kind: str = "string"
    title: str = ""
    unit: str = ""
    width: int = 0
    colors: dict = field(default_factory=dict)
    ranges: list = field(default_factory=list)
    link: dict = field(default_factory=dict)


def audit_link(title, **filters):
    """To the audit explorer, with the time range and what was clicked on."""
    keep = "${__url_time_range}&${datasource:queryparam}&${calltrail:queryparam}"
    chosen = "".join(f"&var-{name}={value}" for name, value in filters.items())
    return {"title": title, "url": f"/d/{AUDIT}?{keep}{chosen}", "targetBlank": False}


def call_link(column):
    url = f"${{calltrail:raw}}/v1/calls/${{__data.fields.{column}}}"
    return {"title": "This call with its legs, as JSON", "url": url, "targetBlank": True}


def target(path, columns, params, form="table"):
    return {
        "refId": "A",
        "datasource": SOURCE,
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": form,
        "url": path,
        "url_options": {
            "method": "GET",
            "data": "",
            "params": [{"key": key, "value": value} for key, value in params.items()],
        },
        "root_selector": "rows",
        "columns": [{"selector": c.name, "text": c.name, "type": c.kind} for c in columns],
        "filters": [],
    }


def steps(*levels):
    """Colours from a value on: ("green"), (1, "red")."""
    return {"mode": "absolute", "steps": [{"color": c, "value": None if v == "base" else v} for v, c in levels]}


PLAIN = steps(("base", GREY))


def value_map(colors):
    options = {word: {"color": color, "index": i, "text": word} for i, (word, color) in enumerate(colors.items())}
    return [{"type": "value", "options": options}]


def override(name, **properties):
    listed = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


def panel(kind, title, question, place, targets, defaults, overrides=(), options=None, transformations=(), **more):
    x, y, w, h = place
    return {
        "type": kind,
        "title": title,
        "description": question,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": targets,
        "transformations": list(transformations),
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options or {},
        **more,
    }


def stat(title, question, place, column, no_value, thresholds=PLAIN, mappings=(), filters=None, link=None):
    reduce = {"calcs": ["lastNotNull"], "fields": f"/^{column.name}$/", "values": False}
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": reduce,
        "textMode": "value",
        "wideLayout": True,
    }
    defaults = {
        "unit": column.unit,
        "noValue": no_value,
        "thresholds": thresholds,
        "mappings": list(mappings),
        "color": {"mode": "thresholds"},
        "links": [link] if link else [],
    }
    asked = [target("/api/grafana/summary", [column], {**TIMES, **(filters or {})})]
    return panel("stat", title, question, place, asked, defaults, options=options)


def chart(title, question, place, path, params, no_value, colors=None, value="value", unit="short", link=None, bars=True):
    columns = [Column("ts", "timestamp_epoch"), Column("label"), Column(value, "number")]
    custom = {"drawStyle": "bars", "fillOpacity": 70, "lineWidth": 0, "stacking": {"mode": "normal", "group": "A"}}
    if not bars:
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "always", "pointSize": 5}
    defaults = {
        "unit": unit,
        "min": 0,
        "noValue": no_value,
        "displayName": "${__field.labels.label}",
        "thresholds": PLAIN,
        "mappings": [],
        "color": {"mode": "palette-classic-by-name"},
        "custom": custom,
        "links": [link] if link else [],
    }
    fixed = [override(label, color={"mode": "fixed", "fixedColor": c}) for label, c in (colors or {}).items()]
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
    }
    asked = [target(path, columns, {**TIMES, **params, "step": "${__interval_ms}"}, "timeseries")]
    return panel(
        "timeseries", title, question, place, asked, defaults, fixed, options, interval="1s", maxDataPoints=200
    )


def table(title, question, place, path, columns, params, no_value, sort=None):
    names = [c.name for c in columns]
    organize = {
        "id": "organize",
        "options": {
            "excludeByName": {},
            "includeByName": {},
            "indexByName": {name: i for i, name in enumerate(names)},
            "renameByName": {c.name: c.title for c in columns},
        },
    }
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        "sortBy": [{"displayName": columns[names.index(sort)].title, "desc": True}] if sort else [],
    }
    defaults = {
        "noValue": no_value,
        "thresholds": PLAIN,
        "mappings": [],
        "color": {"mode": "thresholds"},
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False},
    }
    overrides = [column_override(c) for c in columns]
    return panel(
        "table",
        title,
        question,
        place,
        [target(path, columns, {**TIMES, **params})],
        defaults,
        [o for o in overrides if o["properties"]],
        options,
        [organize],
    )


def column_override(column):
    properties = {}
    if column.unit:
        properties["unit"] = column.unit
    if column.width:
        properties["custom.width"] = column.width
    if column.colors or column.ranges:
        properties["mappings"] = (value_map(column.colors) if column.colors else []) + column.ranges
        properties["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        properties["links"] = [column.link]
    # An empty cell is an empty cell: what the table says when it has no rows is not for it.
    properties["noValue"] = "–"
    return override(column.name, **properties)


def value_range(first, last, color):
    return {"type": "range", "options": {"from": first, "to": last, "result": {"color": color, "index": 0}}}


STATUSES = [value_range(200, 299, GREEN), value_range(400, 499, YELLOW), value_range(500, 599, RED)]
WHEN = Column("start_ms", "timestamp_epoch", "When", "time:YYYY-MM-DD HH:mm:ss.SSS", 200)


def datasource_variable():
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "description": "Which calltrail is read",
        "query": SOURCE["type"],
        "regex": "/calltrail/i",
        "current": {"text": "calltrail", "value": "calltrail"},
        "options": [],
        "multi": False,
        "includeAll": False,
        "refresh": 2,
        "hide": 0,
        "skipUrlSync": False,
    }


def url_variable():
    here = "http://127.0.0.1:7311"
    return {
        "type": "textbox",
        "name": "calltrail",
        "label": "calltrail at",
        "description": "Where your browser reaches calltrail: links to single calls lead there",
        "query": here,
        "current": {"text": here, "value": here},
        "options": [{"selected": True, "text": here, "value": here}],
        "hide": 0,
        "skipUrlSync": False,
    }


def filter_variable(name, label, description):
    asked = target(f"/api/grafana/values/{name}", [Column("value")], TIMES)
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": SOURCE,
        "query": {"queryType": "infinity", "query": "", "infinityQuery": {**asked, "refId": "variable"}},
        "definition": f"calltrail {name}",
        "refresh": 2,
        "sort": 0,
        "regex": "",
        "multi": False,
        "includeAll": True,
        # calltrail reads * as "no filter".
        "allValue": "*",
        "current": {"text": "All", "value": "$__all"},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def annotations():
    """Grafana's own, and the findings that should not wait."""
    columns = [Column("start_ms", "timestamp_epoch"), Column("sentence"), Column("kind")]
    asked = target("/api/grafana/findings", columns, {**TIMES, "severity": "high", "limit": "50"})
    as_event = {"start_ms": "time", "sentence": "text", "kind": "tags"}
    for column in asked["columns"]:
        column["text"] = as_event[column["selector"]]
    own = {
        "builtIn": 1,
        "name": "Annotations & Alerts",
        "type": "dashboard",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
    }
    high = {
        "name": "High findings",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": RED,
        "target": {**asked, "refId": "Anno"},
    }
    return {"list": [own, high]}


def dashboard(uid, title, description, panels, variables):
    for number, each in enumerate(panels, start=1):
        each["id"] = number
    links = {
        "type": "dashboards",
        "title": "calltrail",
        "tags": ["calltrail"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["calltrail"],
        "schemaVersion": 42,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "refresh": "1m",
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "links": [links],
        "annotations": annotations(),
        "templating": {"list": variables},
        "panels": panels,
    }


NOTHING = "No calls in this time range. Is a source sending, and is it joined (complete)?"


def state_of_the_numbers(place, filters=None):
    """Two tiles of one answer: whether everything was counted, and whether everything has been joined."""
    columns = [Column("all_counted", "boolean"), Column("complete", "boolean")]
    reduce = {"calcs": ["lastNotNull"], "fields": "/^(all_counted|complete)$/", "values": False}
    options = {"colorMode": "value", "graphMode": "none", "orientation": "auto", "reduceOptions": reduce,
               "textMode": "value_and_name", "justifyMode": "auto", "wideLayout": True}

    def words(yes, no):
        named = {"true": {"color": GREEN, "index": 0, "text": yes}, "false": {"color": ORANGE, "index": 1, "text": no}}
        return [{"type": "value", "options": named}]

    overrides = [
        override("all_counted", displayName="Counted", mappings=words("every call", "the newest 100,000")),
        override("complete", displayName="Joined", mappings=words("up to date", "catching up")),
    ]
    defaults = {"noValue": "calltrail did not answer", "thresholds": PLAIN, "mappings": [], "links": [],
                "color": {"mode": "thresholds"}, "unit": "bool"}
    question = (
        "Can the numbers be relied upon? calltrail counts 100,000 calls at most, the newest of the time range; with more, choose "
        "a shorter one. While it is catching up, the newest calls are missing or have one side only."
    )
    asked = [target("/api/grafana/summary", columns, {**TIMES, **(filters or {})})]
    return panel("stat", "State of the numbers", question, place, asked, defaults, overrides, options)


def quantiles(place):
    columns = [Column("label"), Column("duration_us", "number")]
    reduce = {"calcs": ["lastNotNull"], "fields": "/^duration_us$/", "values": True, "limit": 3}
    options = {"colorMode": "value", "graphMode": "none", "orientation": "auto", "reduceOptions": reduce,
               "textMode": "value_and_name", "justifyMode": "auto", "wideLayout": True}
    defaults = {"noValue": "No call in this time range has a duration.", "thresholds": PLAIN, "mappings": [], "links": [],
                "color": {"mode": "thresholds"}, "unit": "µs"}
    question = (
        "How long did half (p50), 95 % (p95) and 99 % (p99) of the calls take, at most? Durations are of the caller's side where "
        "there is one."
    )
    asked = [target("/api/grafana/durations", columns, TIMES)]
    return panel("stat", "How long calls took", question, place, asked, defaults, options=options)


def top(title, question, place, by, filter_name):
    columns = [
        Column("label", title=title.split(" ", 1)[1].capitalize(), link=audit_link(
            "Their calls in the audit explorer", **{filter_name: "${__data.fields.label:percentencode}"}
        )),
        Column("calls", "number", "Calls", "short", 90),
        Column("failed", "number", "Failed", "short", 90),
        Column("denied", "number", "Denied", "short", 90),
    ]
    params = {"by": by, "limit": "10"}
    return table(title, question, place, "/api/grafana/top", columns, params, NOTHING, sort="calls")


FINDINGS = [
    WHEN,
    Column("severity", title="Severity", width=90, colors=SEVERITIES),
    Column("kind", title="Finding", width=160, link=audit_link(
        "All calls with this finding", finding="${__data.fields.kind:percentencode}"
    )),
    Column("sentence", title="What was seen"),
    Column("call_id", title="Call", width=290, link=call_link("call_id")),
]

CALLS = [
    WHEN,
    Column("principal", title="Principal", width=190, link=audit_link(
        "All calls for this principal", principal="${__data.fields.principal:percentencode}"
    )),
    Column("attribution", title="Principal known by", width=110),
    Column("caller", title="Caller", width=120, link=audit_link(
        "All calls of this caller", caller="${__data.fields.caller:percentencode}"
    )),
    Column("caller_assurance", title="Caller known by", width=90, colors=ASSURANCES),
    Column("callee", title="Callee", width=120, link=audit_link(
        "All calls to this callee", callee="${__data.fields.callee:percentencode}"
    )),
    Column("callee_assurance", title="Callee known by", width=90, colors=ASSURANCES),
    Column("method", title="Method", width=80),
    Column("path", title="Path", width=180),
    Column("decision", title="Decision", width=90, colors=EFFECTS),
    Column("judged_by", title="Judged by", width=220),
    Column("status", "number", "Status", "none", 80, ranges=STATUSES),
    Column("outcome", title="What came of it", width=240),
    Column("duration_us", "number", "Duration", "µs", 100),
    Column("basis", title="Joined by", width=90, colors=BASES),
    Column("confidence", "number", "Confidence", "percentunit", 100),
    Column("state", title="State", width=90),
    Column("findings", title="Findings", width=200),
    Column("id", title="Call", width=290, link=call_link("id")),
]


def overview():
    series = "/api/grafana/series"
    by_label = "${__field.labels.label:percentencode}"
    return dashboard(
        OVERVIEW,
        "calltrail: Overview",
        "How much is called, how it goes, what is denied, and how well the two sides of the calls were joined.",
        [
            stat("Calls", "How many calls started in this time range?", (0, 0, 4, 4),
                 Column("calls", "number", unit="short"), NOTHING, link=audit_link("These calls")),
            stat("Failed", "Which share of the calls ended in an error of the callee's side (5xx, its like in gRPC, or no answer)? "
                 "What was denied is not counted: it had its answer.", (4, 0, 4, 4),
                 Column("failed_share", "number", unit="percentunit"), NOTHING,
                 steps(("base", GREEN), (0.01, YELLOW), (0.05, RED)), link=audit_link("These calls")),
            quantiles((8, 0, 4, 4)),
            stat("Denied", "How many calls did any judge deny (Worker policy, Consul intention)?", (12, 0, 4, 4),
                 Column("denied", "number", unit="short"), NOTHING, steps(("base", GREEN), (1, ORANGE)),
                 link=audit_link("The denied calls", decision="deny")),
            stat("Joined for certain", "Which share of the calls has both sides, joined by proof or by an unguessable key? The rest "
                 "was inferred, or has one side only.", (16, 0, 4, 4),
                 Column("joined_share", "number", unit="percentunit"), NOTHING,
                 steps(("base", RED), (0.8, YELLOW), (0.95, GREEN)), link=audit_link("Calls with one side", basis="single")),
            stat("High findings", "How many findings of high severity hold on calls of this time range?", (20, 0, 4, 4),
                 Column("findings_high", "number", unit="short"), "calltrail did not answer",
                 steps(("base", GREEN), (1, RED))),
            chart("Calls by callee", "Who is called how often? The twelve busiest by name; the rest is counted as others.",
                  (0, 4, 12, 8), series, {"by": "callee"}, NOTHING,
                  link=audit_link("Calls to ${__field.labels.label}", callee=by_label)),
            chart("Calls by outcome", "What came of the calls, by class of status? None: no status was seen (TCP, or no response).",
                  (12, 4, 12, 8), series, {"by": "status_class"}, NOTHING, CLASSES),
            chart("Duration", "How long do calls take? Each point is a duration that a call of that step really took.",
                  (0, 12, 12, 8), "/api/grafana/durations", {}, "No call in this time range has a duration.", QUANTILES,
                  value="duration_us", unit="µs", bars=False),
            chart("Calls by decision", "By whose leave? Denied: any judge denied. Not judged: no line says that anybody decided.",
                  (12, 12, 12, 8), series, {"by": "effect"}, NOTHING, EFFECTS),
            chart("Calls by basis", "How sure is the join? Proven and keyed are certain, inferred carries a confidence, single has "
                  "one side only.", (0, 20, 12, 8), series, {"by": "basis"}, NOTHING, BASES,
                  link=audit_link("Calls joined this way", basis=by_label)),
            table("Newest findings", "What is wrong or unproven, newest first? The sentence says it; the call's page has the lines.",
                  (12, 20, 12, 8), "/api/grafana/findings", FINDINGS, {"limit": "100"},
                  "No finding holds on a call of this time range."),
            top("Top callers", "Who calls most?", (0, 28, 8, 9), "caller", "caller"),
            top("Top callees", "Who is called most?", (8, 28, 8, 9), "callee", "callee"),
            top("Top principals", "On whose behalf are most calls made? Only calls whose principal is known.", (16, 28, 8, 9),
                "principal", "principal"),
            state_of_the_numbers((0, 37, 6, 4)),
        ],
        [datasource_variable(), url_variable()],
    )


def audit():
    no_match = "No call matches these filters in this time range."
    return dashboard(
        AUDIT,
        "calltrail: Audit explorer",
        "Which calls happened: who called what, on whose behalf, by whose leave, what came of it, and how sure that is.",
        [
            stat("Matching calls", "How many calls match the filters?", (0, 0, 4, 4),
                 Column("calls", "number", unit="short"), no_match, filters=FILTERS),
            stat("Denied", "How many of them did any judge deny?", (4, 0, 4, 4), Column("denied", "number", unit="short"),
                 no_match, steps(("base", GREEN), (1, ORANGE)), filters=FILTERS, link=audit_link("The denied calls", decision="deny")),
            stat("Failed", "How many of them ended in an error of the callee's side?", (8, 0, 4, 4),
                 Column("failed", "number", unit="short"), no_match, steps(("base", GREEN), (1, RED)), filters=FILTERS),
            stat("Joined for certain", "Which share of them was joined by proof or by an unguessable key?", (12, 0, 4, 4),
                 Column("joined_share", "number", unit="percentunit"), no_match,
                 steps(("base", RED), (0.8, YELLOW), (0.95, GREEN)), filters=FILTERS),
            state_of_the_numbers((16, 0, 8, 4), FILTERS),
            chart("Matching calls over time", "When did they happen, and by whose leave?", (0, 4, 24, 6), "/api/grafana/series",
                  {"by": "effect", **FILTERS}, no_match, EFFECTS),
            table("Calls", "Which calls are they? The newest 500; the last column leads to a call with its legs and raw lines.",
                  (0, 10, 24, 18), "/api/grafana/calls", CALLS, {**FILTERS, "limit": "500"}, no_match),
        ],
        [
            datasource_variable(),
            url_variable(),
            filter_variable("principal", "Principal", "On whose behalf: subjects seen in this time range"),
            filter_variable("caller", "Caller", "Who called: short names seen in this time range"),
            filter_variable("callee", "Callee", "Who was called: short names seen in this time range"),
            filter_variable("decision", "Decision", "What the judges said: deny if any of them denied"),
            filter_variable("basis", "Joined by", "How the two sides of a call were joined"),
            filter_variable("finding", "Finding", "What is wrong or unproven about a call"),
        ],
    )


def main():
    check = "--check" in sys.argv[1:]
    stale = []
    for name, made in [("overview.json", overview()), ("audit-explorer.json", audit())]:
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        path = HERE / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(f"{', '.join(stale)} differ from what dashboards/generate.py writes: run python3 dashboards/generate.py")


if __name__ == "__main__":
    main()
