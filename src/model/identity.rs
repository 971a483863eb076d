//! Who a party is, and how we know.
//!
//! Identity is never guessed upward: [`Assurance`] travels with every identity, and what was verified in a handshake is never
//! mixed with what a name in a header or a cluster asserts. For services the *full* SPIFFE id counts; [`Identity::name`] is
//! for display and for filters that a person types.

use std::fmt;
use std::str::FromStr;

/// What sort of party it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    User,
    Service,
    Worker,
    Gateway,
    External,
    Unknown,
}

/// How an identity is known, strongest first (so `Mtls < None` in the derived order: use [`Assurance::stronger_than`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// The observer saw the certificate in the handshake.
    Mtls,
    /// A token verified by the Worker or the sidecar.
    Jwt,
    /// A calltrail header with a valid signature.
    Signed,
    /// A name from configuration, a cluster or a server name.
    Asserted,
    /// Only an IP address.
    Address,
    /// Nothing at all.
    None,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),+];
            /// The word used in SQL, metrics, API and docs alike.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }
        impl std::str::FromStr for $type {
            type Err = String;
            /// The error is the list of the words that are accepted.
            fn from_str(text: &str) -> Result<Self, String> {
                match text { $($word => Ok($type::$variant),)+
                    _ => Err(format!("expected one of {}", [$($word),+].join(", "))) }
            }
        }
    };
}
pub(crate) use words;

words!(IdentityKind {
    User => "user", Service => "service", Worker => "worker", Gateway => "gateway", External => "external", Unknown => "unknown",
});
words!(Assurance {
    Mtls => "mtls", Jwt => "jwt", Signed => "signed", Asserted => "asserted", Address => "address", None => "none",
});

impl Assurance {
    pub fn stronger_than(self, other: Assurance) -> bool {
        self < other
    }

    /// Proven by cryptography, not by somebody's word.
    pub fn is_verified(self) -> bool {
        self <= Assurance::Signed
    }
}

/// A party of a call, as one side saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub kind: IdentityKind,
    /// Short name for people: the service, the Worker's script, the gateway, an address.
    pub name: String,
    /// Present for mesh parties whose certificate or full cluster name was seen.
    pub spiffe_id: Option<SpiffeId>,
    pub assurance: Assurance,
}

impl Identity {
    pub fn unknown() -> Self {
        Identity {
            kind: IdentityKind::Unknown,
            name: "unknown".to_owned(),
            spiffe_id: None,
            assurance: Assurance::None,
        }
    }

    /// What two sides must agree on: the SPIFFE id where both know it, else the name. `None` when one side knows nothing, or only
    /// what may be the name of an instance.
    pub fn agrees_with(&self, other: &Identity) -> Option<bool> {
        match (&self.spiffe_id, &other.spiffe_id) {
            (Some(a), Some(b)) => Some(a == b),
            _ if self.assurance >= Assurance::Address || other.assurance >= Assurance::Address => None,
            _ if is_instance(&self.name, &other.name) || is_instance(&other.name, &self.name) => None,
            _ => Some(self.name == other.name),
        }
    }

    /// The text by which this party is grouped and compared: the SPIFFE id, else kind and name.
    pub fn key(&self) -> String {
        match &self.spiffe_id {
            Some(id) => id.as_str().to_owned(),
            None => format!("{}:{}", self.kind, self.name),
        }
    }

    /// The party that a [`Identity::key`] names; `None` for what is none.
    pub fn of_key(key: &str, assurance: Assurance) -> Option<Identity> {
        if let Ok(id) = key.parse::<SpiffeId>() {
            let kind = if id.is_mesh_gateway() { IdentityKind::Gateway } else { IdentityKind::Service };
            return Some(Identity { kind, name: id.short_name().to_owned(), spiffe_id: Some(id), assurance });
        }
        let (kind, name) = key.split_once(':')?;
        Some(Identity { kind: kind.parse().ok()?, name: name.to_owned(), spiffe_id: None, assurance })
    }
}

/// Whether `name` may be an instance of the service: Consul's service ids are by custom the service's name and a number.
fn is_instance(name: &str, service: &str) -> bool {
    name.strip_prefix(service).is_some_and(|rest| rest.starts_with('-'))
}

/// A SPIFFE id as Consul issues it.
///
/// Forms read: `spiffe://<trust-domain>[/ap/<partition>]/ns/<namespace>/dc/<datacenter>/svc/<service>`,
/// `spiffe://<td>[/ap/<partition>]/gateway/mesh/dc/<datacenter>`, `.../agent/client/dc/<dc>/id/<node>` and any other valid
/// path, whose last segment then serves as the name. Sources: SPIFFE-ID section 2, Consul `agent/connect/uri*.go`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

/// Why a text is not a SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a SPIFFE id: {why}")]
pub struct ParseSpiffeIdError {
    text: String,
    why: &'static str,
}

impl SpiffeId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn trust_domain(&self) -> &str {
        self.0["spiffe://".len()..].split('/').next().unwrap_or("")
    }

    fn segment_after(&self, label: &str) -> Option<&str> {
        let mut segments = self.0["spiffe://".len()..].split('/').skip(1);
        while let Some(segment) = segments.next() {
            let value = segments.next();
            if segment == label {
                return value;
            }
        }
        None
    }

    /// Consul's admin partition, `default` when the id names none.
    pub fn partition(&self) -> &str {
        self.segment_after("ap").unwrap_or("default")
    }

    pub fn namespace(&self) -> Option<&str> {
        self.segment_after("ns")
    }

    pub fn datacenter(&self) -> Option<&str> {
        self.segment_after("dc")
    }

    pub fn service(&self) -> Option<&str> {
        self.segment_after("svc")
    }

    pub fn is_mesh_gateway(&self) -> bool {
        self.segment_after("gateway") == Some("mesh")
    }

    /// Short name: the service, `mesh-gateway`, or the last segment of the path.
    pub fn short_name(&self) -> &str {
        if self.is_mesh_gateway() {
            return "mesh-gateway";
        }
        self.service().or_else(|| self.0.rsplit('/').next()).unwrap_or("")
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SpiffeId {
    type Err = ParseSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| ParseSpiffeIdError { text: text.chars().take(200).collect(), why };
        if text.len() > 2048 {
            return Err(error("longer than 2048 bytes"));
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| error("it does not start with spiffe://"))?;
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        let domain_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
        if domain.is_empty() || !domain.bytes().all(domain_char) {
            return Err(error("the trust domain may hold only a-z, 0-9, '.', '-' and '_'"));
        }
        let path_char = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
        let segment_ok = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(path_char);
        if rest.contains('/') && !path.split('/').all(segment_ok) {
            return Err(error("a path segment is empty, a dot, or holds a character that is not allowed"));
        }
        Ok(SpiffeId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consul_service_id_gives_its_parts() {
        let id: SpiffeId = "spiffe://0e76.consul/ap/east/ns/default/dc/dc1/svc/billing".parse().unwrap();
        assert_eq!(id.trust_domain(), "0e76.consul");
        assert_eq!(id.partition(), "east");
        assert_eq!(
            (id.namespace(), id.datacenter(), id.service()),
            (Some("default"), Some("dc1"), Some("billing"))
        );
        assert_eq!(id.short_name(), "billing");
    }

    #[test]
    fn a_service_named_svc_is_not_mistaken_for_a_label() {
        let id: SpiffeId = "spiffe://td/ns/svc/dc/dc1/svc/api".parse().unwrap();
        assert_eq!(id.namespace(), Some("svc"));
        assert_eq!(id.service(), Some("api"));
    }

    #[test]
    fn a_mesh_gateway_id_is_named_so() {
        let id: SpiffeId = "spiffe://td.consul/gateway/mesh/dc/dc1".parse().unwrap();
        assert_eq!(id.short_name(), "mesh-gateway");
    }

    #[test]
    fn what_is_no_spiffe_id_says_why() {
        for (bad, why) in [
            ("https://td/x", "start with spiffe://"),
            ("spiffe://TD/x", "trust domain"),
            ("spiffe:///x", "trust domain"),
            ("spiffe://td/a//b", "segment"),
            ("spiffe://td/../b", "segment"),
            ("spiffe://td/a%2fb", "segment"),
        ] {
            let error = bad.parse::<SpiffeId>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn assurance_orders_from_certificate_to_nothing() {
        assert!(Assurance::Mtls.stronger_than(Assurance::Jwt));
        assert!(Assurance::Signed.is_verified() && !Assurance::Asserted.is_verified());
    }
}
