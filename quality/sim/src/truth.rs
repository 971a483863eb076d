//! What a perfect judge would know after the faults: each true call with the lines that still tell of it, and with what is lost.

use crate::faults::{Change, Lost, Received};
use crate::records::{CallNo, Role, TrueCall};
use serde::Serialize;
use sha2::{Digest, Sha256};

#[derive(Debug, Clone)]
pub struct Truth<'a> {
    /// By number.
    pub calls: &'a [TrueCall],
    /// By number of the call, then in the order of arrival. A copy of a line adds none.
    pub legs: Vec<Leg>,
    /// By number of the call.
    pub lost: Vec<Lost>,
}

/// That a line tells of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    pub call: CallNo,
    pub role: Role,
    /// Of a gateway's line, which tells of two calls: which of its halves tells of this one.
    pub side: Option<Side>,
    /// Of the Worker's record.
    pub span: Option<String>,
    /// Of the line without its newline. Not of this line alone: in Consul's default format like calls of one millisecond leave the same
    /// bytes.
    pub sha256: [u8; 32],
    /// Place of the line's first copy among the received lines.
    pub line: usize,
    /// How often it arrived.
    pub copies: usize,
    pub changed: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Server,
    Client,
}

impl<'a> Truth<'a> {
    pub fn of(calls: &'a [TrueCall], received: &Received) -> Self {
        let records = received.lines.iter().map(|line| line.record + 1).max().unwrap_or(0);
        let mut copies = vec![0_usize; records];
        received.lines.iter().for_each(|line| copies[line.record] += 1);
        let mut is_known = vec![false; records];
        let mut legs = Vec::with_capacity(received.lines.len());
        for (place, line) in received.lines.iter().enumerate() {
            if std::mem::replace(&mut is_known[line.record], true) {
                continue;
            }
            let sha256: [u8; 32] = Sha256::digest(&line.text).into();
            legs.extend(line.tells.iter().map(|tell| Leg {
                call: tell.call,
                role: tell.role,
                side: (tell.role == Role::Gateway).then(|| side_of_gateway(&calls[tell.call])),
                span: tell.span.clone(),
                sha256,
                line: place,
                copies: copies[line.record],
                changed: line.changed.clone(),
            }));
        }
        legs.sort_by_key(|leg| (leg.call, leg.line));
        let mut lost = received.lost.clone();
        lost.sort_by_key(|lost| lost.tell.call);
        Truth { calls, legs, lost }
    }

    pub fn legs_of(&self, call: CallNo) -> &[Leg] {
        let begin = self.legs.partition_point(|leg| leg.call < call);
        let end = self.legs.partition_point(|leg| leg.call <= call);
        &self.legs[begin..end]
    }

    pub fn lost_of(&self, call: CallNo) -> &[Lost] {
        let begin = self.lost.partition_point(|lost| lost.tell.call < call);
        let end = self.lost.partition_point(|lost| lost.tell.call <= call);
        &self.lost[begin..end]
    }

    /// Whether the lines that arrived can still prove the principal: one of them must be able to carry the signed header.
    pub fn principal_provable(&self, call: CallNo) -> bool {
        let at_edge = self.calls[call].kind == "edge";
        self.calls[call].principal_provable
            && (at_edge || self.legs_of(call).iter().any(Leg::can_carry_a_header))
    }

    /// Whether the Worker signed for another user than it had verified, and its own word for the true one is lost: the signature is
    /// all that is left.
    pub fn principal_hidden(&self, call: CallNo) -> bool {
        let above = std::iter::successors(Some(call), |&at| self.calls[at].parent).take(self.calls.len());
        let mut mismatched = above.filter(|&at| {
            let one = &self.calls[at];
            one.kind == "edge_call" && one.findings.iter().any(|f| f == "identity_mismatch")
        });
        let has_head = |edge: CallNo| self.legs_of(edge).iter().any(|leg| leg.role == Role::WorkerHead);
        mismatched.any(|at| self.calls[at].parent.is_some_and(|edge| !has_head(edge)))
    }

    /// The call at the top of this one's tree, and how many lie between and above.
    pub fn root(&self, call: CallNo) -> (CallNo, usize) {
        let mut depth = 0;
        let mut at = call;
        while let Some(parent) = self.calls[at].parent.filter(|_| depth < self.calls.len()) {
            at = parent;
            depth += 1;
        }
        (at, depth)
    }
}

impl Leg {
    fn can_carry_a_header(&self) -> bool {
        let has_none = |change: &Change| matches!(change, Change::Stripped | Change::DefaultFormat);
        match self.role {
            Role::Caller | Role::Callee | Role::Gateway => !self.changed.iter().any(has_none),
            Role::WorkerRecord | Role::ZoneSubrequest => true,
            Role::WorkerHead | Role::WorkerEnvelope | Role::ZoneEyeball => false,
        }
    }
}

/// A gateway is the callee of what comes from outside, and the caller of what it passes on.
fn side_of_gateway(call: &TrueCall) -> Side {
    if call.kind == "edge_call" { Side::Server } else { Side::Client }
}
