//! A row of Cloudflare's `http_requests` with custom fields: the visitor's request, or a Worker's subrequest as Cloudflare itself saw it.

use super::time;
use crate::records::{Role, ZoneRecord};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Row<'a> {
    client_request_host: &'a str,
    client_request_method: &'a str,
    client_request_path: &'a str,
    client_request_protocol: &'static str,
    client_request_source: &'static str,
    edge_start_timestamp: String,
    edge_end_timestamp: String,
    edge_response_status: u16,
    /// 0: no origin was asked, a Worker answered.
    origin_response_status: u16,
    /// `00`: no Worker made it.
    #[serde(rename = "ParentRayID")]
    parent_ray_id: &'a str,
    #[serde(rename = "RayID")]
    ray_id: &'a str,
    worker_subrequest: bool,
    request_headers: Headers<'a>,
}

#[derive(Serialize)]
struct Headers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(rename = "x-request-id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "x-calltrail-principal", skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
}

impl<'a> Row<'a> {
    pub fn of(row: &'a ZoneRecord) -> Self {
        let by_worker = row.role == Role::ZoneSubrequest;
        Row {
            client_request_host: &row.host,
            client_request_method: &row.method,
            client_request_path: &row.path,
            client_request_protocol: if by_worker { "HTTP/1.1" } else { "HTTP/2" },
            client_request_source: if by_worker { "edgeWorkerFetch" } else { "eyeball" },
            edge_start_timestamp: time::millis(row.start_us),
            edge_end_timestamp: time::millis(row.end_us),
            edge_response_status: row.status,
            origin_response_status: if by_worker { row.status } else { 0 },
            parent_ray_id: row.parent_ray.as_deref().unwrap_or("00"),
            ray_id: &row.ray,
            worker_subrequest: by_worker,
            request_headers: Headers {
                traceparent: row.traceparent.as_deref(),
                request_id: row.request_id.as_deref(),
                principal: row.calltrail.as_deref(),
            },
        }
    }
}
