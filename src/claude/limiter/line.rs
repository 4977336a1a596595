//! The line before the gate and the calls behind it: who may go next. First come, first served, but
//! nobody waits for a model or a prefix that is not their own. Pure: the time is the caller's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cody_events::digest::Sha256;
use cody_events::thread::{CallClass, Usage};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::firsts::Firsts;
use super::pace::{Pace, Ready};
use crate::claude::rate_limits::RateLimits;

/// Who waits, who is under way, and what the server said.
#[derive(Debug)]
pub(super) struct Line {
    most: usize,
    longest_hold: Duration,
    joined: u64,
    started: u64,
    waiting: VecDeque<Waiting>,
    under_way: BTreeMap<u64, UnderWay>,
    paces: BTreeMap<String, Pace>,
    firsts: Firsts,
    /// The whole server wants quiet, whatever the model.
    quiet_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    call: u64,
    model: String,
    prefix: Sha256,
    wake: Arc<Notify>,
    /// When it looks again by itself.
    looks_at: Option<Instant>,
}

#[derive(Debug)]
struct UnderWay {
    model: String,
    prefix: Sha256,
    /// The how manieth to start.
    start: u64,
    is_heard: bool,
}

/// Where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    UnderWay,
    /// To be asked about again when woken, or at that moment.
    Waiting(Option<Instant>),
    /// The server wants more quiet than anybody should wait for.
    Refused(Duration),
}

impl Line {
    pub fn new(most: usize, longest_hold: Duration) -> Self {
        Self {
            most,
            longest_hold,
            joined: 0,
            started: 0,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            paces: BTreeMap::new(),
            firsts: Firsts::default(),
            quiet_until: None,
        }
    }

    /// Joins the end of the line; gives the call's number, and what wakes it.
    pub fn join(&mut self, model: &str, prefix: Sha256) -> (u64, Arc<Notify>) {
        let call = self.joined;
        self.joined += 1;
        let wake = Arc::new(Notify::new());
        let model = model.to_owned();
        let next = Waiting { call, model, prefix, wake: Arc::clone(&wake), looks_at: None };
        self.waiting.push_back(next);
        (call, wake)
    }

    /// Where `call` stands, after everybody went who may.
    pub fn place(&mut self, call: u64, now: Instant) -> Place {
        self.advance(now);
        let Some(waiting) = self.waiting.iter().find(|waiting| waiting.call == call) else {
            return Place::UnderWay;
        };
        if let Some(quiet) = self.quiet(&waiting.model, now).filter(|it| *it > self.longest_hold) {
            return Place::Refused(quiet);
        }
        Place::Waiting(waiting.looks_at.filter(|at| *at > now))
    }

    /// The headers of the answer to `call` came.
    pub fn heard(&mut self, call: u64, limits: &RateLimits, now: Instant) {
        let Some(heard) = self.under_way.get_mut(&call) else { return };
        heard.is_heard = true;
        let model = heard.model.clone();
        let unheard = self.under_way.values().filter(|it| it.model == model && !it.is_heard);
        let unheard = unheard.count() as u64;
        let longest_hold = self.longest_hold;
        self.pace(&model).heard(limits, unheard, now, longest_hold);
        self.advance(now);
    }

    /// The response to `call` began.
    pub fn began(&mut self, call: u64, now: Instant) {
        let Some(begun) = self.under_way.get(&call) else { return };
        self.firsts.began(begun.prefix, now);
        self.advance(now);
    }

    /// `call` ended with a response.
    pub fn succeeded(&mut self, call: u64, usage: &Usage, now: Instant) {
        self.began(call, now);
        let Some(ended) = self.under_way.remove(&call) else { return };
        let others = self.count_of(&ended.model);
        self.pace(&ended.model).succeeded(usage, others);
        self.advance(now);
    }

    /// `call` ended without a response, and the server may want quiet.
    pub fn failed(
        &mut self,
        call: u64,
        class: CallClass,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let (start, model) = match self.under_way.get(&call) {
            Some(failed) => (failed.start, failed.model.clone()),
            None => return,
        };
        let next = self.started;
        // A limit is of a model; any other trouble is the server's.
        let is_limit = class == CallClass::RateLimited;
        if is_limit || class == CallClass::Overloaded {
            self.pace(&model).refused(start, next);
        }
        if let Some(until) = retry_after.and_then(|wait| now.checked_add(wait)) {
            match is_limit {
                true => self.pace(&model).be_quiet(until),
                false => self.quiet_until = self.quiet_until.max(Some(until)),
            }
            // Whoever cannot wait that long should know.
            self.waiting.iter().for_each(|waiting| waiting.wake.notify_one());
        }
        self.leave(call, now);
    }

    /// `call` is over or given up, wherever it stood.
    pub fn leave(&mut self, call: u64, now: Instant) {
        self.waiting.retain(|waiting| waiting.call != call);
        if let Some(left) = self.under_way.remove(&call) {
            self.firsts.ended(&left.prefix, call);
        }
        self.advance(now);
    }

    /// Lets everybody go who may, in the order in which they came. Whoever waits on for a moment
    /// that they do not know of is woken, to look again then.
    fn advance(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let ready = self.ready(waiting, now);
            if ready == Ready::Now {
                if let Some(next) = self.waiting.remove(index) {
                    self.start(next, now);
                }
                continue;
            }
            if let (Ready::At(until), Some(waiting)) = (ready, self.waiting.get_mut(index))
                && waiting.looks_at.is_none_or(|looks_at| until < looks_at || looks_at <= now)
            {
                waiting.looks_at = Some(until);
                waiting.wake.notify_one();
            }
            index += 1;
        }
    }

    fn start(&mut self, next: Waiting, now: Instant) {
        let Waiting { call, model, prefix, wake, looks_at: _ } = next;
        self.pace(&model).started(now);
        self.firsts.started(prefix, call, now);
        let start = self.started;
        self.started += 1;
        self.under_way.insert(call, UnderWay { model, prefix, start, is_heard: false });
        wake.notify_one();
    }

    fn ready(&self, waiting: &Waiting, now: Instant) -> Ready {
        if self.under_way.len() >= self.most {
            return Ready::AfterAnother;
        }
        if let Some(until) = self.quiet_until.filter(|until| *until > now) {
            return Ready::At(until);
        }
        let pace = match self.paces.get(&waiting.model) {
            Some(pace) => pace.ready(now, self.count_of(&waiting.model)),
            None => Ready::Now,
        };
        match pace {
            Ready::Now => self.firsts.ready(&waiting.prefix, now),
            Ready::At(_) | Ready::AfterAnother => pace,
        }
    }

    fn quiet(&self, model: &str, now: Instant) -> Option<Duration> {
        let of_model = self.paces.get(model).and_then(|pace| pace.quiet(now));
        let of_server = self.quiet_until.map(|until| until.saturating_duration_since(now));
        of_model.max(of_server)
    }

    fn count_of(&self, model: &str) -> usize {
        self.under_way.values().filter(|call| call.model == model).count()
    }

    fn pace(&mut self, model: &str) -> &mut Pace {
        let most = self.most;
        self.paces.entry(model.to_owned()).or_insert_with(|| Pace::new(most))
    }
}
