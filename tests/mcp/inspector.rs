//! The Inspector of MCP's own makers: strict about every schema.

use std::path::Path;

use super::proxy::Proxy;
use super::suite::{finish, program, served, words};

/// What the Inspector says, with `args`, of the server behind `url`.
async fn asked(home: &Path, url: &str, era: &str, args: &[&str]) -> (String, Option<i32>) {
    let mut inspector = program("mcp-inspector");
    inspector.args(["--cli", url, "--transport", "http", "--protocol-era", era]);
    inspector.args(args).env("HOME", home).current_dir(home);
    let output = finish(inspector).await;
    (words(&output), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_finds_no_fault_in_either_era() {
    let (server, token) = served();
    let proxy = Proxy::new(&server.url, &token).await;
    let home = tempfile::tempdir().unwrap();
    for (era, route) in [("modern", "/mcp"), ("legacy", "/mcp"), ("modern", "/mcp/readonly")] {
        let url = format!("{}{route}", proxy.url);
        for method in ["tools/list", "resources/list", "resources/templates/list", "prompts/list"] {
            let strict: &[&str] = if method == "tools/list" { &["--strict"] } else { &[] };
            let (said, code) =
                asked(home.path(), &url, era, &[&["--method", method], strict].concat()).await;
            assert_eq!(code, Some(0), "{era} {route} {method}: {said}");
        }
        let call = ["--method", "tools/call", "--tool-name", "get_job", "--tool-arg"];
        let (said, code) =
            asked(home.path(), &url, era, &[call.as_slice(), &["job_id=latest"]].concat()).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("succeeded"), "{said}");
        let (said, code) =
            asked(home.path(), &url, era, &[call.as_slice(), &["job_id=nonsense"]].concat()).await;
        assert_eq!(code, Some(5), "a no is told as one: {said}");
    }
}
