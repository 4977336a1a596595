//! Random callers with random fates: what must hold whatever happens.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// What one caller of the property does.
#[derive(Debug, Clone)]
struct Caller {
    model: bool,
    prefix: u8,
    joins_ms: u64,
    lasts_ms: u64,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Good,
    /// Given up while waiting or under way, this long after joining.
    Dropped(u64),
    Refused(u64),
    Overloaded,
    Troubled(u64),
    /// A good end whose headers leave so many requests.
    Reported(u64),
}

fn caller() -> impl Strategy<Value = Caller> {
    let end = prop_oneof![
        4 => Just(End::Good),
        1 => (0..5_000u64).prop_map(End::Dropped),
        1 => (0..20u64).prop_map(End::Refused),
        1 => Just(End::Overloaded),
        1 => (0..20u64).prop_map(End::Troubled),
        2 => (0..12u64).prop_map(End::Reported),
    ];
    (any::<bool>(), 0..3u8, 0..3_000u64, 0..40_000u64, end).prop_map(
        |(model, prefix, joins_ms, lasts_ms, end)| Caller {
            model,
            prefix,
            joins_ms,
            lasts_ms,
            end,
        },
    )
}

/// Plays the callers; gives how many were served, and the most that were under way at once.
async fn play(callers: Vec<Caller>, calls: usize) -> (usize, usize) {
    let limiter = Limiter::new(calls, LONGEST_HOLD);
    // Since when, and until when.
    let quiet = Arc::new(Mutex::new([(Instant::now(), Instant::now()); 2]));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut playing = JoinSet::new();
    for caller in callers {
        let (limiter, quiet) = (limiter.clone(), Arc::clone(&quiet));
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        playing.spawn(async move {
            tokio::time::sleep(Duration::from_millis(caller.joins_ms)).await;
            let model = if caller.model { MODEL } else { OTHER };
            let call = async {
                let admission = limiter.admit(model, alone(caller.prefix)).await.unwrap();
                let (since, until) = quiet.lock().unwrap()[usize::from(caller.model)];
                // Whoever was let go in the very moment in which quiet was demanded could not know.
                assert!(Instant::now() >= until || Instant::now() == since);
                struct Gone(Arc<AtomicUsize>);
                impl Drop for Gone {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                let _gone = Gone(Arc::clone(&now));
                tokio::time::sleep(Duration::from_millis(caller.lasts_ms)).await;
                let hold = |which: &[usize], wait: u64| {
                    let (since, mut quiet) = (Instant::now(), quiet.lock().unwrap());
                    for which in which {
                        if since + seconds(wait) > quiet[*which].1 {
                            quiet[*which] = (since, since + seconds(wait));
                        }
                    }
                };
                match caller.end {
                    End::Good | End::Dropped(_) => admission.succeeded(&usage(10)),
                    End::Reported(left) => {
                        admission.heard(&requests(50, left, seconds(30)));
                        admission.succeeded(&usage(10));
                    }
                    End::Overloaded => admission.failed(&failure(CallClass::Overloaded, None)),
                    End::Refused(wait) => {
                        hold(&[usize::from(caller.model)], wait);
                        let error = failure(CallClass::RateLimited, Some(seconds(wait)));
                        admission.failed(&error);
                    }
                    End::Troubled(wait) => {
                        hold(&[0, 1], wait);
                        let error = failure(CallClass::ServerError, Some(seconds(wait)));
                        admission.failed(&error);
                    }
                }
            };
            match caller.end {
                End::Dropped(after) => {
                    let _ = tokio::time::timeout(Duration::from_millis(after), call).await;
                }
                _ => call.await,
            }
        });
    }
    let count = playing.len();
    let all = tokio::time::timeout(seconds(86_400), playing.join_all()).await;
    assert!(all.is_ok(), "somebody waits for ever");
    (count, most.load(Ordering::SeqCst))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("CODY_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(200),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_more_than_allowed_never_in_the_quiet_and_everybody_is_served(
        callers in prop::collection::vec(caller(), 1..40),
        calls in 1..9usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let expected = callers.len();
        let (served, most) = runtime.block_on(play(callers, calls));
        prop_assert_eq!(served, expected);
        prop_assert!(most <= calls, "{} at once, {} allowed", most, calls);
    }
}
