//! What a command printed, within bounds: its beginning and its end.

use std::collections::VecDeque;
use std::io::Read;

/// Output that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CappedOutput {
    pub bytes: Vec<u8>,
    pub cut_bytes: u64,
}

impl CappedOutput {
    /// Reads all of `source`, and keeps at most `cap` bytes of it.
    pub fn read(mut source: impl Read, cap: u64) -> Self {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        let head_cap = cap / 2;
        let tail_cap = cap - head_cap;
        let mut head = Vec::new();
        let mut tail: VecDeque<u8> = VecDeque::new();
        let mut cut_bytes = 0u64;
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let (first, rest) = buffer[..read].split_at(read.min(head_cap - head.len()));
            head.extend(first);
            tail.extend(rest);
            let excess = tail.len().saturating_sub(tail_cap);
            tail.drain(..excess);
            cut_bytes += excess as u64;
        }
        let mut bytes = head;
        if cut_bytes > 0 {
            bytes.extend(format!("\n[… {cut_bytes} bytes left out …]\n").as_bytes());
        }
        bytes.extend(tail);
        Self { bytes, cut_bytes }
    }
}
