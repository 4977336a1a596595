//! Whether a worker's report can be true. What can be recomputed is; what cannot has to agree with
//! what was asked for. An honest worker never meets any of this.

use std::collections::BTreeSet;
use std::time::Duration;

use cody_events::attempt::SandboxBackend;
use cody_events::digest::ObjectId;
use cody_events::evidence::{CheckSkip, Ecosystem, FetchWords};
use cody_events::time::took_ms;
use serde::Deserialize;

use crate::scan::revealed;
use crate::tools;
use crate::wire::{AskedTool, ChecksReport, FetchReport, ToolsReport};

/// The longest text of one result: what a tool may give, and our notes around it.
const MAX_RESULT_CHARACTERS: usize = 40_000;
/// How much longer than we saw a step may have taken, by the worker's own clock.
const CLOCK_SLACK_MS: u64 = 2_000;

/// What is kept of the words of one fetch; of hosts, for those reached and those refused alike.
const FETCH_OUTPUT_BYTES: usize = 64 << 10;
const FETCH_HOSTS: usize = 64;
const MAX_HOST_BYTES: usize = 300;

/// Why a report is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    #[error("it names other tools than the response asks for")]
    OtherTools,
    #[error("its results are not the answers to the tools of the response")]
    OtherResults,
    #[error("a result has more than {MAX_RESULT_CHARACTERS} characters")]
    LongResult,
    #[error("its whole outputs belong to no tool of the response")]
    OtherOutputs,
    #[error("its `finish` is not what Claude said")]
    OtherFinish,
    #[error("it says that commands ran that were not asked for, or not those that were")]
    OtherCommands,
    #[error("it fetched the same twice, or says more of it than there is room for")]
    OtherFetches,
    #[error("what it skipped was not to be skipped")]
    WrongSkip,
    #[error("it brings contents that its changes do not need")]
    NeedlessBlobs,
    #[error("it adds {new_count} files, and one turn may add {most_new}")]
    TooMuch { new_count: u64, most_new: u64 },
    #[error("its changes cannot be made: {0}")]
    BadChanges(String),
    #[error("its changes make tree {made}, and it says {said}")]
    OtherTree { made: ObjectId, said: ObjectId },
    #[error("the step took {elapsed_ms} ms as seen from here, and {said_ms} ms as it says")]
    OtherTime { elapsed_ms: u64, said_ms: u64 },
}

/// A `tool_result` block as our tools write them, and no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultBlock {
    #[serde(rename = "type")]
    kind: String,
    tool_use_id: String,
    content: String,
    #[serde(default)]
    is_error: bool,
}

/// Examines what can be said of a turn's tools without its tree.
pub(super) fn examine_tools(asked: &[AskedTool], report: &ToolsReport) -> Result<(), Disbelief> {
    let reported = report.tools.iter().map(|tool| (tool.id.as_str(), tool.name));
    let expected = asked.iter().map(|tool| (tool.id.as_str(), tools::name_of(&tool.name)));
    if !reported.eq(expected) {
        return Err(Disbelief::OtherTools);
    }
    let calls = asked.iter().map(|tool| (tool.id.as_str(), tool.name.as_str(), &tool.input));
    if tools::claimed(calls) != report.finish {
        return Err(Disbelief::OtherFinish);
    }
    examine_results(report)?;
    let ids: BTreeSet<&str> = asked.iter().map(|tool| tool.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    let are_theirs = |id: &str| ids.contains(id);
    if !report.outputs.iter().all(|o| are_theirs(&o.id) && seen.insert(o.id.as_str())) {
        return Err(Disbelief::OtherOutputs);
    }
    let changes = report.changed.iter().filter_map(|change| change.entry);
    let needed: BTreeSet<ObjectId> = changes.map(|entry| entry.object).collect();
    if !report.blobs.iter().all(|blob| needed.contains(&blob.object)) {
        return Err(Disbelief::NeedlessBlobs);
    }
    Ok(())
}

/// One answer a tool, in order, but for the `finish` that is taken.
fn examine_results(report: &ToolsReport) -> Result<(), Disbelief> {
    let taken = report.finish.as_ref().map(|finish| finish.id.as_str());
    let answered: Vec<_> =
        report.tools.iter().filter(|tool| Some(tool.id.as_str()) != taken).collect();
    if answered.len() != report.results.len() {
        return Err(Disbelief::OtherResults);
    }
    for (tool, result) in answered.into_iter().zip(&report.results) {
        let block: ResultBlock = result.read().map_err(|_| Disbelief::OtherResults)?;
        let is_its_answer = block.kind == "tool_result"
            && block.tool_use_id == tool.id
            && block.is_error == tool.is_error
            && !block.content.is_empty();
        if !is_its_answer {
            return Err(Disbelief::OtherResults);
        }
        if revealed(&block.content).chars().count() > MAX_RESULT_CHARACTERS {
            return Err(Disbelief::LongResult);
        }
    }
    Ok(())
}

/// Examines what a worker says of the commands that it was to run, in a sandbox of this kind.
pub fn examine_checks(
    commands: &[String],
    sandbox: Option<SandboxBackend>,
    report: &ChecksReport,
) -> Result<(), Disbelief> {
    let has_sandbox = sandbox.is_some_and(|backend| backend != SandboxBackend::None);
    let due = match has_sandbox {
        _ if commands.is_empty() => Some(CheckSkip::NoCommands),
        true => None,
        false => Some(CheckSkip::NoSandbox),
    };
    if report.skipped != due {
        return Err(Disbelief::WrongSkip);
    }
    let ran = report.outputs.len();
    let expected = match (due, report.cut_short) {
        (Some(_), _) => 0,
        (None, true) => ran.min(commands.len()),
        (None, false) => commands.len(),
    };
    let names = report.outputs.iter().map(|output| &output.command);
    if report.results.len() != ran || ran != expected || !names.eq(&commands[..expected]) {
        return Err(Disbelief::OtherCommands);
    }
    // A code beside a time limit would count as a pass or as a failure, as one likes.
    if report.results.iter().any(|result| result.timed_out && result.exit_code.is_some()) {
        return Err(Disbelief::OtherCommands);
    }
    Ok(())
}

/// Examines what a worker says of the dependencies that it fetched.
pub fn examine_fetch(report: &FetchReport) -> Result<(), Disbelief> {
    let ecosystems: BTreeSet<Ecosystem> = report.fetches.iter().map(|f| f.ecosystem).collect();
    let is_each_once = ecosystems.len() == report.fetches.len() && !ecosystems.is_empty();
    if !is_each_once || report.words.len() != report.fetches.len() {
        return Err(Disbelief::OtherFetches);
    }
    let is_short = |words: &FetchWords| {
        let hosts = words.hosts.iter().chain(&words.refused_hosts);
        words.output.len() <= FETCH_OUTPUT_BYTES
            && words.hosts.len() <= FETCH_HOSTS
            && words.refused_hosts.len() <= FETCH_HOSTS
            && hosts.into_iter().all(|host| host.len() <= MAX_HOST_BYTES)
    };
    if !report.words.iter().all(is_short) {
        return Err(Disbelief::OtherFetches);
    }
    Ok(())
}

/// Examines how long a step took: nobody takes longer than from its hand-out to its report. Whoever
/// took it over from an earlier server has no hand-out that we know of.
pub fn examine_time(handed_for: Option<Duration>, said_ms: u64) -> Result<(), Disbelief> {
    let Some(elapsed_ms) = handed_for.map(took_ms) else { return Ok(()) };
    if said_ms > elapsed_ms.saturating_add(CLOCK_SLACK_MS) {
        return Err(Disbelief::OtherTime { elapsed_ms, said_ms });
    }
    Ok(())
}
