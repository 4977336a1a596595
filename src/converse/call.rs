//! One turn: permits and calls until a response is recorded, or it is clear that none will be.

use std::sync::PoisonError;
use std::time::Duration;

use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};
use cody_events::outcome::Outcome;
use cody_events::raw::RawJson;
use cody_events::thread::{CallClass, CallFailed, CallPermitted, Purpose, StuckSign};
use tracing::Instrument as _;

use super::budget::{self, Ask};
use super::gate::{self, Entered};
use super::history::History;
use super::record::converser;
use super::{Advance, ConverseError, Converser, Known, prompts};
use crate::app::AppError;
use crate::claude::assemble::StreamProgress;
use crate::claude::blocks::text_block;
use crate::claude::limiter::Admission;
use crate::claude::price::Price;
use crate::claude::request::Body;
use crate::job::state::{Job, Target, Thread};
use crate::job::{Command, NextStep, RejectionCode, next_step};

/// How long a call waits before it asks again whether the budget has room.
const BUDGET_POLL: Duration = Duration::from_millis(200);

/// One call about to be made.
pub(super) struct Call {
    pub(super) job: JobId,
    pub(super) model: String,
    /// The hash of what the request shares with those of other targets.
    pub(super) prefix: Sha256,
    pub(super) permit: CallPermitted,
    body: Body,
    betas: Vec<String>,
    /// What its response is charged at.
    pub(super) price: Price,
}

/// What a call came to.
pub(super) enum Called {
    Recorded,
    Retry(Duration),
    Conclude(Outcome, String),
}

impl Converser {
    /// Calls until the thread's next response is in the log.
    pub(super) async fn next_turn(
        &self,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> Result<Advance, ConverseError> {
        self.settle_orphan(job, target).await?;
        let known = self.read_history(job, target, thread).await?;
        let history = &known.history;
        let mut failures = 0;
        let mut place = None;
        let mut admitted = None;
        let advance = loop {
            let state = self.app.state(job).await?;
            let Some((job_state, target_state, thread_state)) = find(&state, target, thread) else {
                break Advance::Stopped;
            };
            match next_step(&state, target) {
                NextStep::Converse { thread: asked } if asked == thread => {}
                NextStep::Leave(_) => break Advance::Stopped,
                _ => break Advance::Recorded,
            }
            let prepared = match self.line.is_first(job, target) {
                true => self.prepare(job, job_state, target_state, thread_state, history)?,
                false => Prepared::Wait,
            };
            let permitted = match prepared {
                Prepared::Call(call, notice) => {
                    let admission = match self.enter(admitted.take(), &call).await {
                        Entered::Now(admission) => admission,
                        Entered::Late(admission) => {
                            admitted = Some(admission);
                            continue;
                        }
                        Entered::Closed(advance) => break advance,
                    };
                    let Some(under_way) = self.calls.begin() else { break Advance::Later };
                    match self.permit(&call, notice).await? {
                        Permitted::Yes => Some((call, admission, under_way)),
                        Permitted::Later => None,
                        Permitted::No => break Advance::Stopped,
                    }
                }
                Prepared::Wait => None,
                Prepared::Spent => break budget_spent(job_state, target_state),
            };
            let Some((call, admission, under_way)) = permitted else {
                admitted = None;
                place.get_or_insert_with(|| self.line.join(job, target));
                self.app.clock().sleep(BUDGET_POLL).await;
                continue;
            };
            place = None;
            let made = self.make(&call, admission, failures).instrument(span_of(&call)).await;
            drop(under_way);
            match made? {
                Called::Recorded => break Advance::Recorded,
                Called::Conclude(outcome, why) => {
                    break Advance::Conclude { outcome, evidence: vec![why] };
                }
                Called::Retry(after) => {
                    failures += 1;
                    self.app.clock().sleep(after).await;
                }
            }
        };
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put((job, target, thread), known);
        Ok(advance)
    }

    /// A permit that no call of this process holds is of a server that died: its response, if there
    /// was one, is lost and charged in full.
    pub(super) async fn settle_orphan(
        &self,
        job: JobId,
        target: TargetNumber,
    ) -> Result<(), ConverseError> {
        let state = self.app.state(job).await?;
        let permit = state
            .job
            .as_ref()
            .and_then(|job| job.targets.get(&target))
            .and_then(|target| target.permit);
        let Some(permit) = permit else { return Ok(()) };
        let facts = CallFailed {
            target,
            thread: permit.thread,
            turn: permit.turn,
            call: permit.call,
            class: CallClass::Orphaned,
            status: None,
            request_id: None,
            usage: None,
            assumed_micros: permit.reserved_micros,
            ms: 0,
        };
        let message =
            "The server stopped during this call; it is charged as if fully answered.".to_owned();
        self.record_failure(job, facts, message).await
    }

    /// The conversation of `thread` so far: what is known of it, and what came since.
    async fn read_history(
        &self,
        job: JobId,
        target: TargetNumber,
        thread: ThreadNumber,
    ) -> Result<Known, ConverseError> {
        let key = (job, target, thread);
        let known = self.histories.lock().unwrap_or_else(PoisonError::into_inner).pop(&key);
        let Known { mut version, mut history } = known.unwrap_or_default();
        for told in self.app.events(job, version).await? {
            version = told.recorded.version;
            if !History::needs_payload(&told.event, target, thread) {
                continue;
            }
            let position = told.recorded.position;
            let payload = match told.recorded.payload_len {
                Some(_) => self.app.payload(position).await?,
                None => None,
            };
            history.add(&told.event, payload.as_deref(), position)?;
        }
        Ok(Known { version, history })
    }

    /// The next call of the thread, within the budget.
    fn prepare(
        &self,
        job: JobId,
        job_state: &Job,
        target: &Target,
        thread: &Thread,
        history: &History,
    ) -> Result<Prepared, ConverseError> {
        let start =
            history.start().ok_or(ConverseError::Missing(target.number, "the thread's start"))?;
        let offer = self.models.lookup(&job_state.model, self.today())?;
        let warning = thread.progress.due_warning(thread.next_turn);
        let mut notice = notice_for(thread, warning)?;
        let longest = history.request(&notice, u32::MAX)?.bytes.len();
        let bound = budget::input_bound(
            thread,
            history.fresh_bytes() + NOTICE_BYTES,
            self.models.input_bound(longest + NOTICE_BYTES as usize),
        );
        let (max_tokens, reserved_micros, last) =
            match budget::ask(job_state, target, thread, &offer, bound) {
                Ask::Call { max_tokens, reserved_micros } => (max_tokens, reserved_micros, false),
                Ask::LastCall { max_tokens, reserved_micros } => {
                    if thread.purpose != Purpose::Review {
                        notice.push(text_block(prompts::LAST_CALL)?);
                    }
                    (max_tokens, reserved_micros, true)
                }
                Ask::Wait => return Ok(Prepared::Wait),
                Ask::Spent => return Ok(Prepared::Spent),
            };
        let body = history.request(&notice, max_tokens)?;
        let permit = CallPermitted {
            target: target.number,
            thread: thread.number,
            turn: thread.next_turn,
            call: thread.next_call,
            request_hash: body.hash,
            max_tokens,
            reserved_micros,
            price_table: self.models.version().to_owned(),
            last,
            warning,
        };
        let price = offer.price;
        let call = Call {
            job,
            model: job_state.model.clone(),
            prefix: Sha256::of(start.prefix.get().as_bytes()),
            permit,
            body,
            betas: start.betas.clone(),
            price,
        };
        Ok(Prepared::Call(call, notice))
    }

    async fn permit(&self, call: &Call, notice: Vec<RawJson>) -> Result<Permitted, ConverseError> {
        let id = call.command_id("permit");
        let command = Command::PermitCall { permit: call.permit.clone(), notice };
        match self.app.execute(call.job, id, command, &converser()).await {
            Ok(_) => Ok(Permitted::Yes),
            Err(AppError::Rejected(rejection)) => match rejection.code {
                RejectionCode::BudgetBusy => {
                    self.settle_others(call.job, call.permit.target).await?;
                    Ok(Permitted::Later)
                }
                RejectionCode::BudgetSpent
                | RejectionCode::JobPaused
                | RejectionCode::JobCancelled
                | RejectionCode::TargetFinished => Ok(Permitted::No),
                _ => Err(AppError::Rejected(rejection).into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one request and records what came of it.
    async fn make(
        &self,
        call: &Call,
        admission: Admission,
        failures: u32,
    ) -> Result<Called, ConverseError> {
        let heard = |progress: StreamProgress<'_>| gate::tell(&admission, progress);
        match self.client.send(call.body.bytes.clone(), &call.betas, heard).await {
            Ok(reply) => {
                let tokens = reply.response.usage.output_tokens;
                tracing::Span::current().record("output_tokens", tokens);
                admission.succeeded(&reply.response.usage);
                self.record_turn(call, reply).await?;
                Ok(Called::Recorded)
            }
            Err(error) => {
                tracing::Span::current().record("error", tracing::field::debug(error.class));
                admission.failed(&error);
                self.failed(call, error, failures).await
            }
        }
    }

    /// The day whose prices hold.
    fn today(&self) -> crate::claude::models::Date {
        self.app.clock().now().date()
    }
}

/// What a call is traced as. What is said in it is no part of that.
fn span_of(call: &Call) -> tracing::Span {
    let permit = &call.permit;
    tracing::info_span!(
        "claude-call",
        job = %call.job,
        target = %permit.target,
        thread = %permit.thread,
        turn = permit.turn.0,
        call = permit.call.0,
        model = call.model,
        max_tokens = permit.max_tokens,
        output_tokens = tracing::field::Empty,
        error = tracing::field::Empty,
    )
}

/// Room for the harness's own words in the bound of a request.
const NOTICE_BYTES: u64 = 1_024;

#[expect(clippy::large_enum_variant, reason = "made once a call and taken apart at once")]
enum Prepared {
    Call(Call, Vec<RawJson>),
    Wait,
    Spent,
}

enum Permitted {
    Yes,
    Later,
    No,
}

fn find(
    state: &crate::job::JobState,
    target: TargetNumber,
    thread: ThreadNumber,
) -> Option<(&Job, &Target, &Thread)> {
    let job = state.job.as_ref()?;
    let target = job.targets.get(&target)?;
    Some((job, target, target.thread(thread)?))
}

/// What the harness adds to the next request: after a cut-off response, or one that did nothing, and
/// when the work leads nowhere.
fn notice_for(
    thread: &Thread,
    warning: Option<StuckSign>,
) -> Result<Vec<RawJson>, serde_json::Error> {
    if thread.purpose == Purpose::Review {
        return Ok(Vec::new());
    }
    let words = match (thread.truncations, thread.idle_turns) {
        (0, 0) => None,
        (0, _) => Some(prompts::NUDGE),
        (_, _) => Some(prompts::CUT_OFF),
    };
    words.into_iter().chain(warning.map(prompts::stuck)).map(text_block).collect()
}

fn budget_spent(job: &Job, target: &Target) -> Advance {
    let spent = target.money.spent_micros();
    Advance::Conclude {
        outcome: Outcome::BudgetStopped,
        evidence: vec![format!(
            "The budget is spent: {spent} of {} micro-dollars for this target, {} for the job.",
            job.limits.budget_micros,
            job.spent_micros(),
        )],
    }
}
