//! Usage and success over GraphQL. What each figure means stands in `docs/usage.md`.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cody_events::time::Day;
use cody_projections::usage::{self, Group, Rate, UsageKey, UsageQuery, UsageRow};
use serde_json::json;

use super::errors::internal;
use super::pages::{self, Page, PageEdge};
use super::services::{app, services};
use super::types::scalars::{Date, Long};
use super::types::words::Outcome;

/// By what figures are told apart.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageGroup {
    /// By nothing: one row, also if there is nothing to count.
    Total,
    /// By the day, in UTC.
    Day,
    /// By the repository.
    Repository,
    /// By the model.
    Model,
    /// By the recipe; jobs without one come first, under an empty name.
    Recipe,
}

/// What is counted.
#[derive(Debug, Default, InputObject)]
pub struct UsageFilter {
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// This repository alone.
    pub repository: Option<String>,
    /// This model alone.
    pub model: Option<String>,
    /// This recipe alone; an empty name asks for jobs without one.
    pub recipe: Option<String>,
}

/// Usage and success of what a key stands for.
#[derive(Debug)]
pub struct Usage {
    row: UsageRow,
    minutes_saved: u64,
    /// What has this row alone.
    asked: UsageQuery,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub struct Share {
    /// The part.
    pub part: Long,
    /// The whole; a share of nothing is none.
    pub whole: Long,
    /// Thousandths, rounded down; nothing of nothing.
    pub per_mille: Option<Long>,
}

/// How many targets ended in one way.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub struct OutcomeCount {
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: Long,
}

/// Usage and success of what a key stands for. Money is in millionths of a US dollar.
#[Object]
impl Usage {
    /// The global id: it names the row, and what was counted for it.
    pub async fn id(&self) -> ID {
        id_of(&self.asked)
    }

    /// The day, repository, model or recipe; nothing for the total.
    async fn key(&self) -> Option<String> {
        match &self.row.key {
            UsageKey::Total => None,
            UsageKey::Day(day) => Some(day.to_string()),
            UsageKey::Repository(text) | UsageKey::Model(text) => Some(text.clone()),
            UsageKey::Recipe(recipe) => Some(recipe.clone().unwrap_or_default()),
        }
    }

    /// Known and assumed cost together.
    async fn spent_micros(&self) -> Long {
        Long(self.row.spent_micros())
    }

    /// From usage that Claude reported.
    async fn known_micros(&self) -> Long {
        Long(self.row.known_micros)
    }

    /// For calls whose usage nobody saw: their worst price.
    async fn assumed_micros(&self) -> Long {
        Long(self.row.assumed_micros)
    }

    /// Tokens read by Claude that were in no cache.
    async fn input_tokens(&self) -> Long {
        Long(self.row.usage.input_tokens)
    }

    /// Tokens that Claude wrote.
    async fn output_tokens(&self) -> Long {
        Long(self.row.usage.output_tokens)
    }

    /// Tokens read from a cache.
    async fn cache_read_tokens(&self) -> Long {
        Long(self.row.usage.cache_read_tokens)
    }

    /// Tokens written to a cache.
    async fn cache_write_tokens(&self) -> Long {
        let usage = &self.row.usage;
        Long(usage.cache_write_5m_tokens.saturating_add(usage.cache_write_1h_tokens))
    }

    /// Tokens read from a cache, of all that were read.
    async fn cache_hits(&self) -> Share {
        self.row.cache_hit_rate().into()
    }

    /// Calls permitted.
    async fn call_count(&self) -> Long {
        Long(self.row.call_count)
    }

    /// Calls that failed.
    async fn failed_call_count(&self) -> Long {
        Long(self.row.failed_call_count)
    }

    /// Claude's responses, those of reviews as well.
    async fn turn_count(&self) -> Long {
        Long(self.row.turn_count)
    }

    /// Milliseconds that workers held their targets for.
    async fn worker_ms(&self) -> Long {
        Long(self.row.worker_ms)
    }

    /// Milliseconds that tools took.
    async fn tool_ms(&self) -> Long {
        Long(self.row.tool_ms)
    }

    /// Milliseconds that checks, and fetches of dependencies, took.
    async fn check_ms(&self) -> Long {
        Long(self.row.check_ms)
    }

    /// Targets that are finished.
    async fn finished_count(&self) -> Long {
        Long(self.row.finished_count())
    }

    /// How many targets ended in which way; ways in which none did are left out.
    async fn outcomes(&self) -> Vec<OutcomeCount> {
        let counts = self.row.outcomes.iter();
        counts
            .map(|(outcome, count)| OutcomeCount {
                outcome: (*outcome).into(),
                count: Long(*count),
            })
            .collect()
    }

    /// Targets delivered, of those that are finished.
    async fn success(&self) -> Share {
        self.row.success_rate().into()
    }

    /// First reviews by a person that approved, of diffs reviewed.
    async fn accuracy(&self) -> Share {
        self.row.accuracy().into()
    }

    /// Approvals, of what people judged.
    async fn approvals(&self) -> Share {
        self.row.approval_rate().into()
    }

    /// Pull requests merged, of those opened.
    async fn merges(&self) -> Share {
        self.row.merge_rate().into()
    }

    /// Changes that were sent back to Claude: by checks, by the review, by people.
    async fn repair_count(&self) -> Long {
        Long(self.row.repair_count())
    }

    /// Minutes that delivered changes would have taken by hand, by the figure that the server's owner
    /// set; nothing if none is set.
    async fn saved_minutes(&self) -> Option<Long> {
        (self.minutes_saved > 0).then(|| Long(self.row.saved_minutes(self.minutes_saved)))
    }
}

impl From<Rate> for Share {
    fn from(rate: Rate) -> Self {
        Self {
            part: Long(rate.part),
            whole: Long(rate.whole),
            per_mille: rate.per_mille().map(Long),
        }
    }
}

/// A page of usage.
pub async fn page(
    context: &Context<'_>,
    group: UsageGroup,
    filter: UsageFilter,
    first: i32,
    after: Option<&str>,
) -> Result<Page<Usage>, Error> {
    let asked = match pages::asked(first, None) {
        Ok(asked) => asked,
        Err(error) => return Ok(pages::refused(error)),
    };
    let group = Group::from(group);
    let after = match after.map(|text| key_of(group, text)) {
        Some(None) => return Ok(pages::refused(pages::bad_cursor())),
        Some(Some(key)) => Some(key),
        None => None,
    };
    let has_previous = after.is_some();
    let query = UsageQuery {
        group,
        from: filter.from.map(|Date(day)| day),
        to: filter.to.map(|Date(day)| day),
        repository: filter.repository,
        model: filter.model,
        recipe: filter.recipe,
        after,
        limit: Some(u32::try_from(asked.first.saturating_add(1)).unwrap_or(u32::MAX)),
    };
    let asking = query.clone();
    let rows = app(context)?.ask(move |views| usage::over(views, &asking)).await;
    let mut rows = rows.map_err(internal)?;
    let has_next = rows.len() > asked.first;
    rows.truncate(asked.first);
    let minutes_saved = services(context)?.minutes_saved;
    let edges = rows.into_iter().map(|row| {
        let cursor = URL_SAFE_NO_PAD.encode(written(&row.key));
        let asked = narrowed(query.clone(), &row.key);
        PageEdge { node: Usage { row, minutes_saved, asked }, cursor }
    });
    Ok(pages::page_with(edges.collect(), has_previous, has_next))
}

impl From<UsageGroup> for Group {
    fn from(group: UsageGroup) -> Self {
        match group {
            UsageGroup::Total => Self::Total,
            UsageGroup::Day => Self::Day,
            UsageGroup::Repository => Self::Repository,
            UsageGroup::Model => Self::Model,
            UsageGroup::Recipe => Self::Recipe,
        }
    }
}

/// A key as its cursor has it.
fn written(key: &UsageKey) -> String {
    match key {
        UsageKey::Total => "total".to_owned(),
        UsageKey::Day(day) => format!("day:{day}"),
        UsageKey::Repository(text) => format!("repository:{text}"),
        UsageKey::Model(text) => format!("model:{text}"),
        UsageKey::Recipe(recipe) => format!("recipe:{}", recipe.as_deref().unwrap_or_default()),
    }
}

/// What asks for the row with `key` alone of all that `asked` has.
fn narrowed(asked: UsageQuery, key: &UsageKey) -> UsageQuery {
    let mut asked = UsageQuery { after: None, limit: Some(1), ..asked };
    match key.clone() {
        UsageKey::Total => {}
        UsageKey::Day(day) => (asked.from, asked.to) = (Some(day), Some(day)),
        UsageKey::Repository(text) => asked.repository = Some(text),
        UsageKey::Model(text) => asked.model = Some(text),
        UsageKey::Recipe(recipe) => asked.recipe = Some(recipe.unwrap_or_default()),
    }
    asked
}

/// What stands in a row's global id: its kind, how figures are told apart, the days, and what is counted.
type Named = (String, String, [Option<String>; 2], [Option<String>; 3]);

/// The global id of the row that `asked` has. With another filter, the same key has another.
fn id_of(asked: &UsageQuery) -> ID {
    let days = [asked.from, asked.to].map(|day| day.map(|day| day.to_string()));
    let counted = [asked.repository.clone(), asked.model.clone(), asked.recipe.clone()];
    let named = json!(["usage", word(asked.group), days, counted]);
    ID(URL_SAFE_NO_PAD.encode(named.to_string()))
}

/// What a row's global id asks for; nothing if it is none.
fn named(id: &str) -> Option<UsageQuery> {
    let (kind, group, days, counted): Named = serde_json::from_str(&decoded(id)?).ok()?;
    let groups = [Group::Total, Group::Day, Group::Repository, Group::Model, Group::Recipe];
    let group = groups.into_iter().find(|known| kind == "usage" && word(*known) == group)?;
    let day = |text: Option<String>| text.map(|text| text.parse::<Day>()).transpose().ok();
    let [from, to] = days;
    let [repository, model, recipe] = counted;
    let (from, to) = (day(from)?, day(to)?);
    Some(UsageQuery { group, from, to, repository, model, recipe, after: None, limit: Some(1) })
}

fn word(group: Group) -> &'static str {
    match group {
        Group::Total => "total",
        Group::Day => "day",
        Group::Repository => "repository",
        Group::Model => "model",
        Group::Recipe => "recipe",
    }
}

/// The row that a global id names; nothing if it names none.
pub async fn find(context: &Context<'_>, id: &str) -> Result<Option<Usage>, Error> {
    let Some(asked) = named(id) else { return Ok(None) };
    let query = asked.clone();
    let rows = app(context)?.ask(move |views| usage::over(views, &query)).await;
    let minutes_saved = services(context)?.minutes_saved;
    let row = rows.map_err(internal)?.into_iter().next();
    Ok(row.map(|row| Usage { row, minutes_saved, asked }))
}

/// The key that a cursor has, if it is one of this grouping.
fn key_of(group: Group, cursor: &str) -> Option<UsageKey> {
    read(&decoded(cursor)?).filter(|key| key.group() == group)
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn read(text: &str) -> Option<UsageKey> {
    Some(match text.split_once(':') {
        None if text == "total" => UsageKey::Total,
        Some(("day", day)) => UsageKey::Day(day.parse().ok()?),
        Some(("repository", text)) => UsageKey::Repository(text.to_owned()),
        Some(("model", text)) => UsageKey::Model(text.to_owned()),
        Some(("recipe", "")) => UsageKey::Recipe(None),
        Some(("recipe", text)) => UsageKey::Recipe(Some(text.to_owned())),
        Some(_) | None => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_id_asks_for_that_row_again() {
        let asked = UsageQuery {
            group: Group::Model,
            to: Some(Day(20_000)),
            recipe: Some(String::new()),
            ..UsageQuery::default()
        };
        let of = |key: UsageKey| id_of(&narrowed(asked.clone(), &key));
        let id = of(UsageKey::Model("claude: \"x\"".to_owned()));
        let row = named(&id).unwrap();
        assert_eq!(row.model.as_deref(), Some("claude: \"x\""));
        assert_eq!((row.group, row.to, row.recipe.as_deref()), (Group::Model, asked.to, Some("")));
        assert_ne!(id, of(UsageKey::Model("another".to_owned())));
        let all = UsageQuery { group: Group::Model, ..UsageQuery::default() };
        assert_ne!(id, id_of(&narrowed(all, &UsageKey::Model("claude: \"x\"".to_owned()))));
        for bad in
            ["", "x", &URL_SAFE_NO_PAD.encode(r#"["usage","year",[null,null],[null,null,null]]"#)]
        {
            assert_eq!(named(bad), None);
        }
    }
}
