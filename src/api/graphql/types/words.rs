//! The closed lists of words, as GraphQL spells them.

use async_graphql::Enum;

/// Where a job stands; derived from its targets.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::status::JobStatus")]
pub enum JobStatus {
    /// No work has begun.
    Queued,
    /// Some target is at work, or about to be.
    Running,
    /// What is unfinished rests.
    Paused,
    /// A person has to look at a diff before it goes on.
    AwaitingReview,
    /// Every target got what the prompt asked for.
    Succeeded,
    /// Some targets did, some did not.
    PartlyFailed,
    /// No target did.
    Failed,
    /// A person ended it.
    Cancelled,
}

/// A target on the axis of work.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::status::TargetStatus")]
pub enum TargetStatus {
    /// No worker is at it.
    Waiting,
    /// A worker holds it.
    Running,
    /// It, or its job, rests.
    Paused,
    /// Its latest round ended.
    Finished,
}

/// How a round of a target ended.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::outcome::Outcome")]
pub enum Outcome {
    /// There is a diff, and checks and review do not object.
    DiffReady,
    /// What the prompt asks for was there before.
    AlreadyCompliant,
    /// The prompt does not concern this repository.
    NotApplicable,
    /// The checks still fail after the last repair.
    FailedChecks,
    /// The independent review still objects after the last repair.
    Objected,
    /// Claude declined.
    Refused,
    /// A limit was reached.
    BudgetStopped,
    /// The work led nowhere.
    Stuck,
    /// Something broke that no retry of ours mends.
    Failed,
    /// A person ended the job.
    Cancelled,
}

/// A target on the axis of delivery.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::status::Delivery")]
pub enum Delivery {
    /// Nothing is delivered, or there is no place to push to.
    None,
    /// A person has to approve the diff.
    AwaitingApproval,
    /// Something about the diff has to be looked at by a person.
    Held,
    /// A person said no.
    Rejected,
    /// Approved, and on its way.
    Pushing,
    /// The pull request is open.
    Open,
    /// The pull request was merged.
    Merged,
    /// The pull request was closed without a merge.
    Closed,
    /// It could not be delivered.
    Failed,
}

/// What becomes of an accepted diff.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::job::Policy")]
pub enum Policy {
    /// A person approves each diff.
    Review,
    /// A diff that passed everything is delivered without a person.
    Auto,
    /// The patch is the end.
    PatchOnly,
}

/// How hard Claude thinks.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::job::Effort")]
pub enum Effort {
    /// The least: quick and cheap.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Very much; not every model can.
    Xhigh,
    /// As much as the model can; not every model can.
    Max,
}

/// A class of changes that a diff is held for, unless its job allows the class.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::policy::PathClass")]
pub enum PathClass {
    /// What makes code run by itself, or decides who reviews and where packages come from.
    Workflows,
    /// Lock files of package managers.
    Lockfiles,
    /// Contents that nobody can read in a diff.
    Binaries,
    /// Files, or numbers of files, that nobody reads.
    LargeChanges,
    /// Tests that are gone, emptied or skipped.
    DeletedTests,
    /// Symbolic links that lead out of the repository.
    OutwardLinks,
}

/// Where a repository lives.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::job::TargetKind")]
pub enum TargetKind {
    /// On GitHub, named `owner/name`.
    Github,
    /// At an https URL.
    Url,
    /// On the server's own disk.
    Local,
}

/// The way by which a wish came in.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::envelope::Door")]
pub enum Door {
    /// The command line.
    Cli,
    /// This API.
    Graphql,
    /// An assistant, by the Model Context Protocol.
    Mcp,
    /// The server's own pages.
    Web,
    /// A worker's report.
    Worker,
    /// A message of a repository's host.
    Webhook,
    /// The server itself: its dispatcher, converser, watchdog, deliverer.
    Server,
}

/// What a conversation is for.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::thread::Purpose")]
pub enum ThreadPurpose {
    /// It makes the change.
    Change,
    /// It judges the change, independently.
    Review,
    /// It goes on with the change where an earlier one cannot.
    Fresh,
}

/// What was said of a diff last.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_projections::diffs::Judgement")]
pub enum Judgement {
    /// It may be delivered.
    Approved,
    /// It is refused for good.
    Rejected,
    /// It was sent back, with a comment for Claude.
    ChangesRequested,
    /// A person has to look at something about it.
    Held,
}

/// Who made something happen.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::job::By")]
pub enum By {
    /// Somebody, by a token or at the server's own command line.
    Person,
    /// A limit that was reached.
    Budget,
    /// The job's policy.
    Policy,
    /// A rule of the server.
    Server,
}

/// What became of a file.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::diff::FileChange")]
pub enum FileChange {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
    /// Its kind or its executable bit changed.
    ModeChanged,
}

/// What a message of a conversation is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_projections::threads::MessageKind")]
pub enum MessageKind {
    /// Claude's response.
    Response,
    /// What tools answered.
    Results,
    /// What the harness added before a call.
    Notice,
    /// What checks, the review or a person answered to a claim of being done.
    Judgement,
}

/// What a token may do.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "cody_events::system::Scope")]
pub enum Scope {
    /// Read jobs and what belongs to them.
    Read,
    /// Create jobs, and pause, resume, cancel, retry and archive them.
    Run,
    /// Approve, reject and send back diffs, and take people out of the loop.
    Approve,
    /// All of it, and tokens.
    Admin,
}
