//! `thread`: the conversation with Claude, turn by turn, as it was.

use clap::Args;
use cody_events::diff::ChangesRequested;
use cody_events::event::Event;
use cody_events::evidence::{ChecksRan, DependenciesFetched, FetchOutcome};
use cody_events::ids::TargetNumber;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, Purpose, ThreadStarted, ToolsRan,
};
use serde::Deserialize;

use super::reading::Reading;
use super::{Context, Exit, text};
use crate::api::downloads::thread::{Talk, is_said, write_markdown};
use crate::api::reading::page;
use crate::app::{App, Told};
use crate::claude::blocks::BlockView;

/// Longer texts are cut unless `--full` is given.
const SHORT_LINES: usize = 12;

/// What `thread` takes.
#[derive(Debug, Args)]
pub struct ThreadArgs {
    /// The job's id, its beginning, or `latest`
    #[arg(default_value = "latest")]
    job: String,
    /// The repository's number in the job
    #[arg(default_value_t = 1)]
    target: u32,
    /// Cut nothing
    #[arg(long)]
    full: bool,
    /// Print each event of the conversation as one JSON envelope a line
    #[arg(long)]
    json: bool,
    /// Print Markdown, as a server's `thread.md` has it
    #[arg(long, conflicts_with_all = ["json", "full"])]
    markdown: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: ThreadArgs) -> Result<Exit, anyhow::Error> {
    let reading = Reading::open(&context).await?;
    let job = reading.read(&args.job).await?;
    let app = &reading.app;
    job.target(args.target)?;
    let target = TargetNumber(args.target);
    if args.markdown {
        let repository = &job.target(args.target)?.repository;
        let (thread, until) = (None, job.stand.version);
        let talk = Talk { job: job.id, target, repository, thread, until };
        write_markdown(app, talk, &mut text::Stdout).await?;
        return Ok(Exit::OK);
    }
    let mut after = 0;
    loop {
        let page = page(app, job.id, after, job.stand.version).await?;
        let Some(last) = page.last() else { return Ok(Exit::OK) };
        after = last.recorded.version;
        for told in page.iter().filter(|told| is_said(&told.event, target)) {
            if args.json {
                let payload = app.payload(told.recorded.position).await?;
                text::put(format_args!("{}\n", told.recorded.to_json(payload.as_deref())?))?;
            } else {
                text::put(format_args!("{}", said(app, told, args.full).await?))?;
            }
        }
    }
}

#[derive(Deserialize)]
struct Message {
    content: Vec<RawJson>,
}

/// One event of a conversation, for a person.
pub async fn said(app: &App, told: &Told, full: bool) -> Result<String, anyhow::Error> {
    let position = told.recorded.position;
    let mut out = String::new();
    match &told.event {
        Event::ThreadStarted(e) => {
            let purpose = match e.purpose {
                Purpose::Change => "The change",
                Purpose::Review => "The independent review",
                Purpose::Fresh => "A fresh conversation about the change",
            };
            out.push_str(&format!("\n━━ {purpose} ━━ thread {}, {}\n", e.thread, e.model));
            if let Some(start) = app.payload_of::<ThreadStarted>(position).await? {
                let first: Message = start.first_message.read()?;
                out.push_str(&blocks(&first.content, full));
            }
        }
        Event::ClaudeTurn(e) => {
            let history = if e.in_history { "" } else { ", not kept" };
            out.push_str(&format!(
                "\n▌Claude, turn {}{history}  ({}, {}, {} in / {} out)\n",
                e.turn,
                text::duration(e.ms),
                text::dollars(e.cost_micros),
                e.usage.input_total(),
                e.usage.output_tokens
            ));
            match app.payload_of::<ClaudeTurn>(position).await? {
                Some(payload) => out.push_str(&blocks(&payload.content, full)),
                None => out.push_str("  (removed)\n"),
            }
        }
        Event::CallPermitted(_) => {
            if let Some(payload) = app.payload_of::<CallPermitted>(position).await? {
                out.push_str("\n▌Cody Batch\n");
                out.push_str(&blocks(&payload.notice, full));
            }
        }
        Event::CallFailed(e) => {
            let words = app.payload_of::<CallFailed>(position).await?;
            let words = words.map(|payload| payload.message).unwrap_or_default();
            out.push_str(&format!("\n! The call failed: {}\n", text::printable(&words)));
            if e.assumed_micros > 0 {
                out.push_str(&format!(
                    "  taken to have cost {}\n",
                    text::dollars(e.assumed_micros)
                ));
            }
        }
        Event::ToolsRan(_) => {
            if let Some(payload) = app.payload_of::<ToolsRan>(position).await? {
                out.push_str(&blocks(&payload.results, full));
            }
        }
        Event::DependenciesFetched(e) => {
            let payload = app.payload_of::<DependenciesFetched>(position).await?;
            out.push_str("\n▌Dependencies\n");
            let words = payload.iter().flat_map(|payload| &payload.fetches).map(Some);
            for (fetch, words) in e.fetches.iter().zip(words.chain(std::iter::repeat(None))) {
                let (mark, how) = match fetch.outcome {
                    FetchOutcome::Fetched => ("✔", "fetched"),
                    FetchOutcome::Cached => ("✔", "fetched by an earlier job"),
                    FetchOutcome::Failed => ("✘", "not fetched"),
                    FetchOutcome::NoNamespaces => ("✘", "not fetched: that needs bubblewrap"),
                };
                let took = text::duration(fetch.ms);
                out.push_str(&format!("  {mark} {}: {how} ({took})\n", fetch.ecosystem));
                let refused = words.iter().flat_map(|words| &words.refused_hosts);
                for host in refused {
                    let host = text::printable(host);
                    out.push_str(&format!("  {host} is not allowed; add it to `registries`\n"));
                }
                if let Some(words) = words.filter(|_| full || fetch.outcome == FetchOutcome::Failed)
                {
                    out.push_str(&ending(&words.output, full));
                }
            }
        }
        Event::ChecksRan(e) => {
            let phase = match e.phase {
                cody_events::evidence::CheckPhase::Baseline => "before any change",
                cody_events::evidence::CheckPhase::After => "after the change",
                cody_events::evidence::CheckPhase::Repair => "after a repair",
            };
            let payload = app.payload_of::<ChecksRan>(position).await?;
            out.push_str(&format!("\n▌Checks {phase}\n"));
            for (command, result) in
                payload.iter().flat_map(|payload| &payload.commands).zip(&e.commands)
            {
                let mark = if result.passed() { "✔" } else { "✘" };
                out.push_str(&format!(
                    "  {mark} {} ({})\n",
                    text::printable(&command.command),
                    text::duration(result.ms)
                ));
                if !result.passed() || full {
                    out.push_str(&ending(&command.output, full));
                }
            }
            if e.commands.is_empty() {
                out.push_str("  none was run\n");
            }
        }
        Event::ChangesRequested(_) => {
            let payload = app.payload_of::<ChangesRequested>(position).await?;
            let words = payload.map_or_else(|| "(removed)".to_owned(), |payload| payload.comment);
            out.push_str(&format!("\n▌{}\n", text::printable(&told.recorded.actor)));
            out.push_str(&indented(&words, full));
        }
        Event::DiffReviewed(_) => {
            if let Some(payload) = app.payload_of::<DiffReviewed>(position).await? {
                out.push_str(&format!("\n▌Verdict: {}\n", text::printable(&payload.summary)));
                for reason in &payload.reasons {
                    out.push_str(&format!("  - {}\n", text::printable(reason)));
                }
            }
        }
        _ => {}
    }
    Ok(out)
}

fn blocks(content: &[RawJson], full: bool) -> String {
    let mut out = String::new();
    for block in content {
        match BlockView::of(block) {
            BlockView::Text { text } => out.push_str(&indented(&text, full)),
            BlockView::Thinking { thinking } if thinking.is_empty() => {}
            BlockView::Thinking { thinking } => {
                out.push_str(&indented(&format!("(thinks) {thinking}"), full));
            }
            BlockView::RedactedThinking => out.push_str("  (thinks, withheld by the provider)\n"),
            BlockView::ToolUse { name, input, .. } => {
                out.push_str(&format!("  → {}\n", text::printable(&name)));
                out.push_str(&arguments(&input, full));
            }
            BlockView::ToolResult { is_error, text, .. } => {
                out.push_str(if is_error { "  ← error\n" } else { "  ←\n" });
                out.push_str(
                    &indented(&text, full).replace("\n  ", "\n    ").replacen("  ", "    ", 1),
                );
            }
            BlockView::Unknown { kind } => out.push_str(&format!("  ({kind})\n")),
        }
    }
    out
}

/// A tool's input, a line a field.
fn arguments(input: &RawJson, full: bool) -> String {
    let Ok(fields) = input.read::<serde_json::Map<String, serde_json::Value>>() else {
        return indented(input.get(), full);
    };
    let mut out = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let shown = indented(&value, full).replace("\n  ", "\n      ");
        out.push_str(&format!("    {name}: {}", shown.trim_start()));
    }
    out
}

/// The end of a command's output, where failures are.
fn ending(words: &str, full: bool) -> String {
    let words = text::printable(words);
    let lines: Vec<&str> = words.trim_end().lines().collect();
    let skipped = if full { 0 } else { lines.len().saturating_sub(SHORT_LINES) };
    let mut out = String::new();
    if skipped > 0 {
        out.push_str(&format!("    … {}\n", text::counted(skipped as u64, "earlier line")));
    }
    for line in &lines[skipped..] {
        out.push_str(&format!("    {line}\n"));
    }
    out
}

/// `words` with an indent, cut after some lines unless `full`.
fn indented(words: &str, full: bool) -> String {
    let words = text::printable(words);
    let lines: Vec<&str> = words.trim_end().lines().collect();
    let shown = if full { lines.len() } else { lines.len().min(SHORT_LINES) };
    let mut out = String::new();
    for line in &lines[..shown] {
        out.push_str(&format!("  {line}\n"));
    }
    if shown < lines.len() {
        out.push_str(&format!(
            "  … {} more\n",
            text::counted((lines.len() - shown) as u64, "line")
        ));
    }
    out
}
