//! One response out of its stream of events. Keeps every block as it came, also kinds and members
//! that this version does not know, because Claude's provider checks them when they go back.

use cody_events::raw::RawJson;
use cody_events::thread::{CallClass, StopReason, Usage};
use serde::Deserialize;

use super::failure::ProviderError;
use super::open_block::OpenBlock;
use super::rate_limits::RateLimits;
use super::raw_object::RawObject;
use super::sse::SseEvent;
use super::usage::WireUsage;

/// What happens while a response arrives, for the limiter and for a person who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamProgress<'a> {
    /// The headers of the answer came, whatever it says.
    Answered(&'a RateLimits),
    /// The first event came.
    Started,
    /// A block of this kind began; `name` is the tool's if it calls one.
    Block {
        index: usize,
        kind: &'a str,
        name: Option<&'a str>,
    },
    Text(&'a str),
    Thinking(&'a str),
    /// So many more bytes of a tool's input.
    ToolInput(usize),
}

/// A response, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub message_id: String,
    pub model: String,
    /// The blocks, as they must be sent back.
    pub content: Vec<RawJson>,
    pub stop_reason: StopReason,
    /// The stop reason in the provider's own word.
    pub stop_reason_text: String,
    pub stop_details: Option<RawJson>,
    /// What is charged.
    pub usage: Usage,
    /// What the provider reported, as far as this version reads it.
    pub wire_usage: WireUsage,
    /// The tool call whose input was cut off. Its block in `content` has the empty input `{}`; it
    /// must neither be run nor enter history.
    pub incomplete: Option<IncompleteTool>,
}

/// A tool call that the end of the response cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteTool {
    /// Which block of the content it is.
    pub index: usize,
    /// As much of its input as came.
    pub partial_input: String,
}

/// Why a stream gives no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadStream {
    pub class: CallClass,
    pub message: String,
}

/// Collects the events of one stream.
#[derive(Debug, Default)]
pub struct Assembler {
    start: Option<MessageStart>,
    usage: Option<WireUsage>,
    blocks: Vec<OpenBlock>,
    stop_reason: Option<String>,
    stop_details: Option<RawJson>,
    stopped: bool,
}

#[derive(Debug, Deserialize)]
struct MessageStart {
    id: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    content: Vec<RawObject>,
    stop_reason: Option<String>,
    stop_details: Option<RawJson>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(rename = "type")]
    kind: String,
    message: Option<MessageStart>,
    index: Option<usize>,
    content_block: Option<RawObject>,
    delta: Option<RawObject>,
    usage: Option<WireUsage>,
}

pub(super) fn malformed(message: impl Into<String>) -> BadStream {
    BadStream { class: CallClass::Malformed, message: message.into() }
}

impl Assembler {
    /// Takes one event. Events of unknown type are skipped, as the provider asks of its clients, and
    /// so is all that follows the end of the response.
    pub fn take(
        &mut self,
        event: &SseEvent,
        progress: &mut impl FnMut(StreamProgress<'_>),
    ) -> Result<(), BadStream> {
        // What comes after the end may come in the same piece of the stream or never be asked for.
        if self.stopped {
            return Ok(());
        }
        if event.name == "error" {
            return Err(provider_error(&event.data));
        }
        let wire: WireEvent = match serde_json::from_str(&event.data) {
            Ok(wire) => wire,
            Err(_) if !KNOWN.contains(&event.name.as_str()) && !event.name.is_empty() => {
                return Ok(());
            }
            Err(error) => {
                return Err(malformed(format!("an event of the stream is not readable: {error}")));
            }
        };
        match wire.kind.as_str() {
            "message_start" => self.begin(wire.message, progress),
            "content_block_start" => self.begin_block(wire.index, wire.content_block, progress),
            "content_block_delta" => self.grow(wire.index, wire.delta, progress),
            "message_delta" => self.note_end(wire.delta, wire.usage),
            "message_stop" => {
                self.stopped = true;
                Ok(())
            }
            "error" => Err(provider_error(&event.data)),
            _ => Ok(()),
        }
    }

    /// Whether the stream has said that it is complete.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The tokens reported so far.
    pub fn usage_seen(&self) -> Option<Usage> {
        self.usage.as_ref().map(WireUsage::charged)
    }

    /// The response, if all of it came.
    pub fn finish(self) -> Result<Response, BadStream> {
        let Some(start) = self.start.filter(|_| self.stopped) else {
            return Err(BadStream {
                class: CallClass::Truncated,
                message: "the stream ended before the response was complete".into(),
            });
        };
        let Some(word) = self.stop_reason else {
            return Err(malformed("the response is complete but names no stop reason"));
        };
        let Some(usage) = self.usage else {
            return Err(malformed("the response is complete but reports no usage"));
        };
        let stop_reason = stop_reason(&word);
        let last = self.blocks.len().saturating_sub(1);
        let mut incomplete = None;
        let mut content = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.into_iter().enumerate() {
            let bare_call = block.kind == "tool_use" && block.input.is_empty();
            let (bytes, mut partial_input) = block.close()?;
            // A call that was cut before its input began looks like one without arguments.
            if bare_call && index == last && was_cut(stop_reason) {
                partial_input = Some(String::new());
            }
            if let Some(partial_input) = partial_input {
                if index != last || !was_cut(stop_reason) {
                    return Err(malformed("the input of a tool call is not a JSON object"));
                }
                incomplete = Some(IncompleteTool { index, partial_input });
            }
            content.push(bytes);
        }
        Ok(Response {
            message_id: start.id,
            model: start.model,
            content,
            stop_reason,
            stop_reason_text: word,
            stop_details: self.stop_details,
            usage: usage.charged(),
            wire_usage: usage,
            incomplete,
        })
    }

    fn begin(
        &mut self,
        message: Option<MessageStart>,
        progress: &mut impl FnMut(StreamProgress<'_>),
    ) -> Result<(), BadStream> {
        let message = message.ok_or_else(|| malformed("`message_start` has no message"))?;
        if self.start.is_some() {
            return Err(malformed("the stream starts a second message"));
        }
        self.usage = message.usage.clone();
        self.start = Some(message);
        progress(StreamProgress::Started);
        Ok(())
    }

    fn begin_block(
        &mut self,
        index: Option<usize>,
        members: Option<RawObject>,
        progress: &mut impl FnMut(StreamProgress<'_>),
    ) -> Result<(), BadStream> {
        let members = members.ok_or_else(|| malformed("a block starts without content"))?;
        if self.start.is_none() || index != Some(self.blocks.len()) {
            return Err(malformed("the blocks of the stream are out of order"));
        }
        let block = OpenBlock::new(members);
        progress(StreamProgress::Block {
            index: self.blocks.len(),
            kind: &block.kind,
            name: block.members.text("name").as_deref(),
        });
        self.blocks.push(block);
        Ok(())
    }

    fn grow(
        &mut self,
        index: Option<usize>,
        delta: Option<RawObject>,
        progress: &mut impl FnMut(StreamProgress<'_>),
    ) -> Result<(), BadStream> {
        let block = index.and_then(|index| self.blocks.get_mut(index));
        match (block, delta) {
            (Some(block), Some(delta)) => {
                block.grow(&delta, progress);
                Ok(())
            }
            _ => Err(malformed("a piece of the stream belongs to no block")),
        }
    }

    fn note_end(
        &mut self,
        delta: Option<RawObject>,
        usage: Option<WireUsage>,
    ) -> Result<(), BadStream> {
        if let Some(delta) = delta {
            if let Some(word) = delta.text("stop_reason") {
                self.stop_reason = Some(word);
            }
            if let Some(details) = delta.get("stop_details").filter(|raw| raw.get() != "null") {
                self.stop_details = Some(details.clone());
            }
        }
        if let Some(usage) = usage {
            self.usage.get_or_insert_default().update(usage);
        }
        Ok(())
    }
}

/// Reads a response that came as one JSON document.
pub fn whole_message(text: &str) -> Result<Response, BadStream> {
    let mut message: MessageStart = serde_json::from_str(text)
        .map_err(|error| malformed(format!("the response is not a message: {error}")))?;
    let blocks = std::mem::take(&mut message.content);
    let assembler = Assembler {
        usage: message.usage.clone(),
        blocks: blocks.into_iter().map(OpenBlock::new).collect(),
        stop_reason: message.stop_reason.clone(),
        stop_details: message.stop_details.clone(),
        start: Some(message),
        stopped: true,
    };
    assembler.finish()
}

const KNOWN: [&str; 8] = [
    "message_start",
    "message_delta",
    "message_stop",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "ping",
    "error",
];

fn provider_error(data: &str) -> BadStream {
    let error = ProviderError::read(data);
    BadStream {
        class: error.class_of_event(),
        message: format!("the provider broke off the stream: {} {}", error.kind, error.message),
    }
}

fn stop_reason(word: &str) -> StopReason {
    // The names on the wire are the event's own.
    serde_json::from_value(word.into()).unwrap_or(StopReason::Unknown)
}

/// Whether a response that stopped so may end in the middle of a tool call.
fn was_cut(reason: StopReason) -> bool {
    match reason {
        StopReason::MaxTokens
        | StopReason::ModelContextWindowExceeded
        | StopReason::Refusal
        | StopReason::Unknown => true,
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::ToolUse
        | StopReason::PauseTurn => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::sse::SseParser;
    use proptest::prelude::*;

    const STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"new\":1e2,\"signature\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"a\\u00e9\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\\/+==\"}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"T\",\"citations\":[]}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"at\":7}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{}}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\" : 1.0\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"0 }\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    fn read(bytes: &[u8]) -> Result<Response, BadStream> {
        let mut events = Vec::new();
        SseParser::default().feed(bytes, &mut events).unwrap();
        let mut assembler = Assembler::default();
        for event in &events {
            assembler.take(event, &mut |_| {})?;
        }
        assembler.finish()
    }

    #[test]
    fn what_no_piece_touches_comes_out_byte_for_byte() {
        let response = read(STREAM.as_bytes()).unwrap();
        let content: Vec<_> = response.content.iter().map(RawJson::get).collect();
        assert_eq!(
            content,
            [
                r#"{"type":"thinking","thinking":"aé","new":1e2,"signature":"s\/+=="}"#,
                r#"{"type":"text","text":"T","citations":[{"at":7}]}"#,
                r#"{"type":"tool_use","id":"t","name":"n","input":{"a" : 1.00 }}"#,
            ]
        );
        assert_eq!(response.usage.output_tokens, 9);
    }

    #[test]
    fn a_stream_that_ends_anywhere_before_its_end_gives_nothing() {
        for length in 0..STREAM.len() - 1 {
            assert_eq!(read(&STREAM.as_bytes()[..length]).unwrap_err().class, CallClass::Truncated);
        }
    }

    #[test]
    fn nothing_after_the_end_takes_a_response_away() {
        let expected = read(STREAM.as_bytes());
        assert!(expected.is_ok());
        for after in [
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            r#"{"type":"message_start","message":{"id":"msg_2"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#,
            r#"{"type":"content_block_delta","index":9,"delta":{}}"#,
            "{",
        ] {
            let stream = format!("{STREAM}data: {after}\n\n");
            assert_eq!(read(stream.as_bytes()), expected, "{after}");
        }
    }

    #[test]
    fn a_finished_tool_call_without_a_json_object_is_no_response() {
        for broken in ["0 ", "}}", "0 }]"] {
            let stream = STREAM.replace("0 }\"", &format!("{broken}\""));
            assert_eq!(
                read(stream.as_bytes()).unwrap_err().class,
                CallClass::Malformed,
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_damage_to_a_stream_brings_us_down(
            damage in prop::collection::vec((0..STREAM.len(), any::<u8>()), 1..8),
        ) {
            let mut bytes = STREAM.as_bytes().to_vec();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
