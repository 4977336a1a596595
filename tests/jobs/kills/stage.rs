//! Where a job stood when somebody was killed, as its log tells it.

use std::collections::BTreeMap;

use cody_batch::app::Told;
use cody_events::event::Event;
use cody_events::evidence::CheckPhase;
use cody_events::thread::Purpose;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    Worker,
    Server,
}

/// Where a job stands, in the order of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The base is being fetched.
    Created,
    /// A worker starts.
    Requested,
    /// The base is scanned.
    Claimed,
    /// The baseline's checks run.
    Scanned,
    /// The conversation is opened.
    Baseline,
    /// The first call is about to be made.
    Threaded,
    /// A call is in flight.
    Permitted,
    /// Its tools run.
    Answered,
    /// The next call is about to be made.
    ToolsRan,
    /// Checks run on what is claimed.
    FinishClaimed,
    /// The review is opened.
    Checked,
    /// The review's call is about to be made, or in flight.
    Reviewing,
    /// Its verdict is read.
    ReviewAnswered,
    /// The diff is made.
    Reviewed,
    /// An attempt ended, and the next is asked for.
    AttemptEnded,
    /// A call failed or was an orphan, and is made again.
    CallFailed,
}

impl Stage {
    pub const ALL: [Self; 16] = [
        Self::Created,
        Self::Requested,
        Self::Claimed,
        Self::Scanned,
        Self::Baseline,
        Self::Threaded,
        Self::Permitted,
        Self::Answered,
        Self::ToolsRan,
        Self::FinishClaimed,
        Self::Checked,
        Self::Reviewing,
        Self::ReviewAnswered,
        Self::Reviewed,
        Self::AttemptEnded,
        Self::CallFailed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created: the base is fetched",
            Self::Requested => "requested: the worker starts",
            Self::Claimed => "claimed: the base is scanned",
            Self::Scanned => "scanned: the baseline's checks run",
            Self::Baseline => "baseline known: the thread is opened",
            Self::Threaded => "thread open: the first call is prepared",
            Self::Permitted => "permitted: the call is in flight",
            Self::Answered => "answered: the tools run",
            Self::ToolsRan => "tools ran: the next call is prepared",
            Self::FinishClaimed => "finish claimed: the checks run",
            Self::Checked => "checked: the review is opened",
            Self::Reviewing => "review open: its call is in flight",
            Self::ReviewAnswered => "review answered: the verdict is read",
            Self::Reviewed => "reviewed: the diff is made",
            Self::AttemptEnded => "attempt ended: the next is asked for",
            Self::CallFailed => "call failed: it is made again",
        }
    }

    /// Where the job of `told` stands; nothing if it is over or not there.
    pub fn of(told: &[Told]) -> Option<Self> {
        let mut review = None;
        let mut stage = None;
        for told in told {
            stage = match &told.event {
                Event::Created(_) => Some(Self::Created),
                Event::AttemptRequested(_) => Some(Self::Requested),
                Event::AttemptStarted(_) => Some(Self::Claimed),
                Event::RepoScanned(_) => Some(Self::Scanned),
                Event::ChecksRan(e) if e.phase == CheckPhase::Baseline => Some(Self::Baseline),
                Event::ChecksRan(e) if e.answers_finish => Some(Self::ToolsRan),
                Event::ChecksRan(_) => Some(Self::Checked),
                Event::ThreadStarted(e) if e.purpose == Purpose::Review => {
                    review = Some(e.thread);
                    Some(Self::Reviewing)
                }
                Event::ThreadStarted(_) => Some(Self::Threaded),
                Event::CallPermitted(e) if Some(e.thread) == review => Some(Self::Reviewing),
                Event::CallPermitted(_) => Some(Self::Permitted),
                Event::ClaudeTurn(e) if Some(e.thread) == review => Some(Self::ReviewAnswered),
                Event::ClaudeTurn(_) => Some(Self::Answered),
                Event::CallFailed(_) => Some(Self::CallFailed),
                Event::ToolsRan(e) if e.finish.is_some() => Some(Self::FinishClaimed),
                Event::ToolsRan(_) => Some(Self::ToolsRan),
                Event::DiffReviewed(_) => Some(Self::Reviewed),
                Event::AttemptEnded(_) => Some(Self::AttemptEnded),
                Event::TargetFinished(_) | Event::Finished(_) => return None,
                _ => stage,
            };
        }
        stage
    }
}

/// How often who was killed where.
#[derive(Debug, Default)]
pub struct Histogram(BTreeMap<(Stage, Victim), usize>);

impl Histogram {
    pub fn add(&mut self, stage: Stage, victim: Victim) {
        *self.0.entry((stage, victim)).or_default() += 1;
    }

    pub fn at(&self, stage: Stage) -> usize {
        [Victim::Worker, Victim::Server].iter().map(|victim| self.of(stage, *victim)).sum()
    }

    fn of(&self, stage: Stage, victim: Victim) -> usize {
        self.0.get(&(stage, victim)).copied().unwrap_or_default()
    }

    pub fn kills(&self) -> usize {
        self.0.values().sum()
    }

    /// The stage that was met least of all.
    pub fn rarest(&self) -> Stage {
        Stage::ALL.into_iter().min_by_key(|stage| self.at(*stage)).unwrap()
    }

    pub fn print(&self) {
        println!("{:<44} {:>7} {:>7}", "stage", "worker", "server");
        for stage in Stage::ALL {
            println!(
                "{:<44} {:>7} {:>7}",
                stage.name(),
                self.of(stage, Victim::Worker),
                self.of(stage, Victim::Server)
            );
        }
    }
}
