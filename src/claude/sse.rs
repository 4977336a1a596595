//! Server-sent events out of bytes that may be cut anywhere. Knows the framing of the WHATWG
//! specification and nothing of Claude.

/// One event: its name, and its data lines joined by newlines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Empty if the event names none.
    pub name: String,
    pub data: String,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub struct SseParser {
    /// Bytes of a line whose end has not come yet.
    line: Vec<u8>,
    /// Whether the last byte was a CR, whose LF may still come.
    after_cr: bool,
    started: bool,
    event: SseEvent,
    has_data: bool,
}

/// A line longer than any that a sane server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the event stream is longer than {MAX_LINE} bytes")]
pub struct LineTooLong;

const MAX_LINE: usize = 64 * 1024 * 1024;

impl SseParser {
    /// Takes the next bytes and appends each event that they complete to `events`.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), LineTooLong> {
        for &byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' => self.end_line(events),
                b'\r' => {
                    self.after_cr = true;
                    self.end_line(events);
                }
                _ if self.line.len() >= MAX_LINE => return Err(LineTooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = line.as_ref();
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments have an empty field name; `id` and `retry` mean nothing to one request.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\nevent: ping\r\ndata: {}\r\n\r\nevent: a\ndata: one\ndata:two\nid: 7\n\n\
                          data: grün 🌱\r\rno-colon\nevent: left over\n\ndata: never ended";

    fn expected() -> Vec<SseEvent> {
        let event = |name: &str, data: &str| SseEvent { name: name.into(), data: data.into() };
        vec![event("ping", "{}"), event("a", "one\ntwo"), event("", "grün 🌱")]
    }

    #[test]
    fn every_way_to_cut_the_bytes_gives_the_same_events() {
        for size in 1..=STREAM.len() {
            let mut parser = SseParser::default();
            let mut events = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                parser.feed(piece, &mut events).unwrap();
            }
            assert_eq!(events, expected(), "pieces of {size} bytes");
        }
    }
}
