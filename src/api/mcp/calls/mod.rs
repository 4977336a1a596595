//! What each tool does. Each takes its arguments as they came, and answers or says why not; wishes go
//! through the same reception as everybody's.

mod follow;
mod look;
mod plan;
mod read;
mod steer;

use cody_events::envelope::Door;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::status::JobStatus;
use cody_projections::overview::JobOverview;
use rmcp::model::{CallToolResult, JsonObject};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Answer, No};
use super::office::Office;
use crate::api::access::Caller;
use crate::api::control::Wish;
use crate::api::reading::NoJob;
use crate::app::AppError;

pub use follow::{Teller, Waited, in_lines, in_words, told, wait};
pub use look::job_shown;
pub use plan::{created, detail};
pub use steer::{Verdict, reviewed};

/// Bytes of text in an answer: as little as says something, or as much as fits an assistant's mind.
const CONCISE_BYTES: usize = 8 * 1024;
const FULL_BYTES: usize = 48 * 1024;

/// How much an assistant wants to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    #[default]
    Concise,
    Full,
}

impl Detail {
    fn bytes(self) -> usize {
        match self {
            Self::Concise => CONCISE_BYTES,
            Self::Full => FULL_BYTES,
        }
    }
}

/// A call, and who makes it.
#[derive(Debug)]
pub struct Call<'a> {
    pub office: &'a Office,
    pub caller: &'a Caller,
    /// Told while a call takes long.
    pub teller: Teller,
}

impl Call<'_> {
    /// Does what the tool `name` does; nothing if there is none of this name.
    pub async fn carry_out(
        &self,
        name: &str,
        arguments: JsonObject,
    ) -> Option<Result<CallToolResult, No>> {
        let answer = match name {
            "plan_job" => self.plan_job(arguments).await,
            "create_job" => self.create_job(arguments).await,
            "get_job" => self.get_job(taken(arguments)).await,
            "list_jobs" => self.list_jobs(taken(arguments)).await,
            "wait_for_job" => self.wait_for_job(taken(arguments)).await,
            "get_events" => self.get_events(taken(arguments)).await,
            "get_thread" => self.get_thread(taken(arguments)).await,
            "get_diff" => self.get_diff(taken(arguments)).await,
            "review_diff" => self.review_diff(taken(arguments)).await,
            "retry_targets" => self.retry_targets(taken(arguments)).await,
            "pause_job" => self.pause_job(taken(arguments)).await,
            "resume_job" => self.resume_job(taken(arguments)).await,
            "cancel_job" => self.cancel_job(taken(arguments)).await,
            _ => return None,
        };
        Some(answer.map(CallToolResult::from))
    }

    /// The job that `text` names: its id, the beginning or end of it, or `latest`.
    async fn find(&self, text: &str) -> Result<JobId, No> {
        self.office.catch_up().await?;
        let fits = self.office.reader.named(text).await?;
        Ok(NoJob::choose(text, &fits)?)
    }

    /// Has `wish` carried out, and answers with where the job stands.
    async fn wish(&self, wish: Wish, key: Option<&str>, detail: Detail) -> Result<Answer, No> {
        let asker = self.caller.asker(Door::Mcp);
        let done = self.office.reception.receive(self.caller, &asker, wish, key).await?;
        self.office.app().shows(done.position).await;
        let job = self.office.reader.glance(done.job).await?.overview;
        let answer = Answer::new(done.position, next(job.status(), done.job, done.position))
            .with("job_id", done.job.to_string())
            .with("status", job.status().name())
            .with("is_new", done.is_new);
        Ok(about(answer, &job, detail))
    }
}

/// What an assistant best does about a job that stands so.
pub fn next(status: JobStatus, job: JobId, position: u64) -> String {
    match status {
        JobStatus::Queued | JobStatus::Running => {
            format!("wait_for_job {{job_id: \"{job}\", after: {position}}}")
        }
        JobStatus::Paused => format!("resume_job {{job_id: \"{job}\"}} when it is to go on"),
        JobStatus::AwaitingReview => {
            "get_diff of each target that awaits a person; show your user; then review_diff"
                .to_owned()
        }
        JobStatus::Succeeded => "get_diff shows what was changed".to_owned(),
        JobStatus::PartlyFailed | JobStatus::Failed => {
            "get_thread shows why; retry_targets starts over with what failed".to_owned()
        }
        JobStatus::Cancelled => "nothing more happens; create_job starts another".to_owned(),
    }
}

/// `answer`, with a line for each of the job's repositories if all is to be told.
pub fn about(answer: Answer, job: &JobOverview, detail: Detail) -> Answer {
    match detail {
        Detail::Concise => answer,
        Detail::Full => answer.with("about", in_lines(job)),
    }
}

/// Arguments as the tool has them.
fn taken<A: DeserializeOwned>(arguments: JsonObject) -> Result<A, No> {
    serde_json::from_value(serde_json::Value::Object(arguments)).map_err(No::bad_arguments)
}

fn target(number: u32) -> TargetNumber {
    TargetNumber(number)
}

/// A failure of the log.
fn of_log(error: crate::store::LogError) -> No {
    AppError::from(error).into()
}
