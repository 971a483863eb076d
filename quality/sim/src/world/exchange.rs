//! One request between two proxies as it happened, before anybody has written it down and before it has a connection.

use super::headers::Headers;
use super::topology::{ProxyNo, ServiceNo};
use crate::records::CallNo;

/// What one side's line says of how it ended.
#[derive(Debug, Clone)]
pub struct Face {
    pub code: u16,
    pub flags: &'static str,
    pub details: Option<&'static str>,
    pub termination: Option<&'static str>,
    pub failure: Option<&'static str>,
    pub grpc_status: Option<u16>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub attempts: u32,
    pub verdict: Verdict,
    /// On the callee's side: whether its proxy chose and reached the application.
    pub app: App,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not a line that says: the caller's, or TCP.
    Unsaid,
    /// By the layer 4 intention, or by the layer 7 permission of that number.
    Allowed(Option<u8>),
    Denied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    Reached,
    /// Chosen, but it did not accept the connection.
    Refused,
    NotTried,
}

/// A connection between two ends.
#[derive(Debug, Clone, Copy)]
pub struct Socket {
    /// At the end that opened it.
    pub port: u16,
    /// As the proxy at the other end counts its connections.
    pub connection_id: u64,
    /// No two connections of a world share this, though ports are used again.
    pub serial: u64,
}

#[derive(Debug, Clone)]
pub struct Attempt {
    /// `None` where there was no endpoint to try.
    pub to: Option<ProxyNo>,
    /// The connection came up, and with it the callee's line.
    pub reached: bool,
    /// As the caller's side sees it.
    pub sent_us: i64,
    pub done_us: i64,
    /// As the callee's proxy sees it.
    pub arrived_us: i64,
    pub served_us: i64,
    /// Its connection is new, its connection is not used again.
    pub opens: bool,
    pub closes: bool,
    pub logged: Headers,
    pub face: Face,
    pub socket: Option<Socket>,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    pub call: CallNo,
    /// At a gateway: the call by which the request came.
    pub entry: Option<CallNo>,
    /// The caller's proxy, or, where it was gone round, whose certificate was shown.
    pub from: ProxyNo,
    /// The address of a caller that went round its proxy: it has no line.
    pub around: Option<String>,
    /// `None`: the gateway knew no route.
    pub to: Option<ServiceNo>,
    pub method: Option<String>,
    pub authority: Option<String>,
    pub path: Option<String>,
    pub start_us: i64,
    pub end_us: i64,
    pub logged: Headers,
    pub face: Face,
    pub attempts: Vec<Attempt>,
    /// Between whoever asked and the caller's proxy.
    pub app_socket: Option<Socket>,
}

impl Face {
    pub fn http(code: u16, bytes_received: u64, bytes_sent: u64) -> Self {
        Face {
            code,
            flags: "-",
            details: Some("via_upstream"),
            termination: None,
            failure: None,
            grpc_status: None,
            bytes_received,
            bytes_sent,
            attempts: 1,
            verdict: Verdict::Unsaid,
            app: App::Reached,
        }
    }

    pub fn tcp(bytes_received: u64, bytes_sent: u64) -> Self {
        Face { details: None, ..Face::http(0, bytes_received, bytes_sent) }
    }

    pub fn flagged(self, flags: &'static str, details: &'static str) -> Self {
        Face { flags, details: Some(details), ..self }
    }

    /// What remains when the caller is gone: no status, nothing sent.
    pub fn gone(self, is_http2: bool) -> Self {
        let (flags, details) = gone(is_http2);
        Face { code: 0, bytes_sent: 0, ..self.flagged(flags, details) }
    }
}

/// A caller that goes away closes an HTTP/1.1 connection, but resets one stream of an HTTP/2 connection.
pub fn gone(is_http2: bool) -> (&'static str, &'static str) {
    if is_http2 { ("DR", "http2.remote_reset") } else { ("DC", "downstream_remote_disconnect") }
}
