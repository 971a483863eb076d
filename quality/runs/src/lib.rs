//! Measures calltrail's join: runs the engine in process over simulated worlds, by the million calls, and over real captures, and
//! writes `docs/join-quality.md`.
//!
//! | file | question |
//! |---|---|
//! | [`derive`], [`judged`] | what would the store say after an import? |
//! | [`worlds`] | what does it say of simulated worlds? |
//! | [`captures`], [`degrade`] | what of the real captures, whole and damaged? |
//! | [`baselines`] | what would others make of the same lines? |
//! | [`explain`] | which legs are behind a case? |

pub mod baselines;
pub mod captures;
pub mod degrade;
pub mod derive;
pub mod explain;
pub mod judged;
pub mod worlds;
