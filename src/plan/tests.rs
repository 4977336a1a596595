//! Every way in which a request can be wrong, and how its repositories are read into one form.

use std::path::{Path, PathBuf};
use std::process::Command;

use cody_events::job::{Effort, Limits, Location, Policy, SharedLimits, TargetKind};
use tempfile::TempDir;

use super::{JobRequest, Library, LocalPaths, Planner};
use crate::claude::models::{Date, ModelTable};
use crate::config::Config;
use crate::job::command::{Checks, CreateJob, NewTarget};
use crate::job::{Rejection, RejectionCode, check};

/// A server that knows github.com and one host of its own.
pub(super) struct Server {
    pub config: Config,
    pub models: ModelTable,
    pub local_paths: LocalPaths,
    pub may_fetch: bool,
}

impl Server {
    pub fn new() -> Self {
        let nowhere = TempDir::new().unwrap();
        let env = |name: &str| {
            (name == "CODY_ALLOWED_HOSTS").then(|| "github.com,git.acme.example".to_owned())
        };
        Self {
            config: Config::load(nowhere.path(), &env).unwrap(),
            models: ModelTable::shipped().unwrap(),
            local_paths: LocalPaths::Any,
            may_fetch: false,
        }
    }

    fn behind_a_door(roots: &[&Path]) -> Self {
        let roots = roots.iter().map(|root| root.to_path_buf()).collect();
        Self { local_paths: LocalPaths::Below(roots), ..Self::new() }
    }

    pub fn plan(&self, request: &JobRequest) -> Result<CreateJob, Rejection> {
        let planner = Planner {
            job: &self.config.job,
            git: &self.config.git,
            models: &self.models,
            may_fetch: self.may_fetch,
            recipes: &Library::new(&self.config.data_dir),
            today: Date::constant(2026, 11, 23),
            local_paths: self.local_paths.clone(),
        };
        let wish = planner.plan(request)?;
        check(&wish)?;
        Ok(wish)
    }

    #[track_caller]
    pub fn refuses(&self, request: &JobRequest) -> RejectionCode {
        let rejection = self.plan(request).unwrap_err();
        for words in [&rejection.message, &rejection.next_step] {
            assert!(words.ends_with('.'), "no sentence: {words}");
            assert!(words.starts_with(|c: char| c.is_uppercase() || !c.is_alphabetic()), "{words}");
        }
        rejection.code
    }
}

pub(super) fn asking(repositories: &[&str]) -> JobRequest {
    JobRequest {
        prompt: "Replace print by logging.".to_owned(),
        repositories: repositories.iter().map(|text| (*text).to_owned()).collect(),
        ..JobRequest::default()
    }
}

/// A repository with nothing in it, below `dir`.
fn repository(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let made = Command::new("git").args(["init", "--quiet"]).arg(&path).status().unwrap();
    assert!(made.success());
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_request_becomes_a_command_with_all_defaults_filled_in() {
    let wish =
        Server::new().plan(&asking(&["Acme/App", "https://git.acme.example/a/b.git"])).unwrap();
    let target = |kind, repository: &str, locator: &str, identity: &str| NewTarget {
        kind,
        repository: repository.to_owned(),
        location: Location { locator: locator.to_owned(), branch: None, notes: None },
        identity: identity.to_owned(),
    };
    assert_eq!(
        wish.targets,
        [
            target(TargetKind::Github, "Acme/App", "Acme/App", "github.com/acme/app"),
            target(
                TargetKind::Url,
                "a/b",
                "https://git.acme.example/a/b.git",
                "git.acme.example/a/b"
            ),
        ]
    );
    let limits = Limits {
        budget_micros: 5_000_000,
        job_budget_micros: None,
        max_turns: 60,
        max_tokens: None,
        max_wall_ms: None,
        max_tool_ms: None,
        max_diff_bytes: None,
        shared: SharedLimits::default(),
    };
    assert_eq!(wish.limits, limits);
    assert_eq!((wish.policy, &wish.checks, wish.bash), (Policy::Review, &Checks::Detected, true));
    assert_eq!((wish.model.as_str(), wish.effort), ("claude-opus-5-5", None));
    assert!(wish.rules.floor_call_micros > 0);
}

#[test]
fn what_is_asked_for_wins_over_defaults() {
    let request = JobRequest {
        branch: Some(" release ".to_owned()),
        checks: vec!["npm test".to_owned()],
        budget_usd: Some("2.50".to_owned()),
        job_budget_usd: Some("7".to_owned()),
        max_turns: Some(9),
        policy: Some(Policy::PatchOnly),
        no_bash: true,
        ..asking(&["a/b"])
    };
    let wish = Server::new().plan(&request).unwrap();
    assert_eq!(wish.targets[0].location.branch.as_deref(), Some("release"));
    assert_eq!(wish.checks, Checks::Given(vec!["npm test".to_owned()]));
    let limits = wish.limits;
    assert_eq!((limits.budget_micros, limits.job_budget_micros), (2_500_000, Some(7_000_000)));
    assert_eq!((limits.max_turns, wish.policy, wish.bash), (9, Policy::PatchOnly, false));
    let off = JobRequest { no_checks: true, ..request };
    assert_eq!(Server::new().plan(&off).unwrap().checks, Checks::Off);
}

#[test]
fn every_wrong_repository_has_its_code() {
    use RejectionCode::{BadUrl, HostNotAllowed, NoSuchPath, NotARepository};
    let dir = TempDir::new().unwrap();
    let inner = repository(dir.path(), "app").join("src");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let server = Server::new();
    for (code, text) in [
        (BadUrl, ""),
        (BadUrl, "acme"),
        (BadUrl, "a/b/c"),
        (BadUrl, "git@github.com:a/b.git"),
        (BadUrl, "ssh://github.com/a/b"),
        (BadUrl, "http://github.com/a/b"),
        (BadUrl, "file:///etc"),
        (BadUrl, "https://me:secret@github.com/a/b"),
        (BadUrl, "https://github.com/a"),
        (BadUrl, "https://github.com/a/b/tree/main"),
        (BadUrl, "https://github.com/a/b?ref=x"),
        (BadUrl, "~/app"),
        (BadUrl, "--upload-pack=x/y"),
        (HostNotAllowed, "https://gitlab.example/a/b"),
        (HostNotAllowed, "https://github.com.evil.example/a/b"),
        (HostNotAllowed, "https://github.com:8443/a/b"),
        (HostNotAllowed, "https://169.254.169.254/a/b"),
        (NoSuchPath, text(&dir.path().join("gone"))),
        (NoSuchPath, "./gone"),
        (NotARepository, text(dir.path())),
        (NotARepository, text(&inner)),
        (NotARepository, text(&dir.path().join("file"))),
    ] {
        assert_eq!(server.refuses(&asking(&[text])), code, "{text}");
    }
    let leaky = server.plan(&asking(&["https://me:secret@github.com/a/b"])).unwrap_err();
    assert!(!leaky.to_string().contains("secret"), "{leaky}");
}

#[test]
fn one_repository_is_seen_through_all_its_spellings() {
    let server = Server::new();
    for other in [
        "acme/app",
        "ACME/App",
        "acme/app/",
        " acme/app ",
        "https://github.com/acme/app",
        "https://github.com/acme/app.git",
        "https://github.com/acme/app/",
        "https://GitHub.com/Acme/App",
        "https://github.com:443/acme/app",
    ] {
        let code = server.refuses(&asking(&["acme/app", other]));
        assert_eq!(code, RejectionCode::DuplicateTarget, "{other}");
    }
    for other in ["acme/app2", "other/app", "https://git.acme.example/acme/app"] {
        assert!(server.plan(&asking(&["acme/app", other])).is_ok(), "{other}");
    }
}

#[test]
fn one_local_repository_is_seen_through_links_dots_and_its_git_folder() {
    let dir = TempDir::new().unwrap();
    let app = repository(dir.path(), "app");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&app, &link).unwrap();
    let server = Server::new();
    for other in
        [app.clone(), app.join(""), dir.path().join("app/../app/."), link, app.join(".git")]
    {
        let code = server.refuses(&asking(&[text(&app), text(&other)]));
        assert_eq!(code, RejectionCode::DuplicateTarget, "{}", other.display());
    }
    let second = repository(dir.path(), "second");
    let wish = server.plan(&asking(&[text(&app), text(&second)])).unwrap();
    let target = &wish.targets[0];
    assert_eq!((target.kind, target.repository.as_str()), (TargetKind::Local, "app"));
    assert_eq!(target.location.locator, app.canonicalize().unwrap().display().to_string());
}

#[test]
fn a_door_tells_nothing_of_what_is_outside_its_roots() {
    use RejectionCode::{NotARepository, PathNotAllowed};
    let dir = TempDir::new().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("root-too"));
    let (inside, secret) = (repository(&root, "app"), repository(&outside, "secret"));
    let way_out = root.join("way-out");
    std::os::unix::fs::symlink(&secret, &way_out).unwrap();
    let linked_root = dir.path().join("linked");
    std::os::unix::fs::symlink(&root, &linked_root).unwrap();
    for roots in [&root, &linked_root] {
        let server = Server::behind_a_door(&[roots]);
        assert!(server.plan(&asking(&[text(&inside)])).is_ok());
        assert_eq!(server.refuses(&asking(&[text(&root)])), NotARepository);
        for path in [
            secret.clone(),
            outside.clone(),
            outside.join("gone"),
            root.join("../root-too/secret"),
            way_out.clone(),
            PathBuf::from("/etc/passwd"),
        ] {
            let code = server.refuses(&asking(&[text(&path)]));
            assert_eq!(code, PathNotAllowed, "{}", path.display());
        }
    }
    let closed = Server::behind_a_door(&[]);
    assert_eq!(closed.refuses(&asking(&[text(&inside)])), PathNotAllowed);
    assert!(closed.plan(&asking(&["a/b"])).is_ok());
}

#[test]
fn every_other_mistake_has_its_code() {
    use RejectionCode::*;
    let with = |change: fn(&mut JobRequest)| {
        let mut request = asking(&["a/b"]);
        change(&mut request);
        request
    };
    for (code, request) in [
        (NoPrompt, with(|r| r.prompt.clear())),
        (PromptTooLong, with(|r| r.prompt = "x".repeat(65_537))),
        (NoTarget, with(|r| r.repositories.clear())),
        (TooManyTargets, asking(&["a/1", "a/2", "a/3", "a/4", "a/5", "a/6"])),
        (UnknownModel, with(|r| r.model = Some("gpt-5".to_owned()))),
        (RetiredModel, with(|r| r.model = Some("claude-3-7-sonnet-20250219".to_owned()))),
        (BadEffort, {
            with(|r| {
                r.model = Some("claude-haiku-4-5".to_owned());
                r.effort = Some(Effort::Max);
            })
        }),
        (BadLimits, with(|r| r.max_turns = Some(0))),
        (BadLimits, with(|r| r.budget_usd = Some("five".to_owned()))),
        (BadLimits, with(|r| r.budget_usd = Some("-1".to_owned()))),
        (BadLimits, with(|r| r.job_budget_usd = Some("1e9".to_owned()))),
        (BudgetTooSmall, with(|r| r.budget_usd = Some("0.000001".to_owned()))),
        (BudgetTooSmall, with(|r| r.budget_usd = Some("0".to_owned()))),
        (BudgetTooSmall, with(|r| r.job_budget_usd = Some("0.01".to_owned()))),
        (BadCheck, with(|r| r.checks = vec![" ".to_owned()])),
        (BadBranch, with(|r| r.branch = Some("-f".to_owned()))),
        (BadBranch, with(|r| r.branch = Some("a..b".to_owned()))),
        (BadBranch, with(|r| r.branch = Some("a b".to_owned()))),
        (BadBranch, with(|r| r.branch = Some("a\nb".to_owned()))),
    ] {
        assert_eq!(Server::new().refuses(&request), code, "{request:?}");
    }
    let blank = with(|r| r.branch = Some(" ".to_owned()));
    assert_eq!(Server::new().plan(&blank).unwrap().targets[0].location.branch, None);
}

#[test]
fn a_job_file_is_a_request() {
    let file = r#"
        prompt = "Replace print by logging."
        notes = "For ticket 7."
        repositories = ["acme/app", "/src/tool"]
        branch = "main"
        checks = ["npm test"]
        model = "claude-opus-5-5"
        effort = "high"
        budget_usd = 2.50
        job_budget_usd = "7.000001"
        max_turns = 30
        policy = "patch-only"
        no_bash = true
    "#;
    let expected = JobRequest {
        notes: Some("For ticket 7.".to_owned()),
        repositories: vec!["acme/app".to_owned(), "/src/tool".to_owned()],
        branch: Some("main".to_owned()),
        checks: vec!["npm test".to_owned()],
        model: Some("claude-opus-5-5".to_owned()),
        effort: Some(Effort::High),
        budget_usd: Some("2.5".to_owned()),
        job_budget_usd: Some("7.000001".to_owned()),
        max_turns: Some(30),
        policy: Some(Policy::PatchOnly),
        no_bash: true,
        ..asking(&[])
    };
    assert_eq!(toml::from_str::<JobRequest>(file), Ok(expected));
    let whole: JobRequest = toml::from_str("budget_usd = 3").unwrap();
    assert_eq!(whole.budget_usd.as_deref(), Some("3"));
    let error = toml::from_str::<JobRequest>("promt = \"x\"").unwrap_err().to_string();
    assert!(error.contains("unknown field `promt`"), "{error}");
}

#[test]
fn the_form_of_a_job_file_is_committed_and_true() {
    let schema = serde_json::to_value(schemars::schema_for!(JobRequest)).unwrap();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    expect_test::expect_file!["../../docs/job.schema.json"].assert_eq(&text);
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (is_good, job) in [
        (true, serde_json::json!({})),
        (true, serde_json::json!({ "prompt": "x", "repositories": ["a/b"], "budget_usd": 2.5 })),
        (true, serde_json::json!({ "budget_usd": "2.50", "effort": "xhigh", "policy": "auto" })),
        (false, serde_json::json!({ "budget_usd": "two" })),
        (false, serde_json::json!({ "promt": "x" })),
        (false, serde_json::json!({ "max_turns": -1 })),
    ] {
        assert_eq!(validator.is_valid(&job), is_good, "{job}");
        // An amount that is none is told by the planner, with what to write instead.
        let reads = is_good || job["budget_usd"] == "two";
        assert_eq!(serde_json::from_value::<JobRequest>(job.clone()).is_ok(), reads, "{job}");
    }
}
