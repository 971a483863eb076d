//! What an operator may tell the join: keys of the Worker's header, gateways, edge-fronted services, grace and bounds.
//!
//! The defaults are right for a mesh that nobody has described. Parsing the file is `config`'s work; here it is checked data.

/// A key with which the Worker signs `x-calltrail-principal`. Debug never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderKey {
    /// `None` for `v1` headers, which name no key.
    pub key_id: Option<String>,
    pub secret: KeyMaterial,
}

#[derive(Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    HmacSha256(Vec<u8>),
    /// Public key.
    Ed25519([u8; 32]),
}

impl std::fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderKey").field("key_id", &self.key_id).field("secret", &"[redacted]").finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub header_keys: Vec<HeaderKey>,
    /// Audience that a `v2` header must name; `None`: any.
    pub header_audience: Option<String>,
    /// Services (short names or SPIFFE ids) that may be reached only through the edge.
    pub edge_fronted: Vec<String>,
    /// Callers (short names or SPIFFE ids) that may reach edge-fronted services from inside the mesh.
    pub allowed_mesh_callers: Vec<String>,
    /// How long after a line's end more legs are expected.
    pub grace_us: i64,
    /// How far two observers' clocks may be apart before it is a finding, and the slack of every comparison between them.
    pub skew_bound_us: i64,
    /// A leaf certificate that lives longer than this is a finding.
    pub certificate_max_lifetime_us: Option<i64>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            header_keys: Vec::new(),
            header_audience: None,
            edge_fronted: Vec::new(),
            allowed_mesh_callers: Vec::new(),
            // Envoy flushes every 10 s, Logpush every 30 s or more, its uploads may take 300 s.
            grace_us: 120_000_000,
            skew_bound_us: 2_000_000,
            // Consul's default leaf lives 72 h.
            certificate_max_lifetime_us: None,
        }
    }
}
