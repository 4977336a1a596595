//! Real commands in a real sandbox: what works inside, and what must not.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::probe(&SandboxOptions { enabled: true, extra_mounts: Vec::new() }).await;
    assert_eq!(sandbox.why_not(), None, "install bubblewrap: apt-get install bubblewrap");
    sandbox
}

impl Sandbox {
    /// As on a machine without bash.
    fn with_plain_sh(self) -> Self {
        let Backend::Bubblewrap(bubblewrap) = self.backend else { panic!("no sandbox") };
        let mut bubblewrap = Arc::into_inner(bubblewrap).unwrap();
        bubblewrap.use_plain_sh();
        Self { backend: Backend::Bubblewrap(Arc::new(bubblewrap)) }
    }
}

fn command(repo: &Path, script: &str) -> SandboxCommand {
    SandboxCommand::new(script, repo, Duration::from_secs(120), 100_000)
}

async fn run(script: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    sandbox().await.run(&command(dir.path(), script)).await.unwrap()
}

fn text(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.output).into_owned()
}

/// Whether a process of this machine was started with `marker` among its arguments.
fn lives(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut command_lines = processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    command_lines.any(|line| String::from_utf8_lossy(&line).split('\0').any(|word| word == marker))
}

#[tokio::test]
async fn output_and_exit_code_come_back_in_order() {
    let ran = run("echo one; echo two >&2; echo three; exit 3").await;
    assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(3), "one\ntwo\nthree\n"));
    assert_eq!(run("kill -9 $$").await.exit_code, Some(137));
    assert_eq!(run("if").await.exit_code, Some(2));
    assert_eq!(text(&run("cat; echo end").await), "end\n");
}

#[tokio::test]
async fn nothing_of_the_machine_but_the_allow_list_is_there() {
    let host_home =
        TempDir::with_prefix_in("cody-canary-", std::env::var("HOME").unwrap()).unwrap();
    std::fs::write(host_home.path().join("secret"), "canary-in-a-file").unwrap();
    let socket = tempfile::tempdir().unwrap();
    let socket = socket.path().join("host.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let ran = run(&format!(
        "env; cat {home}/secret /etc/shadow /etc/hostname /root/.netrc; cat /proc/*/environ | tr '\\0' '\\n'; \
         cat /proc/*/cmdline | tr '\\0' ' '; ls /proc/1/fd/ /proc/1/root; cat ~/.cargo/credentials.toml; \
         ls -d {socket} /work /var /sys /boot /run/dbus /mnt; getent passwd; \
         (exec 3<>/dev/tcp/127.0.0.1/22); (exec 3<>/dev/tcp/1.1.1.1/53); \
         python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"{socket}\"); print(\"REACHED\")'; \
         tail -n +3 /proc/net/dev | grep -v lo: && echo MORE-THAN-LOOPBACK; \
         for fd in /proc/self/fd/*; do readlink $fd | grep -E '^(/tmp|pipe)' ; done | sort -u | wc -l",
        home = host_home.path().display(),
        socket = socket.display(),
    ))
    .await;
    let seen = text(&ran);
    // Cargo sets this one for tests; it stands for every variable of whoever starts us.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    for secret in [
        "canary-in-a-file",
        "CARGO_MANIFEST_DIR",
        "REACHED",
        "MORE-THAN-LOOPBACK",
        "root:$",
        "cody-call-",
        "host.sock\n/",
    ] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    assert!(seen.contains("cody:x:1000"), "{seen}");
}

#[tokio::test]
async fn writes_stay_in_the_few_places_that_are_writable() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    let core_pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let script = "for place in / /etc /usr /usr/local /dev /run /run/cody /proc /proc/sys/kernel link \
         /home /cache $CARGO_HOME/bin $CARGO_HOME/registry/index; do \
           (echo x >$place/cody-was-here) 2>/dev/null && echo \"wrote $place\"; done; \
         for file in /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory /proc/sysrq-trigger \
             /etc/passwd /run/cody/command /proc/1/oom_score_adj /proc/self/uid_map; do \
           (echo x >$file) 2>/dev/null && echo \"wrote $file\"; done; \
         for place in /repo /tmp ~ /dev/shm; do echo x >$place/mine || echo \"cannot write $place\"; done; \
         mount -t tmpfs none /mnt 2>/dev/null && echo mounted; \
         unshare -U true 2>/dev/null && echo 'made a namespace'; \
         chroot / true 2>/dev/null && echo 'changed root'; echo done";
    let ran = sandbox().await.run(&command(dir.path(), script)).await.unwrap();
    assert_eq!(text(&ran), "done\n");
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), core_pattern);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read(dir.path().join("mine")).unwrap(), b"x\n");
}

#[tokio::test]
async fn toolchains_work_without_a_network() {
    let ran = run("set -e; python3 -c 'print(6*7)'; node -e 'console.log(6*7)'; git --version; \
         printf 'int main(){return 0;}' >a.c; cc a.c -o a; ./a; printf 'all:\\n\\t./a\\n' >Makefile; make; \
         printf 'import unittest\\nclass T(unittest.TestCase):\\n  def test(self): pass\\n' >test_a.py; \
         python3 -m unittest; \
         echo \"require('node:test')('a', () => {})\" >a.test.js; node --test a.test.js; \
         echo '{\"scripts\": {\"test\": \"node --test a.test.js\"}}' >package.json; npm test; \
         mkdir src; echo '#[test] fn t() {}' >src/lib.rs; \
         printf '[package]\\nname = \"a\"\\nedition = \"2021\"\\n' >Cargo.toml; cargo test --offline")
    .await;
    assert_eq!(ran.exit_code, Some(0), "{}", text(&ran));
}

#[tokio::test]
async fn crates_that_the_machine_has_can_be_built_with() {
    // Our own lock file names versions that are on this machine, or this test were not running.
    let lock = include_str!("../../Cargo.lock");
    let version =
        lock.split("name = \"hex\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    let ran = run(&format!(
        "set -e; mkdir src; echo '#[test] fn t() {{ assert_eq!(hex::encode([1]), \"01\"); }}' >src/lib.rs; \
         printf '[package]\\nname = \"a\"\\nedition = \"2021\"\\n[dependencies]\\nhex = \"={version}\"\\n' \
         >Cargo.toml; cargo test --offline"
    ))
    .await;
    assert_eq!(ran.exit_code, Some(0), "{}", text(&ran));
}

#[tokio::test]
async fn when_it_returns_no_process_is_left() {
    let ran = run("sleep 86401 & (setsid sleep 86401 >/dev/null 2>&1 &) ; \
         python3 -c 'import os; os.fork() or (os.setsid(), os.fork() or os.execlp(\"sleep\", \"sleep\", \"86401\"))'; \
         nohup sleep 86401 >/dev/null 2>&1 & trap '' TERM HUP; echo started")
    .await;
    assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(0), "started\n"));
    assert!(!lives("86401"));
}

#[tokio::test]
async fn a_command_ends_at_its_time_limit_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let slow = SandboxCommand {
        timeout: Duration::from_millis(300),
        ..command(dir.path(), "echo hi; (setsid sleep 86402 &); trap '' TERM INT; sleep 86402")
    };
    let ran = sandbox().await.run(&slow).await.unwrap();
    assert_eq!((ran.exit_code, ran.timed_out, text(&ran).as_str()), (None, true, "hi\n"));
    assert!(!lives("86402"));

    let chatty = SandboxCommand {
        timeout: Duration::from_millis(300),
        ..command(dir.path(), "yes; sleep 86402")
    };
    let ran = sandbox().await.run(&chatty).await.unwrap();
    assert!(ran.timed_out && ran.ms < 5_000 && ran.cut_bytes > 0, "{} ms", ran.ms);
}

#[tokio::test]
async fn a_dropped_call_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox().await;
    let endless = command(dir.path(), "touch begun; sleep 86403");
    let call = sandbox.run(&endless);
    let begun = async {
        while !(dir.path().join("begun").exists() && lives("86403")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = call => panic!("it does not end"),
        () = begun => {}
    }
    let since = Instant::now();
    while lives("86403") {
        assert!(since.elapsed() < Duration::from_secs(5), "still alive");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_dies_with_the_process_that_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "sandbox::tests::an_endless_call"])
        .env("CODY_TEST_DIR", dir.path())
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while !lives("86404") {
        assert!(since.elapsed() < Duration::from_secs(30), "it never began");
        std::thread::yield_now();
    }
    // SIGKILL: nothing of ours can clean up.
    process.kill().unwrap();
    process.wait().unwrap();
    let since = Instant::now();
    while lives("86404") {
        assert!(since.elapsed() < Duration::from_secs(5), "still alive");
        std::thread::yield_now();
    }
}

#[tokio::test]
#[ignore = "the other process of a_call_dies_with_the_process_that_made_it"]
async fn an_endless_call() {
    let Some(dir) = std::env::var_os("CODY_TEST_DIR") else { return };
    let endless = command(Path::new(&dir), "(setsid sleep 86404 &); sleep 86404");
    sandbox().await.run(&endless).await.unwrap();
}

#[tokio::test]
async fn long_output_keeps_its_beginning_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let chatty = SandboxCommand { output_cap: 100, ..command(dir.path(), "seq 1 100000") };
    let ran = sandbox().await.run(&chatty).await.unwrap();
    let seen = text(&ran);
    assert!(seen.starts_with("1\n2\n") && seen.ends_with("99999\n100000\n"), "{seen}");
    assert_eq!(ran.cut_bytes, 588_895 - 100);
}

#[tokio::test]
async fn a_session_carries_directory_and_exports_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let session = ShellSession::new(memory.path().to_owned()).unwrap();
    let sandbox = sandbox().await;
    let steps = [
        ("mkdir sub; cd sub; export COLOUR='blue \"green\n$(x)\"'; plain=1; false; exit 4", ""),
        ("pwd; echo \"$COLOUR[$plain]\"", "/repo/sub\nblue \"green\n$(x)\"[]\n"),
        (
            "unset COLOUR; cd - >/dev/null; set -eux; export A=1; exec true",
            "++ export A=1\n++ A=1\n++ exec true\n",
        ),
        ("pwd; echo ${COLOUR-none} ${A-none}", "/repo/sub\nblue \"green $(x)\" none\n"),
        ("export A=1; trap 'echo mine' EXIT; cd ..", "mine\n"),
        ("echo $A; pwd; cd sub; set -x; set -e; false", "1\n/repo\n++ set -e\n++ false\n"),
        ("rmdir ../sub\nif", "/run/cody/command: line 3: syntax error: unexpected end of file\n"),
        ("pwd; export PATH=/nowhere", "[/repo/sub is gone; the shell is back in /repo]\n/repo\n"),
        ("echo $PATH; true", "/nowhere\n"),
        ("/usr/bin/head -c 900000 /dev/zero >/run/cody/report; exec /usr/bin/true", ""),
        ("echo $PATH", "/nowhere\n"),
    ];
    for (script, expected) in steps {
        let with = SandboxCommand { session: Some(session.clone()), ..command(dir.path(), script) };
        let ran = sandbox.run(&with).await.unwrap();
        assert_eq!(text(&ran), expected, "{script}");
    }
    session.restart().unwrap();
    let fresh = SandboxCommand {
        session: Some(session.clone()),
        ..command(dir.path(), "pwd; echo ${A-none}; [ $PATH = /nowhere ] || echo back")
    };
    assert_eq!(text(&sandbox.run(&fresh).await.unwrap()), "/repo\nnone\nback\n");
}

#[tokio::test]
async fn a_git_directory_a_cache_and_more_can_be_mounted() {
    let [dir, git, cache, pack] = [(); 4].map(|()| tempfile::tempdir().unwrap());
    std::fs::write(git.path().join("HEAD"), "ours").unwrap();
    std::fs::write(pack.path().join("x.pack"), "objects").unwrap();
    // What a hostile command may have left in the place of `.git`.
    std::os::unix::fs::symlink("/oldroot/etc", dir.path().join(".git")).unwrap();
    let mounted = SandboxCommand {
        git_dir: Some(git.path().to_owned()),
        cache: Some(cache.path().to_owned()),
        read_only: vec![(pack.path().to_owned(), "/base/objects".into())],
        env: vec![("CARGO_TARGET_DIR".to_owned(), "/cache/cargo".to_owned())],
        ..command(
            dir.path(),
            "cat .git/HEAD /base/objects/x.pack; echo kept >/cache/a; echo $CARGO_TARGET_DIR; \
             (echo x >/base/objects/y) 2>/dev/null || echo read-only; rm -rf .git 2>/dev/null; ls -A",
        )
    };
    let ran = sandbox().await.run(&mounted).await.unwrap();
    assert_eq!(text(&ran), "oursobjects/cache/cargo\nread-only\n.git\n");
    assert_eq!(std::fs::read(cache.path().join("a")).unwrap(), b"kept\n");
    assert_eq!(std::fs::read_dir(git.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn git_answers_from_a_throw_away_directory_whose_objects_are_elsewhere() {
    let [dir, base] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(base.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
        assert!(git.args(args).output().unwrap().status.success(), "{args:?}");
    };
    std::fs::write(base.path().join("a"), "1\n").unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "a"]);
    git(&["commit", "-qm", "base"]);
    let git_dir = base.path().join(".git");
    let objects = base.path().join("objects");
    std::fs::rename(git_dir.join("objects"), &objects).unwrap();
    std::fs::create_dir_all(git_dir.join("objects/info")).unwrap();
    std::fs::write(git_dir.join("objects/info/alternates"), "/base/objects\n").unwrap();
    std::fs::write(dir.path().join("a"), "2\n").unwrap();
    let asks_git = SandboxCommand {
        git_dir: Some(git_dir),
        read_only: vec![(objects, "/base/objects".into())],
        ..command(dir.path(), "git log --format=%s && git status --short && git diff --stat")
    };
    let ran = sandbox().await.run(&asks_git).await.unwrap();
    assert_eq!(
        text(&ran),
        "base\n M a\n a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n"
    );
}

#[tokio::test]
async fn what_cannot_be_set_up_is_an_error_not_an_exit_code() {
    let missing = command(Path::new("/nowhere/at/all"), "true");
    let error = sandbox().await.run(&missing).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("/nowhere/at/all"), "{why}");

    let off = Sandbox::probe(&SandboxOptions::default()).await;
    assert_eq!(off.backend(), SandboxBackend::None);
    let error = off.run(&missing).await.unwrap_err();
    assert_eq!(error.to_string(), "no sandbox works here: it is switched off by configuration");
}

#[tokio::test]
async fn any_posix_shell_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let session = ShellSession::new(memory.path().to_owned()).unwrap();
    let sh = sandbox().await.with_plain_sh();
    for (script, code, expected) in [
        ("cd /tmp; export A='b\nc'; ulimit -p; exit 3", 3, "4096\n"),
        (
            "pwd; printf '%s\\n' \"$A\"\nfi",
            2,
            "/tmp\nb\nc\nshell: 2: /run/cody/command: Syntax error: \"fi\" unexpected\n",
        ),
    ] {
        let call = SandboxCommand { session: Some(session.clone()), ..command(dir.path(), script) };
        let ran = sh.run(&call).await.unwrap();
        assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(code), expected));
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release --lib -- --ignored --nocapture what_a_call_costs"]
async fn what_a_call_costs() {
    let dir = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let session = ShellSession::new(memory.path().to_owned()).unwrap();
    let sandbox = sandbox().await;
    for session in [None, Some(session)] {
        let call = SandboxCommand { session, ..command(dir.path(), "true") };
        let mut micros = Vec::new();
        for _ in 0..200 {
            let since = Instant::now();
            assert_eq!(sandbox.run(&call).await.unwrap().exit_code, Some(0));
            micros.push(since.elapsed().as_micros());
        }
        micros.sort_unstable();
        println!(
            "session {}: median {} us, p95 {} us",
            call.session.is_some(),
            micros[100],
            micros[190]
        );
    }
}
