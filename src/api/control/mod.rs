//! What people do to jobs: create, pause, resume, cancel, retry, judge their diffs, archive. One
//! implementation, [`Control`], carries it out whoever asks: the command line when no server runs, and
//! every door of a server through its [`Reception`], which knows who may have what.

mod door;
mod reception;

use std::sync::Arc;

use cody_events::digest::Sha256;
use cody_events::ids::{CommandId, JobId, TargetNumber};
use cody_events::job::{By, Limits};
use serde::{Deserialize, Serialize};

use crate::app::{App, AppError, Asker, Executed, UniqueKey};
use crate::converse::feedback;
use crate::intake::{Intake, IntakeError, Story};
use crate::job::command::{CreateJob, RequestChanges, ReviewedDiff};
use crate::job::state::Job;
use crate::job::{Command, Rejection, RejectionCode};
use crate::plan::{JobRequest, LimitsRequest, LocalPaths, Planner, Planning};

pub use door::{Letter, ROUTE, router};
pub use reception::{HouseRules, Reception};

/// What a person wants done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// A job of these; local paths are absolute. Whoever asks names it, so that asking again, after an
    /// answer that never came, makes no second one.
    Create {
        job: JobId,
        request: Box<JobRequest>,
    },
    Pause {
        job: JobId,
        target: Option<TargetNumber>,
    },
    /// With limits, they change as well, and what the old ones stopped goes on.
    Resume {
        job: JobId,
        target: Option<TargetNumber>,
        limits: LimitsRequest,
    },
    Cancel {
        job: JobId,
        reason: String,
    },
    /// With limits, they change as well. Without targets, all that did not succeed.
    Retry {
        job: JobId,
        targets: Vec<TargetNumber>,
        limits: LimitsRequest,
    },
    /// A diff that was looked at is right; the hash says which.
    Approve(Review),
    Reject(Review),
    /// The comment becomes the next thing that Claude reads.
    RequestChanges(Review),
    /// Leave the job out of lists, or have it there again.
    Archive {
        job: JobId,
        archived: bool,
    },
    /// Work on a job as it stands, which another process left.
    Attend {
        job: JobId,
    },
}

/// What somebody says of a diff.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Review {
    pub job: JobId,
    pub target: TargetNumber,
    /// Of the diff that they saw.
    pub diff_hash: Sha256,
    pub comment: String,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub job: JobId,
    /// Whether something was recorded; else it was so before.
    pub is_new: bool,
    /// The log's position that holds it.
    pub position: u64,
}

/// Why a wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error("what was asked for could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error("the planning of the job was interrupted; ask again")]
    Interrupted,
}

impl ControlError {
    /// The typed no, if it is one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::App(AppError::Rejected(no))
            | Self::Intake(IntakeError::App(AppError::Rejected(no))) => Some(no),
            Self::App(_) | Self::Intake(_) | Self::Render(_) | Self::Interrupted => None,
        }
    }

    /// Whether another time would do.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::App(app) => app.is_passing(),
            Self::Intake(intake) => !intake.is_broken(),
            Self::Interrupted => true,
            Self::Render(_) => false,
        }
    }
}

/// Says no to limits that whoever asks may not lay over those that a job has: the old ones, then the new.
pub type MayLimit<'a> = &'a (dyn Fn(&Limits, &Limits) -> Result<(), Rejection> + Send + Sync);

/// Carries out wishes.
#[derive(Debug)]
pub struct Control {
    pub app: Arc<App>,
    pub intake: Arc<Intake>,
    pub planning: Planning,
}

impl Control {
    /// Carries out `wish`, or says why not. Whoever may use this may name any local path, and any limits.
    pub async fn carry_out(&self, wish: Wish, asker: &Asker) -> Result<Done, ControlError> {
        self.carry_out_once(wish, asker, LocalPaths::Any, &|_, _| Ok(()), None).await
    }

    /// The same for whoever may name `paths` alone and set such limits, and once for each `key`.
    pub async fn carry_out_once(
        &self,
        wish: Wish,
        asker: &Asker,
        paths: LocalPaths,
        may_limit: MayLimit<'_>,
        key: Option<UniqueKey>,
    ) -> Result<Done, ControlError> {
        self.check_words(&wish).map_err(AppError::from)?;
        let once = Once { control: self, asker, key };
        match wish {
            Wish::Create { job, request } => {
                let planned = self.planner(paths).plan(&request).map_err(AppError::from)?;
                self.create(job, planned, asker, once.key).await
            }
            Wish::Pause { job, target } => {
                let reason = String::new();
                let command = Command::PauseJob { target, by: By::Person, reason };
                once.execute(job, command).await
            }
            Wish::Resume { job, target, limits } => {
                let limits = self.limits(job, &limits, may_limit).await?;
                let floor_call_micros = self.floor_call_micros(job).await?;
                let (by, reason) = (By::Person, String::new());
                let command = Command::ResumeJob { target, limits, floor_call_micros, by, reason };
                once.execute(job, command).await
            }
            Wish::Cancel { job, reason } => {
                let done = self.intake.cancel(job, By::Person, &reason, asker, once.key).await?;
                Ok(told(&done))
            }
            Wish::Attend { job } => {
                self.state(job).await?;
                if let Some(key) = once.key {
                    return Ok(told(&self.app.use_key(job, key, asker).await?));
                }
                let position = self.app.log().head().await.map_err(AppError::from)?.position;
                Ok(Done { job, is_new: false, position })
            }
            Wish::Retry { job, targets, limits } => {
                let limits = self.limits(job, &limits, may_limit).await?;
                let floor_call_micros = self.floor_call_micros(job).await?;
                let (by, reason) = (By::Person, String::new());
                let command =
                    Command::RetryTargets { targets, limits, floor_call_micros, by, reason };
                once.execute(job, command).await
            }
            Wish::Approve(review) => {
                once.execute(review.job, Command::ApproveDiff(seen(&review))).await
            }
            Wish::Reject(review) => {
                once.execute(review.job, Command::RejectDiff(seen(&review))).await
            }
            Wish::RequestChanges(review) => {
                let command = self.changes(&review).await?;
                once.execute(review.job, command).await
            }
            Wish::Archive { job, archived } => {
                once.execute(job, Command::ArchiveJob { archived, by: By::Person }).await
            }
        }
    }

    /// What people write is recorded for good, and Claude reads some of it: no secret belongs there.
    fn check_words(&self, wish: &Wish) -> Result<(), Rejection> {
        let planner = self.planner(LocalPaths::Any);
        match wish {
            Wish::Approve(review) | Wish::Reject(review) | Wish::RequestChanges(review) => {
                planner.check_words("The comment", &review.comment)
            }
            Wish::Cancel { reason, .. } => planner.check_words("The reason", reason),
            // What a job's request holds is looked at when it is planned.
            Wish::Create { .. }
            | Wish::Pause { .. }
            | Wish::Resume { .. }
            | Wish::Retry { .. }
            | Wish::Archive { .. }
            | Wish::Attend { .. } => Ok(()),
        }
    }

    /// Creates the job that was planned.
    pub async fn create(
        &self,
        job: JobId,
        planned: CreateJob,
        asker: &Asker,
        key: Option<UniqueKey>,
    ) -> Result<Done, ControlError> {
        let id = CommandId::derived(&["create", &job.to_string()]);
        let command = Command::CreateJob(Box::new(planned));
        Ok(told(&self.app.execute_once(job, id, command, asker, key).await?))
    }

    /// The request for changes, with the words by which Claude reads it: the result of the `finish`
    /// that waits for one, if one does.
    async fn changes(&self, review: &Review) -> Result<Command, ControlError> {
        let state = self.state(review.job).await?;
        let is_open =
            state.targets.get(&review.target).is_some_and(|target| target.claim.is_some());
        let finish = match is_open {
            true => Story::read(&self.app, review.job, review.target).await?.finish,
            false => None,
        };
        let id = finish.as_ref().map(|finish| finish.id.as_str());
        Ok(Command::RequestChanges(Box::new(RequestChanges {
            reviewed: seen(review),
            block: feedback::changes_requested(id, &review.comment)?,
            floor_call_micros: self.floor_call_micros(review.job).await?,
        })))
    }

    /// The limits that are asked for, laid over the job's; nothing if none are. The very limits that are
    /// recorded are judged: two wishes at once, each of which is small by itself, may be large together.
    async fn limits(
        &self,
        job: JobId,
        asked: &LimitsRequest,
        may_limit: MayLimit<'_>,
    ) -> Result<Option<Limits>, ControlError> {
        let old = self.state(job).await?.limits;
        if asked.is_empty() {
            return Ok(None);
        }
        let new = asked.over(&old).map_err(AppError::from)?;
        may_limit(&old, &new).map_err(AppError::from)?;
        Ok(Some(new))
    }

    /// The worst price of the smallest call of a job.
    async fn floor_call_micros(&self, job: JobId) -> Result<u64, ControlError> {
        let state = self.state(job).await?;
        let created = self.app.created(job).await?;
        let prompt_bytes = created.and_then(|(recorded, _)| recorded.payload_len);
        let prompt_bytes = usize::try_from(prompt_bytes.unwrap_or_default()).unwrap_or(usize::MAX);
        Ok(self.planner(LocalPaths::Any).floor_call_micros(&state.model, prompt_bytes))
    }

    async fn state(&self, job: JobId) -> Result<Job, ControlError> {
        let unknown = || {
            AppError::Rejected(Rejection::new(
                RejectionCode::NoSuchJob,
                "There is no job with this id.",
                "List the jobs with `cody-batch jobs`.",
            ))
        };
        Ok(self.app.state(job).await?.job.ok_or_else(unknown)?)
    }

    /// What plans a job for a door that may name `paths`.
    pub fn planner(&self, paths: LocalPaths) -> Planner<'_> {
        self.planning.planner(self.app.clock().now().date(), paths)
    }
}

/// The one command of a wish, which its key stands for.
struct Once<'a> {
    control: &'a Control,
    asker: &'a Asker,
    key: Option<UniqueKey>,
}

impl Once<'_> {
    async fn execute(self, job: JobId, command: Command) -> Result<Done, ControlError> {
        let app = &self.control.app;
        let id = app.command_id(self.key.as_ref());
        Ok(told(&app.execute_once(job, id, command, self.asker, self.key).await?))
    }
}

fn seen(review: &Review) -> ReviewedDiff {
    ReviewedDiff {
        target: review.target,
        diff_hash: review.diff_hash,
        comment: review.comment.clone(),
        by: By::Person,
    }
}

fn told(done: &Executed) -> Done {
    Done { job: done.job, is_new: done.is_new, position: done.position }
}
