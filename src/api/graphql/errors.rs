//! What clients can get wrong, as data; and what is not theirs to mend, as errors with a code.

use async_graphql::{Enum, Error, ErrorExtensions as _, SimpleObject};

use crate::api::control::ControlError;
use crate::app::AppError;
use crate::job::Rejection;

/// Something that the caller can mend.
#[derive(Debug, Clone, SimpleObject)]
pub struct UserError {
    /// A stable code for programs.
    pub code: ErrorCode,
    /// The argument that it is about, as a path; nothing if it is about none in particular.
    pub field: Option<Vec<String>>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it, in a sentence.
    pub next: String,
}

/// Codes of what the caller can mend. New ones may come.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// `first` is not from 1 to 100.
    BadPage,
    /// `after` is no cursor.
    BadCursor,
    /// There is nothing with this id.
    NotFound,
    /// The token may not do this.
    Forbidden,
    /// The same token created the job, and may not approve its diffs.
    OwnJob,
    /// The diff is another by now.
    DiffMoved,
    /// Somebody was quicker.
    AlreadyJudged,
    /// This diff cannot be approved, or sent back, as things are.
    NotReviewable,
    /// The target has no diff.
    NoDiff,
    /// A request for changes says nothing.
    NoComment,
    /// The `clientMutationId` was used for another request.
    KeyReused,
    /// The job or the target is in another state than this needs.
    WrongState,
    /// The budget does not suffice.
    Budget,
    /// More than there may be at once.
    TooMany,
    /// A repository cannot be used as it is named.
    BadRepository,
    /// The request itself is not acceptable.
    BadRequest,
}

impl ErrorCode {
    /// The code for a no of the rules.
    fn of(code: crate::job::RejectionCode) -> Self {
        use crate::job::RejectionCode as No;
        match code {
            No::NoSuchJob | No::NoSuchTarget | No::NoSuchRecipe | No::NoSuchToken => Self::NotFound,
            No::TooManyTokens => Self::TooMany,
            No::Forbidden => Self::Forbidden,
            No::OwnJob => Self::OwnJob,
            No::DiffMoved => Self::DiffMoved,
            No::AlreadyJudged => Self::AlreadyJudged,
            No::NotReviewable => Self::NotReviewable,
            No::NoDiff => Self::NoDiff,
            No::NoComment => Self::NoComment,
            No::KeyReused => Self::KeyReused,
            No::JobExists
            | No::JobFinished
            | No::JobUnfinished
            | No::JobCancelled
            | No::JobPaused
            | No::TargetFinished
            | No::TargetOpen
            | No::NothingToRetry
            | No::WaitsForPilot
            | No::AttemptOpen
            | No::NoSuchRequest
            | No::Fenced
            | No::OutOfOrder
            | No::PermitOpen
            | No::NoSuchPermit => Self::WrongState,
            No::BudgetTooSmall | No::BudgetBusy | No::BudgetSpent => Self::Budget,
            No::DuplicateTarget
            | No::BadUrl
            | No::HostNotAllowed
            | No::NoSuchPath
            | No::NotARepository
            | No::PathNotAllowed => Self::BadRepository,
            No::NoPrompt
            | No::PromptTooLong
            | No::SecretInRequest
            | No::NoTarget
            | No::TooManyTargets
            | No::UnknownModel
            | No::RetiredModel
            | No::BadEffort
            | No::BadLimits
            | No::BadBranch
            | No::BadCheck
            | No::BadNotes
            | No::BadRecipe
            | No::BadToken
            | No::TokenNameTaken
            | No::BadVariable
            | No::RecipeNotAllowed
            | No::CommentTooLong
            | No::NoRegistries => Self::BadRequest,
        }
    }
}

impl From<&Rejection> for UserError {
    fn from(no: &Rejection) -> Self {
        Self {
            code: ErrorCode::of(no.code),
            field: None,
            message: no.message.clone(),
            next: no.next_step.clone(),
        }
    }
}

impl UserError {
    /// There is nothing with the id that `field` has.
    pub fn not_found(field: &str, what: &str) -> Self {
        Self {
            code: ErrorCode::NotFound,
            field: Some(vec!["input".to_owned(), field.to_owned()]),
            message: format!("There is no {what} with this id."),
            next: "Take the id from an earlier answer, or list what there is.".to_owned(),
        }
    }
}

impl UserError {
    /// No job has the id that an argument has.
    pub fn no_job(field: &str) -> Self {
        Self {
            code: ErrorCode::NotFound,
            field: Some(vec![field.to_owned()]),
            message: "There is no job with this id.".to_owned(),
            next: "Take the id from an earlier answer, or list jobs with `jobs`.".to_owned(),
        }
    }

    /// Only an admin reads the whole log.
    pub fn needs_job() -> Self {
        Self {
            code: ErrorCode::Forbidden,
            field: Some(vec!["jobId".to_owned()]),
            message: "The events of all jobs, of tokens and of settings are for admins.".to_owned(),
            next: "Name a job with `jobId`, or use a token with the scope `admin`.".to_owned(),
        }
    }
}

/// A read that failed: the server's fault, and told to its log.
pub fn internal(error: AppError) -> Error {
    fault(&error, error.is_passing())
}

/// What became of a wish that was not carried out: the caller's to mend, or the server's fault.
pub fn of_control(error: ControlError) -> Result<UserError, Error> {
    if let Some(no) = error.rejection() {
        return Ok(no.into());
    }
    Err(fault(&error, error.is_passing()))
}

pub(super) fn fault(error: &dyn std::error::Error, is_passing: bool) -> Error {
    tracing::error!(%error, "a request could not be answered");
    let (code, words) = match is_passing {
        true => ("UNAVAILABLE", "The server cannot read or write its log just now; ask again."),
        false => ("INTERNAL", "The server could not answer; its log says why."),
    };
    Error::new(words).extend_with(|_, extensions| extensions.set("code", code))
}

/// The caller lacks a scope that the whole field needs.
pub fn forbidden(scope: &str) -> Error {
    Error::new(format!("This needs a token with the scope `{scope}`.")).extend_with(
        |_, extensions| {
            extensions.set("code", "FORBIDDEN");
            extensions.set("scope", scope);
        },
    )
}
