//! What is asked for, and what each service does about it: the scenarios as tables.

/// How a call ends, whatever the application would have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By what the application does, see `steps`.
    Answered,
    /// The application answers this at once.
    Status(u16),
    /// Intentions do not allow it. Over TCP only the callee's sidecar knows.
    Denied,
    /// The callee's sidecar is up, its application refuses the connection.
    AppDown,
    NoEndpoints,
    PeerDown,
    /// The route's timeout.
    Timeout,
    /// The application fails once or twice, then answers.
    Retried,
    /// It always fails.
    RetryExhausted,
    AppReset,
    Websocket,
    /// A long upload.
    Stream,
    Grpc(u16),
    Tcp,
    TcpDenied,
}

/// One request that somebody makes.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    pub to: &'static str,
    /// With `{id}` where the id goes; empty for TCP.
    pub path: &'static str,
    pub method: &'static str,
    pub ending: Ending,
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Call(Leg),
    /// Identical calls at the same time, as many as the configuration says.
    FanOut(Leg),
    /// Identical calls, one after the other.
    OneByOne(Leg),
    /// Begun after the request has been answered, with the trace but without the signed header.
    PutOff(Leg),
    /// The same, with all headers: what nobody can tell from a replay.
    PutOffSigned(Leg),
}

/// What is odd about a Worker's invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    None,
    /// The Worker repeats the subrequest while it gets 503.
    Retry,
    /// `waitUntil`: the visitor has his answer before the subrequest has been made.
    WaitUntil,
    ThrowAfter,
    /// Throws while the subrequest is under way, which goes on.
    ThrowDuring,
    /// Throws before anything was logged.
    Crash,
    /// Another Worker, bound as a service, makes the subrequest.
    Binding,
    /// Some other library logs 20 kB first.
    Chatter,
    /// So many subrequests, some at a time, that Logpush cannot carry all their records.
    Many,
    /// The visitor goes away, and everything that was under way with him.
    Abort,
    /// Denied for want of a scope.
    Scope,
    /// Denied since no route fits.
    NoRoute,
    /// The gateway has no route.
    GatewayNoRoute,
    /// Denied, and the subrequest made all the same.
    Conflict,
    /// The header is signed for another user than the one whose token was checked.
    Mismatch,
}

#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub name: &'static str,
    pub weight: f64,
    /// Groups one after another; the subrequests of a group at the same time.
    pub groups: &'static [&'static [Leg]],
    pub twist: Twist,
}

const fn get(to: &'static str, path: &'static str) -> Leg {
    Leg { to, path, method: "GET", ending: Ending::Answered }
}

const fn post(to: &'static str, path: &'static str) -> Leg {
    Leg { to, path, method: "POST", ending: Ending::Answered }
}

const fn ends(leg: Leg, ending: Ending) -> Leg {
    Leg { ending, ..leg }
}

const fn tcp(to: &'static str, ending: Ending) -> Leg {
    Leg { to, path: "", method: "", ending }
}

const fn route(name: &'static str, weight: f64, groups: &'static [&'static [Leg]]) -> Route {
    Route { name, weight, groups, twist: Twist::None }
}

const fn twisted(name: &'static str, weight: f64, groups: &'static [&'static [Leg]], twist: Twist) -> Route {
    Route { name, weight, groups, twist }
}

const ORDERS: Leg = get("web", "/orders/{id}");

/// Weights up to 60 are the counts of `fullstack-a`; what it lacks has been given about as much as its rarer scenarios.
#[rustfmt::skip] // a table
pub const VISITORS: &[Route] = &[
    route("orders", 60.0, &[&[ORDERS]]),
    route("fanout", 30.0, &[&[get("web", "/fanout/{id}")]]),
    route("n1", 24.0, &[&[get("web", "/n1/{id}")]]),
    route("cart", 22.0, &[&[get("web", "/cart/{id}")]]),
    route("two", 16.0, &[&[get("catalog", "/items/{id}"), ORDERS]]),
    route("flaky", 14.0, &[&[get("web", "/flaky/{id}")]]),
    route("legacy", 14.0, &[&[get("web", "/legacy/{id}")]]),
    route("ledger", 14.0, &[&[get("web", "/ledger/{id}")]]),
    route("stock", 12.0, &[&[get("web", "/stock/{id}")]]),
    route("chain", 12.0, &[&[get("web", "/chain/{id}")]]),
    twisted("reports", 12.0, &[&[ORDERS]], Twist::Scope),
    route("internal", 8.0, &[&[get("web", "/internal/{id}")]]),
    route("pay", 8.0, &[&[post("web", "/pay/{id}")]]),
    route("dead", 8.0, &[&[get("web", "/dead/{id}")]]),
    route("seq", 8.0, &[&[ORDERS], &[get("catalog", "/items/{id}")]]),
    route("admin", 8.0, &[&[get("web", "/admin/{id}")]]),
    route("err", 6.0, &[&[ends(get("web", "/err/{id}"), Ending::Status(502))]]),
    twisted("boom", 6.0, &[&[ORDERS]], Twist::ThrowAfter),
    route("vault", 6.0, &[&[get("web", "/vault/{id}")]]),
    route("slow", 6.0, &[&[get("web", "/slow/{id}")]]),
    route("post", 6.0, &[&[post("web", "/post/{id}")]]),
    twisted("wretry", 5.0, &[&[get("web", "/orders/{id}")]], Twist::Retry),
    route("paybad", 9.0, &[&[post("web", "/paybad/{id}")]]),
    route("ws", 5.0, &[&[get("web", "/ws/{id}")]]),
    twisted("later", 5.0, &[&[ORDERS]], Twist::WaitUntil),
    route("stockbad", 5.0, &[&[get("web", "/stockbad/{id}")]]),
    twisted("nope", 4.0, &[], Twist::NoRoute),
    twisted("crash", 3.0, &[], Twist::Crash),
    route("search", 14.0, &[&[get("web", "/search/{id}")]]),
    route("relay", 6.0, &[&[get("web", "/relay/{id}")]]),
    route("partner", 6.0, &[&[get("web", "/partner/{id}")]]),
    route("report", 6.0, &[&[get("web", "/report/{id}")]]),
    route("exhausted", 4.0, &[&[get("web", "/exhausted/{id}")]]),
    route("ghost", 3.0, &[&[get("web", "/ghost/{id}")]]),
    route("down", 3.0, &[&[get("web", "/down/{id}")]]),
    route("reset", 3.0, &[&[get("web", "/reset/{id}")]]),
    route("stream", 3.0, &[&[post("web", "/stream/{id}")]]),
    route("putoff", 6.0, &[&[get("web", "/putoff/{id}")]]),
    route("putoff_signed", 1.0, &[&[get("web", "/putoff_signed/{id}")]]),
    twisted("binding", 8.0, &[&[ORDERS]], Twist::Binding),
    twisted("chatter", 2.0, &[&[ORDERS], &[get("catalog", "/items/{id}")]], Twist::Chatter),
    twisted("many", 0.6, &[&[ends(get("web", "/status/{id}"), Ending::Status(200))]], Twist::Many),
    twisted("throws", 3.0, &[&[ORDERS]], Twist::ThrowDuring),
    route("gwghost", 2.0, &[&[ends(get("ghost", "/ghost/{id}"), Ending::NoEndpoints)]]),
    route("gwdown", 2.0, &[&[ends(get("down", "/down/{id}"), Ending::PeerDown)]]),
    route("gwslow", 2.0, &[&[ends(get("web", "/wait/{id}"), Ending::Timeout)]]),
    twisted("abort", 2.0, &[&[get("web", "/abort/{id}")]], Twist::Abort),
    twisted("noroute", 2.0, &[&[get("web", "/noroute/{id}")]], Twist::GatewayNoRoute),
];

/// Invocations that go wrong as an attack would; chosen among the attacks.
pub const FAULTY_WORKERS: &[Route] = &[
    twisted("edge_conflict", 0.0, &[&[ORDERS]], Twist::Conflict),
    twisted("edge_mismatch", 0.0, &[&[ORDERS]], Twist::Mismatch),
];

/// Routes on which something speaks HTTP/2.
pub const HTTP2_ROUTES: &[&str] = &["stock", "stockbad", "search"];

pub const BACKGROUND: &[(&str, f64)] = &[
    ("nightly", 13.0),
    ("rates", 12.0),
    ("cron_worker", 8.0),
    ("copied_trace", 2.0),
    ("copied_header", 2.0),
];

pub const ATTACKS: &[(&str, f64)] = &[
    ("bypass_plain", 4.0),
    ("bypass_trace", 4.0),
    ("bypass_header", 4.0),
    ("bypass_denied", 3.0),
    ("bypass_fronted", 3.0),
    ("bypass_invented_hop", 2.0),
    ("bypass_replayed_hop", 2.0),
    ("gateway_plain", 5.0),
    ("gateway_forged", 3.0),
    ("gateway_replayed", 3.0),
    ("gateway_trace", 2.0),
    ("stolen_trace", 5.0),
    ("replayed_header", 5.0),
    ("replayed_both", 4.0),
    ("forged_header", 4.0),
    ("forged_with_trace", 3.0),
    ("swapped_header", 3.0),
    ("mesh_bypass", 3.0),
    ("edge_conflict", 3.0),
    ("edge_mismatch", 3.0),
];

const INVOICE: Leg = get("billing", "/invoices/{id}");
const RATES: Leg = get("billing", "/rates/current");
const RESERVE: Leg = post("stock", "/stock.Stock/Reserve");

/// What a service does about a request, by the first part of its path.
#[rustfmt::skip] // a table
const STEPS: &[(&str, &str, &[Step])] = {
    use Ending::*;
    use Step::*;
    &[
        ("web", "orders", &[Call(get("api", "/orders/{id}"))]),
        ("web", "post", &[Call(post("api", "/orders/{id}"))]),
        ("web", "fanout", &[Call(get("api", "/fanout/{id}"))]),
        ("web", "n1", &[Call(get("api", "/n1/{id}"))]),
        ("web", "cart", &[Call(get("cart", "/cart/{id}"))]),
        ("web", "chain", &[Call(get("catalog", "/items/{id}")), Call(get("api", "/orders/{id}"))]),
        ("web", "flaky", &[Call(ends(get("api", "/flaky/{id}"), Retried))]),
        ("web", "exhausted", &[Call(ends(get("api", "/exhausted/{id}"), RetryExhausted))]),
        ("web", "legacy", &[Call(get("legacyapp", "/old/{id}"))]),
        ("web", "ledger", &[Call(get("api", "/ledger/{id}"))]),
        ("web", "vault", &[Call(get("api", "/vault/{id}"))]),
        ("web", "stock", &[Call(get("api", "/stock/{id}"))]),
        ("web", "stockbad", &[Call(get("api", "/stockbad/{id}"))]),
        ("web", "internal", &[Call(ends(get("api", "/internal/{id}"), Denied))]),
        ("web", "admin", &[Call(ends(get("admin", "/admin/{id}"), Denied))]),
        ("web", "pay", &[Call(post("jwtapi", "/pay/{id}"))]),
        ("web", "paybad", &[Call(ends(post("jwtapi", "/pay/{id}"), Denied))]),
        ("web", "dead", &[Call(ends(get("dead", "/x/{id}"), AppDown))]),
        ("web", "ghost", &[Call(ends(get("ghost", "/x/{id}"), NoEndpoints))]),
        ("web", "down", &[Call(ends(get("down", "/x/{id}"), PeerDown))]),
        ("web", "slow", &[Call(ends(get("api", "/slow/{id}"), Timeout))]),
        ("web", "reset", &[Call(ends(get("api", "/reset/{id}"), AppReset))]),
        ("web", "ws", &[Call(ends(get("live", "/ws"), Websocket))]),
        ("web", "stream", &[Call(ends(post("api", "/upload/{id}"), Stream))]),
        ("web", "abort", &[Call(get("api", "/wait/{id}"))]),
        ("web", "search", &[Call(get("search", "/search/{id}"))]),
        ("web", "relay", &[Call(get("relay", "/relay/{id}"))]),
        ("web", "partner", &[Call(get("partner", "/partner/{id}"))]),
        ("web", "report", &[Call(get("report", "/report/{id}"))]),
        ("web", "putoff", &[Call(get("api", "/orders/{id}")), PutOff(INVOICE)]),
        ("web", "putoff_signed", &[Call(get("api", "/orders/{id}")), PutOffSigned(INVOICE)]),
        ("api", "orders", &[Call(INVOICE)]),
        ("api", "price", &[Call(RATES)]),
        ("api", "fanout", &[FanOut(RATES)]),
        ("api", "n1", &[OneByOne(RATES)]),
        ("api", "ledger", &[Call(tcp("ledger", Tcp)), Call(INVOICE)]),
        ("api", "vault", &[Call(tcp("vault", TcpDenied))]),
        ("api", "stock", &[FanOut(ends(RESERVE, Grpc(0)))]),
        ("api", "stockbad", &[Call(ends(RESERVE, Grpc(9)))]),
        ("catalog", "items", &[Call(RATES)]),
        ("cart", "cart", &[Call(get("api", "/price/{id}")), Call(INVOICE)]),
        ("legacyapp", "old", &[Call(INVOICE)]),
        ("relay", "relay", &[Call(get("api", "/orders/{id}"))]),
        ("partner", "partner", &[Call(INVOICE), Call(RATES)]),
        ("report", "report", &[OneByOne(INVOICE)]),
        ("search", "search", &[FanOut(get("index", "/lookup"))]),
    ]
};

/// Nothing: it answers at once.
pub fn steps(service: &str, about: &str) -> &'static [Step] {
    let found = STEPS.iter().find(|(name, path, _)| *name == service && *path == about);
    found.map_or(&[], |(_, _, steps)| steps)
}

pub fn visitor_route(name: &str) -> Option<&'static Route> {
    VISITORS.iter().chain(FAULTY_WORKERS).find(|route| route.name == name)
}

/// The name of a scenario as the tables have it.
pub fn known(name: &str) -> Option<&'static str> {
    let jobs = BACKGROUND.iter().chain(ATTACKS).map(|(name, _)| *name);
    VISITORS.iter().map(|route| route.name).chain(jobs).find(|known| *known == name)
}

/// Requests that background jobs and attackers make.
pub mod made_up {
    use super::{Leg, get};

    pub const NIGHTLY: Leg = get("api", "/orders/nightly");
    pub const RATES: Leg = super::RATES;
    pub const INVOICE: Leg = super::INVOICE;
    pub const ORDERS: Leg = super::ORDERS;
    pub const ITEMS: Leg = get("catalog", "/items/{id}");
    pub const PRICE: Leg = get("api", "/price/{id}");

    pub const fn denied(leg: Leg) -> Leg {
        super::ends(leg, super::Ending::Denied)
    }
}
