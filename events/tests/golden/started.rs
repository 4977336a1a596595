//! A job, its attempts, and what was found before Claude was asked.

use cody_events::attempt::{
    AttemptEnd, AttemptEnded, AttemptEndedPayload, AttemptReason, AttemptRequested, AttemptStarted,
    Base, Executor, SandboxBackend,
};
use cody_events::event::Event;
use cody_events::evidence::{
    Candidate, CheckPhase, CheckSkip, CheckVerdict, CheckedCommand, ChecksRan, ChecksRanPayload,
    CommandOutput, DependenciesFetched, DependenciesFetchedPayload, Ecosystem, Fetch, FetchOutcome,
    FetchWords, FoundCheck, Language, Manifest, RepoScanned, RepoScannedPayload,
};
use cody_events::ids::{AttemptNumber, RequestId, RoundNumber, TargetNumber};
use cody_events::job::{
    BudgetChanged, By, Cancelled, CheckSource, Created, CreatedPayload, CreatedTarget, Effort,
    Limits, Location, Paused, Policy, ReasonPayload, RecipeUse, Resumed, SharedLimits, TargetKind,
};
use cody_events::policy::PathClass;
use serde_json::json;

use super::{Golden, bare, hash, object, path, raw, with};

pub fn all() -> Vec<Golden> {
    vec![
        created(),
        with(Paused { target: Some(TargetNumber(2)), by: By::Person }, &reason("lunch")),
        with(Resumed { target: None, by: By::Person }, &reason("back again")),
        with(Cancelled { by: By::Person }, &reason("interrupted at the terminal")),
        with(BudgetChanged { limits: limits(), by: By::Person }, &reason("it is worth it")),
        bare(requested()),
        bare(started()),
        with(
            AttemptEnded {
                target: TargetNumber(1),
                attempt: Some(AttemptNumber(1)),
                request: request(),
                how: AttemptEnd::Lost,
            },
            &AttemptEndedPayload { detail: "the worker's process is gone".to_owned() },
        ),
        scanned(),
        fetched(),
        checked(),
    ]
}

pub fn reason(text: &str) -> ReasonPayload {
    ReasonPayload { reason: text.to_owned() }
}

fn request() -> RequestId {
    "01a208b6-c6d3-7aaa-8bbb-0123456789ab".parse().unwrap()
}

fn limits() -> Limits {
    Limits {
        budget_micros: 5_000_000,
        job_budget_micros: Some(20_000_000),
        max_turns: 60,
        max_tokens: Some(2_000_000),
        max_wall_ms: Some(7_200_000),
        max_tool_ms: Some(3_600_000),
        max_diff_bytes: Some(1_000_000),
        shared: SharedLimits { max_tokens: Some(9_000_000), ..SharedLimits::default() },
    }
}

fn created() -> Golden {
    let facts = Created {
        targets: vec![
            CreatedTarget {
                number: TargetNumber(1),
                kind: TargetKind::Github,
                repository: "acme/billing".to_owned(),
            },
            CreatedTarget {
                number: TargetNumber(2),
                kind: TargetKind::Local,
                repository: "slug".to_owned(),
            },
        ],
        policy: Policy::Review,
        limits: limits(),
        model: "claude-opus-5-5".to_owned(),
        effort: Some(Effort::High),
        checks: CheckSource::Given,
        bash: true,
        skip_review: true,
        allow: vec![PathClass::Lockfiles, PathClass::Binaries],
        fetch_dependencies: true,
        pilot: true,
        recipe: Some(RecipeUse { name: "replace-call".to_owned(), digest: hash(12) }),
        app_version: "0.1.0".to_owned(),
    };
    let payload = CreatedPayload {
        prompt: "Replace print by logging.\nKeep the wording.".to_owned(),
        notes: Some("asked by the platform team".to_owned()),
        locations: vec![
            Location {
                locator: "acme/billing".to_owned(),
                branch: Some("develop".to_owned()),
                notes: Some("Its tests are slow.".to_owned()),
            },
            Location { locator: "/home/ada/slug".to_owned(), branch: None, notes: None },
        ],
        checks: vec!["python3 -m unittest".to_owned()],
        variables: [("old".to_owned(), "print".to_owned())].into(),
    };
    with(facts, &payload)
}

fn requested() -> AttemptRequested {
    AttemptRequested {
        target: TargetNumber(1),
        round: RoundNumber::FIRST,
        request: request(),
        base: Base {
            commit: object(1),
            tree: object(2),
            branch: "develop".to_owned(),
            pack: hash(3),
        },
        executor: Executor::Local,
        why: AttemptReason::First,
    }
}

fn started() -> AttemptStarted {
    AttemptStarted {
        target: TargetNumber(1),
        attempt: AttemptNumber(1),
        request: request(),
        worker: "host:4711".to_owned(),
        app_version: "0.1.0".to_owned(),
        image: Some("sha256:0123".to_owned()),
        sandbox: SandboxBackend::Bubblewrap,
        batch_job_id: Some("8f3c".to_owned()),
        batch_job_try: Some(1),
    }
}

fn language(name: &str) -> Language {
    Language { name: name.to_owned(), file_count: 12, byte_count: 34_567 }
}

fn scan(languages: Vec<Language>) -> RepoScanned {
    RepoScanned {
        target: TargetNumber(1),
        attempt: AttemptNumber(1),
        base_commit: object(1),
        tree: object(2),
        pack: hash(3),
        default_branch: "develop".to_owned(),
        languages,
        file_count: 14,
        byte_count: 40_000,
        check_count: 1,
    }
}

fn scanned() -> Golden {
    let payload = RepoScannedPayload {
        manifests: vec![Manifest {
            path: path("pyproject.toml"),
            build_system: "setuptools".to_owned(),
        }],
        checks: vec![FoundCheck {
            command: "python3 -m unittest".to_owned(),
            why: "tests/test_totals.py uses unittest".to_owned(),
        }],
        candidates: vec![Candidate {
            path: path("billing/totals.py"),
            score_milli: 2_750,
            why: "prints in 4 lines".to_owned(),
        }],
        instruction_files: vec![path("CLAUDE.md")],
        context: "2 languages, 14 files".to_owned(),
    };
    with(scan(vec![language("Python"), language("Shell")]), &payload)
}

fn check(commands: Vec<CheckedCommand>) -> ChecksRan {
    ChecksRan {
        target: TargetNumber(1),
        attempt: AttemptNumber(1),
        tree: object(4),
        phase: CheckPhase::After,
        image: Some("sha256:0123".to_owned()),
        cache: Some("target-1".to_owned()),
        commands,
        skipped: None,
        verdict: Some(CheckVerdict::Failed),
        answers_finish: true,
    }
}

fn fetched() -> Golden {
    let fetch = |ecosystem, outcome| Fetch {
        ecosystem,
        key: hash(7),
        outcome,
        exit_code: Some(0),
        ms: 1_250,
        network_bytes: 48_213,
        lock_changed: true,
    };
    let facts = DependenciesFetched {
        target: TargetNumber(1),
        attempt: AttemptNumber(1),
        number: 1,
        fetches: vec![
            fetch(Ecosystem::Cargo, FetchOutcome::Fetched),
            Fetch { exit_code: Some(1), ..fetch(Ecosystem::Npm, FetchOutcome::Failed) },
        ],
    };
    let words = |output: &str, refused: &[&str]| FetchWords {
        output: output.to_owned(),
        hosts: vec!["registry.example".to_owned()],
        refused_hosts: refused.iter().map(|host| (*host).to_owned()).collect(),
    };
    let payload = DependenciesFetchedPayload {
        fetches: vec![words("Downloaded 3 crates", &[]), words("E403", &["other.example"])],
    };
    with(facts, &payload)
}

fn checked() -> Golden {
    let commands = vec![
        CheckedCommand { exit_code: Some(1), timed_out: false, ms: 412 },
        CheckedCommand { exit_code: None, timed_out: true, ms: 600_000 },
    ];
    let payload = ChecksRanPayload {
        commands: vec![
            CommandOutput {
                command: "python3 -m unittest".to_owned(),
                output: "FAILED (failures=1)\n".to_owned(),
            },
            CommandOutput { command: "make lint".to_owned(), output: String::new() },
        ],
        finish_result: Some(raw(json!({
            "type": "tool_result",
            "tool_use_id": "toolu_01",
            "content": "The checks fail.",
            "is_error": true,
        }))),
    };
    with(check(commands), &payload)
}

/// The longest lists that facts may carry, of the widest values. Twenty targets, the most that a job
/// takes, fit with names of 120 bytes on average; with longer ones the log refuses the event.
pub fn largest() -> Vec<Event> {
    let targets = (1..=20).map(|number| CreatedTarget {
        number: TargetNumber(number),
        kind: TargetKind::Github,
        repository: format!("{}/{}", "o".repeat(39), "n".repeat(70)),
    });
    let limits = Limits {
        budget_micros: u64::MAX,
        job_budget_micros: Some(u64::MAX),
        max_turns: u32::MAX,
        max_tokens: Some(u64::MAX),
        max_wall_ms: Some(u64::MAX),
        max_tool_ms: Some(u64::MAX),
        max_diff_bytes: Some(u64::MAX),
        shared: SharedLimits {
            max_turns: Some(u32::MAX),
            max_tokens: Some(u64::MAX),
            max_wall_ms: Some(u64::MAX),
            max_tool_ms: Some(u64::MAX),
            max_diff_bytes: Some(u64::MAX),
        },
    };
    let language = || Language { name: "l".repeat(24), file_count: u64::MAX, byte_count: u64::MAX };
    let scan = RepoScanned {
        default_branch: "b".repeat(200),
        file_count: u64::MAX,
        byte_count: u64::MAX,
        check_count: u32::MAX,
        ..scan((0..32).map(|_| language()).collect())
    };
    let command = || CheckedCommand { exit_code: Some(i32::MIN), timed_out: true, ms: u64::MAX };
    let check = ChecksRan {
        image: Some(format!("{}@sha256:{}", "i".repeat(255), "0".repeat(64))),
        cache: Some("c".repeat(64)),
        skipped: Some(CheckSkip::ClaimRefused),
        verdict: Some(CheckVerdict::StillFailing),
        ..check((0..32).map(|_| command()).collect())
    };
    vec![
        Created {
            targets: targets.collect(),
            policy: Policy::PatchOnly,
            limits,
            model: "m".repeat(64),
            effort: Some(Effort::Medium),
            checks: CheckSource::Detected,
            bash: false,
            skip_review: true,
            fetch_dependencies: true,
            pilot: true,
            recipe: Some(RecipeUse { name: "r".repeat(64), digest: hash(12) }),
            allow: PathClass::ALL.to_vec(),
            app_version: "v".repeat(16),
        }
        .into(),
        scan.into(),
        check.into(),
    ]
}
