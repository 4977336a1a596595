//! A list of jobs that is kept up to date: told of every job that changed, and not of every change.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::super::harness::http;
use super::feed::{Order, feed, job};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_told_the_latest_of_each_job_a_few_times_a_second() {
    let mut feed = feed(Order { busy_jobs: 3, quiet_jobs: 1, events_a_job: 100 });
    let query = "subscription ($after: Position) { jobsChanged(after: $after) { jobId position } }";
    let asked = json!({ "query": query, "variables": { "after": feed.start.to_string() } });
    let request = http().post(format!("{}/graphql", feed.url)).bearer_auth(&feed.token);
    let answer = request.header("accept", "text/event-stream").json(&asked).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.bytes_stream();
    feed.begin();
    let (feed, fed) = tokio::task::spawn_blocking(move || {
        let (fed, _) = feed.fed();
        (feed, fed)
    })
    .await
    .unwrap();

    let (mut text, mut told, mut latest) = (String::new(), 0, BTreeMap::new());
    let all = async {
        while latest.values().max() != Some(&fed.head) {
            text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:"));
                let data = data.filter(|data| !data.trim().is_empty());
                if let Some(data) = data {
                    let change: Value = serde_json::from_str(data).unwrap();
                    let change = &change["data"]["jobsChanged"];
                    let position: u64 = change["position"].as_str().unwrap().parse().unwrap();
                    let job = change["jobId"].as_str().unwrap().to_owned();
                    assert!(latest.insert(job, position).is_none_or(|before| before < position));
                    told += 1;
                }
                text = rest.to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    let busy: Vec<String> = (0..3).map(|number| job(number).to_string()).collect();
    assert_eq!(latest.keys().collect::<Vec<_>>(), busy.iter().collect::<Vec<_>>());
    // 300 events in two seconds, of three jobs: at most ten pages a second, and a few for the ends.
    assert!(told < 100, "{told} entries for 300 events");
    drop(feed);
}
