//! The report says what was asked, done, checked, spent and decided, and nothing in it gets out of its
//! place.

use cody_batch::api::downloads::report;
use cody_events::attempt::{AttemptReason, AttemptRequested, Base, Executor};
use cody_events::diff::{
    ChangedFile, ChangesRequested, CommentPayload, DiffApproved, DiffProduced, DiffProducedPayload,
    DiffRejected, FileChange, JudgedDiff, Patch, TargetHeld,
};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::envelope::Door;
use cody_events::event::Draft;
use cody_events::evidence::{
    CheckPhase, CheckVerdict, CheckedCommand, ChecksRan, ChecksRanPayload, CommandOutput,
};
use cody_events::ids::{
    AttemptNumber, CallNumber, RequestId, RoundNumber, TargetNumber, ThreadNumber, TurnNumber,
};
use cody_events::job::{
    BudgetChanged, By, CheckSource, Created, CreatedPayload, CreatedTarget, Effort, Limits,
    Location, Paused, Policy, ReasonPayload, RecipeUse, Resumed, SharedLimits, TargetKind,
};
use cody_events::outcome::{
    Outcome, ReopenReason, TargetFinished, TargetFinishedPayload, TargetReopened,
};
use cody_events::policy::PathClass;
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallPermitted, CallPermittedPayload, ClaudeTurn, ClaudeTurnPayload, DiffReviewed,
    DiffReviewedPayload, Purpose, ReviewVerdict, StopReason, ThreadStarted, ThreadStartedPayload,
    Usage,
};
use cody_events::tree::RepoPath;
use expect_test::expect_file;
use uuid::Uuid;

use super::ground::{ALONE, JOB, World};

/// A patch that says `word`.
pub fn patch(word: &str) -> String {
    format!(
        "diff --git a/greet.sh b/greet.sh\nindex ce01362..cc628cc 100644\n--- a/greet.sh\n\
         +++ b/greet.sh\n@@ -1 +1 @@\n-hello\n+{word}\n"
    )
}

fn tree(number: u8) -> ObjectId {
    ObjectId([number; 20])
}

pub fn limits() -> Limits {
    Limits {
        budget_micros: 5_000_000,
        job_budget_micros: Some(9_000_000),
        max_turns: 60,
        max_tokens: Some(2_000_000),
        max_wall_ms: None,
        max_tool_ms: None,
        max_diff_bytes: None,
        shared: SharedLimits::default(),
    }
}

/// A job with these repositories.
pub fn created(repositories: &[&str]) -> Draft {
    let targets = repositories.iter().zip(1..).map(|(repository, number)| CreatedTarget {
        number: TargetNumber(number),
        kind: TargetKind::Github,
        repository: (*repository).to_owned(),
    });
    let facts = Created {
        targets: targets.collect(),
        policy: Policy::Review,
        limits: limits(),
        model: "claude-opus-5-5".to_owned(),
        effort: Some(Effort::High),
        checks: CheckSource::Given,
        bash: true,
        skip_review: false,
        allow: vec![PathClass::Lockfiles],
        fetch_dependencies: false,
        pilot: true,
        recipe: Some(RecipeUse { name: "greet".to_owned(), digest: Sha256::of(b"recipe") }),
        app_version: "0.1.0".to_owned(),
    };
    let location = |repository: &&str| Location {
        locator: (*repository).to_owned(),
        branch: None,
        notes: (repository.contains("web")).then(|| "Leave `old/` alone.".to_owned()),
    };
    let payload = CreatedPayload {
        prompt: "Greet people warmly.\n\n```\n# no heading".to_owned(),
        notes: Some("For <b>all</b> teams.".to_owned()),
        locations: repositories.iter().map(location).collect(),
        checks: vec!["make test | tee `log`".to_owned()],
        variables: [("word".to_owned(), "hi|there".to_owned())].into(),
    };
    Draft::with(facts, &payload).unwrap()
}

/// A diff of `target` whose patch is `patch`.
pub fn produced(target: u32, patch: &str) -> Draft {
    let facts = DiffProduced {
        target: TargetNumber(target),
        round: RoundNumber(1),
        base_commit: tree(1),
        tree: tree(2),
        diff_hash: Sha256::of(patch.as_bytes()),
        file_count: 1,
        added_line_count: 1,
        deleted_line_count: 1,
        byte_count: patch.len() as u64,
        partial: false,
        touches: Vec::new(),
        secret_count: 0,
        shape: None,
    };
    let file = |path: &str, binary| ChangedFile {
        path: RepoPath::new(path).unwrap(),
        change: FileChange::Modified,
        binary,
        added_line_count: 1,
        deleted_line_count: 1,
    };
    let payload = DiffProducedPayload {
        patch: Patch::of(patch.as_bytes().to_vec()),
        files: vec![file("greet.sh", false), file("a`b|c\n## d", true)],
        title: "Greet\n# Approved".to_owned(),
        summary: "It greets.\n````\n## 9. nobody/asked\n<img src=https://a.b/c>".to_owned(),
        evidence: Vec::new(),
    };
    Draft::with(facts, &payload).unwrap()
}

fn judged(patch: &str, by: By) -> JudgedDiff {
    let diff_hash = Sha256::of(patch.as_bytes());
    JudgedDiff { target: TargetNumber(1), base_commit: tree(1), tree: tree(2), diff_hash, by }
}

fn comment(words: &str) -> CommentPayload {
    CommentPayload { comment: words.to_owned(), finish_result: None }
}

fn reason(words: &str) -> ReasonPayload {
    ReasonPayload { reason: words.to_owned() }
}

fn requested() -> Draft {
    Draft::bare(AttemptRequested {
        target: TargetNumber(1),
        round: RoundNumber(1),
        request: RequestId(Uuid::from_u128(3)),
        base: Base {
            commit: tree(1),
            tree: tree(1),
            pack: Sha256::of(b"pack"),
            branch: "main".to_owned(),
        },
        executor: Executor::Local,
        why: AttemptReason::First,
    })
}

fn checks(phase: CheckPhase, code: i32, verdict: Option<CheckVerdict>) -> Draft {
    let facts = ChecksRan {
        target: TargetNumber(1),
        attempt: AttemptNumber(1),
        tree: tree(1),
        phase,
        image: None,
        cache: None,
        commands: vec![CheckedCommand { exit_code: Some(code), timed_out: false, ms: 1_250 }],
        skipped: None,
        verdict,
        answers_finish: false,
    };
    let (command, output) = ("make test | tee `log`".to_owned(), "````\n# out".to_owned());
    let payload =
        ChecksRanPayload { commands: vec![CommandOutput { command, output }], finish_result: None };
    Draft::with(facts, &payload).unwrap()
}

/// A thread with one response that says `text`.
fn talk(thread: u32, purpose: Purpose, text: &str) -> Vec<Draft> {
    let (target, thread, turn) = (TargetNumber(1), ThreadNumber(thread), TurnNumber(1));
    let started = ThreadStarted {
        target,
        thread,
        round: RoundNumber(1),
        purpose,
        parent: None,
        model: "claude-opus-5-5".to_owned(),
        prefix_hash: Sha256::of(b"{}"),
        tree: tree(1),
    };
    let raw = |text: &str| RawJson::parse(text).unwrap();
    let first = r#"{"role":"user","content":[{"type":"text","text":"Begin."}]}"#;
    let opening =
        ThreadStartedPayload { prefix: raw("{}"), betas: Vec::new(), first_message: raw(first) };
    let permitted = CallPermitted {
        target,
        thread,
        turn,
        call: CallNumber(1),
        request_hash: Sha256::of(b"request"),
        max_tokens: 32_000,
        reserved_micros: 900_000,
        price_table: "2026-11".to_owned(),
        last: false,
        warning: None,
    };
    let usage = Usage {
        input_tokens: 1_200,
        output_tokens: 300,
        cache_read_tokens: 800,
        ..Usage::default()
    };
    let turned = ClaudeTurn {
        target,
        thread,
        turn,
        call: CallNumber(1),
        stop_reason: StopReason::EndTurn,
        in_history: true,
        tool_count: 0,
        usage,
        cost_micros: 123_456,
        ms: 4_321,
        request_id: None,
    };
    let block = serde_json::json!({ "type": "text", "text": text }).to_string();
    let tool = r#"{"type":"tool_use","id":"t","name":"bash","input":{"command":"echo `a`\n"}}"#;
    let result = r#"{"type":"tool_result","tool_use_id":"t","content":"`````\n# b"}"#;
    let said = ClaudeTurnPayload {
        content: vec![raw(&block), raw(tool), raw(result)],
        stop_reason: "end_turn".to_owned(),
        stop_details: None,
    };
    vec![
        Draft::with(started, &opening).unwrap(),
        Draft::with(permitted, &CallPermittedPayload { notice: Vec::new() }).unwrap(),
        Draft::with(turned, &said).unwrap(),
    ]
}

fn reviewed() -> Draft {
    let facts = DiffReviewed {
        target: TargetNumber(1),
        thread: ThreadNumber(2),
        turn: TurnNumber(1),
        tree: tree(2),
        verdict: ReviewVerdict::Accept,
        answers_finish: false,
    };
    let payload = DiffReviewedPayload {
        summary: "Fine\u{202e}.".to_owned(),
        reasons: vec!["It *greets*.".to_owned()],
        finish_result: None,
    };
    Draft::with(facts, &payload).unwrap()
}

fn finished(target: u32, outcome: Outcome, diff: Option<&str>) -> Draft {
    let facts = TargetFinished {
        target: TargetNumber(target),
        round: RoundNumber(1),
        outcome,
        tree: Some(tree(2)),
        diff_hash: diff.map(|patch| Sha256::of(patch.as_bytes())),
        cost_micros: 246_912,
    };
    let evidence = vec!["| greet.sh |\n---\n# says hi".to_owned()];
    Draft::with(facts, &TargetFinishedPayload { evidence }).unwrap()
}

/// A job with two diffs of its first target, judged in every way, and a second target without one.
pub async fn story() -> World {
    let world = World::new().await;
    let (first, second) = (patch("hi"), patch("good day"));
    world.append("ada", Door::Graphql, vec![created(&["acme/api", "acme/web"])]).await;
    let mut work = vec![requested(), checks(CheckPhase::Baseline, 1, None)];
    work.extend(talk(1, Purpose::Change, "I <b>greet</b>.\n````\n# now"));
    work.push(checks(CheckPhase::After, 0, Some(CheckVerdict::Passed)));
    work.extend(talk(2, Purpose::Review, "Good."));
    work.extend([reviewed(), produced(1, &first)]);
    world.append("worker", Door::Worker, work).await;
    let held = TargetHeld(judged(&first, By::Policy));
    let held = Draft::with(held, &comment("it touches lockfiles")).unwrap();
    let ended = finished(1, Outcome::DiffReady, Some(&first));
    world.append("policy", Door::Server, vec![held, ended]).await;
    let sent = ChangesRequested(judged(&first, By::Person));
    let sent = Draft::with(sent, &comment("Warmer,\n| please | # now")).unwrap();
    let (round, why) = (RoundNumber(2), ReopenReason::ChangesRequested);
    let opened = TargetReopened { target: TargetNumber(1), round, why, by: By::Person };
    let opened = Draft::with(opened, &reason("")).unwrap();
    world.append("grace", Door::Web, vec![sent, opened]).await;
    let by = By::Person;
    let paused = Draft::with(Paused { target: None, by }, &reason("lunch")).unwrap();
    world.append("ada", Door::Cli, vec![paused]).await;
    let limits = Limits { max_turns: 80, ..limits() };
    let changed = Draft::with(BudgetChanged { limits, by }, &reason("")).unwrap();
    let resumed = Draft::with(Resumed { target: None, by }, &reason("")).unwrap();
    world.append("ada", Door::Mcp, vec![changed, resumed]).await;
    let ended = finished(1, Outcome::DiffReady, Some(&second));
    world.append("worker", Door::Worker, vec![produced(1, &second), ended]).await;
    let approved = DiffApproved(judged(&second, By::Person));
    let approved = Draft::with(approved, &comment("")).unwrap();
    let ended = finished(2, Outcome::AlreadyCompliant, None);
    world.append("grace", Door::Graphql, vec![approved, ended]).await;
    world
}

#[tokio::test]
async fn a_report_says_all_and_keeps_each_word_in_its_place() {
    let _shared = ALONE.read().await;
    let world = story().await;
    let text = world.get("report.md").send().await.unwrap().text().await.unwrap();
    // Payloads are salted, so the hash is another in each log.
    let hash = world.reader.glance(JOB).await.unwrap().stand.event_hash.to_string();
    assert!(text.contains(&hash));
    expect_file!["./story.report.md"].assert_eq(&text.replace(&hash, "…"));
    let job = world.reader.read(JOB).await.unwrap();
    let mut direct = Vec::new();
    report::write(&world.reader.app, &job, &mut direct).await.unwrap();
    assert!(direct == text.as_bytes());
    let thread = world.get("targets/1/thread.md").send().await.unwrap().text().await.unwrap();
    expect_file!["./story.thread.md"].assert_eq(&thread);
}

#[tokio::test]
async fn a_rejection_and_the_archive_are_told_as_well() {
    let _shared = ALONE.read().await;
    let world = World::new().await;
    let patch = patch("hi");
    let rejected = DiffRejected(judged(&patch, By::Person));
    let rejected = Draft::with(rejected, &comment("no")).unwrap();
    let archived = Draft::bare(cody_events::job::Archived { by: By::Person });
    let drafts = vec![created(&["acme/api"]), produced(1, &patch), rejected, archived];
    world.append("ada", Door::Graphql, drafts).await;
    let text = world.get("report.md").send().await.unwrap().text().await.unwrap();
    let decided = text.split("## Decided").nth(1).unwrap();
    let hash = Sha256::of(patch.as_bytes()).to_string();
    assert!(decided.contains(&format!("diff `{}` rejected | a person | `ada`", &hash[..12])));
    assert!(decided.contains("| all | archived | a person | `ada` | graphql |"), "{decided}");
}
