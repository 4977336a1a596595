//! The editor: what it writes, what it leaves alone, what it refuses.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[tokio::test]
async fn files_are_made_viewed_and_edited() {
    let mut shop = Workshop::new(&[]);
    let path = "/repo/src/deep/a.rs";
    let made =
        shop.edit(json!({"command": "create", "path": path, "file_text": "one\ntwo\n"})).await;
    assert_eq!(made.unwrap(), "/repo/src/deep/a.rs was created.");
    let seen = shop.edit(json!({"command": "view", "path": "src/deep/a.rs"})).await;
    assert_eq!(seen.unwrap(), "     1\tone\n     2\ttwo\n");
    let edited = shop
        .edit(json!({"command": "str_replace", "path": path, "old_str": "two", "new_str": "2\n3"}))
        .await;
    assert_eq!(
        edited.unwrap(),
        "/repo/src/deep/a.rs was edited. It now reads:\n     1\tone\n     2\t2\n     3\t3\n"
    );
    let inserted = shop
        .edit(json!({"command": "insert", "path": path, "insert_line": 0, "insert_text": "zero\n"}))
        .await;
    assert!(inserted.unwrap().contains("     1\tzero\n     2\tone\n"));
    assert_eq!(shop.read("src/deep/a.rs"), "zero\none\n2\n3\n");
    let again = shop.edit(json!({"command": "create", "path": path, "file_text": ""})).await;
    assert_eq!(again.unwrap(), "/repo/src/deep/a.rs was overwritten.");
    assert_eq!(shop.edit(json!({"command": "view", "path": path})).await.unwrap(), "(empty)");
}

#[tokio::test]
async fn what_was_written_is_told_even_if_nothing_differs() {
    let mut shop = Workshop::new(&[("a", "x\n")]);
    let edit = "str_replace_based_edit_tool";
    let ran = shop
        .turn(&[
            ("1", edit, json!({"command": "create", "path": "a", "file_text": "x\n"})),
            ("2", edit, json!({"command": "create", "path": "target/b", "file_text": ""})),
            ("3", edit, json!({"command": "view", "path": "a"})),
            (
                "4",
                edit,
                json!({"command": "str_replace", "path": "a", "old_str": "q", "new_str": ""}),
            ),
        ])
        .await;
    let paths = ["a", "target/b"].map(|path| RepoPath::new(path).unwrap());
    assert_eq!(ran.wrote, BTreeSet::from(paths));
    let errors: Vec<bool> = ran.ran.iter().map(|tool| tool.is_error).collect();
    assert_eq!(errors, [false, false, false, true]);
}

#[tokio::test]
async fn ranges_are_checked_against_the_file() {
    let mut shop = Workshop::new(&[("a", "1\n2\n3\n4")]);
    for (range, expected) in [
        (json!([2, 3]), Ok("     2\t2\n     3\t3\n")),
        (json!([3, -1]), Ok("     3\t3\n     4\t4\n")),
        (json!([4, 99]), Ok("     4\t4\n")),
        (json!([0, 2]), Err("lines 1 to 4")),
        (json!([5, -1]), Err("lines 1 to 4")),
        (json!([3, 2]), Err("lines 1 to 4")),
        (json!([1, -2]), Err("lines 1 to 4")),
        (json!([1]), Err("does not fit")),
        (json!(null), Ok("     1\t1\n     2\t2\n     3\t3\n     4\t4\n")),
    ] {
        let seen = shop.edit(json!({"command": "view", "path": "a", "view_range": range})).await;
        match expected {
            Ok(text) => assert_eq!(seen.unwrap(), text),
            Err(part) => refused(seen, part),
        }
    }
}

#[tokio::test]
async fn an_edit_keeps_mode_endings_and_mark() {
    let mut shop = Workshop::new(&[("run.sh", "\u{feff}#!/bin/sh\r\necho a\r\nexit")]);
    let file = shop.root().join("run.sh");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let edit = json!({"command": "str_replace", "path": "run.sh", "old_str": "/sh\necho a\n",
        "new_str": "/sh\necho b\necho c\n"});
    shop.edit(edit).await.unwrap();
    let insert =
        json!({"command": "insert", "path": "run.sh", "insert_line": 4, "insert_text": "#"});
    shop.edit(insert).await.unwrap();
    assert_eq!(shop.read("run.sh"), "\u{feff}#!/bin/sh\r\necho b\r\necho c\r\nexit\r\n#");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    let names: Vec<_> =
        fs::read_dir(shop.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["run.sh"]);
}

#[tokio::test]
async fn failed_replacements_show_where_to_look() {
    let content = "fn a() {\n    b();\n}\nfn c() {\n    b();\n}\n";
    let mut shop = Workshop::new(&[("a.rs", content)]);
    let mut replace = async |old: &str, new: &str| {
        let edit =
            json!({"command": "str_replace", "path": "a.rs", "old_str": old, "new_str": new});
        shop.edit(edit).await
    };
    refused(replace("    b();", "x").await, "stands 2 times in /repo/a.rs, from lines 2, 5.");
    refused(replace("\tb();\n}\nfn c", "x").await, "is not in /repo/a.rs");
    refused(
        replace("fn c() {\n\tb();", "x").await,
        "only in spaces or tabs:\n     4\tfn c() {\n     5",
    );
    refused(replace("fn aa() {", "x").await, "most similar lines:\n     1\tfn a() {\n");
    refused(replace("", "x").await, "`old_str` is empty");
    refused(replace("fn a", "fn a").await, "nothing would change");
    assert_eq!(shop.read("a.rs"), content);
}

#[tokio::test]
async fn nothing_outside_and_nothing_through_a_link_is_reached() {
    let mut shop = Workshop::new(&[("in/file", "x\n")]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s3cret\n").unwrap();
    symlink(outside.path(), shop.root().join("out")).unwrap();
    symlink(outside.path().join("secret"), shop.root().join("in/link")).unwrap();
    symlink("file", shop.root().join("in/near")).unwrap();
    symlink("/nowhere", shop.root().join("dangling")).unwrap();
    fs::create_dir(shop.root().join(".git")).unwrap();
    let link = "the tools follow no links";
    for (path, part) in [
        ("/repo/out/secret", link),
        ("out", link),
        ("in/link", link),
        ("in/near", link),
        ("dangling", link),
        ("dangling/x", link),
        ("out/new/file", link),
        ("../repo/in/file", "leads out of /repo"),
        ("/etc/passwd", "only /repo is there"),
        (".git/config", "`.git` is not for the tools"),
        (".GiT /hooks/x", "`.git` is not for the tools"),
        ("in/git~1", "`.git` is not for the tools"),
    ] {
        for command in ["view", "create", "str_replace", "insert"] {
            let edit = json!({"command": command, "path": path, "file_text": "x", "old_str": "s",
                "new_str": "x", "insert_line": 0, "insert_text": "x"});
            refused(shop.edit(edit).await, part);
        }
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s3cret\n");
    assert_eq!(fs::read_dir(shop.root().join(".git")).unwrap().count(), 0);
    assert!(fs::symlink_metadata(shop.root().join("dangling")).unwrap().is_symlink());
}

#[tokio::test]
async fn what_is_no_text_file_is_refused() {
    let mut shop = Workshop::new(&[("bin", "a\0b"), ("dir/x", ""), ("file", "x")]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        shop.root().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    for (command, path, part) in [
        ("view", "bin", "binary file of 3 bytes"),
        ("str_replace", "bin", "binary file"),
        ("insert", "bin", "binary file"),
        ("view", "pipe", "neither a file nor a directory"),
        ("create", "pipe", "neither a file nor a directory"),
        ("create", "dir", "is a directory"),
        ("str_replace", "dir", "is a directory"),
        ("create", "/repo", "/repo is a directory"),
        ("create", "file/below", "is a file, not a directory"),
        ("view", "missing", "/repo/missing is not there"),
        ("insert", "file/below", "is not there"),
        ("undo_edit", "file", "There is no command \"undo_edit\""),
    ] {
        let edit = json!({"command": command, "path": path, "file_text": "x", "old_str": "a",
            "new_str": "x", "insert_line": 0, "insert_text": "x"});
        refused(shop.edit(edit).await, part);
    }
    refused(shop.edit(json!({"command": "view"})).await, "missing field `path`");
    refused(shop.edit(json!({"command": "create", "path": "n"})).await, "`file_text`");
    refused(shop.edit(json!({"command": "insert", "path": "file"})).await, "`insert_line`");
    let far = json!({"command": "insert", "path": "file", "insert_line": 2, "insert_text": ""});
    refused(shop.edit(far).await, "`insert_line` is 0 to 1");
}

#[tokio::test]
async fn a_directory_is_viewed_two_levels_deep() {
    let mut shop =
        Workshop::new(&[("a/b/c", ""), ("a/x", ""), (".hidden", ""), (".git/config", "")]);
    let seen = shop.edit(json!({"command": "view", "path": "/repo"})).await.unwrap();
    assert_eq!(seen, "/repo/.hidden\n/repo/a/\n/repo/a/b/\n/repo/a/x");
}
