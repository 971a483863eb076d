//! What an operator may tell the join and the decoder: keys of the Worker's header, gateways, edge-fronted services, grace and bounds.
//!
//! The defaults are right for a mesh that nobody has described. Parsing the file is `config`'s work; here it is checked data.

use crate::model::{CustomFormat, Leg, Side, Timestamp};
use std::collections::BTreeMap;

/// A key with which the Worker signs `x-calltrail-principal`. Debug never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderKey {
    /// `None` for `v1` headers, which name no key.
    pub key_id: Option<String>,
    pub secret: KeyMaterial,
}

#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    HmacSha256(Vec<u8>),
    /// Public key.
    Ed25519([u8; 32]),
}

impl std::fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderKey").field("key_id", &self.key_id).field("secret", &"[redacted]").finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub header_keys: Vec<HeaderKey>,
    /// Audience that a `v2` header must name; `None`: any.
    pub header_audience: Option<String>,
    /// Services (short names or SPIFFE ids) that may be reached only through the edge.
    pub edge_fronted: Vec<String>,
    /// Callers (short names or SPIFFE ids) that may reach edge-fronted services from inside the mesh.
    pub allowed_mesh_callers: Vec<String>,
    /// How long after a line's end more legs are expected.
    pub grace_us: i64,
    /// The same of single sources, by name.
    pub grace_us_of: BTreeMap<String, i64>,
    /// How far two observers' clocks may be apart before it is a finding, and the slack of every comparison between them.
    pub skew_bound_us: i64,
    /// A leaf certificate that lives longer than this is a finding.
    pub certificate_max_lifetime_us: Option<i64>,
    /// A leaf certificate that is older than this when it is shown is a finding.
    pub certificate_max_age_us: Option<i64>,
    /// Access-log formats that nobody else writes.
    pub formats: Vec<CustomFormat>,
    /// Periods in which a source is known to have delivered nothing, or less than everything.
    pub outages: Vec<Outage>,
}

/// A declared outage: `to` is `None` while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub source: String,
    pub from: Timestamp,
    pub to: Option<Timestamp>,
}

impl Rules {
    /// How long lines of a source may take.
    pub fn grace_us_of(&self, source: &str) -> i64 {
        self.grace_us_of.get(source).copied().unwrap_or(self.grace_us)
    }

    /// The longest that any source may take.
    pub fn longest_grace_us(&self) -> i64 {
        self.grace_us_of.values().copied().fold(self.grace_us, i64::max)
    }

    /// How long more legs of a call are expected after those that have come. Whoever would tell its missing side is unknown, so
    /// any source may yet do so; of a call that both sides have told, only those that told it (more attempts, better copies).
    pub fn grace_us_after(&self, come: &Come) -> i64 {
        let both = come.client && come.server;
        come.longest_grace_us.filter(|_| both).unwrap_or_else(|| self.longest_grace_us())
    }
}

/// What of a call has come so far: which sides, and the longest grace of their sources.
#[derive(Debug, Clone, Copy, Default)]
pub struct Come {
    client: bool,
    server: bool,
    longest_grace_us: Option<i64>,
}

impl Come {
    pub fn add(&mut self, leg: &Leg, rules: &Rules) {
        let grace_us = rules.grace_us_of(&leg.line.source);
        self.told_by(leg.side == Side::Client, leg.side == Side::Server, grace_us);
    }

    fn told_by(&mut self, client: bool, server: bool, grace_us: i64) {
        self.client |= client;
        self.server |= server;
        self.longest_grace_us = self.longest_grace_us.max(Some(grace_us));
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            header_keys: Vec::new(),
            header_audience: None,
            edge_fronted: Vec::new(),
            allowed_mesh_callers: Vec::new(),
            // Envoy flushes every 10 s, Logpush every 30 s or more, its uploads may take 300 s.
            grace_us: 120_000_000,
            grace_us_of: BTreeMap::new(),
            skew_bound_us: 2_000_000,
            // Consul's default leaf lives 72 h.
            certificate_max_lifetime_us: None,
            certificate_max_age_us: None,
            formats: Vec::new(),
            outages: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_for_whoever_may_still_tell_of_it() {
        let grace_us_of = BTreeMap::from([("slow".to_owned(), 900), ("quick".to_owned(), 10)]);
        let rules = Rules { grace_us: 100, grace_us_of, ..Rules::default() };
        let after = |come: &[(bool, bool, &str)]| {
            let mut all = Come::default();
            for (client, server, source) in come {
                all.told_by(*client, *server, rules.grace_us_of(source));
            }
            rules.grace_us_after(&all)
        };
        assert_eq!(after(&[]), 900);
        assert_eq!(after(&[(true, false, "quick")]), 900, "the slow one may be the other side");
        assert_eq!(after(&[(true, false, "quick"), (false, true, "quick")]), 10);
        assert_eq!(after(&[(true, false, "quick"), (false, true, "other")]), 100);
        assert_eq!(after(&[(true, false, "slow"), (false, true, "quick")]), 900);
    }
}
