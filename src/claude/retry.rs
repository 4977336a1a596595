//! The one table that says what follows a failed call. Pure: chance and time are the caller's.

use std::time::Duration;

use cody_events::thread::CallClass;

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryStep {
    /// Ask for a new permit and send the same request again, after this wait.
    After(Duration),
    /// The thread cannot go on: start a new one.
    NewThread,
    /// Nothing that this program may do would help.
    GiveUp { why: GiveUp },
}

/// Why no further call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GiveUp {
    #[error(
        "the provider refuses this request whatever is tried; see the recorded call for its words"
    )]
    Refused,
    #[error(
        "the key or its account is not allowed to call; correct the key, its permissions or its billing, then retry the target"
    )]
    Account,
    #[error(
        "the account's own spending limit is reached; raise it at the provider, then retry the target"
    )]
    SpendCap,
    #[error(
        "the conversation no longer fits the model's context; narrow the job, or choose a model with more"
    )]
    Context,
    #[error("the provider failed again and again; retry the target later")]
    Exhausted,
    #[error("the provider demands a longer wait than {} minutes; retry the target later", LONGEST_WAIT.as_secs() / 60)]
    LongWait,
}

/// A demanded wait beyond this ends the attempt instead of holding it open.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// How a class of failures is repeated: the first wait, its most after doubling, and how many
/// failures in a row end it.
struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

enum Remedy {
    Repeat(Backoff),
    NewThread,
    GiveUp(GiveUp),
}

const fn repeat(first_ms: u64, most_ms: u64, failures: u32) -> Remedy {
    Remedy::Repeat(Backoff {
        first: Duration::from_millis(first_ms),
        most: Duration::from_millis(most_ms),
        failures,
    })
}

const fn remedy(class: CallClass) -> Remedy {
    match class {
        CallClass::Overloaded => repeat(2_000, 120_000, 12),
        CallClass::RateLimited => repeat(2_000, 120_000, 20),
        CallClass::ServerError => repeat(1_000, 60_000, 8),
        CallClass::Timeout | CallClass::Idle | CallClass::Dropped | CallClass::Truncated => {
            repeat(500, 30_000, 6)
        }
        CallClass::Conflict => repeat(1_000, 10_000, 4),
        // A garbled answer may be a proxy's hiccup, but more often it is a proxy's nature.
        CallClass::Malformed => repeat(1_000, 10_000, 3),
        CallClass::Orphaned => repeat(0, 0, 5),
        CallClass::BoundElsewhere | CallClass::ModelGone => Remedy::NewThread,
        CallClass::SpendCap => Remedy::GiveUp(GiveUp::SpendCap),
        CallClass::ContextExceeded => Remedy::GiveUp(GiveUp::Context),
        CallClass::Authentication | CallClass::Billing | CallClass::Permission => {
            Remedy::GiveUp(GiveUp::Account)
        }
        CallClass::BadRequest | CallClass::TooLarge | CallClass::NotFound => {
            Remedy::GiveUp(GiveUp::Refused)
        }
    }
}

/// What follows the `failures`th failure in a row (from 1) of the same request.
///
/// A demanded wait is obeyed exactly. Otherwise the wait doubles with each failure and is spread
/// over its upper quarter by `jitter`, a number from 0 to below 1.
pub fn next_step(
    class: CallClass,
    failures: u32,
    retry_after: Option<Duration>,
    jitter: f64,
) -> RetryStep {
    let backoff = match remedy(class) {
        Remedy::Repeat(backoff) => backoff,
        Remedy::NewThread if failures <= 1 => return RetryStep::NewThread,
        Remedy::NewThread => return RetryStep::GiveUp { why: GiveUp::Refused },
        Remedy::GiveUp(why) => return RetryStep::GiveUp { why },
    };
    if failures >= backoff.failures {
        return RetryStep::GiveUp { why: GiveUp::Exhausted };
    }
    if let Some(wait) = retry_after {
        return if wait > LONGEST_WAIT {
            RetryStep::GiveUp { why: GiveUp::LongWait }
        } else {
            RetryStep::After(wait)
        };
    }
    let doublings = failures.saturating_sub(1).min(16);
    let wait = backoff.first.saturating_mul(1 << doublings).min(backoff.most);
    let spread = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    // Each wait is longer than the one before, however chance falls.
    RetryStep::After(wait.mul_f64(0.75 + spread / 4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [CallClass; 21] = [
        CallClass::Overloaded,
        CallClass::RateLimited,
        CallClass::SpendCap,
        CallClass::ServerError,
        CallClass::Timeout,
        CallClass::Idle,
        CallClass::Dropped,
        CallClass::Truncated,
        CallClass::BadRequest,
        CallClass::BoundElsewhere,
        CallClass::ContextExceeded,
        CallClass::TooLarge,
        CallClass::Authentication,
        CallClass::Billing,
        CallClass::Permission,
        CallClass::ModelGone,
        CallClass::NotFound,
        CallClass::Conflict,
        CallClass::Malformed,
        CallClass::Orphaned,
        CallClass::Overloaded,
    ];

    #[test]
    fn the_first_failure_of_each_class() {
        use CallClass::*;
        let after = |ms| RetryStep::After(Duration::from_millis(ms));
        let give_up = |why| RetryStep::GiveUp { why };
        for (class, expected) in [
            (Overloaded, after(1_500)),
            (RateLimited, after(1_500)),
            (SpendCap, give_up(GiveUp::SpendCap)),
            (ServerError, after(750)),
            (Timeout, after(375)),
            (Idle, after(375)),
            (Dropped, after(375)),
            (Truncated, after(375)),
            (BadRequest, give_up(GiveUp::Refused)),
            (BoundElsewhere, RetryStep::NewThread),
            (ContextExceeded, give_up(GiveUp::Context)),
            (TooLarge, give_up(GiveUp::Refused)),
            (Authentication, give_up(GiveUp::Account)),
            (Billing, give_up(GiveUp::Account)),
            (Permission, give_up(GiveUp::Account)),
            (ModelGone, RetryStep::NewThread),
            (NotFound, give_up(GiveUp::Refused)),
            (Conflict, after(750)),
            (Malformed, after(750)),
            (Orphaned, after(0)),
        ] {
            assert_eq!(next_step(class, 1, None, 0.0), expected, "{class:?}");
        }
    }

    #[test]
    fn a_demanded_wait_is_obeyed_to_the_millisecond() {
        let wait = Duration::from_millis(8_250);
        assert_eq!(next_step(CallClass::RateLimited, 3, Some(wait), 0.9), RetryStep::After(wait));
        assert_eq!(
            next_step(CallClass::RateLimited, 1, Some(Duration::from_secs(3_600)), 0.0),
            RetryStep::GiveUp { why: GiveUp::LongWait }
        );
        assert_eq!(
            next_step(CallClass::BadRequest, 1, Some(wait), 0.0),
            RetryStep::GiveUp { why: GiveUp::Refused }
        );
    }

    #[test]
    fn waits_double_to_their_most_and_are_spread_over_the_upper_quarter() {
        let wait = |failures, jitter| match next_step(CallClass::Overloaded, failures, None, jitter)
        {
            RetryStep::After(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!((wait(1, 0.0), wait(1, 0.5), wait(2, 0.0)), (1_500, 1_750, 3_000));
        assert_eq!(wait(11, 0.0), 90_000);
        assert_eq!(wait(11, f64::NAN), 90_000);
    }

    #[test]
    fn every_class_ends_in_a_bounded_number_of_calls() {
        for class in CLASSES {
            let last = next_step(class, 20, Some(Duration::ZERO), 0.0);
            assert!(matches!(last, RetryStep::GiveUp { .. }), "{class:?}: {last:?}");
        }
    }
}
