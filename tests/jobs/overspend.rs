//! Five targets share a budget that is cut anywhere, with usage that is known, and with a server
//! that is killed in half of the cases: no budget is overrun by more than the one last floor call,
//! and no target is stopped while money for a call of it remains.
//!
//! `CODY_CASES` says how many cases, up to 200; 8 by default. `CODY_SEED` says where they begin.

use std::process::Stdio;
use std::time::Duration;

use cody_batch::app::Told;
use cody_batch::claude::models::ModelTable;
use cody_batch::job::JobState;
use cody_events::event::Event;
use cody_events::ids::{TargetNumber, ThreadNumber};
use cody_events::outcome::Outcome;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::harness::{World, json, repository, wait_for};

const TARGETS: usize = 5;
const MODEL: &str = "claude-opus-5-5";
/// A request's frame and the harness's own words, in tokens at worst: what a bound on the next
/// request counts beside its history.
const SLACK_TOKENS: u64 = 4_000;

/// What one case found.
#[derive(Debug, Default)]
struct Found {
    budget: u64,
    spent: u64,
    /// The price of the last floor call, if one was made over the budget.
    last_call: u64,
    stopped: usize,
    ready: usize,
    orphans: usize,
    killed: bool,
}

fn cases() -> u64 {
    let asked = std::env::var("CODY_CASES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(8).min(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_budget_is_overrun_by_more_than_a_floor_call_and_nobody_starves() {
    let first: u64 =
        std::env::var("CODY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut all = Vec::new();
    for seed in first..first + cases() {
        all.push(case(seed).await);
    }
    let sum = |of: fn(&Found) -> usize| all.iter().map(of).sum::<usize>();
    let over: Vec<&Found> = all.iter().filter(|found| found.spent > found.budget).collect();
    let worst = over.iter().map(|f| (f.spent - f.budget) * 100 / f.last_call.max(1)).max();
    let used = all.iter().map(|f| f.spent.min(f.budget) * 100 / f.budget).sum::<u64>();
    println!(
        "{} cases from seed {first}, {} with a killed server: {} targets ready, {} stopped by the \
         budget, {} calls charged as orphans; {} budgets overrun, the worst by {} % of one floor \
         call; {} % of the budgets used on average",
        all.len(),
        sum(|found| usize::from(found.killed)),
        sum(|found| found.ready),
        sum(|found| found.stopped),
        sum(|found| found.orphans),
        over.len(),
        worst.unwrap_or(0),
        used / all.len() as u64,
    );
}

/// Turns that cost what the seed says; the same for every target.
fn script(chance: &mut StdRng) -> (String, u64) {
    let mut text = String::from(
        "[[conversation]]\nname = \"change\"\nmatch = { system = [\"You change one repository\"] }\n",
    );
    let turns = chance.random_range(1..5);
    let mut tokens = 0;
    for turn in 0..turns {
        let output = chance.random_range(100..8_000);
        tokens += output;
        text.push_str(&format!(
            "[[conversation.turn]]\ndelay_ms = {}\nusage = {{ output_tokens = {output} }}\n\
             content = [{{ tool = \"str_replace_based_edit_tool\", input = {{ command = \"create\", path = \"/repo/f{turn}\", file_text = \"x\" }} }}]\n",
            chance.random_range(0..60),
        ));
    }
    text.push_str(
        "[[conversation.turn]]\nusage = { output_tokens = 900 }\ncontent = [{ tool = \"finish\", input = \
         { outcome = \"changed\", title = \"T\", summary = \"S.\", evidence = [\"f0\"] } }]\n",
    );
    // At Opus 5.5's 20 dollars for a million.
    (text, (tokens + 900) * 20)
}

async fn case(seed: u64) -> Found {
    let mut chance = StdRng::seed_from_u64(seed);
    let (script, price_of_one) = script(&mut chance);
    let world = World::new(&script).await;
    let whole = price_of_one * TARGETS as u64;
    // From what pays for hardly a call to more than enough.
    let budget = chance.random_range(300_000..whole.max(300_001) + 1_500_000);
    let own = chance.random_range(300_000..3_000_000);
    let mut args: Vec<String> =
        ["run", "--prompt", "Do it", "--json", "--no-checks", "--no-review", "--model", MODEL]
            .map(str::to_owned)
            .to_vec();
    for (flag, micros) in [("--job-budget-usd", budget), ("--budget-usd", own)] {
        args.extend([flag.to_owned(), format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)]);
    }
    for number in 1..=TARGETS {
        let path = world.path(&format!("r{number}"));
        repository(&path, &[("a.txt", "a\n")]);
        args.extend(["--repo".to_owned(), path.display().to_string()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut run = world.command(&args);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let killed = chance.random_bool(0.5);
    if killed {
        let calls = chance.random_range(1..12);
        wait_for(&world.path("data"), &mut run, |told| {
            told.iter().filter(|told| told.recorded.kind == "call-permitted").count() >= calls
        })
        .await;
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..40))).await;
        run.kill().unwrap();
    }
    tokio::task::spawn_blocking(move || run.wait().unwrap()).await.unwrap();
    if killed {
        let resumed = world.run(&["resume", "latest", "--json"]).await;
        assert!(json(&resumed)["status"].is_string(), "seed {seed}");
    }
    look_through(&world.events().await, seed, budget, own, killed)
}

/// Judges a whole log: every prefix of it keeps the budget.
fn look_through(told: &[Told], seed: u64, budget: u64, own: u64, killed: bool) -> Found {
    let mut found = Found { budget, killed, ..Found::default() };
    let mut state = JobState::default();
    let mut last_calls = 0;
    for event in told.iter().map(|told| &told.event) {
        if let Event::CallPermitted(permit) = event {
            let job = state.job.as_ref().unwrap();
            let over_job = permit.reserved_micros > job.shared_remaining_micros().unwrap();
            let over_own =
                permit.reserved_micros > job.own_remaining_micros(&job.targets[&permit.target]);
            assert_eq!(over_job || over_own, permit.last, "seed {seed}: {permit:?}");
            if over_job {
                last_calls += 1;
                found.last_call = permit.reserved_micros;
            }
        }
        if let Event::TargetFinished(finished) = event
            && finished.outcome == Outcome::BudgetStopped
        {
            assert_stopped_for_want(&state, finished.target, seed);
        }
        if let Event::CallFailed(failed) = event {
            found.orphans += usize::from(failed.assumed_micros > 0);
        }
        state.evolve(event);
        let Some(job) = &state.job else { continue };
        let over = job.committed_micros().saturating_sub(budget);
        assert!(over <= found.last_call, "seed {seed}: over by {over} of {budget}");
        for target in job.targets.values() {
            let over = target.money.committed_micros().saturating_sub(own);
            let most = target.permit.map_or(u64::MAX, |permit| permit.reserved_micros);
            assert!(over <= most, "seed {seed}: target {} over by {over}", target.number);
        }
    }
    assert!(last_calls <= 1, "seed {seed}: {last_calls} calls overran the job's budget");
    let job = state.job.unwrap();
    assert!(job.finished, "seed {seed}");
    found.spent = job.spent_micros();
    let ends = |outcome| job.targets.values().filter(|t| t.outcome == Some(outcome)).count();
    (found.ready, found.stopped) = (ends(Outcome::DiffReady), ends(Outcome::BudgetStopped));
    assert_eq!(found.ready + found.stopped, TARGETS, "seed {seed}: {:?}", job.targets);
    found
}

/// What is left when a target is stopped does not pay for its next call at the floor.
fn assert_stopped_for_want(state: &JobState, target: TargetNumber, seed: u64) {
    let job = state.job.as_ref().unwrap();
    let target = &job.targets[&target];
    let table = ModelTable::shipped().unwrap();
    let offer = table.lookup(MODEL, "2026-11-22".parse().unwrap()).unwrap();
    let context = target.thread(ThreadNumber(1)).map_or(0, |thread| thread.context_tokens);
    // Before the first response, the whole request is bounded by its bytes.
    let input = if context == 0 { 24_000 } else { context + SLACK_TOKENS };
    let floor = offer.floor_micros(input);
    let left = job.remaining_micros(target);
    assert!(left < floor, "seed {seed}: {left} were left, and a call costs at most {floor}");
}
