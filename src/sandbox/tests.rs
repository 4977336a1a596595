use super::*;

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::probe(&SandboxOptions { enabled: true, extra_mounts: Vec::new() }).await;
    assert_eq!(sandbox.why_not(), None, "install bubblewrap: apt-get install bubblewrap");
    sandbox
}

fn command(repo: &std::path::Path, script: &str) -> SandboxCommand {
    SandboxCommand {
        script: script.to_owned(),
        repo: repo.to_owned(),
        git_dir: None,
        read_only: Vec::new(),
        cache: None,
        session: None,
        env: Vec::new(),
        timeout: Duration::from_secs(60),
        output_cap: 100_000,
    }
}

async fn run(script: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    sandbox().await.run(&command(dir.path(), script)).await.unwrap()
}

fn text(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.output).into_owned()
}

#[tokio::test]
async fn output_and_exit_code_come_back_in_order() {
    let ran = run("echo one; echo two >&2; echo three; exit 3").await;
    assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(3), "one\ntwo\nthree\n"));
}

#[tokio::test]
async fn nothing_of_the_machine_but_the_allow_list_is_there() {
    let home = std::env::var("HOME").unwrap();
    let secret = std::path::Path::new(&home).join(".cody-canary");
    std::fs::write(&secret, "canary-in-a-file").unwrap();
    let ran = run(&format!(
        "env; cat {home}/.cody-canary /etc/shadow /etc/hostname; ls / ; ls {home}/.cargo/credentials.toml; \
         (exec 3<>/dev/tcp/127.0.0.1/22) 2>&1; cat /proc/net/dev | grep -v lo"
    ))
    .await;
    std::fs::remove_file(&secret).unwrap();
    let seen = text(&ran);
    assert!(!seen.contains("canary-in-a-file"), "{seen}");
    assert!(!seen.contains("root:"), "{seen}");
    assert!(!seen.contains("eth0"), "{seen}");
    assert!(!seen.contains("work\n"), "{seen}");
    assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
}

#[tokio::test]
async fn toolchains_work_without_a_network() {
    let ran = run(
        "set -e; python3 -c 'print(6*7)'; node -e 'console.log(6*7)'; cargo --version; git --version; \
         printf 'int main(){return 0;}' >a.c; cc a.c -o a; ./a; make --version | head -1; npm --version",
    )
    .await;
    assert_eq!(ran.exit_code, Some(0), "{}", text(&ran));
}

#[tokio::test]
async fn when_it_returns_no_process_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let script = "(setsid sh -c 'while :; do echo x >>/repo/alive; sleep 0.05; done' >/dev/null 2>&1 &) ; sleep 0.2";
    let sandbox = sandbox().await;
    sandbox.run(&command(dir.path(), script)).await.unwrap();
    let size = || std::fs::metadata(dir.path().join("alive")).map_or(0, |found| found.len());
    let before = size();
    assert!(before > 0);
    // A second command takes longer than the daemon's beat; if it lived, the file would grow.
    sandbox.run(&command(dir.path(), "sleep 0.3")).await.unwrap();
    assert_eq!(size(), before);
}

#[tokio::test]
async fn a_command_ends_at_its_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let slow = SandboxCommand {
        timeout: Duration::from_millis(300),
        ..command(dir.path(), "echo hi; sleep 60")
    };
    let ran = sandbox().await.run(&slow).await.unwrap();
    assert_eq!((ran.exit_code, ran.timed_out, text(&ran).as_str()), (None, true, "hi\n"));
}

#[tokio::test]
async fn long_output_keeps_its_beginning_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let chatty = SandboxCommand { output_cap: 100, ..command(dir.path(), "seq 1 100000") };
    let ran = sandbox().await.run(&chatty).await.unwrap();
    let seen = text(&ran);
    assert!(seen.starts_with("1\n2\n") && seen.ends_with("99999\n100000\n"), "{seen}");
    assert!(ran.cut_bytes > 500_000);
}

#[tokio::test]
async fn directory_and_exports_carry_over_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let session = ShellSession::new(memory.path().to_owned()).unwrap();
    let sandbox = sandbox().await;
    let with = |script: &str| SandboxCommand {
        session: Some(session.clone()),
        ..command(dir.path(), script)
    };
    sandbox
        .run(&with("mkdir sub; cd sub; export COLOUR='blue \"green\"'; false; exit 4"))
        .await
        .unwrap();
    let ran = sandbox.run(&with("pwd; echo \"$COLOUR\"")).await.unwrap();
    assert_eq!(text(&ran), "/repo/sub\nblue \"green\"\n");
    session.restart().unwrap();
    let ran = sandbox.run(&with("pwd; echo \"[$COLOUR]\"")).await.unwrap();
    assert_eq!(text(&ran), "/repo\n[]\n");
}
