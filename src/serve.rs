//! Putting the server together: log, rooms, doors, one address. Everything here is wiring; what it
//! wires does not know the other ends.

mod address;
mod options;
mod sockets;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cody_events::event::Draft;
use cody_events::system::EpochOpened;
use cody_projections::costs;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::access::{self, Access, Guard};
use crate::api::control::{self, Control, Reception};
use crate::api::downloads::{self, DownloadDoor, Gate, Links};
use crate::api::graphql::front::GraphqlDoor;
use crate::api::graphql::{self, Services};
use crate::api::health;
use crate::api::listening::Listening;
use crate::api::mcp::{self, McpDoor, Office};
use crate::api::news::News;
use crate::api::operations::{self, OperationsDoor};
use crate::api::reading::{self, JobReader, ReadingDoor};
use crate::api::tls::{self, BadCertificate};
use crate::api::worker::{self, WorkerDoor};
use crate::app::{App, AppError, Asker};
use crate::claude::client::BadClient;
use crate::claude::limiter::Limiter;
use crate::claude::model_file::BadModelFile;
use crate::claude::models::ModelTable;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::converse::Converser;
use crate::dispatch::{Dispatcher, LocalExecutor};
use crate::entropy::{Entropy, SystemEntropy};
use crate::git::{GitError, PackStore};
use crate::intake::Intake;
use crate::pulse::{Pulse, Sources};
use crate::store::leases::Leases;
use crate::store::side::SideTables;
use crate::store::sqlite::OpenError;
use crate::store::views::{Views, ViewsError};
use crate::store::{Cursor, Log, LogError, SqliteLog};

pub use address::ADDRESS_FILE;
use address::leave_address;
use options::{client, dispatch_options, house_rules, issuer};
pub use options::{known_secrets, models, planning, walk_budget, words};
use sockets::Sockets;
pub use sockets::is_beyond;

/// The folder for what the server needs for a moment; emptied at each start.
const SCRATCH: &str = "tmp";
/// Jobs whose state is kept in memory; those at work are fewer.
pub const STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// The longest that one answer of Claude's server may hold everybody back.
const LONGEST_HOLD: Duration = Duration::from_secs(15 * 60);

/// A server at work. Dropping it stops its rooms; workers go on, and find the next server.
#[derive(Debug)]
pub struct Server {
    pub app: Arc<App>,
    pub log: Arc<SqliteLog>,
    pub views: Arc<Views>,
    pub dispatcher: Arc<Dispatcher>,
    pub control: Arc<Control>,
    pub models: Arc<ModelTable>,
    pub access: Arc<Access>,
    /// Where it listens for everybody.
    pub address: SocketAddr,
    /// The same as a URL.
    pub url: String,
    pub pulse: Arc<Pulse>,
    converser: Arc<Converser>,
    /// Cancelled when the server is asked to stop: what is new is turned away, live streams end.
    stopping: CancellationToken,
    address_file: PathBuf,
    rooms: Vec<JoinHandle<()>>,
    listening: Vec<Listening>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Views(#[from] ViewsError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Client(#[from] BadClient),
    #[error(transparent)]
    Models(#[from] BadModelFile),
    #[error("the base URL of Claude is no URL; correct ANTHROPIC_BASE_URL")]
    BaseUrl,
    #[error("no line to an authorization server can be made; `oauth_issuer` asks for one")]
    Issuer(#[source] reqwest::Error),
    #[error(
        "no key for Claude: set ANTHROPIC_API_KEY (https://platform.claude.com shows yours), or see a run without one with `cody-batch demo`"
    )]
    NoKey,
    #[error("the server cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    #[error(
        "the server would listen on {0}, beyond this machine, and has no token, so nobody could use it but whoever finds a way in; make a token first, with `cody-batch token create`, or listen on 127.0.0.1"
    )]
    NoTokens(SocketAddr),
    #[error("{what}: {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Keeps what this process needs for a moment in the data directory, so that the next server finds
/// and removes it if this one dies. Once a process, before its server starts.
pub fn keep_scratch_in(data_dir: &Path) {
    // A second server in one process shares the first one's place.
    let _ = tempfile::env::override_temp_dir(&data_dir.join(SCRATCH));
}

/// Makes `dir`, empty. Only whoever holds the data directory may.
fn clear(dir: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Io {
        what: "the folder for scratch files cannot be made anew",
        path: dir.to_owned(),
        source,
    };
    match crate::sandbox::remove_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        Ok(()) | Err(_) => std::fs::create_dir_all(dir).map_err(failed),
    }
}

impl Server {
    /// Starts a server that stays on `listen`, or one for jobs of this process on a free port.
    pub async fn start(config: &Config, listen: Option<SocketAddr>) -> Result<Self, ServeError> {
        Self::start_at(config, listen, Arc::new(SystemClock)).await
    }

    /// The same, by a clock of the caller's.
    pub async fn start_at(
        config: &Config,
        listen: Option<SocketAddr>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServeError> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        crate::git::isolate()?;
        let models = Arc::new(models(config)?);
        let client = client(config)?;
        let tls = tls::acceptor(&config.access)?;
        let log =
            Arc::new(SqliteLog::open(&config.data_dir, Arc::clone(&clock), Arc::clone(&entropy))?);
        log.open_readers().await?;
        clear(&config.data_dir.join(SCRATCH))?;
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let as_log: Arc<dyn Log> = Arc::<SqliteLog>::clone(&log);
        let news = Cursor::after(log.head().await?.position);
        let views = Views::open(&config.data_dir, Arc::clone(&as_log), Arc::clone(&side)).await?;
        let term = Duration::from_millis(config.dispatch.lease_ms);
        let leases = Arc::new(Leases::new(Arc::clone(&side), Arc::clone(&clock), term));
        let views = Arc::new(views);
        let app = App::new(as_log, clock, Arc::clone(&entropy), STATES);
        let app = Arc::new(app.as_sole_writer().with_views(Arc::clone(&views)));
        let credential = entropy.secret();
        let access =
            Access::open(Arc::clone(&app), Arc::clone(&side), words(config), Some(&credential));
        let access = Arc::new(access.await?.with_issuer(issuer(config)?));
        if let Some(address) = listen.filter(is_beyond)
            && !access.has_live_tokens()
        {
            return Err(ServeError::NoTokens(address));
        }
        open_epoch(&app, &log).await?;
        let packs = PackStore::new(config.data_dir.join("packs"));
        let intake = Arc::new(Intake::new(
            Arc::clone(&app),
            packs.clone(),
            &config.tree,
            known_secrets(config),
        ));
        let limiter = Limiter::new(config.claude.concurrent_calls, LONGEST_HOLD);
        let converser =
            Arc::new(Converser::new(Arc::clone(&app), client, limiter, Arc::clone(&models)));
        let sockets = Sockets::open(listen, tls).await?;
        let (address, url) = (sockets.address, sockets.url());
        let (bound, own_url) = (sockets.bound(), sockets.own_url());
        let address_file = config.data_dir.join(ADDRESS_FILE);
        leave_address(&address_file, &own_url, listen.is_some(), &credential)?;
        let control = Arc::new(Control {
            app: Arc::clone(&app),
            intake: Arc::clone(&intake),
            planning: planning(config, Arc::clone(&models)),
        });
        let door = WorkerDoor {
            app: Arc::clone(&app),
            side: Arc::clone(&side),
            converser: Arc::clone(&converser),
            intake: Arc::clone(&intake),
            packs: packs.clone(),
            leases: Arc::clone(&leases),
            heartbeat_ms: config.dispatch.heartbeat_ms,
            scan: config.dispatch.scan,
            handed: Arc::default(),
        };
        let executor = LocalExecutor {
            program: match &config.dispatch.worker_program {
                Some(program) => program.clone(),
                None => own_program()?,
            },
            server: own_url,
            address_file: address_file.clone(),
            scratch: config.data_dir.join("work"),
            logs: config.data_dir.join("workers"),
        };
        let options = dispatch_options(config);
        let dispatcher = Arc::new(Dispatcher::new(
            Arc::clone(&app),
            side,
            leases,
            intake,
            packs,
            executor,
            options,
        ));
        let reception = Arc::new(Reception {
            control: Arc::clone(&control),
            access: Arc::clone(&access),
            rules: house_rules(config),
            local_roots: config.job.local_roots.clone(),
            take: {
                let dispatcher = Arc::clone(&dispatcher);
                Arc::new(move |job| dispatcher.take(job))
            },
        });
        let stopping = CancellationToken::new();
        let pulse = Arc::new(Pulse::new(Sources {
            app: Arc::clone(&app),
            log: Arc::clone(&log),
            views: Arc::clone(&views),
            dispatcher: Arc::clone(&dispatcher),
            converser: Arc::clone(&converser),
            stopping: stopping.clone(),
        }));
        let asked =
            OperationsDoor { pulse: Arc::clone(&pulse), gate: Arc::<Access>::clone(&access) };
        let links = Arc::new(Links::new(Arc::clone(&app)));
        let wake = Arc::new(News::new(Arc::clone(&app)));
        let services = Services {
            reception: Arc::clone(&reception),
            news: Arc::clone(&wake),
            minutes_saved: config.usage.minutes_saved,
            links: Arc::clone(&links),
        };
        let guard = Arc::new(Guard::new(Arc::clone(&access), &config.access, &bound));
        let graphql_door =
            GraphqlDoor::new(services, Arc::clone(&access), Arc::clone(&guard), Arc::clone(&pulse));
        let reader = JobReader { app: Arc::clone(&app), views: Arc::clone(&views) };
        let mcp_door = McpDoor {
            office: Arc::new(Office {
                reception: Arc::clone(&reception),
                reader: reader.clone(),
                news: wake,
                stopping: stopping.clone(),
            }),
            public_url: config.access.public_url.clone(),
            scheme: if url.starts_with("https://") { "https" } else { "http" },
        };
        let gate: Arc<dyn Gate> = Arc::<Access>::clone(&access);
        let doors = worker::router(door)
            .merge(control::router(Arc::clone(&reception)))
            .merge(reading::router(ReadingDoor { reader: reader.clone(), reception }))
            .merge(access::door::router(Arc::clone(&access)))
            .merge(graphql::front::router(graphql_door))
            .merge(mcp::router(mcp_door))
            .merge(downloads::router(DownloadDoor::new(reader, gate, links)))
            .merge(operations::router(asked))
            .merge(health::router());
        let doors = operations::counted(doors, Arc::clone(&pulse));
        let listening = sockets.serve(access::guarded(doors, guard), config.access.connections);
        let rooms = vec![
            tokio::spawn(Arc::clone(&pulse).follow(news)),
            tokio::spawn(Arc::clone(&dispatcher).run()),
            tokio::spawn(Arc::clone(&dispatcher).follow(news)),
            tokio::spawn(settle_orphans(
                Arc::clone(&converser),
                Arc::clone(&views),
                Arc::clone(&app),
            )),
        ];
        Ok(Self {
            app,
            log,
            views,
            dispatcher,
            control,
            models,
            access,
            address,
            url,
            pulse,
            converser,
            stopping,
            address_file,
            rooms,
            listening,
        })
    }
}

impl Server {
    /// Turns away what is new, lets calls and answers under way end, and permits no more. Workers
    /// outlive it and wait for the next. Whoever gives up waiting loses what was not recorded.
    pub async fn close(&self) {
        self.stopping.cancel();
        self.dispatcher.stop();
        self.converser.close().await;
        futures_util::future::join_all(self.listening.iter().map(Listening::close)).await;
    }

    /// Calls to Claude that are under way.
    pub fn open_calls(&self) -> usize {
        self.converser.open_calls()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for room in &self.rooms {
            room.abort();
        }
        // What is left behind only misleads for a moment: the next server writes its own.
        let _ = std::fs::remove_file(&self.address_file);
    }
}

/// Charges calls that an earlier server left in flight, of whatever job.
async fn settle_orphans(converser: Arc<Converser>, views: Arc<Views>, app: Arc<App>) {
    let open = async {
        let head = app.log().head().await?.position;
        while !views.at_least(head).await {}
        Ok::<_, ServeError>(views.read(costs::open_permits).await?)
    };
    let open = open.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "calls that were left in flight are charged when their target goes on");
        Vec::new()
    });
    for (job, target) in open {
        if let Err(error) = converser.settle(job, target).await {
            tracing::warn!(%job, %target, %error, "a call that was left in flight is not charged yet");
        }
    }
}

async fn open_epoch(app: &App, log: &SqliteLog) -> Result<(), ServeError> {
    let opened = Draft::bare(EpochOpened {
        epoch: log.epoch(),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
        sqlite_version: Some(crate::store::sqlite::library_version().to_owned()),
    });
    app.record_system(opened, &Asker::room("server")).await?;
    Ok(())
}

fn own_program() -> Result<PathBuf, ServeError> {
    std::env::current_exe().map_err(|source| ServeError::Io {
        what: "the program's own file cannot be found",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })
}
