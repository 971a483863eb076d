//! Measures calltrail's join: runs the engine in process over simulated worlds, by the million calls, and over real captures, and
//! writes `docs/join-quality.md`.
//!
//! | file | question |
//! |---|---|
//! | [`mod@derive`], [`judged`] | what would the store say after an import? |
//! | [`worlds`] | what does it say of simulated worlds? |
//! | [`captures`], [`degrade`] | what of the real captures, whole and damaged? |
//! | [`baselines`] | what would others make of the same lines? |
//! | [`clocks`], [`order`], [`curve`] | clock bounds; independence of order; cost of large traces |
//! | [`plans`], [`figures`], [`report`] | which worlds, which figures, how they are shown |
//! | [`explain`] | which legs are behind a case? |

pub mod baselines;
pub mod captures;
pub mod clocks;
pub mod curve;
pub mod degrade;
pub mod derive;
pub mod explain;
pub mod figures;
pub mod judged;
pub mod order;
pub mod plans;
pub mod report;
pub mod worlds;
