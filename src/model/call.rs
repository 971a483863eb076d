//! A [`Call`]: one caller, one callee, one request; the join of its client leg and its server legs.
//!
//! Answers the seven Ws: who called what, when, from where, by whose leave, what came of it, and how sure we are. What depends
//! on the time at which one asks (`state`, findings of absence) is not stored in it: it is computed from
//! [`Call::settles_at`] and an `as_of`.

use super::finding::Finding;
use super::identity::{Assurance, Identity, words};
use super::ids::{CallId, LegId, TraceId};
use super::leg::{Leg, Principal, Protocol};
use super::time::Timestamp;

/// How the legs of a call were joined, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// Hop id, or an unambiguous socket pair, and both certificates agree.
    Proven,
    /// A shared unguessable key that is unique on both sides.
    Keyed,
    /// The best match among several; `confidence` says how good.
    Inferred,
    /// Only one leg is known.
    Single,
}
words!(Basis { Proven => "proven", Keyed => "keyed", Inferred => "inferred", Single => "single" });

/// Whether more legs are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Open,
    Settled,
    /// Changed by a leg that came after it had settled.
    Amended,
}
words!(State { Open => "open", Settled => "settled", Amended => "amended" });

/// How the principal got to this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribution {
    /// At the edge itself: the Worker checked the token.
    Verified,
    /// Down the chain of custody, every link verified.
    Inherited,
    /// By a valid signed header at the gateway; the Worker's own record is missing.
    Signed,
    /// Down the chain, over a link that nobody verified.
    Presumed,
    /// The call began after the one that caused it had ended.
    Deferred,
}
words!(Attribution {
    Verified => "verified", Inherited => "inherited", Signed => "signed", Presumed => "presumed", Deferred => "deferred",
});

/// The principal of a call with how it got here and how it was known at the edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallPrincipal {
    pub principal: Principal,
    pub attribution: Attribution,
    pub assurance: Assurance,
}

/// Who judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Judge {
    /// The Worker's policy.
    Worker,
    /// A Consul intention; whether layer 4 or 7 stands in the rule's name, where there is one. A token that it demands and the
    /// request lacks reads the same in a log.
    Intention,
}
words!(Judge { Worker => "worker", Intention => "intention" });

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    Allow,
    Deny,
}
words!(Effect { Allow => "allow", Deny => "deny" });

/// One verdict by one judge on one call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    pub judge: Judge,
    pub effect: Effect,
    pub rule: Option<String>,
    pub reason: Option<String>,
    /// The leg whose line carries the verdict.
    pub leg: LegId,
}

/// How far a call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Edge,
    Gateway,
    ClientSidecar,
    ServerSidecar,
    Application,
}
words!(Stage {
    Edge => "edge", Gateway => "gateway", ClientSidecar => "client_sidecar", ServerSidecar => "server_sidecar", Application => "application",
});

/// What came of it. Durations are of one observer's clock: the caller's side where there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    /// As the caller saw it; `None` for TCP and where no response came.
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    /// Response flags in words, of both sides, each once: `upstream connection failure`.
    pub flags: Vec<String>,
    pub attempts: u32,
    pub duration_us: Option<i64>,
    pub request_body_bytes: Option<u64>,
    pub response_body_bytes: Option<u64>,
    /// Where the call stopped when it did not get its answer from the application, and why, in words.
    pub stopped_at: Option<Stage>,
    pub stopped_why: Option<String>,
}

impl Outcome {
    /// `2xx`, `4xx`, ...; `none` where no status was seen.
    pub fn status_class(&self) -> &'static str {
        match self.status.map(|s| s / 100) {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(5) => "5xx",
            _ => "none",
        }
    }

    /// The callee's side failed, or no answer came. Which gRPC statuses blame the server: OpenTelemetry's semantic conventions
    /// for gRPC (UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS).
    fn blames_the_callee(&self) -> bool {
        let grpc = matches!(self.grpc_status, Some(2 | 4 | 12..=15));
        grpc || self.status.is_some_and(|s| s >= 500) || (self.status.is_none() && self.stopped_at.is_some())
    }
}

/// The join. `legs` holds the client side first, then the server side by start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub id: CallId,
    pub trace_id: Option<TraceId>,
    pub parent_id: Option<CallId>,
    /// The parent was inferred from time and identity alone, across traces: no principal passes over it.
    pub parent_inferred: bool,
    pub caller: Identity,
    pub callee: Identity,
    pub principal: Option<CallPrincipal>,
    /// What a header claims where the chain of custody does not explain it. Never counted as the principal.
    pub claimed: Option<Principal>,
    pub protocol: Protocol,
    pub method: Option<String>,
    pub authority: Option<String>,
    pub path: Option<String>,
    pub start: Timestamp,
    pub decisions: Vec<Decision>,
    pub outcome: Outcome,
    pub basis: Basis,
    /// Parts per million, so that a call can be compared and hashed; 1,000,000 for everything but `inferred`.
    pub confidence_ppm: u32,
    /// Size of the group of interchangeable calls that this one belongs to; 1 when it stands alone.
    pub ambiguous: u32,
    pub settles_at: Timestamp,
    /// A leg came after `settles_at` as it stood before.
    pub amended: bool,
    pub findings: Vec<Finding>,
    pub legs: Vec<Leg>,
}

impl Call {
    pub fn state(&self, as_of: Timestamp) -> State {
        match (as_of < self.settles_at, self.amended) {
            (true, _) => State::Open,
            (false, true) => State::Amended,
            (false, false) => State::Settled,
        }
    }

    /// `deny` when any judge denied, `allow` when one allowed, `None` when nobody is known to have judged.
    pub fn effect(&self) -> Option<Effect> {
        self.decisions.iter().map(|d| d.effect).max()
    }

    /// Ended in an error that is not the caller's: 5xx, its like in gRPC, or no answer where one was due. What was denied has
    /// had its answer.
    pub fn failed(&self) -> bool {
        self.effect() != Some(Effect::Deny) && self.outcome.blames_the_callee()
    }

    /// Latest end that any of its legs saw.
    pub fn end(&self) -> Timestamp {
        self.legs.iter().map(Leg::end).max().unwrap_or(self.start)
    }
}
