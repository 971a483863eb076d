//! The HTTP query API: one file per resource, DTOs apart, errors in one table. Knows no SQL and decides nothing about calls.

pub mod dto;
mod dto_leg;
