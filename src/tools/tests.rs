use super::*;

struct NoOutputs;

#[async_trait]
impl Outputs for NoOutputs {
    async fn output(&self, turn: u32, tool_id: &str) -> Option<String> {
        (turn == 1 && tool_id == "a").then(|| "one\ntwo\n".to_owned())
    }
}

fn context(root: &std::path::Path) -> ToolContext {
    ToolContext {
        root: root.to_owned(),
        sandbox: None,
        git_dir: None,
        read_only: Vec::new(),
        session: None,
        timeout: Duration::from_secs(5),
        output_cap: 100_000,
        outputs: Arc::new(NoOutputs),
        first_note: None,
        turn: 3,
    }
}

/// Runs one tool and gives what Claude reads, and whether it is an error.
async fn call(root: &std::path::Path, name: &str, input: serde_json::Value) -> (String, bool) {
    let asked = AskedTool {
        id: "t".to_owned(),
        name: name.to_owned(),
        input: RawJson::render(&input).unwrap(),
    };
    let ran = run_turn(&mut context(root), &[asked]).await;
    let block: serde_json::Value = ran.results[0].read().unwrap();
    (block["content"].as_str().unwrap().to_owned(), block["is_error"].as_bool().unwrap())
}

async fn edit(root: &std::path::Path, input: serde_json::Value) -> (String, bool) {
    call(root, "str_replace_based_edit_tool", input).await
}

#[tokio::test]
async fn an_edit_keeps_line_ends_marks_and_the_missing_newline() {
    let cases: [(&[u8], &str, &str, &[u8]); 6] = [
        (b"a\r\nb\r\nc\r\n", "b", "B\nB2", b"a\r\nB\r\nB2\r\nc\r\n"),
        (b"a\nb\nc", "c", "C", b"a\nb\nC"),
        ("\u{feff}a\r\nb".as_bytes(), "a\nb", "x\ny", "\u{feff}x\r\ny".as_bytes()),
        (b"one\r\ntwo\nthree\r\n", "two", "2", b"one\r\n2\nthree\r\n"),
        (b"x\n", "x\n", "", b""),
        ("gr\u{fc}n\n".as_bytes(), "gr\u{fc}n", "rot", b"rot\n"),
    ];
    for (before, old, new, after) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), before).unwrap();
        let input =
            json!({"command": "str_replace", "path": "/repo/f", "old_str": old, "new_str": new});
        let (said, is_error) = edit(dir.path(), input).await;
        assert!(!is_error, "{said}");
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), after, "{said}");
    }
}

#[tokio::test]
async fn what_is_not_unique_or_not_there_is_said_with_where_to_look() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "a\nb\na\n    let x = 1;\n").unwrap();
    let replace =
        |old: &str| json!({"command": "str_replace", "path": "f", "old_str": old, "new_str": "z"});
    let (said, is_error) = edit(dir.path(), replace("a\n")).await;
    assert!(is_error && said.contains("2 times, at lines 1, 3"), "{said}");
    let (said, is_error) = edit(dir.path(), replace("let  x = 1;")).await;
    assert!(is_error && said.contains("Line 4 is similar"), "{said}");
}

#[tokio::test]
async fn nothing_leads_out_of_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    for path in
        ["../secret", "/etc/passwd", "link", "up/secret", "a/../../secret", ".git/config", ".GIT/x"]
    {
        let (said, is_error) = edit(&root, json!({"command": "view", "path": path})).await;
        assert!(is_error && !said.contains(&*dir.path().to_string_lossy()), "{path}: {said}");
        let create = json!({"command": "create", "path": path, "file_text": "pwned"});
        let (said, is_error) = edit(&root, create).await;
        assert!(is_error, "{path}: {said}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn create_makes_folders_and_edits_keep_the_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (said, _) =
        edit(dir.path(), json!({"command": "create", "path": "a/b/run.sh", "file_text": "echo\n"}))
            .await;
    assert_eq!(said, "Created /repo/a/b/run.sh (1 lines).");
    let file = dir.path().join("a/b/run.sh");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let input = json!({"command": "insert", "path": "a/b/run.sh", "insert_line": 0, "insert_text": "#!/bin/sh"});
    edit(dir.path(), input).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "#!/bin/sh\necho\n");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
}

#[tokio::test]
async fn lists_and_searches_are_ordered_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["src/b.rs", "src/a.rs", ".hidden", "node_modules/x/y.js", ".git/config"] {
        let place = dir.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, "fn alpha() {}\nfn beta() {}\n").unwrap();
    }
    let all = json!({"path": null, "glob": null, "depth": null});
    let (said, _) = call(dir.path(), "list_files", all).await;
    assert_eq!(said, ".hidden\nnode_modules/\nsrc/\nsrc/a.rs\nsrc/b.rs\n");
    let globbed = json!({"path": null, "glob": "*.rs", "depth": null});
    assert_eq!(call(dir.path(), "list_files", globbed).await.0, "src/a.rs\nsrc/b.rs\n");
    let search =
        json!({"pattern": "BETA", "path": "src", "glob": null, "ignore_case": true, "context": 1});
    let (said, _) = call(dir.path(), "search_files", search).await;
    assert_eq!(
        said,
        "src/a.rs-1-fn alpha() {}\nsrc/a.rs:2:fn beta() {}\nsrc/b.rs-1-fn alpha() {}\nsrc/b.rs:2:fn beta() {}\n"
    );
    let bad =
        json!({"pattern": "(", "path": null, "glob": null, "ignore_case": null, "context": null});
    assert!(call(dir.path(), "search_files", bad).await.1);
}

#[tokio::test]
async fn long_results_are_cut_and_can_be_paged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("long"), "0123456789\n".repeat(5_000)).unwrap();
    let (said, _) = edit(dir.path(), json!({"command": "view", "path": "long"})).await;
    assert!(said.len() < 31_000 && said.contains("view /outputs/3/t"), "{}", &said[14_900..15_200]);
    let (said, _) =
        edit(dir.path(), json!({"command": "view", "path": "/outputs/1/a", "view_range": [2, -1]}))
            .await;
    assert_eq!(said, "     2\ttwo\n");
}

#[tokio::test]
async fn a_claim_needs_evidence_and_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let finish = |id: &str, evidence: &[&str]| AskedTool {
        id: id.to_owned(),
        name: "finish".to_owned(),
        input: RawJson::render(&json!({
            "outcome": "already-compliant", "title": "t", "summary": "s", "evidence": evidence,
        }))
        .unwrap(),
    };
    let asked = [finish("a", &[" "]), finish("b", &["src/a.rs has it"]), finish("c", &["x"])];
    let ran = run_turn(&mut context(dir.path()), &asked).await;
    assert_eq!(ran.finish.map(|finish| finish.id), Some("b".to_owned()));
    assert_eq!(ran.results.len(), 2);
    assert_eq!(ran.ran.iter().map(|tool| tool.is_error).collect::<Vec<_>>(), [true, false, true]);
}
