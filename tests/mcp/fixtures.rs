//! The whole of MCP's conformance suite, with nothing excused, against the program with the suite's own
//! tools in it (feature `mcp-fixtures`). They stand behind the same door, and what lasts is a real job:
//! this proves the door, its transport and its calls that last, and says nothing of our own tools.

use super::harness::{World, repository};
use super::proxy::Proxy;
use super::running::Running;
use super::suite::{failures, finish, program, scenarios, words};

/// What the suite's authors have not finished: it runs, and counts for nobody.
const PENDING: [&str; 1] = ["server-sse-polling"];

/// Claude, as the suite's jobs need it: it takes as long as their prompt says, fails where it should,
/// and changes a file elsewhere.
fn script() -> String {
    let mut script = String::new();
    for seconds in [60, 2, 1] {
        script.push_str(&change(&format!("slow_compute {seconds}"), seconds * 1000));
    }
    script.push_str(
        r#"
[[conversation]]
name = "fails"
match = { system = ["You change one repository"], first_message = ["failing_job"] }
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "cannot", title = "No", summary = "It cannot be done.", evidence = ["greet.sh"] } }]
"#,
    );
    script.push_str(&change("", 0));
    script.push_str(
        r#"
[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#,
    );
    script
}

fn change(words: &str, delay_ms: u64) -> String {
    format!(
        r#"
[[conversation]]
name = "change {words}"
match = {{ system = ["You change one repository"], first_message = ["{words}"] }}
[[conversation.turn]]
delay_ms = {delay_ms}
content = [{{ tool = "bash", input = {{ command = "sed -i s/hello/hi/ greet.sh" }} }}]
[[conversation.turn]]
content = [{{ tool = "finish", input = {{ outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] }} }}]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_both_revisions_is_met_with_nothing_excused() {
    let world = World::new(&script()).await;
    let place = world.path("app");
    repository(&place, &[("greet.sh", "echo hello\n")]);
    let (roots, place) = (world.dir.path().display().to_string(), place.display().to_string());
    let settings = [
        ("CODY_LOCAL_ROOTS", roots.as_str()),
        ("CODY_FIXTURE_REPOSITORY", place.as_str()),
        ("CODY_REQUESTS_A_MINUTE", "0"),
        ("CODY_REFUSALS_A_MINUTE", "0"),
    ];
    let server = Running::start(&world, &settings).await;
    let made =
        world.run(&["token", "create", "--json", "--name", "suite", "--scope", "admin"]).await;
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let proxy = Proxy::new(&server.url, made["token"].as_str().unwrap()).await;
    for (revision, all) in [("2026-07-28", 50), ("2025-11-25", 33)] {
        let out = tempfile::tempdir().unwrap();
        let mut suite = program("conformance");
        suite.args(["server", "--url", &format!("{}/mcp", proxy.url), "--requirements", revision]);
        suite.arg("-o").arg(out.path()).env("HOME", out.path()).current_dir(out.path());
        let output = finish(suite).await;
        let wrong: Vec<String> = failures(out.path())
            .into_iter()
            .filter(|failure| !PENDING.iter().any(|name| failure.contains(name)))
            .collect();
        let ran = scenarios(out.path());
        println!("{revision}: {} scenarios, {} checks", ran.len(), ran.values().sum::<usize>());
        assert!(wrong.is_empty(), "{}\n{}", words(&output), wrong.join("\n"));
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(ran.len(), all, "{ran:?}");
        let lasting = ran.keys().filter(|name| name.contains("tasks-")).count();
        assert_eq!(lasting, if revision == "2026-07-28" { 10 } else { 0 }, "{ran:?}");
    }
}
