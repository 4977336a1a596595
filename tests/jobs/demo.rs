//! The demonstration does what it says.

use super::harness::{PROGRAM, apply, finish};
use std::process::Command;

fn passes(dir: &std::path::Path, command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).current_dir(dir).output().unwrap().status.success()
}

/// What usage counts is what the job says of itself, in total and by any key.
async fn assert_counted(data: &std::path::Path) {
    let asked = async |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.env("CODY_MINUTES_SAVED", "45").arg("--data-dir").arg(data).args(args);
        let output = finish(command).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = |text: String| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let job = lines(asked(&["show", "--json"]).await).remove(0);
    let total = lines(asked(&["usage", "--json"]).await).remove(0);
    assert_eq!(total["cost_micros"], job["cost_micros"]);
    assert!(total["worker_ms"].as_u64() > Some(0), "{total}");
    assert_eq!(total["outcomes"], serde_json::json!({ "diff-ready": 2 }));
    assert_eq!((&total["success_permille"], &total["saved_minutes"]), (&1000.into(), &90.into()));
    let repositories = lines(asked(&["usage", "--by", "repository", "--json"]).await);
    let names: Vec<_> = repositories.iter().map(|row| row["repository"].as_str()).collect();
    assert_eq!(names, [Some("billing-py"), Some("slug-js")]);
    let cost = repositories.iter().filter_map(|row| row["cost_micros"].as_u64()).sum::<u64>();
    assert_eq!(job["cost_micros"], cost);
    assert_eq!(asked(&["usage", "--json", "--by", "day", "--until", "2020-01-01"]).await, "");
    let table = asked(&["usage", "--by", "model"]).await;
    assert!(table.contains("claude-opus-5-5") && table.contains("\ntotal "), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_fail_before_and_pass_after_their_patches() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let mut command = Command::new(PROGRAM);
    command.arg("demo").arg("--dir").arg(&demo).env_remove("ANTHROPIC_API_KEY");
    let output = finish(command).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("2 repositories = 2 diff-ready"), "{said}");
    assert_counted(&demo.join("data")).await;
    for (name, check) in [
        ("billing-py", &["python3", "-m", "unittest", "discover"][..]),
        ("slug-js", &["npm", "test"][..]),
    ] {
        let repository = demo.join(name);
        assert!(!passes(&repository, check), "{name} fails as it is");
        apply(&repository, &demo.join(format!("patches/{name}.patch")));
        assert!(passes(&repository, check), "{name} passes with its patch");
    }
}
