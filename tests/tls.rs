//! Through TLS, as behind a company's proxy: the command line asks a server, the server tells a collector. Certificates are
//! checked, and without TLS none are needed.

mod common;

use common::collector::{Export, collector};
use common::{Backend, Serve};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A certificate authority, whose root is a file.
struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { directory: tempfile::tempdir().unwrap(), issuer };
        std::fs::write(authority.root(), authority.issuer.pem()).unwrap();
        authority
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// Listens with a certificate for 127.0.0.1, and hands what it decrypts to the address.
    fn proxy(&self, to: SocketAddr) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(pass_on(listener, acceptor, to));
        });
        address
    }
}

async fn pass_on(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut onward = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        });
    }
}

/// The command on a server, by a machine that trusts these certificates and no others.
fn ask(arguments: &[&str], server: &str, trusted: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
    Backend::sqlite().point(&mut command);
    command
        .args(arguments)
        .args(["--server", server])
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR");
    command.output().unwrap()
}

#[test]
fn a_server_behind_tls_is_asked_and_fed_by_its_https_address() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    let authority = Authority::new();
    let base = format!("https://{}", authority.proxy(server.address));
    let lines = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/crash/web-calls-api.client.jsonl");
    let imported = ask(&["import", "--source", "mesh", lines], &base, &authority.root());
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    server.wait_for("/v1/calls", |page| page["complete"] == true);
    let calls = ask(&["calls", "--format", "ndjson"], &base, &authority.root());
    assert!(calls.status.success(), "{}", String::from_utf8_lossy(&calls.stderr));
    assert_eq!(String::from_utf8_lossy(&calls.stdout).lines().count(), 1);
}

#[test]
fn a_certificate_of_somebody_else_is_refused_and_said_to_be_the_reason() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    let base = format!("https://{}", Authority::new().proxy(server.address));
    let refused = ask(&["calls"], &base, &Authority::new().root());
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("certificate") && said.contains(&base), "{said}");
}

#[test]
fn a_machine_without_any_certificates_still_speaks_plain_http() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    let answer =
        ask(&["calls"], &format!("http://{}", server.address), &backend.directory().join("none.pem"));
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
}

#[test]
fn a_collector_behind_tls_gets_spans_and_metrics() {
    let (address, exports) = collector();
    let authority = Authority::new();
    let endpoint = format!("https://{}", authority.proxy(address));
    let backend = Backend::sqlite();
    let root = authority.root();
    let serve = Serve::on(&backend).env("SSL_CERT_FILE", root.to_str().unwrap());
    let mut server = serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).start();
    assert!(server.terminate().success(), "{}", server.log());
    let exports: Vec<Export> = exports.try_iter().collect();
    for path in ["/v1/traces", "/v1/metrics"] {
        assert!(exports.iter().any(|export| export.path == path), "nothing came to {path}: {}", server.log());
    }
}
