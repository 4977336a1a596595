//! One content block while its pieces arrive. What no piece touches stays as it came; knows
//! nothing of the stream around it.

use cody_events::raw::RawJson;

use super::assemble::{BadStream, StreamProgress, malformed};
use super::raw_object::RawObject;

/// A block and the pieces that came for it.
#[derive(Debug, Default)]
pub(super) struct OpenBlock {
    pub members: RawObject,
    pub kind: String,
    /// Strings that grow piece by piece, by member.
    texts: Vec<(String, String)>,
    citations: Vec<RawJson>,
    /// The text of a tool's input, as far as it came.
    pub input: String,
}

impl OpenBlock {
    pub fn new(members: RawObject) -> Self {
        let kind = members.text("type").unwrap_or_default();
        Self { members, kind, ..Self::default() }
    }

    pub fn grow(&mut self, delta: &RawObject, progress: &mut impl FnMut(StreamProgress<'_>)) {
        match delta.text("type").as_deref() {
            Some("input_json_delta") => {
                let piece = delta.text("partial_json").unwrap_or_default();
                self.input.push_str(&piece);
                progress(StreamProgress::ToolInput(piece.len()));
            }
            // A signature comes whole; a second one would replace the first.
            Some("signature_delta") => {
                if let Some(signature) = delta.get("signature") {
                    self.members.set("signature", signature.clone());
                }
            }
            Some("citations_delta") => self.citations.extend(delta.get("citation").cloned()),
            // Also for kinds of pieces that are not known: strings grow, other values replace.
            kind => {
                for (name, value) in delta.members().filter(|(name, _)| *name != "type") {
                    let Ok(piece) = value.read::<String>() else {
                        self.members.set(name, value.clone());
                        continue;
                    };
                    match kind {
                        Some("text_delta") => progress(StreamProgress::Text(&piece)),
                        Some("thinking_delta") => progress(StreamProgress::Thinking(&piece)),
                        _ => {}
                    }
                    self.lengthen(name, &piece);
                }
            }
        }
    }

    fn lengthen(&mut self, name: &str, piece: &str) {
        if let Some((_, text)) = self.texts.iter_mut().find(|(member, _)| member == name) {
            text.push_str(piece);
        } else {
            let start = self.members.text(name).unwrap_or_default();
            self.texts.push((name.to_owned(), start + piece));
        }
    }

    /// The block's bytes, and the input of its tool call if that is not a JSON object.
    pub fn close(mut self) -> Result<(RawJson, Option<String>), BadStream> {
        let unwritable = |error| malformed(format!("a block cannot be kept: {error}"));
        for (name, text) in &self.texts {
            self.members.set(name, RawJson::render(text).map_err(unwritable)?);
        }
        if !self.citations.is_empty() {
            let mut all: Vec<RawJson> =
                self.members.get("citations").and_then(|old| old.read().ok()).unwrap_or_default();
            all.append(&mut self.citations);
            self.members.set("citations", RawJson::render(&all).map_err(unwritable)?);
        }
        let mut partial = None;
        if !self.input.is_empty() {
            match RawJson::parse(self.input.trim()) {
                Ok(input) if input.get().starts_with('{') => self.members.set("input", input),
                _ => {
                    self.members.set("input", RawJson::parse("{}").map_err(unwritable)?);
                    partial = Some(self.input);
                }
            }
        }
        Ok((self.members.render().map_err(unwritable)?, partial))
    }
}
