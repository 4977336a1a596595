//! Log lines: on standard error, without secrets, as text or as JSON. The names of their fields are
//! fixed and stand in `docs/operations.md`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::redact::RedactedStderr;
use super::traces::{self, Traces};

/// Starts logging, and tracing where it is configured. Warnings by default; a room's own words with
/// `CODY_LOG`; JSON with `CODY_LOG_FORMAT=json`.
pub fn start(is_room: bool, runtime: &tokio::runtime::Handle) -> Traces {
    let default = if is_room { "info" } else { "error" };
    let filter = std::env::var("CODY_LOG").unwrap_or_else(|_| default.to_owned());
    let is_json = std::env::var("CODY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = tracing_subscriber::fmt::layer().with_writer(|| RedactedStderr);
    let lines = match is_json {
        // Where a line comes from is called `target` as well.
        true => lines.json().flatten_event(true).with_span_list(false).with_target(false).boxed(),
        false => lines.boxed(),
    };
    let (layer, traces) = match is_room {
        true => traces::start(runtime),
        false => (None, Traces::none()),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::new(filter)))
        .with(layer)
        .init();
    traces.tell();
    traces
}
