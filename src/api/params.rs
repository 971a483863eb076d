//! Query parameters: parsed strictly. One that is not known is refused with the nearest known one, since a filter that is
//! silently ignored answers another question than the one that was asked.

use super::error::ApiError;
use crate::model::{CallFilter, FindingFilter, Timestamp, TraceId};
use crate::store::Order;
use crate::suggest::nearest;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The parameters of one request, each known and given once.
#[derive(Debug, Clone, Default)]
pub struct Params(BTreeMap<String, String>);

pub const CALLS: &[&str] = &[
    "from",
    "to",
    "principal",
    "caller",
    "callee",
    "decision",
    "status",
    "finding",
    "basis",
    "trace",
    "limit",
    "cursor",
    "order",
    "legs",
    "as_of",
];
pub const FINDINGS: &[&str] = &["from", "to", "kind", "severity", "callee", "limit", "cursor", "as_of"];
pub const STATS: &[&str] = &["from", "to", "caller", "callee", "decision", "status_class", "step", "by"];
pub const REJECTS: &[&str] = &["limit"];
pub const ONE: &[&str] = &["as_of"];

const DEFAULT_LIMIT: u32 = 100;
pub const MAX_LIMIT: u32 = 1000;

impl Params {
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Params, ApiError> {
        let mut params = BTreeMap::new();
        for pair in query.unwrap_or("").split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                return Err(ApiError::BadParameter(unknown(&name, known)));
            }
            if params.insert(name.clone(), value).is_some() {
                return Err(ApiError::BadParameter(format!("{name} is given twice; give it once")));
            }
        }
        Ok(Params(params))
    }

    /// Without the parameters that have this value, as if they had not been given.
    pub fn without_value(mut self, value: &str) -> Params {
        self.0.retain(|_, given| given != value);
        self
    }

    /// The value, if it is given and not empty: forms send empty fields, dashboards empty variables.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    pub(super) fn typed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| {
            text.parse().map_err(|e| ApiError::BadParameter(format!("{name}={}: {e}", quoted(text))))
        };
        self.get(name).map(parse).transpose()
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    pub fn limit(&self) -> Result<u32, ApiError> {
        match self.get("limit").map(|text| (text, text.parse())) {
            None => Ok(DEFAULT_LIMIT),
            Some((_, Ok(n))) if (1..=MAX_LIMIT).contains(&n) => Ok(n),
            Some((text, _)) => {
                let what = format!("limit={}: expected a number from 1 to {MAX_LIMIT}", quoted(text));
                Err(ApiError::BadParameter(what))
            }
        }
    }

    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(text) => {
                Err(ApiError::BadParameter(format!("{name}={}: expected true or false", quoted(text))))
            }
        }
    }

    pub fn as_of(&self) -> Result<Option<Timestamp>, ApiError> {
        self.typed("as_of")
    }

    pub fn order(&self) -> Result<Order, ApiError> {
        match self.get("order") {
            None | Some("newest") => Ok(Order::NewestFirst),
            Some("oldest") => Ok(Order::OldestFirst),
            Some(text) => {
                Err(ApiError::BadParameter(format!("order={}: expected newest or oldest", quoted(text))))
            }
        }
    }

    pub fn call_filter(&self) -> Result<CallFilter, ApiError> {
        self.call_filter_within(self.typed("from")?, self.typed("to")?)
    }

    /// For a path that takes its times in another form.
    pub fn call_filter_within(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<CallFilter, ApiError> {
        let trace_id = self.get("trace").map(TraceId::parse).transpose();
        Ok(CallFilter {
            from,
            to,
            principal: self.text("principal"),
            caller: self.text("caller"),
            callee: self.text("callee"),
            decision: self.typed("decision")?,
            status: self.typed("status")?,
            finding: self.typed("finding")?,
            basis: self.typed("basis")?,
            trace_id: trace_id.map_err(|e| ApiError::BadParameter(format!("trace: {e}")))?,
        })
    }

    pub fn finding_filter(&self) -> Result<FindingFilter, ApiError> {
        self.finding_filter_within(self.typed("from")?, self.typed("to")?)
    }

    pub fn finding_filter_within(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<FindingFilter, ApiError> {
        Ok(FindingFilter {
            from,
            to,
            kind: self.typed("kind")?,
            severity: self.typed("severity")?,
            callee: self.text("callee"),
        })
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!(
            "{} is no parameter here; did you mean {nearest:?}? Known: {}",
            quoted(name),
            known.join(", ")
        ),
        None => format!("{} is no parameter here: this path takes none", quoted(name)),
    }
}

/// A hostile value is not sent back at length.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|t| t.into_owned()).map_err(|_| ApiError::BadParameter("a parameter is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(query: &str) -> String {
        let params = match Params::parse(Some(query), CALLS) {
            Ok(params) => params,
            Err(error) => return error.to_string(),
        };
        let all = || {
            params.call_filter()?;
            params.limit()?;
            params.order()?;
            params.flag("legs").map(|_| ())
        };
        all().expect_err(query).to_string()
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        for (query, hint) in [
            ("princpal=x", "\"principal\""),
            ("from=yesterday", "2026-11-24T02:56:50Z"),
            ("decision=maybe", "allow, deny"),
            ("status=503", "4xx, 5xx"),
            ("finding=bad", "identity_mismatch"),
            ("basis=sure", "proven"),
            ("trace=xyz", "32 lower-case"),
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("order=up", "newest or oldest"),
            ("legs=perhaps", "true or false"),
            ("to=2026-11-24&to=2026-11-25", "twice"),
            ("caller=%ff", "UTF-8"),
        ] {
            assert!(error(query).contains(hint), "{query}: {}", error(query));
        }
    }

    #[test]
    fn an_offset_in_a_time_survives_the_plus_of_forms() {
        // `+` means a space in a query; an offset must come as %2B.
        let params = Params::parse(Some("from=2026-11-24T03:56:50%2B01:00&caller="), CALLS).unwrap();
        let filter = params.call_filter().unwrap();
        assert_eq!(filter.from.unwrap().to_string(), "2026-11-24T02:56:50.000000Z");
        assert_eq!(filter.caller, None);
    }

    #[test]
    fn the_documentation_names_every_parameter() {
        let page = include_str!("../../docs/api.md");
        for name in CALLS.iter().chain(FINDINGS).chain(STATS).chain(REJECTS).chain(ONE) {
            assert!(page.contains(&format!("`{name}`")), "docs/api.md does not name {name}");
        }
    }
}
