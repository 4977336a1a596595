//! Given, when, then: the frame that every test of a rule stands in.

use cody_events::event::{Draft, Event};
use cody_events::ids::TargetNumber;

use crate::job::{Command, Decision, JobState, NextStep, RejectionCode, decide, next_step};

/// A job with this history.
#[derive(Debug, Clone)]
pub struct Given {
    pub state: JobState,
}

/// A job with these events.
pub fn given(events: impl IntoIterator<Item = Event>) -> Given {
    Given { state: JobState::default() }.and(events)
}

impl Given {
    /// The same job after these events.
    pub fn and(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        for event in events {
            self.state.evolve(&event);
        }
        self
    }

    /// Wishes something.
    pub fn when(self, command: Command) -> When {
        let decision = decide(&self.state, &command);
        When { given: self, decision }
    }

    /// Asserts what is to be done next for a target.
    #[track_caller]
    pub fn next_step(self, target: u32, expected: NextStep) -> Self {
        assert_eq!(next_step(&self.state, TargetNumber(target)), expected);
        self
    }
}

/// A wish that was decided.
#[derive(Debug)]
pub struct When {
    given: Given,
    decision: Decision,
}

impl When {
    /// Asserts that exactly these events happen, and goes on from them.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = Event>) -> Given {
        let expected: Vec<Event> = expected.into_iter().collect();
        let happened: Vec<Event> = self.drafts().into_iter().map(|draft| draft.event).collect();
        assert_eq!(happened, expected);
        self.given.and(expected)
    }

    /// Asserts that something happens, and goes on from it.
    #[track_caller]
    pub fn accepted(self) -> Given {
        let happened: Vec<Event> = self.drafts().into_iter().map(|draft| draft.event).collect();
        self.given.and(happened)
    }

    /// The events with their payloads.
    #[track_caller]
    pub fn drafts(&self) -> Vec<Draft> {
        match &self.decision {
            Decision::Events(drafts) => drafts.clone(),
            other => panic!("expected events, got {other:?}"),
        }
    }

    /// Asserts a no with this code, and words for a person.
    #[track_caller]
    pub fn rejected(self, code: RejectionCode) -> Given {
        match &self.decision {
            Decision::Rejected(rejection) => {
                assert_eq!(rejection.code, code, "{rejection}");
                for words in [&rejection.message, &rejection.next_step] {
                    assert!(words.ends_with('.') && words.len() > 8, "no sentence: {words:?}");
                }
            }
            other => panic!("expected the no {code}, got {other:?}"),
        }
        self.given
    }

    /// Asserts that it has happened before.
    #[track_caller]
    pub fn already_recorded(self) -> Given {
        assert_eq!(self.decision, Decision::AlreadyRecorded);
        self.given
    }
}
