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
mod random;
mod slots;
mod story;
mod stuck;
mod table;
mod turns;
mod views;
