//! What a server costs that has thousands of jobs and nothing to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cody_batch::api::control::Wish;
use cody_batch::app::Asker;
use cody_batch::clock::SystemClock;
use cody_batch::config::Config;
use cody_batch::plan::JobRequest;
use cody_batch::serve::Server;
use cody_events::envelope::Door;

use super::harness::{PROGRAM, World, create, repository};
use super::running::{Running, script};

/// Jobs that rest.
const JOBS: usize = 2_000;
/// For how long the server is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// The time of processors that a process took so far, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    times.sum::<f64>() / 100.0
}

/// Makes a log of jobs that are paused.
async fn make(world: &World) {
    let base_url = world.player.base_url().unwrap().to_string();
    let settings = BTreeMap::from([
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", base_url.as_str()),
        ("CODY_WORKER_PROGRAM", PROGRAM),
        ("CODY_PARALLEL", "1"),
    ]);
    let env = |name: &str| settings.get(name).map(|value| (*value).to_owned());
    let config = Config::load(&world.path("data"), &env).unwrap();
    let server = Server::start_at(&config, None, Arc::new(SystemClock)).await.unwrap();
    server.dispatcher.stop();
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    for _ in 0..JOBS {
        let request = JobRequest {
            prompt: "Greet".to_owned(),
            repositories: vec![world.path("app").display().to_string()],
            ..JobRequest::default()
        };
        let job = server.control.carry_out(create(request), &asker).await.unwrap().job;
        let pause = Wish::Pause { job, target: None };
        server.control.carry_out(pause, &asker).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes thousands of jobs and then watches; `cargo test --test service idle -- --ignored`"]
async fn thousands_of_jobs_that_rest_cost_nothing() {
    let world = World::new(&script(0)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    make(&world).await;
    let running = Running::start(&world, &[]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cpu_seconds(running.child.id());
    tokio::time::sleep(WATCHED).await;
    let share = (cpu_seconds(running.child.id()) - before) / WATCHED.as_secs_f64();
    println!("{JOBS} jobs that rest take {:.2} % of a processor", share * 100.0);
    if let Ok(place) = std::env::var("CODY_KEEP") {
        drop(running);
        std::fs::create_dir_all(&place).unwrap();
        for file in ["log.db", "log.db-wal", "log.db-shm"] {
            let _ = std::fs::copy(world.path("data").join(file), format!("{place}/{file}"));
        }
    }
    assert!(share < 0.02, "{share}");
}
