//! What can be followed: events as they come, after those that were there.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Error, ErrorExtensions as _, ID, SimpleObject, Subscription as Root};
use cody_events::envelope::Recorded;
use cody_events::ids::JobId;
use cody_events::system::Scope;
use futures_util::{Stream, StreamExt as _};

use super::errors::internal;
use super::ids::GlobalId;
use super::live::ResumeAfter;
use super::services::{allowed, app};
use super::types::event::Event;
use super::types::scalars::Position;
use crate::app::{App, AppError};
use crate::store::{Cursor, LogError, Subscription as Followed};

/// How many events are read of a job's stream at once.
const PAGE: usize = 500;
/// How long a log that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Events that were read together.
type Page = Result<Vec<Recorded>, Error>;

/// What can be followed.
#[derive(Debug)]
pub struct Subscription;

/// A job that something happened to.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobChange {
    /// The job's id.
    pub job_id: String,
    /// The latest thing that happened to it; go on after it.
    pub position: Position,
}

/// What can be followed. A broken connection loses nothing: subscribe again with `after` at the last
/// position that came.
#[Root]
impl Subscription {
    /// The events of a job, or of all: first those after `after` that are there, then each as it is
    /// recorded; in order, none twice, none left out.
    async fn job_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job's id; without, every job.")] job_id: Option<ID>,
        #[graphql(desc = "Go on after this place; without, from now on; \"0\" is the beginning.")]
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<Event, Error>> + use<>, Error> {
        let caller = allowed(context, Scope::Read)?;
        let sees_all = caller.scopes.allows(Scope::Admin);
        let job = match job_id {
            None => None,
            Some(id) => Some(GlobalId::job(&id).ok_or_else(no_job)?),
        };
        let cursor = start(context, after).await?;
        let app = Arc::clone(app(context)?);
        let pages = match job {
            Some(job) => pages_of_job(app, job, cursor).await?.boxed(),
            None => pages(app, cursor).boxed(),
        };
        let is_seen = move |event: &Recorded| match job {
            Some(_) => true,
            // What belongs to no job is for admins.
            None => sees_all || JobId::from_stream(&event.stream).is_some(),
        };
        Ok(pages.flat_map(move |page| {
            let wanted: Vec<Result<Event, Error>> = match page {
                Ok(events) => {
                    events.into_iter().filter(is_seen).map(|event| Ok(Event(event))).collect()
                }
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(wanted)
        }))
    }

    /// Jobs that something happened to, for lists: one entry a job for whatever came at once.
    async fn jobs_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Go on after this place; without, from now on.")] after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<JobChange, Error>> + use<>, Error> {
        allowed(context, Scope::Read)?;
        let cursor = start(context, after).await?;
        let pages = pages(Arc::clone(app(context)?), cursor);
        Ok(pages.flat_map(|page| {
            let changes: Vec<Result<JobChange, Error>> = match page {
                Ok(events) => latest(&events).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(changes)
        }))
    }
}

/// The latest event of each job of a page, in their order.
fn latest(events: &[Recorded]) -> Vec<JobChange> {
    let mut last = std::collections::BTreeMap::new();
    for event in events {
        if let Some(job) = JobId::from_stream(&event.stream) {
            last.insert(job, event.position);
        }
    }
    let mut changes: Vec<(u64, JobId)> = last.into_iter().map(|(job, at)| (at, job)).collect();
    changes.sort_unstable();
    let change = |(position, job): (u64, JobId)| JobChange {
        job_id: job.to_string(),
        position: Position(position),
    };
    changes.into_iter().map(change).collect()
}

async fn start(context: &Context<'_>, after: Option<Position>) -> Result<Cursor, Error> {
    // Whoever comes back says where they were.
    let resumed = context.data_opt::<ResumeAfter>().map(|resume| Position(resume.0));
    let after = resumed.or(after);
    let app = app(context)?;
    let head = app.log().head().await.map_err(|error| internal(error.into()))?;
    match after {
        None => Ok(Cursor::after(head.position)),
        Some(Position(after)) if after <= head.position => Ok(Cursor::after(after)),
        Some(_) => Err(Error::new(
            "`after` lies beyond the end of this server's log: it is of another log, or of one that was \
             restored since. Read the job anew, and go on after its `position`.",
        )
        .extend_with(|_, extensions| extensions.set("code", "CURSOR_UNKNOWN"))),
    }
}

/// Pages of the log after `cursor`, for ever. Whoever is slow holds one page and no more: the next is
/// read when they have taken it.
fn pages(app: Arc<App>, cursor: Cursor) -> impl Stream<Item = Page> + Send + use<> {
    let followed = app.log().subscribe(cursor);
    futures_util::stream::unfold(Some(followed), move |followed| {
        let app = Arc::clone(&app);
        async move {
            let mut followed = followed?;
            match next_page(&app, &mut followed).await {
                Ok(page) => Some((Ok(page), Some(followed))),
                Err(error) => Some((Err(internal(AppError::from(error))), None)),
            }
        }
    })
}

/// The same of one job. What is there is read from its own stream, up to where the log ends now; from
/// there on the log is followed. What cannot be read ends it: whatever came later would leave a gap.
async fn pages_of_job(
    app: Arc<App>,
    job: JobId,
    cursor: Cursor,
) -> Result<impl Stream<Item = Page> + Send + use<>, Error> {
    let head = app.log().head().await.map_err(|error| internal(error.into()))?.position;
    let first = match cursor.position() < head {
        true => Place::Known(0),
        // Nothing was recorded since.
        false => Place::Live(app.log().subscribe(cursor)),
    };
    Ok(futures_util::stream::unfold(first, move |place| {
        let app = Arc::clone(&app);
        async move {
            let (read, next) = match place {
                Place::Over => return None,
                Place::Known(version) => {
                    let page = read_known(&app, job, version).await;
                    let last = page.as_ref().ok().and_then(|page| page.last());
                    let next = match last.filter(|last| last.position < head) {
                        Some(last) => Place::Known(last.version),
                        None => Place::Live(app.log().subscribe(Cursor::after(head))),
                    };
                    let is_new = |event: &Recorded| {
                        event.position > cursor.position() && event.position <= head
                    };
                    (page.map(|page| page.into_iter().filter(is_new).collect()), next)
                }
                Place::Live(mut followed) => {
                    let page = next_page(&app, &mut followed).await;
                    (page.map(|page| only_of(&job.stream(), page)), Place::Live(followed))
                }
            };
            let next = if read.is_err() { Place::Over } else { next };
            Some((read.map_err(|error| internal(AppError::from(error))), next))
        }
    }))
}

/// Where a follower of one job stands.
enum Place {
    /// In the job's own stream, after this version.
    Known(u64),
    /// In the log.
    Live(Followed),
    Over,
}

/// A page of a job's stream; waits while the log cannot be read.
async fn read_known(app: &App, job: JobId, version: u64) -> Result<Vec<Recorded>, LogError> {
    loop {
        match app.log().read_stream(&job.stream(), version + 1, PAGE).await {
            Err(LogError::Unavailable(_)) => app.clock().sleep(PAUSE).await,
            read => return read,
        }
    }
}

/// The next page of the log; waits while it cannot be read.
async fn next_page(app: &App, followed: &mut Followed) -> Result<Vec<Recorded>, LogError> {
    loop {
        match followed.next_page().await {
            Err(LogError::Unavailable(_)) => app.clock().sleep(PAUSE).await,
            read => return read,
        }
    }
}

fn only_of(stream: &str, events: Vec<Recorded>) -> Vec<Recorded> {
    events.into_iter().filter(|event| event.stream == stream).collect()
}

fn no_job() -> Error {
    Error::new("There is no job with this id.")
        .extend_with(|_, extensions| extensions.set("code", "NOT_FOUND"))
}
