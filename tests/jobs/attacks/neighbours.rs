//! Attacks on other processes: the worker, the server, what comes after the command.

use super::{GRACE, Victim, bash};

#[tokio::test(flavor = "multi_thread")]
async fn kills_every_process_it_can() {
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let after = Victim::plain()
        .await
        .suffers(&[
            bash("trap '' TERM; kill -TERM -1; kill -9 -1; echo tried"),
            bash("kill -9 $PPID; kill -STOP 1; kill -9 1; echo tried"),
            bash("for p in $(seq 2 5000); do kill -9 $p 2>/dev/null; done; echo tried"),
            bash("echo still here"),
        ])
        .await;
    after.was_held().saw("still here");
    assert!(bystander.try_wait().unwrap().is_none(), "a bystander was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_a_daemon_that_writes_later() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "(setsid nohup sh -c 'while :; do echo late >>/repo/late.txt; sleep 0.05; done' \
                 >/dev/null 2>&1 &); sleep 0.2; rm -f /repo/late.txt; echo tried",
            ),
            bash(
                "sleep 0.5; ls /repo; test -e /repo/late.txt && wc -l /repo/late.txt; echo looked",
            ),
        ])
        .await;
    after.was_held().saw("looked");
    let changed = after.changed();
    assert!(changed.iter().all(|path| path == "late.txt"), "{changed:?}");
    tokio::time::sleep(GRACE).await;
    assert!(!after.data("work").join("late.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_ever() {
    let mut victim = Victim::plain().await;
    std::fs::create_dir_all(victim.world.path("data")).unwrap();
    std::fs::write(victim.world.path("data/config.toml"), "tool_timeout_ms = 700\n").unwrap();
    victim.more = Vec::new();
    let after = victim
        .suffers(&[bash("trap '' TERM INT HUP; (setsid sleep 987654 &); while :; do :; done")])
        .await;
    after.was_held().saw("killed after");
    let left = super::super::harness::processes_of("987654");
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_the_output() {
    let after = Victim::plain()
        .await
        .suffers(&[bash("head -c 300000000 /dev/zero | tr '\\0' x; echo; echo tried")])
        .await;
    after.was_held().saw("tried");
    assert!(after.seen.len() < 2_000_000, "{} bytes were kept", after.seen.len());
    assert!(after.data("log.db").metadata().unwrap().len() < 4_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn plants_variables_for_the_next_command() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "echo 'echo evil >/repo/planted' >/repo/evil.sh; export BASH_ENV=/repo/evil.sh \
                 ENV=/repo/evil.sh LD_PRELOAD=/repo/evil.so PROMPT_COMMAND='echo evil' \
                 GIT_SSH_COMMAND='echo evil' PATH=/repo:$PATH; echo tried",
            ),
            bash("echo next; id -u"),
        ])
        .await;
    // It may poison its own shell, and nothing else: our worker runs on, and git in it.
    after.was_held().saw("next");
}

#[tokio::test(flavor = "multi_thread")]
async fn forges_the_report_of_its_shell() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash("printf '/etc\\0PATH=/evil\\0' >/run/cody/report; cat /run/cody/command; echo tried"),
            bash("printf '/../../root\\0LD_PRELOAD=/repo/x.so\\0' >/run/cody/report; exec true"),
            bash("pwd; cat /etc/shadow && echo REACHED; echo tried again"),
        ])
        .await;
    after.was_held().saw("tried");
}
