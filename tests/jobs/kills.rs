//! A worker or the server killed with SIGKILL at each stage: the job ends with the same tree as
//! undisturbed, and each logged turn was asked for once.

use std::process::Stdio;

use cody_batch::app::Told;
use cody_events::event::Event;
use cody_events::outcome::Outcome;

use super::harness::{World, json, repository, wait_for};

const SCRIPT: &str = r#"
[[conversation]]
name = "change"
match = { system = ["You change one repository"] }

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "view", path = "/repo/greet.sh" } },
    { tool = "bash", input = { command = "sleep 0.2; cat greet.sh" } },
]
delay_ms = 150

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "str_replace", path = "/repo/greet.sh", old_str = "hello", new_str = "hello world" } },
    { tool = "str_replace_based_edit_tool", input = { command = "create", path = "/repo/docs/why.md", file_text = "Because.\n" } },
    { tool = "bash", input = { command = "sleep 0.2; printf 'made\\0up' >data.bin; chmod +x greet.sh" } },
]
delay_ms = 150

[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } }]
delay_ms = 150

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "create", path = "/repo/passes", file_text = "yes\n" } },
    { tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } },
]
delay_ms = 150

[[conversation]]
name = "review"
match = { system = ["You review a change"] }

[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
delay_ms = 150
"#;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Worker,
    Server,
}

/// The kinds of events after which somebody is killed, and how many of the kind there are by then.
const STAGES: [(&str, usize); 13] = [
    ("created", 1),
    ("attempt-requested", 1),
    ("attempt-started", 1),
    ("repo-scanned", 1),
    ("checks-ran", 1),
    ("thread-started", 1),
    ("call-permitted", 1),
    ("claude-turn", 1),
    ("tools-ran", 1),
    ("claude-turn", 2),
    ("checks-ran", 2),
    ("thread-started", 2),
    ("diff-reviewed", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_each_stage_costs_nothing_but_time() {
    let undisturbed = story(None).await;
    for stage in STAGES {
        assert_eq!(story(Some((Victim::Worker, stage))).await, undisturbed, "worker, {stage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_each_stage_is_resumed_to_the_same_end() {
    let undisturbed = story(None).await;
    for stage in STAGES {
        assert_eq!(story(Some((Victim::Server, stage))).await, undisturbed, "server, {stage:?}");
    }
}

/// Runs the job, with a kill if there is to be one, and gives the tree that it ends with.
async fn story(kill: Option<(Victim, (&str, usize))>) -> String {
    let world = World::new(SCRIPT).await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n"), ("src/x.txt", "x\n")]);
    let mut run = world.command(&[
        "run",
        "--prompt",
        "Greet",
        "--json",
        "--check",
        "test -f passes",
        "--repo",
    ]);
    run.arg(&app).env("CODY_LEASE_MS", "3000").env("CODY_HEARTBEAT_MS", "500");
    run.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    if let Some((victim, (kind, count))) = kill {
        let told = wait_for(&world.path("data"), &mut child, |told| {
            told.iter().filter(|told| told.recorded.kind == kind).count() >= count
        })
        .await;
        match victim {
            Victim::Server => {
                child.kill().unwrap();
                child.wait().unwrap();
                let resumed = world.run(&["resume", "latest", "--json"]).await;
                assert_eq!(json(&resumed)["status"], "succeeded", "{kind} {count}");
                return end(&world).await;
            }
            Victim::Worker => kill_worker(&told),
        }
    }
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(json(&output)["status"], "succeeded", "{kill:?}");
    end(&world).await
}

/// Kills the latest worker, as the log names it; before any claimed, there is none to name.
fn kill_worker(told: &[Told]) {
    let worker = told.iter().rev().find_map(|told| match &told.event {
        Event::AttemptStarted(started) => Some(started.worker.clone()),
        _ => None,
    });
    let Some(worker) = worker else { return };
    let pid = worker.rsplit(':').next().unwrap().to_owned();
    // It may have ended by itself a moment ago.
    let _ = std::process::Command::new("kill").args(["-9", &pid]).stderr(Stdio::null()).status();
}

/// The tree that the job ended with, after its log was looked through.
async fn end(world: &World) -> String {
    let told = world.events().await;
    let turns: Vec<(u32, u32)> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::ClaudeTurn(turn) => Some((turn.thread.0, turn.turn.0)),
            _ => None,
        })
        .collect();
    let mut once = turns.clone();
    once.dedup();
    assert_eq!(turns, once, "each turn is logged once");
    let finished = told.iter().rev().find_map(|told| match &told.event {
        Event::TargetFinished(finished) => Some(finished.clone()),
        _ => None,
    });
    let finished = finished.unwrap();
    assert_eq!(finished.outcome, Outcome::DiffReady);
    finished.tree.unwrap().to_string()
}
