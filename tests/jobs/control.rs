//! Jobs that people take in hand while they run: paused, resumed, cancelled, given more, done again.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cody_batch::app::Told;
use cody_events::attempt::AttemptEnd;
use cody_events::event::Event;
use cody_events::outcome::Outcome;
use cody_events::thread::StuckSign;

use super::harness::{World, commit, git, json, processes_of, repository, wait_for};

/// A conversation with these turns, and reviews that accept.
fn script(turns: &str) -> String {
    format!(
        r#"
[[conversation]]
name = "change"
match = {{ system = ["You change one repository"] }}
{turns}
[[conversation]]
name = "review"
match = {{ system = ["You review a change"] }}
[[conversation.turn]]
content = [{{ text = '{{"verdict": "accept", "summary": "Good.", "reasons": []}}' }}]
"#
    )
}

fn bash(command: &str, delay_ms: u64) -> String {
    format!(
        "[[conversation.turn]]\ndelay_ms = {delay_ms}\ncontent = [{{ tool = \"bash\", input = {{ command = '''{command}''' }} }}]\n"
    )
}

const FINISH: &str = r#"
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } }]
"#;
const EDIT: &str = "sed -i s/hello/hi/ greet.sh";

/// A world in which `turns` are played for one repository.
async fn world(turns: &str) -> (World, PathBuf) {
    let world = World::new(&script(turns)).await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n")]);
    (world, app)
}

/// Starts a run over `repo`, to be watched from outside.
fn start(world: &World, repo: &std::path::Path, more: &[&str]) -> Child {
    let mut run = world.command(&["run", "--prompt", "Greet", "--json", "--no-checks", "--repo"]);
    run.arg(repo).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    run.env("CODY_LEASE_MS", "2000").env("CODY_HEARTBEAT_MS", "300").spawn().unwrap()
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn end(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

fn count(told: &[Told], kind: &str) -> usize {
    told.iter().filter(|told| told.recorded.kind == kind).count()
}

fn ok(output: &Output) -> &Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_makes_no_call_and_goes_on_in_the_same_thread() {
    let (world, app) = world(&format!("{}{}{FINISH}", bash(EDIT, 600), bash("true", 0))).await;
    let mut run = start(&world, &app, &[]);
    wait_for(&world.path("data"), &mut run, |told| count(told, "call-permitted") == 1).await;
    ok(&world.run(&["pause", "latest"]).await);
    // The turn in flight ends, and the worker leaves.
    let told =
        wait_for(&world.path("data"), &mut run, |told| count(told, "attempt-ended") == 1).await;
    assert_eq!((count(&told, "claude-turn"), count(&told, "call-permitted")), (1, 1));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let told = world.events().await;
    assert_eq!((count(&told, "attempt-requested"), count(&told, "call-permitted")), (1, 1));
    let shown = world.run(&["show", "latest", "--json"]).await;
    assert_eq!(json(&shown)["status"], "paused");
    ok(&world.run(&["resume", "latest", "--json"]).await);
    let output = end(run).await;
    assert_eq!(json(&output)["status"], "succeeded");
    let told = world.events().await;
    assert_eq!((count(&told, "paused"), count(&told, "resumed")), (1, 1));
    // One thread of change and one of review; each turn was asked for once.
    assert_eq!((count(&told, "thread-started"), count(&told, "claude-turn")), (2, 4));
    assert_eq!(world.player.heard().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_is_resumed_by_another_server() {
    let (world, app) = world(&format!("{}{FINISH}", bash(EDIT, 300))).await;
    let mut run = start(&world, &app, &[]);
    wait_for(&world.path("data"), &mut run, |told| count(told, "call-permitted") == 1).await;
    ok(&world.run(&["pause", "latest"]).await);
    wait_for(&world.path("data"), &mut run, |told| count(told, "attempt-ended") == 1).await;
    run.kill().unwrap();
    run.wait().unwrap();
    // Without a server, a verb writes by itself and starts no work.
    ok(&world.run(&["pause", "latest"]).await);
    let output = world.run(&["resume", "latest", "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded", "{}", world.story_of(1).await);
    assert_eq!(world.player.heard().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_gone_within_two_seconds_and_keeps_what_it_did() {
    // What tries hardest to stay: a process of its own session that ignores what it is told.
    let stay = "trap \"\" TERM INT HUP; (setsid nohup sleep 98765 >/dev/null 2>&1 &); sleep 98765";
    let (world, app) = world(&format!("{}{}{FINISH}", bash(EDIT, 0), bash(stay, 0))).await;
    let mut run = start(&world, &app, &[]);
    wait_for(&world.path("data"), &mut run, |told| count(told, "claude-turn") == 2).await;
    let mark = world.path("data").display().to_string();
    let started = Instant::now();
    while processes_of("98765").len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "the command never ran");
    }
    let cancelled = Instant::now();
    ok(&world.run(&["cancel", "latest", "--reason", "enough"]).await);
    let work = || {
        let mut work = processes_of("98765");
        let of_job = processes_of(&mark).into_iter();
        work.extend(of_job.filter(|process| process.contains("\0worker\0")));
        work
    };
    while !work().is_empty() {
        assert!(cancelled.elapsed() < Duration::from_secs(2), "{:?}", work());
    }
    println!("all gone {} ms after the cancel began", cancelled.elapsed().as_millis());
    let output = end(run).await;
    assert_eq!(
        (json(&output)["status"].clone(), output.status.code()),
        ("cancelled".into(), Some(130))
    );
    let told = world.events().await;
    let kinds = ["cancelled", "diff-produced", "target-finished", "finished", "attempt-ended"];
    assert_eq!(kinds.map(|kind| count(&told, kind)), [1; 5]);
    let diff = world.run(&["diff", "latest", "1"]).await;
    assert!(String::from_utf8_lossy(&ok(&diff).stdout).contains("+echo hi"));
    // Cancelled is cancelled, however often and whatever else is asked.
    ok(&world.run(&["cancel", "latest"]).await);
    let refused = world.run(&["pause", "latest"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("(job-cancelled)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_keeps_its_diff_and_a_raised_one_goes_on_in_the_same_thread() {
    let (world, app) = world(&format!("{}{}{FINISH}", bash(EDIT, 0), bash("true", 0))).await;
    let output = end(start(&world, &app, &["--max-turns", "1"])).await;
    assert_eq!(
        (json(&output)["targets"][0]["outcome"].clone(), output.status.code()),
        ("budget-stopped".into(), Some(3))
    );
    let diff = world.run(&["diff", "latest", "1"]).await;
    assert!(String::from_utf8_lossy(&ok(&diff).stdout).contains("+echo hi"));
    let short = world.run(&["resume", "latest", "--budget-usd", "9"]).await;
    assert_eq!(short.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&short.stderr).contains("(bad-limits)"));
    let output = world.run(&["resume", "latest", "--max-turns", "5", "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded", "{}", world.story_of(1).await);
    let told = world.events().await;
    assert_eq!((count(&told, "thread-started"), count(&told, "budget-changed")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_starts_over_at_the_present_commit() {
    let give_up = r#"
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "cannot", title = "No", summary = "No.", evidence = ["nothing"] } }]
"#;
    let good = format!("{}{FINISH}", bash("sed -i s/hallo/hi/ greet.sh", 0));
    let turns = format!(
        "{give_up}\n[[conversation]]\nname = \"again\"\nmatch = {{ system = [\"You change one repository\"], first_message = [\"news.txt\"] }}\n{good}"
    );
    // The player takes the first that fits: the one that knows the new file goes first.
    let text = script(&turns);
    let mut script = cody_batch::claude::player::Script::from_toml(&text).unwrap();
    script.conversations.swap(0, 1);
    let world = World::playing(script).await;
    let app = world.path("app");
    repository(&app, &[("greet.sh", "echo hello\n")]);
    let output = end(start(&world, &app, &[])).await;
    assert_eq!(json(&output)["targets"][0]["outcome"], "stuck");
    std::fs::write(app.join("greet.sh"), "echo hallo\n").unwrap();
    std::fs::write(app.join("news.txt"), "n\n").unwrap();
    commit(&app);
    let output = world.run(&["retry", "latest", "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded", "{}", world.story_of(1).await);
    let told = world.events().await;
    let bases: Vec<String> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::AttemptRequested(e) => Some(e.base.commit.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(bases.last().map(String::as_str), Some(git(&app, &["rev-parse", "HEAD"]).as_str()));
    assert_ne!(bases.first(), bases.last());
    let rounds = told.iter().filter(|told| matches!(told.event, Event::Finished(_))).count();
    assert_eq!(rounds, 2);
    let again = world.run(&["retry", "latest"]).await;
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("(nothing-to-retry)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_leads_nowhere_is_warned_of_once_and_ends_as_stuck() {
    let (world, app) = world(&format!("{}{}", bash(EDIT, 0), bash("ls", 0).repeat(8))).await;
    let output = end(start(&world, &app, &[])).await;
    assert_eq!(
        (json(&output)["targets"][0]["outcome"].clone(), output.status.code()),
        ("stuck".into(), Some(1))
    );
    let told = world.events().await;
    let warnings: Vec<(u32, StuckSign)> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::CallPermitted(e) => Some((e.turn.0, e.warning?)),
            _ => None,
        })
        .collect();
    assert_eq!(warnings, [(5, StuckSign::SameWork)]);
    assert_eq!(count(&told, "claude-turn"), 6);
    let thread = world.run(&["thread", "latest", "1", "--full"]).await;
    assert!(String::from_utf8_lossy(&thread.stdout).contains("three times in a row"));
    assert_eq!(count(&told, "diff-produced"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_is_no_lost_worker_and_a_stopped_one_is_fenced() {
    let long = bash("sleep 5; sed -i s/hello/hi/ greet.sh", 0);
    let (world, app) = world(&format!("{long}{}{FINISH}", bash("sleep 1", 0))).await;
    let mut run = start(&world, &app, &[]);
    // Longer than two leases, and nobody is lost.
    let told =
        wait_for(&world.path("data"), &mut run, |told| count(told, "claude-turn") == 2).await;
    assert_eq!(count(&told, "attempt-requested"), 1);
    // A worker that is held up by its machine loses its lease, and another takes over.
    let worker = told.iter().rev().find_map(|told| match &told.event {
        Event::AttemptStarted(e) => e.worker.rsplit(':').next().map(str::to_owned),
        _ => None,
    });
    let stop = Command::new("kill").args(["-STOP", &worker.unwrap()]).status().unwrap();
    assert!(stop.success());
    let output = end(run).await;
    assert_eq!(json(&output)["status"], "succeeded", "{}", world.story_of(1).await);
    let told = world.events().await;
    let ends: Vec<AttemptEnd> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::AttemptEnded(e) => Some(e.how),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [AttemptEnd::Lost, AttemptEnd::Completed]);
    assert_eq!(processes_of(&world.path("data").display().to_string()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_time_and_size_stop_a_target_and_keep_its_diff() {
    let grow = "yes greetings | head -c 5000 >>greet.sh";
    let (world, app) = world(&format!("{}{}{FINISH}", bash(grow, 0), bash("true", 0))).await;
    let output = end(start(&world, &app, &["--max-diff-bytes", "1000"])).await;
    assert_eq!(json(&output)["targets"][0]["outcome"], "budget-stopped");
    let shown = world.run(&["show", "latest"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("may have 1000"));
    let output = world.run(&["resume", "latest", "--max-diff-bytes", "9000", "--json"]).await;
    assert_eq!(json(&output)["status"], "succeeded", "{}", world.story_of(1).await);
    let finished = world.events().await.into_iter().rev().find_map(|told| match told.event {
        Event::TargetFinished(e) => Some(e.outcome),
        _ => None,
    });
    assert_eq!(finished, Some(Outcome::DiffReady));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_takes_jobs_of_others_and_outlives_them() {
    let (world, app) = world(&format!("{}{FINISH}", bash(EDIT, 0))).await;
    let repo = app.to_str().unwrap().to_owned();
    let alone = world.run(&["run", "--detach", "--prompt", "x", "--repo", &repo]).await;
    assert_eq!(alone.status.code(), Some(2));
    let mut serve = world.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut server = Ended(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let started = Instant::now();
    while !world.path("data/server.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut detached = world.command(&[
        "run",
        "--detach",
        "--json",
        "--no-checks",
        "--prompt",
        "Greet",
        "--repo",
        "./app",
    ]);
    detached.current_dir(world.dir.path());
    let detached = super::harness::finish(detached).await;
    assert!(json(ok(&detached))["job_id"].is_string());
    let watched = end(start(&world, &app, &[])).await;
    assert_eq!(json(&watched)["status"], "succeeded");
    let told =
        wait_for(&world.path("data"), &mut server.0, |told| count(told, "finished") == 1).await;
    assert_eq!(count(&told, "target-finished"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_what_others_left_to_it_and_others_go_on_without_it() {
    let turns = format!("{}{}{FINISH}", bash(EDIT, 300), bash("true", 300));
    for is_killed in [false, true] {
        let (world, app) = world(&turns).await;
        let other = world.path("other");
        repository(&other, &[("greet.sh", "echo hello\n")]);
        let mut first = start(&world, &app, &[]);
        wait_for(&world.path("data"), &mut first, |told| count(told, "call-permitted") == 1).await;
        let mut second = start(&world, &other, &[]);
        // The newest job of the log is the second one from now on.
        wait_for(&world.path("data"), &mut second, |told| {
            told.iter().any(|told| told.recorded.position > 14) && count(told, "claude-turn") == 1
        })
        .await;
        if is_killed {
            first.kill().unwrap();
            first.wait().unwrap();
        } else {
            assert_eq!(json(&end(first).await)["status"], "succeeded");
        }
        let second = end(second).await;
        let words = String::from_utf8_lossy(&second.stderr);
        assert_eq!(json(&second)["status"], "succeeded", "{words}");
        assert_eq!(words.contains("The server is gone"), is_killed, "{words}");
        let told = world.events().await;
        assert!(is_killed || count(&told, "call-failed") == 0, "nobody lost a call");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_server_never_returns_leaves_after_one_lease() {
    let (world, app) = world(&format!("{}{FINISH}", bash("sleep 60", 0))).await;
    let mut run = start(&world, &app, &[]);
    wait_for(&world.path("data"), &mut run, |told| count(told, "claude-turn") == 1).await;
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = Instant::now();
    let mark = world.dir.path().display().to_string();
    while !processes_of(&mark).is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", processes_of(&mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two seconds, from the first heartbeat that nobody heard; its last word is not worth as many.
    let took = killed.elapsed();
    println!("the worker left after {} ms", took.as_millis());
    assert!(took > Duration::from_millis(1_500) && took < Duration::from_millis(3_900), "{took:?}");
    assert_eq!(std::fs::read_dir(world.path("data/work")).unwrap().count(), 0);
}
