//! Jobs that are refused: a stable code's words, exit code 2, and nothing recorded.

use super::harness::{World, repository};

const NOTHING: &str = "[[conversation]]\nname = \"none\"\nturn = []\n";

#[tokio::test(flavor = "multi_thread")]
async fn bad_jobs_are_refused_with_a_next_step_and_leave_nothing() {
    let world = World::new(NOTHING).await;
    let good = world.path("good");
    repository(&good, &[("a.txt", "a\n")]);
    let good = good.to_str().unwrap();
    let plain = world.path("plain");
    std::fs::create_dir(&plain).unwrap();
    let plain = plain.to_str().unwrap();
    let six: Vec<String> = (1..=6).map(|n| format!("acme/app{n}")).collect();
    let mut many = vec!["run", "--prompt", "x"];
    for repo in &six {
        many.extend(["--repo", repo.as_str()]);
    }
    let long = "x".repeat(70_000);
    let cases: Vec<(Vec<&str>, (&str, &str))> = vec![
        (vec!["run", "--repo", good], ("no prompt", "(no-prompt)")),
        (vec!["run", "--prompt", &long, "--repo", good], ("70000 bytes", "(prompt-too-long)")),
        (vec!["run", "--prompt", "x"], ("names no repository", "(no-target)")),
        (many, ("the cap is 5", "(too-many-targets)")),
        (
            vec![
                "run",
                "--prompt",
                "x",
                "--repo",
                "Acme/App",
                "--repo",
                "https://github.com/acme/app.git",
            ],
            ("same repository", "(duplicate-target)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--model", "gpt-9"],
            ("not in the price table", "(unknown-model)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--model", "claude-3-7-sonnet-20250219"],
            ("retired", "(retired-model)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--budget-usd", "0.01"],
            ("does not pay for one call", "(budget-too-small)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--budget-usd", "lots"],
            ("no amount of dollars", "(bad-limits)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--max-turns", "0"],
            ("0 turns", "(bad-limits)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", "https://u:p@github.com/a/b"],
            ("no user name or password", "(bad-url)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", "https://example.com/a/b"],
            ("not allowed", "(host-not-allowed)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", "/no/such/place"],
            ("nothing at", "(no-such-path)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", plain],
            ("no git repository", "(not-a-repository)"),
        ),
        (
            vec!["run", "--prompt", "x", "--repo", good, "--check", " "],
            ("check is empty", "(bad-check)"),
        ),
    ];
    for (args, (words, code)) in cases {
        let output = world.run(&args).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:.80?}: {said}");
        assert!(said.contains(words) && said.trim_end().ends_with(code), "{args:.80?}: {said}");
        assert!(!world.path("data/log.db").exists(), "{args:.80?} left a log");
    }
    assert!(world.player.heard().is_empty());
}
