//! Other people's programs as peers: a mock server by CopilotKit plays Claude for our client, and
//! Anthropic's own Python package judges our requests and reads our player. They are installed by
//! `make test`; a missing one is a failure, because a skipped peer proves nothing.

use cody_batch::claude::blocks::{BlockView, tool_result};
use cody_batch::claude::client::Client;
use cody_batch::claude::failure::CallError;
use cody_batch::claude::request::{History, compose};
use cody_events::raw::RawJson;
use cody_events::thread::{CallClass, StopReason};
use serde_json::{Value, json};

use crate::peers::{aimock, run_python};
use crate::support::{self, options, player, send, thread};
use crate::{LONG, play_long};

#[tokio::test]
async fn the_foreign_mock_plays_thinking_and_parallel_tools_turn_by_turn() {
    let mock = aimock(&json!([
        { "match": { "turnIndex": 0 }, "response": {
            "content": "I look first.", "reasoning": "Which files are there?",
            "toolCalls": [
                { "id": "toolu_a", "name": "bash", "arguments": { "command": "ls -l \"a b\"" } },
                { "id": "toolu_b", "name": "bash", "arguments": { "command": "git log" } },
            ],
            "usage": { "input_tokens": 50, "output_tokens": 90 } } },
        { "match": { "turnIndex": 1 }, "response": {
            "toolCalls": [{ "id": "toolu_c", "name": "bash", "arguments": "{}" }] } },
        { "match": { "turnIndex": 2 }, "response": { "content": "Done." } },
    ]));
    let client = Client::new(options(mock.url.clone())).unwrap();
    let thread = thread("Fix it");
    let (mut given, mut names) = (Vec::<(Vec<RawJson>, Vec<RawJson>)>::new(), Vec::new());
    loop {
        let mut history = History::new(&thread.first_message);
        for (response, results) in &given {
            history.assistant(response);
            history.user(results);
        }
        let body = compose(&thread, &history, 32_000).unwrap();
        let response = client.send(body.bytes, &[], |_| {}).await.unwrap().response;
        let mut results = Vec::new();
        for block in &response.content {
            match BlockView::of(block) {
                BlockView::ToolUse { id, input, .. } => {
                    names.push(format!("{id} {}", input.get()));
                    results.push(tool_result(&id, "fine", false).unwrap());
                }
                BlockView::Text { text } | BlockView::Thinking { thinking: text } => {
                    names.push(text)
                }
                other => panic!("{other:?}"),
            }
        }
        if response.stop_reason == StopReason::EndTurn {
            break;
        }
        assert_eq!(response.stop_reason, StopReason::ToolUse);
        given.push((response.content, results));
    }
    assert_eq!(
        names,
        [
            "Which files are there?",
            "I look first.",
            r#"toolu_a {"command":"ls -l \"a b\""}"#,
            r#"toolu_b {"command":"git log"}"#,
            "toolu_c {}",
            "Done.",
        ]
    );
}

#[tokio::test]
async fn the_foreign_mocks_failures_are_classed() {
    let error = |kind: &str, status: u16| json!({ "error": { "type": kind, "message": "as asked" }, "status": status });
    let mut limited = error("rate_limit_error", 429);
    limited["retryAfter"] = json!(7);
    let mock = aimock(&json!([
        { "match": { "userMessage": "limit" }, "response": limited },
        { "match": { "userMessage": "overload" }, "response": error("overloaded_error", 529) },
        { "match": { "userMessage": "nonsense" }, "response": error("invalid_request_error", 400) },
        { "match": { "userMessage": "cut" }, "truncateAfterChunks": 2,
          "response": { "content": "a long text that is cut off after two pieces of it" } },
        { "match": { "userMessage": "short" },
          "response": { "content": "and then", "finishReason": "length" } },
        { "match": { "userMessage": "refuse" },
          "response": { "content": "No.", "finishReason": "refusal" } },
    ]));
    let client = Client::new(options(mock.url.clone())).unwrap();
    let call = async |first: &str| send(&client, &support::body(first)).await;
    let class = |outcome: Result<_, CallError>| {
        outcome.map_err(|error| (error.class, error.retry_after.map(|wait| wait.as_secs())))
    };
    assert_eq!(class(call("limit").await), Err((CallClass::RateLimited, Some(7))));
    assert_eq!(class(call("overload").await), Err((CallClass::Overloaded, None)));
    assert_eq!(class(call("nonsense").await), Err((CallClass::BadRequest, None)));
    assert_eq!(class(call("no fixture").await), Err((CallClass::ServerError, None)));
    let cut = call("cut").await.unwrap_err();
    // The mock destroys the connection; that the response is gone is what matters.
    assert!(matches!(cut.class, CallClass::Dropped | CallClass::Truncated), "{cut}");
    let stop = |outcome: Result<_, CallError>| {
        let reply: cody_batch::claude::client::Reply = outcome.unwrap();
        reply.response.stop_reason
    };
    assert_eq!(stop(call("short").await), StopReason::MaxTokens);
    assert_eq!(stop(call("refuse").await), StopReason::Refusal);
}

#[tokio::test]
async fn our_requests_have_the_types_of_anthropics_own_package() {
    let (mut bodies, _player) = play_long(&LONG.replace(HOLOGRAM, "")).await;
    bodies.push(review_body());
    let (verdict, good) = run_python("check_requests.py", &[], bodies.join("\n")).await;
    assert_eq!((verdict.as_str(), good), ("ok 4", true));
    for (from, to, words) in [
        (r#""tool_use_id":"#, r#""tool_id":"#, "body.messages.2.content.0: lacks `tool_use_id`"),
        (r#""signature":"#, r#""sign":"#, "body.messages.1.content.0: lacks `signature`"),
    ] {
        let planted = bodies[2].replace(from, to);
        let input = format!("{}\n{planted}", bodies[0]);
        let (verdict, good) = run_python("check_requests.py", &[], input).await;
        assert_eq!((verdict, good), (format!("line 2: {words}"), false));
    }
}

/// The block of `LONG` that only a future API would send.
const HOLOGRAM: &str = "{ raw = { type = \"hologram\", depth = 3, layers = [{ a = 1.50 }] } },";

/// A request for a verdict, with a schema for the answer and a beta.
fn review_body() -> String {
    use cody_batch::claude::blocks::text_block;
    use cody_batch::claude::models::ModelTable;
    use cody_batch::claude::prefix::PrefixBuilder;
    use cody_events::job::Effort;
    let table = ModelTable::shipped().unwrap();
    let offer = table.lookup("claude-sonnet-5-5", "2026-11-22".parse().unwrap()).unwrap();
    let schema = r#"{"type":"object","properties":{"verdict":{"enum":["accept","object"]}},"required":["verdict"],"additionalProperties":false}"#;
    let thread = PrefixBuilder::new(offer.model)
        .system("You judge a change.")
        .effort(Effort::Xhigh)
        .answer_schema(RawJson::parse(schema).unwrap())
        .build(&[text_block("The diff.").unwrap()])
        .unwrap();
    let body = compose(&thread, &History::new(&thread.first_message), 32_000).unwrap();
    String::from_utf8(body.bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn anthropics_own_client_reads_our_player_as_we_do() {
    for wire in ["", "[wire]\npiece_bytes = 5\ncrlf = true"] {
        let player = player(&format!("{LONG}\n{wire}")).await;
        let body = support::body("Fix it");
        let ours = support::call(&player, "Fix it").await.unwrap();
        let url = player.base_url().unwrap().to_string();
        let (text, _) = run_python("read_stream.py", &[url], body).await;
        let theirs: Value = serde_json::from_str(&text).unwrap();
        let content: Vec<Value> = ours.response.content.iter().map(|b| b.read().unwrap()).collect();
        assert_eq!(theirs["message"]["content"], Value::from(content));
        assert_eq!(theirs["message"]["stop_reason"], ours.response.stop_reason_text.as_str());
        let usage = &theirs["message"]["usage"];
        assert_eq!(usage["output_tokens"], ours.response.usage.output_tokens);
        assert_eq!(
            usage["cache_creation"]["ephemeral_5m_input_tokens"],
            ours.response.usage.cache_write_5m_tokens
        );
    }
}

#[tokio::test]
async fn anthropics_own_client_understands_our_players_refusals() {
    let player = player(&support::faulty("status = 529, message = 'busy'")).await;
    let url = player.base_url().unwrap().to_string();
    let (text, _) = run_python("read_stream.py", &[url], support::body("Fix it")).await;
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({ "error": {
            "status": 529,
            "type": "overloaded_error",
            "message": "busy",
            "request_id": "req_player_000001",
        } })
    );
}
