//! Limits that count over a whole request: what the library has none for.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{ErrorExtensions as _, Positioned, ServerError, ServerResult, Variables};

/// Aliases that one request may have: each may have the same costly field read once more.
const MAX_ALIASES: usize = 30;
/// Operations and fragments that one document may have.
const MAX_DEFINITIONS: usize = 50;
/// Fields on the first level of an operation: each mutation there is carried out.
const MAX_ROOT_FIELDS: usize = 20;

/// Refuses requests that are many in one.
#[derive(Debug)]
pub struct Limits;

impl ExtensionFactory for Limits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Limits {
    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(context, query, variables).await?;
        check(&document)?;
        Ok(document)
    }
}

fn check(document: &ExecutableDocument) -> ServerResult<()> {
    let operations = || document.operations.iter().map(|(_, operation)| &operation.node);
    let definitions = operations().count() + document.fragments.len();
    if definitions > MAX_DEFINITIONS {
        return Err(too_many("operations and fragments", definitions, MAX_DEFINITIONS));
    }
    let mut aliases = 0;
    for operation in operations() {
        let roots = operation.selection_set.node.items.len();
        if roots > MAX_ROOT_FIELDS {
            return Err(too_many("fields on the first level", roots, MAX_ROOT_FIELDS));
        }
        aliases += aliases_in(&operation.selection_set);
    }
    aliases += document
        .fragments
        .values()
        .map(|fragment| aliases_in(&fragment.node.selection_set))
        .sum::<usize>();
    match aliases > MAX_ALIASES {
        true => Err(too_many("aliases", aliases, MAX_ALIASES)),
        false => Ok(()),
    }
}

/// Aliases below a selection. The parser has bounded how deep it is.
fn aliases_in(set: &Positioned<SelectionSet>) -> usize {
    set.node
        .items
        .iter()
        .map(|selection| match &selection.node {
            Selection::Field(field) => {
                usize::from(field.node.alias.is_some()) + aliases_in(&field.node.selection_set)
            }
            Selection::InlineFragment(fragment) => aliases_in(&fragment.node.selection_set),
            Selection::FragmentSpread(_) => 0,
        })
        .sum()
}

fn too_many(what: &str, count: usize, most: usize) -> ServerError {
    let message =
        format!("The request has {count} {what}; the limit is {most}. Send several requests.");
    let error = async_graphql::Error::new(message)
        .extend_with(|_, extensions| extensions.set("code", "TOO_MANY"));
    error.into_server_error(async_graphql::Pos::default())
}
