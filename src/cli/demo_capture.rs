//! The capture that `calltrail demo` feeds: real lines of a Workers runtime, a zone and a Consul mesh, as their uploads.
//!
//! `demo/README.md` says how they were made. What really happened is not among them: that is a test fixture.

/// One gzipped upload as Logpush or a log shipper would send it.
pub struct Upload {
    pub source: &'static str,
    pub gzipped: &'static [u8],
}

/// The rules under which the capture is read: the key that its Worker signed with, and a short grace.
pub const RULES: &str = include_str!("../../demo/calltrail.toml");

macro_rules! uploads {
    ($($source:literal: $($file:literal),+;)+) => {
        &[$($(Upload { source: $source, gzipped: include_bytes!(concat!("../../demo/", $file)) }),+),+]
    };
}

pub const UPLOADS: &[Upload] = uploads! {
    "logpush-workers":
        "worker/20261124T025650Z_20261124T025652Z_009efdf4.ndjson.gz",
        "worker/20261124T025652Z_20261124T025654Z_f88fcf02.ndjson.gz",
        "worker/20261124T025654Z_20261124T025656Z_63f93a6e.ndjson.gz",
        "worker/20261124T025656Z_20261124T025658Z_fc5b33ac.ndjson.gz";
    "logpush-zone":
        "zone/http_requests.ndjson.gz";
    "mesh":
        "mesh/admin-sidecar-proxy.jsonl.gz",
        "mesh/api-sidecar-proxy.jsonl.gz",
        "mesh/billing-sidecar-proxy.jsonl.gz",
        "mesh/cart-sidecar-proxy.jsonl.gz",
        "mesh/catalog-sidecar-proxy.jsonl.gz",
        "mesh/cron-sidecar-proxy.jsonl.gz",
        "mesh/dead-sidecar-proxy.jsonl.gz",
        "mesh/gw.jsonl.gz",
        "mesh/jwtapi-sidecar-proxy.jsonl.gz",
        "mesh/ledger-sidecar-proxy.jsonl.gz",
        "mesh/legacyapp-sidecar-proxy.jsonl.gz",
        "mesh/stock-sidecar-proxy.jsonl.gz",
        "mesh/vault-sidecar-proxy.jsonl.gz",
        "mesh/web-sidecar-proxy.jsonl.gz";
};
