//! What is known of a source and of those whose lines it carries: how much came, when, how completely, and what is wrong with
//! that. A source is judged by its lines alone; nothing here says anything about a call.

use super::finding::{FindingKind, Severity};
use super::identity::words;
use super::leg::ObserverKind;
use super::time::Timestamp;

/// A configured sender, as its deliveries tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub deliveries: i64,
    pub lines: i64,
    pub rejects: i64,
    pub first_received: Timestamp,
    pub last_received: Timestamp,
}

/// A program whose lines a source carries, as its legs tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserverRecord {
    pub source: String,
    pub kind: ObserverKind,
    pub name: String,
    /// Key of the workload that its lines call their own.
    pub identity: String,
    pub legs: i64,
    pub first_received: Timestamp,
    pub last_received: Timestamp,
    /// Fields that its format has: as the lines of the last hour show them. `None` for what is no proxy.
    pub format: Option<SeenFormat>,
}

/// The fields of a proxy's format, as bits (`decode::needs` names them), seen in lines of one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenFormat {
    pub hour: Timestamp,
    pub fields: i64,
}

/// How completely a party's proxies reported in an hour, or in several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoverageOf {
    /// Key of the party, or of one instance of it.
    pub observer: String,
    pub hour: Timestamp,
    pub inbound_expected: i64,
    pub inbound_seen: i64,
    pub outbound_expected: i64,
    pub outbound_seen: i64,
}

/// Why nothing is concluded from a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlindReason {
    /// Longer than its own rhythm would ever make it.
    Silent,
    /// An operator says so.
    Declared,
}
words!(BlindReason { Silent => "silent", Declared => "declared" });

/// A period in which an observer must be presumed to have delivered nothing or less than everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlindWindow {
    /// Key of a party, of an instance, or `source:NAME`.
    pub observer: String,
    pub reason: BlindReason,
    /// The last time at which it was heard before. From here on to `from` it may have fallen silent already.
    pub after: Timestamp,
    pub from: Timestamp,
    /// [`Timestamp::MAX`] while it lasts.
    pub to: Timestamp,
    /// When it was clear that this is no pause of its usual kind: for a silence that lasts, not at once.
    pub known: Timestamp,
}

impl BlindWindow {
    pub fn is_over(&self) -> bool {
        self.to < Timestamp::MAX
    }
}

/// The name under which a source stands among the observers of blind windows.
pub fn source_key(source: &str) -> String {
    format!("source:{source}")
}

/// Of how many calls somebody must be known to have reported, or not, for his share to count by itself. Where all of `n` came, the share
/// that does not come is below `3 / n` with a certainty of 95 %: 300 of 300 are the fewest that tell 99 %. Of twenty lines all come by
/// chance twice in three times even where one in fifty is lost.
pub const ENOUGH_CALLS: i64 = 300;

/// Findings of absence that nobody's completeness could be measured for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Withheld {
    pub observer: String,
    pub hour: Timestamp,
    pub findings: i64,
}

/// Everything that is known of the sources at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub sources: Vec<Source>,
    pub observers: Vec<ObserverRecord>,
    /// By which sources the proxies of a party report: key and source.
    pub reporters: Vec<(String, String)>,
    /// Of each party, over the last day in which there is any.
    pub coverage: Vec<CoverageOf>,
    /// Hours in which less than 99 % was reported, of parties and of instances.
    pub low: Vec<CoverageOf>,
    pub blind: Vec<BlindWindow>,
    pub withheld: Vec<Withheld>,
    /// How long lines may take.
    pub grace_us: i64,
}

/// A finding on a source, or on one of those whose lines it carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFinding {
    pub from: Timestamp,
    /// `None` while it lasts.
    pub to: Option<Timestamp>,
    pub kind: FindingKind,
    pub severity: Severity,
    /// By which the lines came or should have come; empty where nothing is known.
    pub sources: Vec<String>,
    /// Key of the party or instance, or the name of the program; `None` for the source as a whole.
    pub observer: Option<String>,
    pub sentence: String,
}
