//! From legs to calls. Everything but [`task`], [`closure`], [`inferred`] and [`listen`] is pure: a function of the legs, the rules and what is handed
//! in. Nothing here reads the clock.
//!
//! | file | question |
//! |---|---|
//! | [`legs`] | which legs are there, each once? |
//! | [`clocks`], [`potentials`] | how far are the observers' clocks apart? |
//! | [`compat`], [`align`] | what speaks against a pair; how do two rows of legs lie side by side? |
//! | [`edge_pairs`], [`mesh_pairs`] with [`alike`], [`attempts`], [`runs`], [`rivals`], [`sockets`] | which legs are one call, and on what basis? |
//! | [`build`], [`outcome`] | who, what, when, what came of it? |
//! | [`tree`] with [`tree_index`], [`tree_keys`], [`tree_service`]; [`adopt`] | which call caused which? |
//! | [`contest`] | which call may as well be another request's? |
//! | [`header`], [`custody`] | on whose behalf, and how do we know? |
//! | [`decisions`], [`findings`] | by whose leave; what is wrong or unproven? |
//! | [`keys`], [`facts`], [`coverage`] | what can legs find each other by; what must be known from beyond them? |
//! | [`statistics`] | what do replaced calls change in the sums over all calls? |
//! | [`believed`] | what does a step take back? |
//! | [`why`] | why is a call as it is? |
//! | [`blind`], [`sources`] | when must a silence be taken for blindness; what is wrong with a source? |
//! | [`closure`], [`inferred`], [`listen`], [`task`] | the only part that asks the store: carries all this along the committed evidence |

pub mod adopt;
pub mod align;
pub mod alike;
pub mod assemble;
pub mod attempts;
pub mod believed;
pub mod blind;
pub mod build;
mod bygone;
pub mod clocks;
pub mod closure;
pub mod compat;
pub mod components;
pub mod contest;
pub mod coverage;
pub mod custody;
pub mod decisions;
pub mod difference;
pub mod edge_pairs;
pub mod facts;
pub mod findings;
pub mod group;
pub mod header;
pub mod inferred;
pub mod keys;
pub mod legs;
pub mod likeness;
pub mod listen;
pub mod mesh_pairs;
pub mod outcome;
pub mod potentials;
pub mod rivals;
pub mod rules;
pub mod runs;
pub mod sockets;
pub mod sources;
pub mod statistics;
pub mod task;
pub mod tree;
pub mod tree_index;
pub mod tree_keys;
pub mod tree_service;
pub mod unravel;
pub mod why;

pub use assemble::assemble;
pub use rules::Rules;
