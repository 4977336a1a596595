//! The one shell around the rules: loads a job's state, asks `decide`, appends, evolves. Every door
//! and every room goes through here, so a command has one meaning wherever it comes from.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::envelope::{Door, NewEvent, Recorded};
use cody_events::event::{DecodeError, Draft, Event, Facts, decode_payload};
use cody_events::ids::{CommandId, EventId, JobId};
use cody_events::job::Created;
use cody_projections::{Answer, Connection};
use lru::LruCache;
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::job::{Command, Decision, JobState, Rejection, RejectionCode, decide};
use crate::store::views::{Views, ViewsError};
use crate::store::{Append, Appended, Expected, KEY_REUSED, Log, LogError};

pub use crate::store::UniqueKey;

/// How many events one page of a stream's catch-up holds.
const PAGE: usize = 500;
/// How many events a look back reads at once.
const LOOK_BACK: u64 = 32;
/// How often an append is tried again when somebody else wrote the stream in between.
const MAX_CONFLICTS: usize = 8;

/// How long a log that takes nothing is left alone at first, and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The stream of what belongs to no job.
pub const SYSTEM: &str = "system";

/// Executes commands and reads what was recorded.
pub struct App {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    states: Mutex<LruCache<JobId, Arc<tokio::sync::Mutex<JobState>>>>,
    /// How many of them are kept when nobody uses them.
    most_states: NonZeroUsize,
    /// What the log means; nothing where only commands are carried out.
    views: Option<Arc<Views>>,
    /// Whether nobody else writes, so that a state that was read once is known from then on.
    is_sole_writer: bool,
}

/// Who wishes, and through which door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub actor: String,
    pub door: Door,
}

impl Asker {
    /// One of the server's own rooms.
    pub fn room(name: &str) -> Self {
        Self { actor: name.to_owned(), door: Door::Server }
    }
}

/// What became of a command that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Whether this call added events; else they were there before.
    pub is_new: bool,
    /// The position of the last event added, or of the log's head.
    pub position: u64,
    /// Whose stream has them: the job of the command, but where its key named another before.
    pub job: JobId,
}

/// Why a command was not carried out, or a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("another server has taken over this log; this one stops writing")]
    Fenced,
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the facts could not be written as JSON")]
    Render(#[from] serde_json::Error),
    #[error(transparent)]
    Views(#[from] ViewsError),
    #[error("the views are not open here")]
    NoViews,
    #[error("the stream of job {0} kept changing under the command")]
    Contended(JobId),
}

impl AppError {
    /// Whether another time would do: the log could not be read or written just now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Log(LogError::Unavailable(_)) | Self::Contended(_) | Self::Views(_) => true,
            Self::Log(LogError::Rejected { .. } | LogError::Damaged { .. })
            | Self::Rejected(_)
            | Self::Fenced
            | Self::Decode(_)
            | Self::NoViews
            | Self::Render(_) => false,
        }
    }

    /// Whether no other time would do: what the log holds cannot be read, or cannot be written.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Log(error) => error.is_broken(),
            Self::Decode(_) | Self::Render(_) | Self::NoViews => true,
            Self::Views(_) | Self::Contended(_) | Self::Rejected(_) | Self::Fenced => false,
        }
    }
}

/// One event of a job, read back.
#[derive(Debug, Clone)]
pub struct Told {
    pub recorded: Recorded,
    pub event: Event,
}

impl App {
    /// A shell over `log` that keeps at most `states` jobs in memory.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        states: NonZeroUsize,
    ) -> Self {
        let (most_states, states) = (states, Mutex::new(LruCache::unbounded()));
        Self { log, clock, entropy, states, most_states, views: None, is_sole_writer: false }
    }

    /// The same shell, which can be asked what the log means.
    pub fn with_views(self, views: Arc<Views>) -> Self {
        Self { views: Some(views), ..self }
    }

    /// The same shell in the process that holds the log: what is in the log comes from here.
    pub fn as_sole_writer(self) -> Self {
        Self { is_sole_writer: true, ..self }
    }

    /// The log, for those who read or follow it.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The clock that all rooms share.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where ids and secrets come from.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// Asks the views.
    pub async fn ask<R, W>(&self, work: W) -> Result<R, AppError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> Answer<R> + Send + 'static,
    {
        Ok(self.views.as_ref().ok_or(AppError::NoViews)?.read(work).await?)
    }

    /// Waits a little until the views show what stands at `position`; tells whether they do.
    pub async fn shows(&self, position: u64) -> bool {
        match &self.views {
            Some(views) => views.at_least(position).await,
            None => false,
        }
    }

    /// How far along the log the views are.
    pub fn shown_position(&self) -> u64 {
        self.views.as_ref().map_or(0, |views| views.position())
    }

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

    /// A page of what belongs to no job, after `version`, in order; empty when there is no more.
    pub async fn system_page(&self, version: u64) -> Result<Vec<Told>, AppError> {
        let page = self.log.read_stream(SYSTEM, version + 1, PAGE).await?;
        page.into_iter().map(|recorded| Ok(told(recorded)?)).collect()
    }

    /// The state of `job` now; the default state if there is no such job.
    pub async fn state(&self, job: JobId) -> Result<JobState, AppError> {
        let slot = self.slot(job);
        let mut state = slot.lock().await;
        self.catch_up(job, &mut state).await?;
        Ok(state.clone())
    }

    /// Keeps the state of `job` no longer: it is done, and read again if anybody asks.
    pub fn forget(&self, job: JobId) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if states.peek(&job).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            states.pop(&job);
        }
    }

    /// The events of `job` after `version`, in order.
    pub async fn events(&self, job: JobId, version: u64) -> Result<Vec<Told>, AppError> {
        let mut events = Vec::new();
        let mut after = version;
        loop {
            let page = self.log.read_stream(&job.stream(), after + 1, PAGE).await?;
            let full = page.len() == PAGE;
            for recorded in page {
                after = recorded.version;
                events.push(told(recorded)?);
            }
            if !full {
                return Ok(events);
            }
        }
    }

    /// How `job` began, if it did: its first event, and the facts of it.
    pub async fn created(&self, job: JobId) -> Result<Option<(Recorded, Created)>, AppError> {
        let first = self.log.read_stream(&job.stream(), 1, 1).await?.into_iter().next();
        let Some(recorded) = first else { return Ok(None) };
        match Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)? {
            Event::Created(created) => Ok(Some((recorded, created))),
            _ => Ok(None),
        }
    }

    /// The latest event of `job` that `fits`, read from the end: what is looked for is recent.
    pub async fn find_last(
        &self,
        job: JobId,
        fits: impl Fn(&Event) -> bool,
    ) -> Result<Option<Told>, AppError> {
        let mut end = self.state(job).await?.version;
        while end > 0 {
            let start = end.saturating_sub(LOOK_BACK);
            let page = self.log.read_stream(&job.stream(), start + 1, LOOK_BACK as usize).await?;
            for recorded in page.into_iter().rev().filter(|recorded| recorded.version <= end) {
                let told = told(recorded)?;
                if fits(&told.event) {
                    return Ok(Some(told));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// The payload at `position`, as the bytes that were logged; nothing if there is none.
    pub async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, AppError> {
        Ok(self.log.payload(position).await?)
    }

    /// The payload of an `F` at `position`, read; nothing if there is none or it was removed.
    pub async fn payload_of<F: Facts>(
        &self,
        position: u64,
    ) -> Result<Option<F::Payload>, AppError> {
        match self.log.payload(position).await? {
            Some(bytes) => Ok(Some(decode_payload::<F>(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The id of the one command that `key` stands for; without one, an id that no other command has.
    pub fn command_id(&self, key: Option<&UniqueKey>) -> CommandId {
        key.map_or_else(|| self.new_command_id(), UniqueKey::command_id)
    }

    /// A command id that no other command has.
    pub fn new_command_id(&self) -> CommandId {
        CommandId(self.entropy.uuid_v7(self.clock.now()))
    }

    /// The id of a job that is about to be asked for.
    pub fn new_job_id(&self) -> JobId {
        JobId(self.entropy.uuid_v7(self.clock.now()))
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

    /// The one place of a job's state. A place in use is never given up: a second one beside it would
    /// not see what is being appended.
    fn slot(&self, job: JobId) -> Arc<tokio::sync::Mutex<JobState>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(states.get_or_insert(job, Arc::default));
        while states.len() > self.most_states.get() {
            let idle = |slot: &Arc<_>| Arc::strong_count(slot) == 1;
            let oldest = states.iter().rev().find(|(_, slot)| idle(slot)).map(|(job, _)| *job);
            let Some(oldest) = oldest else { break };
            states.pop(&oldest);
        }
        slot
    }

    /// Folds what the log has beyond `state`.
    async fn catch_up(&self, job: JobId, state: &mut JobState) -> Result<(), AppError> {
        if self.is_sole_writer && state.version > 0 {
            return Ok(());
        }
        for told in self.events(job, state.version).await? {
            state.evolve(&told.event);
        }
        Ok(())
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

fn told(recorded: Recorded) -> Result<Told, DecodeError> {
    let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts)?;
    Ok(Told { recorded, event })
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
