//! What was believed of a call and is no longer: an entry of the journal, which is written once and never changed.
//!
//! What a call *is* follows from its lines at any time; what was said of it before its last lines came does not. Only that is
//! kept here.

use super::finding::FindingKind;
use super::identity::words;
use super::ids::CallId;
use super::time::Timestamp;

/// What about a call is believed otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Believed {
    /// A finding that had held does not any more.
    FindingWithdrawn,
    /// A finding that does not hold from the beginning, since a line that came late says it.
    FindingRaised,
    Basis,
    Principal,
    Caller,
    Callee,
    Parent,
    /// Whether it was allowed.
    Decision,
    /// A leg that had been taken for one of its sides is another call's.
    Legs,
    /// The id is not a call's own any more.
    Superseded,
}
words!(Believed {
    FindingWithdrawn => "finding_withdrawn", FindingRaised => "finding_raised", Basis => "basis", Principal => "principal",
    Caller => "caller", Callee => "callee", Parent => "parent", Decision => "decision", Legs => "legs",
    Superseded => "superseded",
});

/// One change of one belief. `before` and `after` are for people; `None`: nothing was, or is, believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The id under which the call was known.
    pub call: CallId,
    /// The call that has its legs since.
    pub now: CallId,
    /// When the new belief was written, by the clock of the machine that derives.
    pub at: Timestamp,
    /// The delivery that brought it about.
    pub delivery: u64,
    pub what: Believed,
    pub finding: Option<FindingKind>,
    pub before: Option<String>,
    pub after: Option<String>,
    /// From when on what was believed before had held, where that is known.
    pub since: Option<Timestamp>,
}

/// An entry that is written if what it says was believed in fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalDraft {
    pub entry: JournalEntry,
    /// The last delivery that the old belief rests on. Where not everything committed had been derived since, nobody was told it.
    pub known_by: u64,
    /// The finding was about something missing: whether it had counted is for the observer's coverage to say.
    pub of_absence: bool,
}
