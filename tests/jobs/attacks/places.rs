//! Attacks by links and names: to make our own tools read or write where they must not.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::{CANARY, Victim, bash, create, view};
use crate::harness::{commit, git};

#[tokio::test(flavor = "multi_thread")]
async fn makes_the_edit_tool_write_through_a_link() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!("ln -s {home}/.netrc /repo/link; ln -s {home} /repo/dir; echo tried")),
            create("/repo/link", "overwritten"),
            create("/repo/dir/planted", "planted"),
            (
                "str_replace_based_edit_tool",
                json!({ "command": "str_replace", "path": "/repo/link", "old_str": CANARY, "new_str": "x" }),
            ),
            (
                "str_replace_based_edit_tool",
                json!({ "command": "insert", "path": "/repo/link", "insert_line": 0, "insert_text": "x" }),
            ),
        ])
        .await;
    after.was_held().saw("tried");
    let home = after.victim.world.path("home");
    assert_eq!(std::fs::read_to_string(home.join(".netrc")).unwrap(), CANARY);
    assert!(!home.join("planted").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_the_tools_read_through_a_link() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!("ln -s {home}/.netrc /repo/link; ln -s {home} /repo/dir; echo tried")),
            view("/repo/link"),
            view("/repo/dir/.netrc"),
            ("list_files", json!({ "path": "/repo/dir" })),
            ("search_files", json!({ "pattern": "canary-", "path": "/repo" })),
            ("search_files", json!({ "pattern": "canary-", "path": "/repo/dir" })),
        ])
        .await;
    after.was_held().saw("tried");
}

/// The repository itself brings the links, and they stay links.
#[tokio::test(flavor = "multi_thread")]
async fn brings_links_that_lead_out() {
    let victim = Victim::plain().await;
    let home = victim.world.path("home");
    symlink(home.join(".netrc"), victim.app.join("key")).unwrap();
    symlink(&home, victim.app.join("home")).unwrap();
    symlink("/etc/shadow", victim.app.join("AGENTS.md")).unwrap();
    symlink("../../../../../../etc/passwd", victim.app.join("README.md")).unwrap();
    commit(&victim.app);
    let after = victim
        .suffers(&[
            view("/repo/key"),
            view("/repo/home/.netrc"),
            view("/repo/AGENTS.md"),
            view("/repo/README.md"),
            create("/repo/home/planted", "x"),
            bash("cat key home/.netrc AGENTS.md; echo tried"),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(!after.seen.contains("root:x:0:0:root:/root:/bin/bash"), "{}", after.seen);
    assert!(!after.victim.world.path("home/planted").exists());
    assert_eq!(after.changed(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_a_folder_for_a_link_between_two_tools() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            view("/repo/sub/b.txt"),
            bash(&format!("mv sub sub2; ln -s {home} sub; echo tried")),
            create("/repo/sub/planted", "x"),
            view("/repo/sub/.netrc"),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(!after.victim.world.path("home/planted").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_paths_outside_of_the_repository() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let mut calls = Vec::new();
    for path in [
        format!("{home}/.netrc"),
        format!("/repo/../../../../../..{home}/.netrc"),
        "/proc/self/environ".to_owned(),
        "/etc/shadow".to_owned(),
        "../x".to_owned(),
        "/repo/.git/config".to_owned(),
        "/repo/sub/../../x".to_owned(),
        "~/.netrc".to_owned(),
        "/repo/a.txt\0/../../etc/passwd".to_owned(),
    ] {
        calls.push(view(&path));
        calls.push(create(&path, "planted"));
        calls.push(("list_files", json!({ "path": path })));
        calls.push(("search_files", json!({ "pattern": "x", "path": path })));
    }
    let after = victim.suffers(&calls).await;
    after.was_held();
    // A tilde is a letter like any other.
    assert_eq!(after.changed(), ["~/.netrc"]);
    assert_eq!(git(&after.victim.app, &["status", "--porcelain"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_hard_to_files_of_the_machine() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!(
                "ln {home}/.netrc /repo/hard && echo REACHED; ln /etc/passwd /repo/p; echo tried"
            )),
            bash("echo x >>/repo/p; ln /usr/bin/env /repo/env && echo REACHED; echo tried"),
        ])
        .await;
    after.was_held().saw("tried");
}
