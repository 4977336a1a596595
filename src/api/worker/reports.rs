//! What workers report. A report that comes twice is answered as the first time.

use axum::Json;
use axum::extract::State;
use cody_events::attempt::AttemptEnd;
use cody_events::digest::{ObjectId, Sha256};
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::evidence::{DependenciesFetched, DependenciesFetchedPayload, RepoScanned};
use cody_events::ids::{AttemptNumber, CommandId, JobId, TargetNumber, ThreadNumber, TurnNumber};
use cody_events::outcome::Outcome;
use cody_events::raw::RawJson;
use cody_events::thread::{RanTool, ToolsRan, ToolsRanPayload};

use super::steps::{asked_tools, check_commands, checks_command};
use super::{DoorError, Holder, WorkerDoor};
use crate::app::Asker;
use crate::converse::feedback;
use crate::intake::{self, IntakeError, Story, examine_time};
use crate::job::Command;
use crate::job::state::Target;
use crate::store::side::Lease;
use crate::wire::{
    AskedTool, ChecksReport, EndReport, FetchReport, OutputAnswer, OutputRequest, Receipt,
    ScanReport, ToolsReport,
};

/// Tools of one turn that the facts have room for; more stand in the payload.
const MAX_FACT_TOOLS: usize = 16;

/// The scan of the base.
pub async fn scan(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(report): Json<ScanReport>,
) -> Result<Json<Receipt>, DoorError> {
    let state = door.app.state(lease.job).await?;
    let target = state.job.as_ref().and_then(|job| job.targets.get(&lease.target));
    let target = target.ok_or(DoorError::Unauthorized)?;
    let base = target.base.clone().ok_or(DoorError::Unauthorized)?;
    let mut found = report.found;
    door.intake.mask_scan(&mut found);
    let is_due = target.scan.is_none() && target.attempt() == Some(lease.attempt);
    let ours = if is_due { Some(door.intake.scan(&base, door.scan).await?) } else { None };
    let (mut languages, mut counts) = (report.languages, (report.file_count, report.byte_count));
    if let Some(ours) = ours {
        (languages, counts) = (ours.languages(), (ours.facts.file_count, ours.facts.total_bytes));
        (found.manifests, found.checks) = (ours.manifests(), ours.checks());
    }
    let facts = RepoScanned {
        target: lease.target,
        attempt: lease.attempt,
        base_commit: report.base_commit,
        tree: report.tree,
        pack: base.pack,
        default_branch: base.branch,
        languages,
        file_count: counts.0,
        byte_count: counts.1,
        check_count: count(found.checks.len()),
    };
    // A target that starts over is scanned again, perhaps at the same commit.
    let (round, commit) = (target.round.to_string(), report.base_commit.to_string());
    let id = id(&lease, "scan", &[&round, &commit]);
    execute(&door, &lease, id, Command::RecordScan(Box::new((facts, found)))).await
}

/// What was fetched for the target's commands.
pub async fn dependencies(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(mut report): Json<FetchReport>,
) -> Result<Json<Receipt>, DoorError> {
    let state = door.app.state(lease.job).await?;
    let target = state.job.as_ref().and_then(|job| job.targets.get(&lease.target));
    if target.is_some_and(|target| target.attempt() == Some(lease.attempt)) {
        let said_ms = report.fetches.iter().fold(0_u64, |sum, fetch| sum.saturating_add(fetch.ms));
        let examined = examine_time(door.handed_so_far(lease.request), said_ms)
            .and_then(|()| intake::examine_fetch(&report));
        believe(&door, &lease, examined.map_err(IntakeError::from).map_err(DoorError::from))
            .await?;
    }
    let id = id(&lease, "dependencies", &[&Sha256::of(&serde_json::to_vec(&report)?).to_string()]);
    door.intake.mask_fetch(&mut report);
    let (target, attempt) = (lease.target, lease.attempt);
    let facts =
        DependenciesFetched { target, attempt, number: report.number, fetches: report.fetches };
    let payload = DependenciesFetchedPayload { fetches: report.words };
    execute(&door, &lease, id, Command::RecordFetch(Box::new((facts, payload)))).await
}

/// Checks on a fresh checkout.
pub async fn checks(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(mut report): Json<ChecksReport>,
) -> Result<Json<Receipt>, DoorError> {
    let state = door.app.state(lease.job).await?;
    let job = state.job.as_ref().ok_or(DoorError::Unauthorized)?;
    let target = job.targets.get(&lease.target).ok_or(DoorError::Unauthorized)?;
    if target.attempt() == Some(lease.attempt) {
        let examined = examine_checks(&door, &lease, target, &report).await;
        believe(&door, &lease, examined).await?;
    }
    if report.cut_short {
        if target.attempt() != Some(lease.attempt) {
            return Err(DoorError::Unauthorized);
        }
        let reasons = vec![
            "The limit of tool time was reached while checks ran; what they would have said is not \
             known."
                .to_owned(),
        ];
        let stopped = Outcome::BudgetStopped;
        door.intake.conclude(lease.job, lease.target, stopped, reasons).await?;
        return Ok(Json(Receipt { recorded: true }));
    }
    door.intake.mask_checks(&mut report);
    let story = Story::read(&door.app, lease.job, lease.target).await?;
    let finish_id = story.finish.map(|finish| finish.id);
    let phase = report.phase;
    let id = checks_command(lease.job, target, phase);
    let judged = feedback::judge(job, target, lease.attempt, report, finish_id.as_deref())?;
    execute(&door, &lease, id, Command::RecordChecks(Box::new(judged))).await
}

/// The tools of one turn.
pub async fn tools(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(mut report): Json<ToolsReport>,
) -> Result<Json<Receipt>, DoorError> {
    let (thread, turn) = (report.thread, report.turn);
    let asked = asked_tools(&door.app, lease.job, lease.target, thread, turn).await?;
    if is_due(&door, &lease, thread, turn).await? {
        let examined = examine_tools(&door, &lease, &asked, &report).await;
        believe(&door, &lease, examined).await?;
    }
    door.intake.mask_tools(&mut report)?;
    let payload = ToolsRanPayload {
        results: report.results,
        changed: report.changed,
        blobs: report.blobs,
        outputs: report.outputs,
        finish: report.finish,
        tools: Vec::new(),
    };
    let trees = (report.tree_before, report.tree_after);
    let (facts, payload) =
        tools_ran(lease.target, lease.attempt, thread, turn, report.tools, trees, &payload)?;
    let work_hash = Some(work_hash(&asked, &payload.results));
    let ran = (ToolsRan { work_hash, ..facts }, payload);
    let id = tools_command(lease.job, lease.target, thread, turn);
    execute(&door, &lease, id, Command::RecordTools(Box::new(ran))).await
}

/// Whether this worker is the one to report the tools of this turn, and has not yet.
async fn is_due(
    door: &WorkerDoor,
    lease: &Lease,
    thread: ThreadNumber,
    turn: TurnNumber,
) -> Result<bool, DoorError> {
    let state = door.app.state(lease.job).await?;
    let target = state.job.as_ref().and_then(|job| job.targets.get(&lease.target));
    Ok(target.is_some_and(|target| {
        let change = target.change.as_ref().filter(|change| change.number == thread);
        target.attempt() == Some(lease.attempt)
            && change.is_some_and(|change| change.tools_open == Some(turn))
    }))
}

async fn examine_tools(
    door: &WorkerDoor,
    lease: &Lease,
    asked: &[AskedTool],
    report: &ToolsReport,
) -> Result<(), DoorError> {
    let said_ms = report.tools.iter().fold(0_u64, |sum, tool| sum.saturating_add(tool.ms));
    examine_time(door.handed_for(lease.request), said_ms).map_err(IntakeError::from)?;
    Ok(door.intake.examine_tools(lease.job, lease.target, asked, report).await?)
}

async fn examine_checks(
    door: &WorkerDoor,
    lease: &Lease,
    target: &Target,
    report: &ChecksReport,
) -> Result<(), DoorError> {
    let said_ms = report.results.iter().fold(0_u64, |sum, result| sum.saturating_add(result.ms));
    examine_time(door.handed_for(lease.request), said_ms).map_err(IntakeError::from)?;
    let commands = check_commands(&door.app, lease.job, lease.target).await?;
    let examined = intake::examine_checks(&commands, target.sandbox, report);
    Ok(examined.map_err(IntakeError::from)?)
}

/// Ends the attempt of a worker whose report cannot be true: nothing that it says is worth more.
async fn believe(
    door: &WorkerDoor,
    lease: &Lease,
    examined: Result<(), DoorError>,
) -> Result<(), DoorError> {
    if let Err(DoorError::Intake(IntakeError::Disbelieved(why))) = &examined {
        tracing::warn!(job = %lease.job, target = %lease.target, %why, "a report is not believed");
        let command = Command::EndAttempt {
            target: lease.target,
            request: lease.request,
            how: AttemptEnd::Crashed,
            detail: Some(format!("the worker's report is not believed: {why}")),
        };
        let id = CommandId::derived(&["end", &lease.request.to_string()]);
        door.app.execute(lease.job, id, command, &Asker::room("intake")).await?;
        door.leases.forget(lease.request).await?;
    }
    examined
}

/// The whole output of an earlier tool call.
pub async fn output(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(request): Json<OutputRequest>,
) -> Result<Json<OutputAnswer>, DoorError> {
    let is_meant = |event: &Event| matches!(event, Event::ToolsRan(e) if e.target == lease.target && e.turn == request.turn);
    let payload = match door.app.find_last(lease.job, is_meant).await? {
        Some(told) => door.app.payload_of::<ToolsRan>(told.recorded.position).await?,
        None => None,
    };
    let output = payload
        .and_then(|payload| payload.outputs.into_iter().find(|output| output.id == request.tool))
        .map(|output| output.output);
    Ok(Json(OutputAnswer { output }))
}

/// The worker's last word.
pub async fn end(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
    Json(report): Json<EndReport>,
) -> Result<Json<Receipt>, DoorError> {
    let command = Command::EndAttempt {
        target: lease.target,
        request: lease.request,
        how: report.how,
        detail: report.detail.map(|mut detail| {
            door.intake.mask(&mut detail);
            detail
        }),
    };
    let id = CommandId::derived(&["end", &lease.request.to_string()]);
    let receipt = execute(&door, &lease, id, command).await?;
    door.leases.forget(lease.request).await?;
    Ok(receipt)
}

/// `tools-ran` of these tools; a list too long for the facts goes into the payload.
pub(super) fn tools_ran(
    target: TargetNumber,
    attempt: AttemptNumber,
    thread: ThreadNumber,
    turn: TurnNumber,
    tools: Vec<RanTool>,
    (tree_before, tree_after): (ObjectId, ObjectId),
    payload: &ToolsRanPayload,
) -> Result<(ToolsRan, ToolsRanPayload), serde_json::Error> {
    let mut payload = payload.clone();
    let tools_hash = Sha256::of(&serde_json::to_vec(&tools)?);
    let tool_count = count(tools.len());
    let is_plain = |id: &str| id.len() <= 128 && !id.contains(|c: char| c.is_control());
    let fits = tools.len() <= MAX_FACT_TOOLS && tools.iter().all(|tool| is_plain(&tool.id));
    let (tools, overflow) = if fits { (tools, Vec::new()) } else { (Vec::new(), tools) };
    payload.tools = overflow;
    let facts = ToolsRan {
        target,
        attempt,
        thread,
        turn,
        tool_count,
        tools,
        tools_hash,
        tree_before,
        tree_after,
        changed_count: count(payload.changed.len()),
        blob_bytes: payload.blobs.iter().map(|blob| blob.content.len() as u64).sum(),
        finish: payload.finish.as_ref().map(|finish| finish.outcome),
        interrupted: false,
        work_hash: None,
        total_ms: (!fits).then(|| payload.tools.iter().map(|tool| tool.ms).sum()),
    };
    Ok((facts, payload))
}

/// What a turn's tools were asked and gave, without ids and times: the same work has the same hash.
fn work_hash(asked: &[AskedTool], results: &[RawJson]) -> Sha256 {
    let mut work = Vec::new();
    for tool in asked {
        work.extend_from_slice(tool.name.as_bytes());
        work.push(0);
        work.extend_from_slice(tool.input.get().as_bytes());
        work.push(0);
    }
    for result in results {
        let content = result.read::<serde_json::Value>().map(|mut block| block["content"].take());
        work.extend_from_slice(content.unwrap_or_default().to_string().as_bytes());
        work.push(0);
    }
    Sha256::of(&work)
}

/// The id under which the tools of a turn are recorded once.
pub(super) fn tools_command(
    job: JobId,
    target: TargetNumber,
    thread: ThreadNumber,
    turn: TurnNumber,
) -> CommandId {
    CommandId::derived(&[
        "tools",
        &job.to_string(),
        &target.to_string(),
        &thread.to_string(),
        &turn.to_string(),
    ])
}

fn id(lease: &Lease, what: &str, parts: &[&str]) -> CommandId {
    let (job, target) = (lease.job.to_string(), lease.target.to_string());
    let mut all = vec![what, &job, &target];
    all.extend(parts);
    CommandId::derived(&all)
}

async fn execute(
    door: &WorkerDoor,
    lease: &Lease,
    id: CommandId,
    command: Command,
) -> Result<Json<Receipt>, DoorError> {
    let asker = Asker { actor: lease.worker.clone(), door: Door::Worker };
    let executed = door.app.execute(lease.job, id, command, &asker).await?;
    Ok(Json(Receipt { recorded: executed.is_new }))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
