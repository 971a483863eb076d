//! Where answers come from: the data directory (or Postgres) itself, or a running server. Both give the same DTOs.
//!
//! It refuses to create anything: a question about a directory that holds no data is answered with a sentence.

use super::Place;
use super::filter::{call_parameters, finding_parameters, stats_parameters};
use super::remote::Remote;
use crate::api::dto::{
    self, CallDto, CallsPage, EvidenceDto, EvidenceLine, FindingRow, FindingsPage, RejectDto, RejectsPage,
    SourceFindingDto, SourcesPage, TraceDto,
};
use crate::api::dto_history::HistoryDto;
use crate::api::dto_stats::StatsPage;
use crate::api::dto_why::WhyDto;
use crate::api::error::ApiError;
use crate::api::lookup::{self, Found};
use crate::api::sources;
use crate::api::stats::{self, StatsQuestion};
use crate::api::{history, why};
use crate::correlate::Rules;
use crate::model::{CallFilter, Clock, Cursor, FindingFilter, SystemClock, Timestamp, TraceId};
use crate::store::{Order, Store};
use anyhow::Result;
use base64::Engine as _;
use std::collections::BTreeSet;

pub enum Asked {
    Data(Store),
    Server(Remote),
}

/// Where the next page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Key(Cursor),
    Text(String),
}

/// A page of DTOs, and where the next one starts.
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub next: Option<Next>,
    /// Everything that had been accepted has been joined.
    pub complete: bool,
}

/// What an id led to.
pub enum Hit {
    One(Box<CallDto>),
    /// The id is not unique, as a request id with retries.
    Several(Vec<CallDto>),
    Nothing,
}

/// A question about calls, for all of its pages.
pub struct CallQuestion {
    pub filter: CallFilter,
    pub as_of: Option<Timestamp>,
    pub order: Order,
    pub with_legs: bool,
}

impl Asked {
    pub async fn of(place: &Place) -> Result<Self> {
        match &place.server {
            Some(url) => Ok(Asked::Server(Remote::new(url, place.token.as_deref())?)),
            None => Ok(Asked::Data(open_existing(place).await?)),
        }
    }

    pub async fn calls(&self, q: &CallQuestion, at: Option<&Next>, limit: u32) -> Result<Rows<CallDto>> {
        match self {
            Asked::Data(store) => {
                let as_of = moment(q.as_of);
                let page = store.calls(&q.filter, as_of, q.order, key(at), limit).await?;
                let dto =
                    |c| if q.with_legs { CallDto::new(c, as_of) } else { CallDto::without_legs(c, as_of) };
                Ok(Rows {
                    rows: page.rows.iter().map(dto).collect(),
                    next: page.next.map(Next::Key),
                    complete: complete(store).await?,
                })
            }
            Asked::Server(remote) => {
                let mut parameters = call_parameters(&q.filter);
                parameters.extend(q.as_of.map(|t| ("as_of", t.to_string())));
                parameters.push(("limit", limit.to_string()));
                if q.order == Order::OldestFirst {
                    parameters.push(("order", "oldest".to_owned()));
                }
                if q.with_legs {
                    parameters.push(("legs", "true".to_owned()));
                }
                parameters.extend(text(at));
                let page: CallsPage = remote.get("/v1/calls", &parameters).await?;
                Ok(Rows { rows: page.calls, next: page.next.map(Next::Text), complete: page.complete })
            }
        }
    }

    pub async fn findings(
        &self,
        filter: &FindingFilter,
        as_of: Option<Timestamp>,
        at: Option<&Next>,
        limit: u32,
    ) -> Result<Rows<FindingRow>> {
        match self {
            Asked::Data(store) => {
                let page = store.findings(filter, moment(as_of), key(at), limit).await?;
                let rows = page.rows.iter().map(FindingRow::from).collect();
                Ok(Rows { rows, next: page.next.map(Next::Key), complete: complete(store).await? })
            }
            Asked::Server(remote) => {
                let mut parameters = finding_parameters(filter);
                parameters.extend(as_of.map(|t| ("as_of", t.to_string())));
                parameters.push(("limit", limit.to_string()));
                parameters.extend(text(at));
                let page: FindingsPage = remote.get("/v1/findings", &parameters).await?;
                Ok(Rows { rows: page.findings, next: page.next.map(Next::Text), complete: page.complete })
            }
        }
    }

    /// Findings on sources that hold and match, the latest first.
    pub async fn source_findings(
        &self,
        filter: &FindingFilter,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<SourceFindingDto>> {
        if !sources::asked_for(filter) {
            return Ok(Vec::new());
        }
        match self {
            Asked::Data(store) => {
                let at = moment(as_of);
                Ok(sources::matching(&store.sources(at).await?, filter, at))
            }
            Asked::Server(remote) => {
                let mut parameters = finding_parameters(filter);
                parameters.extend(as_of.map(|t| ("as_of", t.to_string())));
                parameters.push(("limit", "1".to_owned()));
                let page: FindingsPage = remote.get("/v1/findings", &parameters).await?;
                Ok(page.source_findings)
            }
        }
    }

    pub async fn sources(&self, as_of: Option<Timestamp>) -> Result<SourcesPage> {
        match self {
            Asked::Data(store) => {
                let (at, complete) = (moment(as_of), complete(store).await?);
                Ok(sources::page(&store.sources(at).await?, &store.removed().await?, at, complete))
            }
            Asked::Server(remote) => {
                let parameters: Vec<_> = as_of.map(|t| ("as_of", t.to_string())).into_iter().collect();
                remote.get("/v1/sources", &parameters).await
            }
        }
    }

    pub async fn stats(&self, question: &StatsQuestion) -> Result<StatsPage> {
        match self {
            Asked::Data(store) => {
                let complete = complete(store).await?;
                Ok(stats::answer(store, question, SystemClock.now(), complete).await?)
            }
            Asked::Server(remote) => remote.get("/v1/stats", &stats_parameters(question)).await,
        }
    }

    /// The calls of a trace in the order of its tree; `None` when nobody has named that trace.
    pub async fn trace(&self, id: &TraceId, as_of: Option<Timestamp>) -> Result<Option<TraceDto>> {
        match self {
            Asked::Data(store) => {
                let at = moment(as_of);
                let page = store.trace(id, at, lookup::MOST_CALLS).await?;
                Ok((!page.rows.is_empty()).then_some(TraceDto {
                    trace_id: id.to_string(),
                    calls: dto::tree(&page.rows, at),
                    complete: complete(store).await? && page.next.is_none(),
                    as_of: at.to_string(),
                }))
            }
            Asked::Server(remote) => {
                let parameters: Vec<_> = as_of.map(|t| ("as_of", t.to_string())).into_iter().collect();
                remote.find(&format!("/v1/traces/{id}"), &parameters).await
            }
        }
    }

    pub async fn rejects(&self, limit: u32) -> Result<Vec<RejectDto>> {
        match self {
            Asked::Data(store) => Ok(store.rejects(limit).await?.iter().map(RejectDto::from).collect()),
            Asked::Server(remote) => {
                let page: RejectsPage = remote.get("/v1/rejects", &[("limit", limit.to_string())]).await?;
                Ok(page.rejects)
            }
        }
    }
}

impl Asked {
    /// By any id of the call.
    pub async fn call(&self, id: &str, as_of: Option<Timestamp>) -> Result<Hit> {
        match self {
            Asked::Data(store) => {
                let at = moment(as_of);
                match lookup::find(store, id, at).await {
                    Ok(Found::One { call, superseded }) => {
                        let mut dto = CallDto::new(&call, at);
                        dto.superseded_by = superseded.then(|| dto.id.clone());
                        Ok(Hit::One(Box::new(dto)))
                    }
                    Ok(Found::Several { calls, .. }) => {
                        Ok(Hit::Several(calls.iter().map(|c| CallDto::without_legs(c, at)).collect()))
                    }
                    Err(ApiError::NotFound(_)) => Ok(Hit::Nothing),
                    Err(error) => Err(error.into()),
                }
            }
            Asked::Server(remote) => {
                let parameters: Vec<_> = as_of.map(|t| ("as_of", t.to_string())).into_iter().collect();
                remote.call(id, &parameters).await
            }
        }
    }

    /// Why a call was joined as it was. `rules` are those of the data; a server has its own.
    pub async fn why(&self, id: &str, as_of: Option<Timestamp>, rules: &Rules) -> Result<WhyDto> {
        match self {
            Asked::Data(store) => {
                let answer = why::answer(store, rules, id, moment(as_of)).await?;
                Ok(WhyDto { complete: complete(store).await?, ..answer })
            }
            Asked::Server(remote) => remote.about_call(id, "why", as_of).await,
        }
    }

    /// What was believed of a call when. `rules` are those of the data; a server has its own.
    pub async fn history(&self, id: &str, as_of: Option<Timestamp>, rules: &Rules) -> Result<HistoryDto> {
        match self {
            Asked::Data(store) => {
                let answer = history::answer(store, rules, id, moment(as_of)).await?;
                Ok(HistoryDto { complete: complete(store).await?, ..answer })
            }
            Asked::Server(remote) => remote.about_call(id, "history", as_of).await,
        }
    }

    /// The raw lines behind a call's legs, each once.
    pub async fn evidence(&self, call: &CallDto) -> Result<EvidenceDto> {
        match self {
            Asked::Data(store) => {
                let (mut lines, mut gone) = (Vec::<EvidenceLine>::new(), BTreeSet::new());
                for leg in call.legs.iter().flatten() {
                    let at = (leg.delivery, leg.line);
                    match lines.iter_mut().find(|l| (l.delivery, l.line) == at) {
                        Some(line) => line.leg_ids.push(leg.id.clone()),
                        None => match evidence_line(store, leg).await? {
                            Some(line) => lines.push(line),
                            None => drop(gone.insert(at)),
                        },
                    }
                }
                Ok(EvidenceDto { call_id: call.id.clone(), lines, removed_lines: gone.len() })
            }
            Asked::Server(remote) => remote.get(&format!("/v1/calls/{}/evidence", call.id), &[]).await,
        }
    }
}

/// None when the line has been removed.
async fn evidence_line(store: &Store, leg: &dto::LegDto) -> Result<Option<EvidenceLine>> {
    let Some(raw) = store.raw_line(leg.delivery, leg.line).await? else { return Ok(None) };
    let (text, base64) = match String::from_utf8(raw) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.as_bytes()))),
    };
    Ok(Some(EvidenceLine {
        leg_ids: vec![leg.id.clone()],
        source: leg.source.clone(),
        delivery: leg.delivery,
        line: leg.line,
        received_at: leg.received_at.clone(),
        line_sha256: leg.line_sha256.clone(),
        text,
        base64,
    }))
}

/// Opens the data for reading, never creating it.
pub async fn open_existing(place: &Place) -> Result<Store> {
    Ok(Store::open_existing(&place.location()).await?)
}

/// The time asked about.
pub fn moment(as_of: Option<Timestamp>) -> Timestamp {
    as_of.unwrap_or_else(|| SystemClock.now())
}

async fn complete(store: &Store) -> Result<bool> {
    let totals = store.totals().await?;
    Ok(totals.position >= totals.deliveries)
}

fn key(at: Option<&Next>) -> Option<Cursor> {
    match at {
        Some(Next::Key(cursor)) => Some(*cursor),
        _ => None,
    }
}

fn text(at: Option<&Next>) -> Option<(&'static str, String)> {
    match at {
        Some(Next::Text(cursor)) => Some(("cursor", cursor.clone())),
        _ => None,
    }
}
