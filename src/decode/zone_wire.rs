//! A line of Cloudflare's zone dataset `http_requests`: one per visitor's request, and one per subrequest of a Worker.
//!
//! Source: <https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/>; `RequestHeaders` needs
//! custom fields <https://developers.cloudflare.com/logs/logpush/logpush-job/custom-fields/>; `Subrequests` the opt-in merging
//! <https://developers.cloudflare.com/logs/logpush/logpush-job/subrequests/>.

use super::wire_object::{Flag, List, Number, Text, wire_object};

wire_object! {
    HttpRequest, exact {
        ray_id: Text<'a> = "RayID",
        /// `00` where there is none.
        parent_ray_id: Text<'a> = "ParentRayID",
        worker_subrequest: Flag = "WorkerSubrequest",
        client_ip: Text<'a> = "ClientIP",
        host: Text<'a> = "ClientRequestHost",
        method: Text<'a> = "ClientRequestMethod",
        path: Text<'a> = "ClientRequestPath",
        uri: Text<'a> = "ClientRequestURI",
        protocol: Text<'a> = "ClientRequestProtocol",
        edge_start: Text<'a> = "EdgeStartTimestamp",
        edge_end: Text<'a> = "EdgeEndTimestamp",
        edge_colo: Text<'a> = "EdgeColoCode",
        edge_response_status: Number = "EdgeResponseStatus",
        edge_response_body_bytes: Number = "EdgeResponseBodyBytes",
        request_headers: LoggedHeaders<'a> = "RequestHeaders",
        subrequests: List<HttpRequest<'a>> = "Subrequests",
    }
}

wire_object! {
    /// Custom fields carry header names as they were configured.
    LoggedHeaders, any_case {
        traceparent: Text<'a> = "traceparent",
        request_id: Text<'a> = "x-request-id",
        principal: Text<'a> = "x-calltrail-principal",
        hop: Text<'a> = "x-calltrail-hop",
    }
}
