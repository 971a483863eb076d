//! A call's past as JSON. Names are the words of `docs/api.md`.

use crate::correlate::why::{Event, History};
use crate::model::{Call, Timestamp};
use serde::{Deserialize, Serialize};

/// What was believed of a call when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryDto {
    pub call_id: String,
    /// Only in the answer to an id that is not the call's own any more (or is one of its other legs').
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// Ids by which it was known before.
    pub former_ids: Vec<String>,
    pub state: String,
    pub settles_at: String,
    /// In the order in which they happened.
    pub events: Vec<EventDto>,
    pub complete: bool,
    pub as_of: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDto {
    pub at: String,
    /// `first_seen`, `line`, `completed`, `renamed`, `settled`, `amended`, `finding_raised`, `finding_withdrawn` or `changed`.
    pub what: String,
    /// Of a finding its kind; of a change `basis`, `principal`, `caller`, `callee`, `parent`, `decision`, `legs`, `superseded`.
    pub about: Option<String>,
    pub delivery: Option<u64>,
    pub leg_id: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub sentence: String,
}

impl HistoryDto {
    pub fn new(call: &Call, history: &History, as_of: Timestamp) -> Self {
        HistoryDto {
            call_id: call.id.to_string(),
            superseded_by: None,
            former_ids: history.former_ids.iter().map(ToString::to_string).collect(),
            state: call.state(as_of).to_string(),
            settles_at: call.settles_at.to_string(),
            events: history.events.iter().map(Into::into).collect(),
            complete: true,
            as_of: as_of.to_string(),
        }
    }
}

impl From<&Event> for EventDto {
    fn from(e: &Event) -> Self {
        EventDto {
            at: e.at.to_string(),
            what: e.what.to_string(),
            about: e.about.clone(),
            delivery: e.delivery,
            leg_id: e.leg.map(|id| id.to_string()),
            before: e.before.clone(),
            after: e.after.clone(),
            sentence: e.sentence.clone(),
        }
    }
}
