//! Whether a diff takes tests away: files that are gone or emptied, cases that are gone or skipped.
//! A guess by names and lines, on the careful side: a person looks at what it holds.

use std::collections::BTreeMap;

use cody_events::tree::RepoPath;

use super::names::Folded;
use crate::git::{Patch, Touched};
use crate::intake::patch_lines::changed_lines;

/// Folders of tests.
const FOLDERS: &[&str] =
    &["test", "tests", "__tests__", "spec", "specs", "testing", "e2e", "androidtest", "unittests"];
/// Extensions of code: a deleted picture in a folder of tests is no test.
const CODE: &[&str] = &[
    "rs", "py", "js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts", "go", "java", "kt", "kts",
    "scala", "groovy", "rb", "php", "cs", "fs", "vb", "swift", "m", "mm", "c", "h", "cc", "cpp",
    "cxx", "hpp", "ex", "exs", "erl", "hs", "ml", "clj", "dart", "lua", "pl", "t", "r", "jl", "sh",
    "bats", "sql", "vue", "svelte", "zig", "nim", "sol",
];
/// Beginnings of lines that open a test case.
const CASES: &[&str] = &[
    "#[test]",
    "#[tokio::test",
    "#[async_std::test",
    "#[rstest",
    "#[test_case",
    "#[case",
    "def test",
    "async def test",
    "func test",
    "test(",
    "it(",
    "it.each",
    "test.each",
    "describe(",
    "specify(",
    "@test",
    "@parameterizedtest",
    "[fact]",
    "[theory]",
    "[test]",
    "[testmethod]",
    "[testcase",
    "test \"",
    "test '",
    "it \"",
    "it '",
    "it {",
    "describe \"",
    "public function test",
    "test_case(",
    "test_f(",
    "test(",
    "deftest",
    "@pytest.mark.parametrize",
    "prop_test",
    "proptest!",
];
/// Parts of lines that switch a test off.
const SKIPS: &[&str] = &[
    "#[ignore",
    "pytest.mark.skip",
    "pytest.mark.xfail",
    "pytest.skip(",
    "unittest.skip",
    "skiptest(",
    "it.skip",
    "test.skip",
    "describe.skip",
    "it.only",
    "test.only",
    "describe.only",
    "xit(",
    "xdescribe(",
    "xtest(",
    "test.todo",
    "@ignore",
    "@disabled",
    "t.skip",
    "[ignore",
    "skip = \"",
    "marktestskipped",
    "@skip",
    "pending(",
    "skip(",
];

/// The paths at which tests were lost.
pub(super) fn lost(touched: &[Touched], patch: &Patch) -> Vec<RepoPath> {
    let mut lost = lost_files(touched);
    let mut balance: BTreeMap<RepoPath, i64> = BTreeMap::new();
    let mut total = 0;
    for line in changed_lines(patch) {
        let text = String::from_utf8_lossy(line.text).trim().to_lowercase();
        let weight = if line.is_added { cases_in(&text) } else { -cases_in(&text) };
        total += weight;
        if weight != 0 {
            *balance.entry(line.path.clone()).or_default() += weight;
        }
    }
    // A case that moved to another file is not lost.
    if total < 0 {
        lost.extend(balance.into_iter().filter(|(_, sum)| *sum < 0).map(|(path, _)| path));
    }
    lost
}

/// Files of tests that are gone or empty, unless one of the same name is new elsewhere.
fn lost_files(touched: &[Touched]) -> Vec<RepoPath> {
    let is_there = |one: &&Touched| one.after.is_some() && one.size > 0;
    let new: Vec<String> = touched
        .iter()
        .filter(is_there)
        .filter(|one| one.before.is_none())
        .map(|one| Folded::of(&one.path).name().to_owned())
        .collect();
    let gone = touched.iter().filter(|one| one.before.is_some() && !is_there(one));
    gone.filter(|one| is_test(&one.path))
        .filter(|one| !new.iter().any(|name| name == Folded::of(&one.path).name()))
        .map(|one| one.path.clone())
        .collect()
}

/// Whether a file holds tests, by its name.
fn is_test(path: &RepoPath) -> bool {
    let folded = Folded::of(path);
    let name = folded.name();
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    if !CODE.contains(&extension) {
        return false;
    }
    let by_name = stem.starts_with("test_")
        || stem.starts_with("test-")
        || ["_test", "_tests", "_spec", "-test", ".test", ".spec", ".cy"]
            .iter()
            .any(|end| stem.ends_with(end))
        // `FooTest.java`: folded, so `latest.java` counts as well; a person will see.
        || (["java", "kt", "cs", "scala", "php", "swift", "groovy"].contains(&extension)
            && ["test", "tests", "spec", "it"].iter().any(|end| stem.ends_with(end)));
    by_name || folded.folders().any(|folder| FOLDERS.contains(&folder))
}

/// How many cases a line opens; a line that switches some off counts against them.
fn cases_in(line: &str) -> i64 {
    if SKIPS.iter().any(|skip| line.contains(skip)) {
        return -1;
    }
    i64::from(CASES.iter().any(|case| line.starts_with(case)))
}
