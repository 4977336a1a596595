//! Readiness, figures and log lines of a running server; and that jobs share its workers fairly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cody_events::event::Event;
use serde_json::Value;

use super::harness::{World, repository};
use super::peers::run_python;
use super::running::{Running, count, detach, log, log_until, script};

/// The page that says what figures and fields mean.
const PAGE: &str = include_str!("../../docs/operations.md");

/// A sample: its name, its labels, its value.
type Samples = Vec<(String, BTreeMap<String, String>, f64)>;

/// The figures as the foreign parser reads them.
async fn samples(running: &Running, format: &str, accept: &str) -> Samples {
    let (status, text) = running.get("/metrics", &[("accept", accept)]).await;
    assert_eq!(status, 200, "{text}");
    let (read, is_well) = run_python("read_metrics.py", &[format.to_owned()], text.clone()).await;
    assert!(is_well, "{text}");
    let samples: Vec<Value> = serde_json::from_str(&read).unwrap();
    let sample = |sample: &Value| {
        let labels = serde_json::from_value(sample["labels"].clone()).unwrap();
        (sample["name"].as_str().unwrap().to_owned(), labels, sample["value"].as_f64().unwrap())
    };
    samples.iter().map(sample).collect()
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// The sum of the samples of `name` whose labels include these.
fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |own: &BTreeMap<String, String>| {
        labels.iter().all(|(label, value)| own.get(*label).is_some_and(|own| own == value))
    };
    let found: Vec<f64> = samples
        .iter()
        .filter(|(own, labels, _)| own == name && has(labels))
        .map(|(_, _, value)| *value)
        .collect();
    assert!(!found.is_empty(), "there is no {name} {labels:?} in {samples:#?}");
    found.iter().sum()
}

/// Names and words that a backtick quotes in the tables below `heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the page has it");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|row| row.split('|').nth(1));
    let quoted = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
#[tokio::test(flavor = "multi_thread")]
async fn figures_agree_with_the_log_and_a_foreign_parser_reads_them() {
    let world = World::new(&script(0)).await;
    repository(&world.path("secretive-name"), &[("greet.sh", "echo hello\n")]);
    let running = Running::start(&world, &[]).await;
    let job = detach(&world, &["./secretive-name"]).await;
    log_until(&world, |events| {
        count(events, |event| matches!(event, Event::AttemptEnded(_))) == 1
            && count(events, |event| matches!(event, Event::Finished(_))) == 1
    })
    .await;
    // Views and the count of states follow in a moment.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let events = log(&world).await;
    let turns: Vec<_> = events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::ClaudeTurn(turn) => Some(turn.clone()),
            _ => None,
        })
        .collect();
    for (format, accept) in [("openmetrics", OPENMETRICS), ("prometheus", "text/plain")] {
        let samples = samples(&running, format, accept).await;
        let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
            assert_eq!(sum(&samples, name, labels), expected, "{name} {labels:?}");
        };
        is("cody_batch_turns_total", &[], turns.len() as f64);
        let calls = count(&events, |event| matches!(event, Event::CallPermitted(_)));
        is("cody_batch_claude_calls_total", &[], calls as f64);
        is("cody_batch_claude_call_duration_seconds_count", &[], turns.len() as f64);
        let output: u64 = turns.iter().map(|turn| turn.usage.output_tokens).sum();
        assert!(output > 0);
        is("cody_batch_tokens_total", &[("kind", "output")], output as f64);
        let known: u64 = turns.iter().map(|turn| turn.cost_micros).sum();
        assert!(known > 0);
        is("cody_batch_cost_microdollars_total", &[("basis", "known")], known as f64);
        is("cody_batch_cost_microdollars_total", &[("basis", "assumed")], 0.0);
        is("cody_batch_attempts_ended_total", &[("end", "completed")], 1.0);
        is("cody_batch_attempts_ended_total", &[], 1.0);
        is("cody_batch_targets_finished_total", &[("outcome", "diff-ready")], 1.0);
        is("cody_batch_jobs", &[("status", "succeeded")], 1.0);
        is("cody_batch_jobs", &[], 1.0);
        is("cody_batch_targets", &[("status", "finished")], 1.0);
        is("cody_batch_log_position", &[], events.len() as f64);
        is("cody_batch_views_position", &[], events.len() as f64);
        is("cody_batch_views_lag_events", &[], 0.0);
        is("cody_batch_workers", &[], 0.0);
        // The opening of the epoch was recorded before anybody counted, or after.
        let recorded = sum(&samples, "cody_batch_events_total", &[]);
        assert!(events.len() as f64 - recorded <= 1.0, "{recorded} of {}", events.len());
        assert!(sum(&samples, "cody_batch_log_commit_duration_seconds_count", &[]) > 10.0);
        let answered = [("route", "worker"), ("status", "200")];
        assert!(sum(&samples, "cody_batch_http_requests_total", &answered) > 5.0);
        assert!(sum(&samples, "process_resident_memory_bytes", &[]) > 1e6);
        // Everything is on the page, and no name or id of anybody is a label.
        let names = documented("Figures");
        for (name, labels, _) in &samples {
            let family = ["_total", "_bucket", "_count", "_sum"]
                .iter()
                .fold(name.as_str(), |name, end| name.strip_suffix(end).unwrap_or(name));
            assert!(names.contains(family) || names.contains(name), "{name} is not on the page");
            for value in labels.values() {
                assert!(
                    !value.contains("secretive") && !job.starts_with(value.as_str()),
                    "{value}"
                );
            }
        }
    }
    let (status, _) = running.get("/metrics", &[("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(status, 401, "a proxy on this machine asks for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_takes_nothing_is_not_ready_until_it_does_again() {
    let world = World::new(&script(0)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    let running = Running::start(&world, &[]).await;
    let (status, said) = running.readiness().await;
    assert_eq!(
        (status, &said["status"], &said["problems"]),
        (200, &"ready".into(), &serde_json::json!([]))
    );
    // Somebody else holds the file for writing.
    let other = rusqlite::Connection::open(world.path("data/log.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let args = ["run", "--detach", "--no-checks", "--prompt", "Greet", "--repo", "./app"];
    let mut command = world.command(&args);
    command.current_dir(world.dir.path());
    assert!(!super::harness::finish(command).await.status.success());
    let (status, said) = running.readiness().await;
    assert_eq!((status, &said["problems"][0]["code"]), (503, &"log-unavailable".into()));
    other.execute_batch("ROLLBACK").unwrap();
    let started = std::time::Instant::now();
    while running.readiness().await.0 != 200 {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", running.readiness().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_share_two_workers() {
    let world = World::new(&script(1_200)).await;
    let names = ["./a1", "./a2", "./a3", "./a4", "./a5", "./b1", "./b2"];
    for name in names {
        repository(&world.path(name), &[("greet.sh", "echo hello\n")]);
    }
    let _running = Running::start(&world, &[("CODY_PARALLEL", "2")]).await;
    let first = detach(&world, &names[..5]).await;
    let second = detach(&world, &names[5..]).await;
    let events =
        log_until(&world, |events| count(events, |event| matches!(event, Event::Finished(_))) == 2)
            .await;
    let of_second = |stream: &str| stream.contains(&second);
    let came = events.iter().position(|(stream, _)| of_second(stream)).unwrap();
    let requested: String = events[came..]
        .iter()
        .filter(|(_, event)| matches!(event, Event::AttemptRequested(_)))
        .map(|(stream, _)| if of_second(stream) { 'b' } else { 'a' })
        .collect();
    assert_ne!(first, second);
    let left = requested.matches('a').count();
    assert!(left >= 3, "the second came when the first was nearly done: {requested}");
    // The first places that are free go to the one that has none, but for those that were given away
    // while its base was fetched; from then on each has one.
    assert!(requested.find('b').unwrap() <= 2, "{requested}");
    assert!(requested.rfind('b').unwrap() < requested.rfind('a').unwrap(), "{requested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_json_whose_fields_are_on_the_page() {
    let world = World::new(&script(0)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    let environment = [("CODY_LOG_FORMAT", "json"), ("CODY_LOG", "cody_batch=debug")];
    let mut running = Running::start(&world, &environment).await;
    detach(&world, &["./app"]).await;
    std::fs::remove_dir_all(world.path("app")).unwrap();
    let words = running
        .until("a line tells of the target that has no repository any more", |running| {
            let words = running.words();
            words.iter().any(|line| line.contains("no worker could be asked for")).then_some(words)
        })
        .await;
    let fields = documented("Log lines");
    let lines: Vec<Value> = words
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    for line in &lines {
        let own = line.as_object().unwrap().keys();
        let spans = line["span"].as_object().map(|span| span.keys().collect::<Vec<_>>());
        for field in own.chain(spans.unwrap_or_default()) {
            assert!(fields.contains(field), "{field} is not on the page: {line}");
        }
    }
    let told = lines.iter().find(|line| line["message"] == "no worker could be asked for").unwrap();
    assert_eq!((&told["level"], &told["target"]), (&"WARN".into(), &"1".into()));
    assert!(told["job"].is_string() && told["error"].is_string(), "{told}");
}
