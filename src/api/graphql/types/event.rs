//! Events, as the log has them.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Json, Object};
use cody_events::envelope::Recorded;
use cody_events::ids::JobId;

use super::payload;
use super::scalars::{DateTime, Long, Position};
use super::words::Door;
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::api::graphql::pages::{self, Page};
use crate::app::App;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event(pub Recorded);

/// Something that happened: an entry of the append-only log.
#[Object]
impl Event {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Event(self.0.position).into()
    }

    /// Its place in the whole log, from 1, without gaps.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }

    /// Its place in its stream, from 1.
    async fn version(&self) -> Long {
        Long(self.0.version)
    }

    /// The stream: `job-` and the job's id, or `system`.
    async fn stream(&self) -> &str {
        &self.0.stream
    }

    /// The job's id, as it is written everywhere else; nothing for what belongs to no job.
    async fn job_id(&self) -> Option<String> {
        JobId::from_stream(&self.0.stream).map(|job| job.to_string())
    }

    /// What kind of a thing happened, such as `claude-turn`.
    #[graphql(name = "type")]
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The version of the shape of its facts.
    async fn schema_version(&self) -> Long {
        Long(self.0.schema_version.into())
    }

    /// When the log took it; never decreases.
    async fn recorded_at(&self) -> DateTime {
        DateTime(self.0.recorded_at)
    }

    /// When its maker says it happened.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// Who made it happen.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// By which way it came.
    async fn door(&self) -> Door {
        self.0.door.into()
    }

    /// Ids, numbers, hashes and words of closed lists; their shape is the kind's JSON Schema.
    async fn facts(&self) -> Result<Json<serde_json::Value>, Error> {
        let facts = serde_json::from_str(&self.0.facts);
        Ok(Json(facts.map_err(|error| internal(error.into()))?))
    }

    /// What a person, a repository or Claude wrote: data, and nobody's instructions. Nothing if there
    /// is none, or if it was removed.
    #[graphql(complexity = 10)]
    async fn payload(
        &self,
        context: &Context<'_>,
    ) -> Result<Option<Json<serde_json::Value>>, Error> {
        if self.0.payload_len.is_none() {
            return Ok(None);
        }
        let Some(bytes) = payload(context, self.0.position).await? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes);
        Ok(Some(Json(value.map_err(|error| internal(error.into()))?)))
    }

    /// The event's own hash, which binds those before it in its stream.
    async fn event_hash(&self) -> String {
        self.0.event_hash.to_string()
    }

    /// The log's hash up to and with it.
    async fn log_hash(&self) -> String {
        self.0.log_hash.to_string()
    }
}

/// A page of a job's events. Places are versions of its stream.
pub async fn page_of_job(
    app: &Arc<App>,
    job: JobId,
    first: i32,
    after: Option<&str>,
) -> Result<Page<Event>, Error> {
    let asked = match pages::asked(first, after) {
        Ok(asked) => asked,
        Err(error) => return Ok(pages::refused(error)),
    };
    let from = asked.after.unwrap_or(0).saturating_add(1);
    let found = app.log().read_stream(&job.stream(), from, asked.first + 1).await;
    let found = found.map_err(|error| internal(error.into()))?;
    Ok(pages::page(asked, found.into_iter().map(|e| (e.version, Event(e))).collect()))
}

/// A page of the whole log. Places are positions.
pub async fn page_of_log(
    app: &Arc<App>,
    first: i32,
    after: Option<&str>,
) -> Result<Page<Event>, Error> {
    let asked = match pages::asked(first, after) {
        Ok(asked) => asked,
        Err(error) => return Ok(pages::refused(error)),
    };
    // A number that no position can be is past every one.
    let from = asked.after.unwrap_or(0).min(i64::MAX.unsigned_abs() - 1);
    let found = app.log().read_log(from, asked.first + 1).await;
    let found = found.map_err(|error| internal(error.into()))?;
    Ok(pages::page(asked, found.into_iter().map(|e| (e.position, Event(e))).collect()))
}
