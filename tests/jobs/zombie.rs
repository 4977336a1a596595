//! What workers may say, when, and how often: this test is the worker. Reports that come twice, too
//! early, too late, or from an attempt that another has taken over, never make a wrong state.

use std::time::{Duration, Instant};

use cody_batch::plan::JobRequest;
use cody_events::attempt::AttemptEnd;
use cody_events::event::Event;
use serde_json::json;

use super::played_worker::{LEASE_MS, code, stage};

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_are_late_early_doubled_or_a_zombies_change_nothing() {
    let script = "[[conversation]]\nname = \"c\"\n[[conversation.turn]]\ncontent = [{ tool = \"list_files\", input = { path = \"/repo\" } }]\n";
    let request = JobRequest { no_checks: true, ..JobRequest::default() };
    let stage = stage(script, &[("a.txt", "a\n")], request).await;
    let mut first = stage.worker(&[]).await;
    // Only who was asked for may claim, and whoever lost the answer claims again.
    let wrong = first.say("claim", &stage.claim_of(&first, "guessed")).await;
    assert_eq!(code(&wrong), (401, "fenced"));
    let before = first.claim(&stage).await;
    let old_token = first.token.clone();
    let again = first.claim(&stage).await;
    assert_eq!((before.attempt, again.attempt), (again.attempt, before.attempt));
    assert_ne!(old_token, first.token);
    // Too early, in any order.
    assert_eq!(code(&first.say("checks", &first.baseline()).await), (409, "out-of-order"));
    assert_eq!(code(&first.say("tools", &first.tools(1, "x")).await), (409, "out-of-order"));
    let (status, receipt) = first.say("scan", &first.scan()).await;
    assert_eq!((status, receipt), (200, json!({ "recorded": true })));
    // Twice is once.
    let (status, receipt) = first.say("scan", &first.scan()).await;
    assert_eq!((status, receipt), (200, json!({ "recorded": false })));
    assert_eq!(first.say("checks", &first.baseline()).await.0, 200);
    let (status, step) = first.say("next", &json!({})).await;
    assert_eq!(status, 200, "{step}");
    let id = step["run-tools"]["tools"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(code(&first.say("tools", &first.tools(2, &id)).await), (409, "out-of-order"));

    // It falls silent, its lease runs out, and another is asked for.
    let silent = Instant::now();
    let mut second = stage.worker(&[&first.request]).await;
    assert!(silent.elapsed() >= Duration::from_millis(LEASE_MS - 200), "{:?}", silent.elapsed());
    // The zombie is fenced in whatever it says, before the other claims and after.
    for route in ["heartbeat", "next", "tree", "output"] {
        let body = json!({ "turn": 1, "tool": id });
        assert_eq!(code(&first.say(route, &body).await), (401, "fenced"), "{route}");
    }
    assert_eq!(code(&first.say("tools", &first.tools(1, &id)).await), (401, "fenced"));
    assert_eq!(
        code(&first.say("claim", &stage.claim_of(&first, &first.nonce)).await),
        (401, "fenced")
    );
    let count = stage.kinds().await.len();
    second.claim(&stage).await;
    assert_eq!(second.assignment.as_ref().unwrap().attempt, before.attempt.next());
    let end = json!({ "how": "completed", "detail": null });
    assert_eq!(code(&first.say("end", &end).await), (401, "fenced"));
    assert_eq!(code(&first.say("scan", &first.scan()).await), (401, "fenced"));
    assert_eq!(stage.kinds().await.len(), count + 1);

    // The second gets the same response to work on, and its report is taken once.
    let (_, step) = second.say("next", &json!({})).await;
    assert_eq!(step["run-tools"]["tools"][0]["id"], id.as_str());
    assert_eq!(second.say("tools", &second.tools(1, &id)).await.1, json!({ "recorded": true }));
    assert_eq!(second.say("tools", &second.tools(1, &id)).await.1, json!({ "recorded": false }));
    let told = stage.server.app.events(stage.job, 0).await.unwrap();
    let ends: Vec<AttemptEnd> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::AttemptEnded(e) => Some(e.how),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [AttemptEnd::Lost]);
    assert_eq!(stage.kinds().await.iter().filter(|kind| *kind == "tools-ran").count(), 1);
    assert_eq!(stage.world.player.heard().len(), 1, "the response was asked for once");
}
