//! What raised each finding, and what would withdraw it.

use super::Joined;
use super::words;
use crate::model::{CONNECTION_SLACK_US, Call, Finding, FindingKind, Leg};
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingWhy {
    pub finding: Finding,
    /// The lines that say it.
    pub evidence: Vec<Leg>,
    /// What the lines tell besides, for whoever doubts it.
    pub also: Vec<String>,
    /// What a line would have to say for the finding to go.
    pub withdrawn_by: String,
}

pub fn findings(joined: &Joined, call: &Call) -> Vec<FindingWhy> {
    let explain = |finding: &Finding| FindingWhy {
        finding: finding.clone(),
        evidence: joined.legs.iter().filter(|l| finding.evidence.contains(&l.id)).cloned().collect(),
        also: match finding.kind {
            FindingKind::NoClientLeg => {
                certificate(joined, call).into_iter().chain(connections(joined, call)).collect()
            }
            _ => Vec::new(),
        },
        withdrawn_by: withdrawn_by(call, finding),
    };
    call.findings.iter().map(explain).collect()
}

/// Whether the certificate is the one that its owner showed elsewhere at the time: then the key is the same, whoever used it.
fn certificate(joined: &Joined, call: &Call) -> Option<String> {
    let leg = call.legs.iter().find(|l| l.is_mesh_server())?;
    let serial = leg.peer_certificate.serial.as_ref()?;
    let elsewhere = |l: &&Leg| {
        l.is_mesh_server()
            && l.id != leg.id
            && l.peer.key() == leg.peer.key()
            && l.peer_certificate.serial.is_some()
    };
    let near = joined.legs.iter().filter(elsewhere).min_by_key(|l| (l.start.0 - leg.start.0).abs())?;
    let other = near.peer_certificate.serial.as_deref().unwrap_or_default();
    let (who, callee) = (&leg.peer.name, &near.local.name);
    Some(match other == serial {
        true => format!(
            "it showed the certificate with the serial {serial}, the one that {who} showed to {callee} at {}: the same key, \
             whoever used it",
            near.start
        ),
        false => format!(
            "it showed a certificate with the serial {serial}; the one that {who} showed to {callee} at {} has {other}",
            near.start
        ),
    })
}

/// The connections that the lines here tell to be the caller's proxy's own.
fn connections(joined: &Joined, call: &Call) -> Option<String> {
    let own = |l: &&Leg| l.is_mesh_client() && l.local.key() == call.caller.key();
    let known: BTreeSet<String> =
        joined.legs.iter().filter(own).filter_map(|l| l.socket.as_ref()).map(words::connection).collect();
    let named = words::listed(&known.iter().take(NAMED).cloned().collect::<Vec<_>>());
    let more = if known.len() > NAMED { " and others" } else { "" };
    let caller = &call.caller.name;
    let sentence = || {
        format!(
            "the proxy of {caller} logged calls of this trace over {named}{more}, and none over this one's"
        )
    };
    (!known.is_empty()).then(sentence)
}

/// Connections that are named.
const NAMED: usize = 3;

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
        FindingKind::Truncated => "the whole event, by another carrier".to_owned(),
        FindingKind::CertificateAge => "a larger bound in the rules; a line cannot".to_owned(),
        FindingKind::SilentSource
        | FindingKind::LowCoverage
        | FindingKind::FormatGap
        | FindingKind::BlindWindow => "no call carries it: it is on a source".to_owned(),
    }
}
