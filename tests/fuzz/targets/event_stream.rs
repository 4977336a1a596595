//! The parser of event streams and what makes a response of them: bytes that come in pieces say the
//! same as in one, and no stream brings anything but a response or an error.

#![no_main]

use cody_batch::claude::assemble::{Assembler, BadStream, Response, StreamProgress};
use cody_batch::claude::sse::{SseEvent, SseParser};
use cody_events::thread::Usage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(std::iter::once(bytes));
    assert!(whole.events.iter().map(|event| event.data.len()).sum::<usize>() <= bytes.len() * 3);
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    // Cut into pieces as long as its last bytes say, again and again.
    let lengths = &bytes[bytes.len().saturating_sub(4)..];
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle().take(1_000) {
        let (piece, left) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    assert_eq!(read(pieces.into_iter()), whole, "in pieces");

    if let Ok(response) = &whole.response {
        for block in &response.content {
            serde_json::from_str::<serde_json::Value>(block.get()).unwrap();
        }
    }
});

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    /// All that the bytes hold, also after the end of the response.
    events: Vec<SseEvent>,
    progress: Vec<String>,
    usage: Option<Usage>,
    response: Result<Response, BadStream>,
}

/// Reads as the client does: once the response is complete, no further piece is asked for.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut parser = SseParser::default();
    let mut assembler = Assembler::default();
    let (mut events, mut progress) = (Vec::new(), Vec::new());
    let mut failed = None;
    for piece in pieces {
        let before = events.len();
        parser.feed(piece, &mut events).unwrap();
        if assembler.stopped() {
            continue;
        }
        for event in &events[before..] {
            if failed.is_none() {
                let mut note = |step: StreamProgress<'_>| progress.push(format!("{step:?}"));
                failed = assembler.take(event, &mut note).err();
            }
        }
    }
    let (usage, is_complete) = (assembler.usage_seen(), assembler.stopped());
    let response = failed.map_or_else(|| assembler.finish(), Err);
    assert!(is_complete || response.is_err());
    Read { events, progress, usage, response }
}
