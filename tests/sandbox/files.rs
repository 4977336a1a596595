//! Files of the machine: what can be read, what can be written, what can be left behind.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use cody_events::attempt::SandboxBackend;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::ground::*;

#[tokio::test]
async fn nothing_of_the_machine_but_the_allow_list_can_be_read() {
    for sandbox in both().await {
        let home = std::env::var("HOME").unwrap();
        let host_home = TempDir::with_prefix_in("cody-canary-", home).unwrap();
        let secret = host_home.path().join("secret");
        std::fs::write(&secret, "canary-in-a-file").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
        let socket = tempfile::tempdir().unwrap();
        let socket = socket.path().join("host.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let ran = run(
            &sandbox,
            &format!(
                "env; cat {home}/secret /etc/shadow /etc/hostname /root/.netrc; ls {home} /etc/ssh /; \
                 cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/self/root{home}/secret; \
                 ln {home}/secret ./stolen && cat stolen; cp {home}/secret . ; \
                 cat ~/.cargo/credentials.toml; ls /work /var /sys /boot /run/dbus /mnt; \
                 cat /etc/passwd /etc/hosts /etc/resolv.conf; cat .//..//..{home}/secret; \
                 python3 -c \"import os; d=os.open('/proc/self/root', os.O_PATH); \
                 print(os.read(os.open('.{home}/secret', os.O_RDONLY, dir_fd=d), 100))\"",
                home = host_home.path().display(),
            ),
        )
        .await;
        let seen = text(&ran);
        // Cargo sets this one for tests; it stands for every variable of whoever starts us.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        for secret in
            ["canary-in-a-file", "CARGO_MANIFEST_DIR", "root:$", "host.sock\n", "cody-call-"]
        {
            assert!(!seen.contains(secret), "{:?}: {secret} in {seen}", sandbox.backend());
        }
    }
}

#[tokio::test]
async fn writes_stay_in_the_few_places_that_are_writable() {
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::Builder::new().prefix("cody-out-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(outside.path(), PermissionsExt::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        let core_pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
        let script = format!(
            "for place in / /etc /usr /usr/local /dev /run /run/cody /proc /proc/sys/kernel link {0} \
               /proc/self/root{0} /home /cache $CARGO_HOME/bin/ $CARGO_HOME/registry/index/; do \
               (echo x >$place/cody-was-here) 2>/dev/null && echo \"wrote $place\"; done; \
             for file in /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory /proc/sysrq-trigger \
               /etc/passwd /run/cody/command /proc/1/oom_score_adj /proc/self/uid_map; do \
               (echo x >$file) 2>/dev/null && echo \"wrote $file\"; done; \
             (truncate -s 0 {0}/theirs; rm -rf {0}/theirs; mv {0}/theirs .; mkdir {0}/new; \
              ln -s x {0}/new; mkfifo {0}/new; ln a {0}/new; mv {0}/theirs {0}/new) 2>/dev/null; \
             for place in . $TMPDIR ~; do echo x >$place/mine || echo \"cannot write $place\"; done; \
             mount -t tmpfs none /mnt 2>/dev/null && echo mounted; \
             unshare -U true 2>/dev/null && echo 'made a namespace'; \
             chroot / true 2>/dev/null && echo 'changed root'; echo done",
            outside.path().display()
        );
        std::fs::write(outside.path().join("theirs"), "theirs").unwrap();
        std::fs::set_permissions(outside.path().join("theirs"), PermissionsExt::from_mode(0o666))
            .unwrap();
        let ran = sandbox.run(&command(dir.path(), &script)).await.unwrap();
        assert_eq!(text(&ran), "done\n", "{:?}", sandbox.backend());
        assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), core_pattern);
        assert_eq!(std::fs::read(outside.path().join("theirs")).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(dir.path().join("mine")).unwrap(), b"x\n");
    }
}

#[tokio::test]
async fn modes_and_times_of_files_outside_stay_what_they_are() {
    for sandbox in both().await {
        let outside = tempfile::Builder::new().prefix("cody-out-").tempdir_in("/var/tmp").unwrap();
        let file = outside.path().join("theirs");
        std::fs::write(&file, "theirs").unwrap();
        std::fs::set_permissions(outside.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let before = std::fs::metadata(&file).unwrap();
        let script = format!(
            "chmod 777 {0}; chmod 777 {0}/..; touch -d 2001-01-01 {0}; ln -s {0} l; chmod 777 l; \
             chown 12345 {0}; python3 -c \"import os; os.setxattr('{0}', 'user.a', b'b')\"; \
             python3 -c \"import os; os.chmod('{0}', 0o777)\"; \
             python3 -c \"import os; os.utime('l', (1, 1))\"; \
             touch own; chmod 751 own; touch -d 2001-01-01 own; stat -c '%a %Y' own",
            file.display()
        );
        let ran = run(&sandbox, &script).await;
        let after = std::fs::metadata(&file).unwrap();
        let backend = sandbox.backend();
        assert!(text(&ran).ends_with("751 978307200\n"), "{backend:?}: {}", text(&ran));
        // The exception: landlock has no rule for them, and without root there is no other user.
        let mut attributes = [0; 64];
        let found = rustix::fs::listxattr(&file, &mut attributes).unwrap();
        assert_eq!(&attributes[..found], b"", "{backend:?}: {}", text(&ran));
        let is_exception = backend == SandboxBackend::Landlock && !geteuid().is_root();
        if is_exception {
            assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
            continue;
        }
        assert_eq!(before.permissions(), after.permissions(), "{backend:?}: {}", text(&ran));
        assert_eq!(before.modified().unwrap(), after.modified().unwrap(), "{backend:?}");
        let dir = std::fs::metadata(outside.path()).unwrap();
        assert_eq!(dir.permissions().mode() & 0o777, 0o755, "{backend:?}");
    }
}

/// What happens in directories that cannot be read: who uses which file, and when.
#[tokio::test]
async fn nobody_is_told_what_happens_in_other_directories() {
    let watches = "/usr/bin/python3 -c \"import ctypes, os, time\nc = ctypes.CDLL(None)\n\
         fd = c.inotify_init1(os.O_NONBLOCK)\nwatch = c.inotify_add_watch(fd, b'PLACE', 0xfff)\n\
         open('ready', 'w').close()\n\
         while not os.path.exists('used'): time.sleep(0.01)\n\
         print('told of', os.read(fd, 4096) if watch >= 0 else b'')\"; echo end";
    for sandbox in both().await {
        let [dir, outside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let script = watches.replace("PLACE", outside.path().to_str().unwrap());
        let watching = command(dir.path(), &script);
        let used = async {
            while !dir.path().join("ready").exists() {
                tokio::task::yield_now().await;
            }
            std::fs::write(outside.path().join("canary-name"), "x").unwrap();
            std::fs::write(dir.path().join("used"), "").unwrap();
        };
        let (ran, ()) = tokio::join!(sandbox.run(&watching), used);
        let seen = text(&ran.unwrap());
        assert!(
            seen.contains("end") && !seen.contains("canary"),
            "{:?}: {seen}",
            sandbox.backend()
        );
    }
}

#[tokio::test]
async fn no_file_is_left_that_lends_its_owners_rights() {
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        let script = "cp /bin/true a; chmod 4755 a; chmod u+s a; install -m 6755 /bin/true b; \
             python3 -c \"import os; os.close(os.open('c', os.O_CREAT | os.O_WRONLY, 0o4755))\"; \
             python3 -c \"import os; os.mknod('d', 0o104755)\"; \
             python3 -c \"import os; d = os.open('.', os.O_RDONLY); \
             f = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o4755); \
             os.link(f'/proc/self/fd/{f}', 'e', dst_dir_fd=d)\"; \
             python3 -c \"import os; f = open('a'); os.fchmod(f.fileno(), 0o2755)\"; \
             chmod 755 a; stat -c %a a; su -c id; grep CapEff /proc/self/status";
        let ran = sandbox.run(&command(dir.path(), script)).await.unwrap();
        assert!(text(&ran).contains("\n755\n"), "{}", text(&ran));
        assert!(!text(&ran).contains("uid=0"), "{}", text(&ran));
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o6000, 0, "{:?}: {:?}", sandbox.backend(), entry.file_name());
        }
    }
}

#[tokio::test]
async fn open_files_of_the_worker_are_not_inherited() {
    use std::io::{Seek as _, Write as _};
    // Opened as a C library opens files: to be inherited.
    let mut open = std::fs::File::from(memfd_create("left-open", MemfdFlags::empty()).unwrap());
    open.write_all(b"canary-in-an-open-file").unwrap();
    open.rewind().unwrap();
    for sandbox in both().await {
        let seen = prints(
            &sandbox,
            "for fd in /proc/self/fd/*; do readlink $fd; done | sort -u; \
             for fd in $(seq 3 64); do cat <&$fd; cat /proc/self/fd/$fd; done 2>/dev/null; true",
        )
        .await;
        assert!(!seen.contains("canary") && !seen.contains("left-open"), "{seen}");
        assert!(!seen.contains("memfd"), "{seen}");
    }
}

#[tokio::test]
async fn names_of_other_users_are_told_by_neither() {
    for sandbox in both().await {
        let ran = run(&sandbox, "getent passwd; cat /etc/passwd /etc/group").await;
        assert!(!text(&ran).contains("nobody:"), "{}", text(&ran));
    }
    let told = run(&bubblewrap().await, "getent passwd").await;
    assert!(text(&told).contains("cody:x:1000"), "{}", text(&told));
}

#[tokio::test]
async fn closed_directories_are_no_trap_for_the_next_call() {
    for sandbox in both().await {
        let dir = tempfile::tempdir().unwrap();
        let close = "mkdir -p a/b; chmod 000 a/b; mkdir ~/x; chmod 000 ~/x; mkdir $TMPDIR/y; chmod 000 $TMPDIR/y";
        for _ in 0..2 {
            let ran = sandbox.run(&command(dir.path(), close)).await.unwrap();
            assert_eq!(ran.exit_code, Some(0), "{}", text(&ran));
        }
        cody_batch::sandbox::remove_all(&dir.path().join("a")).unwrap();
    }
}
