//! The tools that Claude may use. One file a tool, one arm here. All of them see one virtual root,
//! `/repo`, and a closed world: nothing outside of it, nothing through a link, nothing in `.git`.

mod bash;
mod capped;
mod edit;
mod finish;
mod list_files;
mod place;
mod search_files;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cody_events::raw::RawJson;
use cody_events::thread::{Finish, FullOutput, RanTool, ToolName};
use cody_events::tree::RepoPath;
use serde_json::json;

use crate::sandbox::{Sandbox, ShellSession};

/// Where tools work, and what they may use.
pub struct ToolContext {
    /// The work directory, which is `/repo` for Claude.
    pub root: PathBuf,
    /// Nothing means that no command may run.
    pub sandbox: Option<Arc<Sandbox>>,
    /// The throw-away `.git` for commands.
    pub git_dir: Option<PathBuf>,
    /// More that commands may read: where it is, and where it is inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// What carries over between commands.
    pub session: Option<ShellSession>,
    /// How long one command may take.
    pub timeout: Duration,
    /// Bytes of one command's output that are kept.
    pub output_cap: u64,
    /// Whole outputs of earlier turns.
    pub outputs: Arc<dyn Outputs>,
    /// What the next result says first, once.
    pub first_note: Option<String>,
    /// The number of the turn whose tools run.
    pub turn: u32,
}

impl std::fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolContext").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Gives whole outputs of earlier tool calls.
#[async_trait]
pub trait Outputs: Send + Sync {
    /// The output of call `tool_id` of `turn`, if it was cut.
    async fn output(&self, turn: u32, tool_id: &str) -> Option<String>;
}

/// A tool that Claude asks for.
#[derive(Debug, Clone)]
pub struct AskedTool {
    pub id: String,
    pub name: String,
    pub input: RawJson,
}

/// What the tools of one turn gave.
#[derive(Debug)]
pub struct TurnRan {
    pub ran: Vec<RanTool>,
    /// The `tool_result` blocks in order; a valid `finish` has none.
    pub results: Vec<RawJson>,
    pub finish: Option<Finish>,
    /// What was cut, whole.
    pub outputs: Vec<FullOutput>,
    /// Paths that the edit tool wrote.
    pub wrote: BTreeSet<RepoPath>,
}

/// What one tool says.
enum Answer {
    Said(String),
    /// An edit, and where it was made.
    Wrote(String, RepoPath),
    Failed(String),
    Finished(Finish),
}

/// The definitions of the tools, as a request carries them.
pub fn schemas(bash: bool) -> Result<Vec<RawJson>, serde_json::Error> {
    let mut schemas = vec![RawJson::render(&json!({
        "type": "text_editor_20250728",
        "name": "str_replace_based_edit_tool",
        "max_characters": capped::MAX_CHARACTERS,
    }))?];
    if bash {
        schemas.push(RawJson::render(&json!({"type": "bash_20250124", "name": "bash"}))?);
    }
    for schema in [list_files::schema(), search_files::schema(), finish::schema()] {
        schemas.push(RawJson::render(&schema)?);
    }
    Ok(schemas)
}

/// Runs the tools of one turn, in order.
pub async fn run_turn(context: &mut ToolContext, asked: &[AskedTool]) -> TurnRan {
    let mut turn = TurnRan {
        ran: Vec::with_capacity(asked.len()),
        results: Vec::with_capacity(asked.len()),
        finish: None,
        outputs: Vec::new(),
        wrote: BTreeSet::new(),
    };
    for tool in asked {
        let started = Instant::now();
        let name = name_of(&tool.name);
        let answer = match name {
            ToolName::Finish if turn.finish.is_some() => {
                Answer::Failed("`finish` was called in this turn already.".to_owned())
            }
            name => run(context, name, tool).await,
        };
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (text, is_error) = match answer {
            Answer::Said(text) => (text, false),
            Answer::Wrote(text, path) => {
                turn.wrote.insert(path);
                (text, false)
            }
            Answer::Failed(text) => (text, true),
            Answer::Finished(finish) => {
                turn.finish = Some(finish);
                turn.ran.push(RanTool { id: tool.id.clone(), name, is_error: false, ms });
                continue;
            }
        };
        turn.ran.push(RanTool { id: tool.id.clone(), name, is_error, ms });
        turn.answer(context, tool, text, is_error);
    }
    turn
}

impl TurnRan {
    fn answer(
        &mut self,
        context: &mut ToolContext,
        tool: &AskedTool,
        text: String,
        is_error: bool,
    ) {
        let place = format!("/outputs/{}/{}", context.turn, tool.id);
        let (mut shown, cut) = capped::capped(&text, &place);
        if cut {
            self.outputs.push(FullOutput { id: tool.id.clone(), output: text });
        }
        if let Some(note) = context.first_note.take() {
            shown = format!("{note}\n{shown}");
        }
        let block = json!({
            "type": "tool_result",
            "tool_use_id": tool.id,
            "content": shown,
            "is_error": is_error,
        });
        // A map of strings always renders.
        if let Ok(block) = RawJson::render(&block) {
            self.results.push(block);
        }
    }
}

async fn run(context: &ToolContext, name: ToolName, tool: &AskedTool) -> Answer {
    match name {
        ToolName::Edit => edit::run(context, tool).await,
        ToolName::Bash => bash::run(context, tool).await,
        ToolName::ListFiles => list_files::run(context, tool),
        ToolName::SearchFiles => search_files::run(context, tool),
        ToolName::Finish => finish::run(tool),
        ToolName::Unknown => Answer::Failed(format!(
            "There is no tool `{}`. The tools are str_replace_based_edit_tool, {}list_files, \
             search_files and finish.",
            tool.name,
            if context.sandbox.is_some() { "bash, " } else { "" }
        )),
    }
}

fn name_of(name: &str) -> ToolName {
    serde_json::from_value(json!(name)).unwrap_or(ToolName::Unknown)
}

/// Reads a tool's input, or says what is wrong with it.
fn input<'a, T: serde::Deserialize<'a>>(tool: &'a AskedTool) -> Result<T, Answer> {
    serde_json::from_str(tool.input.get()).map_err(|error| {
        Answer::Failed(format!("The input of `{}` does not fit: {error}.", tool.name))
    })
}

#[cfg(test)]
mod tests;
