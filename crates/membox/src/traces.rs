//! Spans of requests for a collector, by OTLP over HTTP: where the variables of OpenTelemetry name one.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on. Without it no span is made. What else the variables say is
//! OpenTelemetry's own: headers, times, sampler, sizes of batches, attributes of the service (docs/commands.md).
//!
//! Spans are sent by a thread of their own, in batches. One that a collector does not take is lost, and the log says
//! so once a minute.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use ureq::http::HeaderMap;

/// The target of spans that are sent.
const TARGET: &str = "otel";
/// The only way in which they are.
const PROTOCOL: &str = "http/protobuf";
/// How long a collector may take for a batch where the variables do not say.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;
/// How long a stop waits for the last batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log says that spans are lost.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a collector's answer that are read.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// What sends spans, until it is dropped: then the last ones are sent.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// What the environment asks for; `None` where it names no collector. What cannot be done is an error.
    pub fn from_environment() -> Result<Option<Self>> {
        let is_off = variable(&["OTEL_SDK_DISABLED"]).is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable(&["OTEL_TRACES_EXPORTER"]).is_some_and(|value| value == "none");
        let endpoint = variable(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let Some(endpoint) = endpoint.filter(|_| !is_off) else { return Ok(None) };
        let protocol = variable(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some(other) = protocol.filter(|protocol| protocol != PROTOCOL) {
            bail!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}: spans are sent by {PROTOCOL}, to port 4318 of a collector"
            );
        }
        let timeout = variable(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let timeout = timeout.map_or(Ok(DEFAULT_TIMEOUT_MS), |text| text.parse());
        let timeout = Duration::from_millis(timeout.context("OTEL_EXPORTER_OTLP_TIMEOUT: milliseconds are wanted")?);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(timeout))
            .with_protocol(Protocol::HttpBinary)
            .build()
            .with_context(|| format!("OTEL_EXPORTER_OTLP_ENDPOINT {endpoint:?}"))?;
        let mut service =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let names_service = variable(&["OTEL_RESOURCE_ATTRIBUTES"]).is_some_and(|all| all.contains("service.name="));
        if variable(&["OTEL_SERVICE_NAME"]).is_none() && !names_service {
            service = service.with_service_name("membox");
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(service.build());
        Ok(Some(Self(provider.build())))
    }

    /// What takes the spans.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("membox"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Makes a span a part of the trace that the headers of a request name (W3C Trace Context).
pub fn join(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // A span that is not sent has no parent.
    let _ = span.set_parent(context);
}

/// The first of these variables that says something.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
}

/// The client that sends batches.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    said: Mutex<Option<Instant>>,
}

impl Client {
    fn new(timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
        Self { agent: config.into(), said: Mutex::new(None) }
    }

    /// Says that spans are lost, once in a while.
    fn say(&self, reason: &str) {
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(reason, "spans are lost: the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not take them");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // It blocks, on the thread that does nothing but send.
        let sent = self.agent.run(request.map(|body| body.to_vec()));
        let answer = sent.inspect_err(|error| self.say(&error.to_string()))?;
        if !answer.status().is_success() {
            self.say(&format!("it answers {}", answer.status()));
        }
        let (head, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(head, Bytes::from(bytes)))
    }
}
