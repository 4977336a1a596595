//! One job, killed again and again until it is done.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cody_batch::app::{App, Told};
use cody_batch::claude::player::Script;
use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::SqliteLog;
use cody_events::event::Event;
use cody_events::ids::JobId;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};

use super::judge::judge;
use super::stage::{Histogram, Stage, Victim};
use crate::harness::{PATIENCE, World, json, repository, wait_for};

/// More losses than this without a recorded turn, and the job would rightly give up.
const MOST_WITHOUT_A_TURN: usize = 3;
/// How long a stage is waited for before chance decides.
const AIM: Duration = Duration::from_secs(3);

/// What one job under siege came to.
#[derive(Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub tree: String,
    pub turns: usize,
    pub unlogged: usize,
    pub orphans: usize,
    pub adopted: usize,
    pub interrupted: usize,
}

/// The tree that the job makes when nobody is killed.
pub async fn undisturbed(script: &str) -> String {
    let (world, run) = begin(script).await;
    end(&world, run).await;
    judge(&world, 0, 0).await.tree
}

/// Runs the job and kills whom chance wants, `kills` times or until it is done.
pub async fn siege(
    script: &'static str,
    seed: u64,
    kills: usize,
    histogram: Arc<Mutex<Histogram>>,
) -> Report {
    let mut chance = StdRng::seed_from_u64(seed);
    let (world, mut server) = begin(script).await;
    wait_for(&world.path("data"), &mut server, |told| !told.is_empty()).await;
    let mut watch = Watch::open(&world.path("data"));
    let (mut killed, mut servers_killed) = (0, 0);
    let (mut turns, mut since_turn) = (0, 0);
    let mut again = false;
    while killed < kills {
        let aim = match again && chance.random_bool(0.5) {
            true => Some(Stage::Answered),
            false => chance.random_bool(0.5).then(|| histogram.lock().unwrap().rarest()),
        };
        wait(&mut watch, aim, &mut chance).await;
        let Some(mut stage) = Stage::of(&watch.told) else { break };
        let logged = count(&watch.told, "claude-turn");
        if logged > turns {
            (turns, since_turn) = (logged, 0);
        }
        if since_turn >= MOST_WITHOUT_A_TURN {
            wait_for(&world.path("data"), &mut server, |told| {
                count(told, "claude-turn") > turns || Stage::of(told).is_none()
            })
            .await;
            continue;
        }
        let worker = worker_of(&watch.told).filter(|_| chance.random_bool(0.5));
        since_turn += 1;
        if let Some(worker) = worker {
            // It may have ended by itself a moment ago.
            let _ = kill_process(worker, Signal::KILL);
            histogram.lock().unwrap().add(stage, Victim::Worker);
            killed += 1;
        }
        // Tools that are lost twice are answered as interrupted.
        again = worker.is_some() && stage == Stage::Answered;
        // Now and then both, at once.
        if worker.is_none() || chance.random_bool(0.15) {
            server.kill().unwrap();
            server.wait().unwrap();
            // Nobody writes now but a worker's next server: this is where it fell.
            watch.look().await;
            stage = Stage::of(&watch.told).unwrap_or(stage);
            histogram.lock().unwrap().add(stage, Victim::Server);
            (killed, servers_killed) = (killed + 1, servers_killed + 1);
            if chance.random_bool(0.3) {
                tokio::time::sleep(Duration::from_millis(chance.random_range(0..300))).await;
            }
            server = start(&world, &["resume", "latest", "--json"]);
        }
    }
    end(&world, server).await;
    Report { seed, ..judge(&world, seed, servers_killed).await }
}

/// The log of a job, read on while it is written.
struct Watch {
    app: App,
    job: Option<JobId>,
    told: Vec<Told>,
}

impl Watch {
    fn open(data: &Path) -> Self {
        let log = Arc::new(SqliteLog::open_to_read(data).unwrap());
        let states = std::num::NonZeroUsize::MIN;
        let app = App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), states);
        Self { app, job: None, told: Vec::new() }
    }

    async fn look(&mut self) {
        if self.job.is_none() {
            let page = self.app.log().read_log(0, 100).await.unwrap();
            self.job = page.iter().find_map(|event| JobId::from_stream(&event.stream));
        }
        let Some(job) = self.job else { return };
        self.told.extend(self.app.events(job, self.told.len() as u64).await.unwrap());
    }
}

/// Waits for the stage that is aimed at and perhaps a moment more, or for any moment.
async fn wait(watch: &mut Watch, aim: Option<Stage>, chance: &mut StdRng) {
    let started = Instant::now();
    if let Some(stage) = aim {
        loop {
            watch.look().await;
            let now = Stage::of(&watch.told);
            if now.is_none() || now == Some(stage) || started.elapsed() > AIM {
                break;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        if chance.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..12))).await;
        }
    } else {
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..200))).await;
    }
    watch.look().await;
}

async fn begin(script: &str) -> (World, Child) {
    let world = World::playing(Script::from_toml(script).unwrap()).await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n"), ("src/x.txt", "x\n")]);
    let repo = app.to_str().unwrap();
    let mut args = vec!["run", "--prompt", "Greet", "--json", "--check", "test -f passes"];
    args.extend(["--allow", "binaries", "--repo", repo]);
    let run = start(&world, &args);
    (world, run)
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn end(world: &World, child: Child) {
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(PATIENCE, waited).await.expect("the job ends").unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = world.run(&["show"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(json(&output)["status"], "succeeded", "{shown}\n{told}");
}

/// The pid of the worker that holds the target, if one does.
fn worker_of(told: &[Told]) -> Option<Pid> {
    let mut worker = None;
    for told in told {
        match &told.event {
            Event::AttemptStarted(e) => {
                worker =
                    e.worker.rsplit(':').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            }
            Event::AttemptEnded(_) => worker = None,
            _ => {}
        }
    }
    worker
}

pub fn count(told: &[Told], kind: &str) -> usize {
    told.iter().filter(|told| told.recorded.kind == kind).count()
}
