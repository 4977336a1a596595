//! The rooms of this program keep to their table: who may use whom, what may stand where, and how
//! things are called. Nothing else about taste is a test.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

#[path = "rooms/files.rs"]
mod files;
#[path = "rooms/layers.rs"]
mod layers;
#[path = "rooms/lexer.rs"]
mod lexer;
#[path = "rooms/words.rs"]
mod words;

use files::File;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    path: String,
    line: usize,
    rule: String,
}

impl Breach {
    fn at(file: &File, line: usize, rule: String) -> Self {
        Self { path: file.path.clone(), line, rule }
    }
}

fn assert_none(breaches: &[Breach]) {
    let lines: Vec<String> =
        breaches.iter().map(|b| format!("{}:{}: {}", b.path, b.line, b.rule)).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn rooms_use_only_whom_they_may() {
    let files = files::all();
    assert!(files.len() > 100, "the files were not found");
    assert_none(&files.iter().flat_map(layers::breaches).collect::<Vec<_>>());
}

#[test]
fn no_bend_of_the_table_outlives_its_need() {
    let files = files::all();
    for bend in layers::BENT {
        let is_needed = files.iter().any(|file| {
            layers::uses(file).iter().any(|(_, used)| layers::is_bent(bend, file, used))
        });
        assert!(is_needed, "{} no longer uses {}: take the bend out", bend.0, bend.1);
    }
}

#[test]
fn everything_stands_in_its_place_under_a_name_that_says_something() {
    assert_none(&files::all().iter().flat_map(words::breaches).collect::<Vec<_>>());
}

/// The lines that break a rule, and the rules' words.
fn planted(check: fn(&File) -> Vec<Breach>, path: &str, source: &str) -> Vec<(usize, String)> {
    let found = check(&File::planted(path, source));
    found.into_iter().map(|breach| (breach.line, breach.rule)).collect()
}

fn lines(check: fn(&File) -> Vec<Breach>, path: &str, source: &str) -> Vec<usize> {
    planted(check, path, source).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn a_breach_is_named_with_its_line_and_its_rule() {
    assert_eq!(
        planted(layers::breaches, "src/worker/attempt.rs", "//! A worker.\nuse crate::app::App;\n"),
        [(
            2,
            "`worker` uses `app`; besides events it may use scan, tools, git, sandbox, wire, config, \
             clock, entropy"
                .to_owned()
        )]
    );
}

#[test]
fn layers_are_seen_however_they_are_spelled() {
    let git = |source| lines(layers::breaches, "src/git/fetch.rs", source);
    assert_eq!(git("use crate::store::Log;"), [1]);
    assert_eq!(git("use crate::{config::Config, app::{App, store}, store};"), [1, 1]);
    assert_eq!(git("fn f() {\n    let x = crate::claude::client();\n}"), [2]);
    assert_eq!(git("pub(crate) fn f(x: &crate::sandbox::Limits) {}"), [1]);
    assert_eq!(git("use super::super::store::Log;"), [1]);
    assert_eq!(git("use super::super::{store, config};"), [1]);
    assert_eq!(git("use cody_batch::worker;"), [1]);
    assert_eq!(git("use cody_projections::jobs;"), [1]);
    // Its own room, events and config; comments and texts; tests at the end.
    assert_eq!(git("use super::base::Base;\nuse crate::config::Config;"), [0; 0]);
    assert_eq!(git("use crate::git::Base;\nuse cody_events::ids::JobId;"), [0; 0]);
    assert_eq!(git("// use crate::store\n/* crate::app /* crate::job */ crate::app */"), [0; 0]);
    assert_eq!(git("/// [`crate::app::App`]\nconst A: &str = \"crate::store\";"), [0; 0]);
    assert_eq!(git("const A: &str = r#\"crate::store \"quoted\" crate::app\"#;"), [0; 0]);
    assert_eq!(git("#[cfg(test)]\nmod tests {\n    use crate::store::Log;\n}"), [0; 0]);
    // A quote that is no text, and a lifetime that is no quote.
    assert_eq!(git("const Q: char = '\"';\nuse crate::store::Log;"), [2]);
    assert_eq!(git("fn f<'a>(x: &'a str) -> &'a str { crate::app::g(x) }"), [1]);
    assert_eq!(lines(layers::breaches, "src/app.rs", "use super::worker::Worker;"), [1]);
    assert_eq!(lines(layers::breaches, "src/clock.rs", "use crate::entropy::Entropy;"), [1]);
    assert_eq!(lines(layers::breaches, "events/src/ids.rs", "use cody_projections::x;"), [1]);
    assert_eq!(lines(layers::breaches, "events/src/ids.rs", "use crate::digest::Sha256;"), [0; 0]);
    assert_eq!(lines(layers::breaches, "src/cli/run.rs", "use crate::worker::x;"), [0; 0]);
    assert_eq!(lines(layers::breaches, "src/attic/old.rs", ""), [1]);
}

#[test]
fn things_out_of_place_are_seen() {
    let words =
        |path, source: &str| lines(words::breaches, path, &format!("//! A file.\n{source}"));
    assert_eq!(words("src/app.rs", "const Q: &str = \"SELECT 1\";"), [2]);
    assert_eq!(words("src/app.rs", "const Q: &str = \"\n    DELETE FROM events\";"), [2]);
    assert_eq!(words("src/store/log.rs", "const Q: &str = \"SELECT 1\";"), [0; 0]);
    assert_eq!(words("projections/src/jobs.rs", "const Q: &str = \"SELECT 1\";"), [0; 0]);
    assert_eq!(words("src/cli/run.rs", "const Q: &str = \"Select a repository\";"), [0; 0]);
    assert_eq!(words("src/plan/mod.rs", "use git2::Repository;"), [2]);
    assert_eq!(words("src/plan/mod.rs", "fn f() { git2::Repository::open(p); }"), [2]);
    assert_eq!(words("src/git/base.rs", "use git2::Repository;"), [0; 0]);
    assert_eq!(words("src/relay/mod.rs", "use aws_sdk_batch::Client;"), [2]);
    assert_eq!(words("src/aws/batch.rs", "use aws_sdk_batch::Client;"), [0; 0]);
    assert_eq!(words("src/api/worker/mod.rs", "use rmcp::x;\nuse async_graphql::y;"), [2, 3]);
    assert_eq!(words("src/deliver/mod.rs", "use octocrab::Octocrab;"), [2]);
    assert_eq!(words("src/app.rs", "use rusqlite::Connection;"), [2]);
}

#[test]
fn pure_rooms_have_no_clock_no_chance_and_no_floats() {
    let job =
        |source: &str| lines(words::breaches, "src/job/decide.rs", &format!("//! A.\n{source}"));
    assert_eq!(job("use std::collections::HashMap;"), [2]);
    assert_eq!(job("use std::collections::{BTreeMap, HashSet};"), [2]);
    assert_eq!(job("async fn f() {}"), [2]);
    assert_eq!(job("fn f() -> f64 { 0 }"), [2]);
    assert_eq!(job("const HALF: u32 = (9 as _ * 0.5) as u32;"), [2]);
    assert_eq!(job("use std::time::Duration;"), [2]);
    assert_eq!(job("fn f() { std::env::var(\"HOME\"); }"), [2]);
    assert_eq!(job("use std::collections::BTreeMap;\nfn f(x: (u8, u8)) -> u8 { x.0 }"), [0; 0]);
    assert_eq!(job("fn f() { for i in 0..5 { g(i, \"0.5\") } }"), [0; 0]);
    let elsewhere = "//! A.\nuse std::time::Duration;\nuse std::collections::HashMap;";
    assert_eq!(lines(words::breaches, "src/app.rs", elsewhere), [0; 0]);
    assert_eq!(lines(words::breaches, "events/src/ids.rs", elsewhere), [2, 3]);
}

#[test]
fn unsafe_code_is_seen_wherever_it_has_no_place() {
    let words =
        |path, source: &str| lines(words::breaches, path, &format!("//! A file.\n{source}"));
    let block = "fn f() { unsafe { g() } }";
    let expected = "#[expect(unsafe_code, reason = \"it is quick\")]\nfn f() {}";
    for path in ["src/git/fetch.rs", "src/worker/mod.rs", "events/src/ids.rs", "tests/jobs/main.rs"]
    {
        assert_eq!(words(path, block), [2], "{path}");
        assert_eq!(words(path, expected), [2], "{path}");
    }
    assert_eq!(words("src/app.rs", "#![allow(dead_code, unsafe_code)]"), [2]);
    assert_eq!(words("src/app.rs", "unsafe impl Send for A {}\nunsafe fn f() {}"), [2, 3]);
    // Tests at the end of a file are no exception.
    assert_eq!(words("src/app.rs", "#[cfg(test)]\nmod tests {\n    unsafe fn f() {}\n}"), [4]);
    assert_eq!(words("src/app.rs", "#![forbid(unsafe_code)]"), [0; 0]);
    assert_eq!(words("src/app.rs", "// unsafe\nconst A: &str = \"unsafe\";"), [0; 0]);
    assert_eq!(words("src/sandbox/call.rs", block), [0; 0]);
    assert_eq!(words("src/git/settings.rs", block), [0; 0]);
}

#[test]
fn names_that_say_nothing_are_seen() {
    let words =
        |path, source: &str| lines(words::breaches, path, &format!("//! A file.\n{source}"));
    assert_eq!(words("src/git/utils.rs", ""), [1]);
    assert_eq!(words("src/git/path_helper.rs", ""), [1]);
    assert_eq!(words("src/common/mod.rs", ""), [1]);
    assert_eq!(words("src/git/base.rs", "struct PackManager;"), [2]);
    assert_eq!(words("src/git/base.rs", "pub enum TaskState {}"), [2]);
    assert_eq!(words("src/git/base.rs", "mod helpers;"), [2]);
    assert_eq!(words("src/git/base.rs", "struct Utility;\nstruct Multitask;"), [0; 0]);
    assert_eq!(words("src/git/base.rs", "use tokio::task::JoinError;"), [0; 0]);
    assert_eq!(lines(words::breaches, "src/git/base.rs", "use std::fmt;"), [1]);
}
