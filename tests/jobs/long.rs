//! Jobs that take long: one of twenty minutes in real time, and one of six hours by a clock that runs
//! faster than ours. Workers, sandboxes, git and the wire are real in both.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cody_batch::api::control::{Done, Wish};
use cody_batch::app::{Asker, Told};
use cody_batch::clock::Clock;
use cody_batch::config::Config;
use cody_batch::plan::{JobRequest, LimitsRequest};
use cody_batch::serve::{ServeError, Server};
use cody_batch::store::LockError;
use cody_batch::store::sqlite::OpenError;
use cody_batch::wire::process_start;
use cody_events::attempt::AttemptEnd;
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::ids::JobId;
use cody_events::outcome::Outcome;
use cody_events::time::Timestamp;

use super::harness::{self, PROGRAM, World, json, repository};

/// How much faster the other clock runs: six hours in half a minute.
const FASTER: u32 = 720;
const HOUR: i64 = 3_600_000_000;

/// Turns that take `delay_ms` of Claude's time each, with a command that takes `tool`.
fn script(turns: u32, delay_ms: u64, tool: &str) -> String {
    let mut text = String::from(
        "[[conversation]]\nname = \"change\"\nmatch = { system = [\"You change one repository\"] }\n",
    );
    for turn in 0..turns {
        text.push_str(&format!(
            "[[conversation.turn]]\ndelay_ms = {delay_ms}\ncontent = [{{ tool = \"bash\", input = \
             {{ command = \"{tool}; echo {turn} >>log.txt\" }} }}]\n"
        ));
    }
    text.push_str(
        "[[conversation.turn]]\ncontent = [{ tool = \"finish\", input = { outcome = \"changed\", title = \
         \"T\", summary = \"S.\", evidence = [\"log.txt\"] } }]\n\
         [[conversation]]\nname = \"review\"\nmatch = { system = [\"You review a change\"] }\n\
         [[conversation.turn]]\ncontent = [{ text = '{\"verdict\": \"accept\", \"summary\": \"Good.\", \
         \"reasons\": []}' }]\n",
    );
    text
}

/// Memory of a process that was most of it, in MiB; nothing when it has ended.
fn peak_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes twenty minutes; make proof runs it"]
async fn a_job_of_twenty_minutes_loses_nobody() {
    // Twenty turns of about a minute: nearly all of it Claude's, as in real life.
    let world = World::new(&script(20, 57_000, "sleep 3")).await;
    let app = world.path("app");
    repository(&app, &[("a.txt", "a\n")]);
    let args =
        ["run", "--prompt", "Do it", "--json", "--no-checks", "--repo", app.to_str().unwrap()];
    let started = Instant::now();
    let mut run = world.command(&args);
    let run = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let server = run.id();
    let peak = tokio::spawn(async move {
        let mut peak = 0;
        while let Some(now) = peak_mib(server) {
            peak = peak.max(now);
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        peak
    });
    let output =
        tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(json(&output)["status"], "succeeded");
    let told = world.events().await;
    assert_eq!(attempts(&told), [AttemptEnd::Completed]);
    assert_eq!(world.player.heard().len(), 22);
    println!(
        "{} s, {} turns, one attempt, the server's peak {} MiB",
        started.elapsed().as_secs(),
        told.iter().filter(|told| matches!(told.event, Event::ClaudeTurn(_))).count(),
        peak.await.unwrap()
    );
    assert!(started.elapsed() >= Duration::from_secs(20 * 60));
}

fn attempts(told: &[Told]) -> Vec<AttemptEnd> {
    told.iter()
        .filter_map(|told| match &told.event {
            Event::AttemptEnded(e) => Some(e.how),
            _ => None,
        })
        .collect()
}

/// A clock that runs faster than ours, and whose wall clock may be set besides.
#[derive(Debug)]
struct FastClock {
    began: Instant,
    wall: AtomicI64,
}

impl FastClock {
    fn new() -> Self {
        Self { began: Instant::now(), wall: AtomicI64::new(1_795_000_000_000_000) }
    }

    /// Sets the wall clock on, or back.
    fn set_on(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.monotonic().as_micros()).unwrap();
        Timestamp(self.wall.load(Ordering::SeqCst) + passed)
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed() * FASTER
    }

    async fn sleep(&self, duration: Duration) {
        // No faster than a machine can look about.
        tokio::time::sleep((duration / FASTER).max(Duration::from_millis(5))).await;
    }
}

/// A server in this process, by a fast clock, with real workers.
async fn serve(world: &World, clock: Arc<FastClock>) -> Server {
    let base_url = world.player.base_url().unwrap().to_string();
    // A worker's heart beats in real time, and its lease is measured by the fast clock.
    let settings: BTreeMap<&str, &str> = BTreeMap::from([
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", &base_url),
        ("CODY_WORKER_PROGRAM", PROGRAM),
        ("CODY_LEASE_MS", "3600000"),
        ("CODY_HEARTBEAT_MS", "500"),
    ]);
    let data = world.path("data");
    let config = Config::load(&data, &|name| settings.get(name).map(|v| (*v).to_owned())).unwrap();
    let started = Instant::now();
    loop {
        // A server that was dropped in this process lives until its last call has ended.
        match Server::start_at(&config, None, Arc::<FastClock>::clone(&clock)).await {
            Err(ServeError::Open(OpenError::Lock(LockError::Held { .. })))
                if started.elapsed() < Duration::from_secs(30) =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            served => return served.unwrap(),
        }
    }
}

async fn ask(server: &Server, wish: Wish) -> Done {
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    server.control.carry_out(wish, &asker).await.unwrap()
}

async fn create(server: &Server, world: &World, max_minutes: Option<u64>) -> JobId {
    let request = JobRequest {
        prompt: "Do it".to_owned(),
        repositories: vec![world.path("app").display().to_string()],
        no_checks: true,
        max_minutes,
        max_turns: Some(100),
        ..JobRequest::default()
    };
    ask(server, harness::create(request)).await.job
}

async fn outcome(server: &Server, job: JobId) -> Option<Outcome> {
    let state = server.app.state(job).await.unwrap();
    let targets = state.job.map(|job| job.targets).unwrap_or_default();
    targets.values().next().and_then(|target| target.outcome)
}

async fn finish(server: &Server, job: JobId) -> Outcome {
    let started = Instant::now();
    loop {
        let outcome = outcome(server, job).await;
        // A worker that its server leaves behind waits for the next one, a whole lease long.
        if let (Some(outcome), false) = (outcome, server.dispatcher.has_workers(job)) {
            return outcome;
        }
        assert!(started.elapsed() < Duration::from_secs(180), "the job never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_six_hours_outlives_pauses_and_clocks_that_are_set() {
    let world = World::new(&script(30, 1_000, "true")).await;
    repository(&world.path("app"), &[("a.txt", "a\n")]);
    let clock = Arc::new(FastClock::new());
    let server = serve(&world, Arc::clone(&clock)).await;
    let job = create(&server, &world, Some(600)).await;
    let turns = async |most: u32| {
        let state = server.app.state(job).await.unwrap();
        state.job.unwrap().targets.values().next().unwrap().turns >= most
    };
    while !turns(8).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Someone sets the clock a year on, and an hour back: nobody loses a lease, no time is up.
    clock.set_on(365 * 24 * HOUR);
    while !turns(10).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.set_on(-HOUR);
    // It rests for what is two days, which count for no limit.
    ask(&server, Wish::Pause { job, target: None }).await;
    while server.dispatcher.has_workers(job) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.set_on(48 * HOUR);
    ask(&server, Wish::Resume { job, target: None, limits: LimitsRequest::default() }).await;
    assert_eq!(finish(&server, job).await, Outcome::DiffReady);
    let told = server.app.events(job, 0).await.unwrap();
    let claude_ms: u64 = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::ClaudeTurn(e) => Some(e.ms),
            _ => None,
        })
        .sum();
    let hours = Duration::from_millis(claude_ms * u64::from(FASTER)).as_secs_f64() / 3_600.0;
    let mut instants: Vec<Timestamp> = told.iter().map(|told| told.recorded.recorded_at).collect();
    let recorded = instants.clone();
    instants.sort();
    assert_eq!(instants, recorded, "recorded_at never decreases");
    println!(
        "{hours:.1} hours by the fast clock, {} events, attempts {:?}",
        told.len(),
        attempts(&told)
    );
    assert!(hours >= 6.0);
    assert_eq!(attempts(&told)[0], AttemptEnd::Interrupted);
    assert!(
        !attempts(&told).iter().any(|how| matches!(how, AttemptEnd::Lost | AttemptEnd::Crashed))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_wall_time_ends_a_target_and_more_of_it_goes_on() {
    // Twelve minutes a turn by the fast clock.
    let world = World::new(&script(8, 1_000, "true")).await;
    repository(&world.path("app"), &[("a.txt", "a\n")]);
    let server = serve(&world, Arc::new(FastClock::new())).await;
    let job = create(&server, &world, Some(60)).await;
    assert_eq!(finish(&server, job).await, Outcome::BudgetStopped);
    let told = server.app.events(job, 0).await.unwrap();
    assert!(told.iter().any(|told| matches!(told.event, Event::DiffProduced(_))));
    let limits = LimitsRequest { max_minutes: Some(600), ..LimitsRequest::default() };
    ask(&server, Wish::Resume { job, target: None, limits }).await;
    assert_eq!(finish(&server, job).await, Outcome::DiffReady);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_without_a_server_counts_for_no_limit() {
    let world = World::new(&script(3, 1_000, "true")).await;
    repository(&world.path("app"), &[("a.txt", "a\n")]);
    let clock = Arc::new(FastClock::new());
    let server = serve(&world, Arc::clone(&clock)).await;
    let job = create(&server, &world, Some(300)).await;
    let has_turn = async || {
        let told = server.app.events(job, 0).await.unwrap();
        told.iter().any(|told| matches!(told.event, Event::ClaudeTurn(_)))
    };
    while !has_turn().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = server.app.events(job, 0).await.unwrap();
    let worker = told.iter().find_map(|told| match &told.event {
        Event::AttemptStarted(e) => e.worker.rsplit(':').next()?.parse::<u32>().ok(),
        _ => None,
    });
    let worker = worker.unwrap();
    // The machine dies, and is switched on again the next morning.
    drop(server);
    let killed = Command::new("kill").args(["-KILL", &worker.to_string()]).status().unwrap();
    assert!(killed.success());
    while process_start(worker).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.set_on(8 * HOUR);
    let server = serve(&world, clock).await;
    server.dispatcher.take(job);
    assert_eq!(finish(&server, job).await, Outcome::DiffReady);
    let told = server.app.events(job, 0).await.unwrap();
    assert_eq!(attempts(&told), [AttemptEnd::Crashed, AttemptEnd::Completed]);
}
