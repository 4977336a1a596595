//! Calls of the kernel that nothing of a repository needs.

use cody_events::attempt::SandboxBackend;

use super::ground::*;

/// Each line is a call that must not succeed, made with arguments that would otherwise work or fail
/// for another reason than being forbidden.
const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void told(const char *name, long result) {
  int forbidden = result == -1 && (errno == EPERM || errno == ENOSYS || errno == EACCES);
  if (!forbidden) printf("ALLOWED %s: %ld %s\n", name, result, result == -1 ? strerror(errno) : "");
}
#define TRY(call, ...) told(#call, syscall(SYS_##call, ##__VA_ARGS__))
int main(void) {
  char buffer[256] = {0};
  TRY(io_uring_setup, 4, buffer);
  TRY(userfaultfd, 0);
  TRY(bpf, 0, buffer, sizeof buffer);
  TRY(perf_event_open, buffer, 0, -1, -1, 0);
  TRY(keyctl, 0, -3, 0);
  TRY(add_key, "user", "a", "b", 1, -3);
  TRY(request_key, "user", "a", 0, -3);
  TRY(unshare, CLONE_NEWUSER);
  TRY(unshare, CLONE_NEWNS);
  TRY(setns, 0, CLONE_NEWNET);
  TRY(mount, "none", "/tmp", "tmpfs", 0, 0);
  TRY(umount2, "/proc", MNT_DETACH_);
  TRY(fsopen, "tmpfs", 0);
  TRY(open_tree, AT_FDCWD, ".", 1);
  TRY(move_mount, -1, "", AT_FDCWD, ".", 4);
  TRY(mount_setattr, AT_FDCWD, ".", 0, buffer, 32);
  TRY(pivot_root, ".", ".");
  TRY(chroot, ".");
  TRY(memfd_create, "a", 0);
  TRY(open_by_handle_at, AT_FDCWD, buffer, 0);
  TRY(kexec_load, 0, 0, 0, 0);
  TRY(init_module, buffer, 1, "");
  TRY(finit_module, 0, "", 0);
  TRY(swapon, "/swap", 0);
  TRY(reboot, 0xfee1dead, 672274793, 0, 0);
  TRY(syslog, 3, buffer, 16);
  TRY(process_vm_readv, getppid(), 0, 0, 0, 0, 0);
  TRY(ptrace, 0, 0, 0, 0);
  TRY(clone3, buffer, 64);
  TRY(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  TRY(clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
  TRY(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  TRY(ioctl, 0, 0x5412, "x");
  TRY(fchmodat, AT_FDCWD, "a", 04755, 0);
  TRY(openat2, AT_FDCWD, "a", buffer, 24);
  puts("tried");
}
"#;

#[tokio::test]
async fn calls_that_others_escaped_through_are_refused() {
    let calls = CALLS.replace("MNT_DETACH_", "2");
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("calls.c"), &calls).unwrap();
        let ran = sandbox.run(&command(dir.path(), "cc -w calls.c -o a && ./a")).await.unwrap();
        assert_eq!(text(&ran), "tried\n", "{:?}", sandbox.backend());
    }
}

/// The same kernel by other numbers: those of 32-bit programs, and those of x32.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_by_other_numbers_end_the_process() {
    let other_ways = [
        "int main(void) { long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20)); return 0; }",
        "#include <unistd.h>\nint main(void) { syscall(0x40000000 | 39); return 0; }",
    ];
    const BAD_CALL: i32 = 128 + 31;
    for sandbox in both().await {
        for program in other_ways {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a.c"), program).unwrap();
            let ran = sandbox.run(&command(dir.path(), "cc -w a.c -o a && ./a")).await.unwrap();
            assert_eq!(ran.exit_code, Some(BAD_CALL), "{:?}: {}", sandbox.backend(), text(&ran));
        }
    }
}

/// Memory and queues that outlive their makers and belong to the machine.
#[tokio::test]
async fn nothing_is_left_in_the_machines_shared_memory() {
    let before = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    for sandbox in both().await {
        let ran = run(&sandbox, "ipcmk -M 4096; ipcmk -S 1; ipcmk -Q; ls /dev/shm; true").await;
        let after = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        assert_eq!(before, after, "{:?}: {}", sandbox.backend(), text(&ran));
    }
}

#[tokio::test]
async fn the_kernels_own_books_are_closed() {
    let reads = "for book in kcore kpagecount kpageflags pagetypeinfo slabinfo timer_list vmallocinfo; \
         do head -c 8 /proc/$book >/dev/null 2>&1 && echo \"READ $book\"; done; echo end";
    for sandbox in both().await {
        let seen = prints(&sandbox, reads).await;
        // The exception: who may pass through the worker's directories may read them as well.
        let is_exception =
            sandbox.backend() == SandboxBackend::Landlock && rustix::process::geteuid().is_root();
        assert!(seen == "end\n" || is_exception, "{:?}: {seen}", sandbox.backend());
        assert!(!seen.contains("kcore"), "{:?}: {seen}", sandbox.backend());
    }
}

#[tokio::test]
async fn rights_are_gone_and_the_kernel_says_so() {
    for sandbox in both().await {
        let status = prints(&sandbox, "cat /proc/self/status").await;
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), ("1".to_owned(), "2".to_owned()));
        let rights = u64::from_str_radix(&line("CapEff:"), 16).unwrap();
        // With a user of its own, it may pass through the worker's directories: landlock says which.
        let may_keep = if rustix::process::geteuid().is_root() { 1 << 2 } else { 0 };
        assert_eq!(rights & !may_keep, 0, "{:?}", sandbox.backend());
        assert_ne!(line("Uid:").split('\t').next(), Some("0"));
    }
}
