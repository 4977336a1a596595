//! What ordinary changes touch (nothing), and what attackers try.

use cody_events::diff::{ChangedFile, FileChange};
use cody_events::digest::ObjectId;
use cody_events::tree::Entry;

use super::*;

fn entry(mode: EntryMode, id: u8) -> Option<Entry> {
    Some(Entry { mode, object: ObjectId([id; 20]) })
}

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

/// A file that is there before and after.
fn modified(text: &str) -> Touched {
    let (before, after) = (entry(EntryMode::File, 1), entry(EntryMode::File, 2));
    Touched { path: path(text), before, after, size: 100, link: None }
}

fn added(text: &str) -> Touched {
    Touched { before: None, ..modified(text) }
}

fn deleted(text: &str) -> Touched {
    Touched { after: None, size: 0, ..modified(text) }
}

fn link(at: &str, to: &str) -> Touched {
    let after = entry(EntryMode::Symlink, 3);
    Touched { after, link: Some(to.as_bytes().to_vec()), ..added(at) }
}

/// A patch of these files, with these lines in the first one's hunk.
fn patch(touched: &[Touched], lines: &str) -> Patch {
    let file = |one: &Touched| ChangedFile {
        path: one.path.clone(),
        change: FileChange::Modified,
        binary: false,
        added_line_count: 0,
        deleted_line_count: 0,
    };
    let mut bytes = Vec::new();
    for (index, one) in touched.iter().enumerate() {
        bytes.extend(format!("diff --git a/{0} b/{0}\n", one.path).as_bytes());
        if index == 0 && !lines.is_empty() {
            bytes.extend(format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n{lines}\n").as_bytes());
        }
    }
    Patch { bytes, files: touched.iter().map(file).collect() }
}

fn classes(touched: &[Touched], lines: &str) -> Vec<PathClass> {
    Touches::of(touched, &patch(touched, lines)).classes()
}

#[test]
fn ordinary_changes_touch_nothing() {
    for name in [
        "src/main.rs",
        "README.md",
        "Cargo.toml",
        "package.json",
        "pyproject.toml",
        "tests/test_a.py",
        "src/workflows/engine.rs",
        "github/workflows/ci.yml",
        "docs/.github-notes.md",
        ".gitignore",
        ".editorconfig",
        "lock.rs",
        "src/cargo_lock.rs",
        "yarn.lock.md",
        "Dockerfile",
        "Makefile",
        "config.toml",
        ".github/ISSUE_TEMPLATE/bug.md",
        "vendor/settings.json",
    ] {
        assert_eq!(classes(&[modified(name)], "-let a = 1;\n+let a = 2;"), [], "{name}");
        assert_eq!(classes(&[added(name)], ""), [], "{name}");
    }
    assert_eq!(classes(&[link("docs/latest", "v2")], ""), []);
    assert_eq!(classes(&[link("a/b/c", "../../d/e")], ""), []);
}

#[test]
fn what_runs_by_itself_is_seen_under_any_spelling() {
    for name in [
        ".github/workflows/ci.yml",
        ".GitHub/Workflows/x.yaml",
        ".github/workflows",
        ".github",
        ".github\u{200d}/workflows/x.yml",
        ".github./workflows /x.yml",
        ".github/actions/a/action.yml",
        ".gitlab-ci.yml",
        ".GITLAB-CI.YML",
        ".circleci/config.yml",
        "Jenkinsfile",
        "ci/Jenkinsfile",
        "azure-pipelines.yml",
        "CODEOWNERS",
        ".github/CODEOWNERS",
        "docs/CODEOWNERS",
        ".github/dependabot.yml",
        "renovate.json",
        ".husky/pre-commit",
        ".pre-commit-config.yaml",
        ".gitattributes",
        "sub/.gitattributes",
        ".gitmodules",
        ".npmrc",
        "packages/a/.npmrc",
        ".cargo/config.toml",
        "crates/a/.cargo/config",
        ".vscode/tasks.json",
        ".devcontainer/devcontainer.json",
        ".envrc",
        ".mcp.json",
        "gradle/wrapper/gradle-wrapper.properties",
    ] {
        assert_eq!(classes(&[modified(name)], ""), [PathClass::Workflows], "{name}");
        assert_eq!(classes(&[deleted(name)], ""), [PathClass::Workflows], "{name}");
    }
}

#[test]
fn lock_files_are_seen() {
    for name in [
        "Cargo.lock",
        "CARGO.LOCK",
        "web/package-lock.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "poetry.lock",
        "uv.lock",
        "go.sum",
        "Gemfile.lock",
        "composer.lock",
        "requirements-dev.lock",
        "cargo.lock ",
    ] {
        assert_eq!(classes(&[modified(name)], ""), [PathClass::Lockfiles], "{name}");
    }
}

#[test]
fn what_nobody_reads_is_seen() {
    let large = Touched { size: 2 << 20, ..modified("data.json") };
    assert_eq!(classes(&[large], ""), [PathClass::LargeChanges]);
    let many: Vec<Touched> = (0..400).map(|n| added(&format!("f{n}"))).collect();
    assert_eq!(classes(&many, ""), [PathClass::LargeChanges]);

    let one = [modified("logo.png")];
    let mut binary = patch(&one, "");
    binary.files[0].binary = true;
    assert_eq!(Touches::of(&one, &binary).classes(), [PathClass::Binaries]);
    let gone = [deleted("logo.png")];
    assert_eq!(Touches::of(&gone, &binary).classes(), []);
}

#[test]
fn links_out_of_the_repository_are_seen() {
    for (at, to) in [
        ("a", "/etc/passwd"),
        ("a", "../x"),
        ("a/b", "../../x"),
        ("a/b", "c/../../../x"),
        ("a", ".git/config"),
        ("a", ".GIT/hooks"),
        ("a", ""),
    ] {
        assert_eq!(classes(&[link(at, to)], ""), [PathClass::OutwardLinks], "{at} -> {to}");
    }
    let unread = Touched { link: None, ..link("a", "x") };
    assert_eq!(classes(&[unread], ""), [PathClass::OutwardLinks]);
}

#[test]
fn tests_that_go_are_seen() {
    for name in [
        "tests/lib.rs",
        "test/test_a.py",
        "src/__tests__/a.js",
        "src/a.test.ts",
        "a_test.go",
        "src/test/java/AppTest.java",
        "spec/a_spec.rb",
    ] {
        assert_eq!(classes(&[deleted(name)], ""), [PathClass::DeletedTests], "{name} deleted");
        let emptied = Touched { size: 0, ..modified(name) };
        assert_eq!(classes(&[emptied], ""), [PathClass::DeletedTests], "{name} emptied");
    }
    assert_eq!(classes(&[deleted("tests/fixtures/a.json")], ""), []);
    assert_eq!(classes(&[deleted("src/old.rs")], ""), []);
    // It moved.
    assert_eq!(classes(&[deleted("test/a_test.go"), added("pkg/a_test.go")], ""), []);
    for (lines, is_lost) in [
        ("-    #[test]\n-    fn a() {}", true),
        ("-def test_a():\n-    pass", true),
        ("-  it('adds', () => {})\n+  // it('adds', () => {})", true),
        ("+    #[ignore]", true),
        ("-  it('a', f)\n+  it.skip('a', f)", true),
        ("+@pytest.mark.skip(reason='flaky')", true),
        ("-def test_a():\n+def test_b():", false),
        ("+    #[test]\n+    fn b() {}", false),
        (
            "-    #[test]\n-    fn a() {}\n+    #[test]\n+    fn b() {}\n+    #[test]\n+    fn c() {}",
            false,
        ),
        ("-assert_eq!(a, 1);\n+assert_eq!(a, 2);", false),
    ] {
        let expected: &[PathClass] = if is_lost { &[PathClass::DeletedTests] } else { &[] };
        assert_eq!(classes(&[modified("src/lib.rs")], lines), expected, "{lines}");
    }
}

#[test]
fn a_file_cannot_fake_the_head_of_another() {
    // The content of a line cannot begin a line of the patch.
    let lines = " diff --git a/x b/x\n-    #[test]";
    let touched = [modified("src/lib.rs"), modified("src/other.rs")];
    let touches = Touches::of(&touched, &patch(&touched, lines));
    let words = touches.reasons(|_| false).join("\n");
    assert!(words.contains("src/lib.rs") && !words.contains("other"), "{words}");
}

#[test]
fn reasons_name_the_class_and_some_files_of_what_is_not_allowed() {
    let locks: Vec<Touched> = (0..8).map(|n| modified(&format!("p{n}/yarn.lock"))).collect();
    let touches = Touches::of(&locks, &patch(&locks, ""));
    assert_eq!(
        touches.reasons(|_| false),
        ["It touches lock files, class `lockfiles` (p0/yarn.lock, p1/yarn.lock, p2/yarn.lock, \
          p3/yarn.lock, p4/yarn.lock and 3 more)."]
    );
    assert!(touches.reasons(|class| class == PathClass::Lockfiles).is_empty());
}
