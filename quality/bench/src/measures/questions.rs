//! What the API is asked when much is stored: every question with values of people and services that are hot, usual and rare, and
//! at times all over the data.

use crate::bench::Bench;
use crate::http::Client;
use anyhow::{Context, Result};
use serde_json::Value;

pub struct Question {
    pub name: &'static str,
    /// What issue calls for, at the 99th percentile.
    pub at_most_ms: f64,
    /// Asked in turn.
    pub paths: Vec<String>,
}

const PAGE_MS: f64 = 10.0;
const SLOW_MS: f64 = 100.0;
/// Of the page before a chosen moment.
const TIMES: usize = 40;
/// Places in popularity: the first is hot, the last of all rare.
const USUAL_PRINCIPAL: usize = 300;

/// Values that occur in the data.
struct Known {
    hot_principal: String,
    principal: String,
    hot_callee: String,
    callee: String,
    rare_callee: String,
    ids: Vec<String>,
    traces: Vec<String>,
    /// RFC 3339.
    times: Vec<String>,
    first_ms: i64,
    last_ms: i64,
}

pub async fn all(bench: &Bench, client: &mut Client) -> Result<Vec<Question>> {
    let known = Known::find(bench, client).await?;
    let mut questions = known.single();
    questions.extend(known.pairs());
    questions.extend(known.other_pairs());
    questions.extend(known.statistics());
    Ok(questions)
}

impl Known {
    async fn find(bench: &Bench, client: &mut Client) -> Result<Known> {
        let recipe = bench.stored_recipe();
        let span_us = (recipe.requests as f64 / recipe.requests_per_second * 1e6) as i64;
        let at =
            |i: usize| calltrail::model::Timestamp(recipe.start_us + span_us * (i as i64 + 1) / TIMES as i64);
        let times: Vec<String> = (0..TIMES).map(|i| at(i).to_string()).collect();
        let (mut ids, mut traces) = (Vec::new(), Vec::new());
        for time in &times {
            let answer = client.get(&format!("/v1/calls?limit=10&to={time}")).await?;
            let page: Value = serde_json::from_slice(&answer.body).context("a page of calls is no JSON")?;
            for call in page["calls"].as_array().into_iter().flatten() {
                ids.extend(call["id"].as_str().map(str::to_owned));
                traces.extend(call["trace_id"].as_str().map(str::to_owned));
            }
        }
        let (services, principals) = (&bench.cast.services, &bench.cast.principals);
        Ok(Known {
            hot_principal: principals[0].subject.clone(),
            principal: principals[USUAL_PRINCIPAL].subject.clone(),
            hot_callee: services[0].name.clone(),
            callee: services[services.len() / 4].name.clone(),
            rare_callee: services.last().map(|service| service.name.clone()).unwrap_or_default(),
            ids,
            traces,
            times,
            first_ms: recipe.start_us / 1_000,
            last_ms: (recipe.start_us + span_us) / 1_000,
        })
    }

    /// A page of 50, newest first and before moments of the past.
    fn page(&self, name: &'static str, at_most_ms: f64, filters: &[&str]) -> Question {
        let newest = filters.iter().map(|filter| format!("/v1/calls?limit=50&{filter}"));
        let earlier = self.times.iter().enumerate().map(|(i, time)| {
            let filter = filters[i % filters.len()];
            format!("/v1/calls?limit=50&{filter}&to={time}")
        });
        Question { name, at_most_ms, paths: newest.chain(earlier).collect() }
    }

    fn single(&self) -> Vec<Question> {
        let page = |name, filter: String| self.page(name, PAGE_MS, &[filter.as_str()]);
        vec![
            page("newest", String::new()),
            page("principal", format!("principal={}", self.principal)),
            page("principal_hot", format!("principal={}", self.hot_principal)),
            page("caller", "caller=gw".to_owned()),
            page("callee", format!("callee={}", self.callee)),
            page("callee_hot", format!("callee={}", self.hot_callee)),
            page("callee_rare", format!("callee={}", self.rare_callee)),
            page("decision_deny", "decision=deny".to_owned()),
            page("finding_denied", "finding=denied".to_owned()),
            page("finding_never_raised", "finding=forged_header".to_owned()),
            page("basis_single", "basis=single".to_owned()),
            page("status_5xx", "status=5xx".to_owned()),
            self.each("trace", &self.traces, "/v1/calls?limit=50&trace="),
            self.each("trace_tree", &self.traces, "/v1/traces/"),
            self.each("call_id", &self.ids, "/v1/calls/"),
        ]
    }

    fn each(&self, name: &'static str, of: &[String], path: &str) -> Question {
        let paths = of.iter().map(|id| format!("{path}{id}")).collect();
        Question { name, at_most_ms: PAGE_MS, paths }
    }

    /// Those that are asked most, each of what is hot or usual and of what is rare.
    fn pairs(&self) -> Vec<Question> {
        let (hot, usual) = (&self.hot_principal, &self.principal);
        let (hot_callee, callee, rare) = (&self.hot_callee, &self.callee, &self.rare_callee);
        let page =
            |name, one: String, other: String| self.page(name, PAGE_MS, &[one.as_str(), other.as_str()]);
        let of = |name, pattern: &str, callees: [&String; 2]| {
            let [one, other] = callees.map(|callee| pattern.replace("CALLEE", callee));
            page(name, one, other)
        };
        let (of_usual, of_hot) = (format!("principal={usual}&callee="), format!("principal={hot}&callee="));
        vec![
            page("principal+callee", format!("{of_usual}{callee}"), format!("{of_hot}{hot_callee}")),
            page("principal_hot+callee_rare", format!("{of_hot}{rare}"), format!("{of_usual}{rare}")),
            of("caller+callee", "caller=gw&callee=CALLEE", [callee, rare]),
            of("callee+status_5xx", "callee=CALLEE&status=5xx", [hot_callee, rare]),
            of("callee+finding", "callee=CALLEE&finding=denied", [hot_callee, rare]),
        ]
    }

    fn other_pairs(&self) -> Vec<Question> {
        let page = |name, filter: String| self.page(name, SLOW_MS, &[filter.as_str()]);
        vec![
            page("principal+decision_deny", format!("principal={}&decision=deny", self.hot_principal)),
            page("principal+finding", format!("principal={}&finding=denied", self.hot_principal)),
            page("caller+decision_deny", "caller=gw&decision=deny".to_owned()),
            page("callee+basis_single", format!("callee={}&basis=single", self.callee)),
            page("caller+finding", "caller=gw&finding=denied".to_owned()),
        ]
    }

    fn statistics(&self) -> Vec<Question> {
        let day = self.last_ms - 86_400_000;
        let range = |from: i64| format!("from={}&to={}", from.max(self.first_ms), self.last_ms);
        let one = |name, at_most_ms, path: String| Question { name, at_most_ms, paths: vec![path] };
        let month = format!("from={}&to={}", self.last_ms - 30 * 86_400_000, self.last_ms);
        vec![
            one(
                "statistics_24h_by_minute",
                PAGE_MS,
                format!("/api/grafana/series?by=status_class&step=60000&{}", range(day)),
            ),
            one(
                "statistics_24h_of_callee",
                PAGE_MS,
                format!(
                    "/api/grafana/series?by=status_class&step=60000&callee={}&{}",
                    self.callee,
                    range(day)
                ),
            ),
            one(
                "durations_24h_by_minute",
                SLOW_MS,
                format!("/api/grafana/durations?step=60000&{}", range(day)),
            ),
            one("graph_24h", SLOW_MS, format!("/api/grafana/top?by=callee&{}", range(day))),
            one("statistics_30d", SLOW_MS, format!("/api/grafana/series?by=callee&step=3600000&{month}")),
        ]
    }
}
