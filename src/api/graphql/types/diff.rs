//! Diffs, their files and hunks.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object};
use cody_events::diff::{
    ChangedFile, CommentPayload, DiffApproved, DiffProduced, DiffProducedPayload,
};
use cody_events::ids::JobId;
use cody_projections::diffs::DiffRow;
use tokio::sync::OnceCell;

use super::job::Actor;
use super::payload_of;
use super::scalars::{DateTime, Long};
use super::words::{By, FileChange, Judgement};
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::api::graphql::pages::{self, Page};
use crate::api::graphql::pages_of;
use crate::api::graphql::services::app;
use crate::api::patch_view;

/// What was made of a target.
#[derive(Debug, Clone)]
pub struct Diff {
    pub job: JobId,
    pub row: DiffRow,
    /// Read once, whichever fields ask for it.
    payload: Arc<OnceCell<Option<Arc<DiffProducedPayload>>>>,
}

/// What was said of a diff last.
#[derive(Debug, Clone, async_graphql::SimpleObject)]
pub struct DiffJudgement {
    /// What was said.
    pub judgement: Judgement,
    /// Whether a person said it, or a rule of the server.
    pub by: By,
    /// Who said it, and through which door.
    pub actor: Actor,
    /// When.
    pub at: DateTime,
    /// In words; nothing if there were none, or if they were removed.
    pub comment: Option<String>,
}

/// A file of a diff.
#[derive(Debug, Clone)]
pub struct DiffFile {
    position: u64,
    index: u32,
    file: ChangedFile,
    /// Its part of the patch.
    section: String,
}

/// A run of lines that changed, with some around it.
#[derive(Debug, Clone)]
pub struct DiffHunk {
    position: u64,
    file: u32,
    index: u32,
    hunk: patch_view::Hunk,
}

/// The difference between a target's base and its tree, as the server derived it.
#[Object]
impl Diff {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Diff(self.row.position).into()
    }

    /// The SHA-256 of the patch: what a review binds to.
    async fn hash(&self) -> String {
        self.row.diff_hash.to_string()
    }

    /// The commit that it starts from, as git names it.
    async fn base_commit(&self) -> String {
        self.row.base_commit.to_string()
    }

    /// The tree that it leads to, as git names it.
    async fn tree(&self) -> String {
        self.row.tree.to_string()
    }

    /// The round that it was made in.
    async fn round(&self) -> Long {
        Long(self.row.round)
    }

    /// When it was made.
    async fn produced_at(&self) -> DateTime {
        DateTime(self.row.produced_at)
    }

    /// Whether work stopped before it was judged good.
    async fn is_partial(&self) -> bool {
        self.row.is_partial
    }

    /// Files changed.
    async fn file_count(&self) -> Long {
        Long(self.row.file_count)
    }

    /// Lines added.
    async fn added_line_count(&self) -> Long {
        Long(self.row.added_line_count)
    }

    /// Lines deleted.
    async fn deleted_line_count(&self) -> Long {
        Long(self.row.deleted_line_count)
    }

    /// Bytes of the patch.
    async fn byte_count(&self) -> Long {
        Long(self.row.byte_count)
    }

    /// Where the patch can be downloaded, below the server's address.
    async fn patch_path(&self) -> String {
        format!(
            "/jobs/{}/targets/{}/diff.patch?diff={}",
            self.job, self.row.target, self.row.diff_hash
        )
    }

    /// What Claude calls it.
    #[graphql(complexity = 50)]
    async fn title(&self, context: &Context<'_>) -> Result<Option<String>, Error> {
        Ok(self.payload(context).await?.map(|payload| payload.title.clone()))
    }

    /// What Claude says of it.
    #[graphql(complexity = 50)]
    async fn summary(&self, context: &Context<'_>) -> Result<Option<String>, Error> {
        Ok(self.payload(context).await?.map(|payload| payload.summary.clone()))
    }

    /// What Claude says bears it out.
    #[graphql(complexity = 50)]
    async fn evidence(&self, context: &Context<'_>) -> Result<Vec<String>, Error> {
        Ok(self.payload(context).await?.map(|payload| payload.evidence.clone()).unwrap_or_default())
    }

    /// What was said of it last, by a person or by the server.
    async fn judgement(&self, context: &Context<'_>) -> Result<Option<DiffJudgement>, Error> {
        let Some(judged) = self.row.judgement else { return Ok(None) };
        let before = judged.position.saturating_sub(1);
        let found = app(context)?.log().read_log(before, 1).await;
        let found = found.map_err(|error| internal(error.into()))?;
        let Some(recorded) = found.into_iter().next() else { return Ok(None) };
        // Every judgement has the same payload.
        let words: Option<CommentPayload> =
            payload_of::<DiffApproved>(context, judged.position).await?;
        Ok(Some(DiffJudgement {
            judgement: judged.judgement.into(),
            by: judged.by.into(),
            actor: Actor { name: recorded.actor, door: recorded.door.into() },
            at: DateTime(recorded.recorded_at),
            comment: words.map(|words| words.comment).filter(|comment| !comment.is_empty()),
        }))
    }

    /// Its files, in the order of the patch.
    #[graphql(complexity = "50 + pages_of(first) * child_complexity")]
    async fn files(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Page<DiffFile>, Error> {
        let asked = match pages::asked(first, after.as_deref()) {
            Ok(asked) => asked,
            Err(error) => return Ok(pages::refused(error)),
        };
        let files = match self.payload(context).await? {
            Some(payload) => files(self.row.position, &payload)?,
            None => Vec::new(),
        };
        Ok(pages::page_of(asked, files.into_iter()))
    }
}

impl Diff {
    /// The diff of this row.
    pub fn new(job: JobId, row: DiffRow) -> Self {
        Self { job, row, payload: Arc::default() }
    }

    async fn payload(
        &self,
        context: &Context<'_>,
    ) -> Result<Option<Arc<DiffProducedPayload>>, Error> {
        let position = self.row.position;
        let read = async || {
            let payload = payload_of::<DiffProduced>(context, position).await?;
            Ok(payload.map(Arc::new))
        };
        self.payload.get_or_try_init(read).await.cloned()
    }
}

/// The files of a diff with their parts of its patch. What is no text in it is replaced.
pub fn files(position: u64, payload: &DiffProducedPayload) -> Result<Vec<DiffFile>, Error> {
    let bytes = payload.patch.bytes().map_err(|_| Error::new("The recorded patch is damaged."))?;
    let patch = String::from_utf8_lossy(&bytes).into_owned();
    let sections = patch_view::sections(&patch);
    let sections = sections.into_iter().map(Some).chain(std::iter::repeat(None));
    Ok((0..)
        .zip(payload.files.iter().cloned().zip(sections))
        .map(|(index, (file, section))| {
            let section = section.unwrap_or_default().to_owned();
            DiffFile { position, index, file, section }
        })
        .collect())
}

/// A file of a diff.
#[Object]
impl DiffFile {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::File(self.position, self.index).into()
    }

    /// Its path, from the repository's root. What is no UTF-8 is replaced.
    async fn path(&self) -> String {
        self.file.path.display().into_owned()
    }

    /// What became of it.
    async fn change(&self) -> FileChange {
        self.file.change.into()
    }

    /// Whether it is no text.
    async fn is_binary(&self) -> bool {
        self.file.binary
    }

    /// Lines added.
    async fn added_line_count(&self) -> Long {
        Long(self.file.added_line_count)
    }

    /// Lines deleted.
    async fn deleted_line_count(&self) -> Long {
        Long(self.file.deleted_line_count)
    }

    /// Runs of lines that changed, in order; none of a binary file.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn hunks(
        &self,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Page<DiffHunk> {
        let asked = match pages::asked(first, after.as_deref()) {
            Ok(asked) => asked,
            Err(error) => return pages::refused(error),
        };
        pages::page_of(asked, self.all_hunks())
    }
}

impl DiffFile {
    /// Every hunk of the file.
    pub fn all_hunks(&self) -> impl Iterator<Item = DiffHunk> {
        let (position, file) = (self.position, self.index);
        (0..).zip(patch_view::hunks(&self.section)).map(move |(index, hunk)| DiffHunk {
            position,
            file,
            index,
            hunk,
        })
    }
}

/// A run of lines that changed, with some around it.
#[Object]
impl DiffHunk {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Hunk(self.position, self.file, self.index).into()
    }

    /// The line that git begins it with.
    async fn header(&self) -> &str {
        &self.hunk.header
    }

    /// Its first line in the old file, from 1.
    async fn old_start(&self) -> Long {
        Long(self.hunk.old_start)
    }

    /// Its first line in the new file, from 1.
    async fn new_start(&self) -> Long {
        Long(self.hunk.new_start)
    }

    /// Its lines, each with a blank, `+` or `-` in front.
    async fn lines(&self) -> &[String] {
        &self.hunk.lines
    }
}
