//! What targets that work on trees share: a base in a pack, made once by the real git.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use cody_batch::git::{Base, PackStore, RecordedTree};
use cody_events::digest::ObjectId;
use tempfile::TempDir;

/// A repository with one commit, and the pack of it.
pub struct Ground {
    dir: TempDir,
    pack: PathBuf,
    commit: ObjectId,
}

/// The one ground of this process.
pub static GROUND: LazyLock<Ground> = LazyLock::new(Ground::make);

impl Ground {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("repository");
        let files: [(&str, &[u8]); 8] = [
            ("a", b"one\ntwo\nthree\n"),
            ("b.txt", b"no newline at the end"),
            ("crlf", b"one\r\ntwo\r\n"),
            ("empty", b""),
            ("binary", b"\0\x01\x02\xff\n"),
            ("sub/a", b"below\n"),
            ("sub/deep/b", b"deeper\n"),
            (".gitignore", b"*.log\n/build/\n"),
        ];
        for (path, content) in files {
            let place = repository.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, content).unwrap();
        }
        std::os::unix::fs::symlink("sub/a", repository.join("link")).unwrap();
        git(&repository, &["init", "-q"], &[]);
        git(&repository, &["add", "-A", "-f"], &[]);
        let module = format!("160000,{},module", "7".repeat(40));
        git(&repository, &["update-index", "--add", "--cacheinfo", &module], &[]);
        git(
            &repository,
            &["-c", "user.name=t", "-c", "user.email=t", "commit", "-qm", "base"],
            &[],
        );
        let commit = git(&repository, &["rev-parse", "HEAD"], &[]).parse().unwrap();
        let pack = PackStore::new(dir.path().join("packs")).store(&repository, commit).unwrap();
        Self { pack: pack.dir, commit, dir }
    }

    pub fn base(&self) -> Base {
        Base::open(&self.pack, self.commit).unwrap()
    }

    pub fn recorded(&self) -> RecordedTree {
        RecordedTree::at_base(self.base()).unwrap()
    }

    #[allow(dead_code, reason = "not every target asks git")]
    pub fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }
}

/// Runs the real git, which must take what it is given.
pub fn git(dir: &Path, args: &[&str], env: &[(&str, &Path)]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "core.autocrlf=false"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {words}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
