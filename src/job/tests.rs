//! Tests of the rules, each as: given these events, when this is wished, then these events or this
//! no. Whole events are compared; payloads only where a rule makes them.

mod build;
mod given;
mod stage;
mod wishes;

mod attempts;
mod control;
mod create;
mod endings;
mod judging;
mod money;
mod pilot;
mod random;
mod review;
mod slots;
mod story;
mod stuck;
mod table;
mod turns;
mod views;

/// A target that waits for its first worker, for tests of other rooms.
pub(crate) fn a_target() -> super::state::Target {
    let mut state = super::JobState::default();
    state.evolve(&build::created(1).into());
    state.job.unwrap().targets.into_values().next().unwrap()
}
