//! What manifests hint at, in closed sets: which known scripts and targets exist, which test
//! program is configured. Parsed values are dropped at once; they can be far larger than the file.

use serde_json::Value as Json;
use toml::{Table, Value as Toml};

use super::BuildSystem;

/// What one manifest hints at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hints {
    None,
    /// Whether it opens a workspace, and whether it names dependencies from elsewhere.
    Cargo {
        workspace: bool,
        dependencies: bool,
    },
    Node(NodeHints),
    Python(PythonHints),
    /// Whether it requires other modules.
    Go {
        dependencies: bool,
    },
    /// Whether a test script or task of its own exists.
    OwnTest(bool),
    /// Those of [`RECIPES`] that a Makefile or justfile has.
    Recipes(Vec<&'static str>),
}

/// What a `package.json` hints at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeHints {
    /// Those of [`SCRIPTS`] that exist and are more than a placeholder.
    pub scripts: Vec<&'static str>,
    pub manager: Option<PackageManager>,
    pub dependencies: bool,
}

/// The programs that run a `package.json`'s scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    Npm,
    Pnpm,
    Yarn,
    Bun,
}

/// What a Python project's files hint at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonHints {
    pub pytest: bool,
    pub dependencies: bool,
}

/// Scripts of a `package.json` that check something, the likeliest first within its kind.
pub const SCRIPTS: &[&str] = &[
    "test",
    "test:ci",
    "test:run",
    "test:unit",
    "test:node",
    "tests",
    "unit",
    "typecheck",
    "type-check",
    "check-types",
    "check:types",
    "types:check",
    "tsc",
    "check",
    "lint",
    "build",
];

/// Targets of a Makefile or justfile that check something, the likeliest first.
pub const RECIPES: &[&str] = &["test", "check", "tests"];

type Parser = fn(&str) -> Option<Hints>;

/// The parser for a manifest whose content matters.
pub fn parser_of(system: BuildSystem, name: &[u8]) -> Option<Parser> {
    match (system, name) {
        (BuildSystem::Cargo, _) => Some(cargo),
        (BuildSystem::Node, _) => Some(node),
        (BuildSystem::Python, b"pyproject.toml") => Some(pyproject),
        (BuildSystem::Python, b"Pipfile") => Some(pipfile),
        (BuildSystem::Python, b"setup.cfg" | b"tox.ini" | b"pytest.ini" | b".pytest.ini") => {
            Some(python_ini)
        }
        (BuildSystem::Python, name) if name.ends_with(b".txt") => Some(requirements),
        (BuildSystem::Go, b"go.mod") => Some(go_mod),
        (BuildSystem::Composer, _) => Some(composer),
        (BuildSystem::Deno, b"deno.json") => Some(deno),
        (BuildSystem::Make, _) => Some(make_targets),
        (BuildSystem::Just, _) => Some(just_recipes),
        _ => None,
    }
}

fn cargo(text: &str) -> Option<Hints> {
    let manifest = text.parse::<Table>().ok()?;
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let dependencies = tables.iter().filter_map(|name| manifest.get(*name)?.as_table());
    let workspace = manifest.get("workspace").and_then(Toml::as_table);
    let shared = workspace.and_then(|workspace| workspace.get("dependencies")?.as_table());
    let foreign = dependencies.chain(shared).flat_map(Table::values).any(|dependency| {
        dependency.get("path").is_none() && dependency.get("workspace").is_none()
    });
    Some(Hints::Cargo { workspace: workspace.is_some(), dependencies: foreign })
}

fn node(text: &str) -> Option<Hints> {
    let manifest = serde_json::from_str::<Json>(text).ok()?;
    let manifest = manifest.as_object()?;
    let scripts = manifest.get("scripts").and_then(Json::as_object);
    let is_real = |name: &&&str| {
        let script = scripts.and_then(|scripts| scripts.get(**name)?.as_str());
        script.is_some_and(is_real_script)
    };
    let manager = manifest.get("packageManager").and_then(Json::as_str).unwrap_or_default();
    let manager = match manager.split('@').next() {
        Some("npm") => Some(PackageManager::Npm),
        Some("pnpm") => Some(PackageManager::Pnpm),
        Some("yarn") => Some(PackageManager::Yarn),
        Some("bun") => Some(PackageManager::Bun),
        _ => None,
    };
    let has_any = |name: &str| {
        manifest.get(name).and_then(Json::as_object).is_some_and(|map| !map.is_empty())
    };
    Some(Hints::Node(NodeHints {
        scripts: SCRIPTS.iter().filter(is_real).copied().collect(),
        manager,
        dependencies: has_any("dependencies") || has_any("devDependencies"),
    }))
}

/// Whether a script checks something and ends: npm's placeholder only fails, and a watcher waits.
fn is_real_script(script: &str) -> bool {
    let script = script.trim();
    !script.is_empty()
        && !script.contains("no test specified")
        && !script.split_whitespace().any(|word| matches!(word, "--watch" | "--watchAll" | "-w"))
}

fn pyproject(text: &str) -> Option<Hints> {
    let manifest = text.parse::<Table>().ok()?;
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(manifest.get(*first)?, |value, key| value.get(key))
    };
    let lists = [
        at(&["project", "dependencies"]),
        at(&["project", "optional-dependencies"]),
        at(&["dependency-groups"]),
        at(&["tool", "poetry", "dependencies"]),
        at(&["tool", "poetry", "dev-dependencies"]),
        at(&["tool", "poetry", "group"]),
        at(&["tool", "pdm", "dev-dependencies"]),
        at(&["tool", "uv", "dev-dependencies"]),
        at(&["tool", "hatch", "envs"]),
    ];
    let pytest =
        at(&["tool", "pytest"]).is_some() || lists.iter().flatten().any(|list| names_pytest(list));
    let dependencies = at(&["project", "dependencies"])
        .and_then(Toml::as_array)
        .is_some_and(|list| !list.is_empty())
        || at(&["tool", "poetry", "dependencies"])
            .and_then(Toml::as_table)
            .is_some_and(|table| table.keys().any(|name| name != "python"));
    Some(Hints::Python(PythonHints { pytest, dependencies }))
}

/// Whether a list or table of dependencies, however nested, names pytest. The parser's own limit
/// on nesting bounds the depth.
fn names_pytest(value: &Toml) -> bool {
    match value {
        Toml::String(requirement) => is_pytest(requirement),
        Toml::Array(list) => list.iter().any(names_pytest),
        Toml::Table(table) => {
            table.iter().any(|(name, value)| is_pytest(name) || names_pytest(value))
        }
        _ => false,
    }
}

/// Whether a requirement, as in PEP 508, is pytest or one of its plugins.
fn is_pytest(requirement: &str) -> bool {
    let end = requirement.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    let name = &requirement[..end.unwrap_or(requirement.len())];
    name.eq_ignore_ascii_case("pytest") || name.to_ascii_lowercase().starts_with("pytest-")
}

fn pipfile(text: &str) -> Option<Hints> {
    let manifest = text.parse::<Table>().ok()?;
    let table = |name: &str| manifest.get(name).and_then(Toml::as_table);
    let pytest = ["packages", "dev-packages"]
        .iter()
        .any(|name| table(name).is_some_and(|table| table.keys().any(|key| is_pytest(key))));
    let dependencies = table("packages").is_some_and(|table| !table.is_empty());
    Some(Hints::Python(PythonHints { pytest, dependencies }))
}

/// The sections of INI files that configure pytest, and a line that installs or runs it.
fn python_ini(text: &str) -> Option<Hints> {
    let pytest = text.lines().map(str::trim).any(|line| {
        matches!(line, "[pytest]" | "[tool:pytest]") || line.split_whitespace().any(is_pytest)
    });
    let dependencies = text.lines().any(|line| line.trim_start().starts_with("install_requires"));
    Some(Hints::Python(PythonHints { pytest, dependencies }))
}

fn requirements(text: &str) -> Option<Hints> {
    let mut requirements = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('-'));
    let pytest = requirements.clone().any(is_pytest);
    let dependencies = requirements.any(|line| !is_pytest(line));
    Some(Hints::Python(PythonHints { pytest, dependencies }))
}

fn go_mod(text: &str) -> Option<Hints> {
    let dependencies = text.lines().any(|line| line.trim_start().starts_with("require"));
    Some(Hints::Go { dependencies })
}

fn composer(text: &str) -> Option<Hints> {
    let manifest = serde_json::from_str::<Json>(text).ok()?;
    let scripts = manifest.get("scripts");
    Some(Hints::OwnTest(scripts.is_some_and(|scripts| scripts.get("test").is_some())))
}

fn deno(text: &str) -> Option<Hints> {
    let manifest = serde_json::from_str::<Json>(text).ok()?;
    let tasks = manifest.get("tasks");
    Some(Hints::OwnTest(tasks.is_some_and(|tasks| tasks.get("test").is_some())))
}

/// The targets of a Makefile: names before a `:` at the start of a line that is no assignment.
fn make_targets(text: &str) -> Option<Hints> {
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#', '.'])) {
        let Some((before, after)) = line.split_once(':') else { continue };
        let assigns = before.contains('=') || after.trim_start_matches(':').starts_with('=');
        if !assigns {
            names.extend(before.split_whitespace());
        }
    }
    Some(Hints::Recipes(known_recipes(&names)))
}

/// The recipes of a justfile: the first word of a line with a `:` that is no assignment;
/// parameters with defaults may stand between.
fn just_recipes(text: &str) -> Option<Hints> {
    let lines = text.lines().filter(|line| !line.starts_with([' ', '\t', '#', '[']));
    let names = lines
        .filter(|line| line.contains(':') && !line.contains(":="))
        .filter_map(|line| line.split([' ', ':']).next())
        .map(|name| name.trim_start_matches('@'))
        .collect::<Vec<_>>();
    Some(Hints::Recipes(known_recipes(&names)))
}

fn known_recipes(names: &[&str]) -> Vec<&'static str> {
    RECIPES.iter().filter(|recipe| names.contains(*recipe)).copied().collect()
}
