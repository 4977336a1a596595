//! A collector of traces: takes what is sent by OTLP over HTTP, and reads it with OpenTelemetry's own
//! types.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What came.
type Taken = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that runs until its test ends.
pub struct Collector {
    pub url: String,
    taken: Taken,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Self {
        let taken = Taken::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&taken));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, taken }
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The attributes of whoever sent.
    pub fn resource(&self) -> Vec<KeyValue> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        resources.filter_map(|one| one.resource.clone()).flat_map(|one| one.attributes).collect()
    }
}

async fn take(State(taken): State<Taken>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    taken.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
    Vec::new()
}
