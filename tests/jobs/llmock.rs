//! The whole fault catalogue of a mock server that no one here wrote (llmock, from PyPI), met by whole
//! jobs of the real program; the mock's own verdict on how they bore it must have no finding.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{World, finish, http, json as printed, repository};
use super::peers::foreign;

/// A running mock server that injects faults and grades its client; ended when the test lets go.
struct Llmock {
    child: Child,
    /// What the client is given as its base URL.
    base_url: String,
    /// Where its own questions are answered.
    admin: String,
}

impl Drop for Llmock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it on a free port.
async fn llmock() -> Llmock {
    let program = foreign(".venv/bin/llmock", "make foreign");
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let child = Command::new(program)
        .args(["serve", "--port", &port.to_string()])
        // Or the rest of a stream is sent before it can see that its client stopped reading.
        .args(["--stream-chunk-delay-ms", "25"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    let started = std::time::Instant::now();
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "llmock never listened");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Llmock {
        child,
        base_url: format!("http://{address}/anthropic"),
        admin: format!("http://{address}/_llmock"),
    }
}

/// Statuses that a retry may cure, and those that none does.
const PASSING: [u16; 8] = [408, 409, 429, 500, 502, 503, 504, 529];
const FINAL: [u16; 8] = [400, 401, 402, 403, 404, 413, 422, 451];

/// A fault of the catalogue, and the outcome that the job may have with it.
struct Case {
    name: String,
    faults: Vec<Value>,
    outcome: &'static str,
}

fn case(name: impl Into<String>, fault: Value, outcome: &'static str) -> Case {
    Case { name: name.into(), faults: vec![fault], outcome }
}

/// Everything that the mock can do to a client.
fn catalogue() -> Vec<Case> {
    const GOOD: &str = "already-compliant";
    let mut cases = Vec::new();
    for status in PASSING {
        let fault = json!({ "type": "fail", "status": status });
        cases.push(case(format!("{status}"), fault, GOOD));
    }
    cases.push(case(
        "429, retry-after 2",
        json!({ "type": "fail", "status": 429, "retry_after": 2 }),
        GOOD,
    ));
    cases.push(case(
        "503, retry-after 1",
        json!({ "type": "fail", "status": 503, "retry_after": 1 }),
        GOOD,
    ));
    cases.push(case(
        "529, three times",
        json!({ "type": "fail", "status": 529, "times": 3 }),
        GOOD,
    ));
    for status in FINAL {
        cases.push(case(
            format!("{status}"),
            json!({ "type": "fail", "status": status }),
            "failed",
        ));
    }
    cases.push(case("late answer", json!({ "type": "delay", "seconds": 0.5 }), GOOD));
    cases.push(case(
        "slow first token",
        json!({ "type": "slow_first_token", "seconds": 0.5 }),
        GOOD,
    ));
    for kind in ["disconnect", "truncate", "malformed"] {
        for chunks in [0, 1, 3] {
            let fault = json!({ "type": "stream_fault", "kind": kind, "after_chunks": chunks });
            cases.push(case(format!("{kind} after {chunks}"), fault, GOOD));
        }
    }
    let stall =
        json!({ "type": "stream_fault", "kind": "stall", "after_chunks": 1, "stall_seconds": 5.0 });
    cases.push(case("stall of 5 s", stall, GOOD));
    for kind in ["malformed_arguments", "unknown_tool"] {
        cases.push(case(kind, json!({ "type": "tool_fault", "kind": kind }), GOOD));
    }
    let both = vec![
        json!({ "type": "fail", "status": 500 }),
        json!({ "type": "stream_fault", "kind": "truncate", "after_chunks": 2 }),
        json!({ "type": "fail", "status": 429, "retry_after": 1 }),
    ];
    cases.push(Case {
        name: "500, then truncated, then 429".to_owned(),
        faults: both,
        outcome: GOOD,
    });
    cases
}

/// What the model says whenever nothing is wrong: that there is nothing to do.
fn reply() -> Value {
    let arguments = json!({
        "outcome": "already-compliant", "title": "T", "summary": "S.", "evidence": ["a.txt"]
    });
    json!({ "type": "reply", "times": null, "tool_calls": [{ "name": "finish", "arguments": arguments }] })
}

async fn admin(mock: &Llmock, path: &str, body: Option<Value>) -> Value {
    let http = http();
    let url = format!("{}/{path}", mock.admin);
    let asked = match body {
        Some(body) => http.post(url).json(&body).send().await,
        None => http.get(url).send().await,
    };
    asked.unwrap().error_for_status().unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_foreign_verdict_has_no_finding_over_its_whole_catalogue() {
    let mock = llmock().await;
    let world = World::new("conversation = []").await;
    let app = world.path("app");
    repository(&app, &[("a.txt", "a\n")]);
    println!("{:<34} {:>8} {:>8}  outcome", "fault", "attempts", "findings");
    for case in catalogue() {
        admin(&mock, "reset", Some(json!({}))).await;
        let behaviors: Vec<Value> = case.faults.iter().cloned().chain([reply()]).collect();
        admin(&mock, "scenario", Some(json!({ "behaviors": behaviors }))).await;
        let mut run =
            world.command(&["run", "--json", "--no-checks", "--prompt", "Look", "--repo"]);
        run.arg(&app).env("ANTHROPIC_BASE_URL", &mock.base_url).env("CODY_IDLE_TIMEOUT_MS", "1500");
        let output = finish(run).await;
        let outcome = printed(&output)["targets"][0]["outcome"].clone();
        let verdict = admin(&mock, "verdict", None).await;
        println!(
            "{:<34} {:>8} {:>8}  {}",
            case.name,
            verdict["attempts"],
            verdict["findings"].as_array().unwrap().len(),
            outcome.as_str().unwrap_or("?"),
        );
        assert_eq!(verdict["findings"], json!([]), "{}", case.name);
        assert_eq!(outcome, case.outcome, "{}: {}", case.name, world.story_of(1).await);
        let is_met = case
            .faults
            .iter()
            .any(|fault| fault["type"] == "fail" || fault["type"] == "stream_fault");
        assert!(!is_met || verdict["faults_injected"].as_u64() > Some(0), "{}", case.name);
    }
}
