//! What a client follows: it is told that a job changed, and no more once nothing may be told; and what
//! is under way when a server is asked to stop ends as if it had come to its end.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use super::client::Era;
use super::tools::Team;

/// The messages of a stream, as they come.
struct Stream(Response, String);

impl Stream {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.1.split_once('\n') {
                let data = line.strip_prefix("data:").map(|data| data.trim().to_owned());
                self.1 = rest.to_owned();
                match data.filter(|data| !data.is_empty()) {
                    Some(data) => return Some(serde_json::from_str(&data).unwrap()),
                    None => continue,
                }
            }
            let piece = self.0.chunk().await.ok()??;
            self.1.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_job_is_told_of_it_until_the_server_stops() {
    let mut team = Team::new(2_000).await;
    let client = team.client("runner", &["run"], Era::Newer).await;
    let job = client.told("create_job", team.job()).await["job_id"].clone();
    let (uri, other) =
        (format!("codybatch://jobs/{}", job.as_str().unwrap()), "file:///etc/passwd");
    let wanted = json!({ "notifications": { "resourceSubscriptions": [uri, other] } });
    let answer = client.request("subscriptions/listen", wanted).send().await.unwrap();
    let mut stream = Stream(answer, String::new());
    let first = stream.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["notifications"]["resourceSubscriptions"], json!([uri]));
    let told = stream.next().await.unwrap();
    assert_eq!(told["method"], "notifications/resources/updated");
    assert_eq!(told["params"]["uri"], uri);
    let read = client.ask("resources/read", json!({ "uri": uri })).await;
    assert_eq!(read["cacheScope"], "private");
    // A wait that is under way ends with an answer, not with an error.
    let head = client.told("get_job", json!({ "job_id": job })).await["position"].as_u64().unwrap();
    let waiting = client.clone();
    let wait = tokio::spawn(async move {
        waiting.told("wait_for_job", json!({ "job_id": job, "after": head + 1_000 })).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    team.server.signal("TERM");
    let waited = wait.await.unwrap();
    assert_eq!(waited["reason"], "timeout", "{waited}");
    let end = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(message) = stream.next().await {
            if message.get("result").is_some() {
                return;
            }
        }
    });
    end.await.expect("the stream ends with the server");
    assert!(team.server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_no_more_when_the_token_is_revoked() {
    let team = Team::new(20_000).await;
    let follower = team.client("follower", &["read"], Era::Newer).await;
    let runner = team.client("runner", &["run"], Era::Newer).await;
    let job = runner.told("create_job", team.job()).await["job_id"].clone();
    let uri = format!("codybatch://jobs/{}", job.as_str().unwrap());
    let wanted = json!({ "notifications": { "resourceSubscriptions": [uri] } });
    let answer = follower.request("subscriptions/listen", wanted).send().await.unwrap();
    let mut stream = Stream(answer, String::new());
    let first = stream.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    team.revoke("follower").await;
    let end = async { while stream.next().await.is_some() {} };
    let ended = tokio::time::timeout(Duration::from_secs(10), end).await;
    ended.expect("it ends while the job goes on");
    let now = runner.told("get_job", json!({ "job_id": job })).await;
    assert_eq!(now["status"], "running", "{now}");
    runner.told("cancel_job", json!({ "job_id": job })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_asks_for_its_scope_and_no_more() {
    let team = Team::new(0).await;
    let admin = team.client("admin", &["admin"], Era::Newer).await;
    let job = admin.told("create_job", team.job()).await["job_id"].clone();
    super::tools::settled(&admin, &job).await;
    let of_job = json!({ "job_id": job });
    let of_target = json!({ "job_id": job, "target": 1 });
    let verdict =
        json!({ "job_id": job, "target": 1, "diff_hash": "0".repeat(64), "verdict": "reject" });
    let table = [
        ("plan_job", team.job(), "run"),
        ("create_job", team.job(), "run"),
        ("get_job", of_job.clone(), "read"),
        ("list_jobs", json!({}), "read"),
        ("wait_for_job", of_job.clone(), "read"),
        ("get_events", of_job.clone(), "read"),
        ("get_thread", of_target.clone(), "read"),
        ("get_diff", of_target, "read"),
        ("review_diff", verdict, "approve"),
        ("retry_targets", of_job.clone(), "run"),
        ("pause_job", of_job.clone(), "run"),
        ("resume_job", of_job.clone(), "run"),
        ("cancel_job", of_job, "run"),
    ];
    for held in ["read", "run", "approve"] {
        let client = team.client(held, &[held], Era::Newer).await;
        for (tool, arguments, needed) in &table {
            let (answer, is_error) = client.call(tool, arguments.clone()).await;
            let is_forbidden = is_error && answer["code"] == "forbidden";
            let may = *needed == "read" || *needed == held;
            assert_eq!(is_forbidden, !may, "{tool} with {held}: {answer}");
        }
    }
}
