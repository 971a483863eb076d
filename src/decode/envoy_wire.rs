//! An Envoy access log line as JSON, in the formats that are read: the one that calltrail recommends (`ct: calltrail/1`),
//! Consul's default, and a longer one in which some operators carry other names (the aliases).
//!
//! Operators: <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>. Consul's default:
//! `agent/structs/config_entry.go`, `agent/xds/accesslogs`. Fields that are not read (`tracestate`, `user_agent`, ...) are kept
//! in the evidence only.

use super::wire_object::{Number, Text, wire_object};

wire_object! {
    /// Every field is optional; what a line must have is decided by `envoy.rs`.
    EnvoyLine, exact {
        /// Version of the recommended format.
        ct: Text<'a> = "ct",
        node_id: Text<'a> = "node_id",
        node_cluster: Text<'a> = "node_cluster",
        /// `1` inbound, `2` outbound (`%CEL(xds.listener_direction)%`).
        direction: Text<'a> = "direction" | "listener_direction",
        start_time: Text<'a> = "start_time",
        /// The same moment with nanoseconds, where a format has it.
        start_ns: Text<'a> = "start_ns",
        duration_ms: Number = "duration_ms" | "duration",
        /// Only where an operator has mapped a duration: no format of ours or of Consul's has it.
        duration_us: Number = "calltrail_duration_us",
        access_log_type: Text<'a> = "access_log_type",
        unique_id: Text<'a> = "unique_id",
        method: Text<'a> = "method",
        authority: Text<'a> = "authority",
        path: Text<'a> = "path",
        protocol: Text<'a> = "protocol",
        response_code: Number = "response_code",
        response_flags: Text<'a> = "response_flags",
        response_code_details: Text<'a> = "response_code_details",
        connection_termination_details: Text<'a> = "connection_termination_details",
        upstream_transport_failure_reason: Text<'a> =
            "upstream_transport_failure_reason" | "upstream_transport_failure",
        /// A number, or the name of the code.
        grpc_status: Text<'a> = "grpc_status",
        attempts: Number = "attempts",
        bytes_received: Number = "bytes_received",
        bytes_sent: Number = "bytes_sent",
        traceparent: Text<'a> = "traceparent",
        request_id: Text<'a> = "request_id" | "x_request_id",
        cf_ray: Text<'a> = "cf_ray",
        downstream_peer_uri_san: Text<'a> = "downstream_peer_uri_san" | "ds_peer_uri_san",
        downstream_local_uri_san: Text<'a> = "downstream_local_uri_san" | "ds_local_uri_san",
        downstream_peer_serial: Text<'a> = "downstream_peer_serial" | "ds_peer_serial",
        downstream_peer_cert_start: Text<'a> = "downstream_peer_cert_start",
        downstream_peer_cert_end: Text<'a> = "downstream_peer_cert_end" | "ds_peer_v_end",
        upstream_peer_uri_san: Text<'a> = "upstream_peer_uri_san" | "us_peer_uri_san",
        upstream_local_uri_san: Text<'a> = "upstream_local_uri_san" | "us_local_uri_san",
        upstream_peer_cert_start: Text<'a> = "upstream_peer_cert_start",
        upstream_peer_cert_end: Text<'a> = "upstream_peer_cert_end" | "us_peer_v_end",
        upstream_cluster: Text<'a> = "upstream_cluster",
        upstream_host: Text<'a> = "upstream_host",
        upstream_local_address: Text<'a> = "upstream_local_address",
        upstream_connection_id: Number = "upstream_connection_id",
        downstream_direct_remote_address: Text<'a> = "downstream_direct_remote_address",
        /// In Consul's default format the only remote address; forgeable by X-Forwarded-For, and then with port 0.
        downstream_remote_address: Text<'a> = "downstream_remote_address",
        downstream_local_address: Text<'a> = "downstream_local_address",
        requested_server_name: Text<'a> = "requested_server_name",
        connection_id: Number = "connection_id",
        /// Dynamic metadata of the HTTP RBAC filter; present once it has judged.
        rbac: RbacMetadata<'a> = "rbac" | "md_rbac",
        /// The same of the network RBAC filter.
        network_rbac: RbacMetadata<'a> = "rbac_network" | "md_rbac_net",
        calltrail: Text<'a> = "calltrail",
        hop: Text<'a> = "hop",
        parent_hop: Text<'a> = "parent_hop",
    }
}

wire_object! {
    /// Source: Envoy, "Role based access control filter", dynamic metadata.
    RbacMetadata, exact {
        /// `allowed` or `denied`.
        enforced_engine_result: Text<'a> = "enforced_engine_result",
        enforced_effective_policy_id: Text<'a> = "enforced_effective_policy_id",
    }
}

wire_object! {
    /// What a shipper puts around a line that does not say who wrote it.
    WrappedLine, exact {
        proxy: Text<'a> = "proxy",
        line: Text<'a> = "line",
    }
}
