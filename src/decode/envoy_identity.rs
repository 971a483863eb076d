//! Who wrote an Envoy line and who the parties are, each with how the line knows it.
//!
//! `mtls` only for a certificate that this proxy saw in a handshake. Without one there is the name that a configuration
//! asserts (node, cluster), then an address, then nothing. Never a guess upward.

use super::consul::{self, ClusterName};
use super::envoy_wire::EnvoyLine;
use super::line::Line;
use crate::model::{Assurance, Identity, IdentityKind, Observer, ObserverKind, SpiffeId};

const SIDECAR_SUFFIX: &str = "-sidecar-proxy";

/// What the proxy did with the request, and so which legs its line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A sidecar handed it to its own application.
    Inbound,
    /// A sidecar sent it for its own application.
    Outbound,
    /// Took it from outside the mesh and sent it into it.
    ApiGateway,
    /// Took it from the mesh and sent it to a service outside.
    TerminatingGateway,
}

/// The proxy's id, where anybody says it: the line, a wrapper, or the upload.
pub fn proxy_name<'l>(wire: &'l EnvoyLine<'_>, line: &'l Line<'_>) -> Option<&'l str> {
    wire.node_id.get().or(line.proxy)
}

pub fn role(wire: &EnvoyLine<'_>, line: &Line<'_>) -> Role {
    let local_app = wire.upstream_cluster.get().is_some_and(consul::is_local_app);
    let sidecar = proxy_name(wire, line).is_none_or(|name| name.ends_with(SIDECAR_SUFFIX));
    if is_inbound(wire, sidecar) {
        let at_gateway = !sidecar && !local_app && wire.upstream_cluster.get().is_some();
        return if at_gateway { Role::TerminatingGateway } else { Role::Inbound };
    }
    if sidecar { Role::Outbound } else { Role::ApiGateway }
}

fn is_inbound(wire: &EnvoyLine<'_>, sidecar: bool) -> bool {
    match wire.direction.get() {
        Some("1") => true,
        Some("2") => false,
        Some(word) if word.eq_ignore_ascii_case("inbound") => true,
        Some(word) if word.eq_ignore_ascii_case("outbound") => false,
        // Consul's default format does not say. A terminating gateway is told by the server name that its caller asked for:
        // it is the cluster to which the connection goes on.
        _ => match (wire.upstream_cluster.get(), wire.requested_server_name.get()) {
            (Some(cluster), _) if consul::is_local_app(cluster) => true,
            (Some(cluster), Some(server_name)) => !sidecar && cluster == server_name,
            _ => false,
        },
    }
}

pub fn observer(wire: &EnvoyLine<'_>, line: &Line<'_>, role: Role) -> Observer {
    let kind = match role {
        Role::Inbound | Role::Outbound => ObserverKind::Sidecar,
        Role::ApiGateway | Role::TerminatingGateway => ObserverKind::Gateway,
    };
    let name = proxy_name(wire, line).or(wire.node_cluster.get()).unwrap_or("unknown");
    Observer { kind, name: name.to_owned() }
}

/// A party whose certificate the proxy saw. Several URI SANs are listed with commas; the first SPIFFE id counts.
pub fn verified(san: Option<&str>) -> Option<Identity> {
    let id = san?.split(',').find_map(|san| san.trim().parse::<SpiffeId>().ok())?;
    let kind = if id.is_mesh_gateway() { IdentityKind::Gateway } else { IdentityKind::Service };
    Some(Identity { kind, name: id.short_name().to_owned(), spiffe_id: Some(id), assurance: Assurance::Mtls })
}

/// The proxy's own workload by its configuration: the node's cluster is the service's name, and Consul's usual id of a sidecar
/// begins with it.
pub fn own_name(wire: &EnvoyLine<'_>, line: &Line<'_>, kind: IdentityKind) -> Option<Identity> {
    let by_id = || proxy_name(wire, line).map(|id| id.strip_suffix(SIDECAR_SUFFIX).unwrap_or(id));
    let name = wire.node_cluster.get().or_else(by_id)?;
    Some(asserted(kind, name, None))
}

/// The callee as the caller's configuration names it.
pub fn by_cluster(cluster: Option<&str>, kind: IdentityKind) -> Option<Identity> {
    let cluster = cluster.filter(|name| *name != "original-destination")?;
    Some(match ClusterName::parse(cluster) {
        Some(name) if kind == IdentityKind::External => asserted(kind, name.service, None),
        Some(name) => asserted(kind, name.service, name.spiffe_id()),
        None => asserted(kind, cluster, None),
    })
}

/// A party of whom only the address is known, shown without its port.
pub fn by_address(address: Option<&str>) -> Option<Identity> {
    let address = address?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    Some(Identity {
        kind: IdentityKind::Unknown,
        name: host.trim_matches(['[', ']']).to_owned(),
        spiffe_id: None,
        assurance: Assurance::Address,
    })
}

fn asserted(kind: IdentityKind, name: &str, spiffe_id: Option<SpiffeId>) -> Identity {
    Identity { kind, name: name.to_owned(), spiffe_id, assurance: Assurance::Asserted }
}
