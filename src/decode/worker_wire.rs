//! A Worker's event as Logpush's dataset `workers_trace_events` writes it (PascalCase) and as a tail Worker receives it
//! (TraceItem, camelCase), and the records that calltrail's module logs into it.
//!
//! Keys of the event are compared without regard to case: real samples and the documentation's own mix them. Sources:
//! <https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/account/workers_trace_events/>,
//! <https://developers.cloudflare.com/workers/runtime-apis/handlers/tail/>. Records: `docs/wire.md`.

use super::wire_object::{Flag, List, Number, Text, wire_object};
use serde_json::value::RawValue;

wire_object! {
    WorkerEvent, any_case {
        event: EventDetail<'a> = "event",
        event_timestamp: Text<'a> = "eventtimestampms" | "eventtimestamp",
        outcome: Text<'a> = "outcome",
        script_name: Text<'a> = "scriptname",
        logs: List<LogEntry<'a>> = "logs",
        exceptions: List<ExceptionEntry<'a>> = "exceptions",
        wall_time_ms: Number = "walltimems" | "walltime",
        /// Only in TraceItem; Logpush marks its cuts in the text.
        truncated: Flag = "truncated",
    }
}

wire_object! {
    /// Of a fetch: `request` and `response`. Cron, queue, alarm, e-mail and RPC events have neither.
    EventDetail, any_case {
        ray_id: Text<'a> = "rayid",
        request: Option<RequestDetail<'a>> = "request",
        response: ResponseDetail<'a> = "response",
    }
}

wire_object! {
    RequestDetail, any_case {
        url: Text<'a> = "url",
        method: Text<'a> = "method",
        /// Only in TraceItem.
        headers: RequestHeaders<'a> = "headers",
    }
}

wire_object! {
    RequestHeaders, any_case {
        cf_ray: Text<'a> = "cf-ray",
    }
}

wire_object! {
    ResponseDetail, any_case {
        status: Text<'a> = "status",
    }
}

wire_object! {
    LogEntry, any_case {
        /// The arguments of one `console.log`, as they stand: most are none of ours and are not even unescaped.
        message: Option<&'a RawValue> = "message",
        timestamp: Text<'a> = "timestampms" | "timestamp",
    }
}

wire_object! {
    ExceptionEntry, any_case {
        timestamp: Text<'a> = "timestampms" | "timestamp",
    }
}

wire_object! {
    /// One record of calltrail's Worker module, version 1. `k` says which kind it is and so which fields it has.
    Record, exact {
        ct: Number = "ct",
        k: Text<'a> = "k",
        /// Trace id.
        t: Text<'a> = "t",
        /// Span of the invocation.
        w: Text<'a> = "w",
        /// Parent span of the invocation.
        wp: Text<'a> = "wp",
        iss: Text<'a> = "iss",
        sub: Text<'a> = "sub",
        kind: Text<'a> = "kind",
        /// `allow` or `deny`.
        d: Text<'a> = "d",
        pol: Text<'a> = "pol",
        why: Text<'a> = "why",
        /// Sequence number within the invocation.
        q: Number = "q",
        /// Span of the subrequest.
        s: Text<'a> = "s",
        /// x-request-id that it sent.
        rid: Text<'a> = "rid",
        svc: Text<'a> = "svc",
        host: Text<'a> = "host",
        m: Text<'a> = "m",
        p: Text<'a> = "p",
        /// Start, milliseconds since the epoch.
        ts: Text<'a> = "ts",
        ms: Number = "ms",
        st: Number = "st",
        /// cf-ray of the response.
        ur: Text<'a> = "ur",
        err: Text<'a> = "err",
        /// x-calltrail-hop that it sent.
        hop: Text<'a> = "hop",
        /// Records of a `k: all`.
        r: List<Record<'a>> = "r",
    }
}
