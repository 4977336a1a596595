//! Guesses how a repository checks itself. Every command is one of our own templates, whole: no
//! text of the repository ever enters one. Guessing is all it does; who runs what, and whether it
//! may, is decided elsewhere.

use cody_events::tree::RepoPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listing::{Listing, folder_of, is_within};
use super::manifests::{AllFound, BuildSystem, Found, Hints};
use super::{LanguageShare, ReadHead, ScanLimits};

mod files;
mod node;
mod python;
#[cfg(test)]
mod tests;

/// A command that probably checks the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCommand {
    /// For a POSIX shell; from a closed set.
    pub command: String,
    /// Where it runs; nothing is the root.
    pub folder: Option<RepoPath>,
    pub purpose: Purpose,
    pub system: BuildSystem,
    /// The manifest that speaks for it.
    pub manifest: RepoPath,
    /// Why we think so, in a sentence of ours.
    pub reason: String,
    /// It will not run without network unless dependencies, that the tree does not hold, are
    /// installed already.
    pub needs_dependencies: bool,
}

/// What a command would show. Tests first: they are the evidence; the rest are second thoughts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Test,
    Types,
    Lint,
    Build,
}

/// A guess before it is placed: template, purpose, reason, and whether dependencies are needed.
struct Guess {
    command: &'static str,
    purpose: Purpose,
    reason: &'static str,
    needs_dependencies: bool,
}

impl Guess {
    fn test(command: &'static str, reason: &'static str, needs_dependencies: bool) -> Self {
        Self { command, purpose: Purpose::Test, reason, needs_dependencies }
    }
}

/// What guesses are made from.
struct Ground<'a> {
    listing: &'a Listing<'a>,
    found: &'a [Found],
    read_head: &'a ReadHead<'a>,
}

/// The likely check commands, the likeliest first: tests before the rest, root before folders,
/// the system of the repository's main language before others.
///
/// A manifest inside a folder is only asked where no manifest of the same system above it gave a
/// command of the same purpose: a workspace's root speaks for its members. Go modules are the
/// exception: `./...` stops at the next module.
pub fn likely(
    listing: &Listing<'_>,
    found: &AllFound,
    languages: &[LanguageShare],
    read_head: &ReadHead<'_>,
    limits: &ScanLimits,
) -> Vec<CheckCommand> {
    let ground = Ground { listing, found: &found.found, read_head };
    let mut commands = Vec::<(usize, CheckCommand)>::new();
    for found in ground.found {
        let system = found.manifest.system;
        let folder = folder_of(found.manifest.path.as_bytes());
        for guess in guesses(&ground, found, folder) {
            let is_spoken_for = commands.iter().any(|(_, above)| {
                let outer = above.folder.as_ref().map_or(&b""[..], RepoPath::as_bytes);
                let speaks = if system == BuildSystem::Go {
                    folder == outer
                } else {
                    is_within(folder, outer)
                };
                above.system == system && above.purpose == guess.purpose && speaks
            });
            if is_spoken_for {
                continue;
            }
            let command = CheckCommand {
                command: guess.command.to_owned(),
                folder: RepoPath::new(folder).ok(),
                purpose: guess.purpose,
                system,
                manifest: found.manifest.path.clone(),
                reason: guess.reason.to_owned(),
                needs_dependencies: guess.needs_dependencies,
            };
            commands.push((found.depth, command));
        }
    }
    // Stable: what is equal here keeps the order of depth and path.
    commands.sort_by_key(|(depth, command)| {
        let weight = weight_of(command.system, languages);
        (command.purpose, *depth, std::cmp::Reverse(weight), command.system)
    });
    commands.into_iter().map(|(_, command)| command).take(limits.check_count).collect()
}

/// Bytes of the languages that a system builds. `Make` and its like build all, and count for
/// nothing: a system that knows its language says more about how it is tested.
fn weight_of(system: BuildSystem, languages: &[LanguageShare]) -> u64 {
    let bytes =
        |name: &str| languages.iter().find(|share| share.name == name).map_or(0, |s| s.bytes);
    match system {
        BuildSystem::Node => bytes("JavaScript") + bytes("TypeScript"),
        BuildSystem::Maven | BuildSystem::Gradle => bytes("Java") + bytes("Kotlin"),
        BuildSystem::Dotnet => bytes("C#") + bytes("F#"),
        BuildSystem::Cmake | BuildSystem::Meson | BuildSystem::Autotools => {
            bytes("C") + bytes("C++")
        }
        other => bytes(other.language()),
    }
}

fn guesses(ground: &Ground<'_>, found: &Found, folder: &[u8]) -> Vec<Guess> {
    match (&found.hints, found.manifest.system) {
        (Hints::Cargo { workspace, dependencies }, _) => {
            cargo(ground, folder, *workspace, *dependencies)
        }
        (Hints::Node(hints), _) => node::guesses(ground, folder, hints),
        (_, BuildSystem::Python) => python::guesses(ground, folder).into_iter().collect(),
        (Hints::Go { dependencies }, _) => go(ground, folder, *dependencies),
        (Hints::Recipes(recipes), system) => recipe(recipes, system).into_iter().collect(),
        (hints, _) => {
            let own_test = *hints == Hints::OwnTest(true);
            files::guess(ground, found, folder, own_test).into_iter().collect()
        }
    }
}

fn cargo(ground: &Ground<'_>, folder: &[u8], workspace: bool, dependencies: bool) -> Vec<Guess> {
    let vendored =
        ground.listing.has_folder(folder, "vendor") || ground.listing.has_folder(b"", "vendor");
    let (command, reason) = if workspace {
        ("cargo test --offline --workspace", "Cargo.toml opens a workspace")
    } else {
        ("cargo test --offline", "Cargo.toml describes a crate")
    };
    vec![Guess::test(command, reason, dependencies && !vendored)]
}

fn go(ground: &Ground<'_>, folder: &[u8], dependencies: bool) -> Vec<Guess> {
    let has_tests =
        ground.listing.below(folder).iter().any(|file| file.name().ends_with(b"_test.go"));
    let vendored = ground.listing.has_folder(folder, "vendor");
    let needs = dependencies && !vendored;
    if has_tests {
        vec![Guess::test("go test ./...", "the module has _test.go files", needs)]
    } else {
        vec![Guess {
            command: "go vet ./...",
            purpose: Purpose::Build,
            reason: "the module has no tests; vet compiles it",
            needs_dependencies: needs,
        }]
    }
}

fn recipe(recipes: &[&'static str], system: BuildSystem) -> Option<Guess> {
    let (command, reason) = match (system, *recipes.first()?) {
        (BuildSystem::Just, "test") => ("just test", "the justfile has a recipe `test`"),
        (BuildSystem::Just, "check") => ("just check", "the justfile has a recipe `check`"),
        (BuildSystem::Just, _) => ("just tests", "the justfile has a recipe `tests`"),
        (_, "test") => ("make test", "the Makefile has a target `test`"),
        (_, "check") => ("make check", "the Makefile has a target `check`"),
        (_, _) => ("make tests", "the Makefile has a target `tests`"),
    };
    Some(Guess::test(command, reason, false))
}
