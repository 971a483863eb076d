//! Holds calls that somebody joined against the calls that truly were. Knows nothing of how they were joined: it reads an export.
//!
//! The measure: two legs that stand in one exported call are a *pair*. A pair is right when one real call left both lines; a pair of
//! a real call that no exported call shows is missed. Calls that nobody can tell apart (`interchangeable`) are judged as a group: a
//! pair across two of them is *swapped*, and right as far as the group is right. A real call is then looked up by the exported call
//! that holds most of its lines, and that one's parent, principal and findings are compared.
//!
//! | file | question |
//! |---|---|
//! | [`truth`] | what really happened? |
//! | [`export`] | what does somebody say that happened? |
//! | [`scene`] | which exported call shows which real one? |
//! | [`pairs`], [`parents`], [`principals`], [`findings`], [`calibration`] | how far do they agree? |
//! | [`score`], [`tally`] | the verdict, and its sum over many worlds |

pub mod calibration;
pub mod export;
pub mod findings;
pub mod pairs;
pub mod parents;
pub mod perfect;
pub mod principals;
pub mod scene;
pub mod score;
pub mod tally;
pub mod truth;

pub use export::{Exported, ExportedLeg, Labels, Side};
pub use perfect::perfect;
pub use score::{Case, Score, score};
pub use tally::{PairTally, Tally};
pub use truth::{LineHash, RealCall, RealLine, Role};
