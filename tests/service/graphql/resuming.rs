//! Clients that no one here wrote follow the log while their connections break: at the end each has
//! every event once, in order.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::feed::{Order, feed, job};
use super::programs::script;

/// Followers that take longer than this have lost something.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a follower got.
#[derive(Deserialize)]
struct Followed {
    /// How often it lost its connection.
    breaks: u64,
    positions: Vec<String>,
}

struct Follower {
    name: &'static str,
    job: Option<u128>,
    child: Child,
    input: ChildStdin,
}

fn start(mut command: Command, name: &'static str, job: Option<u128>) -> Follower {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    Follower { name, job, child, input }
}

/// 1,000 events a second: 20 jobs, each with one every 20 ms.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_lose_and_repeat_nothing_when_their_connections_break() {
    let seconds = if std::env::var_os("CODY_PROOF").is_some() { 30 } else { 4 };
    let order = Order { busy_jobs: 20, quiet_jobs: 0, events_a_job: seconds * 50 };
    let mut feed = feed(order);
    let url = format!("{}/graphql", feed.url);
    let ways = [("ws", None), ("ws", Some(7)), ("sse", None), ("last-event-id", None)];
    let followers: Vec<Follower> = ways
        .into_iter()
        .map(|(name, number)| {
            let of = number.map_or("-".to_owned(), |number| job(number).to_string());
            let after = feed.start.to_string();
            start(
                script("follow.mjs", &[name, &url, &feed.token, &of, &after, "700"]),
                name,
                number,
            )
        })
        .collect();
    feed.begin();
    let (feed, head, rate) = tokio::task::spawn_blocking(move || {
        let (fed, rate) = feed.fed();
        let head = fed.head;
        (feed, head, rate)
    })
    .await
    .unwrap();
    println!("{} events, {rate} a second", head - feed.start);
    for mut follower in followers {
        let expected = feed.positions(follower.job.map(job)).await;
        assert!(expected.len() >= order.events_a_job as usize);
        writeln!(follower.input, "{}", expected.last().unwrap()).unwrap();
        let ended = tokio::task::spawn_blocking(move || follower.child.wait_with_output().unwrap());
        let output = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
        assert!(output.status.success());
        let followed: Followed = serde_json::from_slice(&output.stdout).unwrap();
        let got: Vec<u64> = followed.positions.iter().map(|at| at.parse().unwrap()).collect();
        println!("{:<14} {:>6} events over {} breaks", follower.name, got.len(), followed.breaks);
        assert!(followed.breaks >= 3, "it was hardly tried");
        let differs = got.iter().zip(&expected).find(|(got, expected)| got != expected);
        assert_eq!((differs, got.len()), (None, expected.len()), "{}", follower.name);
    }
}
