//! What one call may ask for: `max_tokens` and the reservation, from prices and what is left.

use crate::claude::models::Offer;
use crate::job::state::{Job, Target, Thread};

/// Tokens that a bound on the next request's input leaves for the frame around its messages.
const FRAME_TOKENS: u64 = 64;

/// What the budget says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Go ahead, with this much.
    Call { max_tokens: u32, reserved_micros: u64 },
    /// Go ahead, once, and say that it is the last.
    LastCall { max_tokens: u32, reserved_micros: u64 },
    /// Calls of other targets hold what is left; ask again when one is answered.
    Wait,
    /// Nothing is left.
    Spent,
}

/// What a call with at most `input_tokens` may ask for. A response that was cut off is asked for
/// again with twice the room.
pub fn ask(
    job: &Job,
    target: &Target,
    thread: &Thread,
    offer: &Offer<'_>,
    input_tokens: u64,
) -> Ask {
    let mut wanted = offer.model.first_max_tokens();
    for _ in 0..thread.truncations {
        wanted = offer.model.raised_max_tokens(wanted).unwrap_or(wanted);
    }
    let left = job.remaining_micros(target);
    let worst = |max_tokens| offer.price.worst_micros(input_tokens, max_tokens);
    if worst(wanted) <= left {
        return Ask::Call { max_tokens: wanted, reserved_micros: worst(wanted) };
    }
    if job.others_hold_permits(target.number) {
        return Ask::Wait;
    }
    let floor = offer.floor_tokens();
    match offer.price.affordable_tokens(input_tokens, wanted, left) {
        Some(max_tokens) if max_tokens >= floor => {
            Ask::Call { max_tokens, reserved_micros: worst(max_tokens) }
        }
        _ if !job.allows_last_call(target, worst(floor)) => Ask::Spent,
        _ => Ask::LastCall { max_tokens: floor, reserved_micros: worst(floor) },
    }
}

/// A bound on the input of the next request of a thread: what its history counted at the latest
/// response, and at worst a token for each byte since. Before the first response, the whole body.
pub fn input_bound(thread: &Thread, fresh_bytes: u64, whole_bytes_bound: u64) -> u64 {
    match thread.context_tokens {
        0 => whole_bytes_bound,
        counted => counted
            .saturating_add(fresh_bytes)
            .saturating_add(FRAME_TOKENS)
            .min(whole_bytes_bound.max(counted)),
    }
}
