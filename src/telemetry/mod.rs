//! Our own logs, traces and metrics. Every metric name stands in [`names`].
//!
//! Logs go to standard error, as text or JSON. Spans and metrics are exported by OTLP only when `OTEL_EXPORTER_OTLP_ENDPOINT`
//! is set; without it nothing is sent anywhere.

pub mod metrics;
pub mod names;

pub use metrics::{Held, Metrics};

use crate::tls;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The endpoints of spans and of metrics may also be named alone.
const OTLP: &str = "OTEL_EXPORTER_OTLP_";
/// In milliseconds, as the specification of the exporters has it, and so the default.
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What must be flushed at the end.
#[derive(Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// Starts logs and, where an endpoint is set, exporters. Call once, before the first [`Metrics`].
pub fn start(json: bool, filter: &str) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        anyhow::anyhow!(
            "--log {filter:?} is no filter ({error}): write info, debug or calltrail=debug,sqlx=warn"
        )
    })?;
    let telemetry = if std::env::var_os(ENDPOINT).is_some() { exporters()? } else { Telemetry::default() };
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = match json {
        true => logs.json().flatten_event(true).boxed(),
        false => logs.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let spans = telemetry
        .traces
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("calltrail")));
    tracing_subscriber::registry()
        .with(spans)
        .with(logs)
        .with(filter)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))?;
    Ok(telemetry)
}

fn exporters() -> anyhow::Result<Telemetry> {
    let explain = |error: &dyn std::fmt::Display| {
        anyhow::anyhow!(
            "{ENDPOINT} cannot be used ({error:#}): write http://HOST:4318 or https://HOST:4318, or unset it"
        )
    };
    let resource = Resource::builder().with_service_name("calltrail").build();
    let client = tls::blocking_client(endpoints(), timeout()).map_err(|error| explain(&error))?;
    let spans = SpanExporter::builder().with_http().with_http_client(client.clone());
    let spans = spans.build().map_err(|error| explain(&error))?;
    let points = MetricExporter::builder().with_http().with_http_client(client);
    let points = points.build().map_err(|error| explain(&error))?;
    let traces =
        SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
    let metrics = SdkMeterProvider::builder().with_periodic_exporter(points).with_resource(resource).build();
    opentelemetry::global::set_tracer_provider(traces.clone());
    opentelemetry::global::set_meter_provider(metrics.clone());
    Ok(Telemetry { traces: Some(traces), metrics: Some(metrics) })
}

/// Every endpoint that the environment names.
fn endpoints() -> Vec<String> {
    let is_endpoint = |name: &str| name.starts_with(OTLP) && name.ends_with("ENDPOINT");
    let named = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_endpoint));
    named.filter_map(|(_, value)| value.into_string().ok()).collect()
}

fn timeout() -> Duration {
    let ms = std::env::var(TIMEOUT).ok().and_then(|ms| ms.parse().ok());
    ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

impl Telemetry {
    /// Sends what is still waiting. Blocks for a few seconds at most; a collector that is gone is no reason to fail.
    pub fn finish(self) {
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
        if let Some(metrics) = self.metrics {
            let _ = metrics.shutdown();
        }
    }
}
