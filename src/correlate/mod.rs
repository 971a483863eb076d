//! From legs to calls. Everything but [`task`] is pure: a function of the legs, the rules and what is handed in.

pub mod keys;
pub mod rules;
pub mod task;

pub use rules::Rules;
