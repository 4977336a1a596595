//! The parser of event streams and what makes a response of them: bytes that come in pieces say the
//! same as in one, and no stream brings anything but a response or an error.

#![no_main]

use cody_batch::claude::assemble::Assembler;
use cody_batch::claude::sse::{SseEvent, SseParser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut whole = Vec::new();
    let is_whole = SseParser::default().feed(bytes, &mut whole).is_ok();

    let mut pieces: Vec<SseEvent> = Vec::new();
    let mut parser = SseParser::default();
    let mut rest = bytes;
    let mut is_fed = true;
    // Cut into pieces as long as its last bytes say, again and again.
    let lengths = &bytes[bytes.len().saturating_sub(4)..];
    for length in lengths.iter().cycle().take(1_000) {
        let (piece, left) = rest.split_at(usize::from(length % 32).min(rest.len()));
        is_fed &= parser.feed(piece, &mut pieces).is_ok();
        rest = left;
    }
    is_fed &= parser.feed(rest, &mut pieces).is_ok();
    assert_eq!((is_whole, &whole), (is_fed, &pieces));
    assert!(whole.iter().map(|event| event.data.len()).sum::<usize>() <= bytes.len() * 3);

    let mut assembler = Assembler::default();
    for event in &whole {
        if assembler.take(event, &mut |_| {}).is_err() {
            return;
        }
    }
    let _ = assembler.usage_seen();
    let is_complete = assembler.stopped();
    if let Ok(response) = assembler.finish() {
        assert!(is_complete);
        for block in &response.content {
            serde_json::from_str::<serde_json::Value>(block.get()).unwrap();
        }
    }
});
