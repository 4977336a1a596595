//! What a caller has to be allowed for each wish: one list, whatever the door.

use cody_events::envelope::Door;
use cody_events::job::{Limits, Policy};
use cody_events::system::Scope;

use super::access::Caller;
use super::control::Wish;
use crate::job::command::CreateJob;
use crate::job::{Rejection, RejectionCode};

/// What the server's owner lets people do.
#[derive(Debug, Clone, Copy)]
pub struct HouseRules {
    /// Micro-dollars that a job may have for each target without an approver's word.
    pub max_budget_micros: Option<u64>,
    /// Whether a job has a pilot unless it says otherwise.
    pub pilot: bool,
    /// Whether whoever created a job may approve its diffs.
    pub own_approval: bool,
}

/// The scope that every such wish needs.
pub fn scope_of(wish: &Wish) -> Scope {
    match wish {
        Wish::Create { .. }
        | Wish::Pause { .. }
        | Wish::Resume { .. }
        | Wish::Cancel { .. }
        | Wish::Retry { .. }
        | Wish::Archive { .. }
        | Wish::Attend { .. } => Scope::Run,
        Wish::Approve(_) | Wish::Reject(_) | Wish::RequestChanges(_) => Scope::Approve,
    }
}

/// What a job takes out of people's hands, as it was planned; nothing if it takes nothing.
fn removed_by_job(job: &CreateJob, rules: &HouseRules) -> Option<String> {
    if job.policy == Policy::Auto {
        return Some("The policy `auto` delivers diffs that nobody looked at.".to_owned());
    }
    if rules.pilot && !job.pilot {
        return Some("This server asks for a pilot, and the job goes without one.".to_owned());
    }
    if let Some(class) = job.allow.first() {
        return Some(format!("Diffs that touch `{class}` would not be held for a person."));
    }
    over_cap(each(&job.limits), rules)
}

/// Micro-dollars that each target may spend.
fn each(limits: &Limits) -> u64 {
    limits.job_budget_micros.map_or(limits.budget_micros, |shared| shared.min(limits.budget_micros))
}

fn over_cap(asked: u64, rules: &HouseRules) -> Option<String> {
    let cap = rules.max_budget_micros?;
    (asked > cap).then(|| {
        format!(
            "The budget is above this server's cap of {}.{:02} USD a repository.",
            cap / 1_000_000,
            cap % 1_000_000 / 10_000
        )
    })
}

/// Why `caller` may not have `wish`, whatever job it is about. What a job takes out of people's hands is
/// seen when it is planned, because a recipe may ask for it; new limits, when they are laid over those
/// that it has.
pub fn check(caller: &Caller, wish: &Wish) -> Result<(), Rejection> {
    let scope = scope_of(wish);
    match caller.scopes.allows(scope) {
        true => Ok(()),
        false => Err(lacks(scope, "That is more than this token may do.")),
    }
}

/// Why `caller` may not create this very job.
pub fn check_job(caller: &Caller, job: &CreateJob, rules: &HouseRules) -> Result<(), Rejection> {
    if !caller.scopes.allows(Scope::Run) {
        return Err(lacks(Scope::Run, "That is more than this token may do."));
    }
    check_removed(caller, removed_by_job(job, rules))
}

/// Why `caller` may not raise the limits of a job from `old` to `new`.
pub fn check_limits(
    caller: &Caller,
    old: &Limits,
    new: &Limits,
    rules: &HouseRules,
) -> Result<(), Rejection> {
    let is_raised = each(new) > each(old);
    check_removed(caller, over_cap(each(new), rules).filter(|_| is_raised))
}

fn check_removed(caller: &Caller, removed: Option<String>) -> Result<(), Rejection> {
    match removed {
        Some(reason) if !caller.scopes.allows(Scope::Approve) => {
            Err(lacks(Scope::Approve, &reason))
        }
        Some(_) | None => Ok(()),
    }
}

/// Two pairs of eyes: a diff is not approved by whoever asked for it, unless they own the server or its
/// owner allows it.
pub fn check_own(
    caller: &Caller,
    door: Door,
    job: (&str, Policy),
    rules: &HouseRules,
) -> Result<(), Rejection> {
    let (creator, policy) = job;
    // An assistant asks with its person's token, and says yes to itself sooner than its person would.
    if door == Door::Mcp && caller.actor == creator && policy != Policy::Auto {
        return Err(Rejection::new(
            RejectionCode::OwnJob,
            "The same token created the job, so an assistant may not approve its diffs for it.",
            "Ask your user to approve: on the command line, over GraphQL, or by another token. Only diffs of \
             jobs with the policy `auto` are an assistant's own to approve.",
        ));
    }
    if caller.scopes.allows(Scope::Admin) || rules.own_approval || caller.actor != creator {
        return Ok(());
    }
    Err(Rejection::new(
        RejectionCode::OwnJob,
        "This token created the job, so it may not approve its diffs.",
        "Ask somebody else to approve, or set `own_approval = true` in the server's config.toml.",
    ))
}

fn lacks(scope: Scope, why: &str) -> Rejection {
    let name = scope.name();
    Rejection::new(
        RejectionCode::Forbidden,
        format!("{why} It needs the scope `{name}`."),
        format!(
            "Use a token with the scope `{name}`; an admin makes one with `cody-batch token create --scope {name}`."
        ),
    )
}
