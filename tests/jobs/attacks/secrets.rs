//! Secrets: those of the repository are not shown or recorded as words, those that a change adds are
//! held, and ours are nowhere at all.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;

use super::{CANARY, Victim, bash, create};
use crate::harness::World;

/// A token as a forge would give it, put together here so that nobody finds one in this file.
fn token() -> String {
    format!("{}{}", "ghp_", "kB8jDZ2nFk7cLgZwH1Q7Y6A9w4s3mYpevR4D")
}

/// Every file below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Every value of every table of a database, with what is compressed unfolded.
fn rows(path: &Path) -> Vec<u8> {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut tables =
        database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut all = Vec::new();
    for name in names {
        let mut statement = database.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    ValueRef::Text(bytes) => all.extend(bytes),
                    ValueRef::Blob(bytes) => {
                        all.extend(bytes);
                        all.extend(zstd::decode_all(bytes).unwrap_or_default());
                    }
                    _ => {}
                }
                all.push(b'\n');
            }
        }
    }
    all
}

/// Asserts that no file of the data directory, compressed or not, holds `word`.
fn is_nowhere(data: &Path, word: &str) {
    let all = files(data);
    assert!(all.iter().any(|path| path.ends_with("log.db")), "{all:?}");
    for path in &all {
        let bytes = std::fs::read(path).unwrap();
        assert!(!holds(&bytes, word), "{word} in {}", path.display());
    }
    for path in all {
        if path.extension().is_some_and(|extension| extension == "db") {
            assert!(!holds(&rows(&path), word), "{word} in a row of {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_credentials_are_in_no_file_line_or_event() {
    let mut victim = Victim::with(&[("a.txt", "a\n"), ("note.md", CANARY)]).await;
    // The repository itself holds the words, so what is looked for is ours alone.
    let key = "sk-ant-ours-8c21f7";
    std::fs::write(victim.app.join("note.md"), "nothing").unwrap();
    crate::harness::commit(&victim.app);
    victim.more = ["--check", "env; cat /proc/self/environ; false"].map(str::to_owned).into();
    victim.api_key = key.to_owned();
    let after = victim
        .suffers(&[
            bash("env; cat /proc/*/environ; git config -l; cat .git/config; echo tried"),
            // Were it ever shown, it would not be recorded. What Claude says is recorded as it is,
            // so it says the key in pieces.
            bash(
                "k=$(printf '%s' sk-ant- ours-8c 21f7); echo $k; printf %s $k | base64; echo tried",
            ),
            create("/repo/a.txt", "changed\n"),
        ])
        .await;
    after.saw("tried").saw("[secret removed: our-own]");
    is_nowhere(&after.victim.world.path("data"), key);
    for words in [&after.output.stdout, &after.output.stderr, &after.patch()] {
        assert!(!holds(words, key));
        assert!(!holds(words, CANARY));
    }
    for file in files(&after.victim.world.path("tmp")) {
        assert!(!holds(&std::fs::read(&file).unwrap(), key), "{}", file.display());
    }
    for verb in [&["show"][..], &["events"], &["thread", "latest", "1", "--full"], &["report"]] {
        let said = after.victim.world.run(verb).await;
        assert!(!holds(&said.stdout, key) && !holds(&said.stderr, key), "{verb:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_repository_is_shown_to_nobody() {
    let token = token();
    let settings = format!("github_token = \"{token}\"\n");
    let script = format!("echo 'using {token}'\n");
    let mut victim = Victim::with(&[
        ("settings.toml", settings.as_str()),
        ("run.sh", script.as_str()),
        ("AGENTS.md", settings.as_str()),
    ])
    .await;
    victim.more = ["--check", "sh run.sh; false"].map(str::to_owned).into();
    let after = victim
        .suffers(&[
            super::view("/repo/settings.toml"),
            bash("cat settings.toml; sh run.sh"),
            ("search_files", serde_json::json!({ "pattern": "github_token", "path": "/repo" })),
        ])
        .await;
    after.saw("[secret removed: github-pat]");
    let data = after.victim.world.path("data");
    assert!(!holds(&rows(&data.join("log.db")), &token), "it is in the log");
    for heard in after.victim.world.player.heard() {
        assert!(!holds(&heard.body, &token), "Claude was shown it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_change_adds_holds_it() {
    let token = token();
    let line = format!("one\ntoken = \"{token}\"\n");
    let (target, shown) = super::policy::changed_by(&[create("/repo/a.txt", &line)], &[]).await;
    assert_eq!(
        (target["outcome"].as_str(), target["delivery"].as_str()),
        (Some("diff-ready"), Some("held"))
    );
    assert!(
        shown.contains("It adds what looks like a secret (github-pat in a.txt line 2)"),
        "{shown}"
    );
    assert!(!shown.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_holds_a_token_is_refused() {
    let world = World::new("[[conversation]]\nname = \"c\"\nturn = []\n").await;
    crate::harness::repository(&world.path("app"), &[("a.txt", "a\n")]);
    let app = world.path("app").display().to_string();
    let prompt = format!("Log in\nwith {}", token());
    let output = world.run(&["run", "--prompt", &prompt, "--repo", &app]).await;
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(
        words.contains("The prompt holds what looks like a secret (github-pat, line 2)"),
        "{words}"
    );
    assert!(!words.contains(&token()));
    let check = format!("curl -H 'Authorization: token {}'", token());
    let output = world.run(&["run", "--prompt", "x", "--check", &check, "--repo", &app]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("A check holds"));
    assert!(world.events().await.is_empty());
}
