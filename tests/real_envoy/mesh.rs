//! web's sidecar, api's sidecar and api itself. The configuration is what Consul would send, cut down to what is logged:
//! cluster and listener names, directions, mutual TLS, an intention as an RBAC filter, and the access log format.

use super::certificates::{Authority, Leaf};
use super::common::required;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TRUST_DOMAIN: &str = "11111111-2222-3333-4444-555555555555.consul";
pub const WEB: &str = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web";
pub const API: &str = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/api";
const FORMAT: &str = include_str!("../../integrations/consul/access-log-format.json");

pub struct Mesh {
    web: Envoy,
    api: Envoy,
    entrance: SocketAddr,
    _files: TempDir,
}

impl Mesh {
    pub fn start() -> Mesh {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new(TRUST_DOMAIN, files.path());
        let (entrance, inner) = (free_address(), free_address());
        let application = run_application();
        let roots = authority.roots();
        let api = Sidecar { name: "api", files: files.path(), roots: &roots, leaf: authority.issue(API) };
        let api = api.start(inbound(&api, inner), cluster("local_app", application, None));
        let web = Sidecar { name: "web", files: files.path(), roots: &roots, leaf: authority.issue(WEB) };
        let upstream = format!("api.default.dc1.internal.{TRUST_DOMAIN}");
        let socket = web.transport_socket("UpstreamTlsContext", API);
        let web = web.start(outbound(entrance, &upstream), cluster(&upstream, inner, Some(socket)));
        [entrance, inner].into_iter().for_each(wait_until_taken);
        Mesh { web, api, entrance, _files: files }
    }

    /// Where web's application would send its requests for api.
    pub fn entrance(&self) -> SocketAddr {
        self.entrance
    }

    /// Stops both; what each has logged, the caller's sidecar first. Envoy writes its log out when it ends.
    pub fn stop(&mut self) -> (Vec<String>, Vec<String>) {
        (self.web.stop(), self.api.stop())
    }
}

struct Sidecar<'a> {
    name: &'a str,
    files: &'a Path,
    roots: &'a Path,
    leaf: Leaf,
}

impl Sidecar<'_> {
    fn start(&self, listener: Value, cluster: Value) -> Envoy {
        let config = json!({
            "node": { "id": format!("{}-sidecar-proxy", self.name), "cluster": self.name },
            "static_resources": { "listeners": [listener], "clusters": [cluster] },
        });
        Envoy::start(&self.files.join(format!("{}.json", self.name)), &config)
    }

    /// Consul's: own leaf, the roots, and only this peer.
    fn transport_socket(&self, context: &str, peer: &str) -> Value {
        let file = |path: &Path| json!({ "filename": path });
        json!({
            "name": "tls",
            "typed_config": {
                "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}"),
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": file(&self.leaf.certificate), "private_key": file(&self.leaf.key),
                    }],
                    "validation_context": {
                        "trusted_ca": file(self.roots),
                        "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": peer } }],
                    },
                },
            },
        })
    }
}

fn outbound(address: SocketAddr, upstream: &str) -> Value {
    listener(
        "api:127.0.0.1",
        "OUTBOUND",
        address,
        json!([{ "filters": [http_filter("upstream", upstream, &[])] }]),
    )
}

fn inbound(sidecar: &Sidecar, address: SocketAddr) -> Value {
    let mut socket = sidecar.transport_socket("DownstreamTlsContext", WEB);
    socket["typed_config"]["require_client_certificate"] = json!(true);
    let filter = http_filter("public_listener", "local_app", &[intention()]);
    listener(
        "public_listener:127.0.0.1",
        "INBOUND",
        address,
        json!([{ "filters": [filter], "transport_socket": socket }]),
    )
}

fn listener(name: &str, direction: &str, address: SocketAddr, filter_chains: Value) -> Value {
    json!({
        "name": format!("{name}:{}", address.port()),
        "address": socket_address(address),
        "traffic_direction": direction,
        "filter_chains": filter_chains,
    })
}

/// As Consul renders an intention by which web may call `/orders` of api and nothing else.
fn intention() -> Value {
    let path = json!({ "url_path": { "path": { "prefix": "/orders" } } });
    let caller = json!({ "authenticated": { "principal_name": { "exact": WEB } } });
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "ALLOW",
                "policies": { "consul-intentions-layer7-0": { "permissions": [path], "principals": [caller] } },
            },
        },
    })
}

fn http_filter(prefix: &str, cluster: &str, before: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters = [before, &[router]].concat();
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } });
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": prefix,
            "preserve_external_request_id": true,
            "route_config": { "virtual_hosts": [{ "name": prefix, "domains": ["*"], "routes": [route] }] },
            "http_filters": filters,
            "access_log": [{
                "name": "calltrail",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": { "json_format": serde_json::from_str::<Value>(FORMAT).unwrap() },
                },
            }],
        },
    })
}

fn cluster(name: &str, address: SocketAddr, transport_socket: Option<Value>) -> Value {
    let endpoint = json!({ "endpoint": { "address": socket_address(address) } });
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    if let Some(socket) = transport_socket {
        cluster["transport_socket"] = socket;
    }
    cluster
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// A running Envoy; its access log is its standard output.
struct Envoy {
    child: Child,
}

impl Envoy {
    /// Returns when it has taken its configuration; its workers listen a moment later.
    fn start(file: &Path, config: &Value) -> Envoy {
        std::fs::write(file, config.to_string()).unwrap();
        let mut command = Command::new(required("CALLTRAIL_TEST_ENVOY"));
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info", "-c"]).arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut envoy = Envoy { child: command.spawn().expect("CALLTRAIL_TEST_ENVOY names an Envoy") };
        let mut log = BufReader::new(envoy.child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = String::new();
        for line in log.by_ref() {
            if line.contains("starting main dispatch loop") || line.contains("starting workers") {
                std::thread::spawn(move || log.for_each(drop));
                return envoy;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("Envoy did not start:\n{seen}");
    }

    fn stop(&mut self) -> Vec<String> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let mut log = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        self.child.wait().unwrap();
        log.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// api itself: says the first part of the path to whoever asks.
fn run_application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(request) = lines.next() else { return };
                lines.find(String::is_empty);
                let path = request.split(' ').nth(1).unwrap_or_default();
                let name = path.trim_start_matches('/').split('?').next().unwrap_or_default();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}",
                    name.len()
                );
                let _ = (&stream).write_all(answer.as_bytes());
            });
        }
    });
    address
}

/// A connection that says nothing leaves no line in an access log.
fn wait_until_taken(address: SocketAddr) {
    let asked_first = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        assert!(
            asked_first.elapsed() < Duration::from_secs(60),
            "Envoy does not listen on {address}: {error}"
        );
        std::thread::yield_now();
    }
}

/// Below the ports that the system gives to outgoing connections, so that none of these takes it before Envoy does.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(15_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
