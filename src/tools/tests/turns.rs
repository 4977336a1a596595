//! Whole turns: results in order, `finish`, cut results, `bash`.

use super::*;

fn finish(outcome: &str) -> Value {
    json!({"outcome": outcome, "title": "T", "summary": "S", "evidence": []})
}

#[tokio::test]
async fn only_a_valid_finish_goes_without_a_result() {
    let mut shop = Workshop::new(&[("a", "x\n")]);
    let view = json!({"command": "view", "path": "a"});
    let ran = shop
        .turn(&[
            ("t1", "finish", finish("not-applicable")),
            ("t2", "str_replace_based_edit_tool", view),
            ("t3", "finish", finish("changed")),
            ("t4", "finish", finish("changed")),
            ("t5", "delete_everything", json!({})),
            ("t6", "finish", json!({"outcome": "changed"})),
        ])
        .await;
    let finish = ran.finish.unwrap();
    assert_eq!((finish.id.as_str(), finish.title.as_str()), ("t3", "T"));
    let names: Vec<(ToolName, bool)> =
        ran.ran.iter().map(|tool| (tool.name, tool.is_error)).collect();
    assert_eq!(
        names,
        [
            (ToolName::Finish, true),
            (ToolName::Edit, false),
            (ToolName::Finish, false),
            (ToolName::Finish, true),
            (ToolName::Unknown, true),
            (ToolName::Finish, true),
        ]
    );
    let ids: Vec<String> = ran
        .results
        .iter()
        .map(|result| result.read::<Value>().unwrap()["tool_use_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["t1", "t2", "t4", "t5", "t6"]);
    assert_eq!(
        ran.results[1].get(),
        r#"{"type":"tool_result","tool_use_id":"t2","content":"     1\tx\n"}"#
    );
    assert!(block(&ran.results[2]).0.contains("has one already"));
    assert!(block(&ran.results[3]).0.contains("no tool named \"delete_everything\""));
}

#[tokio::test]
async fn the_note_stands_before_the_first_result_alone() {
    let mut shop = Workshop::new(&[("a", "x\n")]);
    shop.context.first_note = Some("[new machine]".to_owned());
    let ran = shop.turn(&[("t0", "finish", finish("changed"))]).await;
    assert_eq!((ran.results.len(), shop.context.first_note.is_some()), (0, true));
    let view = json!({"command": "view", "path": "a"});
    let edit = "str_replace_based_edit_tool";
    let ran = shop.turn(&[("t1", edit, view.clone()), ("t2", edit, view)]).await;
    let texts: Vec<String> = ran.results.iter().map(|result| block(result).0).collect();
    assert_eq!(texts, ["[new machine]\n     1\tx\n", "     1\tx\n"]);
}

#[tokio::test]
async fn a_cut_result_can_be_paged() {
    let text: String = (1..=9_000).map(|n| format!("line {n}\n")).collect();
    let mut shop = Workshop::new(&[("long", &text)]);
    let edit = "str_replace_based_edit_tool";
    let page = json!({"command": "view", "path": "/outputs/3/t1", "view_range": [4000, 4001]});
    let ran = shop
        .turn(&[
            ("t1", edit, json!({"command": "view", "path": "long"})),
            ("t2", edit, page.clone()),
        ])
        .await;
    let (shown, _) = block(&ran.results[0]);
    assert!(shown.contains("view /outputs/3/t1 with a view_range"), "{shown}");
    assert!(shown.starts_with("     1\tline 1\n") && shown.ends_with("  9000\tline 9000\n"));
    assert_eq!((ran.outputs.len(), ran.outputs[0].id.as_str()), (1, "t1"));
    assert_eq!(ran.outputs[0].output.lines().count(), 9_000);
    let expected = "  4000\t  4000\tline 4000\n  4001\t  4001\tline 4001\n";
    assert_eq!(block(&ran.results[1]).0, expected);

    // A later turn asks whoever kept it; a view of it that is cut is not kept again.
    let whole = ran.outputs[0].output.clone();
    shop.context.outputs = Arc::new(Kept(BTreeMap::from([((3, "t1".to_owned()), whole)])));
    shop.context.turn = 4;
    assert_eq!(shop.edit(page).await.unwrap(), expected);
    let ran = shop.turn(&[("t3", edit, json!({"command": "view", "path": "/outputs/3/t1"}))]).await;
    assert_eq!(ran.outputs, []);
    assert!(block(&ran.results[0]).0.contains("view /outputs/3/t1 with a view_range"));
    let missing = json!({"command": "view", "path": "/outputs/4/t9"});
    refused(shop.edit(missing).await, "There is no /outputs/4/t9");
    let write = json!({"command": "create", "path": "/outputs/3/t1", "file_text": ""});
    refused(shop.edit(write).await, "can only be viewed");
}

#[tokio::test]
async fn without_a_sandbox_nothing_is_run() {
    let mut shop = Workshop::new(&[]);
    let bash = json!({"command": "touch /repo/x"});
    refused(shop.call("bash", bash.clone()).await, "no sandbox works");
    let off = Sandbox::probe(&SandboxOptions::default()).await;
    shop.context.sandbox = Some(Arc::new(off));
    refused(shop.call("bash", bash).await, "no sandbox works");
    assert_eq!(fs::read_dir(shop.root()).unwrap().count(), 0);
}

#[tokio::test]
async fn commands_run_in_repo_and_remember_where_they_were() {
    let mut shop = Workshop::with_sandbox(&[("sub/a", "x\n")]).await;
    let mut bash = async |command: &str| shop.call("bash", json!({"command": command})).await;
    assert_eq!(bash("pwd; cat sub/a").await.unwrap(), "/repo\nx\n");
    assert_eq!(bash("true").await.unwrap(), "(no output)");
    let failed = bash("cd sub; export A=1; printf no; exit 7").await;
    assert_eq!(failed.unwrap_err(), "no\n[exit code 7]");
    assert_eq!(bash("pwd; echo $A").await.unwrap(), "/repo/sub\n1\n");
    // The table of mounts names the directory on this machine; the result does not.
    let mounts = bash("grep repo /proc/self/mountinfo").await.unwrap();
    assert!(mounts.contains("/repo"), "{mounts}");
    refused(bash(" ").await, "give a `command`");
    refused(bash("a\0b").await, "NUL byte");
    refused(bash(&"x".repeat(200_000)).await, "200000 bytes long");
    let restarted = shop.call("bash", json!({"restart": true})).await.unwrap();
    assert!(restarted.contains("was restarted"));
    assert_eq!(
        shop.call("bash", json!({"command": "pwd; echo [$A]"})).await.unwrap(),
        "/repo\n[]\n"
    );
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_and_said_so() {
    let mut shop = Workshop::with_sandbox(&[]).await;
    shop.context.timeout = Duration::from_millis(300);
    refused(
        shop.call("bash", json!({"command": "echo begun; sleep 100"})).await,
        "begun\n[killed after 0.3 seconds",
    );
}
