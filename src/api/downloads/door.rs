//! The door to downloads: who may have one, whether it is there, and how it is made and sent.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};
use cody_projections::diffs::{self, DiffRow};
use cody_projections::threads;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Label, Share, refuse};
use super::flow::Flow;
use super::links::Links;
use super::ndjson::{self, Extract};
use super::outlet::Outlet;
use super::spool::{Spool, Spooled};
use super::thread::{self, Talk};
use super::{
    Asked, Download, DownloadError, Gate, archive, download, patch, refuse_bad, refuse_error,
    report,
};
use crate::api::reading::{Glance, JobReader, NoJob, ReadError};
use crate::app::{App, AppError};

/// Downloads that are made at once; further ones wait.
const MAKING: usize = 4;
/// Bodies that are sent at once and are more than a few pieces; further ones are refused.
const SENDING: usize = 64;

/// What the door needs.
#[derive(Clone)]
pub struct DownloadDoor {
    reader: JobReader,
    gate: Arc<dyn Gate>,
    links: Arc<Links>,
    making: Arc<Semaphore>,
    sending: Arc<Semaphore>,
}

impl std::fmt::Debug for DownloadDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadDoor").finish_non_exhaustive()
    }
}

/// The routes of [`Download`].
pub fn router(door: DownloadDoor) -> Router {
    let give = || get(give);
    let routes = download::ROUTES.iter();
    routes.fold(Router::new(), |router, path| router.route(path, give())).with_state(door)
}

async fn give(
    State(door): State<DownloadDoor>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let asked = Asked::parse(uri.path(), uri.query().unwrap_or_default());
    // Who may not read does not learn whether what is asked for makes sense.
    if let Err(no) = door.admit(&method, &headers, asked.as_ref().ok()).await {
        return no;
    }
    let given = match asked {
        Ok(asked) => door.give(&method, &headers, asked.download).await,
        Err(bad) => return refuse_bad(&bad),
    };
    given.unwrap_or_else(|error| refuse_error(&error))
}

/// A download, and what is said of it.
struct Found {
    download: Download,
    glance: Glance,
    label: Label,
    /// The version at which events end.
    until: u64,
    /// Where the patch stands.
    patch: Option<u64>,
}

impl DownloadDoor {
    /// A door to the jobs of `reader`, for those whom `gate` lets through and those with one of `links`.
    pub fn new(reader: JobReader, gate: Arc<dyn Gate>, links: Arc<Links>) -> Self {
        let (making, sending) = (Semaphore::new(MAKING), Semaphore::new(SENDING));
        Self { reader, gate, links, making: Arc::new(making), sending: Arc::new(sending) }
    }

    async fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        asked: Option<&Asked>,
    ) -> Result<(), Response> {
        let Some((secret, asked)) = asked.and_then(|asked| Some((asked.link.as_ref()?, asked)))
        else {
            return self.gate.may_read(headers).await;
        };
        let is_good = match *method == Method::HEAD {
            true => self.links.is_good(secret, &asked.download),
            false => self.links.redeem(secret, &asked.download),
        };
        let message =
            "the link was used, is older than a minute, or is for something else; ask for another";
        match is_good {
            true => Ok(()),
            false => Err(refuse(StatusCode::FORBIDDEN, "link-unknown", message.to_owned())),
        }
    }

    async fn give(
        &self,
        method: &Method,
        headers: &HeaderMap,
        download: Download,
    ) -> Result<Response, DownloadError> {
        let found = self.find(download).await?;
        if found.label.is_known(headers) {
            return Ok(found.label.known());
        }
        let is_head = *method == Method::HEAD;
        if let Download::Events { job, after, payloads } = found.download {
            let extract = Extract { job, after, until: found.until, payloads };
            let body = if is_head { unknown_length() } else { self.flow_events(extract)? };
            return Ok(found.label.with(body, &Share::Whole, None));
        }
        let label = found.label.clone();
        let made = {
            let _turn = self.making.acquire().await.map_err(|_| DownloadError::Busy)?;
            self.make(found).await?
        };
        let length = made.length();
        if is_head {
            return Ok(label.with(Body::empty(), &Share::Whole, Some(length)));
        }
        let share = label.share(headers, length);
        let (start, count) = match &share {
            Share::Whole => (0, length),
            Share::Part(part) => (part.start, part.end - part.start),
            Share::Beyond => return Ok(label.beyond(length)),
        };
        Ok(label.with(self.flow_made(made, start, count)?, &share, Some(length)))
    }

    /// Looks whether `download` is there, and what it is.
    async fn find(&self, download: Download) -> Result<Found, DownloadError> {
        let app = &self.reader.app;
        let head = app.log().head().await.map_err(AppError::from)?.position;
        // What was written before somebody asked is in the answer, unless the views hang.
        self.reader.views.at_least(head).await;
        let glance = self.reader.glance(download.job()).await?;
        let (mut until, mut patch) = (glance.stand.version, None);
        let mut tag = tag_of(&download, &glance.stand.event_hash);
        let file_name = match &download {
            Download::Patch { job, target, diff } => {
                let rows = self.diffs(&glance, *job, *target).await?;
                let (name, row) = patch_of(&glance, &rows, *target, *diff)
                    .ok_or(DownloadError::NoDiff { job: *job, target: *target })?;
                (patch, tag) = (Some(row.position), row.diff_hash);
                name
            }
            Download::Events { job, .. } => {
                until = ndjson::end(app, *job, until).await?;
                let last = app.log().read_stream(&job.stream(), until, 1).await;
                let last = last.map_err(AppError::from)?;
                let hash = last.first().map_or(glance.stand.event_hash, |last| last.event_hash);
                tag = tag_of(&download, &hash);
                format!("job-{job}-events.ndjson")
            }
            Download::ThreadMarkdown { job, target, thread } => {
                self.check_thread(&glance, *job, *target, *thread).await?;
                format!("job-{job}-{target}-thread.md")
            }
            Download::ThreadJson { job, target, thread } => {
                self.check_thread(&glance, *job, *target, *thread).await?;
                format!("job-{job}-{target}-thread.json")
            }
            Download::Archive { job } => format!("job-{job}-diffs.tar.gz"),
            Download::Report { job } => format!("job-{job}-report.md"),
        };
        let has_parts = !matches!(download, Download::Events { .. });
        let content_type = download.content_type();
        let label = Label { content_type, file_name, tag, has_parts };
        Ok(Found { download, glance, label, until, patch })
    }

    async fn diffs(
        &self,
        glance: &Glance,
        job: JobId,
        target: TargetNumber,
    ) -> Result<Vec<DiffRow>, DownloadError> {
        repository_of(glance, target)?;
        let rows = self.reader.views.read(move |views| diffs::of_job(views, job)).await;
        Ok(rows.map_err(ReadError::from)?)
    }

    async fn check_thread(
        &self,
        glance: &Glance,
        job: JobId,
        target: TargetNumber,
        thread: Option<ThreadNumber>,
    ) -> Result<(), DownloadError> {
        repository_of(glance, target)?;
        let Some(thread) = thread else { return Ok(()) };
        let rows = self.reader.views.read(move |views| threads::of_target(views, job, target));
        let rows = rows.await.map_err(ReadError::from)?;
        match rows.iter().any(|row| row.thread == thread) {
            true => Ok(()),
            false => Err(DownloadError::NoThread { job, target, thread }),
        }
    }

    /// Makes the whole of what was found.
    async fn make(&self, found: Found) -> Result<Spooled, DownloadError> {
        let app = &self.reader.app;
        let mut out = Spool::new();
        match found.download {
            Download::Patch { job, target, .. } => {
                let position = found.patch.ok_or(DownloadError::NoDiff { job, target })?;
                let bytes = patch::bytes(app, job, position).await?;
                out.put(&bytes).await.map_err(DownloadError::Write)?;
            }
            Download::Archive { .. } => {
                archive::write(app, &self.reader.read_at(found.glance).await?, &mut out).await?;
            }
            Download::Report { .. } => {
                report::write(app, &self.reader.read_at(found.glance).await?, &mut out).await?;
            }
            Download::ThreadMarkdown { job, target, thread } => {
                let (repository, until) = (repository_of(&found.glance, target)?, found.until);
                let talk = Talk { job, target, repository, thread, until };
                thread::write_markdown(app, talk, &mut out).await?;
            }
            Download::ThreadJson { job, target, thread } => {
                let (repository, until) = (repository_of(&found.glance, target)?, found.until);
                let talk = Talk { job, target, repository, thread, until };
                thread::write_json(app, talk, &mut out).await?;
            }
            Download::Events { job, after, payloads } => {
                let extract = Extract { job, after, until: found.until, payloads };
                ndjson::write(app, extract, &mut out).await?;
            }
        }
        out.finish().await.map_err(DownloadError::Write)
    }

    /// The events of `extract` as a body that is made while it is read.
    fn flow_events(&self, extract: Extract) -> Result<Body, DownloadError> {
        let place = self.place_to_send()?;
        let app = Arc::clone(&self.reader.app);
        let (mut flow, body) = Flow::new(Arc::clone(&app));
        tokio::spawn(async move {
            let written = ndjson::write(&app, extract, &mut flow).await;
            flow.end(written).await;
            drop(place);
        });
        Ok(body)
    }

    /// A part of what was made as a body.
    fn flow_made(&self, made: Spooled, start: u64, count: u64) -> Result<Body, DownloadError> {
        let app: &Arc<App> = &self.reader.app;
        if let Spooled::Memory(bytes) = &made {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(Body::from(bytes.slice(index(start)..index(start.saturating_add(count)))));
        }
        let place = self.place_to_send()?;
        let (mut flow, body) = Flow::new(Arc::clone(app));
        tokio::spawn(async move {
            let copied = made.copy(start, count, &mut flow).await;
            flow.end(copied).await;
            drop(place);
        });
        Ok(body)
    }

    fn place_to_send(&self) -> Result<OwnedSemaphorePermit, DownloadError> {
        Arc::clone(&self.sending).try_acquire_owned().map_err(|_| DownloadError::Busy)
    }
}

/// No bytes, of a body whose length nobody knows.
fn unknown_length() -> Body {
    Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>())
}

/// The tag of what follows from a job up to the event with this hash, by this version of the program.
fn tag_of(download: &Download, event_hash: &Sha256) -> Sha256 {
    let version = env!("CARGO_PKG_VERSION");
    Sha256::of(
        format!("cody-batch/download/1\n{version}\n{event_hash}\n{}", download.path()).as_bytes(),
    )
}

/// What the target's repository is called.
fn repository_of(glance: &Glance, target: TargetNumber) -> Result<&str, DownloadError> {
    let targets = &glance.overview.targets;
    let found = targets.iter().find(|one| one.target.target == target);
    let no =
        || NoJob::NoTarget { job: glance.overview.job.job, number: target.0, count: targets.len() };
    let found = found.ok_or_else(|| DownloadError::Read(no().into()))?;
    Ok(&found.target.repository)
}

/// The target's latest diff or the one with this hash, and what its file is called.
fn patch_of<'a>(
    glance: &Glance,
    rows: &'a [DiffRow],
    target: TargetNumber,
    hash: Option<Sha256>,
) -> Option<(String, &'a DiffRow)> {
    let latest = |target| rows.iter().rev().find(|row| row.target == target);
    let row = match hash {
        None => latest(target)?,
        Some(hash) => {
            rows.iter().rev().find(|row| row.target == target && row.diff_hash == hash)?
        }
    };
    // Among those that have a patch, as `run --out` calls it; an empty one has a name here as well.
    let has_patch =
        |number| number == target || latest(number).is_some_and(|row: &DiffRow| row.byte_count > 0);
    let targets = glance.overview.targets.iter().map(|one| &one.target);
    let targets = targets.filter(|one| has_patch(one.target));
    let mut names = patch::names(targets.map(|one| (one.target, one.repository.as_str())));
    let name = names.remove(&target)?;
    let is_latest = latest(target).is_some_and(|latest| latest.diff_hash == row.diff_hash);
    let stem = name.strip_suffix(".patch").unwrap_or(&name);
    let hash = row.diff_hash.to_string();
    let short = hash.get(..12).unwrap_or(&hash);
    Some((if is_latest { name } else { format!("{stem}-{short}.patch") }, row))
}
