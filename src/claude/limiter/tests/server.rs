//! Servers with limits, of the two kinds there are, and many callers: none should ever be refused.

use super::*;

/// A server with a limit of requests: a bucket that fills all the time, or windows of a minute.
struct Limited {
    limit: u64,
    is_bucket: bool,
    left: f64,
    seen_at: Instant,
    refusals: usize,
}

impl Limited {
    fn answer(&mut self) -> (RateLimits, bool) {
        #[expect(clippy::cast_precision_loss, reason = "a limit is a small number")]
        let limit = self.limit as f64;
        let elapsed = self.seen_at.elapsed().as_secs_f64();
        if self.is_bucket {
            self.left = (self.left + elapsed * limit / 60.0).min(limit);
            self.seen_at = Instant::now();
        } else if elapsed >= 60.0 {
            (self.left, self.seen_at) = (limit, Instant::now());
        }
        let is_good = self.left >= 1.0;
        self.left -= f64::from(u8::from(is_good));
        self.refusals += usize::from(!is_good);
        let reset = match self.is_bucket {
            true => (limit - self.left) * 60.0 / limit,
            false => 60.0 - self.seen_at.elapsed().as_secs_f64(),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floor")]
        let remaining = self.left as u64;
        (requests(self.limit, remaining, Duration::from_secs_f64(reset)), is_good)
    }
}

/// Eight callers with forty calls each, against a limit far below what they could use.
async fn against(limit: u64, is_bucket: bool) -> (usize, Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a limit is a small number")]
    let left = limit as f64;
    let seen_at = Instant::now();
    let server = Limited { limit, is_bucket, left, seen_at, refusals: 0 };
    let server = Arc::new(Mutex::new(server));
    let (limiter, start) = (Limiter::new(8, LONGEST_HOLD), Instant::now());
    let mut callers = JoinSet::new();
    for caller in 0..8u8 {
        let (limiter, server) = (limiter.clone(), Arc::clone(&server));
        callers.spawn(async move {
            let mut done = 0;
            while done < 40 {
                let admission = limiter.admit(MODEL, alone(caller)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(40)).await;
                let (limits, is_good) = server.lock().unwrap().answer();
                admission.heard(&limits);
                if !is_good {
                    admission.failed(&failure(CallClass::RateLimited, Some(seconds(2))));
                    continue;
                }
                admission.began();
                tokio::time::sleep(Duration::from_millis(300)).await;
                admission.succeeded(&usage(10));
                done += 1;
            }
        });
    }
    callers.join_all().await;
    let refusals = server.lock().unwrap().refusals;
    (refusals, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_server_with_limits_never_has_to_refuse_and_is_used_well() {
    println!("requests a minute, filled, refusals, time for 320 calls, least possible");
    for (limit, is_bucket) in [(50, true), (50, false), (100, true), (1_000, true), (1_000, false)]
    {
        let (refusals, elapsed) = against(limit, is_bucket).await;
        // What it starts with is free, the rest comes at the limit's pace, or after whole minutes.
        let beyond = 320u64.saturating_sub(limit);
        let least = match is_bucket {
            true => seconds(beyond * 60 / limit),
            false => seconds(beyond.div_ceil(limit) * 60),
        }
        .max(seconds(14));
        println!("{limit:>5} {is_bucket:>6} {refusals:>3} {elapsed:>8.1?} {least:>8.1?}");
        assert_eq!(refusals, 0, "{limit} a minute, bucket: {is_bucket}");
        assert!(elapsed < least.mul_f64(1.5) + seconds(10), "{elapsed:?} for {least:?}");
    }
}
