//! Check commands of a `package.json`.

use super::super::manifests::{NodeHints, PackageManager};
use super::super::sorts::Sort;
use super::{Ground, Guess, Purpose};

/// The scripts worth trying, each with its purpose and its command for npm, pnpm, yarn and bun.
/// The first of a purpose that exists is taken.
const SCRIPTS: &[(&str, Purpose, [&str; 4])] = &[
    ("test", Purpose::Test, ["npm test", "pnpm test", "yarn test", "bun run test"]),
    (
        "test:ci",
        Purpose::Test,
        ["npm run test:ci", "pnpm run test:ci", "yarn run test:ci", "bun run test:ci"],
    ),
    (
        "test:run",
        Purpose::Test,
        ["npm run test:run", "pnpm run test:run", "yarn run test:run", "bun run test:run"],
    ),
    (
        "test:unit",
        Purpose::Test,
        ["npm run test:unit", "pnpm run test:unit", "yarn run test:unit", "bun run test:unit"],
    ),
    (
        "test:node",
        Purpose::Test,
        ["npm run test:node", "pnpm run test:node", "yarn run test:node", "bun run test:node"],
    ),
    (
        "tests",
        Purpose::Test,
        ["npm run tests", "pnpm run tests", "yarn run tests", "bun run tests"],
    ),
    ("unit", Purpose::Test, ["npm run unit", "pnpm run unit", "yarn run unit", "bun run unit"]),
    (
        "typecheck",
        Purpose::Types,
        ["npm run typecheck", "pnpm run typecheck", "yarn run typecheck", "bun run typecheck"],
    ),
    (
        "type-check",
        Purpose::Types,
        ["npm run type-check", "pnpm run type-check", "yarn run type-check", "bun run type-check"],
    ),
    (
        "check-types",
        Purpose::Types,
        [
            "npm run check-types",
            "pnpm run check-types",
            "yarn run check-types",
            "bun run check-types",
        ],
    ),
    (
        "check:types",
        Purpose::Types,
        [
            "npm run check:types",
            "pnpm run check:types",
            "yarn run check:types",
            "bun run check:types",
        ],
    ),
    (
        "types:check",
        Purpose::Types,
        [
            "npm run types:check",
            "pnpm run types:check",
            "yarn run types:check",
            "bun run types:check",
        ],
    ),
    ("tsc", Purpose::Types, ["npm run tsc", "pnpm run tsc", "yarn run tsc", "bun run tsc"]),
    (
        "check",
        Purpose::Lint,
        ["npm run check", "pnpm run check", "yarn run check", "bun run check"],
    ),
    ("lint", Purpose::Lint, ["npm run lint", "pnpm run lint", "yarn run lint", "bun run lint"]),
    (
        "build",
        Purpose::Build,
        ["npm run build", "pnpm run build", "yarn run build", "bun run build"],
    ),
];

/// How many test files are opened to see whether they are for Node's own test runner.
const TESTS_READ: usize = 16;

pub fn guesses(ground: &Ground<'_>, folder: &[u8], hints: &NodeHints) -> Vec<Guess> {
    let column = match manager(ground, folder, hints) {
        PackageManager::Npm => 0,
        PackageManager::Pnpm => 1,
        PackageManager::Yarn => 2,
        PackageManager::Bun => 3,
    };
    let installed = ground.listing.has_folder(folder, "node_modules");
    let needs_dependencies = hints.dependencies && !installed;
    let mut guesses = Vec::<Guess>::new();
    for (script, purpose, commands) in SCRIPTS {
        let is_first = guesses.iter().all(|guess| guess.purpose != *purpose);
        if is_first && hints.scripts.contains(script) {
            guesses.push(Guess {
                command: commands[column],
                purpose: *purpose,
                reason: "package.json has this script",
                needs_dependencies,
            });
        }
    }
    let has_test = guesses.iter().any(|guess| guess.purpose == Purpose::Test);
    if !has_test && has_node_tests(ground, folder) {
        guesses.push(Guess::test(
            "node --test",
            "test files import node:test, and package.json has no test script",
            needs_dependencies,
        ));
    }
    guesses
}

/// The package manager: as the manifest says, else by the nearest lock file here or in the root.
fn manager(ground: &Ground<'_>, folder: &[u8], hints: &NodeHints) -> PackageManager {
    if let Some(manager) = hints.manager {
        return manager;
    }
    for folder in [folder, b""] {
        let has = |name| ground.listing.has(folder, name);
        if has("pnpm-lock.yaml") {
            return PackageManager::Pnpm;
        }
        if has("yarn.lock") {
            return PackageManager::Yarn;
        }
        if has("bun.lock") || has("bun.lockb") {
            return PackageManager::Bun;
        }
        if has("package-lock.json") {
            return PackageManager::Npm;
        }
    }
    PackageManager::Npm
}

fn has_node_tests(ground: &Ground<'_>, folder: &[u8]) -> bool {
    let is_test = |name: &[u8]| {
        [b".test.js".as_slice(), b".test.mjs", b".test.cjs", b"-test.js", b"_test.js"]
            .iter()
            .any(|ending| name.ends_with(ending))
    };
    let files = ground.listing.below(folder).iter();
    files
        .filter(|file| file.sort == Sort::Own && is_test(file.name()))
        .take(TESTS_READ)
        .filter_map(|file| (ground.read_head)(file.path, 4096).ok())
        .any(|head| head.windows(9).any(|window| window == b"node:test"))
}
