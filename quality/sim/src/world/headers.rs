//! Headers on their way: what applications hand on, what proxies add and rewrite, what each logs.

use super::dice::Dice;
use super::topology::{Forwards, Service};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: String,
    pub span_id: String,
}

impl TraceContext {
    pub fn new(dice: &mut Dice) -> Self {
        TraceContext { trace_id: dice.hex::<16>(), span_id: dice.hex::<8>() }
    }

    pub fn child(&self, dice: &mut Dice) -> Self {
        TraceContext { trace_id: self.trace_id.clone(), span_id: dice.hex::<8>() }
    }

    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// An `x-calltrail-principal`, with what it is worth.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    pub text: String,
    pub subject: String,
    /// Not the Worker that called the one which signed.
    pub names_user: bool,
    /// Signed by the edge.
    pub genuine: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Headers {
    pub trace: Option<TraceContext>,
    pub tracestate: Option<String>,
    pub request_id: Option<String>,
    pub cf_ray: Option<String>,
    pub calltrail: Option<Arc<Signed>>,
    pub hop: Option<String>,
    pub parent_hop: Option<String>,
    pub x_forwarded_for: Option<String>,
    /// Envoy's own trace id: only where the proxy traces.
    pub envoy_trace_id: Option<String>,
}

impl Headers {
    /// What an application sends along with a request that it makes because of this one.
    pub fn handed_on(&self, how: Forwards, dice: &mut Dice) -> Headers {
        let all = Headers { x_forwarded_for: None, envoy_trace_id: None, ..self.clone() };
        let known = Headers { hop: None, parent_hop: None, ..all.clone() };
        let mut child = |of: &Headers| of.trace.as_ref().map(|t| t.child(dice));
        match how {
            Forwards::All => all,
            Forwards::Known => known,
            Forwards::ChildSpan => Headers { trace: child(&known), ..known },
            Forwards::TraceOnly => {
                Headers { trace: child(&known), tracestate: known.tracestate, ..Headers::default() }
            }
            Forwards::NewTrace => Headers { trace: Some(TraceContext::new(dice)), tracestate: None, ..known },
            Forwards::RequestIdOnly => Headers { request_id: known.request_id, ..Headers::default() },
            Forwards::Nothing => Headers::default(),
        }
    }

    /// As the proxy of `service` logs them and sends them on.
    pub fn through(mut self, service: &Service, is_outbound: bool, dice: &mut Dice) -> Headers {
        let mut id = self.request_id.take().unwrap_or_else(|| dice.uuid());
        self.envoy_trace_id = None;
        if service.traces {
            let trace = match &self.trace {
                Some(trace) => trace.child(dice),
                None => TraceContext::new(dice),
            };
            self.envoy_trace_id = Some(trace.trace_id.clone());
            self.trace = Some(trace);
            // Envoy writes the header even when there is nothing to say (measured).
            self.tracestate.get_or_insert_default();
            mark_traced(&mut id);
        }
        if is_outbound && service.sets_hop {
            self.parent_hop = self.hop.replace(dice.hex::<16>());
        }
        self.request_id = Some(id);
        self
    }
}

/// Envoy writes its decision to trace into the version of a UUID.
fn mark_traced(id: &mut String) {
    if id.len() == 36 && id.as_bytes()[14] == b'4' {
        id.replace_range(14..15, "9");
    }
}

/// The id without the digit that Envoy rewrites.
pub fn masked(request_id: &str) -> String {
    let mut id = request_id.to_owned();
    if id.len() == 36 {
        id.replace_range(14..15, "4");
    }
    id
}
