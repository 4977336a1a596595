//! The gate by a clock that stands still until everybody waits.

mod random;
mod server;

use cody_events::thread::CallClass;
use tokio::task::JoinSet;

use super::*;
use crate::claude::rate_limits::Limit;

const LONGEST_HOLD: Duration = Duration::from_secs(900);
const MODEL: &str = "claude-opus-5-5";
const OTHER: &str = "claude-haiku-5-5";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A prefix that no other test call has, so that none is the first of another.
fn alone(number: u8) -> Sha256 {
    Sha256([number; 32])
}

fn failure(class: CallClass, retry_after: Option<Duration>) -> CallError {
    CallError {
        class,
        status: None,
        retry_after,
        request_id: None,
        usage_seen: None,
        message: String::new(),
        rate_limits: RateLimits::default(),
        is_unsent: false,
        total_ms: 0,
    }
}

fn requests(limit: u64, remaining: u64, reset_after: Duration) -> RateLimits {
    RateLimits {
        requests: Limit {
            limit: Some(limit),
            remaining: Some(remaining),
            reset_after: Some(reset_after),
        },
        ..RateLimits::default()
    }
}

fn usage(input_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens: 1, ..Usage::default() }
}

/// Calls that may go on at once, each with a prefix of its own, until the gate keeps the next.
async fn fill(limiter: &Limiter, model: &str, first: u8) -> Vec<Admission> {
    let mut admitted = Vec::new();
    for number in first.. {
        let next = limiter.admit(model, alone(number));
        match tokio::time::timeout(Duration::from_millis(1), next).await {
            Ok(admission) => admitted.push(admission.unwrap()),
            Err(_) => break,
        }
    }
    admitted
}

/// A gate whose window has grown to `calls`.
async fn grown(calls: usize) -> Limiter {
    let limiter = Limiter::new(calls, LONGEST_HOLD);
    loop {
        let admitted = fill(&limiter, MODEL, 100).await;
        let is_full = admitted.len() == calls;
        admitted.into_iter().for_each(|call| call.succeeded(&usage(10)));
        if is_full {
            return limiter;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn few_calls_at_first_and_more_with_each_success() {
    let limiter = Limiter::new(5, LONGEST_HOLD);
    let mut windows = Vec::new();
    for _ in 0..4 {
        let admitted = fill(&limiter, MODEL, 0).await;
        windows.push(admitted.len());
        admitted.into_iter().for_each(|call| call.succeeded(&usage(10)));
    }
    assert_eq!(windows, [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_halves_the_window_once_and_it_grows_back_slowly() {
    let limiter = grown(8).await;
    let together = fill(&limiter, MODEL, 0).await;
    // All eight were sent before the first was refused: one lesson, not eight.
    for call in together {
        call.failed(&failure(CallClass::Overloaded, None));
    }
    let mut windows = Vec::new();
    for _ in 0..7 {
        let mut admitted = fill(&limiter, MODEL, 0).await;
        windows.push(admitted.len());
        admitted.pop().unwrap().succeeded(&usage(10));
    }
    assert_eq!(windows, [4, 4, 4, 4, 5, 5, 5]);
    let again = limiter.admit(MODEL, alone(0)).await.unwrap();
    again.failed(&failure(CallClass::RateLimited, Some(seconds(1))));
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(fill(&limiter, MODEL, 0).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_demanded_wait_holds_every_caller_of_the_model_for_exactly_that_long() {
    let limiter = grown(4).await;
    let start = Instant::now();
    let refused = limiter.admit(MODEL, alone(1)).await.unwrap();
    let meanwhile = limiter.admit(MODEL, alone(2)).await.unwrap();
    refused.failed(&failure(CallClass::RateLimited, Some(seconds(8))));
    // A later, shorter demand does not shorten the quiet.
    meanwhile.failed(&failure(CallClass::RateLimited, Some(seconds(3))));
    let other = limiter.admit(OTHER, alone(3)).await.unwrap();
    assert_eq!(start.elapsed(), seconds(0), "a limit of one model holds no other");
    let first = limiter.admit(MODEL, alone(4)).await.unwrap();
    assert_eq!(start.elapsed(), seconds(8));
    // A server in trouble is in trouble for all.
    other.failed(&failure(CallClass::ServerError, Some(seconds(5))));
    drop(first);
    drop(tokio::join!(limiter.admit(MODEL, alone(5)), limiter.admit(OTHER, alone(6))));
    assert_eq!(start.elapsed(), seconds(13));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_so_long_is_told_at_once() {
    let limiter = Limiter::new(4, LONGEST_HOLD);
    let refused = limiter.admit(MODEL, alone(1)).await.unwrap();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move {
            let held = limiter.admit(MODEL, alone(2)).await.unwrap();
            (limiter.admit(MODEL, alone(3)).await.map(drop), held)
        }
    });
    tokio::task::yield_now().await;
    refused.failed(&failure(CallClass::RateLimited, Some(seconds(901))));
    let told = limiter.admit(MODEL, alone(4)).await.map(drop);
    assert_eq!(told, Err(LongQuiet { left: seconds(901) }));
    let (told, held) = waiting.await.unwrap();
    drop(held);
    assert_eq!(told, Err(LongQuiet { left: seconds(901) }));
    tokio::time::sleep(seconds(1)).await;
    let start = Instant::now();
    limiter.admit(MODEL, alone(5)).await.unwrap();
    assert_eq!(start.elapsed(), seconds(900), "what is bearable is waited for");
}

#[tokio::test(start_paused = true)]
async fn the_last_request_of_a_limit_is_for_one_call() {
    let limiter = grown(8).await;
    let call = limiter.admit(MODEL, alone(1)).await.unwrap();
    let unheard = limiter.admit(MODEL, alone(2)).await.unwrap();
    // Two are left, and one of them may be for the call that has no answer yet.
    call.heard(&requests(50, 2, seconds(60)));
    let start = Instant::now();
    let last = limiter.admit(MODEL, alone(3)).await.unwrap();
    assert_eq!(start.elapsed(), seconds(30), "what is left is spread over the time");
    let next = limiter.admit(MODEL, alone(4)).await.unwrap();
    assert_eq!(start.elapsed(), seconds(60), "and nothing is left until the limit is full");
    drop((call, unheard, last, next));
}

#[tokio::test(start_paused = true)]
async fn tokens_count_in_calls_of_the_usual_size() {
    let limiter = grown(8).await;
    let call = limiter.admit(MODEL, alone(1)).await.unwrap();
    let input_tokens =
        Limit { limit: Some(100_000), remaining: Some(35), reset_after: Some(seconds(60)) };
    let limits = RateLimits { input_tokens, ..RateLimits::default() };
    // A usual call took 10 tokens, so three are left.
    call.heard(&limits);
    let start = Instant::now();
    let mut waits = Vec::new();
    for number in 2..6 {
        limiter.admit(MODEL, alone(number)).await.unwrap().began();
        waits.push(start.elapsed().as_secs());
    }
    assert_eq!(waits, [15, 30, 45, 60]);
    call.succeeded(&usage(10));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_spent_for_a_day_is_tried_again_after_the_longest_hold() {
    let limiter = Limiter::new(4, LONGEST_HOLD);
    limiter.admit(MODEL, alone(1)).await.unwrap().heard(&requests(50, 0, seconds(86_400)));
    let start = Instant::now();
    limiter.admit(MODEL, alone(2)).await.unwrap();
    assert_eq!(start.elapsed(), LONGEST_HOLD);
}

#[tokio::test(start_paused = true)]
async fn the_first_call_with_a_prefix_goes_alone_until_its_response_began() {
    let limiter = grown(8).await;
    let (shared, start) = (alone(1), Instant::now());
    let first = limiter.admit(MODEL, shared).await.unwrap();
    let mut others = JoinSet::new();
    for _ in 0..3 {
        let limiter = limiter.clone();
        others.spawn(async move { limiter.admit(MODEL, shared).await.unwrap() });
    }
    limiter.admit(MODEL, alone(2)).await.unwrap();
    tokio::time::sleep(seconds(7)).await;
    first.began();
    let others = others.join_all().await;
    assert_eq!(start.elapsed(), seconds(7));
    drop((first, others));
    // What the cache holds is read by whoever comes within its life.
    let pair = tokio::join!(limiter.admit(MODEL, shared), limiter.admit(MODEL, shared));
    assert_eq!(start.elapsed(), seconds(7));
    drop(pair);
    tokio::time::sleep(seconds(301)).await;
    let first = limiter.admit(MODEL, shared).await.unwrap();
    let second = limiter.admit(MODEL, shared);
    assert!(tokio::time::timeout(seconds(29), second).await.is_err(), "the cache is cold again");
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_first_call_that_fails_or_hangs_holds_nobody_for_long() {
    let limiter = grown(8).await;
    let shared = alone(1);
    let first = limiter.admit(MODEL, shared).await.unwrap();
    first.failed(&failure(CallClass::Dropped, None));
    let start = Instant::now();
    let hanging = limiter.admit(MODEL, shared).await.unwrap();
    assert_eq!(start.elapsed(), seconds(0));
    let others = tokio::join!(limiter.admit(MODEL, shared), limiter.admit(MODEL, shared));
    assert_eq!(start.elapsed(), LONGEST_LEAD);
    drop((hanging, others));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_no_gap_and_keeps_no_slot() {
    let limiter = Limiter::new(1, LONGEST_HOLD);
    let held = limiter.admit(MODEL, alone(1)).await.unwrap();
    let mut impatient = Box::pin(limiter.admit(MODEL, alone(2)));
    assert!(futures_util::future::poll_immediate(&mut impatient).await.is_none());
    // The slot falls to the one who waits, who never looks again.
    drop(held);
    drop(impatient);
    limiter.admit(MODEL, alone(3)).await.unwrap();
    assert!(!limiter.admit(MODEL, alone(4)).await.unwrap().has_waited());
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let limiter = Limiter::new(1, LONGEST_HOLD);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for number in 0..20u8 {
        let (limiter, order) = (limiter.clone(), Arc::clone(&order));
        callers.spawn(async move {
            let admission = limiter.admit(MODEL, alone(number)).await.unwrap();
            order.lock().unwrap().push(number);
            tokio::time::sleep(seconds(1)).await;
            drop(admission);
        });
        tokio::task::yield_now().await;
    }
    callers.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<u8>>());
}
