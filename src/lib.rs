//! # calltrail
//!
//! Who called what, as whom, who allowed it, and what came of it: one record per call, joined from the logs of Cloudflare
//! Workers and of the Envoy sidecars of a Consul mesh, with the evidence kept so that it can be proven.
//!
//! ## Layout: the path of a byte
//!
//! ```text
//! bytes ─ ingest ─ decode ─▶ Leg ─ evidence, store.commit ─▶ 2xx
//!                                        │ committed deliveries, in order
//!                                        ▼
//!                                    correlate ─▶ Call + Finding ─▶ store.apply ─▶ api, cli, dashboards
//! ```
//!
//! Data moves only to the right and nobody calls back. Raw lines are the truth; everything right of `store.commit` can be
//! thrown away and derived again (`calltrail rebuild`).
//!
//! | module | what it is for | what it refuses |
//! |---|---|---|
//! | [`model`] | the words as types: Leg, Call, Identity, Finding | serde, SQL, HTTP, the clock |
//! | [`decode`] | bytes to legs and rejects, one pair of files per vendor | I/O, state, guessing an identity |
//! | [`evidence`] | commitments, leaves and the Merkle tree over deliveries | I/O |
//! | [`handover`] | what the ways in have decoded, so that the correlator need not | being needed: it is memory only |
//! | [`ingest`] | where bytes arrive; group commit | deciding anything about calls |
//! | [`store`] | the only place that knows SQL, for SQLite and Postgres | rules |
//! | [`correlate`] | pairs, tree, custody, findings: pure; `task` carries it along the evidence | SQL, HTTP, the clock |
//! | [`api`] | the HTTP query API and its DTOs | SQL |
//! | [`cli`] | one file per command | rules, SQL |
//! | [`config`] | flags, environment and rules file, checked once | being read anywhere but at start |
//! | [`telemetry`] | our own logs, traces and metrics, every name in one list | |
//! | [`tls`] | clients for the requests that calltrail makes itself | serving TLS |
//! | [`suggest`] | the nearest known word, for people's slips | |
//! | [`app`] | puts the parts together and stops them in order | |
//!
//! `tests/architecture.rs` holds this table against the imports.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod correlate;
pub mod decode;
pub mod evidence;
pub mod handover;
pub mod ingest;
pub mod model;
pub mod store;
pub mod suggest;
pub mod telemetry;
pub mod tls;
