//! What goes wrong beside a job and must not become its fate: a record that cannot be read, a limit that
//! cuts evidence short, a process that leaves its job, a server that is asked to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::app::{Asker, Told};
use cody_batch::clock::SystemClock;
use cody_batch::config::Config;
use cody_batch::job::Command as JobCommand;
use cody_batch::plan::JobRequest;
use cody_batch::serve::Server;
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::job::{By, Limits};
use cody_events::outcome::{Outcome, ReopenReason};

use super::harness::{PROGRAM, World, create, json, processes_of, repository, wait_for};

const SCRIPT: &str = r#"
[[conversation]]
name = "lingers"
match = { system = ["You change one repository", "Linger"] }
[[conversation.turn]]
content = [{ tool = "bash", input = { command = "sleep 60" } }]

[[conversation]]
name = "change"
match = { system = ["You change one repository"] }
[[conversation.turn]]
delay_ms = 800
content = [{ tool = "bash", input = { command = "sed -i s/hello/hi/ greet.sh; sleep 1" } }]
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } }]

[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;

async fn world() -> World {
    let world = World::new(SCRIPT).await;
    for name in ["app", "other"] {
        repository(&world.path(name), &[("greet.sh", "echo hello\n")]);
    }
    world
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.env("CODY_LEASE_MS", "2000").env("CODY_HEARTBEAT_MS", "300");
    command.current_dir(world.dir.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn count(told: &[Told], kind: &str) -> usize {
    told.iter().filter(|told| told.recorded.kind == kind).count()
}

/// Kills a server and waits until its workers have left.
async fn kill(world: &World, mut server: Child) {
    server.kill().unwrap();
    server.wait().unwrap();
    let mark = world.dir.path().display().to_string();
    let started = Instant::now();
    while !processes_of(&mark).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", processes_of(&mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_be_read_ends_its_target_with_a_word() {
    let world = world().await;
    let mut run = start(&world, &["run", "--prompt", "Greet", "--no-checks", "--repo", "./app"]);
    let told =
        wait_for(&world.path("data"), &mut run, |told| count(told, "claude-turn") == 1).await;
    let turn = told.iter().find(|told| told.recorded.kind == "claude-turn").unwrap();
    let position = turn.recorded.position.cast_signed();
    kill(&world, run).await;
    let log = rusqlite::Connection::open(world.path("data/log.db")).unwrap();
    log.execute_batch("DROP TRIGGER payloads_never_change").unwrap();
    log.execute("UPDATE payloads SET bytes = x'00' WHERE position = ?1", [position]).unwrap();
    drop(log);
    let began = Instant::now();
    let output = world.run(&["resume", "latest", "--json"]).await;
    assert_eq!(json(&output)["targets"][0]["outcome"], "failed");
    assert_eq!(output.status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let shown = world.run(&["show", "latest"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("could not go on"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_more_to_spend_starts_over() {
    let world = world().await;
    let args = ["run", "--prompt", "Greet", "--no-checks", "--json", "--max-turns", "1"];
    let app = world.path("app");
    let stopped = world.run(&[&args[..], &["--repo", app.to_str().unwrap()]].concat()).await;
    assert_eq!(json(&stopped)["targets"][0]["outcome"], "budget-stopped");
    // A limit that would stop the old thread at once is enough for a new one.
    let output = world.run(&["retry", "latest", "--budget-usd", "8", "--max-turns", "3", "--json"]);
    let output = output.await;
    let shown = world.run(&["show", "latest"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(json(&output)["status"], "succeeded", "{shown}");
    let told = world.events().await;
    let reopened: Vec<ReopenReason> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::TargetReopened(e) => Some(e.why),
            _ => None,
        })
        .collect();
    assert_eq!(reopened, [ReopenReason::Retried]);
    // A new thread of change, and one of review.
    assert_eq!((count(&told, "thread-started"), count(&told, "budget-changed")), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_process_left_is_gone_on_with_by_another_jobs_server() {
    let world = world().await;
    let run = ["run", "--no-checks", "--json", "--prompt"];
    let mut left = start(&world, &[&run[..], &["Greet", "--repo", "./app"]].concat());
    let told =
        wait_for(&world.path("data"), &mut left, |told| count(told, "call-permitted") == 1).await;
    let job = told[0].recorded.stream.strip_prefix("job-").unwrap().to_owned();
    kill(&world, left).await;
    let mut lingers = start(&world, &[&run[..], &["Linger", "--repo", "./other"]].concat());
    wait_for(&world.path("data"), &mut lingers, |told| {
        told[0].recorded.stream != format!("job-{job}") && count(told, "claude-turn") == 1
    })
    .await;
    let output = world.run(&["resume", &job, "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded");
    assert!(lingers.try_wait().unwrap().is_none(), "the other job is still at work");
    let cancelled = world.run(&["cancel", "latest"]).await;
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    lingers.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_stop_waits_for_the_calls_that_are_paid_for() {
    let world = world().await;
    let mut server = start(&world, &["serve", "--listen", "127.0.0.1:0"]);
    let started = Instant::now();
    while !world.path("data/server.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let detached =
        start(&world, &["run", "--detach", "--no-checks", "--prompt", "Greet", "--repo", "./app"]);
    assert!(detached.wait_with_output().unwrap().status.success());
    wait_for(&world.path("data"), &mut server, |told| count(told, "call-permitted") == 1).await;
    let pid = server.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(server.wait().unwrap().success());
    let kinds = ["call-permitted", "claude-turn", "call-failed"];
    assert_eq!(kinds.map(|kind| count(&world_events(&world), kind)), [1, 1, 0]);
    let output = world.run(&["resume", "latest", "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded");
    assert_eq!(kinds.map(|kind| count(&world_events(&world), kind)), [3, 3, 0]);
    assert_eq!(world.player.heard().len(), 3);
}

fn world_events(world: &World) -> Vec<Told> {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(world.events()))
}

/// A server inside this process.
async fn serve(world: &World) -> Server {
    let base_url = world.player.base_url().unwrap().to_string();
    let settings: BTreeMap<&str, &str> = BTreeMap::from([
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", &base_url),
        ("CODY_WORKER_PROGRAM", PROGRAM),
    ]);
    let data: PathBuf = world.path("data");
    let config = Config::load(&data, &|name| settings.get(name).map(|v| (*v).to_owned())).unwrap();
    Server::start_at(&config, None, Arc::new(SystemClock)).await.unwrap()
}

fn request(world: &World, checks: &[&str]) -> JobRequest {
    JobRequest {
        prompt: "Greet".to_owned(),
        repositories: vec![world.path("app").display().to_string()],
        checks: checks.iter().map(|check| (*check).to_owned()).collect(),
        ..JobRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_asked_for_twice_is_made_once() {
    let world = world().await;
    let server = serve(&world).await;
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    let wish = create(request(&world, &["true"]));
    let first = server.control.carry_out(wish.clone(), &asker).await.unwrap();
    // The answer to the first got lost on its way.
    let second = server.control.carry_out(wish, &asker).await.unwrap();
    assert_eq!((first.is_new, second.is_new), (true, false));
    assert_eq!(first.job, second.job);
    let all = server.app.log().read_log(0, 100).await.unwrap();
    assert_eq!(all.iter().filter(|event| event.kind == "created").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_a_limit_cuts_short_say_nothing_of_the_change() {
    let world = world().await;
    let server = serve(&world).await;
    let request = request(&world, &["sleep 2; grep -q hi greet.sh"]);
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    let job = server.control.carry_out(create(request), &asker).await.unwrap().job;
    let limit = async |max_tool_ms: u64| {
        let limits = server.app.state(job).await.unwrap().job.unwrap().limits;
        let limits = Limits { max_tool_ms: Some(max_tool_ms), ..limits };
        let (target, limits, floor_call_micros) = (None, Some(limits), 1);
        let (by, reason) = (By::Person, String::new());
        let command = JobCommand::ResumeJob { target, limits, floor_call_micros, by, reason };
        server.app.execute(job, server.app.new_command_id(), command, &asker).await.unwrap();
        server.dispatcher.take(job);
    };
    let outcome = async || {
        let started = Instant::now();
        loop {
            let state = server.app.state(job).await.unwrap().job.unwrap();
            let outcome = state.targets.values().next().unwrap().outcome;
            if let (Some(outcome), false) = (outcome, server.dispatcher.has_workers(job)) {
                return outcome;
            }
            assert!(started.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    limit(500).await;
    assert_eq!(outcome().await, Outcome::BudgetStopped);
    let told = server.app.events(job, 0).await.unwrap();
    assert_eq!(count(&told, "checks-ran"), 0, "half a check is no evidence");
    limit(60_000).await;
    assert_eq!(outcome().await, Outcome::DiffReady);
    let told = server.app.events(job, 0).await.unwrap();
    assert_eq!(count(&told, "checks-ran"), 2);
}
