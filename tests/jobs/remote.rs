//! A target on a host, fetched over the wire with a token that only its own host is shown.

use super::git_server::GitServer;
use super::harness::{World, apply, finish, git, json, repository};

const SCRIPT: &str = r#"
[[conversation]]
name = "change"
match = { system = ["You change one repository"] }
[[conversation.turn]]
content = [{ tool = "str_replace_based_edit_tool", input = { command = "str_replace", path = "/repo/greet.sh", old_str = "hello", new_str = "hello world" } }]
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet the world", summary = "It does.", evidence = ["greet.sh"] } }]

[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_on_a_host_becomes_a_patch() {
    let world = World::new(SCRIPT).await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n"), ("check.sh", "grep -q world greet.sh\n")]);
    let server = GitServer::start(Some("ghp_canary")).await;
    server.offer(&app, "acme/app");
    let (url, out) = (server.url("acme/app"), world.path("out"));
    let args =
        ["run", "--prompt", "Greet", "--repo", &url, "--json", "--check", "sh check.sh", "--out"];
    let run = |token_host: &str| {
        let mut command = world.command(&args);
        command
            .arg(&out)
            .env("CODY_ALLOWED_HOSTS", &server.host)
            .env("CODY_GITHUB_TOKEN", "ghp_canary")
            .env("CODY_TOKEN_HOST", token_host);
        finish(command)
    };
    let refused = run("github.com").await;
    assert_eq!(json(&refused)["targets"][0]["outcome"], "failed");
    assert_eq!(server.credentials(), Vec::<String>::new(), "the token is another host's");

    let done = run(&server.host).await;
    let target = &json(&done)["targets"][0];
    assert_eq!(
        (&target["outcome"], &target["repository"]),
        (&"diff-ready".into(), &"acme/app".into())
    );
    apply(&app, &out.join("acme-app.patch"));
    assert_eq!(git(&app, &["diff", "--cached", "--name-only"]), "greet.sh");
    let kept = world.run(&["events", "latest", "--json"]).await;
    assert!(!String::from_utf8_lossy(&kept.stdout).contains("ghp_canary"));
}
