//! How long an answer takes. The bound is wide; it is there for a stall of 40 ms, which comes of sockets
//! that hold small pieces back.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Era};
use super::suite::served;

/// Calls that are measured.
const CALLS: usize = 200;
/// A stall costs twice as much, each time.
const MEDIAN: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_shown_without_a_stall() {
    let (server, token) = served();
    for era in Era::BOTH {
        let client = Client::new(&format!("{}/mcp", server.url), &token, era);
        let mut took = Vec::new();
        for _ in 0..CALLS {
            let began = Instant::now();
            client.told("get_job", json!({ "job_id": "latest" })).await;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let (p50, p99) = (took[CALLS / 2], took[CALLS * 99 / 100]);
        println!("get_job {}: p50 {p50:?}, p99 {p99:?}", era.version());
        assert!(p50 < MEDIAN, "{era:?}: {p50:?}");
    }
}
