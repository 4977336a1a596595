//! How calls end, and that nothing is left of them.

use std::time::{Duration, Instant};

use cody_batch::sandbox::SandboxCommand;

use super::ground::*;

#[tokio::test]
async fn when_it_returns_no_process_is_left() {
    for sandbox in both().await {
        let long = own_seconds(1);
        let script = format!(
            "sleep {long} & (setsid sleep {long} >/dev/null 2>&1 &) ; \
             /usr/bin/python3 -c 'import os; os.fork() or (os.setsid(), os.fork() or os.execlp(\"sleep\", \"sleep\", \"{long}\"))'; \
             nohup sleep {long} >/dev/null 2>&1 & trap '' TERM HUP; echo started"
        );
        assert_eq!(prints(&sandbox, &script).await, "started\n");
        assert!(!lives(&long), "{:?}", sandbox.backend());
    }
}

#[tokio::test]
async fn a_command_ends_at_its_time_limit_with_all_it_started() {
    for sandbox in both().await {
        let long = own_seconds(2);
        let dir = tempfile::tempdir().unwrap();
        let script = format!("echo hi; (setsid sleep {long} &); trap '' TERM INT; sleep {long}");
        let slow =
            SandboxCommand { timeout: Duration::from_millis(700), ..command(dir.path(), &script) };
        let ran = sandbox.run(&slow).await.unwrap();
        assert_eq!((ran.exit_code, ran.timed_out, text(&ran).as_str()), (None, true, "hi\n"));
        assert!(!lives(&long), "{:?}", sandbox.backend());

        let chatty = SandboxCommand {
            timeout: Duration::from_millis(700),
            ..command(dir.path(), &format!("yes; sleep {long}"))
        };
        let ran = sandbox.run(&chatty).await.unwrap();
        assert!(ran.timed_out && ran.ms < 40_000 && ran.cut_bytes > 0, "{} ms", ran.ms);
    }
}

#[tokio::test]
async fn a_dropped_call_is_killed() {
    for sandbox in both().await {
        let long = own_seconds(3);
        let dir = tempfile::tempdir().unwrap();
        let endless =
            command(dir.path(), &format!("(setsid sleep {long} &); touch begun; sleep {long}"));
        let call = sandbox.run(&endless);
        let begun = async {
            while !(dir.path().join("begun").exists() && lives(&long)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = call => panic!("it does not end"),
            () = begun => {}
        }
        is_soon_gone(&long);
    }
}

/// SIGKILL: nothing of ours can clean up.
#[tokio::test]
async fn a_call_dies_with_the_process_that_made_it() {
    for backend in ["bubblewrap", "landlock"] {
        let long = own_seconds(4);
        let dir = tempfile::tempdir().unwrap();
        let mut process = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "endings::an_endless_call"])
            .env("CODY_TEST_BACKEND", backend)
            .env("CODY_TEST_DIR", dir.path())
            .env("CODY_TEST_SECONDS", &long)
            .env("TMPDIR", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while !lives(&long) {
            assert!(since.elapsed() < Duration::from_secs(30), "it never began");
            std::thread::yield_now();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        is_soon_gone(&long);
    }
}

#[tokio::test]
#[ignore = "the other process of a_call_dies_with_the_process_that_made_it"]
async fn an_endless_call() {
    let Some(dir) = std::env::var_os("CODY_TEST_DIR") else { return };
    let long = std::env::var("CODY_TEST_SECONDS").unwrap();
    let script = format!("(setsid sleep {long} &); sleep {long}");
    let sandbox = match std::env::var("CODY_TEST_BACKEND").as_deref() {
        Ok("landlock") => landlock().await,
        _ => bubblewrap().await,
    };
    sandbox.run(&command(std::path::Path::new(&dir), &script)).await.unwrap();
}

#[tokio::test]
async fn long_output_keeps_its_beginning_and_its_end() {
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        let chatty = SandboxCommand { output_cap: 100, ..command(dir.path(), "seq 1 100000") };
        let ran = sandbox.run(&chatty).await.unwrap();
        let seen = text(&ran);
        assert!(seen.starts_with("1\n2\n") && seen.ends_with("99999\n100000\n"), "{seen}");
        assert_eq!(ran.cut_bytes, 588_895 - 100);
    }
}

fn is_soon_gone(marker: &str) {
    let since = Instant::now();
    while lives(marker) {
        assert!(since.elapsed() < Duration::from_secs(5), "still alive");
        std::thread::yield_now();
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test --profile proof --test sandbox -- --ignored --nocapture what_a_call_costs"]
async fn what_a_call_costs() {
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        let call = command(dir.path(), "true");
        let mut micros = Vec::new();
        for _ in 0..200 {
            let since = Instant::now();
            assert_eq!(sandbox.run(&call).await.unwrap().exit_code, Some(0));
            micros.push(since.elapsed().as_micros());
        }
        micros.sort_unstable();
        let (median, p95) = (micros[100], micros[190]);
        println!("{:?}: median {median} us, p95 {p95} us", sandbox.backend());
    }
}
