//! The tools that Claude works with: how they are described, and what they do in the work directory
//! of an attempt. A turn's tools run in order; what they make of the tree is found by others.
//!
//! Claude sees one root, `/repo`. No tool leaves it, follows a link, or touches `.git`; only `bash`
//! runs anything, and only in a sandbox.

mod bash;
mod edit;
mod finish;
mod ignore_rules;
mod list_files;
mod place;
mod result;
mod schemas;
mod search_files;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cody_events::raw::RawJson;
use cody_events::thread::{Finish, FullOutput, RanTool, ToolName};
use cody_events::time::took_ms;
use cody_events::tree::RepoPath;
use serde::Deserialize;

use crate::sandbox::{Sandbox, ShellSession};
use crate::scan::{on_one_line, revealed};
use place::Place;
use result::{Answer, Complaint, complain};

pub use schemas::schemas;

/// A tool that Claude asks for.
#[derive(Debug, Clone)]
pub struct AskedTool {
    /// Claude's id of the call.
    pub id: String,
    pub name: String,
    pub input: RawJson,
}

/// Whole outputs of earlier turns, which Claude sees as `/outputs/<turn>/<tool id>`.
#[async_trait]
pub trait Outputs: Send + Sync {
    /// Nothing if that result was never cut, or there is no such call.
    async fn output(&self, turn: u32, tool_id: &str) -> Option<String>;
}

/// What the repository depends on, had for commands that have no network.
#[async_trait]
pub trait Dependencies: Send + Sync {
    /// Brings what commands find in line with the work directory at `root` as it is now, where the
    /// edit tool `wrote` these paths; takes no longer than `time`. What Claude is to know of it.
    async fn keep_up(
        &self,
        root: &Path,
        wrote: &BTreeSet<RepoPath>,
        time: Duration,
    ) -> Option<String>;
}

/// Where and how tools run.
pub struct ToolContext {
    /// The work directory, which Claude sees as `/repo`.
    pub root: PathBuf,
    /// Without one that works, `bash` only says so.
    pub sandbox: Option<Arc<Sandbox>>,
    /// A throw-away `.git` for commands that ask git.
    pub git_dir: Option<PathBuf>,
    /// More directories for commands: where they are, and where they are inside.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// More variables for commands.
    pub env: Vec<(String, String)>,
    /// Looked after before each command, and when the last tool of a turn has run.
    pub dependencies: Option<Arc<dyn Dependencies>>,
    /// What `bash` remembers between calls.
    pub session: Option<ShellSession>,
    /// For one call of `bash`.
    pub timeout: Duration,
    /// When the turn's last call has to be done, if its job limits the time of tools.
    pub end: Option<Instant>,
    /// Bytes kept of the output of one call of `bash`.
    pub output_cap: u64,
    pub outputs: Arc<dyn Outputs>,
    /// Put before the next result, once.
    pub first_note: Option<String>,
    /// The number of the turn, which whole outputs are found by.
    pub turn: u32,
}

impl ToolContext {
    /// What a call of `bash` may take now.
    pub fn time_left(&self) -> Duration {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        left.map_or(self.timeout, |left| left.min(self.timeout))
    }

    /// Has what the manifests name now. What there is to say of it stands before the next result.
    async fn keep_up(&mut self, wrote: &BTreeSet<RepoPath>) {
        let Some(dependencies) = self.dependencies.clone() else { return };
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        let note = dependencies.keep_up(&self.root, wrote, left.unwrap_or(Duration::MAX)).await;
        if let Some(note) = note {
            self.first_note = Some(match self.first_note.take() {
                Some(earlier) => format!("{earlier} {note}"),
                None => note,
            });
        }
    }
}

impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("root", &self.root)
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

/// What the tools of a turn gave.
#[derive(Debug, Default)]
pub struct TurnRan {
    /// Each tool, in the order asked.
    pub ran: Vec<RanTool>,
    /// The `tool_result` blocks, in order, all but that of a valid `finish`.
    pub results: Vec<RawJson>,
    pub finish: Option<Finish>,
    /// The whole text of results that were cut.
    pub outputs: Vec<FullOutput>,
    /// What the edit tool wrote, whether or not it differs now.
    pub wrote: BTreeSet<RepoPath>,
}

/// Runs the tools of one turn, in order. A tool that fails says so in its result, and the next runs.
pub async fn run_turn(context: &mut ToolContext, asked: &[AskedTool]) -> TurnRan {
    let mut turn = TurnRan::default();
    let last = asked.iter().rposition(|tool| name_of(&tool.name) != ToolName::Finish);
    for (number, tool) in asked.iter().enumerate() {
        let name = name_of(&tool.name);
        if name == ToolName::Bash {
            context.keep_up(&turn.wrote).await;
        }
        let started = Instant::now();
        let answer = match name {
            ToolName::Finish => match take_finish(tool, &turn) {
                Ok(finish) => {
                    turn.finish = Some(finish);
                    None
                }
                Err(complaint) => Some(Err(complaint)),
            },
            other => Some(answer(context, other, tool, &mut turn).await),
        };
        turn.ran.push(RanTool {
            id: tool.id.clone(),
            name,
            is_error: matches!(answer, Some(Err(_))),
            ms: took_ms(started.elapsed()),
        });
        if last == Some(number) {
            context.keep_up(&turn.wrote).await;
        }
        if let Some(answer) = answer {
            turn.add_result(context, tool, answer);
        }
    }
    turn
}

pub use place::{read_file, write_file};
pub use result::render as tool_result;

/// What the tools of a turn claim: the first call of `finish` that is complete. It follows from what
/// was asked alone, so nobody has to be believed.
pub fn claimed<'a>(
    asked: impl IntoIterator<Item = (&'a str, &'a str, &'a RawJson)>,
) -> Option<Finish> {
    asked
        .into_iter()
        .filter(|(_, name, _)| name_of(name) == ToolName::Finish)
        .find_map(|(id, _, input)| finish::read(id, input).ok())
}

/// The tool that a name means.
pub fn name_of(name: &str) -> ToolName {
    match name {
        "str_replace_based_edit_tool" => ToolName::Edit,
        "bash" => ToolName::Bash,
        "list_files" => ToolName::ListFiles,
        "search_files" => ToolName::SearchFiles,
        "finish" => ToolName::Finish,
        _ => ToolName::Unknown,
    }
}

fn take_finish(tool: &AskedTool, turn: &TurnRan) -> Result<Finish, Complaint> {
    if turn.finish.is_some() {
        return complain("finish: this turn has one already, and that one counts.");
    }
    finish::read(&tool.id, &tool.input)
}

async fn answer(
    context: &ToolContext,
    name: ToolName,
    tool: &AskedTool,
    turn: &mut TurnRan,
) -> Answer {
    let root = context.root.clone();
    let input = tool.input.clone();
    match name {
        ToolName::Edit => match edit::output_asked(&input) {
            Some((asked, range)) => {
                edit::view_text(&whole_output(context, &asked, turn).await?, range)
            }
            None => {
                let (text, wrote) = blocking(move || edit::run(&root, &input)).await?;
                turn.wrote.extend(wrote);
                Ok(text)
            }
        },
        ToolName::Bash => bash::run(context, &input).await,
        ToolName::ListFiles => blocking(move || list_files::run(&root, &input)).await,
        ToolName::SearchFiles => blocking(move || search_files::run(&root, &input)).await,
        ToolName::Finish | ToolName::Unknown => complain(format!(
            "There is no tool named {:?}. There are str_replace_based_edit_tool, bash (where commands \
             can run), list_files, search_files and finish.",
            tool.name
        )),
    }
}

/// The whole of an output that was cut, in this turn or an earlier one.
async fn whole_output(context: &ToolContext, asked: &Place, turn: &TurnRan) -> Answer {
    let Place::Output { turn: number, id } = asked else {
        return complain("This is no path of an output.");
    };
    if *number == context.turn
        && let Some(found) = turn.outputs.iter().find(|output| output.id == *id)
    {
        return Ok(found.output.clone());
    }
    context.outputs.output(*number, id).await.ok_or_else(|| {
        Complaint(format!(
            "There is no /outputs/{number}/{id}. Only results that were cut have a whole output; the \
             path stands where they were cut."
        ))
    })
}

impl TurnRan {
    fn add_result(&mut self, context: &mut ToolContext, tool: &AskedTool, answer: Answer) {
        let (text, is_error) = match answer {
            Ok(text) => (text, false),
            Err(Complaint(text)) => (text, true),
        };
        // Whatever a tool tells, Claude and the person who reads along see the same.
        let text = revealed(&text).into_owned();
        let own = format!("/outputs/{}/{}", context.turn, tool.id);
        let mut shown = match (result::cut(&text, &own), edit::output_path(&tool.input)) {
            (None, _) => text,
            // A view of a whole output is kept already, under its own name.
            (Some(_), Some(asked)) if tool.name == "str_replace_based_edit_tool" => {
                result::cut(&text, &asked).unwrap_or(text)
            }
            (Some(cut), _) => {
                self.outputs.push(FullOutput { id: tool.id.clone(), output: text });
                cut
            }
        };
        if let Some(note) = context.first_note.take() {
            shown = format!("{}\n{shown}", result::short_note(&on_one_line(&note)));
        }
        match result::render(&tool.id, &shown, is_error) {
            Ok(block) => self.results.push(block),
            // Strings always render; were that wrong, the turn would be short of a result, loudly.
            Err(error) => tracing::error!(%error, tool = tool.id, "a tool result did not render"),
        }
    }
}

/// Reads a tool's input, or says how it does not fit.
fn read_input<'a, T: Deserialize<'a>>(input: &'a RawJson) -> Result<T, Complaint> {
    input.read().map_err(|error| {
        Complaint(format!(
            "The input does not fit: {error}. Call again with the fields as described."
        ))
    })
}

/// Runs what waits for the disk where waiting harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Complaint> + Send + 'static,
) -> Result<T, Complaint> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a tool broke off");
        complain("The tool broke off because of a fault of its own. Try it in another way.")
    })
}

#[cfg(test)]
mod tests;
