//! MCP's own Python client sees jobs through, in both eras: it plans, creates, waits, has a diff judged,
//! cancels, reads resources, fills prompts in. It judges each answer by the schema that it was told.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::client::Era;
use super::tools::Team;

fn python() -> Command {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/mcp");
    let python = place.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing; `make foreign` installs it", python.display());
    let mut command = Command::new(python);
    command.arg(place.join("client.py"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_sees_jobs_through_in_both_eras() {
    let team = Team::new(0).await;
    let asker = team.client("asker", &["run", "approve"], Era::Newer).await;
    let judge = team.client("judge", &["approve"], Era::Newer).await;
    for (mode, version) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let mut client = python();
        client.args([&asker.url, mode]).args([team.world.path("app"), team.world.path("web")]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let tokens = format!("{}\n{}\n", asker.token, judge.token);
        let output = tokio::task::spawn_blocking(move || {
            let mut child = client.spawn().unwrap();
            child.stdin.take().unwrap().write_all(tokens.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let output = output.await.unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = String::from_utf8(output.stdout).unwrap();
        let steps: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(output.status.success(), "{mode}: {said}{words}");
        let names = steps.iter().map(|step| step["step"].as_str().unwrap());
        let names: Vec<&str> = names.collect();
        assert_eq!(
            names,
            [
                "tools",
                "plan",
                "wait",
                "own",
                "review",
                "done",
                "cancel",
                "resources",
                "prompts",
                "complete"
            ]
        );
        let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap();
        assert_eq!(*step("tools"), json!({ "step": "tools", "count": 13, "version": version }));
        assert_eq!(step("plan")["targets"], json!(["app", "web"]));
        assert_eq!(step("wait")["status"], "awaiting-review");
        assert_eq!(step("wait")["awaiting"], json!([1]));
        assert_eq!(*step("own"), json!({ "step": "own", "is_error": true, "code": "own-job" }));
        assert_eq!(step("review")["is_new"], true);
        assert_eq!(step("done")["status"], "succeeded");
        assert_eq!(step("cancel")["status"], "cancelled");
        assert_eq!(step("resources")["has_job"], true);
        assert_eq!(step("resources")["report"], "# Job");
        assert_eq!(step("prompts")["names_job"], true);
        let prompts = step("prompts")["names"].as_array().unwrap().clone();
        for name in ["change_repositories", "upgrade_dependency", "review_job", "explain_failure"] {
            assert!(prompts.contains(&name.into()), "{prompts:?}");
        }
        assert!(prompts.len() >= 8, "a prompt for each recipe: {prompts:?}");
        assert_eq!(step("complete")["fits"], true);
    }
}
