//! How a server ends: what is new is turned away, what was paid for is kept, and the next one goes on.

use std::time::{Duration, Instant};

use cody_events::event::Event;

use super::harness::{World, http, repository};
use super::running::{Running, count, detach, log, log_until, script};

fn permitted(events: &[(String, Event)]) -> usize {
    count(events, |event| matches!(event, Event::CallPermitted(_)))
}

/// A server in the middle of a call that takes so long.
async fn calling(delay_ms: u64, variables: &[(&str, &str)]) -> (World, Running) {
    let world = World::new(&script(delay_ms)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    let running = Running::start(&world, variables).await;
    detach(&world, &["./app"]).await;
    log_until(&world, |events| permitted(events) == 1).await;
    (world, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_its_call_and_the_next_one_goes_on() {
    let (world, mut running) = calling(2_500, &[]).await;
    running.signal("TERM");
    let started = Instant::now();
    while running.readiness().await.0 == 200 {
        assert!(started.elapsed() < Duration::from_secs(2), "it stays ready");
    }
    let (status, said) = running.readiness().await;
    assert_eq!((status, &said["problems"][0]["code"]), (503, &"stopping".into()));
    // What is new is turned away, by whatever door; what is asked about the server is answered.
    let refused = http().post(format!("{}/control/v1", running.url)).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(running.get("/metrics", &[]).await.0, 200);
    assert!(running.ended().await.success());
    let events = log(&world).await;
    assert_eq!(permitted(&events), 1, "no call was permitted any more");
    assert_eq!(count(&events, |event| matches!(event, Event::ClaudeTurn(_))), 1);
    assert!(!world.path("data/server.json").exists());
    let _next = Running::start(&world, &[]).await;
    let events =
        log_until(&world, |events| count(events, |event| matches!(event, Event::Finished(_))) == 1)
            .await;
    assert_eq!(count(&events, |event| matches!(event, Event::CallFailed(_))), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_twice_stops_at_once() {
    let (world, mut running) = calling(60_000, &[]).await;
    running.signal("TERM");
    running
        .until("it says what it waits for", |running| {
            running.words().iter().any(|line| line.contains("Stopping when 1 call")).then_some(())
        })
        .await;
    let told = Instant::now();
    running.signal("TERM");
    assert!(running.ended().await.success());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert_eq!(count(&log(&world).await, |event| matches!(event, Event::ClaudeTurn(_))), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_end_holds_a_stop_up_for_so_long_and_no_longer() {
    let (_world, mut running) = calling(60_000, &[("CODY_STOP_TIMEOUT_MS", "500")]).await;
    let told = Instant::now();
    running.signal("TERM");
    assert!(running.ended().await.success());
    let took = told.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(4), "{took:?}");
}
