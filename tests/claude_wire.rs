//! The client for Claude against servers on this machine: our own player here, other people's
//! programs in `claude_wire/foreign.rs`. What decides about calls is not tested here.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is wrong")]

#[path = "claude_wire/foreign.rs"]
mod foreign;
#[path = "foreign/peers.rs"]
mod peers;
#[path = "claude_wire/strictness.rs"]
mod strictness;
#[path = "claude_wire/support.rs"]
mod support;

use std::time::Duration;

use cody_batch::claude::assemble::{IncompleteTool, StreamProgress};
use cody_batch::claude::blocks::{BlockView, tool_result, visible_text};
use cody_batch::claude::client::Client;
use cody_batch::claude::failure::CallError;
use cody_batch::claude::player::Player;
use cody_batch::claude::request::{History, compose};
use cody_events::raw::RawJson;
use cody_events::thread::{CallClass, StopReason, Usage};
use support::{CANARY, LOOPBACK, client, impatient, player, send, thread};

const LONG: &str = r#"
    [[conversation]]
    name = "change"
    match = { system = ["acme/app"], first_message = ["Fix"] }

    [[conversation.turn]]
    content = [
        { thinking = "The “tests” fail: grün 🌱." },
        { text = "I look first." },
        { tool = "bash", input = { command = "ls", "päth" = "a\\b" } },
        { tool = "bash", input = {} },
    ]

    [[conversation.turn]]
    expect = ["README"]
    content = [
        { thinking = "" },
        { redacted_thinking = "b3BhcXVl" },
        { raw = { type = "hologram", depth = 3, layers = [{ a = 1.50 }] } },
        { tool = "bash", input = { command = "make test" } },
    ]

    [[conversation.turn]]
    content = [{ text = "Done." }]
"#;

/// Plays the whole of `LONG`, and gives the bodies sent and the player.
async fn play_long(script: &str) -> (Vec<String>, Player) {
    let player = player(script).await;
    let client = client(&player);
    let thread = thread("Fix it");
    let (mut responses, mut answers) = (Vec::new(), Vec::new());
    let mut bodies = Vec::new();
    for turn in 0..3 {
        let mut history = History::new(&thread.first_message);
        for (response, answer) in std::iter::zip(&responses, &answers) {
            history.assistant(response);
            history.user(answer);
        }
        let body = compose(&thread, &history, 32_000).unwrap();
        bodies.push(String::from_utf8(body.bytes.to_vec()).unwrap());
        let reply = client.send(body.bytes, &thread.betas, |_| {}).await.unwrap();
        let calls = reply.response.content.iter().filter_map(|block| match BlockView::of(block) {
            BlockView::ToolUse { id, .. } => Some(tool_result(&id, "README.md", false).unwrap()),
            _ => None,
        });
        let calls: Vec<RawJson> = calls.collect();
        assert_eq!(calls.len(), [2, 1, 0][turn]);
        answers.push(calls);
        responses.push(reply.response.content);
    }
    let hologram = script.contains("hologram");
    assert_eq!(
        responses[1][1..2 + usize::from(hologram)],
        [
            RawJson::parse(r#"{"type":"redacted_thinking","data":"b3BhcXVl"}"#).unwrap(),
            RawJson::parse(r#"{"type":"hologram","depth":3,"layers":[{"a":1.5}]}"#).unwrap(),
        ][..1 + usize::from(hologram)]
    );
    assert_eq!(visible_text(&responses[2]), "Done.");
    (bodies, player)
}

#[tokio::test]
async fn a_conversation_goes_back_unchanged_and_its_signatures_hold() {
    let (bodies, player) = play_long(LONG).await;
    let heard: Vec<_> = player
        .heard()
        .into_iter()
        .map(|heard| (String::from_utf8(heard.body.to_vec()).unwrap(), heard.played))
        .collect();
    let played = |turn| Some(("change".to_owned(), turn));
    let expected: Vec<_> = bodies.iter().cloned().zip((0..).map(played)).collect();
    assert_eq!(heard, expected);
    // Each request begins with the bytes of the one before.
    for pair in bodies.windows(2) {
        assert!(pair[1].starts_with(pair[0].strip_suffix("]}").unwrap()));
    }
}

#[tokio::test]
async fn bytes_cut_anywhere_and_noise_in_between_give_the_same_conversation() {
    let (plain, _) = play_long(LONG).await;
    for wire in [
        "[wire]\npiece_bytes = 1",
        "[wire]\npiece_bytes = 7\ncrlf = true\ndelta_chars = 1",
        "[wire]\nnoise = true\ndelta_chars = 1000",
    ] {
        let (bodies, _) = play_long(&format!("{LONG}\n{wire}")).await;
        assert_eq!(bodies, plain, "{wire}");
    }
}

#[tokio::test]
async fn every_stop_reason_arrives_with_its_details() {
    for (word, reason) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("tool_use", StopReason::ToolUse),
        ("pause_turn", StopReason::PauseTurn),
        ("refusal", StopReason::Refusal),
        ("model_context_window_exceeded", StopReason::ModelContextWindowExceeded),
        ("compaction", StopReason::Unknown),
    ] {
        let player = player(&format!(
            r#"
            [[conversation]]
            name = "c"
            [[conversation.turn]]
            content = [{{ text = "x" }}]
            stop_reason = "{word}"
            stop_details = {{ type = "refusal", category = "cyber", explanation = "no" }}
            "#
        ))
        .await;
        let response = support::call(&player, "Fix it").await.unwrap().response;
        assert_eq!((response.stop_reason, response.stop_reason_text.as_str()), (reason, word));
        assert_eq!(
            response.stop_details.unwrap().get(),
            r#"{"type":"refusal","category":"cyber","explanation":"no"}"#
        );
    }
}

#[tokio::test]
async fn usage_is_what_the_last_event_says_and_the_first_split() {
    let player = player(
        r#"
        [[conversation]]
        name = "c"
        [conversation.turn.usage]
        input_tokens = 3
        output_tokens = 90
        cache_read_input_tokens = 4_000
        cache_creation_input_tokens = 500
        cache_creation = { ephemeral_5m_input_tokens = 400, ephemeral_1h_input_tokens = 100 }
        output_tokens_details = { thinking_tokens = 60 }
        iterations = [{ type = "compaction", input_tokens = 7, output_tokens = 5 }]
        "#
        .replace(
            "[conversation.turn.usage]",
            "[[conversation.turn]]\ncontent = [{ text = \"x\" }]\n[conversation.turn.usage]",
        )
        .as_str(),
    )
    .await;
    let reply = support::call(&player, "Fix it").await.unwrap();
    assert_eq!(
        reply.response.usage,
        Usage {
            input_tokens: 10,
            output_tokens: 95,
            cache_read_tokens: 4_000,
            cache_write_5m_tokens: 400,
            cache_write_1h_tokens: 100,
        }
    );
    assert_eq!(reply.response.wire_usage.thinking_tokens(), Some(60));
    assert_eq!(reply.request_id.as_deref(), Some("req_player_000001"));
    assert_eq!(reply.rate_limits.requests.remaining, Some(999));
    assert!(reply.first_byte_ms <= reply.total_ms);
}

#[tokio::test]
async fn a_tool_call_that_max_tokens_cuts_is_marked_and_comes_whole_with_more() {
    let player = player(
        r#"
        [[conversation]]
        name = "c"
        [[conversation.turn]]
        content = [{ text = "I write." }, { tool = "bash", input = { command = "echo a very long command line" } }]
        cut_below = 64_000
        "#,
    )
    .await;
    let client = client(&player);
    let thread = thread("Fix it");
    let history = History::new(&thread.first_message);
    let body = compose(&thread, &history, 32_000).unwrap();
    let cut = client.send(body.bytes, &[], |_| {}).await.unwrap().response;
    assert_eq!(cut.stop_reason, StopReason::MaxTokens);
    assert_eq!(
        cut.incomplete,
        Some(IncompleteTool { index: 1, partial_input: r#"{"command":"echo a very "#.into() })
    );
    let body = compose(&thread, &history, 64_000).unwrap();
    let whole = client.send(body.bytes, &[], |_| {}).await.unwrap().response;
    assert_eq!((whole.stop_reason, &whole.incomplete), (StopReason::ToolUse, &None));
    assert!(
        whole.content[1].get().ends_with(r#""input":{"command":"echo a very long command line"}}"#)
    );
}

#[tokio::test]
async fn refusals_have_the_class_of_their_remedy() {
    for (fault, class, wait) in [
        ("status = 400", CallClass::BadRequest, None),
        (
            "status = 400, message = 'prompt is too long: 2 tokens > 1 maximum'",
            CallClass::ContextExceeded,
            None,
        ),
        ("status = 401", CallClass::Authentication, None),
        ("status = 402", CallClass::Billing, None),
        ("status = 403", CallClass::Permission, None),
        ("status = 404, message = 'model: claude-x'", CallClass::ModelGone, None),
        ("status = 409", CallClass::Conflict, None),
        ("status = 413", CallClass::TooLarge, None),
        ("status = 429, retry_after = '8'", CallClass::RateLimited, Some(8)),
        ("status = 429", CallClass::SpendCap, None),
        ("status = 500", CallClass::ServerError, None),
        ("status = 504", CallClass::Timeout, None),
        ("status = 529, retry_after = '3'", CallClass::Overloaded, Some(3)),
    ] {
        let player = player(&support::faulty(fault)).await;
        let error = support::call(&player, "Fix it").await.unwrap_err();
        let status = fault["status = ".len()..][..3].parse().ok();
        assert_eq!(
            (error.class, error.status, error.retry_after, error.usage_seen),
            (class, status, wait.map(Duration::from_secs), None),
            "{fault}"
        );
        assert_eq!(error.request_id.as_deref(), Some("req_player_000001"));
        // The same call again goes through: nothing of the failure stays in the client.
        support::call(&player, "Fix it").await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_stream_gives_no_response_and_says_what_it_cost() {
    for (fault, class) in [
        ("breaks = 'truncate', after_events = 0", CallClass::Truncated),
        ("breaks = 'truncate', after_events = 5", CallClass::Truncated),
        // All but `message_stop`.
        ("breaks = 'truncate', after_events = 7", CallClass::Truncated),
        ("breaks = 'drop', after_events = 5", CallClass::Dropped),
        ("breaks = 'idle', after_events = 5", CallClass::Idle),
        ("breaks = 'error', after_events = 5", CallClass::Overloaded),
        ("breaks = 'error', after_events = 5, kind = 'api_error'", CallClass::ServerError),
        ("breaks = 'error', after_events = 5, kind = 'rate_limit_error'", CallClass::RateLimited),
    ] {
        let player = player(&support::faulty(fault)).await;
        let client = impatient(&player);
        let error = send(&client, &support::body("Fix it")).await.unwrap_err();
        assert_eq!((error.class, error.status), (class, Some(200)), "{fault}: {error}");
        let seen = error.usage_seen.map(|usage| usage.output_tokens);
        let expected = match fault {
            _ if fault.contains("after_events = 0") => None,
            _ if fault.contains("after_events = 7") => Some(20),
            _ => Some(1),
        };
        assert_eq!(seen, expected, "{fault}");
    }
}

#[tokio::test]
async fn silence_and_absence_are_told_apart() {
    let player = player(
        "[[conversation]]\nname = 'c'\n[[conversation.turn]]\ndelay_ms = 60_000\ncontent = [{ text = 'x' }]",
    )
    .await;
    let error = send(&impatient(&player), &support::body("Fix it")).await.unwrap_err();
    assert_eq!((error.class, error.status), (CallClass::Timeout, None));
    let address = player.base_url().unwrap();
    drop(player);
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let mut nowhere = address.clone();
    nowhere.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    drop(listener);
    let options = support::options(nowhere);
    let error = send(&Client::new(options).unwrap(), &support::body("x")).await.unwrap_err();
    assert_eq!((error.class, error.status), (CallClass::Dropped, None));
    assert!(error.message.starts_with("the provider could not be reached"), "{error}");
    assert!(!error.message.contains("127.0.0.1:") || !error.message.contains("/v1/"), "{error}");
}

#[tokio::test]
async fn the_key_never_shows_in_an_error() {
    let echo = format!("status = 401, message = 'the key {CANARY} is not known'");
    let player = player(&support::faulty(&echo)).await;
    let error: CallError = support::call(&player, "Fix it").await.unwrap_err();
    assert_eq!(
        error.message,
        "the provider refused the call: authentication_error the key [redacted] is not known"
    );
    assert!(!format!("{error:?} {:?}", client(&player)).contains(CANARY));
}

#[tokio::test]
async fn progress_tells_the_response_as_it_comes() {
    let player = player(LONG).await;
    let (mut text, mut thinking, mut blocks) = (String::new(), String::new(), Vec::new());
    let mut input_bytes = 0;
    let body = support::body("Fix it");
    let client = client(&player);
    let reply = client.send(body.into(), &[], |progress| match progress {
        StreamProgress::Answered(_) | StreamProgress::Started => assert!(blocks.is_empty()),
        StreamProgress::Block { kind, name, .. } => {
            blocks.push((kind.to_owned(), name.map(str::to_owned)));
        }
        StreamProgress::Text(piece) => text.push_str(piece),
        StreamProgress::Thinking(piece) => thinking.push_str(piece),
        StreamProgress::ToolInput(bytes) => input_bytes += bytes,
    });
    reply.await.unwrap();
    let kinds: Vec<_> = blocks.iter().map(|(k, n)| (k.as_str(), n.as_deref())).collect();
    assert_eq!(
        kinds,
        [
            ("thinking", None),
            ("text", None),
            ("tool_use", Some("bash")),
            ("tool_use", Some("bash"))
        ]
    );
    assert_eq!((text.as_str(), thinking.as_str()), ("I look first.", "The “tests” fail: grün 🌱."));
    assert_eq!(input_bytes, r#"{"command":"ls","päth":"a\\b"}"#.len());
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_read_as_well() {
    let player = player(LONG).await;
    let client = client(&player);
    let body = support::body("Fix it");
    let streamed = send(&client, &body).await.unwrap().response;
    let whole = send(&client, &body.replace(r#""stream":true,"#, "")).await.unwrap().response;
    assert_eq!(whole.content, streamed.content);
    assert_eq!(whole.usage, streamed.usage);
}
