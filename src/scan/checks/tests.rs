//! Check commands of small repositories, one an ecosystem.

use expect_test::{Expect, expect};

use super::super::tests::Sample;

/// The check commands of a repository, one a line.
fn checks(files: &[(&str, &str)], expected: Expect) {
    let scan = Sample::of(files).scan("x");
    let mut lines = String::new();
    for check in scan.findings.check_commands {
        let folder = check.folder.map_or_else(|| ".".to_owned(), |path| path.to_string());
        let needs = if check.needs_dependencies { " (needs dependencies)" } else { "" };
        lines.push_str(&format!(
            "{folder}: {} [{:?}, {}] {}{needs}\n",
            check.command, check.purpose, check.manifest, check.reason
        ));
    }
    expected.assert_eq(&lines);
}

#[test]
fn a_rust_crate_is_tested_by_cargo() {
    checks(
        &[("Cargo.toml", "[package]\nname = \"a\"\n"), ("src/lib.rs", "")],
        expect![[r#"
        .: cargo test --offline [Test, Cargo.toml] Cargo.toml describes a crate
    "#]],
    );
}

#[test]
fn a_rust_workspace_speaks_for_its_members() {
    checks(
        &[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\nserde = \"1\"\n",
            ),
            ("a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\n"),
            ("a/src/lib.rs", ""),
            ("Makefile", "VERSION := 1\n.PHONY: test\ntest: build\n\tcargo test\n"),
        ],
        expect![[r#"
            .: cargo test --offline --workspace [Test, Cargo.toml] Cargo.toml opens a workspace (needs dependencies)
            .: make test [Test, Makefile] the Makefile has a target `test`
        "#]],
    );
}

#[test]
fn a_node_package_runs_its_real_scripts_with_the_manager_of_its_lock_file() {
    checks(
        &[(
            "package.json",
            r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1", "lint": "eslint ."}}"#,
        )],
        expect![[r#"
            .: npm run lint [Lint, package.json] package.json has this script
        "#]],
    );
    checks(
        &[
            (
                "package.json",
                r#"{"scripts": {"test": "vitest --watch", "test:ci": "vitest run", "evil; rm -rf /": "x"},
                    "devDependencies": {"vitest": "1"}}"#,
            ),
            ("pnpm-lock.yaml", ""),
        ],
        expect![[r#"
            .: pnpm run test:ci [Test, package.json] package.json has this script (needs dependencies)
        "#]],
    );
    checks(
        &[
            ("package.json", r#"{"packageManager": "yarn@4.1.0", "workspaces": ["packages/*"]}"#),
            ("packages/a/package.json", r#"{"scripts": {"test": "node --test"}}"#),
            ("packages/b/package.json", r#"{"scripts": {"test": "node --test"}}"#),
        ],
        expect![[r#"
            packages/a: npm test [Test, packages/a/package.json] package.json has this script
            packages/b: npm test [Test, packages/b/package.json] package.json has this script
        "#]],
    );
    checks(
        &[("package.json", "\u{feff}{}"), ("test/a.test.js", "import test from 'node:test';\n")],
        expect![[r#"
            .: node --test [Test, package.json] test files import node:test, and package.json has no test script
        "#]],
    );
}

#[test]
fn a_python_project_is_tested_by_what_it_is_written_for() {
    checks(
        &[
            (
                "pyproject.toml",
                "[project]\nname = \"a\"\ndependencies = [\"attrs\"]\n[project.optional-dependencies]\ntest = [\"pytest>=8\"]\n",
            ),
            ("src/a/__init__.py", ""),
            ("tests/test_a.py", "def test_a(): pass\n"),
        ],
        expect![[r#"
            .: PYTHONPATH=src python3 -m pytest [Test, pyproject.toml] pytest is configured or used (needs dependencies)
        "#]],
    );
    checks(
        &[
            ("setup.py", "from setuptools import setup\n"),
            ("a.py", ""),
            (
                "tests/test_a.py",
                "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n",
            ),
        ],
        expect![[r#"
            .: python3 -m unittest discover -s tests [Test, setup.py] there are test files, and no sign of pytest
        "#]],
    );
    checks(
        &[
            ("setup.cfg", "[metadata]\nname = a\n[tool:pytest]\naddopts = -q\n"),
            ("a/tests/test_a.py", ""),
        ],
        expect![[r#"
            .: python3 -m pytest [Test, setup.cfg] pytest is configured or used
        "#]],
    );
    checks(&[("requirements.txt", "flask # web\n"), ("app.py", "")], expect![[""]]);
}

#[test]
fn go_modules_are_tested_one_by_one() {
    checks(
        &[
            ("go.mod", "module a\n\ngo 1.22\n"),
            ("a_test.go", "package a\n"),
            ("tools/go.mod", "module tools\nrequire (\n\tx v1\n)\n"),
            ("tools/main.go", "package main\n"),
        ],
        expect![[r#"
            .: go test ./... [Test, go.mod] the module has _test.go files
            tools: go vet ./... [Build, tools/go.mod] the module has no tests; vet compiles it (needs dependencies)
        "#]],
    );
}

#[test]
fn other_systems_are_told_by_their_files() {
    for (files, expected) in [
        (&[("pom.xml", "<project/>")][..], "mvn -o -q test"),
        (&[("build.gradle.kts", ""), ("gradlew", "")][..], "./gradlew --offline test"),
        (&[("build.gradle", "")][..], "gradle --offline test"),
        (&[("A.sln", ""), ("A/A.csproj", "")][..], "dotnet test"),
        (&[("Gemfile", ""), ("spec/a_spec.rb", "")][..], "bundle exec rspec"),
        (&[("composer.json", r#"{"scripts": {"test": "phpunit"}}"#)][..], "composer test"),
        (&[("mix.exs", ""), ("test/a_test.exs", "")][..], "mix test"),
        (&[("deno.json", r#"{"tasks": {"test": "deno test"}}"#)][..], "deno task test"),
        (&[("deno.jsonc", "{ /* */ }")][..], "deno test --cached-only -A"),
        (&[("meson.build", "")][..], "meson setup build-check && meson test -C build-check"),
        (&[("justfile", "test filter='':\n  x\n")][..], "just test"),
        (&[("GNUmakefile", "all:\nlint check: all\n")][..], "make check"),
        (&[("flake.nix", "")][..], "nix flake check --offline"),
        (&[("MODULE.bazel", "")][..], "bazel test //..."),
        (&[("build.zig", "")][..], "zig build test"),
    ] {
        let scan = Sample::of(files).scan("x");
        let commands = scan.findings.check_commands.iter().map(|check| check.command.as_str());
        assert_eq!(commands.collect::<Vec<_>>(), [expected], "{files:?}");
    }
}
