//! What has to work inside.

use std::path::Path;

use cody_events::attempt::SandboxBackend;

use super::ground::*;

#[tokio::test]
async fn output_and_exit_code_come_back_in_order() {
    for sandbox in both().await {
        let ran = run(&sandbox, "echo one; echo two >&2; echo three; exit 3").await;
        assert_eq!((ran.exit_code, text(&ran).as_str()), (Some(3), "one\ntwo\nthree\n"));
        assert_eq!(run(&sandbox, "kill -9 $$").await.exit_code, Some(137));
        assert_eq!(run(&sandbox, "if").await.exit_code, Some(2));
        assert_eq!(text(&run(&sandbox, "cat; echo end").await), "end\n");
        assert_eq!(prints(&sandbox, "echo a >/dev/stdout; echo b >/dev/stderr").await, "a\nb\n");
    }
}

#[tokio::test]
async fn toolchains_work_without_a_network() {
    let plain = "set -e; /usr/bin/python3 -c 'print(6*7)'; git --version; \
         printf 'int main(){return 0;}' >a.c; cc a.c -o a; ./a; printf 'all:\\n\\t./a\\n' >Makefile; make; \
         printf 'import unittest\\nclass T(unittest.TestCase):\\n  def test(self): pass\\n' >test_a.py; \
         /usr/bin/python3 -m unittest; mktemp; chmod +x test_a.py; touch -d 2020-01-01 test_a.py";
    let of_the_user = "; python3 -c 'print(6*7)'; node -e 'console.log(6*7)'; \
         echo \"require('node:test')('a', () => {})\" >a.test.js; node --test a.test.js; \
         echo '{\"scripts\": {\"test\": \"node --test a.test.js\"}}' >package.json; npm test; \
         mkdir src; echo '#[test] fn t() {}' >src/lib.rs; \
         printf '[package]\\nname = \"a\"\\nedition = \"2021\"\\n' >Cargo.toml; cargo test --offline";
    let script = if is_nobody() { plain.to_owned() } else { format!("{plain}{of_the_user}") };
    for sandbox in both().await {
        prints(&sandbox, &script).await;
    }
}

#[tokio::test]
async fn crates_that_the_machine_has_can_be_built_with() {
    if is_nobody() {
        return println!("an ordinary user has no crates here");
    }
    // Our own lock file names versions that are on this machine, or this test were not running.
    let lock = include_str!("../../Cargo.lock");
    let version =
        lock.split("name = \"hex\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    for sandbox in both().await {
        prints(
            &sandbox,
            &format!(
                "set -e; mkdir src; \
                 echo '#[test] fn t() {{ assert_eq!(hex::encode([1]), \"01\"); }}' >src/lib.rs; \
                 printf '[package]\\nname = \"a\"\\nedition = \"2021\"\\n[dependencies]\\nhex = \"={version}\"\\n' \
                 >Cargo.toml; cargo test --offline"
            ),
        )
        .await;
    }
}

#[tokio::test]
async fn a_git_directory_a_cache_and_more_can_be_seen() {
    for sandbox in both().await {
        let [dir, git, cache, pack] = [(); 4].map(|()| tempfile::tempdir().unwrap());
        std::fs::write(git.path().join("HEAD"), "ours").unwrap();
        std::fs::write(pack.path().join("x.pack"), "objects").unwrap();
        // What a hostile command may have left in the place of `.git`.
        std::os::unix::fs::symlink("/oldroot/etc", dir.path().join(".git")).unwrap();
        let objects = sandbox.inside(pack.path(), Path::new("/base/objects"));
        let seen = cody_batch::sandbox::SandboxCommand {
            git_dir: Some(git.path().to_owned()),
            cache: Some(cache.path().to_owned()),
            read_only: vec![(pack.path().to_owned(), "/base/objects".into())],
            env: vec![("CARGO_TARGET_DIR".to_owned(), "/cache/cargo".to_owned())],
            ..command(
                dir.path(),
                &format!(
                    "[ -d .git ] && git=.git || git=$(sed 's/gitdir: //' .git); cat $git/HEAD {0}/x.pack; \
                     echo kept >${{CARGO_TARGET_DIR%/cargo}}/a; echo $CARGO_TARGET_DIR; \
                     (echo x >{0}/y) 2>/dev/null || echo read-only; \
                     rm -rf .git 2>/dev/null; ls {0} $git | grep -c . ",
                    objects.display()
                ),
            )
        };
        let ran = sandbox.run(&seen).await.unwrap();
        let told = text(&ran);
        assert!(told.starts_with("oursobjects/cache/cargo\nread-only\n"), "{told}");
        assert_eq!(std::fs::read(cache.path().join("a")).unwrap(), b"kept\n");
        // The next call finds it again, whatever this one did to it.
        let again = cody_batch::sandbox::SandboxCommand {
            git_dir: Some(git.path().to_owned()),
            ..command(dir.path(), "mkdir -p .git/x; ln -s / .git/y; ls -d .git")
        };
        assert_eq!(text(&sandbox.run(&again).await.unwrap()).lines().last(), Some(".git"));
        assert!(!Path::new("/x").exists());
    }
}

#[tokio::test]
async fn git_answers_from_a_throw_away_directory_whose_objects_are_elsewhere() {
    for sandbox in both().await {
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
        let visible = sandbox.inside(&objects, Path::new("/base/objects"));
        let alternates = format!("{}\n", visible.display());
        std::fs::write(git_dir.join("objects/info/alternates"), alternates).unwrap();
        std::fs::write(dir.path().join("a"), "2\n").unwrap();
        let asks_git = cody_batch::sandbox::SandboxCommand {
            git_dir: Some(git_dir),
            read_only: vec![(objects, "/base/objects".into())],
            ..command(dir.path(), "git log --format=%s && git status --short && git diff --stat")
        };
        let ran = sandbox.run(&asks_git).await.unwrap();
        assert_eq!(
            text(&ran),
            "base\n M a\n a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n"
        );
    }
}

#[tokio::test]
async fn landlock_speaks_of_the_same_places() {
    let sandbox = landlock().await;
    let dir = tempfile::tempdir().unwrap();
    let script =
        "mkdir sub; cd /repo/sub; pwd; cd /repo; pwd; echo $HOME $TMPDIR; cat /repo/nothing";
    let ran = sandbox.run(&command(dir.path(), script)).await.unwrap();
    assert_eq!(
        text(&ran),
        "/repo/sub\n/repo\n/home/cody /tmp\ncat: /repo/nothing: No such file or directory\n"
    );
    assert!(sandbox.hint(script).unwrap().contains("relative paths"));
    assert_eq!(bubblewrap().await.hint(script), None);
}

#[tokio::test]
async fn what_cannot_be_set_up_is_an_error_not_an_exit_code() {
    let missing = command(Path::new("/nowhere/at/all"), "true");
    for sandbox in both().await {
        let error = sandbox.run(&missing).await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("/nowhere/at/all"), "{why}");
    }
    let off = cody_batch::sandbox::Sandbox::probe(&Default::default()).await;
    assert_eq!(off.backend(), SandboxBackend::None);
    let error = off.run(&missing).await.unwrap_err();
    assert_eq!(error.to_string(), "no sandbox works here: it is switched off by configuration");
}

#[tokio::test]
async fn the_first_backend_that_works_is_used_and_the_others_say_why_not() {
    let [bubblewrap, landlock] = [SandboxBackend::Bubblewrap, SandboxBackend::Landlock];
    let wants_both = cody_batch::sandbox::SandboxOptions {
        backends: vec![bubblewrap, landlock],
        ..options(bubblewrap)
    };
    assert_eq!(sandbox(&wants_both).await.backend(), bubblewrap);
    let found = cody_batch::sandbox::Sandbox::probe_all(&wants_both).await;
    assert_eq!(found, [(bubblewrap, Ok(())), (landlock, Ok(()))]);

    let no_launcher = cody_batch::sandbox::SandboxOptions {
        launcher: Some("/usr/bin/false".into()),
        ..wants_both
    };
    let found = cody_batch::sandbox::Sandbox::probe_all(&no_launcher).await;
    let why = found[1].1.as_ref().unwrap_err();
    assert!(why.starts_with("landlock does not work: "), "{why}");
}
