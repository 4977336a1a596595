//! Tools on real files, and `bash` in the real sandbox.

mod editor;
mod finding;
mod hidden;
mod turns;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cody_events::raw::RawJson;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use cody_events::attempt::SandboxBackend;

use crate::sandbox::SandboxOptions;

/// Outputs of earlier turns, as a worker's server would have them.
#[derive(Default)]
struct Kept(BTreeMap<(u32, String), String>);

#[async_trait]
impl Outputs for Kept {
    async fn output(&self, turn: u32, tool_id: &str) -> Option<String> {
        self.0.get(&(turn, tool_id.to_owned())).cloned()
    }
}

/// A work directory and the tools on it.
struct Workshop {
    _dir: TempDir,
    context: ToolContext,
}

impl Workshop {
    /// A work directory with these files; a name that ends with `/` is a directory.
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir(&root).unwrap();
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let context = ToolContext {
            end: None,
            root,
            sandbox: None,
            git_dir: None,
            read_only: Vec::new(),
            env: Vec::new(),
            dependencies: None,
            session: None,
            timeout: Duration::from_secs(60),
            output_cap: 1_000_000,
            outputs: Arc::new(Kept::default()),
            first_note: None,
            turn: 3,
        };
        Self { _dir: dir, context }
    }

    async fn with_sandbox(files: &[(&str, &str)]) -> Self {
        let mut workshop = Self::new(files);
        let backends = vec![SandboxBackend::Bubblewrap];
        let options = SandboxOptions { backends, ..SandboxOptions::default() };
        let sandbox = Sandbox::probe(&options).await;
        assert_eq!(sandbox.why_not(), None, "install bubblewrap: apt-get install bubblewrap");
        workshop.context.sandbox = Some(Arc::new(sandbox));
        let session = workshop._dir.path().join("session");
        workshop.context.session = Some(ShellSession::new(session).unwrap());
        workshop
    }

    fn root(&self) -> &Path {
        &self.context.root
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8(fs::read(self.root().join(path)).unwrap()).unwrap()
    }

    async fn turn(&mut self, asked: &[(&str, &str, Value)]) -> TurnRan {
        let asked: Vec<AskedTool> = asked
            .iter()
            .map(|(id, name, input)| AskedTool {
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                input: RawJson::render(input).unwrap(),
            })
            .collect();
        run_turn(&mut self.context, &asked).await
    }

    /// One call: its text, or its complaint. Neither ever names a path of this machine.
    async fn call(&mut self, name: &str, input: Value) -> Result<String, String> {
        let ran = self.turn(&[("toolu_1", name, input)]).await;
        assert_eq!((ran.ran.len(), ran.results.len()), (1, 1));
        let (text, is_error) = block(&ran.results[0]);
        assert_eq!(is_error, ran.ran[0].is_error);
        assert!(!text.contains(self._dir.path().to_str().unwrap()), "{text}");
        if is_error { Err(text) } else { Ok(text) }
    }

    async fn edit(&mut self, input: Value) -> Result<String, String> {
        self.call("str_replace_based_edit_tool", input).await
    }
}

/// The text of a `tool_result`, and whether it is an error.
fn block(result: &RawJson) -> (String, bool) {
    let value: Value = result.read().unwrap();
    assert_eq!(value["type"], "tool_result");
    let is_error = value["is_error"].as_bool().unwrap_or(false);
    (value["content"].as_str().unwrap().to_owned(), is_error)
}

/// Checks that a call was refused, in words that help.
#[track_caller]
fn refused(answer: Result<String, String>, part: &str) {
    match answer {
        Err(text) if text.contains(part) => {}
        other => panic!("not refused with {part:?}: {other:?}"),
    }
}
