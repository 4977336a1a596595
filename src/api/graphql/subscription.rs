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
use crate::api::news::News;
use crate::api::reading::version_at;
use crate::app::{App, AppError};
use crate::store::{Cursor, LogError};

/// How many events are read of a job's stream at once.
const PAGE: usize = 500;
/// How long a log that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a list of jobs is left as it is after it was told of changes: nobody reads faster, and each
/// look at the log is one for each who follows.
const GATHER: Duration = Duration::from_millis(100);

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
            Some(job) => {
                let news = context.data::<Arc<News>>()?;
                pages_of_job(app, news, job, cursor).await?.boxed()
            }
            None => pages(app, cursor, Duration::ZERO).boxed(),
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

    /// Jobs that something happened to, for lists: one entry a job for whatever came within a tenth of a
    /// second.
    async fn jobs_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Go on after this place; without, from now on.")] after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<JobChange, Error>> + use<>, Error> {
        allowed(context, Scope::Read)?;
        let cursor = start(context, after).await?;
        let pages = pages(Arc::clone(app(context)?), cursor, GATHER);
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

/// Pages of the log after `cursor`, for ever, with a `gap` between two. Whoever is slow holds one page
/// and no more: the next is read when they have taken it.
fn pages(app: Arc<App>, cursor: Cursor, gap: Duration) -> impl Stream<Item = Page> + Send + use<> {
    let followed = app.log().subscribe(cursor);
    futures_util::stream::unfold(Some((followed, Duration::ZERO)), move |state| {
        let app = Arc::clone(&app);
        async move {
            let (mut followed, wait) = state?;
            if !wait.is_zero() {
                app.clock().sleep(wait).await;
            }
            loop {
                match followed.next_page().await {
                    Ok(page) => return Some((Ok(page), Some((followed, gap)))),
                    Err(LogError::Unavailable(_)) => {
                        app.clock().sleep(PAUSE).await;
                    }
                    Err(error) => return Some((Err(internal(AppError::from(error))), None)),
                }
            }
        }
    })
}

/// The same of one job, read from its own stream, and looked for only when there is news of it: who
/// follows a job at which nothing happens costs nothing while things happen elsewhere.
async fn pages_of_job(
    app: Arc<App>,
    news: &News,
    job: JobId,
    cursor: Cursor,
) -> Result<impl Stream<Item = Page> + Send + use<>, Error> {
    // Asked for before the stream is read, so that nothing falls between.
    let news = news.of(job).await.map_err(|error| internal(error.into()))?;
    let known = version_at(&app, job, cursor.position()).await.map_err(internal)?;
    let start = Some((news, known));
    Ok(futures_util::stream::unfold(start, move |state| {
        let app = Arc::clone(&app);
        async move {
            let (mut news, mut version) = state?;
            loop {
                news.mark_unchanged();
                match app.log().read_stream(&job.stream(), version + 1, PAGE).await {
                    Ok(mut page) => {
                        let Some(last) = page.last() else {
                            // Its sender is gone with the server alone.
                            news.changed().await.ok()?;
                            continue;
                        };
                        version = last.version;
                        page.retain(|event| event.position > cursor.position());
                        if !page.is_empty() {
                            return Some((Ok(page), Some((news, version))));
                        }
                    }
                    Err(LogError::Unavailable(_)) => app.clock().sleep(PAUSE).await,
                    Err(error) => return Some((Err(internal(AppError::from(error))), None)),
                }
            }
        }
    }))
}

fn no_job() -> Error {
    Error::new("There is no job with this id.")
        .extend_with(|_, extensions| extensions.set("code", "NOT_FOUND"))
}
