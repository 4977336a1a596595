//! `list_files` and `search_files`.

use std::os::unix::fs::symlink;

use super::*;

fn files() -> Workshop {
    Workshop::new(&[
        (".git/config", "needle\n"),
        (".gitignore", "*.log\n"),
        (".env", "needle=1\n"),
        ("a.rs", "one\nneedle two\nthree\nfour\nfive\nNeedle\n"),
        ("a/z.rs", "needle\r\n"),
        ("a-b", ""),
        ("debug.log", "needle\n"),
        ("node_modules/m/index.js", "needle\n"),
        ("raw.bin", "needle\0\n"),
        ("src/.ignore", "*.rs\n"),
        ("src/deep/er/x.rs", "no\n"),
        ("src/lib.rs", "// needle\n"),
    ])
}

async fn list(shop: &mut Workshop, path: &str, glob: &str, depth: i64) -> Result<String, String> {
    shop.call("list_files", json!({"path": path, "glob": glob, "depth": depth})).await
}

#[tokio::test]
async fn listings_are_whole_and_in_byte_order() {
    let mut shop = files();
    symlink("../elsewhere", shop.root().join("link")).unwrap();
    assert_eq!(
        list(&mut shop, "/repo", "", 2).await.unwrap(),
        "/repo/.env\n/repo/.gitignore\n/repo/a-b\n/repo/a.rs\n/repo/a/\n/repo/a/z.rs\n\
         /repo/debug.log\n/repo/link -> ../elsewhere\n\
         /repo/node_modules/  (not entered; list it by its own path)\n/repo/raw.bin\n/repo/src/\n\
         /repo/src/.ignore\n/repo/src/deep/\n/repo/src/lib.rs"
    );
    assert_eq!(
        list(&mut shop, "src", "", 1).await.unwrap(),
        "/repo/src/.ignore\n/repo/src/deep/\n/repo/src/lib.rs"
    );
    assert_eq!(
        list(&mut shop, "node_modules", "", 9).await.unwrap(),
        "/repo/node_modules/m/\n/repo/node_modules/m/index.js"
    );
}

#[tokio::test]
async fn globs_are_relative_to_the_directory() {
    let mut shop = files();
    for (path, glob, expected) in [
        ("/repo", "*.rs", "/repo/a.rs\n/repo/a/z.rs\n/repo/src/deep/er/x.rs\n/repo/src/lib.rs"),
        ("/repo", "src/**/*.rs", "/repo/src/deep/er/x.rs\n/repo/src/lib.rs"),
        ("src", "/*.rs", "/repo/src/lib.rs"),
        ("src", "deep/", "/repo/src/deep/er/x.rs"),
        ("/repo", "*.{js,env}", "/repo/.env"),
        ("a", "*.py", "No file below /repo/a matches."),
    ] {
        assert_eq!(list(&mut shop, path, glob, 9).await.unwrap(), expected, "{path} {glob}");
    }
    refused(list(&mut shop, "/repo", "!x", 1).await, "is no pattern");
    refused(list(&mut shop, "/repo", "{a", 1).await, "cannot be read");
    refused(list(&mut shop, "/repo", "", 0).await, "`depth` is 1");
    refused(list(&mut shop, "a.rs", "", 1).await, "/repo/a.rs is a file");
    refused(list(&mut shop, "nope", "", 1).await, "/repo/nope is not there");
    refused(list(&mut shop, ".git", "", 1).await, "`.git` is not for the tools");
    refused(list(&mut shop, "/outputs/1/x", "", 1).await, "can only be viewed");
}

#[tokio::test]
async fn a_listing_has_bounds_and_says_so() {
    let names: Vec<String> = (0..5_100).map(|n| format!("f{n:05}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut shop = Workshop::new(&files);
    let ran = shop.turn(&[("1", "list_files", json!({"path": "", "glob": "", "depth": 1}))]).await;
    let whole = &ran.outputs[0].output;
    assert_eq!(whole.lines().count(), 5_001);
    assert!(whole.ends_with("[There is more: ask for a directory below, a glob, or less depth.]"));
    assert!(block(&ran.results[0]).0.chars().count() <= result::MAX_CHARACTERS);
}

async fn search(
    shop: &mut Workshop,
    pattern: &str,
    path: &str,
    context: i64,
) -> Result<String, String> {
    let input = json!({"pattern": pattern, "path": path, "glob": "", "context": context,
        "ignore_case": false});
    shop.call("search_files", input).await
}

#[tokio::test]
async fn matches_stand_under_their_file_with_their_line() {
    let mut shop = files();
    assert_eq!(
        search(&mut shop, "needle$|needle [a-z]+|needle=", "/repo", 0).await.unwrap(),
        "/repo/.env\n1: needle=1\n\n/repo/a.rs\n2: needle two\n\n/repo/a/z.rs\n1: needle\n\n\
         /repo/src/lib.rs\n1: // needle\n\n[matching lines: 4, files: 4]"
    );
    assert_eq!(
        search(&mut shop, "(?i)needle", "a.rs", 1).await.unwrap(),
        "/repo/a.rs\n1- one\n2: needle two\n3- three\n--\n5- five\n6: Needle\n\n\
         [matching lines: 2, files: 1]"
    );
    let input = json!({"pattern": "NEEDLE", "path": "/repo", "glob": "a/*", "context": 0,
        "ignore_case": true});
    assert_eq!(
        shop.call("search_files", input).await.unwrap(),
        "/repo/a/z.rs\n1: needle\n\n[matching lines: 1, files: 1]"
    );
    assert_eq!(
        search(&mut shop, "absent", "src", 0).await.unwrap(),
        "No line below /repo/src matches."
    );
}

#[tokio::test]
async fn what_rules_hide_is_found_where_it_is_asked_for() {
    let mut shop = files();
    for path in ["debug.log", "node_modules", "node_modules/m"] {
        let found = search(&mut shop, "needle", path, 0).await.unwrap();
        assert!(found.ends_with("[matching lines: 1, files: 1]"), "{path}: {found}");
    }
    fs::write(shop.root().join(".gitignore"), "/hidden/\n").unwrap();
    fs::create_dir(shop.root().join("hidden")).unwrap();
    fs::write(shop.root().join("hidden/x"), "needle\n").unwrap();
    let found = search(&mut shop, "needle", "hidden", 0).await.unwrap();
    assert_eq!(found, "/repo/hidden/x\n1: needle\n\n[matching lines: 1, files: 1]");
    assert!(!search(&mut shop, "needle", "", 0).await.unwrap().contains("hidden"));
}

#[tokio::test]
async fn the_world_ends_at_the_root() {
    let mut shop = files();
    let above = shop.root().parent().unwrap().to_owned();
    fs::write(above.join(".gitignore"), "*.rs\n").unwrap();
    fs::write(above.join("beside"), "needle\n").unwrap();
    symlink("..", shop.root().join("up")).unwrap();
    let found = search(&mut shop, "needle", "/repo", 0).await.unwrap();
    assert!(found.contains("/repo/a.rs") && !found.contains("up"), "{found}");
    symlink("../beside", shop.root().join("file-above")).unwrap();
    for path in ["up", "up/beside", "file-above", "a/../up/beside"] {
        refused(search(&mut shop, "needle", path, 0).await, "the tools follow no links");
        refused(list(&mut shop, path, "", 1).await, "the tools follow no links");
    }
    refused(search(&mut shop, "needle", "..", 0).await, "leads out of /repo");
    refused(search(&mut shop, "needle", "nope", 0).await, "/repo/nope is not there");
    refused(search(&mut shop, "(", "/repo", 0).await, "`pattern` cannot be read");
    refused(search(&mut shop, "a\nb", "/repo", 0).await, "`pattern` cannot be read");
    refused(search(&mut shop, "", "/repo", 0).await, "`pattern` is empty");
}

#[tokio::test]
async fn long_lines_and_many_matches_are_cut() {
    let mut shop = Workshop::new(&[("wide", &"é".repeat(9_000)), ("tall", &"é\n".repeat(3_000))]);
    let found = search(&mut shop, "é", "wide", 0).await.unwrap();
    assert!(found.starts_with(&format!("/repo/wide\n1: {} [...]\n", "é".repeat(400))), "{found}");
    let found = search(&mut shop, "é", "tall", 0).await.unwrap();
    assert!(
        found
            .ends_with("[matching lines: 1000, files: 1; there may be more, so narrow the search]")
    );
}

#[tokio::test]
async fn a_line_ends_where_its_ending_starts() {
    let mut shop =
        Workshop::new(&[("lf", "// needle\n"), ("crlf", "// needle\r\n"), ("none", "needle")]);
    for pattern in ["needle$", "needle$|xyz", "(?:needle)$", "needle$|needle [a-z]+|needle="] {
        let found = search(&mut shop, pattern, "", 0).await.unwrap();
        assert!(found.ends_with("[matching lines: 3, files: 3]"), "{pattern}: {found}");
    }
}
