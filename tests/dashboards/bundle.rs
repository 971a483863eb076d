//! The dashboards as Grafana would read them: their queries with the macros filled in, and the rules that they follow.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub struct Dashboard {
    pub uid: String,
    json: Value,
}

/// One question to calltrail, and what the dashboard says about its answer.
#[derive(Debug, Clone)]
pub struct Query {
    /// Where it stands, for messages.
    pub place: String,
    url: String,
    params: Vec<(String, String)>,
    pub root: String,
    pub format: String,
    pub columns: BTreeSet<String>,
    /// Infinity's type of each column.
    pub kinds: BTreeMap<String, String>,
    pub links: Vec<String>,
    panel: Value,
}

/// Every file of `dashboards/json`.
pub fn all() -> Vec<Dashboard> {
    let mut paths: Vec<_> =
        std::fs::read_dir("dashboards/json").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path| {
        let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Dashboard { uid: text(&json["uid"]), json }
    };
    paths.into_iter().map(read).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Dashboard {
    /// Of all panels, variables and annotations.
    pub fn queries(&self) -> Vec<Query> {
        let mut found = Vec::new();
        for panel in list(&self.json["panels"]) {
            for target in list(&panel["targets"]) {
                let place = format!("{} / {} / {}", self.uid, text(&panel["title"]), text(&target["refId"]));
                found.push(Query::read(place, target, panel));
            }
        }
        found.extend(self.query_variables().into_iter().map(|(_, query)| query));
        for annotation in list(&self.json["annotations"]["list"]).filter(|a| a["builtIn"] != 1) {
            let place = format!("{} / annotation {}", self.uid, text(&annotation["name"]));
            found.push(Query::read(place, &annotation["target"], &Value::Null));
        }
        found
    }

    /// Variables that ask, by name.
    pub fn query_variables(&self) -> Vec<(String, Query)> {
        let asking = list(&self.json["templating"]["list"]).filter(|v| v["type"] == "query");
        let read = |v: &Value| {
            let place = format!("{} / variable {}", self.uid, text(&v["name"]));
            (text(&v["name"]), Query::read(place, &v["query"]["infinityQuery"], &Value::Null))
        };
        asking.map(read).collect()
    }

    pub fn variables(&self) -> BTreeSet<String> {
        list(&self.json["templating"]["list"]).map(|v| text(&v["name"])).collect()
    }

    /// What breaks the rules that Grafana's own dashboard linter and we hold dashboards to.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut rule = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        let d = &self.json;
        rule(d["schemaVersion"] == 42, "schemaVersion is not 42".to_owned());
        rule(d["editable"] == false, "editable".to_owned());
        rule(d["graphTooltip"] == 1, "no shared crosshair".to_owned());
        rule(d["time"]["from"] == "now-1h" && d["time"]["to"] == "now", "default range".to_owned());
        rule(list(&d["tags"]).any(|t| t == "calltrail"), "tag".to_owned());
        let linked = list(&d["links"])
            .any(|l| l["type"] == "dashboards" && l["keepTime"] == true && l["includeVars"] == true);
        rule(linked, "no link to the other dashboards that keeps time and variables".to_owned());
        for v in list(&d["templating"]["list"]) {
            let name = text(&v["name"]);
            rule(!text(&v["label"]).is_empty(), format!("variable {name} has no label"));
            rule(v["type"] == "textbox" || v["refresh"] == 2, format!("variable {name} is not asked again"));
            rule(v["type"] != "query" || v["allValue"] == "*", format!("variable {name}: All is not *"));
        }
        let mut ids = BTreeSet::new();
        for panel in list(&d["panels"]) {
            rule(ids.insert(panel["id"].as_i64()), format!("panel id {} twice", panel["id"]));
            for fault in panel_faults(panel) {
                rule(false, format!("{}: {fault}", text(&panel["title"])));
            }
        }
        rule(!overlapping(d), "panels overlap".to_owned());
        let known = self.variables();
        for name in names_in(&d.to_string()) {
            rule(
                BUILT_IN.contains(&name.as_str()) || known.contains(&name),
                format!("${{{name}}} is not defined"),
            );
        }
        faults
    }
}

/// What Grafana fills in by itself.
const BUILT_IN: &[&str] =
    &["__from", "__to", "__interval_ms", "__url_time_range", "__field.labels.label", "__data.fields"];

fn panel_faults(panel: &Value) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let mut rule = |holds: bool, what| {
        if !holds {
            faults.push(what);
        }
    };
    let defaults = &panel["fieldConfig"]["defaults"];
    rule(!text(&panel["title"]).is_empty(), "no title");
    rule(text(&panel["description"]).contains('?'), "the description asks no question");
    rule(panel["datasource"]["uid"] == "${datasource}", "the data source is no variable");
    rule(text(&defaults["noValue"]).len() > 10, "noValue does not explain itself");
    rule(defaults["thresholds"]["steps"].is_array(), "no thresholds");
    rule(list(&panel["targets"]).count() > 0, "no query");
    for target in list(&panel["targets"]) {
        rule(target["datasource"]["uid"] == "${datasource}", "a query's data source is no variable");
        rule(target["parser"] == "backend", "not parsed by the back end: alerts would see nothing");
        rule(text(&target["url"]).starts_with("/api/grafana/"), "the url is not relative");
        for column in list(&target["columns"]).filter(|c| c["type"] == "number") {
            let overridden = list(&panel["fieldConfig"]["overrides"]).any(|o| {
                o["matcher"]["options"] == column["text"]
                    && list(&o["properties"]).any(|p| p["id"] == "unit" && !text(&p["value"]).is_empty())
            });
            rule(overridden || !text(&defaults["unit"]).is_empty(), "a number without a unit");
        }
    }
    if panel["type"] == "table" {
        rule(list(&panel["transformations"]).any(|t| t["id"] == "organize"), "columns in alphabetical order");
    }
    faults
}

fn overlapping(dashboard: &Value) -> bool {
    let mut taken = BTreeSet::new();
    let mut overlap = false;
    for panel in list(&dashboard["panels"]) {
        let at = |name: &str| panel["gridPos"][name].as_i64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                overlap |= x >= 24 || !taken.insert((x, y));
            }
        }
    }
    overlap
}

/// Names in `${name}` and `${name:format}`, each once; of `__data.fields.column` the beginning.
fn names_in(text: &str) -> BTreeSet<String> {
    let insides = text.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
    insides
        .map(|name| if name.starts_with("__data.fields.") { "__data.fields" } else { name }.to_owned())
        .collect()
}

impl Query {
    fn read(place: String, target: &Value, panel: &Value) -> Query {
        let params = list(&target["url_options"]["params"]);
        let columns = || list(&target["columns"]);
        let mut links: Vec<String> =
            list(&panel["fieldConfig"]["defaults"]["links"]).map(|l| text(&l["url"])).collect();
        for property in list(&panel["fieldConfig"]["overrides"]).flat_map(|o| list(&o["properties"])) {
            if property["id"] == "links" {
                links.extend(list(&property["value"]).map(|l| text(&l["url"])));
            }
        }
        Query {
            url: text(&target["url"]),
            params: params.map(|p| (text(&p["key"]), text(&p["value"]))).collect(),
            root: text(&target["root_selector"]),
            format: text(&target["format"]),
            columns: columns().map(|c| text(&c["selector"])).collect(),
            kinds: columns().map(|c| (text(&c["selector"]), text(&c["type"]))).collect(),
            links,
            panel: panel.clone(),
            place,
        }
    }

    /// What Infinity would ask, with these variables set and all others at "All". A macro that nobody fills in fails the test.
    pub fn path(&self, variables: &[(&str, &str)]) -> String {
        let filled = |text: &str| -> String {
            let mut filled = text.to_owned();
            for (name, value) in variables.iter().copied().chain(defaults()) {
                filled = filled.replace(&format!("${{{name}}}"), value);
            }
            assert!(!filled.contains('$'), "{}: {filled} is not filled in", self.place);
            filled
        };
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let params: Vec<String> =
            self.params.iter().map(|(key, value)| format!("{key}={}", encode(&filled(value)))).collect();
        format!("{}?{}", filled(&self.url), params.join("&"))
    }

    pub fn uses(&self, variable: &str) -> bool {
        self.params.iter().any(|(_, value)| value.contains(&format!("${{{variable}}}")))
    }

    /// Columns that transformations, overrides, reducers and links name.
    pub fn named_columns(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for transformation in list(&self.panel["transformations"]) {
            for option in ["indexByName", "renameByName", "excludeByName", "includeByName"] {
                let names = transformation["options"][option].as_object().into_iter().flatten();
                named.extend(names.map(|(name, _)| name.clone()));
            }
        }
        if self.format == "table" {
            named.extend(self.overridden_labels());
        }
        let reduced = text(&self.panel["options"]["reduceOptions"]["fields"]);
        named.extend(
            reduced.split(['/', '^', '$', '(', ')', '|']).filter(|n| !n.is_empty()).map(str::to_owned),
        );
        for link in &self.links {
            let fields =
                link.split("${__data.fields.").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
            named.extend(fields.map(str::to_owned));
            let labels =
                link.split("${__field.labels.").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
            named.extend(labels.map(str::to_owned));
        }
        named
    }

    /// What overrides match by name: columns of a table, labels of a series.
    pub fn overridden_labels(&self) -> BTreeSet<String> {
        let overrides = list(&self.panel["fieldConfig"]["overrides"]);
        overrides.filter(|o| o["matcher"]["id"] == "byName").map(|o| text(&o["matcher"]["options"])).collect()
    }
}

fn defaults<'a>() -> impl Iterator<Item = (&'a str, &'a str)> {
    let times = [("__from", "1795489005000"), ("__to", "1795489025000"), ("__interval_ms", "1000")];
    let filters = ["principal", "caller", "callee", "decision", "basis", "finding"].map(|name| (name, "*"));
    times.into_iter().chain(filters)
}
