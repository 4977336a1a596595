//! The views: what projections make of the log, kept up to date and rebuilt beside the current build.
//!
//! Each build is a file of its own, `views-<n>.db`; a row in the log's file names the current one.
//! Readers take the build that is current when they ask and keep it until they are done, so a switch
//! stops nobody. Everything here can be deleted: it is made again from the log.

mod build;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cody_events::envelope::Recorded;
use cody_projections::build::{ApplyError, Checkpoint, Quarantined};
use rusqlite::Connection;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::side::SideTables;
use super::subscription::Cursor;
use super::{Log, LogError};
use build::Build;

/// The longest that a reader waits for its own write to become visible.
pub const MAX_WAIT: Duration = Duration::from_secs(2);
/// Events that are applied together while a build is made.
const MAKING_PAGE: usize = 2_000;
/// How long the follower waits after a failure before it tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why views cannot be read or brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the views cannot be read; delete {} to have them made again", path.display())]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the views in {} cannot be brought up to date", path.display())]
    Apply {
        path: PathBuf,
        #[source]
        source: ApplyError,
    },
    #[error("the disk did not do what the views in {} need", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the reader of the views was stopped")]
    Stopped,
}

/// The current build of the views, and what keeps it current. Dropping it stops that.
#[derive(Debug)]
pub struct Views {
    shared: Arc<Shared>,
    /// Nothing if the views were opened for reading only.
    follower: Option<JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    log: Arc<dyn Log>,
    side: Arc<dyn SideTables>,
    current: RwLock<Arc<Build>>,
    /// Held while a page is applied to the current build, and while another takes its place.
    turn: Mutex<()>,
    /// Held by the one rebuild that may go on at a time.
    rebuilding: Mutex<()>,
    reached: watch::Sender<u64>,
}

impl Views {
    /// Opens the current build in `dir`, brings it up to date, and follows `log` from there on. A build
    /// that is missing, or was made by other projections or from another log, is made again first.
    pub async fn open(
        dir: &Path,
        log: Arc<dyn Log>,
        side: Arc<dyn SideTables>,
    ) -> Result<Self, ViewsError> {
        let generation = side.views_generation().await?;
        let path = build_path(dir, generation);
        let found = match path.exists() {
            true => usable(Build::open(&path, generation), &*log).await?,
            false => None,
        };
        let build = match found {
            Some(build) => {
                let build = Arc::new(build);
                catch_up(&build, &*log).await?;
                build
            }
            None => {
                let build = make(dir, generation + 1, &*log).await?;
                side.switch_views(generation + 1).await?;
                build
            }
        };
        remove_others(dir, build.generation)?;
        let shared = Arc::new(Shared::new(dir, log, side, build)?);
        let follower = tokio::spawn(Arc::clone(&shared).follow());
        Ok(Self { shared, follower: Some(follower) })
    }

    /// Opens the views as they follow from all that `log` has now, without writing anything: the
    /// current build if it is up to date, else a copy in memory that is brought up to date.
    pub async fn open_to_read(
        dir: &Path,
        log: Arc<dyn Log>,
        side: Arc<dyn SideTables>,
    ) -> Result<Self, ViewsError> {
        let generation = side.views_generation().await?;
        let path = build_path(dir, generation);
        let found = usable(Build::open_to_read(&path, generation), &*log).await.unwrap_or(None);
        let head = log.head().await?.position;
        let build = match found {
            Some(build) if build.checkpoint()?.position >= head => Arc::new(build),
            found => {
                let copy = Arc::new(match found {
                    Some(build) => build.copy_to_memory()?,
                    None => Build::in_memory()?,
                });
                catch_up(&copy, &*log).await?;
                copy
            }
        };
        Ok(Self { shared: Arc::new(Shared::new(dir, log, side, build)?), follower: None })
    }

    /// Asks the current build.
    pub async fn read<R, W>(&self, work: W) -> Result<R, ViewsError>
    where
        R: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    {
        let build = self.shared.current();
        tokio::task::spawn_blocking(move || build.read(work))
            .await
            .map_err(|_| ViewsError::Stopped)?
    }

    /// Waits until what stands at `position` is visible, for at most [`MAX_WAIT`]; tells whether it is.
    pub async fn at_least(&self, position: u64) -> bool {
        let mut reached = self.shared.reached.subscribe();
        let waited = tokio::time::timeout(MAX_WAIT, reached.wait_for(|now| *now >= position));
        matches!(waited.await, Ok(Ok(_)))
    }

    /// How far along the log the views are.
    pub fn position(&self) -> u64 {
        *self.shared.reached.borrow()
    }

    /// The jobs that a projection could not follow.
    pub async fn quarantined(&self) -> Result<Vec<Quarantined>, ViewsError> {
        self.read(cody_projections::build::quarantined).await
    }

    /// Makes every view again from the whole log, beside the current build, and switches to it.
    /// Readers and the follower go on meanwhile. Answers the new build's number.
    pub async fn rebuild(&self) -> Result<u64, ViewsError> {
        self.shared.rebuild().await
    }

    /// Ends the following, and with it the hold on the log.
    pub async fn close(mut self) {
        if let Some(follower) = self.follower.take() {
            follower.abort();
            // It was just told to end, so that is what it says.
            let _ = follower.await;
        }
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

impl Shared {
    fn new(
        dir: &Path,
        log: Arc<dyn Log>,
        side: Arc<dyn SideTables>,
        build: Arc<Build>,
    ) -> Result<Self, ViewsError> {
        let (reached, _) = watch::channel(build.checkpoint()?.position);
        Ok(Self {
            dir: dir.to_owned(),
            log,
            side,
            current: RwLock::new(build),
            turn: Mutex::default(),
            rebuilding: Mutex::default(),
            reached,
        })
    }

    fn current(&self) -> Arc<Build> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies what the log has and what comes, for ever.
    async fn follow(self: Arc<Self>) {
        loop {
            let Err(error) = self.follow_until_failure().await;
            match error {
                ViewsError::Apply { source: ApplyError::OtherLog { .. }, .. } => {
                    tracing::warn!(%error, "the views are made again");
                    if let Err(error) = self.rebuild().await {
                        tracing::error!(%error, "the views could not be made again");
                    }
                }
                error => tracing::error!(%error, "the views do not move; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow_until_failure(&self) -> Result<std::convert::Infallible, ViewsError> {
        let checkpoint = self.current().checkpoint()?;
        let mut pages = self.log.subscribe(Cursor::after(checkpoint.position));
        loop {
            let page = pages.next_page().await?;
            let _turn = self.turn.lock().await;
            let reached = apply(&self.current(), page).await?;
            self.reached.send_replace(reached.position);
        }
    }

    async fn rebuild(&self) -> Result<u64, ViewsError> {
        let _only = self.rebuilding.lock().await;
        let generation = self.side.views_generation().await? + 1;
        let build = make(&self.dir, generation, &*self.log).await?;
        // From here on the current build stands still, so that the new one is never behind it.
        let _turn = self.turn.lock().await;
        let reached = catch_up(&build, &*self.log).await?;
        self.side.switch_views(generation).await?;
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, build)
        };
        old.supersede();
        self.reached.send_replace(reached.position);
        Ok(generation)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("current", &self.current).finish_non_exhaustive()
    }
}

/// A new build that has all that the log had when it was made.
async fn make(dir: &Path, generation: u64, log: &dyn Log) -> Result<Arc<Build>, ViewsError> {
    let path = build_path(dir, generation);
    build::remove(&path)?;
    let build = Arc::new(Build::create(&path, generation)?);
    catch_up(&build, log).await?;
    build.settle()?;
    Ok(build)
}

/// Applies one page, on a thread that may take its time.
async fn apply(build: &Arc<Build>, page: Vec<Recorded>) -> Result<Checkpoint, ViewsError> {
    let build = Arc::clone(build);
    tokio::task::spawn_blocking(move || build.apply(&page))
        .await
        .map_err(|_| ViewsError::Stopped)?
}

/// Applies pages of the log until there are no more.
async fn catch_up(build: &Arc<Build>, log: &dyn Log) -> Result<Checkpoint, ViewsError> {
    let mut reached = build.checkpoint()?;
    loop {
        let page = log.read_log(reached.position, MAKING_PAGE).await?;
        if page.is_empty() {
            return Ok(reached);
        }
        reached = apply(build, page).await?;
    }
}

/// The build, if today's projections made it from this very log.
async fn usable(
    opened: Result<Build, ViewsError>,
    log: &dyn Log,
) -> Result<Option<Build>, ViewsError> {
    let Ok(build) = opened else { return Ok(None) };
    if !build.is_current() {
        return Ok(None);
    }
    let Ok(checkpoint) = build.checkpoint() else { return Ok(None) };
    if checkpoint.position == 0 {
        return Ok(Some(build));
    }
    let there = log.read_log(checkpoint.position - 1, 1).await?;
    let fits = there.first().is_some_and(|event| {
        event.position == checkpoint.position && event.log_hash == checkpoint.log_hash
    });
    Ok(fits.then_some(build))
}

fn build_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("views-{generation}.db"))
}

/// Removes builds that are not the current one: a rebuild that was cut short, or one just replaced.
fn remove_others(dir: &Path, generation: u64) -> Result<(), ViewsError> {
    let failed = |source| ViewsError::Io { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("views-"))
            .and_then(|rest| rest.split_once(".db"))
            .and_then(|(number, _)| number.parse::<u64>().ok());
        if let Some(other) = number.filter(|number| *number != generation) {
            build::remove(&build_path(dir, other))?;
        }
    }
    Ok(())
}
