//! Carrying out commands: decide, append, evolve; once for each id and once for each key. What is
//! decided on is read elsewhere (`reading`).

use std::sync::Arc;
use std::time::Duration;

use cody_events::envelope::NewEvent;
use cody_events::event::Draft;
use cody_events::ids::{CommandId, EventId, JobId};
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument as _;

use super::{App, AppError, Asker, Executed, SYSTEM, UniqueKey};
use crate::job::{Command, Decision, JobState, Rejection, RejectionCode, decide};
use crate::store::{Append, Appended, Expected, KEY_REUSED, LogError};

/// How often an append is tried again when somebody else wrote the stream in between.
const MAX_CONFLICTS: usize = 8;

/// How long a log that takes nothing is left alone at first, and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

impl App {
    /// Carries out `command`, once for each `id`.
    pub async fn execute(
        &self,
        job: JobId,
        id: CommandId,
        command: Command,
        asker: &Asker,
    ) -> Result<Executed, AppError> {
        self.execute_once(job, id, command, asker, None).await
    }

    /// The same, and once for each `key`: who asks again with it is told what became of it first.
    pub async fn execute_once(
        &self,
        job: JobId,
        id: CommandId,
        command: Command,
        asker: &Asker,
        key: Option<UniqueKey>,
    ) -> Result<Executed, AppError> {
        let mut state = self.slot(job).lock_owned().await;
        for _ in 0..MAX_CONFLICTS {
            self.catch_up(job, &mut state).await?;
            let drafts = match decide(&state, &command) {
                Decision::Events(drafts) => drafts,
                Decision::AlreadyRecorded if key.is_none() => {
                    return Ok(Executed {
                        is_new: false,
                        position: self.log.head().await?.position,
                        job,
                    });
                }
                // Nothing is added, but the key is used: else it could do something later.
                Decision::AlreadyRecorded => Vec::new(),
                Decision::Rejected(rejection) => {
                    let before = self.done_before(job, id, key.as_ref()).await?;
                    return before.ok_or_else(|| rejection.into());
                }
            };
            let is_new = !drafts.is_empty();
            let append = self.new_append(job, id, &state, &drafts, asker, key.clone())?;
            let appended;
            (state, appended) = self.append(job, state, append, drafts).await?;
            match appended {
                Appended::Appended { last_position, .. } => {
                    return Ok(Executed { is_new, position: last_position, job });
                }
                Appended::Duplicate { last_position, stream, .. } => {
                    let job = JobId::from_stream(&stream).unwrap_or(job);
                    return Ok(Executed { is_new: false, position: last_position, job });
                }
                Appended::Conflict { .. } => {}
                Appended::Fenced { .. } => return Err(AppError::Fenced),
            }
        }
        Err(AppError::Contended(job))
    }

    /// Uses `key` up for a wish that changes nothing of `job`, and answers where the log ended then.
    pub async fn use_key(
        &self,
        job: JobId,
        key: UniqueKey,
        asker: &Asker,
    ) -> Result<Executed, AppError> {
        let append = Append {
            stream: job.stream(),
            expected: Expected::Any,
            command_id: key.command_id(),
            actor: asker.actor.clone(),
            door: asker.door,
            correlation_id: Some(job.0),
            unique_key: Some(key),
            events: Vec::new(),
        };
        match self.log.append(append).await.map_err(told_as_no)? {
            Appended::Appended { last_position: position, .. } => {
                Ok(Executed { is_new: false, position, job })
            }
            Appended::Duplicate { last_position: position, stream, .. } => {
                let job = JobId::from_stream(&stream).unwrap_or(job);
                Ok(Executed { is_new: false, position, job })
            }
            // Any version is right.
            Appended::Conflict { .. } => Err(AppError::Contended(job)),
            Appended::Fenced { .. } => Err(AppError::Fenced),
        }
    }

    /// What became of the wish that `key` was used for, if it is the same one; a no if it is another.
    pub async fn find_key(&self, key: &UniqueKey) -> Result<Option<Executed>, AppError> {
        let Some(used) = self.log.find_key(&key.actor, &key.key).await? else { return Ok(None) };
        if used.request_digest != key.request_digest {
            return Err(key_reused());
        }
        let position = used.last_position;
        let job = JobId::from_stream(&used.stream);
        Ok(job.map(|job| Executed { is_new: false, position, job }))
    }

    /// Carries out `command` however long the log takes nothing, because what it records was paid
    /// for. Only a no, or a log that will never take it, is an error.
    pub async fn execute_at_last(
        &self,
        job: JobId,
        id: CommandId,
        command: Command,
        asker: &Asker,
    ) -> Result<Executed, AppError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.execute(job, id, command.clone(), asker).await {
                Err(error) if error.is_passing() => {
                    tracing::warn!(%job, %error, "what was paid for waits for the log");
                    self.clock.sleep(pause).await;
                    pause = LAST_PAUSE.min(pause * 2);
                }
                done => return done,
            }
        }
    }

    /// Records what belongs to no job; answers where it stands.
    pub async fn record_system(&self, draft: Draft, asker: &Asker) -> Result<u64, AppError> {
        let append = Append {
            stream: SYSTEM.to_owned(),
            expected: Expected::Any,
            command_id: self.new_command_id(),
            actor: asker.actor.clone(),
            door: asker.door,
            correlation_id: None,
            unique_key: None,
            events: vec![self.new_event(&draft)?],
        };
        match self.log.append(append).await? {
            Appended::Appended { last_position, .. } => Ok(last_position),
            // Neither can be: the command's id is new, and any version is right.
            Appended::Duplicate { .. } | Appended::Conflict { .. } => {
                Ok(self.log.head().await?.position)
            }
            Appended::Fenced { .. } => Err(AppError::Fenced),
        }
    }

    /// What became of the same command before: what it made may be why it is refused when it comes
    /// again, and what others did since may be.
    async fn done_before(
        &self,
        job: JobId,
        id: CommandId,
        key: Option<&UniqueKey>,
    ) -> Result<Option<Executed>, AppError> {
        if let Some(key) = key
            && let Some(before) = self.find_key(key).await?
        {
            return Ok(Some(before));
        }
        let first = self.log.find_event(EventId::derived(id, 0)).await?;
        let first = first.filter(|event| event.stream == job.stream());
        Ok(first.map(|event| Executed { is_new: false, position: event.position, job }))
    }

    fn new_event(&self, draft: &Draft) -> Result<NewEvent, serde_json::Error> {
        Ok(NewEvent {
            kind: draft.event.kind().to_owned(),
            schema_version: draft.event.schema_version(),
            occurred_at: self.clock.now(),
            facts: draft.event.facts_json()?,
            payload: draft.payload.clone().map(String::into_bytes),
            causation_id: None,
        })
    }

    fn new_append(
        &self,
        job: JobId,
        id: CommandId,
        state: &JobState,
        drafts: &[Draft],
        asker: &Asker,
        unique_key: Option<UniqueKey>,
    ) -> Result<Append, AppError> {
        let events =
            drafts.iter().map(|draft| self.new_event(draft)).collect::<Result<Vec<_>, _>>()?;
        let expected = match state.version {
            0 => Expected::NoStream,
            version => Expected::Exact(version),
        };
        Ok(Append {
            stream: job.stream(),
            expected,
            command_id: id,
            actor: asker.actor.clone(),
            door: asker.door,
            correlation_id: Some(job.0),
            unique_key,
            events,
        })
    }

    /// Appends, and has the state follow. It goes on to its end if whoever asked goes away meanwhile:
    /// else the log would have what the state does not know of.
    async fn append(
        &self,
        job: JobId,
        mut state: OwnedMutexGuard<JobState>,
        append: Append,
        drafts: Vec<Draft>,
    ) -> Result<(OwnedMutexGuard<JobState>, Appended), AppError> {
        let log = Arc::clone(&self.log);
        let span = tracing::debug_span!("append", %job, count = append.events.len());
        let append = async move {
            let appended = log.append(append).await;
            match &appended {
                Ok(Appended::Appended { .. }) => {
                    for draft in &drafts {
                        state.evolve(&draft.event);
                    }
                }
                // It may be in the log all the same: who asks next reads what is there.
                Ok(
                    Appended::Duplicate { .. }
                    | Appended::Conflict { .. }
                    | Appended::Fenced { .. },
                )
                | Err(_) => *state = JobState::default(),
            }
            (state, appended)
        };
        let (state, appended) = tokio::spawn(append.instrument(span))
            .await
            .map_err(|_| LogError::Unavailable("the append was interrupted".to_owned()))?;
        Ok((state, appended.map_err(told_as_no)?))
    }
}

/// A key that was used for something else, at the same time as this, is a mistake of whoever asks.
fn told_as_no(error: LogError) -> AppError {
    match error {
        LogError::Rejected { code: KEY_REUSED, .. } => key_reused(),
        error => error.into(),
    }
}

fn key_reused() -> AppError {
    Rejection::new(
        RejectionCode::KeyReused,
        "This key was used for another request.",
        "Use a key of its own for each request; a UUID is one.",
    )
    .into()
}
