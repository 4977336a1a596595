//! Names that mean something to programs of others, whatever a repository says about them. They are
//! compared as the most careless file system would: without case, trailing dots and what does not
//! show.

use cody_events::tree::RepoPath;

/// Folders below which everything is a workflow.
const WORKFLOW_FOLDERS: &[&str] = &[
    ".github/workflows",
    ".github/actions",
    ".gitlab/ci",
    ".gitea/workflows",
    ".forgejo/workflows",
    ".circleci",
    ".buildkite",
    ".woodpecker",
    ".azure-pipelines",
    ".teamcity",
    ".semaphore",
    ".tekton",
    ".husky",
    ".githooks",
    ".devcontainer",
];
/// Files in the root, or in `.github`, `.gitlab` and `docs`, that are.
const WORKFLOW_FILES: &[&str] = &[
    ".gitlab-ci.yml",
    ".gitlab-ci.yaml",
    ".travis.yml",
    ".drone.yml",
    ".drone.star",
    ".cirrus.yml",
    ".cirrus.star",
    ".woodpecker.yml",
    ".appveyor.yml",
    "appveyor.yml",
    "azure-pipelines.yml",
    "azure-pipelines.yaml",
    "bitbucket-pipelines.yml",
    "buildspec.yml",
    "cloudbuild.yaml",
    "codeship-steps.yml",
    "wercker.yml",
    "jenkinsfile",
    "codeowners",
    "dependabot.yml",
    "dependabot.yaml",
    "renovate.json",
    "renovate.json5",
    ".renovaterc",
    ".renovaterc.json",
    ".mergify.yml",
    ".pre-commit-config.yaml",
    "lefthook.yml",
    ".lefthook.yml",
    ".envrc",
];
/// Names that are wherever they stand: programs take them from any folder that they work in.
const ANYWHERE: &[&str] = &[
    ".gitmodules",
    ".gitattributes",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
    "pip.conf",
    ".pypirc",
    ".netrc",
    "jenkinsfile",
    ".lfsconfig",
    ".bazelrc",
];
/// Paths that end like this are, in any folder.
const ENDINGS: &[&str] = &[
    ".cargo/config.toml",
    ".cargo/config",
    ".vscode/tasks.json",
    ".vscode/settings.json",
    ".vscode/launch.json",
    ".idea/workspace.xml",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".mcp.json",
    ".gradle/init.gradle",
    "gradle/wrapper/gradle-wrapper.properties",
    ".mvn/wrapper/maven-wrapper.properties",
    ".mvn/extensions.xml",
    ".mvn/jvm.config",
];
/// Lock files, wherever they stand.
const LOCKFILES: &[&str] = &[
    "cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pixi.lock",
    "pylock.toml",
    "pipfile.lock",
    "conda-lock.yml",
    "gemfile.lock",
    "composer.lock",
    "symfony.lock",
    "go.sum",
    "go.work.sum",
    "mix.lock",
    "rebar.lock",
    "pubspec.lock",
    "podfile.lock",
    "cartfile.resolved",
    "package.resolved",
    "packages.lock.json",
    "paket.lock",
    "gradle.lockfile",
    "buildscript-gradle.lockfile",
    "verification-metadata.xml",
    "module.bazel.lock",
    "flake.lock",
    "conan.lock",
    "vcpkg-lock.json",
    "chart.lock",
    "shard.lock",
    "stack.yaml.lock",
    "cabal.project.freeze",
    "manifest.toml.lock",
    "julia.lock",
    ".terraform.lock.hcl",
];

/// A path as the most careless file system reads it.
#[derive(Debug)]
pub(super) struct Folded {
    path: String,
}

impl Folded {
    pub(super) fn of(path: &RepoPath) -> Self {
        let text = path.display();
        let components = text.split('/').map(|component| {
            let shown: String = component.chars().filter(|c| !is_silent(*c)).collect();
            let folded = shown.to_lowercase();
            // An alternate data stream is the file itself.
            let folded = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
            folded.to_owned()
        });
        Self { path: components.collect::<Vec<_>>().join("/") }
    }

    pub(super) fn is_workflow(&self) -> bool {
        let path = self.path.as_str();
        let is_below =
            |folder: &&str| path.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        let in_root = ["", ".github/", ".gitlab/", "docs/"]
            .iter()
            .filter_map(|folder| path.strip_prefix(folder))
            .any(|name| WORKFLOW_FILES.contains(&name));
        let ends = |ending: &&str| {
            path.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        // A link in the place of the folder itself leads to workflows that stand elsewhere.
        let is_folder = |folder: &&str| {
            path == *folder || folder.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        WORKFLOW_FOLDERS.iter().any(|folder| is_below(folder) || is_folder(folder))
            || in_root
            || ANYWHERE.contains(&self.name())
            || ENDINGS.iter().any(ends)
    }

    pub(super) fn is_lockfile(&self) -> bool {
        let name = self.name();
        LOCKFILES.contains(&name)
            || (name.starts_with("requirements") && name.ends_with(".lock"))
            || (name.starts_with("requirements") && name.ends_with(".lock.txt"))
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.split('/')
    }
}

/// Whether a character does not show, so that a name with it looks like the name without.
fn is_silent(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    ) || c.is_control()
}
