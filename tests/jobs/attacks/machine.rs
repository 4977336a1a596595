//! Attacks on what the machine holds: files, keys, the log, other processes' memory.

use super::{CANARY, Victim, bash};

#[tokio::test(flavor = "multi_thread")]
async fn reads_keys_in_the_home_of_whoever_runs_us() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!(
                "for f in .ssh/id_ed25519 .aws/credentials .netrc .config/gh/hosts.yml \
                 .git-credentials .cargo/credentials.toml; do cat {home}/$f ~/$f; done; echo tried"
            )),
            bash("cat /root/.ssh/* /root/.netrc /root/.cargo/credentials* /home/*/.ssh/*; echo tried"),
        ])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_system_s_secrets() {
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "cat /etc/shadow && echo REACHED; cat /etc/ssl/private/* && echo REACHED; \
             ls /var/lib /sys/firmware /boot && echo REACHED; cat /etc/hostname; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
    assert!(hostname.trim().is_empty() || !after.seen.contains(hostname.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_log_and_the_server_s_credential() {
    let victim = Victim::plain().await;
    let data = victim.world.path("data").display().to_string();
    let after = victim
        .suffers(&[bash(&format!(
            "ls -la {data} && echo REACHED; cat {data}/log.db | wc -c; cat {data}/server.json && \
             echo REACHED; find / -name 'log.db' -o -name 'server.json' 2>/dev/null | \
             grep -q . && echo REACHED; echo tried"
        ))])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_into_the_data_directory() {
    let victim = Victim::plain().await;
    let data = victim.world.path("data").display().to_string();
    let after = victim
        .suffers(&[bash(&format!(
            "mkdir -p {data}/packs/evil && echo x >{data}/evil; echo x >{data}/log.db; \
             rm -rf {data}; echo tried"
        ))])
        .await;
    after.was_held().saw("tried");
    assert!(!after.data("evil").exists() && !after.data("packs/evil").exists());
    assert!(after.data("log.db").metadata().unwrap().len() > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_worker_s_environment() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "env; for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ; done 2>/dev/null; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
    assert!(!after.seen.contains("CODY_DATA_DIR"), "{}", after.seen);
}

/// Also where a command sees other processes, the worker has nothing: the server keeps its keys.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_s_own_environment_holds_no_secret() {
    let victim = Victim::plain().await;
    let program = victim.world.path("worker");
    let copy = victim.world.path("environment");
    let text = format!(
        "#!/bin/sh\nenv >{}\nexec {} \"$@\"\n",
        copy.display(),
        super::super::harness::PROGRAM
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::fs::create_dir_all(victim.world.path("data")).unwrap();
    let settings = format!("worker_program = {:?}\n", program.display().to_string());
    std::fs::write(victim.world.path("data/config.toml"), settings).unwrap();
    let after = victim.suffers(&[bash("echo tried")]).await;
    after.was_held().saw("tried");
    let environment = std::fs::read_to_string(copy).unwrap();
    assert!(environment.contains("PATH="), "{environment}");
    for secret in [CANARY, "ANTHROPIC", "CODY_GITHUB_TOKEN", "CODY_DATA_DIR"] {
        assert!(!environment.contains(secret), "{secret} in {environment}");
    }
}

/// As strace saw it: before it reads its nonce, the worker has taken itself out of everybody's reach;
/// and of its secrets nothing stands among its arguments.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_keeps_its_memory_to_itself_says_strace() {
    let mut victim = Victim::plain().await;
    let trace = victim.world.path("trace");
    victim.under =
        ["strace", "-f", "-qq", "-v", "-e", "trace=prctl,execve,read", "-s", "4000", "-o"]
            .map(str::to_owned)
            .into();
    victim.under.push(trace.display().to_string());
    let after = victim.suffers(&[bash("echo tried")]).await;
    after.was_held().saw("tried");
    let trace = std::fs::read_to_string(trace).unwrap();
    let started = trace
        .lines()
        .find(|line| line.contains("execve(") && line.contains("\"worker\", \"--server\""))
        .unwrap();
    let worker = started.split(' ').next().unwrap();
    let calls: Vec<&str> = trace
        .lines()
        .skip_while(|line| *line != started)
        .filter(|line| line.split(' ').next() == Some(worker))
        .collect();
    let at = |what: &str| calls.iter().position(|line| line.contains(what)).expect(what);
    let hides = at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE");
    // On a busy machine strace tells the end of a call on a line of its own.
    let hidden = match calls[hides].contains("<unfinished") {
        true => {
            hides + 1 + calls[hides + 1..].iter().position(|l| l.contains("prctl resumed")).unwrap()
        }
        false => hides,
    };
    assert!(calls[hidden].ends_with(") = 0"), "{}", calls[hidden]);
    assert!(hidden < at(r#"\"nonce\":"#));
    let nonce = calls[at(r#"\"nonce\":"#)].split(r#"\"nonce\":\""#).nth(1).unwrap();
    let nonce = nonce.split('\\').next().unwrap();
    assert!(nonce.len() > 20 && !started.contains(nonce), "{nonce:?} in {started}");
    assert!(!started.contains(CANARY), "{started}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_worker_s_memory_and_files() {
    let script = r#"
import os, re
me = os.getpid()
for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) == me: continue
    for fd in range(64):
        try: print(pid, fd, os.readlink(f'/proc/{pid}/fd/{fd}'))
        except OSError: pass
    try:
        maps = open(f'/proc/{pid}/maps').read().splitlines()
        with open(f'/proc/{pid}/mem', 'rb', 0) as mem:
            for line in maps:
                start, end = (int(x, 16) for x in line.split()[0].split('-'))
                mem.seek(start)
                if b'"non' + b'ce"' in mem.read(min(end - start, 1 << 24)): print('REACHED', pid)
    except OSError as error: print(pid, error)
print('tried')
"#;
    let command = format!("python3 - <<'E'\n{script}\nE");
    let after = Victim::plain().await.suffers(&[bash(&command)]).await;
    after.was_held().saw("tried");
    assert!(!after.seen.contains("socket:"), "{}", after.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_the_kernel_s_settings() {
    let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "for f in kernel/core_pattern vm/overcommit_memory kernel/modprobe; do \
             (echo '|/repo/evil' >/proc/sys/$f) && echo REACHED; done; \
             (echo b >/proc/sysrq-trigger) && echo REACHED; mount -t proc none /mnt && echo REACHED; \
             mknod $TMPDIR/disk b 8 0 && echo REACHED; date -s 2000-01-01 && echo REACHED; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}
