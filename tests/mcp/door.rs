//! Who is let in, by which name, in which era, and what is told of the server.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Era};
use super::served::{Place, Served};

/// A server with a token for each of these sets of scopes.
fn served<const N: usize>(scopes: [&str; N]) -> (Served, [String; N]) {
    let place = Place::new();
    let tokens = scopes.map(|scope| place.token(scope, &[scope]).0);
    let settings = [("CODY_REQUESTS_A_MINUTE", "0"), ("CODY_REFUSALS_A_MINUTE", "0")];
    (place.serve(&["--listen", "127.0.0.1:0"], &settings), tokens)
}

fn client(server: &Served, route: &str, token: &str, era: Era) -> Client {
    Client::new(&format!("{}{route}", server.url), token, era)
}

#[tokio::test]
async fn one_address_serves_both_eras_and_says_what_it_is() {
    let (server, [token]) = served(["read"]);
    let older = client(&server, "/mcp", &token, Era::Older);
    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    let older = older.ask("initialize", hello).await;
    assert_eq!(older["protocolVersion"], "2025-11-25");
    assert_eq!(older["serverInfo"]["name"], "cody-batch");
    assert_eq!(older["serverInfo"]["title"], "Cody Batch");
    // There are no sessions, in which older clients could follow anything, and they know no tasks.
    assert_eq!(older["capabilities"]["resources"].get("subscribe"), None);
    assert_eq!(older["capabilities"].get("extensions"), None);
    let newer = client(&server, "/mcp", &token, Era::Newer).ask("server/discover", json!({})).await;
    assert_eq!(newer["supportedVersions"], json!(["2026-07-28", "2025-11-25"]));
    assert_eq!(newer["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "cody-batch");
    for era in Era::BOTH {
        let listed = client(&server, "/mcp", &token, era).ask("tools/list", json!({})).await;
        assert_eq!(listed["tools"].as_array().unwrap().len(), 13, "{era:?}");
        if era == Era::Newer {
            assert_eq!(listed["cacheScope"], "private");
        }
    }
}

#[tokio::test]
async fn whoever_brings_no_good_token_is_told_where_to_ask_for_one() {
    let (server, [_]) = served(["read"]);
    for (route, token) in [("/mcp", ""), ("/mcp/readonly", "nonsense")] {
        let request = client(&server, route, token, Era::Newer).request("tools/list", json!({}));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let place = challenge.split("resource_metadata=\"").nth(1).unwrap();
        let place = place.strip_suffix('"').unwrap();
        assert!(place.starts_with(&server.url), "{place}");
        let told = server.get(place.strip_prefix(&server.url).unwrap(), "").send().await.unwrap();
        let told: Value = told.json().await.unwrap();
        assert_eq!(told["resource"], format!("{}{route}", server.url));
        assert_eq!(told["scopes_supported"], json!(["read", "run", "approve", "admin"]));
    }
}

#[tokio::test]
async fn other_names_and_other_sites_are_refused() {
    let (server, [token]) = served(["read"]);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let request = client(&server, "/mcp", &token, Era::Newer).request("tools/list", json!({}));
        let response = request.header(name, value).send().await.unwrap();
        assert_eq!(response.status(), 403, "{name}");
    }
    // No streams to open, and no sessions to end.
    for method in [Method::GET, Method::DELETE] {
        let response = server.request(method, "/mcp", &token).send().await.unwrap();
        assert_eq!(response.status(), 405);
    }
}

#[tokio::test]
async fn a_scope_that_is_missing_is_an_answer_that_says_which() {
    let (server, [read, run, approve]) = served(["read", "run", "approve"]);
    let job = json!({ "prompt": "Greet", "targets": ["acme/api"] });
    let reader = client(&server, "/mcp", &read, Era::Newer);
    let no = reader.refused("create_job", job.clone()).await;
    assert_eq!((&no["code"], &no["retryable"]), (&json!("forbidden"), &json!(false)));
    assert!(no["next"].as_str().unwrap().contains("`run`"), "{no}");
    let no = client(&server, "/mcp", &approve, Era::Newer).refused("create_job", job.clone()).await;
    assert_eq!(no["code"], "forbidden");
    // What only reads, only reads, whoever asks.
    let reader = client(&server, "/mcp/readonly", &run, Era::Newer);
    let answer =
        reader.answer("tools/call", json!({ "name": "create_job", "arguments": job })).await;
    assert_eq!(answer["error"]["code"], -32602);
    let listed = reader.ask("tools/list", json!({})).await;
    assert_eq!(listed["tools"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn what_an_assistant_gets_wrong_is_an_answer_that_it_can_read() {
    let (server, [token]) = served(["admin"]);
    for era in Era::BOTH {
        let client = client(&server, "/mcp", &token, era);
        let listed = client.ask("tools/list", json!({})).await;
        for (tool, arguments, code) in [
            ("get_job", json!({}), "bad-arguments"),
            ("get_job", json!({ "job_id": "x", "extra": 1 }), "bad-arguments"),
            ("get_job", json!({ "job_id": "x" }), "no-such-job"),
            ("get_job", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("list_jobs", json!({ "first": 0 }), "bad-arguments"),
            ("plan_job", json!({ "prompt": "x", "targets": [] }), "no-target"),
            (
                "plan_job",
                json!({ "prompt": "x", "targets": ["https://evil.example/a/b"] }),
                "host-not-allowed",
            ),
            ("wait_for_job", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("get_events", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("get_thread", json!({ "job_id": uuid::Uuid::nil(), "target": 1 }), "no-such-job"),
            ("get_diff", json!({ "job_id": uuid::Uuid::nil(), "target": 1 }), "no-such-job"),
            ("pause_job", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("resume_job", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("cancel_job", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
            ("retry_targets", json!({ "job_id": uuid::Uuid::nil() }), "no-such-job"),
        ] {
            let no = client.refused(tool, arguments.clone()).await;
            assert_eq!(no["code"], code, "{era:?} {tool} {arguments}: {no}");
            // There are clients that hide an answer, a no as well, that does not fit what was told.
            let tools = listed["tools"].as_array().unwrap();
            let schema = &tools.iter().find(|one| one["name"] == tool).unwrap()["outputSchema"];
            assert!(jsonschema::is_valid(schema, &no), "{tool}: {no}");
        }
        let answer = client.answer("tools/call", json!({ "name": "no_tool" })).await;
        assert_eq!(answer["error"]["code"], -32602);
    }
}
