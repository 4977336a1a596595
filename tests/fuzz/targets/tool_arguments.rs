//! The tools, with any arguments: each call gets its answer, and nothing outside of the work directory
//! is read, made or changed.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use async_trait::async_trait;
use cody_batch::tools::{AskedTool, Outputs, ToolContext, run_turn};
use cody_events::raw::RawJson;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const CANARY: &str = "canary-5f1d2c";
const TOOLS: [&str; 6] =
    ["str_replace_based_edit_tool", "bash", "list_files", "search_files", "finish", "other"];
const COMMANDS: [&str; 5] = ["view", "create", "str_replace", "insert", "undo_edit"];
const PATHS: [&str; 14] = [
    "/repo",
    "/repo/a",
    "a",
    "sub/b",
    "out/secret",
    "out",
    "loop/x",
    ".git/config",
    "../secret",
    "/repo/../secret",
    "/outputs/1/toolu_0",
    "new/file",
    "sub",
    "",
];

#[derive(Debug, Arbitrary)]
enum Text {
    Path(u8),
    Any(String),
}

#[derive(Debug, Arbitrary)]
struct Call {
    tool: u8,
    command: u8,
    path: Option<Text>,
    old: Option<Text>,
    new: Option<Text>,
    pattern: Option<Text>,
    glob: Option<String>,
    number: Option<i64>,
    range: Option<Vec<i64>>,
    flag: bool,
    /// Any JSON at all in its place.
    raw: Option<String>,
}

struct Nothing;

#[async_trait]
impl Outputs for Nothing {
    async fn output(&self, _turn: u32, _tool_id: &str) -> Option<String> {
        None
    }
}

fn text(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| match text {
        Text::Path(number) => PATHS[usize::from(*number) % PATHS.len()].to_owned(),
        Text::Any(text) => text.clone(),
    })
}

fn input(call: &Call) -> RawJson {
    if let Some(raw) = call.raw.as_ref().and_then(|raw| RawJson::parse(raw.clone()).ok()) {
        return raw;
    }
    let (path, old, new) = (text(&call.path), text(&call.old), text(&call.new));
    let mut all = json!({
        "command": COMMANDS[usize::from(call.command) % COMMANDS.len()],
        "path": path, "old_str": old, "new_str": new, "file_text": new, "insert_text": new,
        "insert_line": call.number, "view_range": call.range, "pattern": text(&call.pattern),
        "glob": call.glob, "depth": call.number, "context": call.number, "ignore_case": call.flag,
        "outcome": "changed", "title": old, "summary": new, "evidence": [], "restart": call.flag,
    });
    let names: [&[&str]; 6] = [
        &[
            "command",
            "path",
            "old_str",
            "new_str",
            "file_text",
            "insert_text",
            "insert_line",
            "view_range",
        ],
        &["command", "restart"],
        &["path", "glob", "depth"],
        &["path", "pattern", "glob", "context", "ignore_case"],
        &["outcome", "title", "summary", "evidence"],
        &["path"],
    ];
    let wanted = names[usize::from(call.tool) % names.len()];
    if let Value::Object(fields) = &mut all {
        fields.retain(|name, value| wanted.contains(&name.as_str()) && !value.is_null());
    }
    RawJson::render(&all).unwrap()
}

/// Everything below `dir`, without the work directory: what it is, and what it says.
fn seen(dir: &Path, skipped: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path == skipped {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(seen(&path, skipped));
        }
        let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.insert(path.display().to_string(), content);
    }
    all
}

fuzz_target!(|calls: Vec<Call>| {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(dir.path().join("outside")).unwrap();
    fs::write(root.join("a"), "one\ntwo\nthree\n").unwrap();
    fs::write(root.join("sub/b"), "b\r\n\u{202e}\n").unwrap();
    fs::write(root.join(".git/config"), CANARY).unwrap();
    fs::write(dir.path().join("outside/secret"), CANARY).unwrap();
    fs::write(dir.path().join("secret"), CANARY).unwrap();
    std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    let before = seen(dir.path(), &root);

    let mut context = ToolContext {
        root: root.clone(),
        sandbox: None,
        git_dir: None,
        read_only: Vec::new(),
        env: Vec::new(),
        dependencies: None,
        session: None,
        timeout: Duration::from_secs(1),
        end: None,
        output_cap: 10_000,
        outputs: Arc::new(Nothing),
        first_note: None,
        turn: 1,
    };
    let asked: Vec<AskedTool> = calls
        .iter()
        .take(8)
        .enumerate()
        .map(|(number, call)| AskedTool {
            id: format!("toolu_{number}"),
            name: TOOLS[usize::from(call.tool) % TOOLS.len()].to_owned(),
            input: input(call),
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ran = runtime.block_on(run_turn(&mut context, &asked));

    assert_eq!(ran.ran.len(), asked.len());
    assert_eq!(ran.results.len() + usize::from(ran.finish.is_some()), asked.len());
    for result in &ran.results {
        let block: Value = result.read().unwrap();
        assert_eq!(block["type"], "tool_result");
        assert!(asked.iter().any(|tool| block["tool_use_id"] == tool.id.as_str()));
        let content = block["content"].as_str().unwrap();
        assert!(!content.is_empty() && content.chars().count() <= 31_000);
        // Only who brings the word along may see it again.
        let is_own = asked.iter().any(|tool| tool.input.get().contains("canary"));
        assert!(is_own || !content.contains(CANARY), "{content}");
    }
    assert_eq!(seen(dir.path(), &root), before, "something outside changed");
    assert_eq!(fs::read_to_string(root.join(".git/config")).unwrap(), CANARY);
});
