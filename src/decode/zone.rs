//! What a line of `http_requests` means: the zone saw a request on its way, from the visitor to the Worker or from the Worker to
//! its origin. An independent witness, not written by the Worker's code: its legs stand on the client side.
//!
//! It knows hosts and rays, not names: the Worker's script and the service behind the host are told by others.

use super::line::{Line, blank_leg, leg_id};
use super::zone_wire::HttpRequest;
use super::{http_fields, reject, timestamp};
use crate::model::{
    Assurance, Identity, IdentityKind, LegFields, Observer, ObserverKind, Protocol, Reject, Side,
};

const WHAT: &str = "an http_requests line";

pub fn decode(text: &str, line: &Line<'_>) -> Result<Vec<LegFields>, Reject> {
    let wire: HttpRequest = serde_json::from_str(text).map_err(|e| reject::json(&e, WHAT))?;
    let own = leg(&wire, line, None, "request");
    // Merged subrequests stand inside their parent's line, without having to repeat its ray.
    let (parent_ray, _) = http_fields::ray(wire.ray_id.get());
    let merged = wire.subrequests.0.iter().enumerate();
    let merged = merged.map(|(i, s)| leg(s, line, parent_ray.clone(), &format!("subrequest-{i}")));
    let (legs, bad): (Vec<_>, Vec<_>) = std::iter::once(own).chain(merged).partition(Result::is_ok);
    // One bad part must not cost the others: the line is a reject only where nothing of it can be read.
    match bad.into_iter().find_map(Result::err) {
        Some(reject) if legs.is_empty() => Err(reject),
        bad => {
            Ok(legs.into_iter().flatten().map(|leg| LegFields { truncated: bad.is_some(), ..leg }).collect())
        }
    }
}

fn leg(
    wire: &HttpRequest<'_>,
    line: &Line<'_>,
    merged_into: Option<String>,
    part: &str,
) -> Result<LegFields, Reject> {
    let written = wire.edge_start.get().ok_or_else(|| reject::missing(WHAT, "EdgeStartTimestamp"))?;
    let start = timestamp::parse(written)
        .ok_or_else(|| reject::invalid(WHAT, "EdgeStartTimestamp", "a time in one of Logpush's formats"))?;
    let (ray, colo) = http_fields::ray(wire.ray_id.get());
    let id = match &ray {
        // To the second: that is what the coarsest of the formats writes.
        Some(ray) => leg_id("zone", &[ray, &start.micros().div_euclid(1_000_000).to_string()]),
        None => line.own_leg_id(part),
    };
    let host = wire.host.get().unwrap_or("unknown");
    let observer = Observer { kind: ObserverKind::Zone, name: host.to_owned() };
    let mut leg = blank_leg(id, line, Side::Client, observer, start);
    (leg.ray, leg.colo) = (ray, colo.or(wire.edge_colo.owned()));
    leg.parent_ray = http_fields::ray(wire.parent_ray_id.get()).0.or(merged_into);
    let by_worker = wire.worker_subrequest.0 || leg.parent_ray.is_some();
    (leg.local, leg.peer) = parties(wire, by_worker);
    leg.protocol = protocol(wire.protocol.get());
    let end = wire.edge_end.get().and_then(timestamp::parse);
    leg.duration_us = end.map(|end| (end.micros() - start.micros()).max(0));
    leg.method = wire.method.owned();
    leg.authority = wire.host.owned();
    leg.path = wire.path.get().or(wire.uri.get()).map(http_fields::path);
    leg.status = http_fields::status(wire.edge_response_status.0);
    leg.response_body_bytes = wire.edge_response_body_bytes.unsigned();
    let headers = &wire.request_headers;
    leg.trace = http_fields::trace(headers.traceparent.get());
    leg.request_id = headers.request_id.owned();
    leg.hop = http_fields::hop(headers.hop.get());
    http_fields::set_principal_header(&mut leg, headers.principal.get());
    Ok(leg)
}

/// Caller and callee: the visitor and whatever Worker answers for the host, or some Worker and the host that it called.
fn parties(wire: &HttpRequest<'_>, by_worker: bool) -> (Identity, Identity) {
    let named =
        |kind, name: &str, assurance| Identity { kind, name: name.to_owned(), spiffe_id: None, assurance };
    let host = wire.host.get();
    let callee = |kind| host.map_or_else(Identity::unknown, |host| named(kind, host, Assurance::Asserted));
    if by_worker {
        return (named(IdentityKind::Worker, "worker", Assurance::None), callee(IdentityKind::External));
    }
    let visitor = wire.client_ip.get().map(|ip| named(IdentityKind::Unknown, ip, Assurance::Address));
    (visitor.unwrap_or_else(Identity::unknown), callee(IdentityKind::Worker))
}

fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("HTTP/1.1" | "HTTP/1.0") => Protocol::Http1,
        Some("HTTP/2") => Protocol::Http2,
        Some("HTTP/3") => Protocol::Http3,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Delivery, DeliveryId, Leg, Timestamp};

    fn legs(text: &str) -> Vec<Leg> {
        let lines = vec![text.as_bytes().to_vec()];
        let source = "zone".to_owned();
        let delivery =
            Delivery { id: DeliveryId([0; 32]), source, proxy: None, received_at: Timestamp(0), lines };
        crate::decode::decode_delivery(&delivery, 1).legs
    }

    /// Cloudflare's opt-in merging nests what used to be lines of their own.
    #[test]
    fn a_merged_subrequest_is_the_same_leg_as_a_line_of_its_own() {
        let own = r#""RayID":"9e1a1b3c4d6097e6","EdgeStartTimestamp":1795489010,"ClientRequestHost":"mesh.example.com""#;
        let alone = legs(&format!(r#"{{{own},"ParentRayID":"9e1a1b3c4d5fe1a1","WorkerSubrequest":true}}"#));
        let merged = legs(&format!(
            r#"{{"RayID":"9e1a1b3c4d5fe1a1","EdgeStartTimestamp":"1795489010","Subrequests":[{{{own}}}]}}"#
        ));
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[1].id, alone[0].id);
        assert_eq!(merged[1].parent_ray, alone[0].parent_ray);
        assert_eq!(merged[1].peer, alone[0].peer);
    }

    #[test]
    fn the_ids_do_not_depend_on_the_jobs_timestamp_format() {
        let at = |time: &str| {
            legs(&format!(r#"{{"RayID":"9e1a1b3c4d6097e6","EdgeStartTimestamp":{time}}}"#))[0].id
        };
        let in_unix = at("1795489010");
        for same in [
            "1795489010645",
            "1795489010645000000",
            "\"2026-11-24T02:56:50Z\"",
            "\"2026-11-24T02:56:50.645Z\"",
            "\"2026-11-24T02:56:50.645123456Z\"",
        ] {
            assert_eq!(at(same), in_unix, "{same}");
        }
        assert_ne!(at("1795489011"), in_unix);
    }

    #[test]
    fn a_bad_part_of_a_merged_line_does_not_cost_the_others() {
        let good = r#"{"RayID":"9e1a1b3c4d6097e6","EdgeStartTimestamp":1795489010}"#;
        let line = |start: &str, subrequests: &str| {
            legs(&format!(
                r#"{{"RayID":"9e1a1b3c4d5fe1a1","EdgeStartTimestamp":{start},"Subrequests":{subrequests}}}"#
            ))
        };
        let whole = line("1795489010", &format!("[{good}]"));
        assert_eq!((whole.len(), whole[0].truncated), (2, false));
        for (what, start, subrequests, expected) in [
            ("a subrequest without a time", "1795489010", format!(r#"[{{"RayID":"x"}},{good}]"#), 2),
            ("the only subrequest without a time", "1795489010", r#"[{"RayID":"x"}]"#.to_owned(), 1),
            ("a request without a time", "null", format!("[{good}]"), 1),
            ("nulls and scalars among them", "1795489010", format!(r#"[null,{good},"x",7]"#), 2),
        ] {
            let legs = line(start, &subrequests);
            assert_eq!(legs.len(), expected, "{what}: {legs:?}");
            assert!(legs.iter().all(|leg| leg.truncated), "{what}: the loss must show");
        }
        let merged = line("null", &format!("[{good}]"));
        assert_eq!(merged[0].parent_ray.as_deref(), Some("9e1a1b3c4d5fe1a1"));
        assert_eq!(line("1795489010", "\"\"").len(), 1, "no list of subrequests is none");
        assert_eq!(line("null", "[]").len(), 0);
    }
}
