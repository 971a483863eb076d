//! Names that Consul gives to Envoy clusters, which are also the server names of its TLS connections.
//!
//! `[subset.]service.namespace.dc.internal.trust-domain`, and with an admin partition other than `default`
//! `[subset.]service.namespace.partition.dc.internal-v1.trust-domain`. A prefix `what~` marks customised and failover clusters.
//! Source: Consul, `agent/connect/sni.go`.

use crate::model::SpiffeId;

/// A service as the caller's configuration names it: an assertion, proven by no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterName<'a> {
    pub subset: Option<&'a str>,
    pub service: &'a str,
    pub namespace: &'a str,
    /// `None`: the default partition, which names leave out.
    pub partition: Option<&'a str>,
    pub datacenter: &'a str,
    pub trust_domain: &'a str,
}

impl<'a> ClusterName<'a> {
    /// `None` where the text is no name of a service in the mesh (`local_app`, a prepared query, a peer's service).
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.rsplit_once('~').map_or(text, |(_, name)| name);
        let labels: Vec<&str> = text.split('.').collect();
        // A service may itself be called `internal`: the first place that leaves the right number of labels before it counts.
        (3..labels.len().min(6)).find_map(|at| Self::with_marker_at(text, &labels, at))
    }

    fn with_marker_at(text: &'a str, labels: &[&'a str], at: usize) -> Option<Self> {
        let partitioned = match labels[at] {
            "internal" => false,
            other => is_version(other.strip_prefix("internal-v")?).then_some(true)?,
        };
        let (before, after) = (&labels[..at], at + 1);
        if labels.iter().any(|label| label.is_empty()) || after >= labels.len() {
            return None;
        }
        let (subset, rest) = match (before.len(), partitioned) {
            (3, false) | (4, true) => (None, before),
            (4, false) | (5, true) => (Some(before[0]), &before[1..]),
            _ => return None,
        };
        let domain_start: usize = labels[..after].iter().map(|label| label.len() + 1).sum();
        Some(ClusterName {
            subset,
            service: rest[0],
            namespace: rest[1],
            partition: partitioned.then(|| rest[2]),
            datacenter: rest[rest.len() - 1],
            trust_domain: &text[domain_start..],
        })
    }

    /// The id that such a service's certificate would carry.
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        let partition = match self.partition {
            Some(partition) if partition != "default" => format!("/ap/{partition}"),
            _ => String::new(),
        };
        let ClusterName { trust_domain, namespace, datacenter, service, .. } = self;
        format!("spiffe://{trust_domain}{partition}/ns/{namespace}/dc/{datacenter}/svc/{service}")
            .parse()
            .ok()
    }
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The cluster of the application beside an inbound proxy, or of a path that it exposes without mTLS.
pub fn is_local_app(cluster: &str) -> bool {
    cluster.starts_with("local_app") || cluster.starts_with("exposed_cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<String> {
        ClusterName::parse(text).and_then(|name| name.spiffe_id()).map(|id| id.to_string())
    }

    #[test]
    fn a_cluster_name_gives_the_id_that_the_service_would_show() {
        for (text, expected) in [
            ("api.default.dc1.internal.890d.consul", "spiffe://890d.consul/ns/default/dc/dc1/svc/api"),
            ("v2.api.default.dc1.internal.890d.consul", "spiffe://890d.consul/ns/default/dc/dc1/svc/api"),
            (
                "api.team.east.dc1.internal-v1.890d.consul",
                "spiffe://890d.consul/ap/east/ns/team/dc/dc1/svc/api",
            ),
            (
                "v2.api.team.east.dc1.internal-v1.890d.consul",
                "spiffe://890d.consul/ap/east/ns/team/dc/dc1/svc/api",
            ),
            (
                "internal.default.dc1.internal.890d.consul",
                "spiffe://890d.consul/ns/default/dc/dc1/svc/internal",
            ),
            (
                "failover-target~0~db.default.dc2.internal.890d.consul",
                "spiffe://890d.consul/ns/default/dc/dc2/svc/db",
            ),
        ] {
            assert_eq!(id(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_service_of_the_mesh_gives_none() {
        for text in [
            "",
            "local_app",
            "original-destination",
            "dc1.internal.td",
            "api.default.dc1.internal",
            "a..b.internal.td",
            "api.default.dc1.query.td",
            "api.default.east.dc1.internal-vx.td",
            "a.b.c.d.e.f.internal.td",
        ] {
            assert_eq!(id(text), None, "{text}");
        }
    }

    #[test]
    fn a_subset_is_told_from_the_service() {
        let name = ClusterName::parse("v2.api.default.dc1.internal.td").unwrap();
        assert_eq!((name.subset, name.service), (Some("v2"), "api"));
    }
}
