//! Which diff somebody speaks of, for the verbs that judge one.

use clap::Args;
use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber};

use super::reading::{ReadJob, Reading};
use super::{Context, text};
use crate::api::control::Review;
use crate::job::{Rejection, RejectionCode};

/// Which diff, and what is said.
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// The job's id, its beginning, or `latest`
    job: String,
    /// The repository, by its number [default: the one that has a diff, if only one has]
    #[arg(long, value_name = "N")]
    target: Option<u32>,
    /// The hash of the diff that you looked at; refused if it is another by now [default: the present
    /// one]
    #[arg(long, value_name = "SHA256")]
    diff: Option<Sha256>,
    /// What to say of it, for those who read the job
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub comment: String,
}

impl ReviewArgs {
    /// The review that they mean.
    pub async fn review(&self, context: &Context) -> Result<Review, anyhow::Error> {
        let reading = Reading::open(context).await?;
        let read = reading.read(&self.job).await?;
        let number = self.number(&read)?;
        let target = read.target(number)?;
        let diff = target.diff.ok_or_else(|| {
            Rejection::new(
                RejectionCode::NoDiff,
                format!("Target {number} has no diff."),
                "There is nothing to review; `show` says how it stands.",
            )
        })?;
        Ok(Review {
            job: read.id,
            target: TargetNumber(number),
            diff_hash: self.diff.unwrap_or(diff.diff_hash),
            comment: self.comment.clone(),
        })
    }

    /// The target that is meant: the one that was named, or the only one that has a diff.
    fn number(&self, read: &ReadJob) -> Result<u32, Rejection> {
        if let Some(number) = self.target {
            return Ok(number);
        }
        let with_diff: Vec<u32> = read
            .state
            .targets
            .values()
            .filter(|target| target.diff.is_some() && target.verdict.is_none())
            .map(|target| target.number.0)
            .collect();
        match with_diff.as_slice() {
            [only] => Ok(*only),
            [] => Err(Rejection::new(
                RejectionCode::NoDiff,
                "No target of the job has a diff that nobody has judged.",
                "See how it stands with `show`.",
            )),
            several => Err(Rejection::new(
                RejectionCode::NoSuchTarget,
                format!("{} have diffs.", text::repositories(several.len())),
                "Say which one with --target N.",
            )),
        }
    }
}

/// The diff that was judged, for a line about it.
pub fn named(review: &Review) -> String {
    let (hash, job) = (review.diff_hash.to_string(), review.job);
    format!("Diff {} of target {} of job {}", &hash[..12], review.target, short(&job))
}

fn short(job: &JobId) -> String {
    text::short(job)
}
