//! Jobs against a server and types that no one here wrote: CopilotKit's aimock plays Claude over
//! twenty turns, and Anthropic's own package judges every request of a whole job.

use cody_events::event::Event;
use cody_events::thread::{CallClass, StopReason};
use serde_json::{Value, json};

use super::harness::{World, finish, repository};
use super::peers::{aimock, run_python};

/// Nobody plays in the worlds here: the foreign mock does.
const NOBODY: &str = "[[conversation]]\nname = \"none\"\nturn = []\n";

/// A turn of the foreign mock: thinking, words, and calls of tools.
fn turn(index: usize, calls: Value) -> Value {
    json!({
        "match": { "turnIndex": index },
        "response": {
            "reasoning": format!("I think about step {index}."),
            "content": format!("Step {index}."),
            "toolCalls": calls,
            "usage": { "input_tokens": 500 + index, "output_tokens": 40 },
        },
    })
}

fn call(id: &str, name: &str, arguments: Value) -> Value {
    json!({ "id": id, "name": name, "arguments": arguments })
}

/// The same turn, but the first time somebody asks for it this happens.
fn at_first(index: usize, sequence: usize, response: Value) -> Value {
    json!({ "match": { "turnIndex": index, "sequenceIndex": sequence }, "response": response })
}

fn error(kind: &str, status: u16) -> Value {
    json!({ "error": { "type": kind, "message": "as asked" }, "status": status })
}

/// Twenty turns with parallel tools, and the faults on the way.
fn twenty_turns() -> Value {
    let mut limited = error("rate_limit_error", 429);
    limited["retryAfter"] = json!(1);
    let cut = json!({ "content": "I begin a long", "finishReason": "length" });
    let mut fixtures = vec![
        json!({ "match": { "userMessage": "The engineer says" }, "response": {
            "content": r#"{"verdict":"accept","summary":"Good.","reasons":[]}"# } }),
        at_first(5, 0, limited),
        at_first(7, 0, error("overloaded_error", 529)),
        at_first(9, 0, cut),
    ];
    for index in 0..19 {
        let id = |part: &str| format!("toolu_{index:02}{part}");
        let path = format!("/repo/notes/{index:02}.txt");
        fixtures.push(turn(index, json!([
            call(&id("a"), "str_replace_based_edit_tool", json!({ "command": "create", "path": path, "file_text": format!("note {index}\n") })),
            call(&id("b"), "list_files", json!({ "path": "/repo/notes", "glob": "", "depth": 1 })),
            call(&id("c"), "bash", json!({ "command": format!("cat notes/{index:02}.txt") })),
        ])));
    }
    fixtures.push(turn(19, json!([call("toolu_end", "finish", json!({
        "outcome": "changed", "title": "Write notes", "summary": "Nineteen notes.", "evidence": ["notes/"],
    }))])));
    Value::Array(fixtures)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_mock_plays_twenty_turns_with_faults_on_the_way() {
    let mock = aimock(&twenty_turns());
    let world = World::new(NOBODY).await;
    let app = world.path("app");
    repository(&app, &[("readme.txt", "read me\n")]);
    let mut run =
        world.command(&["run", "--prompt", "Write notes", "--json", "--no-checks", "--repo"]);
    run.arg(&app).env("ANTHROPIC_BASE_URL", mock.url.as_str());
    let output = finish(run).await;
    let told = world.events().await;
    let story = world.story_of(1).await;
    assert!(output.status.success(), "{}\n{story}", String::from_utf8_lossy(&output.stderr));
    let turns: Vec<(u32, StopReason, u32)> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::ClaudeTurn(turn) if turn.thread.0 == 1 => {
                Some((turn.turn.0, turn.stop_reason, turn.tool_count))
            }
            _ => None,
        })
        .collect();
    assert_eq!(turns.len(), 21, "twenty turns, and the one that was cut off");
    assert_eq!(turns.iter().filter(|(_, stop, _)| *stop == StopReason::MaxTokens).count(), 1);
    assert_eq!(turns.iter().filter(|(_, _, tools)| *tools == 3).count(), 19);
    let failed: Vec<CallClass> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::CallFailed(failure) => Some(failure.class),
            _ => None,
        })
        .collect();
    assert_eq!(failed, [CallClass::RateLimited, CallClass::Overloaded]);
    let diff = told.iter().find_map(|told| match &told.event {
        Event::DiffProduced(diff) => Some(diff.file_count),
        _ => None,
    });
    assert_eq!(diff, Some(19));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_refusal_is_an_outcome() {
    let mock = aimock(&json!([{ "match": { "turnIndex": 0 },
        "response": { "content": "I will not.", "finishReason": "refusal" } }]));
    let world = World::new(NOBODY).await;
    let app = world.path("app");
    repository(&app, &[("readme.txt", "read me\n")]);
    let mut run = world.command(&["run", "--prompt", "Do it", "--json", "--repo"]);
    run.arg(&app).env("ANTHROPIC_BASE_URL", mock.url.as_str());
    let output = finish(run).await;
    assert_eq!(super::harness::json(&output)["targets"][0]["outcome"], "refused");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_a_job_has_the_types_of_anthropics_own_package() {
    let world = World::new(include_str!("../real/script.toml")).await;
    let app = world.path("is-number");
    repository(
        &app,
        &[
            ("index.js", &"// a line\n".repeat(17)),
            ("README.md", "### Contributors\n"),
            ("package.json", "{}\n"),
        ],
    );
    let mut edited = std::fs::read_to_string(app.join("index.js")).unwrap();
    edited.push_str("module.exports = () => true;\n");
    std::fs::write(app.join("index.js"), edited).unwrap();
    super::harness::commit(&app);
    world
        .run(&[
            "run",
            "--prompt",
            "Add a helper",
            "--no-checks",
            "--effort",
            "high",
            "--repo",
            app.to_str().unwrap(),
        ])
        .await;
    let heard = world.player.heard();
    assert!(heard.len() >= 3, "{}", world.story_of(1).await);
    let bodies: Vec<String> =
        heard.iter().map(|heard| String::from_utf8_lossy(&heard.body).into_owned()).collect();
    let (verdict, is_good) = run_python("check_requests.py", &[], bodies.join("\n")).await;
    assert_eq!((verdict, is_good), (format!("ok {}", bodies.len()), true));
}
