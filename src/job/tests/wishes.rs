//! Commands with sensible payloads, made from the facts that a test is about.

use cody_events::attempt::{AttemptEnded, AttemptRequested};
use cody_events::digest::Sha256;
use cody_events::evidence::{
    ChecksRan, ChecksRanPayload, DependenciesFetched, DependenciesFetchedPayload, FetchWords,
    RepoScanned, RepoScannedPayload,
};
use cody_events::ids::TargetNumber;
use cody_events::job::{By, Limits, Location, Policy, TargetKind};
use cody_events::raw::RawJson;
use cody_events::thread::{
    CallFailed, CallFailedPayload, CallPermitted, ClaudeTurn, ClaudeTurnPayload, DiffReviewed,
    DiffReviewedPayload, ThreadStarted, ThreadStartedPayload, ToolsRan, ToolsRanPayload,
};

use super::build::limits;
use crate::job::Command;
use crate::job::command::{
    Checks, CreateJob, CreateRules, ModelStanding, NewTarget, RequestChanges, ReviewedDiff,
};

/// The wish for a job like [`created`].
pub fn wish(targets: u32) -> CreateJob {
    CreateJob {
        prompt: "Replace print by logging.".to_owned(),
        notes: None,
        targets: (1..=targets)
            .map(|number| NewTarget {
                kind: TargetKind::Github,
                repository: format!("acme/app-{number}"),
                location: Location {
                    locator: format!("acme/app-{number}"),
                    branch: None,
                    notes: None,
                },
                identity: format!("github.com/acme/app-{number}"),
            })
            .collect(),
        checks: Checks::Detected,
        policy: Policy::Review,
        limits: limits(),
        model: "claude-test".to_owned(),
        effort: None,
        bash: true,
        skip_review: false,
        fetch_dependencies: false,
        allow: std::collections::BTreeSet::new(),
        pilot: false,
        recipe: None,
        app_version: "0.1.0".to_owned(),
        rules: CreateRules {
            max_targets: 5,
            max_prompt_bytes: 65_536,
            model: ModelStanding::Known,
            floor_call_micros: 250_000,
        },
    }
}

pub fn create(wish: CreateJob) -> Command {
    Command::CreateJob(Box::new(wish))
}

pub fn cancel() -> Command {
    Command::CancelJob { by: By::Person, reason: "Changed my mind.".to_owned(), diffs: Vec::new() }
}

pub fn pause(target: Option<u32>) -> Command {
    Command::PauseJob { target: target.map(TargetNumber), by: By::Person, reason: String::new() }
}

pub fn resume(target: Option<u32>) -> Command {
    resume_with(target, None)
}

pub fn change_limits(limits: Limits) -> Command {
    resume_with(None, Some(limits))
}

pub fn resume_with(target: Option<u32>, limits: Option<Limits>) -> Command {
    let (target, by, reason) = (target.map(TargetNumber), By::Person, String::new());
    Command::ResumeJob { target, limits, floor_call_micros: 250_000, by, reason }
}

pub fn retry(targets: &[u32]) -> Command {
    let targets = targets.iter().copied().map(TargetNumber).collect();
    let (by, reason) = (By::Person, String::new());
    Command::RetryTargets { targets, limits: None, floor_call_micros: 250_000, by, reason }
}

fn raw() -> RawJson {
    RawJson::parse("{}").unwrap()
}

pub fn record_scan(facts: RepoScanned) -> Command {
    let payload = RepoScannedPayload {
        manifests: Vec::new(),
        checks: Vec::new(),
        candidates: Vec::new(),
        instruction_files: Vec::new(),
        context: String::new(),
    };
    Command::RecordScan(Box::new((facts, payload)))
}

pub fn record_fetch(facts: DependenciesFetched) -> Command {
    let words = FetchWords { output: String::new(), hosts: vec![], refused_hosts: vec![] };
    let fetches = facts.fetches.iter().map(|_| words.clone()).collect();
    Command::RecordFetch(Box::new((facts, DependenciesFetchedPayload { fetches })))
}

pub fn record_checks(facts: ChecksRan) -> Command {
    let finish_result = facts.answers_finish.then(raw);
    Command::RecordChecks(Box::new((
        facts,
        ChecksRanPayload { commands: Vec::new(), finish_result },
    )))
}

pub fn start_thread(facts: ThreadStarted) -> Command {
    let payload = ThreadStartedPayload { prefix: raw(), betas: Vec::new(), first_message: raw() };
    Command::StartThread(Box::new((facts, payload)))
}

pub fn permit(permit: CallPermitted) -> Command {
    Command::PermitCall { permit, notice: Vec::new() }
}

pub fn fail(facts: CallFailed) -> Command {
    let payload = CallFailedPayload { message: "overloaded".to_owned() };
    Command::FailCall(Box::new((facts, payload)))
}

pub fn record_turn(facts: ClaudeTurn) -> Command {
    let payload = ClaudeTurnPayload {
        content: vec![raw()],
        stop_reason: "tool_use".to_owned(),
        stop_details: None,
    };
    Command::RecordTurn(Box::new((facts, payload)))
}

pub fn record_tools(facts: ToolsRan) -> Command {
    let payload = ToolsRanPayload {
        results: Vec::new(),
        changed: Vec::new(),
        blobs: Vec::new(),
        outputs: Vec::new(),
        finish: None,
        tools: Vec::new(),
    };
    Command::RecordTools(Box::new((facts, payload)))
}

pub fn record_review(facts: DiffReviewed) -> Command {
    let payload = DiffReviewedPayload {
        summary: "Seen.".to_owned(),
        reasons: Vec::new(),
        finish_result: facts.answers_finish.then(raw),
    };
    Command::RecordReview(Box::new((facts, payload)))
}

pub fn request(facts: AttemptRequested) -> Command {
    Command::RequestAttempt {
        target: facts.target,
        base: facts.base,
        executor: facts.executor,
        why: facts.why,
        request: facts.request,
    }
}

pub fn end(facts: AttemptEnded) -> Command {
    Command::EndAttempt {
        target: facts.target,
        request: facts.request,
        how: facts.how,
        detail: None,
    }
}

fn seen(target: u32, hash: u8) -> ReviewedDiff {
    ReviewedDiff {
        target: TargetNumber(target),
        diff_hash: Sha256([hash; 32]),
        comment: "Use the root logger.".to_owned(),
        by: By::Person,
    }
}

/// Yes to the diff with this hash, which is the number of its tree.
pub fn approve(target: u32, hash: u8) -> Command {
    Command::ApproveDiff(seen(target, hash))
}

pub fn reject(target: u32, hash: u8) -> Command {
    Command::RejectDiff(seen(target, hash))
}

pub fn request_changes(target: u32, hash: u8, comment: &str) -> Command {
    Command::RequestChanges(Box::new(RequestChanges {
        reviewed: ReviewedDiff { comment: comment.to_owned(), ..seen(target, hash) },
        block: raw(),
        floor_call_micros: 250_000,
    }))
}

pub fn archive(archived: bool) -> Command {
    Command::ArchiveJob { archived, by: By::Person }
}
