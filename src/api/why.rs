//! `GET /v1/calls/{id}/why`: why a call was joined as it was, worked out on demand.

use super::Context;
use super::dto_why::WhyDto;
use super::error::ApiError;
use super::lookup::{self, Found};
use super::params::{self, Params};
use crate::correlate::Rules;
use crate::correlate::why::{self, CHAINS_OF, CONNECTIONS_OF, MESH, Why};
use crate::model::{Call, ENOUGH_CALLS, Timestamp};
use crate::store::{Store, StoreError};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use std::collections::BTreeMap;

pub async fn one(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<WhyDto>, ApiError> {
    let params = Params::parse(query.as_deref(), params::ONE)?;
    let as_of = context.as_of(params.as_of()?);
    let complete = context.complete().await?;
    let answer = answer(&context.store, &context.rules, &lookup::text(id), as_of).await?;
    Ok(Json(WhyDto { complete, ..answer }))
}

/// The explanation of the one call that carries the id.
pub async fn answer(store: &Store, rules: &Rules, id: &str, as_of: Timestamp) -> Result<WhyDto, ApiError> {
    let (stored, superseded) = one_call(store, id, as_of).await?;
    let Some(why) = why::explain(store, rules, &stored).await? else {
        return Err(ApiError::NotFound(format!(
            "call {} has just been joined otherwise; ask again",
            stored.id
        )));
    };
    let counts = counts(store, &why).await?;
    let mut dto = WhyDto::new(&why, &stored, &counts, as_of);
    dto.call.superseded_by = superseded.then(|| dto.call.id.clone());
    dto.note = difference(&stored, &why.call);
    Ok(dto)
}

/// One call by any of its ids; an id that several carry is refused with theirs.
pub(super) async fn one_call(store: &Store, id: &str, as_of: Timestamp) -> Result<(Call, bool), ApiError> {
    match lookup::find(store, id, as_of).await? {
        Found::One { call, superseded } => Ok((*call, superseded)),
        Found::Several { calls, more } => {
            let ids: Vec<String> = calls.iter().take(5).map(|c| c.id.to_string()).collect();
            let beyond = if more { "more than " } else { "" };
            Err(ApiError::BadParameter(format!(
                "{beyond}{} calls carry this id; ask for one of them: {}",
                calls.len(),
                ids.join(", ")
            )))
        }
    }
}

/// What is known of each observer by whose silence a finding stands or falls.
async fn counts(store: &Store, why: &Why) -> Result<BTreeMap<String, String>, StoreError> {
    let mut told = BTreeMap::new();
    let hour = why.call.start.hour();
    for finding in why.findings.iter().map(|f| &f.finding) {
        let Some(observer) = &finding.absent_observer else { continue };
        // The instance where something is known of it, else the party; where that is little, all together: as it is judged.
        let mut known = Vec::new();
        let mut few = true;
        for who in finding.absent_instance.iter().chain([observer]) {
            if let Some(measured) = store.coverage(who, hour).await?.and_then(Measured::of) {
                few = measured.are_few();
                known.push(sentence(who, &measured));
                break;
            }
        }
        let all = why::together_with(observer).filter(|_| few && !known.is_empty());
        if let Some(all) = all {
            let measured = store.coverage(&all, hour).await?.and_then(Measured::of);
            known.extend(measured.map(|measured| together(&all, &measured)));
        }
        if known.is_empty() {
            let who = name(observer);
            known.push(format!(
                "nothing tells how completely {who} reported: the 24 hours before count, if it has been heard since"
            ));
        }
        let needed = match known.len() {
            1 => "99 % are needed",
            _ => "99 % are needed, and 97 % of all where they are few",
        };
        told.insert(observer.clone(), format!("in the hour from {hour}, {}; {needed}", known.join("; ")));
    }
    Ok(told)
}

struct Measured {
    expected: i64,
    seen: i64,
    /// By what others sent, not by what others received.
    inbound: bool,
}

impl Measured {
    fn of([expected, seen, out_expected, out_seen]: [i64; 4]) -> Option<Self> {
        match (expected, out_expected) {
            (1.., _) => Some(Measured { expected, seen, inbound: true }),
            (_, 1..) => Some(Measured { expected: out_expected, seen: out_seen, inbound: false }),
            _ => None,
        }
    }

    /// Nothing speaks against it, but little for it.
    fn are_few(&self) -> bool {
        self.expected < ENOUGH_CALLS && self.seen * 100 >= self.expected * 99
    }
}

fn sentence(who: &str, Measured { expected, seen, inbound }: &Measured) -> String {
    let name = name(who);
    match inbound {
        true if who.starts_with(CONNECTIONS_OF) => format!(
            "of {expected} calls to or from {name} its proxy logged {seen}, with the addresses that the other end logged"
        ),
        true if who.starts_with(CHAINS_OF) => format!(
            "of {expected} calls to or from {name} on which the other end's line shows the edge's header, its own showed it on {seen}"
        ),
        true => format!("of {expected} calls that others sent to {name} it logged {seen}"),
        false => format!("of {expected} calls that others received from {name} it logged {seen}"),
    }
}

fn together(all: &str, Measured { expected, seen, .. }: &Measured) -> String {
    let how = if all == MESH { "" } else { " with the same addresses on both ends" };
    format!("of {expected} calls between all proxies {seen} were logged{how}")
}

fn name(key: &str) -> String {
    let key = why::party_of(key);
    key.rsplit('/').next().unwrap_or(key).replacen('@', " at ", 1)
}

/// What the stored call says otherwise than the rules at hand.
fn difference(stored: &Call, now: &Call) -> Option<String> {
    let ids = |call: &Call| call.legs.iter().map(|l| l.id).collect::<Vec<_>>();
    let differs = [
        ("its legs", ids(stored) != ids(now)),
        ("its basis", (stored.basis, stored.confidence_ppm) != (now.basis, now.confidence_ppm)),
        ("its parent", stored.parent_id != now.parent_id),
        ("its principal", stored.principal != now.principal),
    ];
    let what: Vec<&str> = differs.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    (!what.is_empty()).then(|| {
        format!(
            "the stored call differs in {}: it was derived under other rules than the ones at hand, or more has come since; \
             `calltrail rebuild` derives it again",
            what.join(" and ")
        )
    })
}
