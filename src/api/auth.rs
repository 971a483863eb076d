//! Who may ask and who may send: bearer tokens with scopes.
//!
//! A token is 256 random bits; only its SHA-256 is stored and compared, in constant time. Without any token the server is open
//! on loopback and only there; with the first token every request needs one. It never logs or echoes what was presented.

use super::error::ApiError;
use crate::model::Timestamp;
use crate::store::{Store, StoreError, TokenRow};
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Mutex;

/// Senders that cannot set `Authorization` (or whose proxy eats it) use this header.
pub const TOKEN_HEADER: &str = "x-calltrail-token";
/// How long a revoked token may still be good.
const REREAD: Duration = Duration::from_secs(2);

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    Ingest(&'a str),
    Read,
}

/// What a token allows, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One source, or all of them (`*`).
    Ingest(String),
    Read,
    Admin,
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Scope::Read),
            "admin" => Ok(Scope::Admin),
            _ => match text.strip_prefix("ingest:") {
                Some(name) if name == "*" || crate::model::delivery::is_source_name(name) => {
                    Ok(Scope::Ingest(name.to_owned()))
                }
                _ => Err("write ingest:NAME (or ingest:* for every source), read or admin".to_owned()),
            },
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Ingest(name) => write!(f, "ingest:{name}"),
            Scope::Read => f.write_str("read"),
            Scope::Admin => f.write_str("admin"),
        }
    }
}

impl Scope {
    pub fn allows(&self, need: Need<'_>) -> bool {
        match (self, need) {
            (Scope::Admin, _) | (Scope::Read, Need::Read) => true,
            (Scope::Ingest(name), Need::Ingest(source)) => name == "*" || name == source,
            _ => false,
        }
    }
}

/// A new token: what is stored, and the secret, which is shown once and never kept.
pub fn mint(name: String, scopes: &[Scope], created_at: Timestamp) -> (TokenRow, String) {
    let secret = format!("ct_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let scopes = scopes.iter().map(ToString::to_string).collect();
    (TokenRow { name, sha256: Sha256::digest(&secret).into(), scopes, created_at }, secret)
}

/// The token of a request: `Authorization: Bearer`, else `x-calltrail-token`, else (uploads only) the parameter `token`.
pub fn presented(headers: &HeaderMap, parameter: Option<&str>) -> Result<Option<String>, ApiError> {
    let text = |name: &str| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    if let Some(authorization) = text(header::AUTHORIZATION.as_str()) {
        let bearer =
            authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match bearer {
            Some((_, token)) => Ok(Some(token.trim().to_owned())),
            None => Err(ApiError::Unauthenticated("write `Authorization: Bearer TOKEN`".to_owned())),
        };
    }
    Ok(text(TOKEN_HEADER).or_else(|| parameter.map(str::to_owned)))
}

struct Known {
    read_at: Instant,
    tokens: Arc<Vec<TokenRow>>,
}

/// Decides on each request.
pub struct Gate {
    store: Store,
    loopback: bool,
    known: Mutex<Option<Known>>,
}

impl Gate {
    pub fn new(store: Store, listen: IpAddr) -> Self {
        Gate { store, loopback: listen.is_loopback(), known: Mutex::new(None) }
    }

    /// Refuses to open a server to others that anybody could use.
    pub async fn may_start(&self) -> Result<bool, StoreError> {
        Ok(self.loopback || !self.tokens().await?.is_empty())
    }

    async fn tokens(&self) -> Result<Arc<Vec<TokenRow>>, StoreError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|k| k.read_at.elapsed() < REREAD) {
            return Ok(known.tokens.clone());
        }
        match self.store.tokens().await {
            Ok(tokens) => {
                let tokens = Arc::new(tokens);
                *known = Some(Known { read_at: Instant::now(), tokens: tokens.clone() });
                Ok(tokens)
            }
            // A database that is away for a moment takes nobody's rights away, and gives nobody any.
            Err(error) => known.as_ref().map(|k| k.tokens.clone()).ok_or(error),
        }
    }

    pub async fn check(
        &self,
        headers: &HeaderMap,
        token: Option<&str>,
        need: Need<'_>,
    ) -> Result<(), ApiError> {
        let tokens = self.tokens().await?;
        if tokens.is_empty() && self.loopback {
            return no_rebinding(headers);
        }
        let Some(token) = token else {
            return Err(ApiError::Unauthenticated(format!(
                "send `Authorization: Bearer TOKEN`; {}",
                how_to(need)
            )));
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        // Looks at every row, so that the time does not tell which one matched.
        let matching = tokens.iter().fold(None, |found, row| {
            let equal: Choice = row.sha256.ct_eq(&digest);
            if bool::from(equal) { Some(row) } else { found }
        });
        let Some(row) = matching else {
            let what = format!("the token is not known or was revoked; {}", how_to(need));
            return Err(ApiError::Unauthenticated(what));
        };
        let scopes = row.scopes.iter().filter_map(|s| s.parse::<Scope>().ok());
        if scopes.into_iter().any(|s| s.allows(need)) {
            return Ok(());
        }
        let have = row.scopes.join(", ");
        Err(ApiError::Forbidden(format!("this token's scope is {have}; {}", how_to(need))))
    }
}

fn how_to(need: Need<'_>) -> String {
    let scope = match need {
        Need::Ingest(source) => format!("ingest:{source}"),
        Need::Read => "read".to_owned(),
    };
    format!("`calltrail token create --scope {scope}` makes one")
}

/// An open server on loopback answers to `localhost` and to addresses only: a web page whose name has been pointed at 127.0.0.1
/// reaches the port, but not with such a `Host`. A page of another origin may not post either.
fn no_rebinding(headers: &HeaderMap) -> Result<(), ApiError> {
    let named = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let origin = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok());
    let origin_host = origin.map(|o| o.split_once("://").map_or(o, |(_, host)| host));
    let host_ok = named.is_none_or(|h| is_local_name(h) || address(h).is_some());
    let origin_ok =
        origin_host.is_none_or(|h| is_local_name(h) || address(h).is_some_and(|a| a.is_loopback()));
    if host_ok && origin_ok {
        return Ok(());
    }
    Err(ApiError::Forbidden(
        "without tokens only localhost or an address is answered; create a token (`calltrail token create --scope read`) \
         to use another name"
            .to_owned(),
    ))
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    }
}

fn is_local_name(host: &str) -> bool {
    without_port(host).eq_ignore_ascii_case("localhost")
}

fn address(host: &str) -> Option<IpAddr> {
    without_port(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_allow_what_they_say_and_no_more() {
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        assert!(scope("ingest:mesh").allows(Need::Ingest("mesh")));
        assert!(!scope("ingest:mesh").allows(Need::Ingest("mesh2")));
        assert!(!scope("ingest:mesh").allows(Need::Read));
        assert!(scope("ingest:*").allows(Need::Ingest("anything")));
        assert!(scope("read").allows(Need::Read) && !scope("read").allows(Need::Ingest("mesh")));
        assert!(scope("admin").allows(Need::Read) && scope("admin").allows(Need::Ingest("mesh")));
        assert!("write".parse::<Scope>().unwrap_err().contains("ingest:NAME"));
        assert!("ingest:a b".parse::<Scope>().is_err());
    }

    #[test]
    fn a_minted_token_is_long_and_kept_only_as_its_hash() {
        let (row, secret) = mint("grafana".to_owned(), &[Scope::Read], Timestamp(0));
        assert!(secret.starts_with("ct_") && secret.len() == 3 + 43, "{}", secret.len());
        assert_eq!(row.sha256, <[u8; 32]>::from(Sha256::digest(&secret)));
        assert_eq!(row.scopes, ["read"]);
        assert_ne!(secret, mint("grafana".to_owned(), &[Scope::Read], Timestamp(0)).1);
    }

    #[test]
    fn a_name_pointed_at_loopback_is_not_answered_by_an_open_server() {
        let with = |name, value: &str| HeaderMap::from_iter([(name, value.parse().unwrap())]);
        for good in ["127.0.0.1:7311", "localhost:7311", "[::1]:7311"] {
            assert_eq!(no_rebinding(&with(header::HOST, good)), Ok(()), "{good}");
        }
        assert!(no_rebinding(&with(header::HOST, "evil.example:7311")).is_err());
        assert!(no_rebinding(&with(header::ORIGIN, "https://evil.example")).is_err());
        assert!(no_rebinding(&with(header::ORIGIN, "http://203.0.113.5")).is_err());
        assert!(no_rebinding(&with(header::ORIGIN, "http://localhost:3000")).is_ok());
        assert!(no_rebinding(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_token_is_taken_from_the_bearer_header_first() {
        let mut headers = HeaderMap::new();
        assert_eq!(presented(&headers, Some("p")).unwrap().as_deref(), Some("p"));
        headers.insert(TOKEN_HEADER, "h".parse().unwrap());
        assert_eq!(presented(&headers, Some("p")).unwrap().as_deref(), Some("h"));
        headers.insert(header::AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(presented(&headers, Some("p")).unwrap().as_deref(), Some("b"));
        headers.insert(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert!(presented(&headers, None).is_err());
    }
}
