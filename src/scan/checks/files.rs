//! Check commands of the systems for which it is enough to see which files stand where.

use super::super::listing::name_of;
use super::super::manifests::{BuildSystem, Found};
use super::{Ground, Guess};

/// A template, the reason for it, and whether it needs dependencies that a tree seldom holds.
type Template = (&'static str, &'static str, bool);

/// The guess for one manifest; `own_test` says that it has a test script or task.
pub fn guess(ground: &Ground<'_>, found: &Found, folder: &[u8], own_test: bool) -> Option<Guess> {
    let place = Place { ground, folder, manifest: name_of(found.manifest.path.as_bytes()) };
    let (command, reason, needs_dependencies) = match found.manifest.system {
        BuildSystem::Maven
        | BuildSystem::Gradle
        | BuildSystem::Dotnet
        | BuildSystem::Sbt
        | BuildSystem::Leiningen => on_virtual_machines(&place, found.manifest.system),
        BuildSystem::Bundler
        | BuildSystem::Composer
        | BuildSystem::Deno
        | BuildSystem::Perl
        | BuildSystem::Mix
        | BuildSystem::Rebar
        | BuildSystem::Dart => in_scripts(&place, found.manifest.system, own_test),
        BuildSystem::Swift
        | BuildSystem::Cabal
        | BuildSystem::Dune
        | BuildSystem::Zig
        | BuildSystem::Cmake
        | BuildSystem::Meson
        | BuildSystem::Autotools
        | BuildSystem::Bazel
        | BuildSystem::Nix => natively(&place, found.manifest.system),
        // Without hints, their manifest was not understood, or is another's (`go.work`).
        BuildSystem::Cargo
        | BuildSystem::Node
        | BuildSystem::Python
        | BuildSystem::Go
        | BuildSystem::Make
        | BuildSystem::Just => None,
    }?;
    Some(Guess::test(command, reason, needs_dependencies))
}

/// The folder of a manifest and the manifest's name.
struct Place<'a> {
    ground: &'a Ground<'a>,
    folder: &'a [u8],
    manifest: &'a [u8],
}

impl Place<'_> {
    fn has(&self, name: &str) -> bool {
        self.ground.listing.has(self.folder, name)
    }

    fn has_folder(&self, name: &str) -> bool {
        self.ground.listing.has_folder(self.folder, name)
    }
}

fn on_virtual_machines(place: &Place<'_>, system: BuildSystem) -> Option<Template> {
    Some(match system {
        BuildSystem::Maven if place.has("mvnw") => {
            ("./mvnw -o -q test", "pom.xml, with a wrapper", true)
        }
        BuildSystem::Maven => ("mvn -o -q test", "pom.xml describes a Maven project", true),
        BuildSystem::Gradle if place.has("gradlew") => {
            ("./gradlew --offline test", "a Gradle build, with a wrapper", true)
        }
        BuildSystem::Gradle => ("gradle --offline test", "a Gradle build", true),
        BuildSystem::Dotnet => ("dotnet test", "a .NET project or solution", true),
        BuildSystem::Sbt => ("sbt test", "an sbt build", true),
        BuildSystem::Leiningen => ("lein -o test", "a Leiningen project", true),
        _ => return None,
    })
}

fn in_scripts(place: &Place<'_>, system: BuildSystem, own_test: bool) -> Option<Template> {
    Some(match system {
        BuildSystem::Bundler if place.has_folder("spec") && place.has("Gemfile") => {
            ("bundle exec rspec", "a Gemfile and a folder `spec`", true)
        }
        BuildSystem::Bundler if place.has("Rakefile") && place.has("Gemfile") => {
            ("bundle exec rake test", "a Gemfile and a Rakefile", true)
        }
        BuildSystem::Bundler if place.has("Rakefile") => ("rake test", "a Rakefile", false),
        BuildSystem::Composer if own_test => {
            ("composer test", "composer.json has a script `test`", true)
        }
        BuildSystem::Composer if place.has("phpunit.xml") || place.has("phpunit.xml.dist") => {
            ("vendor/bin/phpunit", "PHPUnit is configured", true)
        }
        BuildSystem::Deno if own_test => ("deno task test", "deno.json has a task `test`", false),
        BuildSystem::Deno => ("deno test --cached-only -A", "a Deno project", false),
        BuildSystem::Perl if place.has_folder("t") => {
            ("prove -lr t", "a folder `t` of tests", false)
        }
        BuildSystem::Mix if place.has_folder("test") => {
            ("mix test", "a Mix project with tests", true)
        }
        BuildSystem::Rebar => ("rebar3 eunit", "a Rebar3 project", true),
        BuildSystem::Dart if place.has_folder("test") => {
            ("dart test", "a Dart package with tests", true)
        }
        _ => return None,
    })
}

fn natively(place: &Place<'_>, system: BuildSystem) -> Option<Template> {
    Some(match system {
        BuildSystem::Swift if place.has_folder("Tests") => {
            ("swift test --disable-automatic-resolution", "a Swift package with tests", true)
        }
        BuildSystem::Cabal if place.manifest == b"stack.yaml" => {
            ("stack test", "a Stack project", true)
        }
        BuildSystem::Cabal => ("cabal test all --offline", "a Cabal package", true),
        BuildSystem::Dune => ("dune runtest", "a Dune project", true),
        BuildSystem::Zig => ("zig build test", "a Zig build", false),
        BuildSystem::Cmake => (
            "cmake -S . -B build-check && cmake --build build-check && \
             ctest --test-dir build-check --output-on-failure",
            "a CMake build",
            false,
        ),
        BuildSystem::Meson => {
            ("meson setup build-check && meson test -C build-check", "a Meson build", false)
        }
        BuildSystem::Autotools if place.has("configure") => {
            ("./configure && make check", "Autotools, with a configure script", false)
        }
        BuildSystem::Autotools => {
            ("autoreconf -i && ./configure && make check", "Autotools", false)
        }
        BuildSystem::Bazel => ("bazel test //...", "a Bazel workspace", true),
        BuildSystem::Nix if place.manifest == b"flake.nix" => {
            ("nix flake check --offline", "a Nix flake", true)
        }
        _ => return None,
    })
}
