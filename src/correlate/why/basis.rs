//! Which rule set the basis of a call, and why it is no stronger.

use super::Joined;
use super::alike;
use super::pair::at_edge;
use super::rivals::{named, ties};
use super::words;
use crate::correlate::compat::both_verified;
use crate::correlate::group::{Group, Rule};
use crate::correlate::rivals::Rivals;
use crate::correlate::sockets::name_other_sockets;
use crate::model::identity::words;
use crate::model::{Basis, Leg, ObserverKind, Protocol, Side};

/// By what the legs of a call were brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Hop,
    Connection,
    RequestId,
    Order,
    Trace,
    /// What the Worker sent with its subrequest: its span, request id, ray, hop.
    Subrequest,
    Ray,
    /// No key: the two lines are the most alike of a minute.
    Likeness,
    Nothing,
}
words!(By {
    Hop => "hop", Connection => "connection", RequestId => "request_id", Order => "order", Trace => "trace",
    Subrequest => "subrequest", Ray => "ray",
    Likeness => "likeness", Nothing => "nothing",
});

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasisWhy {
    pub by: By,
    pub sentence: String,
    /// What it would take to be surer; `None` where it cannot be.
    pub not_stronger: Option<String>,
}

pub fn basis(joined: &Joined, group: &Group) -> BasisWhy {
    let legs = &joined.legs;
    let (Some(&client), Some(&server)) = (group.clients.first(), group.servers.last()) else {
        return one_sided(joined, group);
    };
    if at_edge(&legs[client]) {
        return edge(group, &legs[client], &legs[server]);
    }
    match group.basis {
        Basis::Inferred => inferred(joined, group, client, server),
        _ => certain(joined, group, client, server),
    }
}

fn one_sided(joined: &Joined, group: &Group) -> BasisWhy {
    let legs = &joined.legs;
    let own: Vec<&Leg> = group.members().map(|p| &legs[p]).collect();
    if let [worker, zone] = own[..] {
        let sentence = format!(
            "the Worker {} tells of the subrequest and the zone saw it leave; no line of the callee's proxy is there",
            worker.observer.name
        );
        return BasisWhy {
            by: By::Ray,
            sentence,
            not_stronger: zone.ray.as_ref().map(|_| no_certificates()),
        };
    }
    let missing = match own.first().map(|l| l.side) {
        Some(crate::model::Side::Client) => "callee",
        _ => "caller",
    };
    let sentence = format!("one line only: no line of the {missing}'s side fits it");
    BasisWhy { by: By::Nothing, sentence, not_stronger: None }
}

fn no_certificates() -> String {
    "at the edge no certificate of the mesh is shown that could prove who sent it".to_owned()
}

fn edge(group: &Group, client: &Leg, server: &Leg) -> BasisWhy {
    if client.observer.kind == ObserverKind::Zone {
        let ray =
            client.ray.as_deref().or(server.ray.as_deref()).unwrap_or("that the visitor's request was given");
        let sentence =
            format!("the zone's record and the line of {} carry the ray {ray}", server.observer.name);
        return BasisWhy { by: By::Ray, sentence, not_stronger: Some(no_certificates()) };
    }
    let what = format!("what the Worker {} sent with this subrequest alone", client.observer.name);
    if group.basis == Basis::Inferred && server.shows_headers() && server.header.is_none() {
        let sentence = format!(
            "this line of {} carries {what}, but not the header that the edge signs: it may be a copy of the one that does, whose \
             own line has lost its ids",
            server.observer.name
        );
        let not_stronger = Some("the signed header on the gateway's line would settle it".to_owned());
        return BasisWhy { by: By::Subrequest, sentence, not_stronger };
    }
    if group.basis == Basis::Inferred {
        let sentence = format!(
            "another line carries a copy of {what}; of the lines that do, this one of {} fits the time best",
            server.observer.name
        );
        let not_stronger = Some("what would tell the copies apart stands on neither line".to_owned());
        return BasisWhy { by: By::Subrequest, sentence, not_stronger };
    }
    let sentence = format!("{what} stands on this line of {} and on no other", server.observer.name);
    BasisWhy { by: By::Subrequest, sentence, not_stronger: Some(no_certificates()) }
}

/// `proven` or `keyed`, inside the mesh.
fn certain(joined: &Joined, group: &Group, client: usize, last: usize) -> BasisWhy {
    let legs = &joined.legs;
    let (own, server) = (&legs[client], &legs[last]);
    let certificates = group.servers.iter().all(|&s| both_verified(own, &legs[s]));
    let lines = words::count(group.servers.len(), "server line", "server lines");
    let verified = if certificates { "; the certificates agree on both parties" } else { "" };
    if own.hop.is_some() && group.servers.iter().all(|&s| legs[s].hop == own.hop) {
        let hop = own.hop.as_deref().unwrap_or_default();
        let sentence = format!(
            "the hop id {hop} stands on this client line and on {lines}, and on no other that could be meant{verified}"
        );
        return BasisWhy { by: By::Hop, sentence, not_stronger: unless(certificates) };
    }
    // A pair that its connection explains would be proven if the certificates are there; what is only keyed is so by its id.
    let by_socket = group.basis == Basis::Proven
        || (!certificates && own.socket.is_some() && own.socket == server.socket);
    if by_socket && group.servers.len() == 1 && matches!(own.protocol, Protocol::Http1 | Protocol::Tcp) {
        let connection = own.socket.as_ref().map(words::connection).unwrap_or_default();
        let sentence = format!(
            "{} carries one request at a time, and no other on the connection {connection} can be meant{verified}",
            name_of(own.protocol)
        );
        return BasisWhy { by: By::Connection, sentence, not_stronger: unless(certificates) };
    }
    let id = own.request_id.as_deref().unwrap_or_default();
    let attempts = match own.attempts {
        Some(told @ 2..) => format!(", which tells of {told} attempts,"),
        _ => String::new(),
    };
    let sentence = format!(
        "the request id {id} stands on this client line{attempts} and on {lines}, and on no other that could be meant{verified}"
    );
    BasisWhy {
        by: By::RequestId,
        sentence,
        not_stronger: Some(why_only_keyed(group, own, server, certificates)),
    }
}

fn unless(certificates: bool) -> Option<String> {
    (!certificates).then(|| "not both lines print both certificates".to_owned())
}

fn why_only_keyed(group: &Group, own: &Leg, server: &Leg, certificates: bool) -> String {
    if !certificates {
        return "not both lines print both certificates".to_owned();
    }
    if group.servers.len() > 1 {
        return "the client's line names the connection of its last attempt alone: nothing but the id ties the earlier ones, \
                and an application may hand an id on to another request"
            .to_owned();
    }
    if own.socket.is_none() || server.socket.is_none() {
        return "not both lines name the connection".to_owned();
    }
    if own.socket != server.socket {
        return "the two ends name different connections".to_owned();
    }
    match own.protocol {
        Protocol::Http2 => {
            "an HTTP/2 connection carries many requests at a time, and an application may hand an id on"
                .to_owned()
        }
        _ => "another request on the same connection could have been meant by its time".to_owned(),
    }
}

fn name_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
        Protocol::Http3 => "HTTP/3",
        Protocol::Tcp => "a TCP connection",
        Protocol::Event | Protocol::Unknown => "the connection",
    }
}

/// Whether nothing but that a line is missing keeps the pair from being `keyed`.
fn lacks_lines(joined: &Joined, group: &Group, client: usize) -> bool {
    let in_mesh = |side: Side| {
        (0..joined.compared.len()).filter(move |&p| joined.in_mesh[p] && joined.compared[p].side == side)
    };
    let (clients, servers): (Vec<usize>, Vec<usize>) =
        (in_mesh(Side::Client).collect(), in_mesh(Side::Server).collect());
    let mut rivals = Rivals::new(&joined.compared, &clients, &servers, joined.times());
    let single = |&&place: &&usize| joined.group_of(place).basis == Basis::Single;
    rivals.note_alone(clients.iter().chain(&servers).filter(single).copied());
    rivals.none_with_request(client, &group.servers) && rivals.may_be_missing(client, &group.servers)
}

fn without_lost_lines(shared: &str, confidence: f64) -> BasisWhy {
    let sentence = format!(
        "the two share {shared}, and no other line here can be meant; but a line of the same request is missing from the log of one of \
         the two proxies, so that both ends of another such call may be missing as well; confidence {confidence:.2}"
    );
    let not_stronger = Some("no id on the lines is this pair's alone; a hop id would be".to_owned());
    BasisWhy { by: By::RequestId, sentence, not_stronger }
}

fn inferred(joined: &Joined, group: &Group, client: usize, server: usize) -> BasisWhy {
    let (own, other) = (&joined.legs[client], &joined.legs[server]);
    let choice = group.choices.iter().find(|(s, _)| *s == server).map(|(_, c)| *c);
    let shared = named(&ties(own, other));
    let confidence = f64::from(group.confidence_ppm) / 1e6;
    if alike::is_alike(group, own, other) {
        return alike::basis(group, own, other);
    }
    if name_other_sockets(own, other) {
        let ends = [own, other].map(|l| l.socket.as_ref().map(words::connection).unwrap_or_default());
        let sentence = format!(
            "the two share {shared}, but the client's line names the connection {} and the server's {}: something between them \
             rewrites addresses, or another request carries a copy; confidence {confidence:.2}",
            ends[0], ends[1]
        );
        let by = if own.hop.is_some() && own.hop == other.hop { By::Hop } else { By::RequestId };
        let not_stronger = Some("two ends that name one connection would settle it".to_owned());
        return BasisWhy { by, sentence, not_stronger };
    }
    let Some(choice) = choice else {
        let sentence = format!("the two share {shared}, and so do others; confidence {confidence:.2}");
        return BasisWhy { by: By::Trace, sentence, not_stronger: None };
    };
    if lacks_lines(joined, group, client) {
        return without_lost_lines(&shared, confidence);
    }
    let rows = format!(
        "{} and {}",
        words::count(choice.clients, "client line", "client lines"),
        words::count(choice.servers, "server line", "server lines")
    );
    let evenness = match (choice.rule, own.protocol, choice.clients == choice.servers) {
        (Rule::Trace, ..) => "only what many calls have in common ties them",
        (_, Protocol::Http1, _) => {
            "HTTP/1.1 carries one request at a time, so that only a lost line could shift the rows"
        }
        (_, _, true) => "the rows are equally long, so that no line seems to be lost",
        (_, _, false) => "the rows are not equally long: where a line is lost, they are shifted",
    };
    let by = if choice.rule == Rule::Trace { By::Trace } else { By::Order };
    let how = match (choice.rule, own.protocol) {
        (Rule::Trace, _) => "parties, request and time decided".to_owned(),
        (Rule::Request, _) => "order and time decided".to_owned(),
        (_, protocol) => format!("their order on one {} connection decided", name_of(protocol)),
    };
    let alike = match group.ambiguous {
        0 | 1 => String::new(),
        n => format!(
            ". {n} calls are alike in all but time, status and size: however they are paired, who called whom, for whom and by \
             whose leave is the same"
        ),
    };
    let sentence =
        format!("{rows} share {shared}: {how}; confidence {confidence:.2}, since {evenness}{alike}");
    let not_stronger = Some("no id on the lines is this pair's alone; a hop id would be".to_owned());
    BasisWhy { by, sentence, not_stronger }
}
