//! A key makes a wish come true once, also one that changes nothing, is taken back by another in between,
//! or is asked for twice at the same time.

use cody_events::event::Event;
use serde_json::{Value, json};

use super::review::{Team, code};
use super::running::{count, log};

/// Longer than any test: Claude is still thinking when it ends.
const THINKING_MS: u64 = 600_000;

const JOB: &str = "query($id: ID!) { job(id: $id) { status limits { maxTurns budgetMicros } } }";

fn mutation(name: &str, input: &str) -> String {
    format!(
        "mutation($input: {input}!) {{ {name}(input: $input) {{
            position job {{ status }} userErrors {{ code message next }} }} }}"
    )
}

/// A job at work, and an admin of its server.
struct Work {
    team: Team,
    token: String,
    id: String,
}

impl Work {
    async fn begin(thinking_ms: u64) -> Self {
        let team = Team::new(thinking_ms).await;
        let token = team.token("admin", &["admin"]).await;
        let created = team.create_job(&token, "create", "Greet").await;
        assert_eq!(code(&created), None, "{created}");
        let id = created["job"]["jobId"].as_str().unwrap().to_owned();
        Self { team, token, id }
    }

    /// Asks for `name` with `key`, and what `more` says.
    async fn wish(&self, name: &str, key: &str, more: Value) -> Value {
        let input = match name {
            "pauseJob" => "PauseJobInput",
            "resumeJob" => "ResumeJobInput",
            "cancelJob" => "CancelJobInput",
            "archiveJob" => "ArchiveJobInput",
            other => panic!("{other}"),
        };
        let mut wish = json!({ "jobId": self.id, "clientMutationId": key });
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let query = mutation(name, input);
        self.team.ask(&self.token, &query, json!({ "input": wish })).await[name].clone()
    }

    async fn job(&self) -> Value {
        self.team.ask(&self.token, JOB, json!({ "id": self.id })).await["job"].clone()
    }

    async fn count(&self, fit: impl Fn(&Event) -> bool) -> usize {
        count(&log(&self.team.world).await, fit)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_wish_changed_nothing_changes_nothing_later() {
    let work = Work::begin(THINKING_MS).await;
    let none = json!({});
    let nothing = work.wish("resumeJob", "go on", none.clone()).await;
    assert_eq!(code(&nothing), None, "{nothing}");
    let paused = work.wish("pauseJob", "rest", none.clone()).await;
    assert_eq!(code(&paused), None, "{paused}");
    let again = work.wish("resumeJob", "go on", none.clone()).await;
    assert_eq!((code(&again), &again["position"]), (None, &nothing["position"]));
    assert_eq!(work.count(|event| matches!(event, Event::Resumed(_))).await, 0);
    // A pause that was there before uses its key up as well, and only for itself.
    let twice = work.wish("pauseJob", "rest more", none.clone()).await;
    assert_eq!(code(&twice), None, "{twice}");
    let other = work.wish("resumeJob", "rest more", none.clone()).await;
    assert_eq!(code(&other), Some("KEY_REUSED"));
    assert_eq!(code(&work.wish("resumeJob", "now", none.clone()).await), None);
    for key in ["rest", "rest more"] {
        let late = work.wish("pauseJob", key, none.clone()).await;
        assert_eq!(code(&late), None, "{late}");
    }
    assert_eq!(work.count(|event| matches!(event, Event::Paused(_))).await, 1);
    assert_eq!(work.count(|event| matches!(event, Event::Resumed(_))).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_twice_at_once_has_one_effect() {
    let work = Work::begin(THINKING_MS).await;
    let none = || json!({});
    let (one, two) =
        tokio::join!(work.wish("resumeJob", "n", none()), work.wish("resumeJob", "n", none()));
    assert_eq!((code(&one), code(&two)), (None, None), "{one} {two}");
    assert_eq!(one["position"], two["position"]);
    let why = || json!({ "reason": "Enough." });
    let (one, two) =
        tokio::join!(work.wish("cancelJob", "c", why()), work.wish("cancelJob", "c", why()));
    assert_eq!((code(&one), code(&two)), (None, None), "{one} {two}");
    assert_eq!(one["position"], two["position"]);
    let later = work.wish("cancelJob", "c", why()).await;
    assert_eq!((code(&later), &later["position"]), (None, &one["position"]));
    let other = work.wish("cancelJob", "c", json!({ "reason": "Too much." })).await;
    assert_eq!(code(&other), Some("KEY_REUSED"));
    // Two requests that are not the same, with one key at once: one has it, the other is told.
    let (one, two) = tokio::join!(
        work.wish("archiveJob", "a", json!({ "archived": true })),
        work.wish("archiveJob", "a", json!({ "archived": false })),
    );
    let mut codes = [code(&one), code(&two)];
    codes.sort_unstable();
    assert_eq!(codes, [None, Some("KEY_REUSED")], "{one} {two}");
    assert_eq!(work.count(|event| matches!(event, Event::Cancelled(_))).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumption_that_is_refused_leaves_the_limits_as_they_were() {
    let work = Work::begin(0).await;
    work.team.ended(&work.token, &work.id).await;
    let before = work.job().await;
    let longer = json!({ "limits": { "maxTurns": 99 } });
    let refused = work.wish("resumeJob", "r", longer).await;
    assert_eq!(code(&refused), Some("WRONG_STATE"), "{refused}");
    assert_eq!(work.job().await["limits"], before["limits"]);
    assert_eq!(work.count(|event| matches!(event, Event::BudgetChanged(_))).await, 0);
}
