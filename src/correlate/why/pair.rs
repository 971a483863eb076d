//! What two legs say for and against being the two sides of one call, each with the values of both lines.
//!
//! Whether something *excludes* a pair is asked of [`compat`](crate::correlate::compat) and
//! [`edge_pairs`](crate::correlate::edge_pairs), where the join asks: this file only finds the words.

use super::evidence::{Attempt, Evidence, Kind, Weight};
use super::words;
use crate::correlate::clocks::Times;
use crate::correlate::compat::{Contradiction, contradiction};
use crate::correlate::edge_pairs;
use crate::model::{Assurance, Identity, Leg, ObserverKind, Protocol, Side};

/// Everything that the two lines say about each other, strongest first; what only one of them says is silent.
pub fn between(client: &Leg, server: &Leg, times: Times, attempt: Attempt) -> Vec<Evidence> {
    let pair = Pair { client, server, times, attempt };
    let mut found: Vec<Evidence> = [
        pair.hop(),
        pair.span(),
        pair.connection(),
        pair.request_id(),
        pair.ray(),
        pair.caller(),
        pair.callee(),
        pair.trace(),
        pair.header(),
        pair.request(),
        pair.protocol(),
        pair.status(),
        pair.bytes(),
        pair.time(),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(kind) = excluded_by(client, server, times) {
        found.iter_mut().filter(|e| e.kind == kind).for_each(|e| e.weight = Weight::Excluding);
    }
    found
}

/// What the join itself says cannot be.
pub fn excluded_by(client: &Leg, server: &Leg, times: Times) -> Option<Kind> {
    if at_edge(client) {
        return edge_pairs::contradicts(client, server).then(|| edge_contradiction(client, server));
    }
    contradiction(client, server, times).map(|what| match what {
        Contradiction::Protocol => Kind::Protocol,
        Contradiction::Method | Contradiction::Path => Kind::Request,
        Contradiction::Caller => Kind::Caller,
        Contradiction::Callee => Kind::Callee,
        Contradiction::Trace => Kind::Trace,
        Contradiction::RequestId => Kind::RequestId,
        Contradiction::Hop => Kind::Hop,
        Contradiction::Header => Kind::Header,
        Contradiction::Time => Kind::Time,
    })
}

fn edge_contradiction(client: &Leg, server: &Leg) -> Kind {
    let traces = client.trace.zip(server.trace);
    if client.same_request(server) == Some(false) {
        Kind::RequestId
    } else if traces.is_some_and(|(a, b)| a.trace_id != b.trace_id) {
        Kind::Trace
    } else if words::request(client) != words::request(server) {
        Kind::Request
    } else {
        Kind::Span
    }
}

pub fn at_edge(client: &Leg) -> bool {
    matches!(client.observer.kind, ObserverKind::Worker | ObserverKind::Zone)
}

struct Pair<'a> {
    client: &'a Leg,
    server: &'a Leg,
    times: Times<'a>,
    attempt: Attempt,
}

impl Pair<'_> {
    fn item(
        &self,
        kind: Kind,
        weight: Weight,
        values: [Option<String>; 2],
        sentence: String,
    ) -> Option<Evidence> {
        let [client, server] = values;
        Some(Evidence { kind, weight, client, server, sentence })
    }

    /// Equal, different or not said on one side, with a sentence for each.
    fn compared(
        &self,
        kind: Kind,
        values: [Option<String>; 2],
        equal: (Weight, &str),
        other: (Weight, &str),
    ) -> Option<Evidence> {
        let (weight, sentence) = match &values {
            [None, None] => return None,
            [Some(a), Some(b)] if a == b => (equal.0, equal.1.replace("{}", a)),
            [Some(a), Some(b)] => {
                (other.0, format!("{a} on the client's line, {b} on the server's{}", other.1))
            }
            [Some(a), None] => (Weight::Silent, format!("only the client's line says it ({a})")),
            [None, Some(b)] => (Weight::Silent, format!("only the server's line says it ({b})")),
        };
        self.item(kind, weight, values, sentence)
    }

    fn hop(&self) -> Option<Evidence> {
        // What the Worker sends as its hop stands on the gateway's line as what was received.
        let received = if at_edge(self.client) && self.client.hop.is_some() {
            [&self.server.hop, &self.server.parent_hop].into_iter().find(|h| **h == self.client.hop)
        } else {
            Some(&self.server.hop)
        };
        let values = [self.client.hop.clone(), received.cloned().flatten()];
        if values == [None, None] && self.client.protocol != Protocol::Tcp && !at_edge(self.client) {
            let sentence = "neither line carries one; with a hop id it alone would decide".to_owned();
            return self.item(Kind::Hop, Weight::Silent, values, sentence);
        }
        let equal = (Weight::Decisive, "{} on both; the caller's proxy makes one for each request");
        self.compared(Kind::Hop, values, equal, (Weight::Doubtful, ""))
    }

    /// The Worker's own span of a subrequest, in what the other side received.
    fn span(&self) -> Option<Evidence> {
        let own = self.client.trace.zip(self.client.span_id).filter(|_| self.client.side == Side::Client)?;
        if self.client.observer.kind != ObserverKind::Worker {
            return None;
        }
        let (trace, span) = (own.0.trace_id, own.1);
        let header = self.server.header.as_ref().map(|h| (h.trace_id, h.span_id));
        let parent = self.server.trace.map(|t| (t.trace_id, t.parent_id));
        let caller = self.server.trace.zip(self.server.parent_span_id).map(|(t, s)| (t.trace_id, s));
        let told = [(header, "signed header"), (parent, "traceparent"), (caller, "record of its caller")];
        let found: Vec<&str> = told.iter().filter(|(s, _)| *s == Some((trace, span))).map(|t| t.1).collect();
        if found.is_empty() {
            let other = header.or(parent).map(|(_, s)| s.to_string());
            return self.compared(
                Kind::Span,
                [Some(span.to_string()), other],
                (Weight::Decisive, ""),
                (Weight::Doubtful, ""),
            );
        }
        let where_ = words::listed(&found.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
        let sentence =
            format!("the Worker made {span} for this subrequest alone, and the server's {where_} names it");
        let value = Some(span.to_string());
        self.item(Kind::Span, Weight::Decisive, [value.clone(), value], sentence)
    }

    fn connection(&self) -> Option<Evidence> {
        if at_edge(self.client) {
            return None;
        }
        let (client, server) = (&self.client.socket, &self.server.socket);
        let values = [client, server].map(|s| s.as_ref().map(words::connection));
        match (client, server) {
            (Some(last), Some(own)) if last != own && !self.attempt.is_last() => {
                let sentence = format!(
                    "{}, the client's line {}: a client line names the connection of its last attempt, and this was \
                     attempt {} of {}",
                    words::connection(own),
                    words::connection(last),
                    self.attempt.number,
                    self.attempt.of
                );
                self.item(Kind::Connection, Weight::Explained, values, sentence)
            }
            _ => {
                let equal = (Weight::Strong, "both ends name {}");
                self.compared(Kind::Connection, values, equal, (Weight::Doubtful, ""))
            }
        }
    }

    fn request_id(&self) -> Option<Evidence> {
        let values = [self.client.request_id.clone(), self.server.request_id.clone()];
        if self.client.same_request(self.server) == Some(true) && values[0] != values[1] {
            let sentence = "the same but for the version digit, which Envoy's tracer rewrites".to_owned();
            return self.item(Kind::RequestId, Weight::Strong, values, sentence);
        }
        self.compared(Kind::RequestId, values, (Weight::Strong, "{} on both"), (Weight::Doubtful, ""))
    }

    fn ray(&self) -> Option<Evidence> {
        // Inside the mesh the ray is a header that every call of the request may carry on.
        let weight = if at_edge(self.client) { Weight::Decisive } else { Weight::Supporting };
        let values = [self.client.ray.clone(), self.server.ray.clone()];
        if values.contains(&None) {
            return None;
        }
        self.compared(Kind::Ray, values, (weight, "{} on both"), (Weight::Doubtful, ""))
    }

    fn caller(&self) -> Option<Evidence> {
        self.identities(Kind::Caller, &self.client.local, &self.server.peer)
    }

    fn callee(&self) -> Option<Evidence> {
        self.identities(Kind::Callee, &self.client.peer, &self.server.local)
    }

    fn identities(&self, kind: Kind, by_client: &Identity, by_server: &Identity) -> Option<Evidence> {
        let known = |i: &Identity| (i.assurance < Assurance::Address).then(|| words::party(i));
        let values = [known(by_client), known(by_server)];
        let certificates = [by_client, by_server].iter().all(|i| i.assurance == Assurance::Mtls);
        match by_client.agrees_with(by_server) {
            Some(true) if certificates => {
                let sentence = format!("both proxies saw a certificate of {}", by_server.name);
                self.item(kind, Weight::Strong, values, sentence)
            }
            Some(true) => {
                let sentence = format!(
                    "both say {} (by {} and {})",
                    by_server.name,
                    known_by(by_client.assurance),
                    known_by(by_server.assurance)
                );
                self.item(kind, Weight::Supporting, values, sentence)
            }
            // At the edge the two name different things: a host, a script, a gateway.
            _ if at_edge(self.client) => None,
            Some(false) => {
                let sentence =
                    format!("{} by the client's line, {} by the server's", by_client.name, by_server.name);
                self.item(kind, Weight::Doubtful, values, sentence)
            }
            None => {
                let who = if known(by_client).is_none() { "client" } else { "server" };
                self.item(kind, Weight::Silent, values, format!("the {who}'s line names nobody"))
            }
        }
    }

    fn trace(&self) -> Option<Evidence> {
        let values = [self.client, self.server].map(|l| l.trace.map(|t| t.trace_id.to_string()));
        let equal = (Weight::Supporting, "{} on both, as on every call of the trace");
        self.compared(Kind::Trace, values, equal, (Weight::Doubtful, ""))
    }

    fn header(&self) -> Option<Evidence> {
        let text = |l: &Leg| l.header.as_ref().map(|h| format!("{} for {}", h.span_id, h.subject));
        let values = [text(self.client), text(self.server)];
        if values.contains(&None) {
            return None;
        }
        let same = self.client.header == self.server.header;
        let equal = (Weight::Supporting, "the same calltrail header on both");
        match same {
            true => self.item(Kind::Header, equal.0, values, equal.1.to_owned()),
            false => self.compared(Kind::Header, values, equal, (Weight::Doubtful, "")),
        }
    }

    fn request(&self) -> Option<Evidence> {
        if self.client.method.is_none() && self.server.method.is_none() {
            return None;
        }
        let values = [words::request(self.client), words::request(self.server)].map(Some);
        let note = match excluded_by(self.client, self.server, self.times) {
            None => (Weight::Explained, "; a route may rewrite it, or a Worker's record cut it"),
            Some(_) => (Weight::Doubtful, ""),
        };
        self.compared(Kind::Request, values, (Weight::Supporting, "{} on both"), note)
    }

    fn protocol(&self) -> Option<Evidence> {
        let tcp = |l: &Leg| l.protocol == Protocol::Tcp;
        let values = [self.client, self.server].map(|l| Some(l.protocol.to_string()));
        if tcp(self.client) == tcp(self.server)
            || [self.client, self.server].iter().any(|l| l.protocol == Protocol::Unknown)
        {
            return None;
        }
        self.compared(Kind::Protocol, values, (Weight::Supporting, ""), (Weight::Doubtful, ""))
    }

    fn status(&self) -> Option<Evidence> {
        let (client, server) = (self.client.status, self.server.status);
        let values = [client, server].map(|s| s.map(|s| s.to_string()));
        let flags = |l: &Leg| words::listed(&l.flags.iter().map(str::to_owned).collect::<Vec<_>>());
        let because = if !self.attempt.is_last() {
            Some(format!(
                "the client's line tells what came of attempt {}, this was {}",
                self.attempt.of, self.attempt.number
            ))
        } else if !flags(self.client).is_empty() {
            Some(format!("the client's proxy gave up by itself (flags {})", flags(self.client)))
        } else if !flags(self.server).is_empty() {
            Some(format!("the server's proxy tells how it ended (flags {})", flags(self.server)))
        } else {
            None
        };
        match (client, server, because) {
            (None, None, _) => None,
            (a, b, Some(why)) if a != b => {
                let said = |s: Option<u16>| s.map_or_else(|| "no status".to_owned(), |s| s.to_string());
                let sentence =
                    format!("{} on the client's line, {} on the server's: {why}", said(a), said(b));
                self.item(Kind::Status, Weight::Explained, values, sentence)
            }
            _ => {
                let equal = (Weight::Supporting, "{} on both");
                self.compared(
                    Kind::Status,
                    values,
                    equal,
                    (Weight::Doubtful, ", and nothing on the lines says why"),
                )
            }
        }
    }

    fn bytes(&self) -> Option<Evidence> {
        if at_edge(self.client) || !self.attempt.is_last() {
            return None;
        }
        let text = |l: &Leg| {
            let (up, down) = l.request_body_bytes.zip(l.response_body_bytes)?;
            Some(format!("{up} up and {down} down"))
        };
        let values = [text(self.client), text(self.server)];
        if values.contains(&None) {
            return None;
        }
        self.compared(Kind::Bytes, values, (Weight::Supporting, "{} on both"), (Weight::Doubtful, ""))
    }

    fn time(&self) -> Option<Evidence> {
        let (client, server) = (self.client, self.server);
        let lies = |l: &Leg| format!("{} for {}", l.start, words::span(l.duration_us.unwrap_or(0)));
        let values = [Some(lies(client)), Some(lies(server))];
        let (later, earlier) = (server.start.0 - client.start.0, client.end().0 - server.end().0);
        let (weight, sentence) = if later >= 0 && earlier >= -LOGGED_TO_US {
            let end = match earlier {
                ..0 => "ends with it, to the millisecond that is logged".to_owned(),
                us => format!("ends {} before it", words::span(us)),
            };
            (
                Weight::Supporting,
                format!("the server's part begins {} after the client's and {end}", words::span(later)),
            )
        } else {
            let begins = if later < 0 {
                format!("begins {} before", words::span(-later))
            } else {
                format!("begins {} after", words::span(later))
            };
            let ends = if earlier < 0 {
                format!("ends {} after", words::span(-earlier))
            } else {
                format!("ends {} before", words::span(earlier))
            };
            let bound = words::span(self.times.slack_us);
            (
                Weight::Doubtful,
                format!(
                    "the server's part {begins} the client's and {ends} it; their clocks may be {bound} apart"
                ),
            )
        };
        self.item(Kind::Time, weight, values, sentence)
    }
}

/// Envoy logs durations in whole milliseconds: an end is known no better.
const LOGGED_TO_US: i64 = 1_000;

fn known_by(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Mtls => "certificate",
        Assurance::Jwt => "token",
        Assurance::Signed => "signature",
        Assurance::Asserted => "configuration",
        Assurance::Address => "address",
        Assurance::None => "nothing",
    }
}
