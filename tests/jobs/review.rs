//! People in the loop: a diff is sent back and comes again, judged by the hash that was seen; one
//! repository goes first, and one that is not like it is held.

use std::path::Path;
use std::process::Output;

use cody_events::diff::TargetHeld;
use cody_events::event::Event;
use cody_events::thread::Purpose;

use super::harness::{World, apply, json, repository};

const REVIEW: &str = r#"
[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;

/// A change of `greet.sh` in the repository whose opening names `name`, and what comes after a comment.
fn change(name: &str, first: &str, after_comment: &str) -> String {
    format!(
        r#"
[[conversation]]
name = "change {name}"
match = {{ system = ["You change one repository"], first_message = ["Repository: {name} "] }}
[[conversation.turn]]
content = [
    {{ tool = "bash", input = {{ command = '''{first}''' }} }},
    {{ tool = "finish", input = {{ outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] }} }},
]
{after_comment}
"#
    )
}

fn ok(output: &Output) -> &Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn said_out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn show(world: &World) -> serde_json::Value {
    json(ok(&world.run(&["show", "latest", "--json"]).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_changes_goes_on_in_the_same_thread_and_yields_another_diff() {
    let again = r#"
[[conversation.turn]]
expect = ["A person looked at the change", "Say it to all of them."]
content = [
    { tool = "bash", input = { command = "sed -i s/world/everybody/ greet.sh" } },
    { tool = "finish", input = { outcome = "changed", title = "Greet all", summary = "All.", evidence = ["greet.sh"] } },
]
"#;
    let world =
        World::new(&[&change("app", "echo 'echo hello world' >greet.sh", again), REVIEW].concat())
            .await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n")]);
    let out = world.path("patches");
    let repo = app.to_str().unwrap();
    let patches = out.to_str().unwrap();
    ok(&world.run(&["run", "--prompt", "Greet", "--no-checks", "--repo", repo]).await);
    let first = show(&world).await["targets"][0]["diff_hash"].as_str().unwrap().to_owned();

    let nothing = world.run(&["request-changes", "latest", "--comment", " "]).await;
    assert_eq!(nothing.status.code(), Some(2));
    assert!(said(&nothing).contains("(no-comment)"), "{}", said(&nothing));
    let comment = ["--comment", "Say it to all of them."];
    let args = ["request-changes", "latest", "--out", patches, "--json", comment[0], comment[1]];
    let changed = json(&world.run(&args).await);
    assert_eq!(changed["targets"][0]["outcome"], "diff-ready", "{}", world.story_of(1).await);
    let second = changed["targets"][0]["diff_hash"].as_str().unwrap();
    assert_ne!(second, first);
    assert_eq!(changed["targets"][0]["outcome"], "diff-ready");

    // Nobody approves what they have not seen.
    let stale = world.run(&["approve", "latest", "--target", "1", "--diff", &first]).await;
    assert_eq!(stale.status.code(), Some(2));
    assert!(said(&stale).contains("(diff-moved)"), "{}", said(&stale));
    ok(&world.run(&["approve", "latest", "--diff", second]).await);
    let late = world.run(&["approve", "latest", "--target", "1", "--diff", second]).await;
    assert!(said(&late).contains("(already-judged)"), "{}", said(&late));

    let told = world.events().await;
    let changes = told.iter().filter(
        |told| matches!(&told.event, Event::ThreadStarted(e) if e.purpose != Purpose::Review),
    );
    assert_eq!(changes.count(), 1, "the conversation goes on, and does not start over");
    assert_eq!(told.iter().filter(|told| told.recorded.kind == "diff-produced").count(), 2);
    apply(&app, &out.join("app.patch"));
    assert_eq!(std::fs::read_to_string(app.join("greet.sh")).unwrap(), "echo hello everybody\n");
}

/// A world of three repositories: a pilot, one that is changed alike, and an outlier.
async fn three() -> (World, Vec<String>) {
    let edit = "echo 'echo hello world' >greet.sh";
    let script = [
        change("pilot", edit, ""),
        change("alike", edit, ""),
        change("outlier", "echo 'echo hello world' >greet.sh; rm other.sh; echo x >new.sql", ""),
        REVIEW.to_owned(),
    ];
    let world = World::new(&script.concat()).await;
    let mut repositories = Vec::new();
    for name in ["pilot", "alike", "outlier"] {
        let place = world.path(name);
        repository(&place, &[("greet.sh", "echo hello\n"), ("other.sh", "true\n")]);
        repositories.push(place.display().to_string());
    }
    (world, repositories)
}

/// A file that asks for a job of `repositories` with a pilot.
fn job_file(dir: &Path, repositories: &[String]) -> String {
    let names: Vec<String> = repositories.iter().map(|name| format!("{name:?}")).collect();
    let text = format!(
        "prompt = \"Greet\"\nno_checks = true\npilot = true\npolicy = \"auto\"\nrepositories = [{}]\n",
        names.join(", ")
    );
    let file = dir.join("job.toml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_follow_an_approved_pilot_and_an_outlier_is_held() {
    let (world, repositories) = three().await;
    let file = job_file(world.dir.path(), &repositories);
    let run = json(ok(&world.run(&["run", "--file", &file, "--json"]).await));
    // The run returns when a person is needed, and nothing else was begun.
    assert_eq!(run["status"], "awaiting-review");
    assert_eq!(run["targets"][0]["delivery"], "awaiting-approval");
    assert_eq!(run["targets"][1]["status"], "waiting");
    let told = world.events().await;
    assert_eq!(told.iter().filter(|told| told.recorded.kind == "attempt-requested").count(), 1);

    let approved = world.run(&["approve", "latest", "--target", "1"]).await;
    assert!(said(ok(&approved)).contains("resume"), "{}", said(&approved));
    let resumed = json(ok(&world.run(&["resume", "latest", "--json"]).await));
    let deliveries: Vec<&str> = resumed["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["delivery"].as_str().unwrap())
        .collect();
    assert_eq!(deliveries, ["none", "none", "held"]);
    assert_eq!(resumed["status"], "awaiting-review");

    let told = world.events().await;
    let held = told.iter().find(|told| matches!(told.event, Event::TargetHeld(_))).unwrap();
    let app = super::harness::app(&world.path("data"));
    let reason = app.payload_of::<TargetHeld>(held.recorded.position).await.unwrap().unwrap();
    for words in ["deletes 1 file", "adds 1 file", "`.sql` files", "the approved diff of target 1"]
    {
        assert!(reason.comment.contains(words), "{}", reason.comment);
    }
    // Whoever looks what waits finds it, with the reason.
    let waiting = json(ok(&world.run(&["inbox", "--json"]).await));
    assert_eq!((&waiting["target"], &waiting["delivery"]), (&3.into(), &"held".into()));
    assert_eq!(waiting["diff_hash"], show(&world).await["targets"][2]["diff_hash"]);
    let shown = world.run(&["show"]).await;
    assert!(said_out(&shown).contains("held for a person: "), "{}", said_out(&shown));
    ok(&world.run(&["approve", "latest", "--target", "3"]).await);
    assert_eq!(show(&world).await["status"], "succeeded");
    assert_eq!(said_out(&world.run(&["inbox"]).await), "Nothing waits for you.\n");
}
