//! The words of calltrail as types: what a line says ([`Leg`]), what legs joined say ([`Call`]), who the parties are
//! ([`Identity`]), and what is wrong ([`Finding`]).
//!
//! Everything else depends on this module and this module on nothing of ours. It knows no vendor's field name, no SQL, no
//! HTTP and no clock: the wire structs live in [`crate::decode`], the rows in [`crate::store`], the DTOs in [`crate::api`].
//! The one place that reads the system clock is [`time::SystemClock`]; everybody else is handed a [`time::Timestamp`].

pub mod call;
pub mod clock_offset;
pub mod delivery;
pub mod filter;
pub mod finding;
pub mod format;
pub mod histogram;
pub mod identity;
pub mod ids;
pub mod journal;
pub mod leg;
mod request_key;
pub mod retention;
pub mod source;
pub mod statistic;
pub mod time;
pub mod trace_context;

pub use call::{Attribution, Basis, Call, CallPrincipal, Decision, Effect, Judge, Outcome, Stage, State};
pub use clock_offset::{ClockOffset, ROUNDING_US};
pub use delivery::{Delivery, Reject, RejectReason};
pub use filter::{CallFilter, Cursor, FindingFilter};
pub use finding::{Finding, FindingKind, Severity};
pub use format::{CustomFormat, DurationUnit};
pub use histogram::Histogram;
pub use identity::{Assurance, Identity, IdentityKind, SpiffeId};
pub use ids::{CallId, DeliveryId, LegId, LineHash, SpanId, TraceId};
pub use journal::{Believed, JournalDraft, JournalEntry};
pub use leg::{
    CONNECTION_SLACK_US, Certificate, EdgeDecision, Holder, Leg, LegFields, LineRef, Observer, ObserverKind,
    Principal, Protocol, ResponseFlags, Side, SignedPrincipal, SocketPair, Verdict,
};
pub use request_key::RequestKey;
pub use retention::{Cutoff, Cutoffs, Keep, Removal, Removed, RetentionClass, RetentionRules};
pub use source::{BlindReason, BlindWindow, ENOUGH_CALLS, SourceFinding, Sources};
pub use statistic::{
    CountedParty, Dimension, EffectClass, Figures, StatisticDelta, StatisticFilter, StatisticKey,
    StatusClass, Step, Steps, StepsError,
};
pub use time::{Clock, SystemClock, Timestamp};
pub use trace_context::TraceContext;
