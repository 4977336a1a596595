//! Who carries out what a person wants: the server that was named, or that holds the data directory if
//! one runs, else this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_events::envelope::Door;
use cody_events::ids::JobId;

use super::Context;
use super::client::Client;
use super::reading::{self, JobReader, ReadJob, Reading};
use crate::api::control::{Control, Done, Wish};
use crate::app::{App, AppError, Asker};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::git::PackStore;
use crate::intake::Intake;
use crate::job::JobState;
use crate::job::state::Target;
use crate::plan::JobRequest;
use crate::serve::{ADDRESS_FILE, STATES, ServeError, Server};
use crate::store::lock::LockError;
use crate::store::sqlite::OpenError;
use crate::store::{Log, LogError, SqliteLog};
use crate::wire::ServerAddress;

/// How long a server may take to accept a connection; one on this machine takes no time.
const KNOCK: Duration = Duration::from_secs(2);
/// How long a server may take to start again, or to say where it listens.
const RESTART: Duration = Duration::from_secs(5);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(150);
/// How often one that is not on this machine is asked how a job goes.
const FAR_LOOK: Duration = Duration::from_millis(700);
/// How long a server that is not on this machine is left alone when it does not answer.
const FAR_PAUSE: Duration = Duration::from_secs(3);

/// A server that runs on this machine, as another process.
#[derive(Debug)]
pub struct Neighbour {
    address: ServerAddress,
    pub client: Client,
    data_dir: PathBuf,
}

/// The server that does a job's work: inside this process, beside it, or where it was said to be.
pub enum Desk {
    Own(Box<Server>),
    Other(Neighbour),
    Far(Arc<Client>),
}

/// The wish for a new job.
pub fn create(request: JobRequest) -> Wish {
    let job = JobId(SystemEntropy.uuid_v7(SystemClock.now()));
    Wish::Create { job, request: Box::new(request) }
}

/// Carries out `wish` and starts no work for it: without a server, only the log hears of it.
pub async fn record(context: &Context, wish: Wish) -> Result<Done, anyhow::Error> {
    if let Some(client) = &context.far {
        return client.ask(wish).await;
    }
    let config = &context.config;
    match Neighbour::find(&config.data_dir).await {
        Some(server) => server.client.ask(wish).await,
        None => Ok(control(config)?.carry_out(wish, &person()).await.map_err(plain)?),
    }
}

/// Whether targets of `job` have no worker and no outcome, and may be worked on.
pub async fn has_waiting(context: &Context, job: JobId) -> Result<bool, anyhow::Error> {
    let state = Reading::open(context).await?.app.state(job).await?;
    let job = state.job.as_ref();
    Ok(job.is_some_and(|job| {
        let is_waiting = |target: &Target| target.outcome.is_none() && target.request.is_none();
        job.targets.values().any(is_waiting)
    }))
}

/// What carries out wishes in this process, over the log alone.
fn control(config: &Config) -> Result<Control, anyhow::Error> {
    let models = Arc::new(crate::serve::models(config)?);
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(
        &config.data_dir,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    )?);
    let app = Arc::new(App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES));
    let packs = PackStore::new(config.data_dir.join("packs"));
    let intake = Arc::new(Intake::new(
        Arc::clone(&app),
        packs,
        &config.tree,
        crate::serve::known_secrets(config),
    ));
    let planning = crate::serve::planning(config, models);
    Ok(Control { app, intake, planning })
}

/// A rejection stays one, so that it is told with its code.
fn plain(error: crate::api::control::ControlError) -> anyhow::Error {
    match error.rejection() {
        Some(no) => no.clone().into(),
        None => error.into(),
    }
}

impl Neighbour {
    /// The server that holds `data_dir`, if one answers.
    pub async fn find(data_dir: &Path) -> Option<Self> {
        let text = tokio::fs::read_to_string(data_dir.join(ADDRESS_FILE)).await.ok()?;
        let address: ServerAddress = serde_json::from_str(&text).ok()?;
        if !is_alive(&address) {
            return None;
        }
        let place = address.url.strip_prefix("http://")?.to_owned();
        let knock = tokio::time::timeout(KNOCK, tokio::net::TcpStream::connect(place)).await;
        knock.ok()?.ok()?;
        let client = Client::new(&address.url, address.token.clone()).ok()?;
        Some(Self { address, client, data_dir: data_dir.to_owned() })
    }

    /// Whether it stays until it is stopped, and does not end with a job of its own.
    pub fn stays(&self) -> bool {
        self.address.stays
    }

    /// Whether its process is there.
    pub fn is_alive(&self) -> bool {
        is_alive(&self.address)
    }
}

/// Whether the very process that left `address` is there, and not another with its pid.
fn is_alive(address: &ServerAddress) -> bool {
    crate::wire::process_start(address.pid) == Some(address.process_start)
}

impl Desk {
    /// The server that was named, or that holds the data directory, or one inside this process.
    pub async fn open(context: &Context) -> Result<Self, anyhow::Error> {
        if let Some(client) = &context.far {
            return Ok(Self::Far(Arc::clone(client)));
        }
        let config = &context.config;
        match Neighbour::find(&config.data_dir).await {
            Some(server) => Ok(Self::Other(server)),
            None => {
                crate::serve::keep_scratch_in(&config.data_dir);
                Ok(Self::Own(Box::new(Server::start(config, None).await?)))
            }
        }
    }

    /// Carries out `wish`, and takes care of its job from then on.
    pub async fn ask(&self, wish: Wish) -> Result<Done, anyhow::Error> {
        match self {
            Self::Other(server) => server.client.ask(wish).await,
            Self::Far(client) => client.ask(wish).await,
            Self::Own(server) => {
                let done = server.control.carry_out(wish, &person()).await.map_err(plain)?;
                server.dispatcher.take(done.job);
                Ok(done)
            }
        }
    }

    /// Asks `wish` of whoever does the work now that the server of this desk is gone: the one that took
    /// its place, or else this process.
    pub async fn succeed(
        &self,
        context: &Context,
        wish: Wish,
    ) -> Result<(Self, Done), anyhow::Error> {
        // One that stays is likely to be started again by whoever runs it.
        let patience = match self {
            Self::Other(server) if server.stays() => RESTART,
            Self::Other(_) | Self::Own(_) | Self::Far(_) => Duration::ZERO,
        };
        let started = Instant::now();
        loop {
            let is_late = started.elapsed() >= patience;
            if is_late || Neighbour::find(&context.config.data_dir).await.is_some() {
                match Self::open(context).await {
                    Ok(desk) => {
                        let done = desk.ask(wish).await?;
                        return Ok((desk, done));
                    }
                    // Another was quicker, and is about to say where it listens.
                    Err(error) if is_held(&error) && started.elapsed() < patience + RESTART => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What asks the server over HTTP, also one inside this process.
    pub async fn client(&self, context: &Context) -> Result<Client, anyhow::Error> {
        match self {
            Self::Far(client) => Ok(Client::clone(client)),
            Self::Other(server) => Ok(server.client.clone()),
            Self::Own(_) => match Neighbour::find(&context.config.data_dir).await {
                Some(own) => Ok(own.client),
                None => anyhow::bail!("the server inside this process does not answer"),
            },
        }
    }

    /// Whether the server that does the work is there. One that is not on this machine may come back.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Own(_) | Self::Far(_) => true,
            Self::Other(server) => server.is_alive(),
        }
    }

    /// How many jobs beside `job` are at work in this process.
    pub fn others_than(&self, job: JobId) -> usize {
        match self {
            Self::Own(server) => {
                server.dispatcher.busy_jobs().into_iter().filter(|other| *other != job).count()
            }
            Self::Other(_) | Self::Far(_) => 0,
        }
    }

    /// What reads the log's present state.
    pub async fn eyes(&self) -> Result<Eyes<'_>, anyhow::Error> {
        Ok(match self {
            Self::Own(server) => Eyes::Own(server),
            Self::Other(server) => Eyes::Other(Box::new(Reading::here(&server.data_dir).await?)),
            Self::Far(client) => Eyes::Far(Box::new(Reading::far(Arc::clone(client)))),
        })
    }

    /// Whether a worker of `job` may still be alive; another server's are not ours to wait for.
    pub fn has_workers(&self, job: JobId) -> bool {
        match self {
            Self::Own(server) => server.dispatcher.has_workers(job),
            Self::Other(_) | Self::Far(_) => false,
        }
    }

    /// The whole story of `job`, with everything that happened until now.
    pub async fn read(&self, job: JobId) -> Result<(ReadJob, Arc<App>), anyhow::Error> {
        match self {
            Self::Own(server) => {
                let head = server.app.log().head().await?.position;
                if !server.views.at_least(head).await {
                    tracing::warn!("the views are behind the log; what follows may not be all");
                }
                let (app, views) = (Arc::clone(&server.app), Arc::clone(&server.views));
                let read = JobReader { app, views }.read(job).await.map_err(reading::plain)?;
                Ok((read, Arc::clone(&server.app)))
            }
            Self::Other(server) => whole(Reading::here(&server.data_dir).await?, job).await,
            Self::Far(client) => {
                patiently(async || whole(Reading::far(Arc::clone(client)), job).await).await
            }
        }
    }
}

async fn whole(reading: Reading, job: JobId) -> Result<(ReadJob, Arc<App>), anyhow::Error> {
    let read = reading.read(&job.to_string()).await?;
    Ok((read, reading.app))
}

/// Whether another process has the data directory.
fn is_held(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ServeError::Open(OpenError::Lock(LockError::Held { .. }))))
}

/// What follows a job's state.
pub enum Eyes<'a> {
    Own(&'a Server),
    Other(Box<Reading>),
    Far(Box<Reading>),
}

impl Eyes<'_> {
    /// The state of `job` now. A server that is not on this machine, and does not answer, is asked until
    /// it does: it may be on its way back, and the job goes on there.
    pub async fn state(&self, job: JobId) -> Result<JobState, anyhow::Error> {
        match self {
            Self::Own(server) => Ok(server.app.state(job).await?),
            Self::Other(reading) => Ok(reading.app.state(job).await?),
            Self::Far(reading) => patiently(async || Ok(reading.app.state(job).await?)).await,
        }
    }

    /// How long to wait between two looks.
    pub fn pause(&self) -> Duration {
        match self {
            Self::Own(_) | Self::Other(_) => LOOK,
            Self::Far(_) => FAR_LOOK,
        }
    }
}

/// Asks a server again and again for as long as it does not answer.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, anyhow::Error>) -> Result<T, anyhow::Error> {
    let mut is_told = false;
    loop {
        match ask().await {
            Err(error) if let Some(why) = passing(&error) => {
                if !is_told {
                    eprintln!("{why}; trying again until it answers, and Ctrl-C stops watching");
                    is_told = true;
                }
                tokio::time::sleep(FAR_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Why it failed, if another time would do.
fn passing(error: &anyhow::Error) -> Option<String> {
    match error.chain().find_map(|cause| cause.downcast_ref::<AppError>())? {
        // Its own words say what comes next, which is another thing here.
        AppError::Log(LogError::Unavailable(why)) => Some(why.clone()),
        error => error.is_passing().then(|| error.to_string()),
    }
}

/// Whoever sits at this terminal.
pub fn person() -> Asker {
    let name = std::env::var("USER").unwrap_or_else(|_| "person".to_owned());
    Asker { actor: name, door: Door::Cli }
}
