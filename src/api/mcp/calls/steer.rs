//! Taking a job in hand: judge its diffs, retry, pause, resume, cancel.

use cody_events::digest::Sha256;
use cody_events::ids::TargetNumber;
use serde::Deserialize;

use super::{Call, Detail, target};
use crate::api::control::{Review, Wish};
use crate::api::mcp::answer::{Answer, No};
use crate::plan::LimitsRequest;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewDiff {
    job_id: String,
    target: u32,
    diff_hash: String,
    verdict: Verdict,
    #[serde(default)]
    comment: String,
    idempotency_key: Option<String>,
    #[serde(default)]
    detail: Detail,
}

/// What may be said of a diff.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Approve,
    Reject,
    RequestChanges,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryTargets {
    job_id: String,
    #[serde(default)]
    targets: Vec<u32>,
    budget_usd: Option<String>,
    max_turns: Option<u32>,
    idempotency_key: Option<String>,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseJob {
    job_id: String,
    target: Option<u32>,
    idempotency_key: Option<String>,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeJob {
    job_id: String,
    target: Option<u32>,
    budget_usd: Option<String>,
    max_turns: Option<u32>,
    idempotency_key: Option<String>,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {
    job_id: String,
    #[serde(default)]
    reason: String,
    idempotency_key: Option<String>,
    #[serde(default)]
    detail: Detail,
}

impl Call<'_> {
    pub(super) async fn review_diff(&self, asked: Result<ReviewDiff, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let diff_hash: Sha256 = asked.diff_hash.parse().map_err(|_| {
            let next = "Pass the diff_hash that get_diff showed.";
            No::new("bad-arguments", "`diff_hash` is no hash of a diff.", next)
        })?;
        let (target, comment) = (target(asked.target), asked.comment);
        let review = Review { job, target, diff_hash, comment };
        self.wish(reviewed(asked.verdict, review), asked.idempotency_key.as_deref(), asked.detail)
            .await
    }

    pub(super) async fn retry_targets(
        &self,
        asked: Result<RetryTargets, No>,
    ) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let targets: Vec<TargetNumber> = asked.targets.into_iter().map(target).collect();
        let limits = limits(asked.budget_usd, asked.max_turns);
        let wish = Wish::Retry { job, targets, limits };
        self.wish(wish, asked.idempotency_key.as_deref(), asked.detail).await
    }

    pub(super) async fn pause_job(&self, asked: Result<PauseJob, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let wish = Wish::Pause { job, target: asked.target.map(target) };
        self.wish(wish, asked.idempotency_key.as_deref(), asked.detail).await
    }

    pub(super) async fn resume_job(&self, asked: Result<ResumeJob, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let limits = limits(asked.budget_usd, asked.max_turns);
        let wish = Wish::Resume { job, target: asked.target.map(target), limits };
        self.wish(wish, asked.idempotency_key.as_deref(), asked.detail).await
    }

    pub(super) async fn cancel_job(&self, asked: Result<CancelJob, No>) -> Result<Answer, No> {
        let asked = asked?;
        let job = self.find(&asked.job_id).await?;
        let wish = Wish::Cancel { job, reason: asked.reason };
        self.wish(wish, asked.idempotency_key.as_deref(), asked.detail).await
    }
}

/// The wish that a verdict is.
pub fn reviewed(verdict: Verdict, review: Review) -> Wish {
    match verdict {
        Verdict::Approve => Wish::Approve(review),
        Verdict::Reject => Wish::Reject(review),
        Verdict::RequestChanges => Wish::RequestChanges(review),
    }
}

fn limits(budget_usd: Option<String>, max_turns: Option<u32>) -> LimitsRequest {
    LimitsRequest { budget_usd, max_turns, ..LimitsRequest::default() }
}
