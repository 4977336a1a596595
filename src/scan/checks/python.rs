//! The check command of a Python project.

use super::super::listing::{File, folder_of, is_within};
use super::super::manifests::{BuildSystem, Hints, PythonHints};
use super::super::sorts::Sort;
use super::{Ground, Guess};

/// How many test files are opened to see whether they are for pytest.
const TESTS_READ: usize = 32;

/// One guess for the folder, whichever of its manifests asks: they share it.
pub fn guesses(ground: &Ground<'_>, folder: &[u8]) -> Option<Guess> {
    let own = |file: &&File<'_>| file.sort == Sort::Own;
    let below = || ground.listing.below(folder).iter().filter(own);
    let tests = || below().filter(|file| is_test(file.name()));
    let conftest = below().any(|file| file.name() == b"conftest.py");
    if tests().next().is_none() && !conftest {
        return None;
    }
    let hints = joint_hints(ground, folder);
    let imports_pytest = || {
        tests()
            .take(TESTS_READ)
            .filter_map(|file| (ground.read_head)(file.path, 8192).ok())
            .any(|head| is_for_pytest(&String::from_utf8_lossy(&head)))
    };
    let in_src = has_src_layout(ground, folder);
    let pytest_ini =
        ground.listing.has(folder, "pytest.ini") || ground.listing.has(folder, ".pytest.ini");
    if hints.pytest || pytest_ini || conftest || imports_pytest() {
        let command = if in_src { "PYTHONPATH=src python3 -m pytest" } else { "python3 -m pytest" };
        return Some(Guess::test(command, "pytest is configured or used", hints.dependencies));
    }
    let starts_in = |name: &str| {
        let has_tests = tests().any(|file| is_within(file.folder(), &within(folder, name)));
        has_tests && !ground.listing.has(&within(folder, name), "__init__.py")
    };
    let command = match (in_src, starts_in("tests"), starts_in("test")) {
        (false, true, _) => "python3 -m unittest discover -s tests",
        (false, false, true) => "python3 -m unittest discover -s test",
        (false, false, false) => "python3 -m unittest discover",
        (true, true, _) => "PYTHONPATH=src python3 -m unittest discover -s tests",
        (true, false, true) => "PYTHONPATH=src python3 -m unittest discover -s test",
        (true, false, false) => "PYTHONPATH=src python3 -m unittest discover",
    };
    Some(Guess::test(command, "there are test files, and no sign of pytest", hints.dependencies))
}

/// What all Python manifests of the folder hint at together.
fn joint_hints(ground: &Ground<'_>, folder: &[u8]) -> PythonHints {
    let mut joint = PythonHints::default();
    for found in ground.found {
        let is_here = folder_of(found.manifest.path.as_bytes()) == folder;
        if let (true, BuildSystem::Python, Hints::Python(hints)) =
            (is_here, found.manifest.system, &found.hints)
        {
            joint.pytest |= hints.pytest;
            joint.dependencies |= hints.dependencies;
        }
    }
    joint
}

/// unittest's default pattern, and pytest's second one.
fn is_test(name: &[u8]) -> bool {
    name.ends_with(b".py") && (name.starts_with(b"test") || name.ends_with(b"_test.py"))
}

/// Whether a test file imports pytest, or has test functions outside any class: unittest would
/// find none of those.
fn is_for_pytest(text: &str) -> bool {
    text.lines().any(|line| {
        line.starts_with("import pytest")
            || line.starts_with("from pytest")
            || line.starts_with("def test_")
            || line.starts_with("async def test_")
    })
}

/// A package below `src` is not importable from the root unless it is installed.
fn has_src_layout(ground: &Ground<'_>, folder: &[u8]) -> bool {
    let src = within(folder, "src");
    let is_module = |file: &File<'_>| {
        let rest = file.path.as_bytes().get(src.len() + 1..).unwrap_or_default();
        let depth = rest.iter().filter(|byte| **byte == b'/').count();
        (depth == 0 && rest.ends_with(b".py")) || (depth == 1 && rest.ends_with(b"/__init__.py"))
    };
    !ground.listing.has(&src, "__init__.py") && ground.listing.below(&src).iter().any(is_module)
}

fn within(folder: &[u8], name: &str) -> Vec<u8> {
    let mut path = folder.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
}
