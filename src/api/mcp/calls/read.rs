//! Reading what Claude said and did, and what came of it: texts, a window at a time.

use cody_events::diff::DiffProduced;
use cody_events::ids::{JobId, ThreadNumber};
use cody_projections::diffs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Detail, target};
use crate::api::downloads::thread::{Talk, write_markdown};
use crate::api::mcp::answer::{Answer, No, untrusted};
use crate::api::mcp::resources;
use crate::api::mcp::window::{Window, part};
use crate::api::patch_view;
use crate::api::reading::NoJob;
use crate::api::words::printable;

/// Files of a diff in an answer.
const MOST_FILES: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetThread {
    job_id: String,
    #[serde(default = "one")]
    target: u32,
    thread: Option<u32>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetDiff {
    job_id: String,
    #[serde(default = "one")]
    target: u32,
    path: Option<String>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    detail: Detail,
}

fn one() -> u32 {
    1
}

impl Call<'_> {
    pub(super) async fn get_thread(&self, asked: Result<GetThread, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let glance = self.office.reader.glance(job).await?;
        let repository = self.repository(job, asked.target, &glance.overview.targets)?;
        let talk = Talk {
            job,
            target: target(asked.target),
            repository: &repository,
            thread: asked.thread.map(ThreadNumber),
            until: glance.stand.version,
        };
        let mut window = Window::new(asked.offset, asked.detail.bytes());
        let written = write_markdown(self.office.app(), talk, &mut window).await;
        window.check(written)?;
        let (text, next_offset) = window.end();
        let next = match next_offset {
            Some(offset) => {
                format!(
                    "get_thread {{job_id: \"{job}\", target: {}, offset: {offset}}} for more",
                    asked.target
                )
            }
            None => format!("get_job {{job_id: \"{job}\"}}"),
        };
        Ok(Answer::new(glance.overview.job.position, next)
            .with("text", untrusted(&text))
            .with("next_offset", next_offset))
    }

    pub(super) async fn get_diff(&self, asked: Result<GetDiff, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let glance = self.office.reader.glance(job).await?;
        self.repository(job, asked.target, &glance.overview.targets)?;
        let number = target(asked.target);
        let app = self.office.app();
        let row = app.ask(move |views| diffs::latest(views, job, number)).await?;
        let payload = match &row {
            Some(row) => app.payload_of::<DiffProduced>(row.position).await?,
            None => None,
        };
        let (Some(row), Some(payload)) = (row, payload) else {
            return Err(No::new(
                "no-diff",
                format!("Target {} has no diff.", asked.target),
                "Call get_job to see how it stands.",
            ));
        };
        let bytes = payload.patch.bytes().map_err(|_| {
            No::new("damaged", "The recorded patch is damaged.", "Ask the server's owner.")
        })?;
        let patch = String::from_utf8_lossy(&bytes);
        let sections = patch_view::sections(&patch);
        let wanted = |path: &str| asked.path.as_deref().is_none_or(|asked| asked == path);
        let (mut files, mut text) = (Vec::new(), String::new());
        for (file, section) in
            payload.files.iter().zip(sections.iter().map(Some).chain(std::iter::repeat(None)))
        {
            let path = file.path.display();
            if !wanted(&path) {
                continue;
            }
            files.push(json!({
                "path": printable(&path),
                "change": file.change,
                "added": file.added_line_count,
                "deleted": file.deleted_line_count,
            }));
            text.push_str(section.map_or("", |section| section));
        }
        if files.is_empty() && asked.path.is_some() {
            return Err(No::new(
                "no-such-file",
                "The diff has no file of this path.",
                "Leave `path` out to see all of them.",
            ));
        }
        files.truncate(MOST_FILES);
        let (part, next_offset) = part(&text, asked.offset, asked.detail.bytes());
        let about = format!("{}\n{}", payload.title.trim(), payload.summary.trim());
        let next = match next_offset {
            Some(offset) => {
                format!(
                    "get_diff {{job_id: \"{job}\", target: {}, offset: {offset}}} for more",
                    asked.target
                )
            }
            None => "show your user, then review_diff with this diff_hash".to_owned(),
        };
        Ok(Answer::new(glance.overview.job.position, next)
            .with("diff_hash", row.diff_hash.to_string())
            .with("about", untrusted(&about))
            .with("files", Value::Array(files))
            .with("patch", untrusted(part))
            .with("next_offset", next_offset)
            .with("resource", resources::diff_uri(job, number)))
    }

    /// What the target's repository is called.
    fn repository(
        &self,
        job: JobId,
        number: u32,
        targets: &[cody_projections::overview::TargetOverview],
    ) -> Result<String, No> {
        let found = targets.iter().find(|one| one.target.target.0 == number);
        let no = || NoJob::NoTarget { job, number, count: targets.len() };
        Ok(found.ok_or_else(no)?.target.repository.clone())
    }
}
