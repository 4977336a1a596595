//! Attacks on what is recorded: on the walk of the work directory, on the patch, on cleaning up.

use super::{CANARY, Victim, bash, create};
use crate::harness::{apply, git};

#[tokio::test(flavor = "multi_thread")]
async fn plants_hooks_and_settings_in_git_s_directory() {
    let victim = Victim::plain().await;
    let mark = victim.world.path("executed").display().to_string();
    let after = victim
        .suffers(&[
            bash(&format!(
                "mkdir -p .git/hooks; for h in post-checkout pre-commit post-index-change \
                 reference-transaction; do printf '#!/bin/sh\\ntouch {mark}\\n' >.git/hooks/$h; \
                 chmod +x .git/hooks/$h; done; \
                 git config core.fsmonitor 'touch {mark}'; git config core.sshCommand 'touch {mark}'; \
                 git config url.https://evil.example/.insteadOf https://github.com/; \
                 git config filter.x.clean 'touch {mark}'; echo '* filter=x' >.gitattributes; \
                 printf '{mark}\\n' >.git/objects/info/alternates; echo tried"
            )),
            create("/repo/a.txt", "changed\n"),
            bash("git status --short; echo tried"),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(!after.victim.world.path("executed").exists());
    let changed = after.changed();
    assert!(changed.iter().any(|path| path == "a.txt"), "{changed:?}");
    assert!(changed.iter().all(|path| !path.contains(".git/")), "{changed:?}");
    git(&after.victim.app, &["fsck", "--strict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_a_link_where_git_s_directory_is() {
    let victim = Victim::plain().await;
    let data = victim.world.path("data").display().to_string();
    let after = victim
        .suffers(&[
            bash(&format!("rm -rf .git; mv .git old; ln -s {data} .git; ls -la; echo tried")),
            bash("ls .git/; git log; rm -rf .git/*; echo tried"),
            create("/repo/a.txt", "changed\n"),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(after.data("log.db").exists() && after.data("packs").exists());
    assert!(after.changed().contains(&"a.txt".to_owned()), "{:?}", after.changed());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_names_that_fold_to_git_s_directory() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "for d in .GIT .Git 'git~1' '.git ' '.git.' \"$(printf '.g\\342\\200\\214it')\"; do \
             mkdir -p \"sub/$d/hooks\" \"$d\"; echo x >\"sub/$d/config\"; echo x >\"$d/config\"; done; \
             echo tried",
        )])
        .await;
    after.was_held().saw("tried");
    assert_eq!(after.changed(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_pipes_sockets_and_devices_where_files_were() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "rm a.txt; mkfifo a.txt; mkfifo sub/pipe; python3 -c 'import socket; \
                 socket.socket(socket.AF_UNIX).bind(\"/repo/sock\")'; mknod dev c 1 5; echo tried",
            ),
            ("search_files", serde_json::json!({ "pattern": "x", "path": "/repo" })),
            super::view("/repo/a.txt"),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(after.changed().len() <= 1, "{:?}", after.changed());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_files_that_run_as_their_owner() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "cp /bin/sh rootshell; chmod 755 a.txt; chmod 6755 rootshell; chmod 4777 a.txt; \
             install -m 4755 /bin/sh other; find . -perm /6000 | sed 's/^/REACHED /'; echo tried",
        )])
        .await;
    after.was_held().saw("tried").saw("Operation not permitted");
    // git knows no such bits.
    let patch = String::from_utf8_lossy(&after.patch()).into_owned();
    assert!(patch.contains("new mode 100755") && !patch.contains("104755"), "no mode of ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_directories_so_that_nobody_can_clean_up() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "mkdir -p locked/deep/er; echo x >locked/deep/er/f; chmod 000 locked/deep/er; \
                 chmod 000 locked/deep; chmod 000 locked; chmod 500 sub; echo tried",
            ),
            create("/repo/a.txt", "changed\n"),
        ])
        .await;
    after.was_held().saw("tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn digs_deeper_than_paths_may_be_long() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "python3 - <<'E'\nimport os\nfor i in range(3000):\n    os.mkdir('d' * 20)\n    \
             os.chdir('d' * 20)\nopen('x', 'w').write('x')\nprint('tried')\nE",
        )])
        .await;
    after.was_held().saw("tried");
}

/// Deeper than a stack, deeper than a process may have files open, and with as many levels below what
/// a path can name as there can be.
#[tokio::test(flavor = "multi_thread")]
async fn digs_deeper_than_who_removes_it_can_count() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "python3 - <<'E'\nimport os\nfor i in range(12000):\n    os.mkdir('d')\n    os.chdir('d')\n\
                 open('x', 'w').write('x')\nos.chmod('.', 0)\nprint('tried')\nE",
            ),
            ("search_files", serde_json::json!({ "pattern": "x", "path": "/repo" })),
            ("list_files", serde_json::json!({ "path": "/repo", "depth": 50 })),
            create("/repo/a.txt", "changed\n"),
        ])
        .await;
    after.was_held().saw("tried");
    assert_eq!(after.changed(), ["a.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_a_hundred_thousand_files() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "python3 - <<'E'\nimport os\nfor d in range(100):\n    os.makedirs(f'many/{d}')\n    \
                 for f in range(1000): open(f'many/{d}/{f}', 'w').close()\nprint('tried')\nE",
            ),
            bash("rm -rf many; echo gone"),
        ])
        .await;
    after.was_held().saw("gone").saw("are not recorded");
}

/// Rules that hide files from a search are a file like any other: not to be waited for, nor followed.
#[tokio::test(flavor = "multi_thread")]
async fn puts_traps_where_a_search_looks_for_rules() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!(
                "rm .gitignore; mkfifo .gitignore; mkdir zero oracle big; ln -s /dev/zero zero/.gitignore; \
                 ln -s {home}/.netrc oracle/.gitignore; echo seen >oracle/canary-5f1d''2c; \
                 echo seen >oracle/other; truncate -s 7G big/.gitignore; echo seen >big/other; mkdir rules; \
                 echo hidden >rules/.gitignore; echo seen >rules/hidden; echo seen >rules/other; \
                 echo tried"
            )),
            ("search_files", serde_json::json!({ "pattern": "seen", "path": "/repo/oracle" })),
            ("search_files", serde_json::json!({ "pattern": "seen", "path": "/repo" })),
            bash("rm -rf oracle big rules; echo tried"),
        ])
        .await;
    after.saw("tried").saw("[matching lines: 2, files: 2]").saw("[matching lines: 4, files: 4]");
}

/// A file of the base that grows out of all bounds is not read into memory, nor recorded.
#[tokio::test(flavor = "multi_thread")]
async fn blows_a_file_up_with_nothing() {
    let mut victim = Victim::plain().await;
    let peak = victim.world.path("peak");
    victim.under = vec!["/usr/bin/python3".to_owned(), "-c".to_owned(), PEAK.to_owned()];
    victim.under.push(peak.display().to_string());
    let after = victim
        .suffers(&[
            bash("truncate -s 6G a.txt; truncate -s 7G new.bin; ls -la; echo tried"),
            create("/repo/sub/b.txt", "changed\n"),
            super::view("/repo/a.txt"),
            ("search_files", serde_json::json!({ "pattern": "x", "path": "/repo" })),
            bash("truncate -s 2 a.txt; rm new.bin"),
        ])
        .await;
    after.was_held().saw("tried").saw("stays as in the base");
    let kib: u64 = std::fs::read_to_string(peak).unwrap().trim().parse().unwrap();
    assert!(kib < 1 << 20, "{kib} KiB at the peak");
}

/// Runs a program and writes the peak memory of the largest process below it, in KiB.
const PEAK: &str = "import resource, subprocess, sys\n\
    code = subprocess.call(sys.argv[2:])\n\
    open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n\
    sys.exit(code)";

#[tokio::test(flavor = "multi_thread")]
async fn writes_names_made_to_confuse() {
    let after = Victim::plain()
        .await
        .suffers(&[
            bash(
                "printf x >$'new\\nline'; printf x >$'esc\\033[2Jape'; printf x >$'bad\\xffutf8'; \
                 printf x >$'\\u202egnp.exe'; printf x >\"$(printf 'x%.0s' $(seq 255))\"; \
                 printf x >'a -> b'; printf x >'--force'; printf x >'/repo/\"quoted\"'; printf x >README; \
                 printf y >readme; echo tried",
            ),
            ("list_files", serde_json::json!({ "path": "/repo" })),
        ])
        .await;
    after.was_held().saw("tried");
    assert!(!after.seen.contains('\u{1b}'), "an escape sequence came through");
    // git makes of the patch what was there, names and all.
    let patch = after.victim.world.path("out/app.patch");
    apply(&after.victim.app, &patch);
    assert!(after.victim.app.join("--force").exists());
    assert!(after.victim.app.join("readme").exists() && after.victim.app.join("README").exists());
    git(&after.victim.app, &["fsck", "--strict"]);
    // And no word of it reaches a terminal raw.
    for verb in [&["show"][..], &["thread", "latest", "1"], &["report"]] {
        let said = after.victim.world.run(verb).await;
        assert!(!said.stdout.contains(&0x1b), "{verb:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hides_a_change_behind_ignore_rules() {
    let after = Victim::plain()
        .await
        .suffers(&[bash(
            "echo '*' >.gitignore; echo '*' >sub/.gitignore; printf 'evil\\n' >sub/b.txt; \
                  printf 'evil\\n' >sub/new.txt; git update-index --assume-unchanged a.txt; \
                  git update-index --skip-worktree a.txt; printf 'evil\\n' >a.txt; echo tried",
        )])
        .await;
    after.was_held().saw("tried");
    let changed = after.changed();
    for path in ["a.txt", "sub/b.txt", "sub/new.txt", ".gitignore"] {
        assert!(changed.iter().any(|other| other == path), "{path} is not in {changed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_keys_of_the_machine_into_the_patch() {
    let victim = Victim::plain().await;
    let home = victim.home();
    let after = victim
        .suffers(&[
            bash(&format!("cp -r {home} /repo/loot; cp /proc/*/environ /repo/; tar cf /repo/t.tar {home}; echo tried")),
            bash(&format!("ln -s {home}/.netrc /repo/loot.txt; echo tried")),
        ])
        .await;
    after.was_held().saw("tried");
    let patch = String::from_utf8_lossy(&after.patch()).into_owned();
    assert!(!patch.contains(CANARY), "{patch}");
}
