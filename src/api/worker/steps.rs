//! What a worker is to do next. Steps that are the server's own are done here, one after another,
//! until one is the worker's.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use cody_events::attempt::AttemptEnd;
use cody_events::event::Event;
use cody_events::evidence::{CheckPhase, RepoScanned};
use cody_events::ids::{AttemptNumber, CommandId, JobId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::job::Created;
use cody_events::outcome::Outcome;
use cody_events::thread::{ClaudeTurn, Purpose, RanTool, StuckSign, ToolsRan, ToolsRanPayload};
use tracing::Instrument as _;

use super::reports::{tools_command, tools_ran};
use super::{DoorError, Holder, WorkerDoor};
use crate::app::{App, Asker};
use crate::claude::blocks::{BlockView, tool_result};
use crate::converse::{Advance, ReviewMaterial, feedback, tool_name};
use crate::intake::{Story, review_claim};
use crate::job::state::{Job, SpentLimit, Target};
use crate::job::{Command, JobState, NextStep, next_step};
use crate::job::{Conclusion, Leave};
use crate::wire::{AskedTool, Step, TreeAnswer};

/// How long one request waits for Claude before the worker is told to ask again.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause after a step of the server's that left the log as it was.
const STALL_PAUSE: Duration = Duration::from_millis(250);

/// The worker's next step.
pub async fn next(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
) -> Result<Json<Step>, DoorError> {
    let steps = Steps { door: &door, job: lease.job, target: lease.target, attempt: lease.attempt };
    match tokio::time::timeout(PATIENCE, steps.until_workers_turn()).await {
        Ok(Err(error)) if error.is_broken() => steps.give_up(&error).await.map(Json),
        Ok(Ok(step)) => {
            if matches!(step, Step::RunChecks { .. } | Step::RunTools { .. }) {
                door.note_handed(lease.request);
            }
            Ok(Json(step))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Json(Step::Wait)),
    }
}

/// The latest recorded tree of the worker's target.
pub async fn tree(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
) -> Result<Json<TreeAnswer>, DoorError> {
    let state = door.intake.tree_state(lease.job, lease.target).await?;
    Ok(Json(TreeAnswer { tree: state.tree, changed: state.changed, blobs: state.blobs }))
}

/// One target's steps, as its attempt asks for them.
struct Steps<'a> {
    door: &'a WorkerDoor,
    job: JobId,
    target: TargetNumber,
    attempt: AttemptNumber,
}

impl Steps<'_> {
    /// Does the server's steps until one is the worker's. Dropped in between, nothing is lost: each
    /// step is recorded, and a call in flight goes on.
    async fn until_workers_turn(&self) -> Result<Step, DoorError> {
        let mut version = 0;
        loop {
            let state = self.door.app.state(self.job).await?;
            if state.version == version {
                // A step that records nothing would be done for ever.
                self.door.app.clock().sleep(STALL_PAUSE).await;
            }
            version = state.version;
            if self.target_state(&state)?.attempt() != Some(self.attempt) {
                let is_over = matches!(next_step(&state, self.target), NextStep::Leave(_));
                let how = if is_over { AttemptEnd::Completed } else { AttemptEnd::Fenced };
                return Ok(Step::Leave { how });
            }
            match next_step(&state, self.target) {
                NextStep::Scan => return Ok(Step::Scan),
                NextStep::RunChecks { phase, tree } => {
                    let commands = check_commands(&self.door.app, self.job, self.target).await?;
                    let time_left_ms = self.time_left_ms(&state);
                    return Ok(Step::RunChecks { phase, tree, commands, time_left_ms });
                }
                NextStep::RunTools { thread, turn } => {
                    let tools =
                        asked_tools(&self.door.app, self.job, self.target, thread, turn).await?;
                    let time_left_ms = self.time_left_ms(&state);
                    return Ok(Step::RunTools { thread, turn, tools, time_left_ms });
                }
                NextStep::Leave(why) => {
                    let how = match why {
                        Leave::Finished => AttemptEnd::Completed,
                        Leave::Paused | Leave::Cancelled => AttemptEnd::Interrupted,
                    };
                    return Ok(Step::Leave { how });
                }
                servers => {
                    let span = tracing::info_span!(
                        "server-step",
                        step = servers.name(),
                        job = %self.job,
                        target = %self.target,
                        attempt = self.attempt.0,
                    );
                    self.serve(&state, servers).instrument(span).await?;
                }
            }
        }
    }

    /// Ends a round that cannot go on, now or later.
    async fn give_up(&self, error: &DoorError) -> Result<Step, DoorError> {
        tracing::error!(job = %self.job, target = %self.target, %error, "a round cannot go on");
        let reasons = vec![format!("The server could not go on: {error}.")];
        self.door.intake.conclude(self.job, self.target, Outcome::Failed, reasons).await?;
        Ok(Step::Wait)
    }

    /// Does one step that is the server's.
    async fn serve(&self, state: &JobState, step: NextStep) -> Result<(), DoorError> {
        let (door, job, target) = (self.door, self.job, self.target);
        match step {
            NextStep::StartThread { purpose: Purpose::Change, .. } => {
                door.converser.start_change(job, target, None).await?;
            }
            NextStep::StartThread { purpose: Purpose::Fresh, .. } => {
                let derived = door.intake.derive(job, target).await?;
                let patch = String::from_utf8_lossy(&derived.patch.bytes).into_owned();
                door.converser.start_change(job, target, Some(&patch)).await?;
            }
            NextStep::StartThread { purpose: Purpose::Review, .. } => {
                let material = self.review_material().await?;
                door.converser.start_review(job, target, &material).await?;
            }
            NextStep::Converse { thread } => self.converse(thread).await?,
            NextStep::InterruptTools { thread, turn } => {
                self.interrupt_tools(state, thread, turn).await?;
            }
            NextStep::ReuseChecks { phase, verdict, .. } => {
                let id = self.finish_id().await?;
                let judged = feedback::reuse(
                    self.target_state(state)?,
                    self.attempt,
                    phase,
                    verdict,
                    id.as_deref(),
                )?;
                self.record_checks(self.target_state(state)?, judged, phase).await?;
            }
            NextStep::RefuseClaim { phase, why, .. } => {
                let id = self.finish_id().await?;
                let judged = feedback::refuse(
                    self.target_state(state)?,
                    self.attempt,
                    phase,
                    why,
                    id.as_deref(),
                )?;
                self.record_checks(self.target_state(state)?, judged, phase).await?;
            }
            NextStep::ReadReview { thread } => {
                let id = self.finish_id().await?;
                door.converser.read_review(job, target, thread, id.as_deref()).await?;
            }
            NextStep::Conclude { outcome, why } => {
                door.intake.conclude(job, target, outcome, reasons(state, target, why)).await?;
            }
            NextStep::Scan
            | NextStep::RunChecks { .. }
            | NextStep::RunTools { .. }
            | NextStep::Leave(_) => {}
        }
        Ok(())
    }

    async fn converse(&self, thread: ThreadNumber) -> Result<(), DoorError> {
        if let Some(reason) = self.door.intake.oversize(self.job, self.target).await? {
            let stopped = Outcome::BudgetStopped;
            return Ok(self
                .door
                .intake
                .conclude(self.job, self.target, stopped, vec![reason])
                .await?);
        }
        match self.door.converser.advance(self.job, self.target, thread).await {
            Advance::Recorded | Advance::Stopped | Advance::Later => Ok(()),
            Advance::Conclude { outcome, evidence } => {
                Ok(self.door.intake.conclude(self.job, self.target, outcome, evidence).await?)
            }
            Advance::Broken(what) => {
                let reasons = vec![format!("The server could not go on: {what}")];
                Ok(self
                    .door
                    .intake
                    .conclude(self.job, self.target, Outcome::Failed, reasons)
                    .await?)
            }
        }
    }

    async fn record_checks(
        &self,
        target: &Target,
        judged: feedback::Judgement,
        phase: CheckPhase,
    ) -> Result<(), DoorError> {
        let id = checks_command(self.job, target, phase);
        let command = Command::RecordChecks(Box::new(judged));
        self.door.app.execute(self.job, id, command, &Asker::room("converser")).await?;
        Ok(())
    }

    /// Answers for tools that were lost twice: outcome unknown, tree unchanged.
    async fn interrupt_tools(
        &self,
        state: &JobState,
        thread: ThreadNumber,
        turn: TurnNumber,
    ) -> Result<(), DoorError> {
        let asked = asked_tools(&self.door.app, self.job, self.target, thread, turn).await?;
        let tree = self.target_state(state)?.tree.unwrap_or(cody_events::digest::ObjectId::ZERO);
        let mut results = Vec::with_capacity(asked.len());
        let mut tools = Vec::with_capacity(asked.len());
        for tool in asked {
            results.push(tool_result(&tool.id, feedback::INTERRUPTED, true)?);
            tools.push(RanTool { id: tool.id, name: tool_name(&tool.name), is_error: true, ms: 0 });
        }
        let payload = ToolsRanPayload {
            results,
            changed: Vec::new(),
            blobs: Vec::new(),
            outputs: Vec::new(),
            finish: None,
            tools: Vec::new(),
        };
        let trees = (tree, tree);
        let (facts, payload) =
            tools_ran(self.target, self.attempt, thread, turn, tools, trees, &payload)?;
        let ran = (ToolsRan { interrupted: true, ..facts }, payload);
        let id = tools_command(self.job, self.target, thread, turn);
        let command = Command::RecordTools(Box::new(ran));
        self.door.app.execute(self.job, id, command, &Asker::room("converser")).await?;
        Ok(())
    }

    /// Claude's id of the `finish` that waits for an answer.
    async fn finish_id(&self) -> Result<Option<String>, DoorError> {
        let story = Story::read(&self.door.app, self.job, self.target).await?;
        Ok(story.finish.map(|finish| finish.id))
    }

    async fn review_material(&self) -> Result<ReviewMaterial, DoorError> {
        let story = Story::read(&self.door.app, self.job, self.target).await?;
        let derived = self.door.intake.derive(self.job, self.target).await?;
        let (claim, checks) = review_claim(&story);
        let patch = String::from_utf8_lossy(&derived.patch.bytes).into_owned();
        Ok(ReviewMaterial { claim, checks, patch })
    }

    fn time_left_ms(&self, state: &JobState) -> Option<u64> {
        let job = state.job.as_ref()?;
        job.tool_ms_left(job.targets.get(&self.target)?)
    }

    fn target_state<'s>(&self, state: &'s JobState) -> Result<&'s Target, DoorError> {
        state
            .job
            .as_ref()
            .and_then(|job| job.targets.get(&self.target))
            .ok_or(DoorError::Unauthorized)
    }
}

/// The commands that check a target.
pub(super) async fn check_commands(
    app: &App,
    job: JobId,
    target: TargetNumber,
) -> Result<Vec<String>, DoorError> {
    let events = app.events(job, 0).await?;
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    let Event::Created(facts) = &first.event else { return Ok(Vec::new()) };
    let created = app.payload_of::<Created>(first.recorded.position).await?;
    let scan = events.iter().rev().find_map(|told| match &told.event {
        Event::RepoScanned(e) if e.target == target => Some(told.recorded.position),
        _ => None,
    });
    let scanned = match scan {
        Some(position) => app.payload_of::<RepoScanned>(position).await?,
        None => None,
    };
    Ok(match (created, scanned) {
        (Some(created), Some(scanned)) => feedback::commands(facts.checks, &created, &scanned),
        _ => Vec::new(),
    })
}

/// The tools that the response of `turn` asks for.
pub(super) async fn asked_tools(
    app: &App,
    job: JobId,
    target: TargetNumber,
    thread: ThreadNumber,
    turn: TurnNumber,
) -> Result<Vec<AskedTool>, DoorError> {
    let is_meant = |event: &Event| matches!(event, Event::ClaudeTurn(e) if (e.target, e.thread, e.turn) == (target, thread, turn));
    let Some(told) = app.find_last(job, is_meant).await? else { return Ok(Vec::new()) };
    let Some(payload) = app.payload_of::<ClaudeTurn>(told.recorded.position).await? else {
        return Ok(Vec::new());
    };
    Ok(payload
        .content
        .iter()
        .filter_map(|block| match BlockView::of(block) {
            BlockView::ToolUse { id, name, input } => Some(AskedTool { id, name, input }),
            _ => None,
        })
        .collect())
}

/// The id under which the checks of one claim, or the baseline, are recorded once.
pub(super) fn checks_command(job: JobId, target: &Target, phase: CheckPhase) -> CommandId {
    let claim = match (phase, &target.claim) {
        (CheckPhase::After | CheckPhase::Repair, Some(claim)) => {
            format!("{}/{}", claim.thread, claim.turn)
        }
        (CheckPhase::Baseline, _) | (_, None) => "baseline".to_owned(),
    };
    CommandId::derived(&[
        "checks",
        &job.to_string(),
        &target.number.to_string(),
        &target.round.to_string(),
        &claim,
    ])
}

/// What an outcome rests on, in words.
fn reasons(state: &JobState, target: TargetNumber, why: Conclusion) -> Vec<String> {
    let job = state.job.as_ref();
    let words = match why {
        // The story itself has the evidence.
        Conclusion::ReviewAccepted | Conclusion::ReviewObjects | Conclusion::ClaimStands => {
            return Vec::new();
        }
        Conclusion::ChecksFail => "The checks still fail after the last repair.".to_owned(),
        Conclusion::ClaimUnfounded => {
            "Claude kept claiming what the tree does not bear out.".to_owned()
        }
        Conclusion::Refusal => "Claude declined the request.".to_owned(),
        Conclusion::ContextFull => "The conversation fills the model's context.".to_owned(),
        Conclusion::LimitSpent(limit) => limit_spent(job, target, limit),
        Conclusion::LedNowhere(sign) => led_nowhere(sign).to_owned(),
        Conclusion::Unreviewed => "The job asked for no review.".to_owned(),
        Conclusion::KeptBeingCutOff => {
            "Response after response was cut off at its length limit.".to_owned()
        }
        Conclusion::NothingMoreToSay => {
            "Claude ended its turn twice without a tool call and without `finish`.".to_owned()
        }
        Conclusion::PrefixRefusedTwice => {
            "The provider refused the conversation's start, also of a fresh one.".to_owned()
        }
    };
    vec![words]
}

fn limit_spent(job: Option<&Job>, target: TargetNumber, limit: SpentLimit) -> String {
    let Some(job) = job else { return String::new() };
    let Some(one) = job.targets.get(&target) else { return String::new() };
    let sum = |of: fn(&Target) -> u64| job.targets.values().map(of).sum::<u64>();
    let (what, own, all) = match limit {
        SpentLimit::Turns => ("turns", u64::from(one.turns), sum(|t| u64::from(t.turns))),
        SpentLimit::Tokens => ("tokens", one.tokens, sum(|t| t.tokens)),
        SpentLimit::ToolTime => ("milliseconds of tools", one.tool_ms, sum(|t| t.tool_ms)),
    };
    format!("A limit is reached: {own} {what} were used, and {all} by all targets together.")
}

fn led_nowhere(sign: StuckSign) -> &'static str {
    match sign {
        StuckSign::SameWork => {
            "Claude kept making the same tool calls with the same results, also after a warning."
        }
        StuckSign::EditUndo => {
            "Claude kept making and undoing the same edits, also after a warning."
        }
        StuckSign::NoChange => "Nothing changed for many turns, also after a warning.",
    }
}
