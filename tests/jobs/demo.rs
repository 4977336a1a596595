//! The demonstration does what it says.

use super::harness::{PROGRAM, apply, finish};
use std::process::Command;

fn passes(dir: &std::path::Path, command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).current_dir(dir).output().unwrap().status.success()
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
