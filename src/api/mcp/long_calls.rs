//! Long calls as tasks, for clients that know them: creating a job, and waiting for one. A task is a job
//! seen through the protocol, answered from the log each time, so there is nothing to lose: not with a
//! connection, nor with the server.
//!
//! A task's id is the job's, which has 74 bits of chance in it; who asks for one is looked at again each
//! time all the same.

use std::time::Duration;

use cody_events::digest::Sha256;
use cody_events::envelope::Door;
use cody_events::ids::{JobId, TargetNumber};
use cody_events::status::JobStatus;
use cody_events::system::Scope;
use cody_projections::overview::JobOverview;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, CreateTaskResult, DetailedTask, ElicitRequest, ElicitRequestParams,
    ElicitationSchema, EnumSchema, GetTaskResult, InputRequest, InputRequests, JsonObject, Task,
    TaskPayload, TaskStatus, UpdateTaskParams,
};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Answer, No};
use super::assistant::refused;
use super::calls::{
    Call, Detail, Teller, Verdict, Waited, about, created, detail, in_words, reviewed, told, wait,
};
use super::office::Office;
use crate::api::access::Caller;
use crate::api::control::{Review, Wish};
use crate::api::reading::{Glance, NoJob};
use crate::api::words;

/// How often a client best asks, in milliseconds.
const POLL_MS: u64 = 3_000;

/// What a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Until the job is done.
    Job(JobId),
    /// Until something happens to it after this position.
    Wait(JobId, u64),
}

impl Kind {
    fn job(self) -> JobId {
        match self {
            Self::Job(job) | Self::Wait(job, _) => job,
        }
    }

    fn id(self) -> String {
        match self {
            Self::Job(job) => format!("job.{job}"),
            Self::Wait(job, after) => format!("wait.{job}.{after}"),
        }
    }

    fn parse(id: &str) -> Option<Self> {
        if let Some(job) = id.strip_prefix("job.") {
            return job.parse().ok().map(Self::Job);
        }
        let (job, after) = id.strip_prefix("wait.")?.split_once('.')?;
        Some(Self::Wait(job.parse().ok()?, after.parse().ok()?))
    }
}

/// Whether a call of this tool becomes a task.
pub fn is_one(tool: &str) -> bool {
    matches!(tool, "create_job" | "wait_for_job")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    job_id: String,
    after: Option<u64>,
}

/// Begins what `tool` does; the task tells how it goes on.
pub async fn begin(
    call: &Call<'_>,
    tool: &str,
    mut arguments: JsonObject,
) -> Result<CreateTaskResult, No> {
    let office = call.office;
    // A result is read once, so it tells all.
    detail(&mut arguments)?;
    let kind = if tool == "create_job" {
        let (wish, key) = created(office.app().new_job_id(), arguments)?;
        let asker = call.caller.asker(Door::Mcp);
        let done = office.reception.receive(call.caller, &asker, wish, key.as_deref()).await?;
        Kind::Job(done.job)
    } else {
        let asked: Waiting =
            serde_json::from_value(Value::Object(arguments)).map_err(No::bad_arguments)?;
        office.catch_up().await?;
        let fits = office.reader.named(&asked.job_id).await?;
        let job = NoJob::choose(&asked.job_id, &fits)?;
        let glance = office.reader.glance(job).await?;
        Kind::Wait(job, asked.after.unwrap_or(glance.overview.job.position))
    };
    let glance = glance(office, kind.job()).await?;
    Ok(CreateTaskResult::new(seed(kind, &glance.overview, TaskStatus::Working)))
}

/// How the task goes. `caller` is asked about diffs if their client can ask them and their token lets
/// them say anything; for others the task is over when only a person can go on.
pub async fn get(
    office: &Office,
    caller: &Caller,
    id: &str,
    can_ask: bool,
) -> Result<GetTaskResult, ErrorData> {
    let kind = known(id)?;
    let asked = Some(caller).filter(|caller| can_ask && caller.scopes.allows(Scope::Approve));
    let (task, payload) = state(office, kind, asked).await.map_err(refused)?;
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// Takes what people said: a verdict on each diff that was asked about.
pub async fn update(
    office: &Office,
    caller: &Caller,
    asked: UpdateTaskParams,
) -> Result<(), ErrorData> {
    let job = known(&asked.task_id)?.job();
    for (key, response) in asked.input_responses {
        let Some((target, diff_hash)) = question(&key) else { continue };
        let Some(said) = said(&response) else { continue };
        let comment = said.comment.unwrap_or_default();
        let wish = reviewed(said.verdict, Review { job, target, diff_hash, comment });
        let asker = caller.asker(Door::Mcp);
        let received = office.reception.receive(caller, &asker, wish, None).await;
        received.map_err(|error| refused(error.into()))?;
    }
    Ok(())
}

/// Cancels the job that a task created. A wait holds nothing that could be cancelled.
pub async fn cancel(office: &Office, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    match known(id)? {
        Kind::Wait(..) => Ok(()),
        Kind::Job(job) => {
            caller.require(Scope::Run).map_err(|denied| refused(denied.into()))?;
            let wish = Wish::Cancel { job, reason: String::new() };
            let asker = caller.asker(Door::Mcp);
            match office.reception.receive(caller, &asker, wish, None).await {
                Ok(_) => Ok(()),
                // What is over cannot be cancelled, and its task says how it ended.
                Err(error) if error.rejection().is_some() => Ok(()),
                Err(error) => Err(refused(error.into())),
            }
        }
    }
}

fn known(id: &str) -> Result<Kind, ErrorData> {
    Kind::parse(id).ok_or_else(|| ErrorData::invalid_params("There is no task of this id.", None))
}

async fn glance(office: &Office, job: JobId) -> Result<Glance, No> {
    office.catch_up().await?;
    Ok(office.reader.glance(job).await?)
}

fn seed(kind: Kind, job: &JobOverview, status: TaskStatus) -> Task {
    let (from, until) = (job.job.created_at.to_string(), job.job.updated_at.to_string());
    Task::new(kind.id(), status, from, until)
        .with_status_message(in_words(job))
        .with_poll_interval_ms(POLL_MS)
}

async fn state(
    office: &Office,
    kind: Kind,
    asked: Option<&Caller>,
) -> Result<(Task, TaskPayload), No> {
    match kind {
        Kind::Wait(job, after) => {
            let (glance, waited) =
                wait(office, job, Some(after), Duration::ZERO, &Teller::default()).await?;
            let payload = match waited {
                Waited::Timeout => TaskPayload::Working,
                Waited::Finished | Waited::AwaitsPerson | Waited::Paused | Waited::Changed => {
                    let answer = about(told(&glance, waited), &glance.overview, Detail::Full);
                    TaskPayload::Completed { result: result(answer) }
                }
            };
            Ok((seed(kind, &glance.overview, payload.status()), payload))
        }
        Kind::Job(job) => {
            let glance = glance(office, job).await?;
            let payload = match (glance.overview.status(), asked) {
                (JobStatus::Queued | JobStatus::Running | JobStatus::Paused, _) => {
                    TaskPayload::Working
                }
                (JobStatus::Cancelled, _) => TaskPayload::Cancelled,
                (JobStatus::AwaitingReview, Some(caller)) => TaskPayload::InputRequired {
                    input_requests: questions(office, caller, &glance.overview)?,
                },
                (
                    JobStatus::AwaitingReview
                    | JobStatus::Succeeded
                    | JobStatus::PartlyFailed
                    | JobStatus::Failed,
                    _,
                ) => TaskPayload::Completed { result: result(ended(&glance)) },
            };
            Ok((seed(kind, &glance.overview, payload.status()), payload))
        }
    }
}

/// The answer of `create_job`, as the job stands in the end.
fn ended(glance: &Glance) -> Answer {
    let job = &glance.overview;
    let id = job.job.job;
    // Its workers still say goodbye after that; what is over stays as it is.
    let ends = job.targets.iter().filter_map(|one| one.target.finish_position);
    let position = ends.max().unwrap_or(job.job.position);
    let answer = Answer::new(position, super::calls::next(job.status(), id, position))
        .with("job_id", id.to_string())
        .with("status", job.status().name())
        .with("is_new", true);
    about(answer, job, Detail::Full)
}

fn result(answer: Answer) -> JsonObject {
    match serde_json::to_value(CallToolResult::from(answer)) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => JsonObject::new(),
    }
}

/// A question for each diff that waits for a person: what `caller` may say of it.
fn questions(office: &Office, caller: &Caller, job: &JobOverview) -> Result<InputRequests, No> {
    let origin = (job.job.actor.as_str(), job.job.policy);
    let (verdicts, elsewhere) = match office.reception.may_approve(caller, Door::Mcp, origin) {
        true => (&["approve", "reject", "request-changes"][..], ""),
        false => (
            &["reject", "request-changes"][..],
            " It is approved on the command line, over GraphQL, or with another token than the one \
             that created the job.",
        ),
    };
    let mut questions = InputRequests::new();
    for one in job.targets.iter().filter(|one| one.target.delivery.awaits_person()) {
        let Some(diff_hash) = one.target.diff_hash else { continue };
        let verdicts = verdicts.iter().copied().map(str::to_owned).collect();
        let schema = ElicitationSchema::builder()
            .required_enum_schema("verdict", EnumSchema::builder(verdicts).build())
            .optional_string("comment")
            .build();
        let requested_schema = schema.map_err(|why| {
            No::new(
                "internal",
                format!("The question could not be made: {why}."),
                "Use review_diff.",
            )
        })?;
        let message = format!(
            "The diff of {} is ready ({}). What becomes of it? get_diff shows it; a comment goes to \
             Claude if you request changes.{elsewhere}",
            words::printable(&one.target.repository),
            one.target.delivery.name()
        );
        let params =
            ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
        let key = format!("review.{}.{diff_hash}", one.target.target);
        questions.insert(key, InputRequest::Elicitation(ElicitRequest::new(params)));
    }
    Ok(questions)
}

/// What a question was about.
fn question(key: &str) -> Option<(TargetNumber, Sha256)> {
    let (target, hash) = key.strip_prefix("review.")?.split_once('.')?;
    Some((TargetNumber(target.parse().ok()?), hash.parse().ok()?))
}

#[derive(Debug, Deserialize)]
struct Said {
    verdict: Verdict,
    comment: Option<String>,
}

/// What a person answered; nothing if they said nothing.
fn said(response: &Value) -> Option<Said> {
    if response.get("action").and_then(Value::as_str) != Some("accept") {
        return None;
    }
    serde_json::from_value(response.get("content")?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_jobs() {
        let job: JobId = "0198c5a2-0000-7000-8000-000000000001".parse().unwrap();
        for kind in [Kind::Job(job), Kind::Wait(job, 17)] {
            assert_eq!(Kind::parse(&kind.id()), Some(kind));
        }
        for id in ["", "job.", "job.x", "wait.", &format!("wait.{job}"), &format!("wait.{job}.x")] {
            assert_eq!(Kind::parse(id), None, "{id}");
        }
    }
}
