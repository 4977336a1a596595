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

/// One decision: what, about which target, and who is said to have made it.
struct Decision {
    target: Option<TargetNumber>,
    what: String,
    /// Nothing where what was done needs nobody.
    by: Option<By>,
}

/// The section, with its heading; nothing if nobody decided anything.
pub async fn section(app: &App, job: &ReadJob) -> Result<String, DownloadError> {
    let mut rows = String::new();
    let mut pilot_open = job.created.pilot;
    for told in &job.events {
        let Some(mut one) = decision(&told.event) else { continue };
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
            inline(&why(app, told).await?)
        ));
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "\n## Decided\n\n| at (UTC) | # | what | by | actor | door | why |\n|---|---|---|---|---|---|---|\n{rows}"
    ))
}

/// What `event` decides, if it does.
fn decision(event: &Event) -> Option<Decision> {
    let about = |target, what: String, by| Some(Decision { target, what, by: Some(by) });
    match event {
        Event::DiffApproved(e) => judged(&e.0, "approved"),
        Event::DiffRejected(e) => judged(&e.0, "rejected"),
        Event::ChangesRequested(e) => judged(&e.0, "sent back"),
        Event::TargetHeld(e) => judged(&e.0, "held"),
        Event::TargetReopened(e) => {
            let why = match e.why {
                ReopenReason::ChangesRequested => "changes requested",
                ReopenReason::Retried => "retried",
                ReopenReason::BudgetRaised => "budget raised",
            };
            about(Some(e.target), format!("opened again: {why}"), e.by)
        }
        Event::Paused(e) => about(e.target, "paused".to_owned(), e.by),
        Event::Resumed(e) => about(e.target, "resumed".to_owned(), e.by),
        Event::Cancelled(e) => about(None, "cancelled".to_owned(), e.by),
        Event::BudgetChanged(e) => about(None, format!("new limits: {}", limits(&e.limits)), e.by),
        Event::Archived(e) => about(None, "archived".to_owned(), e.by),
        Event::Unarchived(e) => about(None, "taken out of the archive".to_owned(), e.by),
        Event::BranchPushed(e) => {
            about(Some(e.target), format!("pushed to {}", code_cell(&e.branch)), e.by)
        }
        Event::DeliveryFailed(e) => {
            let what = "delivery stopped".to_owned();
            Some(Decision { target: Some(e.target), what, by: None })
        }
        Event::PayloadRedacted(e) => {
            about(None, format!("words of position {} removed", e.position), e.by)
        }
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
    }
}

fn judged(diff: &JudgedDiff, verb: &str) -> Option<Decision> {
    let hash = diff.diff_hash.to_string();
    let what = format!("diff `{}` {verb}", hash.get(..12).unwrap_or(&hash));
    Some(Decision { target: Some(diff.target), what, by: Some(diff.by) })
}

/// Why, in the words of whoever decided.
async fn why(app: &App, told: &Told) -> Result<String, AppError> {
    let position = told.recorded.position;
    match &told.event {
        Event::DiffApproved(_) => comment::<DiffApproved>(app, position).await,
        Event::DiffRejected(_) => comment::<DiffRejected>(app, position).await,
        Event::ChangesRequested(_) => comment::<ChangesRequested>(app, position).await,
        Event::TargetHeld(_) => comment::<TargetHeld>(app, position).await,
        Event::TargetReopened(_) => reason::<TargetReopened>(app, position).await,
        Event::Paused(_) => reason::<Paused>(app, position).await,
        Event::Resumed(_) => reason::<Resumed>(app, position).await,
        Event::Cancelled(_) => reason::<Cancelled>(app, position).await,
        Event::BudgetChanged(_) => reason::<BudgetChanged>(app, position).await,
        Event::DeliveryFailed(_) => reason::<DeliveryFailed>(app, position).await,
        Event::PayloadRedacted(_) => reason::<PayloadRedacted>(app, position).await,
        _ => Ok(String::new()),
    }
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
