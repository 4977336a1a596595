//! What a caller has to be allowed for each wish: one list, whatever the door.

use cody_events::job::Policy;
use cody_events::system::Scope;

use super::access::Caller;
use super::control::Wish;
use crate::job::{Rejection, RejectionCode};
use crate::plan::{JobRequest, LimitsRequest};

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

/// Why `caller` needs the scope `approve` as well: what the wish takes out of people's hands, in words;
/// nothing if it takes nothing.
pub fn removes_human(wish: &Wish, rules: &HouseRules) -> Option<String> {
    match wish {
        Wish::Create { request, .. } => removed_by_request(request, rules),
        Wish::Resume { limits, .. } | Wish::Retry { limits, .. } => over_cap(limits, rules),
        Wish::Pause { .. }
        | Wish::Cancel { .. }
        | Wish::Archive { .. }
        | Wish::Attend { .. }
        | Wish::Approve(_)
        | Wish::Reject(_)
        | Wish::RequestChanges(_) => None,
    }
}

fn removed_by_request(request: &JobRequest, rules: &HouseRules) -> Option<String> {
    if request.policy == Some(Policy::Auto) {
        return Some("The policy `auto` delivers diffs that nobody looked at.".to_owned());
    }
    if rules.pilot && request.pilot == Some(false) {
        return Some("This server asks for a pilot, and the job goes without one.".to_owned());
    }
    if let Some(class) = request.allow.first() {
        return Some(format!("Diffs that touch `{class}` would not be held for a person."));
    }
    over_cap(&request.limits(), rules)
}

fn over_cap(limits: &LimitsRequest, rules: &HouseRules) -> Option<String> {
    let cap = rules.max_budget_micros?;
    let asked = limits.budget_usd.as_deref().and_then(crate::config::micros)?;
    (asked > cap).then(|| {
        format!(
            "The budget is above this server's cap of {}.{:02} USD a repository.",
            cap / 1_000_000,
            cap % 1_000_000 / 10_000
        )
    })
}

/// Why `caller` may not have `wish`, whoever created the job that it is about.
pub fn check(caller: &Caller, wish: &Wish, rules: &HouseRules) -> Result<(), Rejection> {
    let scope = scope_of(wish);
    if !caller.scopes.allows(scope) {
        return Err(lacks(scope, "That is more than this token may do."));
    }
    if let Some(reason) = removes_human(wish, rules)
        && !caller.scopes.allows(Scope::Approve)
    {
        return Err(lacks(Scope::Approve, &reason));
    }
    Ok(())
}

/// Two pairs of eyes: a diff is not approved by whoever asked for it, unless they own the server or its
/// owner allows it.
pub fn check_own(caller: &Caller, creator: &str, rules: &HouseRules) -> Result<(), Rejection> {
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
    let name = name_of(scope);
    Rejection::new(
        RejectionCode::Forbidden,
        format!("{why} It needs the scope `{name}`."),
        format!(
            "Use a token with the scope `{name}`; an admin makes one with `cody-batch token create --scope {name}`."
        ),
    )
}

/// The scope's name on the wire.
pub fn name_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Run => "run",
        Scope::Approve => "approve",
        Scope::Admin => "admin",
    }
}
