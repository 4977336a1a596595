//! The conversations about one target, turn by turn, as Markdown and as JSON. The JSON has the events
//! as they were logged, blocks verbatim; the Markdown is for people, and fences what others wrote.

mod markdown;

use cody_events::event::Event;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};

use super::DownloadError;
use super::outlet::Outlet;
use crate::api::reading::page;
use crate::app::App;

pub use markdown::write as write_markdown;

/// Which conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Talk<'a> {
    pub job: JobId,
    pub target: TargetNumber,
    /// What the target's repository is called.
    pub repository: &'a str,
    /// One of them; nothing means all, with the checks between them.
    pub thread: Option<ThreadNumber>,
    /// Up to this version of the job.
    pub until: u64,
}

/// Whether `event` is part of a conversation about `target`.
pub fn is_said(event: &Event, target: TargetNumber) -> bool {
    match event {
        Event::ThreadStarted(e) => e.target == target,
        Event::CallPermitted(e) => e.target == target,
        Event::ClaudeTurn(e) => e.target == target,
        Event::CallFailed(e) => e.target == target,
        Event::ToolsRan(e) => e.target == target,
        Event::DependenciesFetched(e) => e.target == target,
        Event::ChecksRan(e) => e.target == target,
        Event::DiffReviewed(e) => e.target == target,
        Event::ChangesRequested(e) => e.0.target == target,
        _ => false,
    }
}

/// The conversation that `event` belongs to; nothing if to none, or to all.
fn thread_of(event: &Event) -> Option<ThreadNumber> {
    match event {
        Event::ThreadStarted(e) => Some(e.thread),
        Event::CallPermitted(e) => Some(e.thread),
        Event::ClaudeTurn(e) => Some(e.thread),
        Event::CallFailed(e) => Some(e.thread),
        Event::ToolsRan(e) => Some(e.thread),
        Event::DiffReviewed(e) => Some(e.thread),
        _ => None,
    }
}

impl Talk<'_> {
    fn has(&self, event: &Event) -> bool {
        is_said(event, self.target) && (self.thread.is_none() || self.thread == thread_of(event))
    }
}

/// Writes the conversations as one JSON object: whose they are, and their events as `thread --json`
/// prints them.
pub async fn write_json(
    app: &App,
    talk: Talk<'_>,
    out: &mut dyn Outlet,
) -> Result<(), DownloadError> {
    let head = serde_json::json!({
        "job_id": talk.job.to_string(),
        "target": talk.target.0,
        "repository": talk.repository,
        "thread": talk.thread.map(|thread| thread.0),
    });
    let head = head.to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    let put = |error| DownloadError::Write(error);
    out.put(format!("{head},\"events\":[").as_bytes()).await.map_err(put)?;
    let (mut after, mut separator) = (0, "\n");
    loop {
        let page = page(app, talk.job, after, talk.until).await?;
        let Some(last) = page.last() else { break };
        after = last.recorded.version;
        for told in page.iter().filter(|told| talk.has(&told.event)) {
            let payload = app.payload(told.recorded.position).await?;
            let json = told.recorded.to_json(payload.as_deref())?;
            out.put(separator.as_bytes()).await.map_err(put)?;
            out.put(json.as_bytes()).await.map_err(put)?;
            separator = ",\n";
        }
    }
    out.put(b"\n]}\n").await.map_err(put)
}
