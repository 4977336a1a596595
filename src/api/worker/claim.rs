//! A worker's first act, and its signs of life.

use axum::Json;
use axum::extract::State;
use cody_events::attempt::AttemptStarted;
use cody_events::digest::Sha256;
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::ids::{AttemptNumber, CommandId};
use cody_events::job::Created;

use super::{DoorError, Holder, WorkerDoor};
use crate::app::Asker;
use crate::job::Leave;
use crate::job::{Command, NextStep, next_step};
use crate::store::side::{Lease, Process};
use crate::wire::{Assignment, Claim, Heartbeat, Secret};

/// Takes a claim: the nonce must be the one that was given to this request's worker. A worker that
/// did not hear the answer claims again, and gets the same attempt with a new token.
pub async fn claim(
    State(door): State<WorkerDoor>,
    Json(claim): Json<Claim>,
) -> Result<Json<Assignment>, DoorError> {
    check_words(&claim)?;
    let nonce = door.side.find_nonce(claim.request).await?.ok_or(DoorError::Unauthorized)?;
    let is_meant = nonce.nonce_hash == Sha256::of(claim.nonce.expose().as_bytes())
        && (nonce.job, nonce.target) == (claim.job, claim.target);
    if !is_meant {
        return Err(DoorError::Unauthorized);
    }
    let attempt = start_attempt(&door, &claim).await?;
    let token = door.app.entropy().secret();
    door.leases
        .grant(Lease {
            request: claim.request,
            job: claim.job,
            target: claim.target,
            attempt,
            token_hash: Sha256::of(token.as_bytes()),
            worker: claim.worker.clone(),
            process: Process { pid: claim.pid, start: claim.process_start },
        })
        .await?;
    assignment(&door, &claim, attempt, token).await.map(Json)
}

/// A worker's words about itself stand in facts and on screens.
fn check_words(claim: &Claim) -> Result<(), DoorError> {
    let image = claim.image.as_deref().unwrap_or_default();
    let words = [
        ("worker", claim.worker.as_str(), 200),
        ("app_version", claim.app_version.as_str(), 64),
        ("image", image, 300),
    ];
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    match words.into_iter().find(|(_, text, most)| text.len() > *most || !is_plain(text)) {
        Some((field, _, _)) => Err(DoorError::BadClaim(field)),
        None => Ok(()),
    }
}

async fn start_attempt(door: &WorkerDoor, claim: &Claim) -> Result<AttemptNumber, DoorError> {
    let state = door.app.state(claim.job).await?;
    let target = state.job.as_ref().and_then(|job| job.targets.get(&claim.target));
    let latest = target.map_or(AttemptNumber(0), |target| target.latest_attempt);
    let held = target
        .and_then(|target| target.request.as_ref())
        .filter(|open| open.request == claim.request)
        .and_then(|open| open.attempt);
    let attempt = held.unwrap_or(latest.next());
    let started = AttemptStarted {
        target: claim.target,
        attempt,
        request: claim.request,
        worker: claim.worker.clone(),
        app_version: claim.app_version.clone(),
        image: claim.image.clone(),
        sandbox: claim.sandbox,
        batch_job_id: None,
        batch_job_try: None,
    };
    let id = CommandId::derived(&["claim", &claim.request.to_string()]);
    let asker = Asker { actor: claim.worker.clone(), door: Door::Worker };
    door.app.execute(claim.job, id, Command::ClaimAttempt(started), &asker).await?;
    Ok(attempt)
}

async fn assignment(
    door: &WorkerDoor,
    claim: &Claim,
    attempt: AttemptNumber,
    token: String,
) -> Result<Assignment, DoorError> {
    let state = door.app.state(claim.job).await?;
    let job = state.job.as_ref().ok_or(DoorError::Unauthorized)?;
    let target = job.targets.get(&claim.target).ok_or(DoorError::Unauthorized)?;
    let base = target.base.clone().ok_or(DoorError::Unauthorized)?;
    let events = door.app.events(claim.job, 0).await?;
    let prompt = match events.first() {
        Some(first) => door.app.payload_of::<Created>(first.recorded.position).await?,
        None => None,
    };
    let took_over = events.iter().any(|told| {
        matches!(&told.event, Event::ToolsRan(ran) if ran.target == claim.target && ran.attempt < attempt)
    });
    Ok(Assignment {
        attempt,
        token: Secret::new(token),
        lease_ms: u64::try_from(door.leases.term().as_millis()).unwrap_or(u64::MAX),
        heartbeat_ms: door.heartbeat_ms,
        repository: target.repository.clone(),
        pack_dir: Some(door.packs.dir(&base.pack)),
        base,
        prompt: prompt.map(|created| created.prompt).unwrap_or_default(),
        bash: job.bash,
        fetch_dependencies: job.fetch_dependencies,
        took_over,
    })
}

/// Tells a worker whether it is still wanted. That it asked renews its lease, as every message does.
pub async fn heartbeat(
    State(door): State<WorkerDoor>,
    Holder(lease): Holder,
) -> Result<Json<Heartbeat>, DoorError> {
    let state = door.app.state(lease.job).await?;
    let target = state.job.as_ref().and_then(|job| job.targets.get(&lease.target));
    // A round that ended and was opened again is another worker's.
    let holds = target.is_some_and(|target| target.attempt() == Some(lease.attempt));
    Ok(Json(match next_step(&state, lease.target) {
        NextStep::Leave(Leave::Cancelled | Leave::Finished) => Heartbeat::Leave,
        _ if !holds => Heartbeat::Leave,
        _ => Heartbeat::GoOn,
    }))
}
