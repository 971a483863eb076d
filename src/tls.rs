//! TLS of the requests that calltrail itself makes: to another calltrail, to a collector. It serves none: a proxy does.
//!
//! Whom to trust is the machine's matter: its own certificates are used, or those that `SSL_CERT_FILE` names.

use reqwest::{Client, ClientBuilder, blocking};
use std::time::Duration;

/// To begin a client for this address. Where no TLS is spoken no certificates are looked for: an image without any must do.
pub fn client(url: &str) -> ClientBuilder {
    install_cryptography();
    if is_secure(url) { Client::builder() } else { Client::builder().tls_certs_only([]) }
}

/// A client for these addresses and whoever has no runtime. It is built on a thread of its own, where it may block.
pub fn blocking_client(urls: Vec<String>, timeout: Duration) -> anyhow::Result<blocking::Client> {
    install_cryptography();
    let build = move || {
        let builder = blocking::Client::builder().timeout(timeout);
        let secure = urls.iter().any(|url| is_secure(url));
        if secure { builder.build() } else { builder.tls_certs_only([]).build() }
    };
    Ok(std::thread::spawn(build).join().map_err(|_| anyhow::anyhow!("the client cannot be built"))??)
}

/// Every client needs it, also one that speaks no TLS. A second time it is there already, which is no fault.
fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn is_secure(url: &str) -> bool {
    url.trim_start().get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}
