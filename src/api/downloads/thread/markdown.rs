//! Conversations for people to read: what was said and done, in order, in Markdown.

use cody_events::diff::ChangesRequested;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, ChecksRan, DependenciesFetched, FetchOutcome};
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallPermitted, ClaudeTurn, DiffReviewed, Purpose, ReviewVerdict, ThreadStarted,
    ToolsRan,
};
use serde::Deserialize;

use super::super::DownloadError;
use super::super::markdown::{block, code, inline, prose};
use super::super::outlet::Outlet;
use super::Talk;
use crate::api::reading::page;
use crate::api::words;
use crate::app::{App, Told};
use crate::claude::blocks::BlockView;

/// Stands for words that were taken out of the log.
const REMOVED: &str = "(removed)\n\n";

/// Writes the conversations as Markdown, an event at a time.
pub async fn write(app: &App, talk: Talk<'_>, out: &mut dyn Outlet) -> Result<(), DownloadError> {
    let head = format!(
        "# Conversations about {}\n\nRepository {} of job {}.\n",
        inline(talk.repository),
        talk.target,
        talk.job
    );
    out.put(head.as_bytes()).await.map_err(DownloadError::Write)?;
    let mut after = 0;
    loop {
        let page = page(app, talk.job, after, talk.until).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.recorded.version;
        for told in page.iter().filter(|told| talk.has(&told.event)) {
            let text = said(app, told).await?;
            out.put(text.as_bytes()).await.map_err(DownloadError::Write)?;
        }
    }
}

#[derive(Deserialize)]
struct Message {
    content: Vec<RawJson>,
}

/// One event of a conversation.
async fn said(app: &App, told: &Told) -> Result<String, DownloadError> {
    let position = told.recorded.position;
    Ok(match &told.event {
        Event::ThreadStarted(e) => {
            started(e, app.payload_of::<ThreadStarted>(position).await?.as_ref())
        }
        Event::ClaudeTurn(e) => {
            let payload = app.payload_of::<ClaudeTurn>(position).await?;
            response(e, payload.as_ref().map(|payload| payload.content.as_slice()))
        }
        Event::CallPermitted(_) => match app.payload_of::<CallPermitted>(position).await? {
            Some(payload) if !payload.notice.is_empty() => {
                format!("\n### Cody Batch\n\n{}", blocks(&payload.notice))
            }
            Some(_) | None => String::new(),
        },
        Event::CallFailed(e) => {
            let words = app.payload_of::<CallFailed>(position).await?;
            let words = words.map(|payload| inline(&payload.message)).unwrap_or_default();
            let cost = match e.assumed_micros {
                0 => String::new(),
                micros => format!(" It is taken to have cost {}.", words::dollars(micros)),
            };
            format!("\n### The call failed\n\n{words}{cost}\n\n")
        }
        Event::ToolsRan(_) => match app.payload_of::<ToolsRan>(position).await? {
            Some(payload) => blocks(&payload.results),
            None => REMOVED.to_owned(),
        },
        Event::DependenciesFetched(e) => dependencies(app, e, position).await?,
        Event::ChecksRan(e) => checks(app, e, position).await?,
        Event::DiffReviewed(e) => {
            let verdict = match e.verdict {
                ReviewVerdict::Accept => "it accepts",
                ReviewVerdict::Object => "it objects",
            };
            let mut out = format!("\n### The review's verdict: {verdict}\n\n");
            if let Some(payload) = app.payload_of::<DiffReviewed>(position).await? {
                out.push_str(&format!("{}\n\n", inline(&payload.summary)));
                for reason in &payload.reasons {
                    out.push_str(&format!("- {}\n", inline(reason)));
                }
            }
            out
        }
        Event::ChangesRequested(_) => {
            let payload = app.payload_of::<ChangesRequested>(position).await?;
            let words = payload.map_or_else(|| REMOVED.to_owned(), |p| prose(&p.comment) + "\n");
            format!("\n### {} wants it otherwise\n\n{words}", code(&told.recorded.actor))
        }
        _ => String::new(),
    })
}

fn started(
    e: &ThreadStarted,
    payload: Option<&cody_events::thread::ThreadStartedPayload>,
) -> String {
    let purpose = match e.purpose {
        Purpose::Change => "the change",
        Purpose::Review => "the independent review",
        Purpose::Fresh => "a fresh conversation about the change",
    };
    let mut out = format!("\n## Thread {}: {purpose}\n\nWith {}.\n\n", e.thread, code(&e.model));
    match payload {
        Some(payload) => match payload.first_message.read::<Message>() {
            Ok(message) => out.push_str(&blocks(&message.content)),
            // Whatever it is, it is what was sent.
            Err(_) => out.push_str(&(block(payload.first_message.get()) + "\n")),
        },
        None => out.push_str(REMOVED),
    }
    out
}

fn response(e: &ClaudeTurn, content: Option<&[RawJson]>) -> String {
    let history = if e.in_history { "" } else { ", not kept" };
    let head = format!(
        "\n### Claude, turn {}{history}\n\n{}, {}, {} tokens in and {} out\n\n",
        e.turn,
        words::duration(e.ms),
        words::dollars(e.cost_micros),
        words::grouped(e.usage.input_total()),
        words::grouped(e.usage.output_tokens)
    );
    head + &content.map_or_else(|| REMOVED.to_owned(), blocks)
}

async fn dependencies(
    app: &App,
    e: &DependenciesFetched,
    position: u64,
) -> Result<String, DownloadError> {
    let payload = app.payload_of::<DependenciesFetched>(position).await?;
    let mut out = "\n### Dependencies\n\n".to_owned();
    let words = payload.iter().flat_map(|payload| &payload.fetches).map(Some);
    for (fetch, words) in e.fetches.iter().zip(words.chain(std::iter::repeat(None))) {
        let how = match fetch.outcome {
            FetchOutcome::Fetched => "fetched",
            FetchOutcome::Cached => "fetched by an earlier job",
            FetchOutcome::Failed => "not fetched",
            FetchOutcome::NoNamespaces => "not fetched: that needs bubblewrap",
        };
        out.push_str(&format!("{}: {how} ({})\n\n", fetch.ecosystem, words::duration(fetch.ms)));
        for host in words.iter().flat_map(|words| &words.refused_hosts) {
            out.push_str(&format!("- {} is not allowed\n", code(host)));
        }
        if let Some(words) = words.filter(|words| !words.output.is_empty()) {
            out.push_str(&format!("\n{}\n", block(&words.output)));
        }
    }
    Ok(out)
}

async fn checks(app: &App, e: &ChecksRan, position: u64) -> Result<String, DownloadError> {
    let phase = match e.phase {
        CheckPhase::Baseline => "before any change",
        CheckPhase::After => "after the change",
        CheckPhase::Repair => "after a repair",
    };
    let payload = app.payload_of::<ChecksRan>(position).await?;
    let mut out = format!("\n### Checks {phase}\n\n");
    let commands = payload.iter().flat_map(|payload| &payload.commands);
    for (command, result) in commands.zip(&e.commands) {
        let how = match (result.passed(), result.timed_out, result.exit_code) {
            (true, _, _) => "passes".to_owned(),
            (false, true, _) => "timed out".to_owned(),
            (false, false, Some(code)) => format!("fails ({code})"),
            (false, false, None) => "killed".to_owned(),
        };
        let took = words::duration(result.ms);
        out.push_str(&format!("{}: {how} ({took})\n\n", code(&command.command)));
        if !command.output.is_empty() {
            out.push_str(&format!("{}\n", block(&command.output)));
        }
    }
    if e.commands.is_empty() {
        out.push_str("None was run.\n\n");
    }
    Ok(out)
}

/// Blocks of a message: prose quoted, all else fenced.
fn blocks(content: &[RawJson]) -> String {
    let mut out = String::new();
    for one in content {
        match BlockView::of(one) {
            BlockView::Text { text } => out.push_str(&prose(&text)),
            BlockView::Thinking { thinking } if thinking.is_empty() => continue,
            BlockView::Thinking { thinking } => {
                out.push_str(&format!("*Thinks:*\n\n{}", prose(&thinking)));
            }
            BlockView::RedactedThinking => {
                out.push_str("*Thinks, withheld by the provider.*\n");
            }
            BlockView::ToolUse { name, input, .. } => {
                out.push_str(&format!("Calls {}:\n\n{}", code(&name), arguments(&input)));
            }
            BlockView::ToolResult { is_error, text, .. } => {
                let how = if is_error { "Error" } else { "Result" };
                out.push_str(&format!("{how}:\n\n{}", block(&text)));
            }
            BlockView::Unknown { kind } => {
                out.push_str(&format!("*A block of the kind {}.*\n", code(&kind)));
            }
        }
        out.push('\n');
    }
    out
}

/// A tool's input, a field after the other; short ones on a line of their own.
fn arguments(input: &RawJson) -> String {
    let Ok(fields) = input.read::<serde_json::Map<String, serde_json::Value>>() else {
        return block(input.get());
    };
    let mut out = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match value {
            serde_json::Value::String(text) if text.contains('\n') => {
                out.push_str(&format!("- {}:\n\n{}\n", code(name), block(text)));
            }
            serde_json::Value::String(text) => {
                out.push_str(&format!("- {}: {}\n", code(name), code(text)));
            }
            other => out.push_str(&format!("- {}: {}\n", code(name), code(&other.to_string()))),
        }
    }
    out
}
