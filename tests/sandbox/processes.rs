//! Other processes: who asked for the command, and whoever else is on the machine.

use std::process::{Child, Command, Stdio};

use super::ground::*;

/// A process of the same user that stands for the worker.
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        let child = Command::new("sleep")
            .arg("3600")
            .env("BYSTANDER", "canary-in-an-environment")
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn is_well(&mut self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let is_stopped = status.contains("State:\tT") || status.contains("State:\tt");
        self.0.try_wait().unwrap().is_none() && !is_stopped
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn memory_environment_and_files_of_other_processes_are_closed() {
    for sandbox in both().await {
        let bystander = Bystander::start();
        for pid in [std::process::id(), bystander.0.id()] {
            let seen = text(
                &run(
                    &sandbox,
                    &format!(
                        "cd /proc/{pid} || exit 0; for f in environ mem maps smaps auxv stack syscall \
                         io pagemap fd/0 root/etc/hostname cwd/Cargo.toml; do \
                         head -c 100 $f >/dev/null && echo \"READ $f\"; done 2>/dev/null; \
                         ls fd map_files && echo LISTED; readlink exe cwd root && echo FOLLOWED; \
                         tr '\\0' '\\n' <environ; cat /proc/[0-9]*/environ | tr '\\0' '\\n'"
                    ),
                )
                .await,
            );
            for reached in ["READ", "LISTED", "FOLLOWED", "canary", "CARGO_MANIFEST_DIR"] {
                assert!(!seen.contains(reached), "{:?}: {reached} in {seen}", sandbox.backend());
            }
        }
    }
}

#[tokio::test]
async fn no_signal_reaches_another_process() {
    for sandbox in both().await {
        let mut bystander = Bystander::start();
        let (own, other) = (std::process::id(), bystander.0.id());
        let seen = text(
            &run(
                &sandbox,
                &format!(
                    "for pid in {own} {other} -{own} -{other} 1; do \
                       for signal in 0 STOP TERM KILL; do \
                         [ $pid = 1 ] && [ $$ -lt 100 ] || /bin/kill -$signal -- $pid && echo \"SENT $signal to $pid\"; \
                       done; done 2>/dev/null; \
                     python3 -c \"\nimport os, signal\nfor pid in ({own}, {other}):\n  try:\n    fd = os.pidfd_open(pid)\n    signal.pidfd_send_signal(fd, 9)\n    print('SENT')\n  except OSError as e: pass\n\"; \
                     echo end"
                ),
            )
            .await,
        );
        assert!(seen.ends_with("end\n"), "{seen}");
        // In a pid namespace these numbers are others, if they are there at all.
        assert!(bystander.is_well(), "{:?}: {seen}", sandbox.backend());
        // To everybody: only its own are everybody.
        let ran = run(&sandbox, "sleep 1000 & kill -KILL -1; sleep 5; echo survived").await;
        assert!(bystander.is_well(), "{:?}: {}", sandbox.backend(), text(&ran));
    }
}

/// Every call that can make a signal, at once or when something happens to a file.
const SIGNALS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifndef FIOSETOWN
#define FIOSETOWN 0x8901
#endif
static void on_news(int pid, int way) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return;
  struct f_owner_ex owner = {F_OWNER_PID, pid}, group = {F_OWNER_PGRP, pid};
  int own = -pid;
  if (way == 0) fcntl(ends[0], F_SETOWN, pid);
  if (way == 1) fcntl(ends[0], F_SETOWN, -pid);
  if (way == 2) fcntl(ends[0], F_SETOWN_EX, &owner);
  if (way == 3) fcntl(ends[0], F_SETOWN_EX, &group);
  if (way == 4) ioctl(ends[0], FIOSETOWN, &pid);
  if (way == 5) ioctl(ends[0], FIOSETOWN, &own);
  fcntl(ends[0], F_SETSIG, SIGKILL);
  fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_ASYNC);
  write(ends[1], "x", 1);
}
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    int pid = atoi(argv[i]);
    siginfo_t about;
    memset(&about, 0, sizeof about);
    about.si_signo = SIGKILL; about.si_code = SI_QUEUE;
    if (!kill(pid, SIGKILL)) puts("SENT by kill");
    if (!kill(-pid, SIGKILL)) puts("SENT by kill to the group");
    if (!syscall(SYS_tkill, pid, SIGKILL)) puts("SENT by tkill");
    if (!syscall(SYS_tgkill, pid, pid, SIGKILL)) puts("SENT by tgkill");
    if (!syscall(SYS_rt_sigqueueinfo, pid, SIGKILL, &about)) puts("SENT by rt_sigqueueinfo");
    if (!syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGKILL, &about)) puts("SENT by rt_tgsigqueueinfo");
    int fd = syscall(SYS_pidfd_open, pid, 0);
    for (int flags = 0; flags < 8; flags++)
      if (fd >= 0 && !syscall(SYS_pidfd_send_signal, fd, SIGKILL, 0, flags)) puts("SENT by pidfd");
    for (int way = 0; way < 6; way++) on_news(pid, way);
  }
  puts("tried");
}
"#;

#[tokio::test]
async fn no_call_makes_a_signal_for_another_process() {
    use std::os::unix::process::CommandExt as _;
    for sandbox in both().await {
        let mut bystander = Bystander::start();
        let mut group =
            Bystander(Command::new("sleep").arg("3600").process_group(0).spawn().unwrap());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.c"), SIGNALS).unwrap();
        let (own, one, two) = (std::process::id(), bystander.0.id(), group.0.id());
        let script = format!("cc -w a.c -o a && ./a {own} {one} {two}");
        let ran = sandbox.run(&command(dir.path(), &script)).await.unwrap();
        assert_eq!(text(&ran), "tried\n", "{:?}", sandbox.backend());
        assert!(bystander.is_well() && group.is_well(), "{:?}", sandbox.backend());
    }
}

#[tokio::test]
async fn limits_and_priorities_of_others_stay_what_they_are() {
    for sandbox in both().await {
        let bystander = Bystander::start();
        let pid = bystander.0.id();
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap();
        let nice =
            |stat: String| stat.rsplit(')').next().unwrap().split(' ').nth(17).unwrap().to_owned();
        let before = (read("limits"), nice(read("stat")));
        let ran = run(
            &sandbox,
            &format!(
                "prlimit --pid {pid} --cpu=1:1; renice -n 19 -p {pid}; renice -n 19 -u 0; true"
            ),
        )
        .await;
        let after = (read("limits"), nice(read("stat")));
        assert_eq!(before, after, "{:?}: {}", sandbox.backend(), text(&ran));
    }
}

/// Compiled inside, with the numbers of the processes to attack.
const ATTACHES: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    int pid = atoi(argv[i]);
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) puts("REACHED by attach");
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) puts("REACHED by seize");
    char buffer[16]; struct iovec local = {buffer, 16}, remote = {(void *)0x400000, 16};
    if (process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0) puts("REACHED by readv");
    if (process_vm_writev(pid, &local, 1, &remote, 1, 0) >= 0) puts("REACHED by writev");
    int fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0 && syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0) puts("REACHED by getfd");
  }
  puts("tried");
}
"#;

#[tokio::test]
async fn no_other_process_can_be_traced() {
    for sandbox in both().await {
        let mut bystander = Bystander::start();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.c"), ATTACHES).unwrap();
        let script = format!("cc a.c -o a && ./a {} {}", std::process::id(), bystander.0.id());
        let ran = sandbox.run(&command(dir.path(), &script)).await.unwrap();
        assert_eq!(text(&ran), "tried\n", "{:?}", sandbox.backend());
        assert!(bystander.is_well());
    }
}

#[tokio::test]
async fn what_a_session_plants_stays_in_the_sandbox() {
    for sandbox in both().await {
        let [dir, memory, outside] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let session = cody_batch::sandbox::ShellSession::new(memory.path().to_owned()).unwrap();
        let plants = format!(
            "printf '#include <stdio.h>\\n__attribute__((constructor)) static void f(void) {{ \
             FILE *o = fopen(\"{0}/reached\", \"w\"); if (o) fclose(o); }}' >evil.c; \
             cc -shared -fPIC evil.c -o evil.so; echo 'touch {0}/reached' >evil.sh; \
             export LD_PRELOAD=$PWD/evil.so BASH_ENV=$PWD/evil.sh ENV=$PWD/evil.sh PATH=$PWD:$PATH \
             LD_LIBRARY_PATH=$PWD SHELLOPTS=xtrace PROMPT_COMMAND='touch {0}/reached'; true",
            outside.path().display()
        );
        for script in [plants.as_str(), "grep -h -e Seccomp: -e NoNewPrivs: /proc/self/status"] {
            let call = cody_batch::sandbox::SandboxCommand {
                session: Some(session.clone()),
                ..command(dir.path(), script)
            };
            let ran = sandbox.run(&call).await.unwrap();
            assert!(ran.exit_code == Some(0) || !script.starts_with("printf"), "{}", text(&ran));
            if script.starts_with("grep") {
                assert!(text(&ran).contains("NoNewPrivs:\t1"), "{}", text(&ran));
                assert!(text(&ran).contains("Seccomp:\t2"), "{}", text(&ran));
            }
        }
        assert!(!outside.path().join("reached").exists(), "{:?}", sandbox.backend());
    }
}
