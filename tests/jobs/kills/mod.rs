//! Workers and servers killed with SIGKILL at random moments, many times a job: the job ends with the
//! same tree as undisturbed, each logged turn was asked for once, whatever else was asked for is
//! charged, and nothing is left behind.
//!
//! `CODY_CASES` says how many kills there are, 100 by default; `CODY_SEED` where chance begins. Half
//! of the kills fall when chance wants, half on the stage that was hit least.

mod judge;
mod siege;
mod stage;

use std::sync::{Arc, Mutex};

use siege::{Report, siege, undisturbed};
use stage::{Histogram, Stage};

/// How many kills one job has to bear.
const KILLS_A_JOB: usize = 10;
/// Jobs under siege at once.
const AT_ONCE: usize = 3;
/// What each stage must be hit in the full count.
const FULL_COUNT: usize = 1_000;
const AT_LEAST: usize = 5;

const SCRIPT: &str = r#"
[[conversation]]
name = "change"
match = { system = ["You change one repository"] }
repeat_on = "interrupted, outcome unknown"

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "view", path = "/repo/greet.sh" } },
    { tool = "bash", input = { command = "sleep 0.1; cat greet.sh" } },
]
delay_ms = 60

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "str_replace", path = "/repo/greet.sh", old_str = "hello", new_str = "hello world" } },
    { tool = "str_replace_based_edit_tool", input = { command = "create", path = "/repo/docs/why.md", file_text = "Because.\n" } },
    { tool = "bash", input = { command = "sleep 0.1; printf 'made\\0up' >data.bin; chmod +x greet.sh" } },
]
delay_ms = 60

[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } }]
delay_ms = 60

[[conversation.turn]]
content = [
    { tool = "str_replace_based_edit_tool", input = { command = "create", path = "/repo/passes", file_text = "yes\n" } },
    { tool = "finish", input = { outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] } },
]
delay_ms = 60

[[conversation]]
name = "review"
match = { system = ["You review a change"] }

[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
delay_ms = 60
"#;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn covered(reports: &[Report], of: fn(&Report) -> usize) -> usize {
    reports.iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_a_thousand_times_a_job_ends_as_if_nothing_had_been() {
    let (wanted, seed) = (number("CODY_CASES", 100), number("CODY_SEED", 1) as u64);
    let tree = undisturbed(SCRIPT).await;
    let histogram = Arc::new(Mutex::new(Histogram::default()));
    let mut sieges = tokio::task::JoinSet::new();
    let mut reports = Vec::new();
    let mut next = seed;
    loop {
        let kills = histogram.lock().unwrap().kills();
        // What is rare is waited for, twice as long at most; what never comes fails below.
        let is_rare_missing = wanted >= FULL_COUNT
            && kills < 2 * wanted
            && (covered(&reports, |report| report.adopted) == 0
                || covered(&reports, |report| report.interrupted) == 0);
        let is_enough = kills >= wanted && !is_rare_missing;
        if !is_enough && sieges.len() < AT_ONCE {
            sieges.spawn(siege(SCRIPT, next, KILLS_A_JOB, Arc::clone(&histogram)));
            next += 1;
            continue;
        }
        let Some(report) = sieges.join_next().await else { break };
        let report = report.unwrap();
        assert_eq!(report.tree, tree, "seed {}", report.seed);
        reports.push(report);
    }
    let histogram = Arc::into_inner(histogram).unwrap().into_inner().unwrap();
    histogram.print();
    let sum = |of| covered(&reports, of);
    println!(
        "{} kills in {} jobs from seed {seed}: {} turns logged, {} responses not logged and charged, \
         {} calls charged as orphans, {} workers adopted by the next server, {} turns of tools \
         interrupted twice",
        histogram.kills(),
        reports.len(),
        sum(|report| report.turns),
        sum(|report| report.unlogged),
        sum(|report| report.orphans),
        sum(|report| report.adopted),
        sum(|report| report.interrupted),
    );
    if wanted >= FULL_COUNT {
        for stage in Stage::ALL {
            assert!(histogram.at(stage) >= AT_LEAST, "{} was hit too seldom", stage.name());
        }
        assert!(sum(|report| report.adopted) > 0 && sum(|report| report.interrupted) > 0);
    }
}
