//! Traces of a running server, as a collector gets them; and a collector that is none.

use std::time::{Duration, Instant};

use cody_events::event::Event;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::collector::Collector;
use super::harness::{World, repository};
use super::running::{Running, count, detach, log_until, script};

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_steps_of_a_target_and_nobodys_words() {
    let collector = Collector::start().await;
    let world = World::new(&script(0)).await;
    repository(&world.path("secretive-name"), &[("greet.sh", "echo hello\n")]);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("CODY_TRACES", "cody_batch=debug"),
    ];
    let mut running = Running::start(&world, &environment).await;
    let job = detach(&world, &["./secretive-name"]).await;
    log_until(&world, |events| count(events, |event| matches!(event, Event::Finished(_))) == 1)
        .await;
    running.signal("TERM");
    assert!(running.ended().await.success());
    // The last spans were sent before it ended.
    let spans = collector.spans();
    for name in ["http-request", "start-worker", "server-step", "turn", "claude-call", "append"] {
        assert!(names(&spans).contains(&name), "no {name} in {:?}", names(&spans));
    }
    let call = spans.iter().find(|span| span.name == "claude-call").unwrap();
    let turn = spans.iter().find(|span| span.span_id == call.parent_span_id).unwrap();
    assert_eq!((turn.name.as_str(), &turn.trace_id), ("turn", &call.trace_id));
    let step = spans.iter().find(|span| span.span_id == turn.parent_span_id).unwrap();
    assert_eq!(step.name, "server-step");
    let all = format!("{spans:?}");
    assert!(all.contains(&job), "a span tells of which job it is");
    for word in ["Greet whoever", "secretive-name", "sk-ant-canary", "sed -i", "echo hello"] {
        assert!(!all.contains(word), "{word} is somebody's");
    }
    assert!(spans.iter().all(|span| span.events.is_empty()), "log lines stay in the log");
    assert!(format!("{:?}", collector.resource()).contains("cody-batch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_slows_and_stops_nothing() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let world = World::new(&script(0)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
    ];
    let mut running = Running::start(&world, &environment).await;
    detach(&world, &["./app"]).await;
    log_until(&world, |events| count(events, |event| matches!(event, Event::Finished(_))) == 1)
        .await;
    assert_eq!(running.readiness().await.0, 200);
    let told = Instant::now();
    running.signal("TERM");
    assert!(running.ended().await.success());
    assert!(told.elapsed() < Duration::from_secs(9), "{:?}", told.elapsed());
}
