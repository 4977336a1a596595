//! Limits that count over a whole request: what the library has none for.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{ErrorExtensions as _, ServerError, ServerResult, Variables};

/// Aliases that one request may have: each may have the same costly field read once more.
const MAX_ALIASES: usize = 30;
/// Operations and fragments that one document may have.
const MAX_DEFINITIONS: usize = 50;
/// Fields of one operation, those of its fragments as often as they are spread: one that is asked for
/// twice is read twice.
const MAX_FIELDS: usize = 1_000;
/// How deep selections may stand in one another; the library bounds fields by less.
const MAX_NESTING: usize = 40;
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
    let definitions = document.operations.iter().count() + document.fragments.len();
    if definitions > MAX_DEFINITIONS {
        return Err(too_many("operations and fragments", definitions, MAX_DEFINITIONS));
    }
    for (_, operation) in document.operations.iter() {
        let mut count = Count { document, fields: 0, roots: 0, aliases: 0 };
        count.add(&operation.node.selection_set.node, true, 0);
        if count.fields > MAX_FIELDS {
            return Err(too_many("fields or more", count.fields, MAX_FIELDS));
        }
        if count.roots > MAX_ROOT_FIELDS {
            return Err(too_many("fields on the first level", count.roots, MAX_ROOT_FIELDS));
        }
        if count.aliases > MAX_ALIASES {
            return Err(too_many("aliases", count.aliases, MAX_ALIASES));
        }
    }
    Ok(())
}

/// What an operation adds up to when its fragments stand where they are spread. It stops counting when
/// it is too much already, so that fragments that multiply cost nothing.
struct Count<'a> {
    document: &'a ExecutableDocument,
    fields: usize,
    roots: usize,
    aliases: usize,
}

impl Count<'_> {
    fn add(&mut self, set: &SelectionSet, is_root: bool, depth: usize) {
        for selection in &set.items {
            // Each selection counts, so that empty spreads cannot go on for ever.
            self.fields += 1;
            if self.fields > MAX_FIELDS || depth > MAX_NESTING {
                self.fields = self.fields.max(MAX_FIELDS + 1);
                return;
            }
            match &selection.node {
                Selection::Field(field) => {
                    self.roots += usize::from(is_root);
                    self.aliases += usize::from(field.node.alias.is_some());
                    self.add(&field.node.selection_set.node, false, depth + 1);
                }
                Selection::InlineFragment(fragment) => {
                    self.add(&fragment.node.selection_set.node, is_root, depth + 1);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        self.add(&fragment.node.selection_set.node, is_root, depth + 1);
                    }
                }
            }
        }
    }
}

fn too_many(what: &str, count: usize, most: usize) -> ServerError {
    let message =
        format!("The request has {count} {what}; the limit is {most}. Send several requests.");
    let error = async_graphql::Error::new(message)
        .extend_with(|_, extensions| extensions.set("code", "TOO_MANY"));
    error.into_server_error(async_graphql::Pos::default())
}
