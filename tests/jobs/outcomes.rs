//! Every way in which a round ends, with what it leaves.

use cody_events::event::Event;

use super::harness::{World, apply, git, json, repository};

const FILES: &[(&str, &str)] =
    &[("greet.sh", "echo hello\n"), ("check.sh", "grep -q world greet.sh\n")];

/// A conversation about `app` with these turns, and a review that says `verdicts` in turn.
fn script(turns: &str, review: &str) -> String {
    format!(
        "[[conversation]]\nname = \"change\"\nmatch = {{ system = [\"You change one repository\"] }}\n{turns}\n\
         [[conversation]]\nname = \"review\"\nmatch = {{ system = [\"You review a change\"] }}\n{review}\n"
    )
}

const EDIT: &str = r#"
[[conversation.turn]]
content = [
    { thinking = "I know what to do." },
    { tool = "str_replace_based_edit_tool", input = { command = "str_replace", path = "/repo/greet.sh", old_str = "hello", new_str = "hello world" } },
    { tool = "list_files", input = { path = "/repo" } },
]
"#;
const FINISH: &str = r#"
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet the world", summary = "It does.", evidence = ["greet.sh"] } }]
"#;
const ACCEPT: &str = r#"
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;
const OBJECT: &str = r#"
[[conversation.turn]]
content = [{ text = '{"verdict": "object", "summary": "Bad.", "reasons": ["greet.sh shouts"] }' }]
"#;

/// Runs the job and gives its one target, with the world for more questions.
async fn run(script: &str, more: &[&str]) -> (World, serde_json::Value, i32) {
    let world = World::new(script).await;
    let app = world.path("app");
    repository(&app, FILES);
    let out = world.path("out");
    let mut args = vec!["run", "--prompt", "Greet the world", "--json", "--repo"];
    args.extend([app.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    args.extend(more);
    let output = world.run(&args).await;
    let code = output.status.code().unwrap_or(-1);
    let job = json(&output);
    let target = job["targets"][0].clone();
    (world, target, code)
}

async fn evidence(world: &World) -> String {
    let shown = world.run(&["show"]).await;
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_passes_and_is_accepted_is_ready_and_applies() {
    let script = script(&format!("{EDIT}{FINISH}"), ACCEPT);
    let (world, target, code) = run(&script, &["--check", "sh check.sh"]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("diff-ready"), 0));
    let tree = apply(&world.path("app"), &world.path("out/app.patch"));
    let recorded = world.events().await.into_iter().rev().find_map(|told| match told.event {
        Event::DiffProduced(diff) => Some(diff.tree.to_string()),
        _ => None,
    });
    assert_eq!(recorded, Some(tree));
    assert_eq!(git(&world.path("app"), &["log", "--oneline"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_checks_that_never_pass_end_with_a_partial_diff() {
    let again = FINISH.repeat(3);
    let (world, target, code) =
        run(&script(&format!("{EDIT}{again}"), ACCEPT), &["--check", "false"]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("failed-checks"), 1));
    assert!(world.path("out/app.patch").exists());
    assert!(
        evidence(&world)
            .await
            .contains("`false`: fails (exit code 1) before, fails (exit code 1) after")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objection_goes_back_into_the_conversation_and_the_last_one_holds_the_diff() {
    let again = FINISH.repeat(3);
    let (world, target, code) =
        run(&script(&format!("{EDIT}{again}"), OBJECT), &["--no-checks"]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("objected"), 1));
    assert_eq!(target["delivery"], "held");
    let sent_back = world
        .player
        .heard()
        .iter()
        .any(|heard| String::from_utf8_lossy(&heard.body).contains("greet.sh shouts"));
    assert!(sent_back, "Claude was told what the review found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_without_a_verdict_never_accepts() {
    let silent = "[[conversation.turn]]\ncontent = [{ text = \"Looks fine to me!\" }]\n";
    let (_, target, _) = run(&script(&format!("{EDIT}{FINISH}"), silent), &["--no-checks"]).await;
    assert_eq!(
        (target["outcome"].as_str(), target["delivery"].as_str()),
        (Some("objected"), Some("held"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_change_without_a_change_is_sent_back_and_never_a_success() {
    let (world, target, _) = run(&script(&FINISH.repeat(3), ACCEPT), &["--no-checks"]).await;
    assert_eq!(target["outcome"], "stuck");
    assert_eq!(target["patch"], serde_json::Value::Null);
    assert!(evidence(&world).await.contains("does not bear out"));
}

#[tokio::test(flavor = "multi_thread")]
async fn already_compliant_needs_evidence_and_an_unchanged_tree() {
    let claim = |evidence: &str| {
        format!(
            "[[conversation.turn]]\ncontent = [{{ tool = \"finish\", input = {{ outcome = \"already-compliant\", \
             title = \"Nothing to do\", summary = \"It greets.\", evidence = [{evidence}] }} }}]\n"
        )
    };
    let turns = format!("{}{}", claim(""), claim("\"greet.sh line 1\""));
    let (world, target, code) = run(&script(&turns, ACCEPT), &[]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("already-compliant"), 0));
    assert!(evidence(&world).await.contains("greet.sh line 1"));
    let (_, target, _) =
        run(&script(&format!("{EDIT}{}{FINISH}", claim("\"x\"")), ACCEPT), &["--no-checks"]).await;
    assert_eq!(target["outcome"], "diff-ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_a_spent_budget_and_spent_turns_are_outcomes() {
    let refusal =
        "[[conversation.turn]]\ncontent = [{ text = \"No.\" }]\nstop_reason = \"refusal\"\n";
    let (_, target, code) = run(&script(refusal, ACCEPT), &[]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("refused"), 1));

    let looks = "[[conversation.turn]]\ncontent = [{ tool = \"list_files\", input = { path = \"/repo\" } }]\n".repeat(4);
    let (_, target, code) =
        run(&script(&format!("{EDIT}{looks}"), ACCEPT), &["--max-turns", "3"]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("budget-stopped"), 3));

    let dear = format!("{EDIT}\nusage = {{ output_tokens = 8000 }}\n{looks}");
    let (world, target, code) = run(&script(&dear, ACCEPT), &["--budget-usd", "0.30"]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("budget-stopped"), 3));
    assert!(world.path("out/app.patch").exists(), "the partial diff is kept");
    let last_calls = world
        .events()
        .await
        .iter()
        .filter(|told| matches!(&told.event, Event::CallPermitted(permit) if permit.last))
        .count();
    assert_eq!(last_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_without_a_claim_are_nudged_once_and_cut_offs_asked_again_with_more_room() {
    let idle = "[[conversation.turn]]\ncontent = [{ text = \"Done.\" }]\n";
    let (world, target, _) = run(&script(&idle.repeat(3), ACCEPT), &[]).await;
    assert_eq!(target["outcome"], "stuck");
    let nudged = world
        .player
        .heard()
        .iter()
        .filter(|heard| String::from_utf8_lossy(&heard.body).contains("without calling a tool"))
        .count();
    assert_eq!(nudged, 1);

    let cut = format!("{}cut_below = 40000\n{FINISH}", EDIT);
    let (world, target, _) = run(&script(&cut, ACCEPT), &["--no-checks"]).await;
    assert_eq!(target["outcome"], "diff-ready");
    let asked: Vec<u32> = world
        .events()
        .await
        .iter()
        .filter_map(|told| match &told.event {
            Event::CallPermitted(permit) => Some(permit.max_tokens),
            _ => None,
        })
        .collect();
    assert_eq!(asked[..2], [32_000, 64_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_provider_are_ridden_out_and_those_that_cannot_be_end_the_round() {
    let faults = "before = [{ status = 529 }, { status = 429, retry_after = \"1\" }, { status = 500 }, { breaks = \"truncate\", after_events = 3 }]\n";
    let (world, target, _) =
        run(&script(&format!("{EDIT}{faults}{FINISH}"), ACCEPT), &["--no-checks"]).await;
    assert_eq!(target["outcome"], "diff-ready");
    let failed: Vec<String> = world
        .events()
        .await
        .iter()
        .filter_map(|told| match &told.event {
            Event::CallFailed(failure) => {
                Some(format!("{:?} {}", failure.class, failure.assumed_micros > 0))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        failed,
        ["Overloaded false", "RateLimited false", "ServerError false", "Truncated true"]
    );

    let refused = "before = [{ status = 401 }]\n";
    let (world, target, code) =
        run(&script(&format!("{EDIT}{refused}{FINISH}"), ACCEPT), &[]).await;
    assert_eq!((target["outcome"].as_str(), code), (Some("failed"), 1));
    assert!(evidence(&world).await.contains("correct the key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_or_the_workers_world() {
    let spy = r#"
[[conversation.turn]]
content = [{ tool = "bash", input = { command = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'" } }]
"#;
    let (world, target, _) =
        run(&script(&format!("{spy}{EDIT}{FINISH}"), ACCEPT), &["--no-checks"]).await;
    assert_eq!(target["outcome"], "diff-ready");
    let mut stack = vec![world.path("data")];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                stack.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(13).any(|window| window == b"sk-ant-canary");
            assert!(!found, "{} holds the key", entry.path().display());
        }
    }
    let events = world.run(&["events", "--json"]).await;
    assert!(!String::from_utf8_lossy(&events.stdout).contains("sk-ant-canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_verifies_by_a_program_that_shares_no_code_with_ours() {
    let (world, _, _) = run(&script(&format!("{EDIT}{FINISH}"), ACCEPT), &["--no-checks"]).await;
    let log = world.path("data/log.db");
    let verify = |log: &std::path::Path| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_log.py");
        let output = std::process::Command::new("python3").arg(script).arg(log).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let events = world.events().await.len() + 1;
    assert!(verify(&log).starts_with(&format!("whole {events} ")), "{}", verify(&log));
    let connection = rusqlite::Connection::open(&log).unwrap();
    connection.execute_batch("DROP TRIGGER events_never_change; UPDATE events SET actor = 'mallory' WHERE position = 4").unwrap();
    drop(connection);
    assert!(verify(&log).starts_with("position 4: has a hash"), "{}", verify(&log));
}
