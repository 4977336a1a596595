//! What a command may use together with all that it starts.

use std::time::Duration;

use cody_batch::sandbox::{Exceeded, Limits, Ran, SandboxCommand, SandboxOptions};
use cody_events::attempt::SandboxBackend;

use super::ground::*;

const BACKENDS: [SandboxBackend; 2] = [SandboxBackend::Bubblewrap, SandboxBackend::Landlock];
const MIB: u64 = 1 << 20;

async fn run_within(backend: SandboxBackend, limits: Limits, script: &str) -> Ran {
    let sandbox = sandbox(&SandboxOptions { limits, ..options(backend) }).await;
    let dir = tempfile::tempdir().unwrap();
    let call = SandboxCommand { timeout: Duration::from_secs(12), ..command(dir.path(), script) };
    sandbox.run(&call).await.unwrap()
}

#[tokio::test]
async fn a_fork_bomb_is_put_out() {
    for backend in BACKENDS {
        let long = own_seconds(5);
        let limits = Limits { processes: 300, ..Limits::default() };
        // A sleeper beside each shell, so that those who could not fork any more are many.
        let bomb = format!("f() {{ sleep {long} & f | f & f & }}; f; sleep {long}");
        let ran = run_within(backend, limits, &bomb).await;
        // As a user of its own the kernel may stop it at the limit, before it is seen to be over.
        let is_ended = ran.exceeded == Some(Exceeded::Processes(300)) || ran.timed_out;
        assert!(is_ended, "{backend:?}: {ran:?}");
        assert!(!lives(&long), "{backend:?}");
    }
}

#[tokio::test]
async fn memory_is_counted_over_all_processes() {
    let hog = "import time\nx = b'x' * (100 << 20)\ntime.sleep(50)";
    let shared = "import mmap, time\nm = mmap.mmap(-1, 100 << 20)\n\
         for i in range(0, 100 << 20, 4096): m[i] = 1\ntime.sleep(50)";
    for backend in BACKENDS {
        for program in [hog, shared] {
            let limits = Limits { memory_bytes: 250 * MIB, ..Limits::default() };
            let one = format!("/usr/bin/python3 -c \"{program}\"");
            let ran = run_within(backend, limits, &format!("{one} & {one} & {one} & wait")).await;
            assert_eq!(ran.exceeded, Some(Exceeded::Memory(250 * MIB)), "{backend:?}: {ran:?}");
            assert_eq!((ran.exit_code, ran.timed_out), (None, false));
        }
    }
}

#[tokio::test]
async fn memory_that_is_shared_counts_once() {
    // A parent's memory is not its children's.
    let script = "/usr/bin/python3 -c \"\nimport os, time, mmap\nm = mmap.mmap(-1, 100 << 20)\n\
         for i in range(0, 100 << 20, 4096): m[i] = 1\n\
         for _ in range(5):\n  if os.fork() == 0:\n    sum(m[i] for i in range(0, 100 << 20, 4096)); time.sleep(1.5); os._exit(0)\n\
         for _ in range(5): os.wait()\nprint('done')\"";
    for backend in BACKENDS {
        let limits = Limits { memory_bytes: 400 * MIB, ..Limits::default() };
        let ran = run_within(backend, limits, script).await;
        assert_eq!((ran.exceeded, text(&ran).as_str()), (None, "done\n"), "{backend:?}");
    }
}

#[tokio::test]
async fn the_disk_is_not_filled() {
    let many = "i=0; while :; do head -c 4000000 /dev/zero >f$i; i=$((i+1)); done";
    let nameless = "exec 3>f; rm f; while :; do head -c 4000000 /dev/zero >&3; done";
    for backend in BACKENDS {
        for script in [many, nameless] {
            let limits = Limits { disk_bytes: 200 * MIB, ..Limits::default() };
            let ran = run_within(backend, limits, script).await;
            assert_eq!(ran.exceeded, Some(Exceeded::Disk(200 * MIB)), "{backend:?}: {ran:?}");
        }
    }
}

/// Ways to keep from the look what is on the disk.
#[tokio::test]
async fn what_is_hidden_from_the_watch_is_no_room_of_its_own() {
    let fill = "while :; do head -c 4000000 /dev/zero >&3; done";
    let deep = "/usr/bin/python3 -c \"\nimport os\nfor i in range(60):\n  os.mkdir('d' * 100); os.chdir('d' * 100)\n\
         f = open('f', 'wb')\nwhile True: f.write(bytes(4000000))\"";
    let closed = format!("mkdir c; exec 3>c/f; chmod 000 c; {fill}");
    let private = "/usr/bin/python3 -c \"\nimport ctypes, os\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n\
         f = open('f', 'wb'); os.unlink('f')\nwhile True: f.write(bytes(4000000))\"";
    for backend in BACKENDS {
        for script in [deep, &closed, private] {
            let limits = Limits { disk_bytes: 200 * MIB, ..Limits::default() };
            let ran = run_within(backend, limits, script).await;
            assert_eq!(ran.exceeded, Some(Exceeded::Disk(200 * MIB)), "{backend:?}: {ran:?}");
        }
    }
}

/// Pages that are all the same one of nothing cost no memory; the tables that lead to them do.
#[tokio::test]
async fn tables_of_pages_are_memory() {
    let program = "import mmap, time\nmaps = []\nfor i in range(80):\n  m = mmap.mmap(-1, 2 << 30, \
         flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)\n  maps.append(m)\n  \
         for at in range(0, 2 << 30, 2 << 20): m[at]\ntime.sleep(50)";
    for backend in BACKENDS {
        let limits = Limits { memory_bytes: 200 * MIB, ..Limits::default() };
        let ran = run_within(backend, limits, &format!("/usr/bin/python3 -c \"{program}\"")).await;
        assert_eq!(ran.exceeded, Some(Exceeded::Memory(200 * MIB)), "{backend:?}: {ran:?}");
    }
}

/// Shared memory that nobody has attached is in no process's count.
#[tokio::test]
async fn no_memory_is_put_where_nobody_has_it() {
    let program = "import ctypes\nc = ctypes.CDLL(None)\n\
         print([c.shmget(0, ctypes.c_size_t(size), 0o1600) for size in (1 << 30, 1 << 33, 1 << 21)])";
    for sandbox in both().await {
        let seen = prints(&sandbox, &format!("/usr/bin/python3 -c \"{program}\"")).await;
        assert_eq!(seen, "[-1, -1, -1]\n", "{:?}", sandbox.backend());
    }
}

#[tokio::test]
async fn what_others_write_does_not_count() {
    // Somebody else fills the same disk while a command runs that writes nothing.
    let other = tempfile::tempdir().unwrap();
    let filled = std::thread::spawn({
        let file = other.path().join("other");
        move || std::fs::write(file, vec![1; 120 << 20]).unwrap()
    });
    for backend in BACKENDS {
        let limits = Limits { disk_bytes: 50 * MIB, ..Limits::default() };
        let ran = run_within(backend, limits, "sleep 1.5; echo done").await;
        assert_eq!((ran.exceeded, text(&ran).as_str()), (None, "done\n"), "{backend:?}");
    }
    filled.join().unwrap();
}

/// What a session plants runs before the first line of the next command.
#[tokio::test]
async fn no_session_takes_the_limits_off() {
    let plants = "printf '#include <sys/resource.h>\\n#define NOTHING { return 0; }\\n\
         int setrlimit(int r, const struct rlimit *l) NOTHING\\n\
         int setrlimit64(int r, const void *l) NOTHING\\n\
         int prlimit(int p, int r, const void *n, void *o) NOTHING\\n\
         int prlimit64(int p, int r, const void *n, void *o) NOTHING\\n' >no.c; \
         cc -w -shared -fPIC no.c -o no.so; echo 'ulimit() { :; }' >no.sh; \
         export LD_PRELOAD=$PWD/no.so BASH_ENV=$PWD/no.sh ENV=$PWD/no.sh; ls no.so";
    let limits = "grep -E '^Max (core file size|file size|data size|processes)' /proc/self/limits";
    for backend in BACKENDS {
        let sandbox = sandbox(&options(backend)).await;
        let [dir, memory] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let session = cody_batch::sandbox::ShellSession::new(memory.path().to_owned()).unwrap();
        let mut seen = Vec::new();
        for script in [limits, plants, limits] {
            let session = Some(session.clone());
            let call = SandboxCommand { session, ..command(dir.path(), script) };
            seen.push(text(&sandbox.run(&call).await.unwrap()));
        }
        assert_eq!((seen[1].as_str(), &seen[2]), ("no.so\n", &seen[0]), "{backend:?}");
        assert!(seen[0].lines().count() == 4 && !seen[0].contains("unlimited"), "{}", seen[0]);
    }
}
