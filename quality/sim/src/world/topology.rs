//! Who there is: services, their instances and sidecars, the gateways; what each can do.

use super::config::Config;
use super::dice::Dice;
use crate::records::Proxy;
use std::sync::Arc;

pub const TRUST_DOMAIN: &str = "7d0f3c5e-1b92-4c61-a8d4-5e2f90b7c316.consul";
pub const GATEWAY: &str = "gw";

/// Places in `Topology::services` and `Topology::proxies`.
pub type ServiceNo = usize;
pub type ProxyNo = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
    Grpc,
    Tcp,
}

/// What an application does with the headers of a request when it makes another because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwards {
    /// Every header, the hop id too.
    All,
    /// traceparent, tracestate, x-request-id, cf-ray, x-calltrail-principal.
    Known,
    /// The same, as a child span.
    ChildSpan,
    /// Only the trace, as a child span.
    TraceOnly,
    /// A new trace; the other headers are handed on.
    NewTrace,
    RequestIdOnly,
    Nothing,
}

#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    pub spiffe_id: String,
    pub cluster: String,
    pub speaks: Speaks,
    pub forwards: Forwards,
    pub traces: bool,
    pub sets_hop: bool,
    /// The log format asks for hop ids. Where the proxy sets none, it prints what the application sent, be it an older one.
    pub prints_hop: bool,
    pub proxies: Vec<ProxyNo>,
}

#[derive(Debug)]
pub struct Instance {
    pub proxy: Arc<Proxy>,
    pub service: ServiceNo,
    pub certificate_serial: String,
    /// Validity, epoch seconds.
    pub certificate: (i64, i64),
}

#[derive(Debug)]
pub struct Topology {
    pub services: Vec<Service>,
    pub proxies: Vec<Instance>,
}

#[rustfmt::skip] // a table
const SERVICES: &[(&str, Speaks, Forwards)] = &[
    (GATEWAY, Speaks::Http1, Forwards::All),
    ("web", Speaks::Http1, Forwards::Known),
    ("catalog", Speaks::Http1, Forwards::Known),
    ("api", Speaks::Http1, Forwards::Known),
    ("billing", Speaks::Http1, Forwards::Known),
    ("cart", Speaks::Http1, Forwards::ChildSpan),
    ("legacyapp", Speaks::Http1, Forwards::Nothing),
    ("relay", Speaks::Http1, Forwards::NewTrace),
    ("partner", Speaks::Http1, Forwards::RequestIdOnly),
    ("report", Speaks::Http1, Forwards::TraceOnly),
    ("admin", Speaks::Http1, Forwards::Known),
    ("jwtapi", Speaks::Http1, Forwards::Known),
    ("dead", Speaks::Http1, Forwards::Known),
    ("ghost", Speaks::Http1, Forwards::Known),
    ("down", Speaks::Http1, Forwards::Known),
    ("live", Speaks::Http1, Forwards::Known),
    ("search", Speaks::Http2, Forwards::Known),
    ("index", Speaks::Http2, Forwards::Known),
    ("stock", Speaks::Grpc, Forwards::Known),
    ("ledger", Speaks::Tcp, Forwards::Known),
    ("vault", Speaks::Tcp, Forwards::Known),
    ("cron", Speaks::Http1, Forwards::Known),
];

/// Reached from the gateway, by websockets, or by nobody: never HTTP/2.
const ALWAYS_HTTP1: &[&str] = &[GATEWAY, "web", "catalog", "live", "cron"];

impl Topology {
    pub fn new(config: &Config, dice: &mut Dice) -> Self {
        let mut topology = Topology { services: Vec::new(), proxies: Vec::new() };
        for (name, speaks, forwards) in SERVICES {
            let to_http2 = config.all_http2 && *speaks == Speaks::Http1 && !ALWAYS_HTTP1.contains(name);
            topology.add(config, dice, name, if to_http2 { Speaks::Http2 } else { *speaks }, *forwards);
        }
        topology
    }

    fn add(
        &mut self,
        config: &Config,
        dice: &mut Dice,
        name: &'static str,
        speaks: Speaks,
        forwards: Forwards,
    ) {
        let service = self.services.len();
        let sets_hop = speaks != Speaks::Tcp && dice.chance(config.hop_share);
        let prints_hop = sets_hop || (config.hop_share > 0.0 && dice.chance(0.5));
        let count = if name == GATEWAY { config.gateways } else { config.instances_per_service };
        let proxies = (0..count.max(1)).map(|i| self.start(config, dice, name, service, i)).collect();
        let passes_everything = forwards == Forwards::Known && dice.chance(config.forwards_hop_share);
        let forwards = if passes_everything { Forwards::All } else { forwards };
        self.services.push(Service {
            name,
            spiffe_id: format!("spiffe://{TRUST_DOMAIN}/ns/default/dc/dc1/svc/{name}"),
            cluster: format!("{name}.default.dc1.internal.{TRUST_DOMAIN}"),
            speaks,
            forwards,
            // An api-gateway ignores the listeners' tracing of proxy-defaults.
            traces: name != GATEWAY && dice.chance(config.tracing_share),
            sets_hop,
            prints_hop,
            proxies,
        });
    }

    fn start(
        &mut self,
        config: &Config,
        dice: &mut Dice,
        name: &str,
        service: ServiceNo,
        i: usize,
    ) -> ProxyNo {
        let is_gateway = name == GATEWAY;
        let id = match config.world {
            0 => format!("{name}-{}", i + 1),
            world => format!("{name}-w{world}-{}", i + 1),
        };
        let issued_s = config.start_us / 1_000_000 - dice.between(3_600, 200_000);
        self.proxies.push(Instance {
            proxy: Arc::new(Proxy {
                node_id: if is_gateway { id } else { format!("{id}-sidecar-proxy") },
                service: name.to_owned(),
                address: format!("10.{}.{service}.{}", config.world % 250, i + 10),
                is_gateway,
            }),
            service,
            certificate_serial: format!("{:02x}", self.proxies.len() + 9),
            certificate: (issued_s, issued_s + 72 * 3_600),
        });
        self.proxies.len() - 1
    }

    /// # Panics
    /// When the tables name a service that is not there: a mistake in this crate.
    pub fn service(&self, name: &str) -> ServiceNo {
        self.services.iter().position(|s| s.name == name).expect("the tables name services that exist")
    }

    pub fn of(&self, proxy: ProxyNo) -> &Service {
        &self.services[self.proxies[proxy].service]
    }
}
