//! Lists by page: how many, after which, and what came of asking for too many. A page that cannot be
//! had is data, with a code and what to do, like everything else that a client can get wrong.

use std::borrow::Cow;

use async_graphql::{OutputType, SimpleObject, TypeName};

use super::errors::{ErrorCode, UserError};

/// The most that one page holds.
const MOST: i32 = 100;

/// A list by page, in the form that Relay gives such lists.
#[derive(Debug, SimpleObject)]
#[graphql(name_type)]
pub struct Page<T: OutputType> {
    /// Where the page lies in its list.
    pub page_info: PageInfo,
    /// What the page holds, in the list's order; at most as many as `first`.
    pub edges: Vec<PageEdge<T>>,
    /// Why there is no page: empty if there is one.
    pub user_errors: Vec<UserError>,
}

/// One of a list, and its place there.
#[derive(Debug, SimpleObject)]
#[graphql(name_type)]
pub struct PageEdge<T: OutputType> {
    /// What stands there.
    pub node: T,
    /// Its place: `after` it begins the rest.
    pub cursor: String,
}

/// Where a page lies in its list.
#[derive(Debug, Default, SimpleObject)]
pub struct PageInfo {
    /// Whether the page was asked for `after` something.
    pub has_previous_page: bool,
    /// Whether there are more after the page.
    pub has_next_page: bool,
    /// The place of the page's first; nothing if it is empty.
    pub start_cursor: Option<String>,
    /// The place of the page's last, for the `after` of the next page; nothing if it is empty.
    pub end_cursor: Option<String>,
}

impl<T: OutputType> TypeName for Page<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

impl<T: OutputType> TypeName for PageEdge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

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
    number.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(bad_cursor)
}

/// What `after` has is no cursor.
pub fn bad_cursor() -> UserError {
    UserError {
        code: ErrorCode::BadCursor,
        field: Some(vec!["after".to_owned()]),
        message: "`after` is no cursor of this server.".to_owned(),
        next: "Pass the `endCursor` of the page before, or leave it out for the first page."
            .to_owned(),
    }
}

/// How a place in a list is written.
pub fn written(place: u64) -> String {
    format!("c{place:x}")
}

/// An empty page that says why.
pub fn refused<T: OutputType>(error: UserError) -> Page<T> {
    Page { page_info: PageInfo::default(), edges: Vec::new(), user_errors: vec![error] }
}

/// A page of what was found, in order, with each one's place; one more than asked for says that there
/// are more.
pub fn page<T: OutputType>(asked: Asked, found: Vec<(u64, T)>) -> Page<T> {
    let has_next_page = found.len() > asked.first;
    let found = found.into_iter().take(asked.first);
    let edges = found.map(|(place, node)| PageEdge { node, cursor: written(place) }).collect();
    page_with(edges, asked.after.is_some(), has_next_page)
}

/// A page of these.
pub fn page_with<T: OutputType>(
    edges: Vec<PageEdge<T>>,
    has_previous_page: bool,
    has_next_page: bool,
) -> Page<T> {
    let cursor_of = |edge: Option<&PageEdge<T>>| edge.map(|edge| edge.cursor.clone());
    let page_info = PageInfo {
        has_previous_page,
        has_next_page,
        start_cursor: cursor_of(edges.first()),
        end_cursor: cursor_of(edges.last()),
    };
    Page { page_info, edges, user_errors: Vec::new() }
}

/// A page of a list that is at hand as a whole; places are indices.
pub fn page_of<T: OutputType>(asked: Asked, all: impl Iterator<Item = T>) -> Page<T> {
    let skipped = asked.after.map_or(0, |after| after.saturating_add(1));
    let start = usize::try_from(skipped).unwrap_or(usize::MAX);
    let found = (0..).zip(all).skip(start).take(asked.first.saturating_add(1)).collect();
    page(asked, found)
}
