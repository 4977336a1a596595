//! How fast calls of one model may follow one another: a window of calls at once that grows while
//! all is well, and what the server says is left of its limits. Tells no time and holds no queue.

use std::time::Duration;

use cody_events::thread::Usage;
use tokio::time::Instant;

use crate::claude::rate_limits::{Limit, RateLimits};

/// So many calls at once to begin with: a server refuses those who come all of a sudden.
const FIRST_WINDOW: usize = 2;

/// When the next call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Now,
    /// Not before this moment; news may bring it forward.
    At(Instant),
    /// When a call under way has ended.
    AfterAnother,
}

/// The pace of one model.
#[derive(Debug)]
pub(super) struct Pace {
    window: usize,
    most: usize,
    /// Good calls since the window last grew, once it had to shrink.
    earned: usize,
    was_refused: bool,
    /// Calls that started before this one knew nothing of the last refusal.
    shrunk_before: u64,
    quiet_until: Option<Instant>,
    last_start: Option<Instant>,
    requests: Gauge,
    tokens: Gauge,
    input_tokens: Gauge,
    output_tokens: Gauge,
}

impl Pace {
    /// A pace of at most `most` calls at once.
    pub fn new(most: usize) -> Self {
        Self {
            window: FIRST_WINDOW.min(most),
            most,
            earned: 0,
            was_refused: false,
            shrunk_before: 0,
            quiet_until: None,
            last_start: None,
            requests: Gauge { of_a_call: 1, report: None },
            tokens: Gauge::default(),
            input_tokens: Gauge::default(),
            output_tokens: Gauge::default(),
        }
    }

    /// Whether a call may start while `under_way` of this model are.
    pub fn ready(&self, now: Instant, under_way: usize) -> Ready {
        if under_way >= self.window {
            return Ready::AfterAnother;
        }
        let gauges = [&self.requests, &self.tokens, &self.input_tokens, &self.output_tokens];
        let waits = gauges
            .into_iter()
            .filter_map(|gauge| gauge.left(now)?.next_start(self.last_start, self.window));
        match waits.chain(self.quiet_until).max().filter(|until| *until > now) {
            Some(until) => Ready::At(until),
            None => Ready::Now,
        }
    }

    /// How long the server still wants quiet.
    pub fn quiet(&self, now: Instant) -> Option<Duration> {
        self.quiet_until.map(|until| until.saturating_duration_since(now))
    }

    /// A call starts.
    pub fn started(&mut self, now: Instant) {
        self.last_start = Some(now);
        for gauge in self.gauges() {
            if let Some(report) = &mut gauge.report {
                report.started_since = report.started_since.saturating_add(1);
            }
        }
    }

    /// An answer's headers came while `unheard` other calls had no answer yet. The server may not
    /// have counted those.
    pub fn heard(
        &mut self,
        limits: &RateLimits,
        unheard: u64,
        now: Instant,
        longest_hold: Duration,
    ) {
        let reported = [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens];
        for (gauge, limit) in self.gauges().into_iter().zip(reported) {
            if let Some(report) = Report::of(limit, unheard, now, longest_hold) {
                gauge.report = Some(report);
            }
        }
    }

    /// A call ended well, having used so many tokens, while `under_way` others were going on.
    pub fn succeeded(&mut self, usage: &Usage, under_way: usize) {
        let written = usage.cache_write_5m_tokens.saturating_add(usage.cache_write_1h_tokens);
        // What was read from the cache counts towards no limit of most models.
        let input = usage.input_tokens.saturating_add(written);
        self.input_tokens.used(input);
        self.output_tokens.used(usage.output_tokens);
        self.tokens.used(input.saturating_add(usage.output_tokens));
        // A window that was not filled has not been tried.
        if under_way + 1 < self.window || self.window >= self.most {
            return;
        }
        self.earned += 1;
        if !self.was_refused || self.earned >= self.window {
            self.window += 1;
            self.earned = 0;
        }
    }

    /// The server refused the call that was the `start`th to start: it had too many. Calls that had
    /// started by then, before the `next`th, say nothing new when they are refused as well.
    pub fn refused(&mut self, start: u64, next: u64) {
        if start >= self.shrunk_before {
            self.window = (self.window / 2).max(1);
            self.earned = 0;
            self.was_refused = true;
            self.shrunk_before = next;
        }
    }

    /// The server wants quiet until then. Quiet is only ever prolonged.
    pub fn be_quiet(&mut self, until: Instant) {
        self.quiet_until = self.quiet_until.max(Some(until));
    }

    fn gauges(&mut self) -> [&mut Gauge; 4] {
        [&mut self.requests, &mut self.tokens, &mut self.input_tokens, &mut self.output_tokens]
    }
}

/// One limit, and how much of it a call takes.
#[derive(Debug, Default)]
struct Gauge {
    /// What a usual call takes of it; nothing while that is unknown.
    of_a_call: u64,
    report: Option<Report>,
}

/// What the server last said about a limit.
#[derive(Debug)]
struct Report {
    limit: Option<u64>,
    remaining: u64,
    reset_at: Instant,
    /// Calls that it may not know of.
    started_since: u64,
}

impl Report {
    /// Nothing if the server does not say what is left, or not until when: such a limit could hold
    /// calls for ever.
    fn of(limit: Limit, unheard: u64, now: Instant, longest_hold: Duration) -> Option<Self> {
        Some(Self {
            limit: limit.limit,
            remaining: limit.remaining?,
            reset_at: now + limit.reset_after?.min(longest_hold),
            started_since: unheard,
        })
    }
}

impl Gauge {
    /// A moving mean, in which the latest call weighs a quarter.
    fn used(&mut self, amount: u64) {
        self.of_a_call = match self.of_a_call {
            0 => amount,
            mean => (mean.saturating_mul(3).saturating_add(amount) / 4).max(1),
        };
    }

    /// What is left in calls; nothing if that is unknown.
    fn left(&self, now: Instant) -> Option<Left> {
        let report = self.report.as_ref().filter(|report| report.reset_at > now)?;
        if self.of_a_call == 0 {
            let is_spent = report.remaining == 0;
            return is_spent.then_some(Left { calls: 0, full: 0, reset_at: report.reset_at });
        }
        let calls = (report.remaining / self.of_a_call).saturating_sub(report.started_since);
        let full = report.limit.unwrap_or(0) / self.of_a_call;
        Some(Left { calls, full, reset_at: report.reset_at })
    }
}

/// What is left of a limit, counted in calls.
struct Left {
    calls: u64,
    full: u64,
    reset_at: Instant,
}

impl Left {
    /// The earliest start of the next call, unless it may be any. The last tenth, or what one window of calls could take
    /// at once, is spread over the time until the limit is full again. What comes back before that
    /// shows in the next answer.
    fn next_start(&self, last_start: Option<Instant>, window: usize) -> Option<Instant> {
        if self.calls == 0 {
            return Some(self.reset_at);
        }
        let few = (self.full / 10).max(window as u64);
        let last = last_start.filter(|_| self.calls <= few)?;
        let parts = u32::try_from(self.calls).unwrap_or(u32::MAX).saturating_add(1);
        Some(last + self.reset_at.saturating_duration_since(last) / parts)
    }
}
