//! What was decided about a job and its diffs, in order: by whom, through which door, when and why.

use cody_events::delivery::DeliveryFailed;
use cody_events::diff::{ChangesRequested, DiffApproved, DiffRejected, JudgedDiff, TargetHeld};
use cody_events::event::{Event, Facts};
use cody_events::ids::TargetNumber;
use cody_events::job::{BudgetChanged, By, Cancelled, Paused, ReasonPayload, Resumed};
use cody_events::outcome::{ReopenReason, TargetReopened};
use cody_events::system::PayloadRedacted;

use super::super::DownloadError;
use super::super::markdown::{code_cell, inline};
use super::asked::limits;
use super::moment;
use crate::api::reading::ReadJob;
use crate::app::{App, AppError, Told};

/// One decision: what, about which target, why, and who is said to have made it.
struct Decision {
    target: Option<TargetNumber>,
    what: String,
    /// Nothing where what was done needs nobody.
    by: Option<By>,
    why: String,
}

/// The section, with its heading; nothing if nobody decided anything.
pub async fn section(app: &App, job: &ReadJob) -> Result<String, DownloadError> {
    let mut rows = String::new();
    let mut pilot_open = job.created.pilot;
    for told in &job.events {
        let Some(mut one) = decision(app, told).await? else { continue };
        if matches!(told.event, Event::DiffApproved(_)) && std::mem::take(&mut pilot_open) {
            one.what.push_str(", the pilot's: the others go on");
        }
        let by = match one.by {
            Some(By::Person) => "a person",
            Some(By::Budget) => "a budget",
            Some(By::Policy) => "the policy",
            Some(By::Server) => "the server",
            None => "",
        };
        rows.push_str(&format!(
            "| {} | {} | {} | {by} | {} | {} | {} |\n",
            moment(told.recorded.recorded_at),
            one.target.map_or("all".to_owned(), |target| target.to_string()),
            one.what,
            code_cell(&told.recorded.actor),
            told.recorded.door.name(),
            inline(&one.why)
        ));
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "\n## Decided\n\n| at (UTC) | # | what | by | actor | door | why |\n|---|---|---|---|---|---|---|\n{rows}"
    ))
}

/// What `told` decides, if it does.
async fn decision(app: &App, told: &Told) -> Result<Option<Decision>, DownloadError> {
    let position = told.recorded.position;
    let about = |target, what: &str, by, why| {
        Some(Decision { target, what: what.to_owned(), by: Some(by), why })
    };
    let decided = match &told.event {
        Event::DiffApproved(e) => {
            judged(&e.0, "approved", comment::<DiffApproved>(app, position).await?)
        }
        Event::DiffRejected(e) => {
            judged(&e.0, "rejected", comment::<DiffRejected>(app, position).await?)
        }
        Event::ChangesRequested(e) => {
            judged(&e.0, "sent back", comment::<ChangesRequested>(app, position).await?)
        }
        Event::TargetHeld(e) => judged(&e.0, "held", comment::<TargetHeld>(app, position).await?),
        Event::TargetReopened(e) => {
            let why = match e.why {
                ReopenReason::ChangesRequested => "opened again: changes requested",
                ReopenReason::Retried => "opened again: retried",
                ReopenReason::BudgetRaised => "opened again: budget raised",
            };
            about(Some(e.target), why, e.by, reason::<TargetReopened>(app, position).await?)
        }
        Event::Paused(e) => about(e.target, "paused", e.by, reason::<Paused>(app, position).await?),
        Event::Resumed(e) => {
            about(e.target, "resumed", e.by, reason::<Resumed>(app, position).await?)
        }
        Event::Cancelled(e) => {
            about(None, "cancelled", e.by, reason::<Cancelled>(app, position).await?)
        }
        Event::BudgetChanged(e) => {
            let what = format!("new limits: {}", limits(&e.limits));
            about(None, &what, e.by, reason::<BudgetChanged>(app, position).await?)
        }
        Event::Archived(e) => about(None, "archived", e.by, String::new()),
        Event::Unarchived(e) => about(None, "taken out of the archive", e.by, String::new()),
        Event::DeliveryFailed(e) => Some(Decision {
            target: Some(e.target),
            what: "delivery stopped".to_owned(),
            by: None,
            why: reason::<DeliveryFailed>(app, position).await?,
        }),
        Event::BranchPushed(e) => {
            let what = format!("pushed to {}", code_cell(&e.branch));
            about(Some(e.target), &what, e.by, String::new())
        }
        Event::PayloadRedacted(e) => Some(Decision {
            target: None,
            what: format!("words of position {} removed", e.position),
            by: Some(e.by),
            why: reason::<PayloadRedacted>(app, position).await?,
        }),
        Event::Created(_)
        | Event::AttemptRequested(_)
        | Event::AttemptStarted(_)
        | Event::AttemptEnded(_)
        | Event::RepoScanned(_)
        | Event::DependenciesFetched(_)
        | Event::ChecksRan(_)
        | Event::ThreadStarted(_)
        | Event::CallPermitted(_)
        | Event::CallFailed(_)
        | Event::ClaudeTurn(_)
        | Event::ToolsRan(_)
        | Event::DiffReviewed(_)
        | Event::DiffProduced(_)
        | Event::PrOpened(_)
        | Event::PrUpdated(_)
        | Event::TargetFinished(_)
        | Event::Finished(_)
        | Event::TokenCreated(_)
        | Event::TokenRevoked(_)
        | Event::SettingsChanged(_)
        | Event::EpochOpened(_) => None,
    };
    Ok(decided)
}

fn judged(diff: &JudgedDiff, verb: &str, why: String) -> Option<Decision> {
    let hash = diff.diff_hash.to_string();
    let what = format!("diff `{}` {verb}", hash.get(..12).unwrap_or(&hash));
    Some(Decision { target: Some(diff.target), what, by: Some(diff.by), why })
}

async fn comment<F>(app: &App, position: u64) -> Result<String, AppError>
where
    F: Facts<Payload = cody_events::diff::CommentPayload>,
{
    Ok(app.payload_of::<F>(position).await?.map(|payload| payload.comment).unwrap_or_default())
}

async fn reason<F>(app: &App, position: u64) -> Result<String, AppError>
where
    F: Facts<Payload = ReasonPayload>,
{
    Ok(app.payload_of::<F>(position).await?.map(|payload| payload.reason).unwrap_or_default())
}
