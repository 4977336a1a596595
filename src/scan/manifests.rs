//! Finds the manifests of build systems and reads from them, with real parsers, the little that
//! check commands need. Nothing of a manifest's text leaves this file but from closed sets.

use cody_events::tree::RepoPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listing::{File, Listing};
use super::sorts::{Sort, extension_of};
use super::{ReadHead, ScanLimits};

mod hints;

pub use hints::{Hints, NodeHints, PackageManager, PythonHints};

/// A file that tells a build system what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub path: RepoPath,
    pub system: BuildSystem,
    /// Why its content was not understood; nothing if it was, or did not have to be.
    pub problem: Option<ManifestProblem>,
}

/// Why a manifest says nothing to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestProblem {
    TooLarge,
    Unreadable,
    Invalid,
    /// More manifests stood before it than are parsed.
    NotReached,
}

macro_rules! build_systems {
    ($($variant:ident $name:literal $language:literal $names:expr;)*) => {
        /// The build systems that a scan knows. In check commands of equal weight, the earlier
        /// comes first.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum BuildSystem { $($variant,)* }

        impl BuildSystem {
            /// The name as people write it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The language whose share of the repository weighs this system; empty for those
            /// that serve any.
            pub fn language(self) -> &'static str {
                match self { $(Self::$variant => $language,)* }
            }
        }

        /// File names of each system; one that starts with `*` is an ending.
        const NAMES: &[(BuildSystem, &[&str])] = &[$((BuildSystem::$variant, &$names),)*];
    };
}

build_systems! {
    Cargo "Cargo" "Rust" ["Cargo.toml"];
    Node "Node" "JavaScript" ["package.json"];
    Python "Python" "Python" [
        "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini",
        "Pipfile", "noxfile.py", "requirements.txt", "requirements-dev.txt",
        "requirements-test.txt", "dev-requirements.txt", "test-requirements.txt",
    ];
    Go "Go modules" "Go" ["go.mod", "go.work"];
    Maven "Maven" "Java" ["pom.xml"];
    Gradle "Gradle" "Java" [
        "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts",
    ];
    Dotnet ".NET" "C#" ["*.sln", "*.slnx", "*.csproj", "*.fsproj", "*.vbproj"];
    Bundler "Bundler" "Ruby" ["Gemfile", "Rakefile", "*.gemspec"];
    Composer "Composer" "PHP" ["composer.json"];
    Mix "Mix" "Elixir" ["mix.exs"];
    Rebar "Rebar3" "Erlang" ["rebar.config"];
    Deno "Deno" "TypeScript" ["deno.json", "deno.jsonc"];
    Swift "Swift packages" "Swift" ["Package.swift"];
    Dart "Dart" "Dart" ["pubspec.yaml"];
    Sbt "sbt" "Scala" ["build.sbt"];
    Leiningen "Leiningen" "Clojure" ["project.clj"];
    Cabal "Cabal" "Haskell" ["cabal.project", "stack.yaml", "*.cabal"];
    Dune "Dune" "OCaml" ["dune-project"];
    Zig "Zig" "Zig" ["build.zig"];
    Perl "Perl" "Perl" ["Makefile.PL", "Build.PL", "cpanfile", "dist.ini"];
    Cmake "CMake" "C++" ["CMakeLists.txt"];
    Meson "Meson" "C" ["meson.build"];
    Autotools "Autotools" "C" ["configure.ac", "configure.in"];
    Make "Make" "" ["GNUmakefile", "makefile", "Makefile"];
    Just "just" "" ["justfile", "Justfile", ".justfile"];
    Bazel "Bazel" "" ["MODULE.bazel", "WORKSPACE", "WORKSPACE.bazel"];
    Nix "Nix" "" ["flake.nix", "default.nix", "shell.nix"];
}

/// A manifest and what it hints at.
#[derive(Debug)]
pub struct Found {
    pub manifest: Manifest,
    pub depth: usize,
    pub hints: Hints,
}

/// The manifests of a repository, root first.
#[derive(Debug)]
pub struct AllFound {
    pub found: Vec<Found>,
    pub total: u64,
}

impl AllFound {
    /// The manifests alone, at most `max`.
    pub fn into_manifests(self, max: usize) -> Vec<Manifest> {
        self.found.into_iter().take(max).map(|found| found.manifest).collect()
    }
}

/// Finds all manifests that the repository's people wrote: by depth, then by path.
pub fn find(listing: &Listing<'_>, read_head: &ReadHead<'_>, limits: &ScanLimits) -> AllFound {
    let mut files = listing
        .files()
        .iter()
        .filter(|file| file.sort == Sort::Own && file.is_listable())
        .filter_map(|file| Some((file.depth(), system_of(file)?, file)))
        .collect::<Vec<_>>();
    files.sort_by_key(|(depth, _, file)| (*depth, file.path));
    let total = files.len() as u64;
    files.truncate(limits.manifest_count);

    let mut parses_left = limits.manifests_parsed;
    let found = files
        .into_iter()
        .map(|(depth, system, file)| {
            let (hints, problem) = match read(file, system, read_head, limits, &mut parses_left) {
                Ok(hints) => (hints, None),
                Err(problem) => (Hints::None, Some(problem)),
            };
            Found { manifest: Manifest { path: file.path.clone(), system, problem }, depth, hints }
        })
        .collect();
    AllFound { found, total }
}

/// The system whose manifest this file is, by its name.
fn system_of(file: &File<'_>) -> Option<BuildSystem> {
    let name = std::str::from_utf8(file.name()).ok()?;
    let extension = extension_of(file.path.as_bytes());
    let is_named = |pattern: &&str| match pattern.strip_prefix("*.") {
        Some(ending) => extension == Some(ending.as_bytes()),
        None => *pattern == name,
    };
    NAMES.iter().find(|(_, names)| names.iter().any(is_named)).map(|(system, _)| *system)
}

fn read(
    file: &File<'_>,
    system: BuildSystem,
    read_head: &ReadHead<'_>,
    limits: &ScanLimits,
    parses_left: &mut usize,
) -> Result<Hints, ManifestProblem> {
    let Some(parse) = hints::parser_of(system, file.name()) else { return Ok(Hints::None) };
    if file.size > limits.manifest_bytes {
        return Err(ManifestProblem::TooLarge);
    }
    if *parses_left == 0 {
        return Err(ManifestProblem::NotReached);
    }
    *parses_left -= 1;
    let max = usize::try_from(limits.manifest_bytes).unwrap_or(usize::MAX);
    let mut bytes = read_head(file.path, max).map_err(|_| ManifestProblem::Unreadable)?;
    bytes.truncate(max);
    let text = std::str::from_utf8(&bytes).map_err(|_| ManifestProblem::Invalid)?;
    parse(text.trim_start_matches('\u{feff}')).ok_or(ManifestProblem::Invalid)
}
