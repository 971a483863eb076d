//! Who there is: services with their instances, gateways, principals; how popular each is.
//!
//! Popularity falls with rank, as it does in real meshes: a hot principal has a tenth of all requests, the rarest callee one
//! in some thousand.

use calltrail_sim::records::Proxy;
use calltrail_sim::world::signature::Signer;
use std::sync::Arc;

pub const TRUST_DOMAIN: &str = "7d0f3c5e-1b92-4c61-a8d4-5e2f90b7c316.consul";
pub const ISSUER: &str = "https://idp.example.com/";
pub const GATEWAY: &str = "gw";
/// Throw-away key of a lab that does not exist.
const HEADER_KEY: &str = "trail-key-benchmark";

const NOUNS: [&str; 24] = [
    "orders", "catalog", "billing", "cart", "search", "stock", "ledger", "invoice", "profile", "session",
    "shipping", "pricing", "review", "message", "report", "partner", "loyalty", "coupon", "returns",
    "support", "media", "geo", "consent", "payout",
];
const KINDS: [&str; 5] = ["api", "web", "worker", "query", "admin"];
const INSTANCES: usize = 3;
const GATEWAYS: usize = 6;
const PRINCIPALS: usize = 20_000;
/// Every seventh is a service token.
const SERVICE_TOKENS: usize = 7;

pub struct Cast {
    pub services: Vec<Service>,
    pub gateways: Vec<Arc<Proxy>>,
    pub principals: Vec<Principal>,
    pub signer: Signer,
    service_ranks: Ranks,
    principal_ranks: Ranks,
}

pub struct Service {
    pub name: String,
    pub spiffe_id: String,
    pub cluster: String,
    pub instances: Vec<Arc<Proxy>>,
}

pub struct Principal {
    pub kind: &'static str,
    /// As the Worker logs it.
    pub subject: String,
}

impl Cast {
    pub fn new() -> Self {
        let signer = Signer::new(HEADER_KEY, ISSUER);
        let names = KINDS.iter().flat_map(|kind| NOUNS.iter().map(move |noun| format!("{noun}-{kind}")));
        let services: Vec<Service> = names.enumerate().map(|(i, name)| service(i, name)).collect();
        let principals = (0..PRINCIPALS).map(|i| principal(&signer, i)).collect();
        Cast {
            service_ranks: Ranks::new(services.len(), 1.3),
            principal_ranks: Ranks::new(PRINCIPALS, 1.0),
            gateways: (0..GATEWAYS).map(gateway).collect(),
            services,
            principals,
            signer,
        }
    }

    /// `unit` is at least 0 and less than 1.
    pub fn service_at(&self, unit: f64) -> usize {
        self.service_ranks.at(unit)
    }

    pub fn principal_at(&self, unit: f64) -> usize {
        self.principal_ranks.at(unit)
    }

    /// What calltrail is to be told: the key of the header.
    pub fn rules_toml() -> String {
        format!("[[header.key]]\nalgorithm = \"hmac-sha256\"\nsecret = {HEADER_KEY:?}\n")
    }
}

impl Default for Cast {
    fn default() -> Self {
        Cast::new()
    }
}

pub fn spiffe_id(service: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/default/dc/dc1/svc/{service}")
}

fn service(place: usize, name: String) -> Service {
    let instance = |i: usize| {
        Arc::new(Proxy {
            node_id: format!("{name}-{}-sidecar-proxy", i + 1),
            service: name.clone(),
            address: format!("10.1.{place}.{}", i + 10),
            is_gateway: false,
        })
    };
    Service {
        spiffe_id: spiffe_id(&name),
        cluster: format!("{name}.default.dc1.internal.{TRUST_DOMAIN}"),
        instances: (0..INSTANCES).map(instance).collect(),
        name,
    }
}

fn gateway(i: usize) -> Arc<Proxy> {
    Arc::new(Proxy {
        node_id: format!("{GATEWAY}-{}", i + 1),
        service: GATEWAY.to_owned(),
        address: format!("10.0.0.{}", i + 10),
        is_gateway: true,
    })
}

fn principal(signer: &Signer, i: usize) -> Principal {
    let kind = if i % SERVICE_TOKENS == SERVICE_TOKENS - 1 { "service" } else { "user" };
    Principal { kind, subject: signer.subject(&format!("{kind}-{i}")) }
}

/// The sums of weights 1/rank^steepness, so that one draw and a binary search choose.
struct Ranks(Vec<f64>);

impl Ranks {
    fn new(n: usize, steepness: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=n).map(|rank| {
            sum += (rank as f64).powf(-steepness);
            sum
        });
        Ranks(sums.collect())
    }

    fn at(&self, unit: f64) -> usize {
        let all = self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum <= unit * all).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_hot_and_the_last_rare() {
        let cast = Cast::new();
        let share = |of: &dyn Fn(f64) -> usize, place: usize| {
            (0..100_000).filter(|i| of(f64::from(*i) / 100_000.0) == place).count() as f64 / 100_000.0
        };
        assert!((0.08..0.12).contains(&share(&|u| cast.principal_at(u), 0)), "the hot principal");
        assert!(
            (0.000_3..0.001).contains(&share(&|u| cast.service_at(u), cast.services.len() - 1)),
            "the rare callee"
        );
    }
}
