//! What can be done. Each mutation takes one input, is done once for each `clientMutationId` of a
//! caller, and answers with the position in the log that holds it.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};
use cody_events::envelope::Door;
use cody_events::ids::{JobId, TargetNumber};

use super::download::{self, CreateDownloadInput, CreateDownloadPayload};
use super::errors::{UserError, of_control};
use super::ids::GlobalId;
use super::plan::{PlanJobInput, dollars};
use super::services::{app, caller, services};
use super::tokens::{
    self, CreateTokenInput, CreateTokenPayload, RevokeTokenInput, RevokeTokenPayload,
};
use super::types::job::Job;
use super::types::node::job_of;
use super::types::scalars::{Long, Position};
use crate::api::control::{Review, Wish};
use crate::job::{Rejection, RejectionCode};
use crate::plan::LimitsRequest;

/// What can be done.
#[derive(Debug)]
pub struct Mutation;

/// What became of a mutation about a job.
#[derive(Debug, SimpleObject)]
pub struct JobPayload {
    /// As it was given.
    pub client_mutation_id: Option<String>,
    /// The job as it is now; nothing if there is none, or if nothing was done.
    pub job: Option<Job>,
    /// The place in the log that holds what was done; nothing if nothing was.
    pub position: Option<Position>,
    /// Whether the job, as it is shown here, may lack what was just done: read it again with `atLeast`.
    pub stale: bool,
    /// Why nothing was done; empty if it was.
    pub user_errors: Vec<UserError>,
}

/// A job to be created, as `planJob` takes it.
#[derive(Debug, InputObject)]
pub struct CreateJobInput {
    /// The same key with the same job creates it once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job.
    pub job: PlanJobInput,
}

/// A job, or one of its targets.
#[derive(Debug, InputObject)]
pub struct PauseJobInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// One target alone, by its number; without, the whole job.
    pub target: Option<i32>,
}

/// New limits; what is left out stays as it is. Money is in millionths of a US dollar.
#[derive(Debug, Clone, Default, InputObject)]
pub struct LimitsInput {
    /// For each target. Above the server's cap it needs the scope `approve`.
    pub budget_micros: Option<Long>,
    /// For all targets together.
    pub job_budget_micros: Option<Long>,
    /// Claude's responses for each target.
    pub max_turns: Option<i32>,
    /// Tokens, in and out, for each target.
    pub max_tokens: Option<Long>,
    /// Minutes that workers may hold each target.
    pub max_minutes: Option<i32>,
}

/// A job, or one of its targets, and new limits.
#[derive(Debug, InputObject)]
pub struct ResumeJobInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// One target alone, by its number; without, the whole job.
    pub target: Option<i32>,
    /// Limits that change first: targets that the old ones stopped go on.
    pub limits: Option<LimitsInput>,
}

/// A job to be ended.
#[derive(Debug, InputObject)]
pub struct CancelJobInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// Why, for those who read the job.
    pub reason: Option<String>,
}

/// Targets that start over.
#[derive(Debug, InputObject)]
pub struct RetryTargetsInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// Which, by their numbers; without, all that did not succeed.
    pub targets: Option<Vec<i32>>,
    /// Limits that change as well.
    pub limits: Option<LimitsInput>,
}

/// What somebody says of a diff.
#[derive(Debug, InputObject)]
pub struct ReviewDiffInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// The target, by its number.
    pub target: i32,
    /// The hash of the diff that was looked at. If the target has another by now, nothing is done.
    pub diff_hash: String,
    /// In words, for those who read the job; a request for changes needs some, and Claude reads them.
    pub comment: Option<String>,
}

/// A job to be left out of lists.
#[derive(Debug, InputObject)]
pub struct ArchiveJobInput {
    /// The same key with the same input is done once; a UUID is one. At most 256 bytes.
    pub client_mutation_id: Option<String>,
    /// The job: its global id, or its id as it is written everywhere else.
    pub job_id: ID,
    /// False has lists show it again; without, it is archived.
    pub archived: Option<bool>,
}

/// What can be done.
#[Object]
impl Mutation {
    /// Creates a job, which starts at once.
    async fn create_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: CreateJobInput,
    ) -> Result<JobPayload, Error> {
        let job = app(context)?.new_job_id();
        let request = Box::new(input.job.into_request());
        let wish = Wish::Create { job, request };
        carry_out(context, input.client_mutation_id, wish).await
    }

    /// Lets a job, or one of its targets, rest: the turn in flight ends, no new one starts.
    async fn pause_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: PauseJobInput,
    ) -> Result<JobPayload, Error> {
        let made =
            named(&input.job_id, input.target).map(|(job, target)| Wish::Pause { job, target });
        asked(context, input.client_mutation_id, made).await
    }

    /// Goes on with what rests, or with what a limit stopped.
    async fn resume_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: ResumeJobInput,
    ) -> Result<JobPayload, Error> {
        let limits = limits(input.limits);
        let made = named(&input.job_id, input.target).map(|(job, target)| Wish::Resume {
            job,
            target,
            limits,
        });
        asked(context, input.client_mutation_id, made).await
    }

    /// Ends a job at once; what was done stays in the log.
    async fn cancel_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: CancelJobInput,
    ) -> Result<JobPayload, Error> {
        let reason = input.reason.unwrap_or_default();
        let made = named(&input.job_id, None).map(|(job, _)| Wish::Cancel { job, reason });
        asked(context, input.client_mutation_id, made).await
    }

    /// Has targets start over, with a new conversation, at their branch's present commit.
    async fn retry_targets(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The targets.")] input: RetryTargetsInput,
    ) -> Result<JobPayload, Error> {
        let limits = limits(input.limits);
        let numbers = input.targets.unwrap_or_default();
        let numbers: Result<Vec<TargetNumber>, UserError> =
            numbers.into_iter().map(number).collect();
        let made = named(&input.job_id, None)
            .and_then(|(job, _)| numbers.map(|targets| Wish::Retry { job, targets, limits }));
        asked(context, input.client_mutation_id, made).await
    }

    /// Takes a diff: it is delivered where there is a place to push to, and targets that wait for the
    /// first one go on.
    async fn approve_diff(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The diff.")] input: ReviewDiffInput,
    ) -> Result<JobPayload, Error> {
        let key = input.client_mutation_id.clone();
        asked(context, key, input.review().map(Wish::Approve)).await
    }

    /// Refuses a diff for good; a retry, or a request for changes, makes another.
    async fn reject_diff(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The diff.")] input: ReviewDiffInput,
    ) -> Result<JobPayload, Error> {
        let key = input.client_mutation_id.clone();
        asked(context, key, input.review().map(Wish::Reject)).await
    }

    /// Sends a diff back: the comment is the next thing that Claude reads in the same conversation.
    async fn request_changes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The diff.")] input: ReviewDiffInput,
    ) -> Result<JobPayload, Error> {
        let key = input.client_mutation_id.clone();
        asked(context, key, input.review().map(Wish::RequestChanges)).await
    }

    /// Makes a link for a download that is good once, for a minute, and without a token.
    async fn create_download(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What to download.")] input: CreateDownloadInput,
    ) -> Result<CreateDownloadPayload, Error> {
        download::create(context, input).await
    }

    /// Makes a token, whose text is in this answer alone. Needs the scope `admin`.
    async fn create_token(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The token.")] input: CreateTokenInput,
    ) -> Result<CreateTokenPayload, Error> {
        tokens::create(context, input).await
    }

    /// Revokes a token: it is good for nothing from now on. Needs the scope `admin`.
    async fn revoke_token(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The token.")] input: RevokeTokenInput,
    ) -> Result<RevokeTokenPayload, Error> {
        tokens::revoke(context, input).await
    }

    /// Leaves a finished job out of lists, or has lists show it again.
    async fn archive_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: ArchiveJobInput,
    ) -> Result<JobPayload, Error> {
        let archived = input.archived.unwrap_or(true);
        let made = named(&input.job_id, None).map(|(job, _)| Wish::Archive { job, archived });
        asked(context, input.client_mutation_id, made).await
    }
}

impl ReviewDiffInput {
    fn review(self) -> Result<Review, UserError> {
        let (job, _) = named(&self.job_id, None)?;
        let target = number(self.target)?;
        let Ok(diff_hash) = self.diff_hash.parse() else {
            return Err((&Rejection::new(
                RejectionCode::DiffMoved,
                "`diffHash` is no hash of a diff.",
                "Pass the `hash` of the diff that you looked at.",
            ))
                .into());
        };
        Ok(Review { job, target, diff_hash, comment: self.comment.unwrap_or_default() })
    }
}

fn limits(input: Option<LimitsInput>) -> LimitsRequest {
    let input = input.unwrap_or_default();
    let spelled = |amount: Option<Long>| amount.map(|Long(micros)| dollars(micros));
    LimitsRequest {
        budget_usd: spelled(input.budget_micros),
        job_budget_usd: spelled(input.job_budget_micros),
        max_turns: input.max_turns.map(|turns| u32::try_from(turns).unwrap_or(0)),
        max_tokens: input.max_tokens.map(|Long(tokens)| tokens),
        max_minutes: input.max_minutes.map(|minutes| u64::try_from(minutes).unwrap_or(0)),
        ..LimitsRequest::default()
    }
}

fn number(number: i32) -> Result<TargetNumber, UserError> {
    let number = u32::try_from(number).map(TargetNumber);
    number.map_err(|_| UserError::not_found("target", "target"))
}

/// The job, and the target of it, that an input names.
fn named(job: &ID, target: Option<i32>) -> Result<(JobId, Option<TargetNumber>), UserError> {
    let job = GlobalId::job(job).ok_or_else(|| UserError::not_found("jobId", "job"))?;
    Ok((job, target.map(number).transpose()?))
}

/// Carries out the wish that an input made, if it made one.
async fn asked(
    context: &Context<'_>,
    key: Option<String>,
    made: Result<Wish, UserError>,
) -> Result<JobPayload, Error> {
    match made {
        Ok(wish) => carry_out(context, key, wish).await,
        Err(error) => Ok(refused(key, error)),
    }
}

fn refused(key: Option<String>, error: UserError) -> JobPayload {
    JobPayload {
        client_mutation_id: key,
        job: None,
        position: None,
        stale: false,
        user_errors: vec![error],
    }
}

/// Carries out `wish`, if its caller may have it, once for each key; and shows what came of it.
async fn carry_out(
    context: &Context<'_>,
    client_mutation_id: Option<String>,
    wish: Wish,
) -> Result<JobPayload, Error> {
    let reception = &services(context)?.reception;
    let caller = caller(context)?;
    let (asker, key) = (caller.asker(Door::Graphql), client_mutation_id.as_deref());
    let done = match reception.receive(caller, &asker, wish, key).await {
        Ok(done) => done,
        Err(error) => return Ok(refused(client_mutation_id, of_control(error)?)),
    };
    let is_shown = reception.control.app.shows(done.position).await;
    Ok(JobPayload {
        client_mutation_id,
        job: job_of(context, done.job).await?,
        position: Some(Position(done.position)),
        stale: !is_shown,
        user_errors: Vec::new(),
    })
}
