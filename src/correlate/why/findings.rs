//! What raised each finding, and what would withdraw it.

use super::Joined;
use super::words;
use crate::model::{CONNECTION_SLACK_US, Call, Finding, FindingKind, Leg};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingWhy {
    pub finding: Finding,
    /// The lines that say it.
    pub evidence: Vec<Leg>,
    /// What a line would have to say for the finding to go.
    pub withdrawn_by: String,
}

pub fn findings(joined: &Joined, call: &Call) -> Vec<FindingWhy> {
    let explain = |finding: &Finding| FindingWhy {
        finding: finding.clone(),
        evidence: joined.legs.iter().filter(|l| finding.evidence.contains(&l.id)).cloned().collect(),
        withdrawn_by: withdrawn_by(call, finding),
    };
    call.findings.iter().map(explain).collect()
}

fn withdrawn_by(call: &Call, finding: &Finding) -> String {
    let (caller, callee) = (&call.caller.name, &call.callee.name);
    let socket = call.legs.iter().find_map(|l| l.socket.as_ref()).map(words::connection);
    let on = socket.map_or_else(String::new, |s| format!(" on {s}"));
    match finding.kind {
        FindingKind::Denied => "nothing: a line carries the verdict".to_owned(),
        FindingKind::Bypass if finding.absent_observer.is_none() => {
            "a Worker's record of this very request, by its span, ray or request id".to_owned()
        }
        FindingKind::Bypass => format!("a line that shows what led {caller} to it and begins at the edge"),
        FindingKind::EdgeUnwitnessed => "the Worker's event of this request".to_owned(),
        FindingKind::NoClientLeg => {
            let minutes = CONNECTION_SLACK_US / 60_000_000;
            format!(
                "a line of the proxy of {caller}{on} within {minutes} minutes of it, which would show the connection to be its own"
            )
        }
        FindingKind::Lost => format!("the line of the proxy of {callee}{on}"),
        FindingKind::DecisionConflict => {
            "nothing: the Worker's verdict and the mesh's line are both there".to_owned()
        }
        FindingKind::IdentityMismatch => "nothing: both names stand on the lines".to_owned(),
        FindingKind::BrokenChain => format!(
            "a line that shows {caller} receiving a request of this trace before it made this call, and its own proxy \
             sending it"
        ),
        FindingKind::ForgedHeader => {
            "another key: if the edge signs with one that the rules do not name, name it and rebuild"
                .to_owned()
        }
        FindingKind::ReplayedHeader => {
            "the record of a subrequest that leads here and for which the header was issued".to_owned()
        }
        FindingKind::Unverified => {
            format!("nothing: the proxy of {callee} knows its own certificate and saw none")
        }
        FindingKind::StatusMismatch => {
            "a line of a further attempt, which would explain the difference".to_owned()
        }
        FindingKind::Stopped => {
            format!("a line of the proxy of {callee} that shows an answer of the application")
        }
        FindingKind::ClockSkew => "a larger bound in the rules; a line cannot".to_owned(),
        FindingKind::Truncated => "nothing: the carrier says that it cut the log".to_owned(),
        FindingKind::CertificateAge => "a larger bound in the rules; a line cannot".to_owned(),
    }
}
