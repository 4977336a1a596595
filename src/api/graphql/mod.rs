//! GraphQL: one schema for dashboards and programs, over our own strict HTTP front, with events live
//! over WebSockets and server-sent events. It translates; what may happen is decided by the rules.

pub mod front;
pub mod services;

mod download;
mod errors;
mod ids;
mod limits;
mod live;
mod loaders;
mod mutation;
mod pages;
mod plan;
mod query;
mod subscription;
mod tokens;
mod types;
mod usage;

use std::sync::Arc;

use async_graphql::Schema as SchemaOf;

use limits::Limits;
use mutation::Mutation;
use query::Query;
pub use services::Services;
use subscription::Subscription;

/// The whole of it.
pub type Schema = SchemaOf<Query, Mutation, Subscription>;

/// How deep a request may reach: as deep as the question by which tools learn the schema.
const MAX_DEPTH: usize = 15;
/// What a request may add up to: its fields, those below a list as often as the list may be long.
const MAX_COMPLEXITY: usize = 20_000;
/// Directives on one field.
const MAX_DIRECTIVES: usize = 8;

/// Directives that the specification itself defines.
const BUILT_IN: [&str; 5] = ["include(", "skip(", "deprecated(", "specifiedBy(", "oneOf "];
/// What a description stands between.
const QUOTES: &str = "\"\"\"";

/// The schema over `services`.
pub fn schema(services: Services) -> Schema {
    let news = Arc::clone(&services.news);
    builder().data(services).data(news).finish()
}

/// The schema's text, as it is committed: without the directives that every GraphQL service has.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new().include_specified_by();
    let text = builder().finish().sdl_with_options(options);
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("directive @") {
            Some(directive) if BUILT_IN.iter().any(|name| directive.starts_with(name)) => {
                drop_description(&mut kept);
            }
            Some(_) | None => kept.push(line),
        }
    }
    kept.push("");
    kept.join("\n")
}

/// Takes the description that `lines` end with away.
fn drop_description(lines: &mut Vec<&str>) {
    if lines.pop_if(|last| *last == QUOTES).is_some() {
        while lines.pop().is_some_and(|line| line != QUOTES) {}
    }
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    SchemaOf::build(Query, Mutation, Subscription)
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_directives(MAX_DIRECTIVES)
        .extension(Limits)
}

/// How often what stands below a page may be counted: `first`, where it can be had at all.
fn pages_of(first: i32) -> usize {
    usize::try_from(first.clamp(1, 100)).unwrap_or(1)
}
