//! Traces for OpenTelemetry: sent by OTLP over HTTP where `OTEL_EXPORTER_OTLP_ENDPOINT` names a
//! collector, and nowhere otherwise. Spans carry ids, counts and words of closed lists; what is logged
//! inside them stays in the log. A collector that is slow or gone costs spans and nothing else: they
//! wait in a queue of fixed length, on a thread of their own.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Where a collector is named: for all signals, or for traces alone.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// Which spans are sent unless `CODY_TRACES` says otherwise: not each append.
const DEFAULT_FILTER: &str = "cody_batch=info";
/// How long a collector may take for what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last spans may hold up the end of the program.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The way to a collector, if there is one.
#[derive(Debug)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
    problem: Option<String>,
}

impl Traces {
    /// No traces.
    pub fn none() -> Self {
        Self { provider: None, problem: None }
    }

    /// Says what is wrong with how traces are configured, once there is a log to say it in.
    pub fn tell(&self) {
        if let Some(error) = &self.problem {
            tracing::warn!(%error, "no traces are sent; see the variables that begin with OTEL_");
        }
    }

    /// Sends what was not sent yet, if that is soon done.
    pub fn send_last(self) {
        if let Some(provider) = self.provider {
            // What the collector does not take now is lost, and was never more than a trace.
            let _ = provider.shutdown_with_timeout(LAST_PATIENCE);
        }
    }
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The layer that sends spans to the collector that the environment names.
pub fn start<S>(runtime: &Handle) -> (Option<BoxedLayer<S>>, Traces)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let is_set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    if !ENDPOINTS.iter().any(is_set) {
        return (None, Traces::none());
    }
    match provider(runtime) {
        Ok(provider) => {
            let tracer = provider.tracer("cody-batch");
            let filter = std::env::var("CODY_TRACES").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
            // Log lines hold words of others, such as why a host refused something.
            let spans_only = filter_fn(|metadata| metadata.is_span());
            let layer = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(EnvFilter::new(filter).and(spans_only));
            (Some(layer.boxed()), Traces { provider: Some(provider), problem: None })
        }
        Err(error) => (None, Traces { provider: None, problem: Some(error.to_string()) }),
    }
}

fn provider(runtime: &Handle) -> Result<SdkTracerProvider, anyhow::Error> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let collector = Collector { client, runtime: runtime.clone() };
    let exporter = SpanExporter::builder().with_http().with_http_client(collector).build()?;
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let resource = match std::env::var("OTEL_SERVICE_NAME") {
        Ok(_) => resource,
        Err(_) => resource.with_service_name("cody-batch"),
    };
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// Sends what the exporter's thread gives it on the runtime of everything else.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
