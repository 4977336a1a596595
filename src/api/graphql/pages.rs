//! Lists by page: how many, after which, and what came of asking for too many. A page that cannot be
//! had is data, with a code and what to do, like everything else that a client can get wrong.

use async_graphql::connection::{
    Connection, DefaultConnectionName, DefaultEdgeName, DisableNodesField, Edge, EmptyFields,
};
use async_graphql::{OutputType, SimpleObject};

use super::errors::{ErrorCode, UserError};

/// The most that one page holds.
const MOST: i32 = 100;

/// What every list says beside its edges.
#[derive(Debug, Default, SimpleObject)]
pub struct PageNotes {
    /// Why there is no page: empty if there is one.
    pub user_errors: Vec<UserError>,
}

/// A list by page.
pub type Page<T> = Connection<
    String,
    T,
    PageNotes,
    EmptyFields,
    DefaultConnectionName,
    DefaultEdgeName,
    DisableNodesField,
>;

/// A page as it was asked for, with a cursor of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub first: usize,
    pub after: Option<u64>,
}

/// What `first` and `after` ask for, or why that cannot be.
pub fn asked(first: i32, after: Option<&str>) -> Result<Asked, UserError> {
    if !(1..=MOST).contains(&first) {
        return Err(UserError {
            code: ErrorCode::BadPage,
            field: Some(vec!["first".to_owned()]),
            message: format!("`first` is {first}; a page has 1 to {MOST}."),
            next: "Ask for 1 to 100, and for the next page with `after`.".to_owned(),
        });
    }
    let after = match after {
        None => None,
        Some(text) => Some(cursor(text)?),
    };
    Ok(Asked { first: usize::try_from(first).unwrap_or(1), after })
}

fn cursor(text: &str) -> Result<u64, UserError> {
    let number = text.strip_prefix('c').filter(|digits| digits.len() <= 16);
    number.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| UserError {
        code: ErrorCode::BadCursor,
        field: Some(vec!["after".to_owned()]),
        message: "`after` is no cursor of this server.".to_owned(),
        next: "Pass the `endCursor` of the page before, or leave it out for the first page."
            .to_owned(),
    })
}

/// How a place in a list is written.
pub fn written(place: u64) -> String {
    format!("c{place:x}")
}

/// An empty page that says why.
pub fn refused<T: OutputType>(error: UserError) -> Page<T> {
    Connection::with_additional_fields(false, false, PageNotes { user_errors: vec![error] })
}

/// A page of what was found, in order, with each one's place; one more than asked for says that there
/// are more.
pub fn page<T: OutputType>(asked: Asked, found: Vec<(u64, T)>) -> Page<T> {
    let has_more = found.len() > asked.first;
    let mut page =
        Connection::with_additional_fields(asked.after.is_some(), has_more, PageNotes::default());
    page.edges.extend(
        found.into_iter().take(asked.first).map(|(place, node)| Edge::new(written(place), node)),
    );
    page
}

/// A page of a list that is at hand as a whole; places are indices.
pub fn page_of<T: OutputType>(asked: Asked, all: impl Iterator<Item = T>) -> Page<T> {
    let skipped = asked.after.map_or(0, |after| after.saturating_add(1));
    let start = usize::try_from(skipped).unwrap_or(usize::MAX);
    let found = (0..).zip(all).skip(start).take(asked.first.saturating_add(1)).collect();
    page(asked, found)
}
