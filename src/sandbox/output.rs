//! What a command printed, within bounds: its beginning and its end.

use std::collections::VecDeque;

/// Takes output as it comes and keeps at most a cap of it, half from each end.
#[derive(Debug)]
pub(super) struct CappedOutput {
    head: Vec<u8>,
    head_cap: usize,
    tail: VecDeque<u8>,
    tail_cap: usize,
    cut_bytes: u64,
}

impl CappedOutput {
    pub(super) fn new(cap: u64) -> Self {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        Self {
            head: Vec::new(),
            head_cap: cap / 2,
            tail: VecDeque::new(),
            tail_cap: cap - cap / 2,
            cut_bytes: 0,
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = self.head_cap.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.tail_cap);
        self.tail.drain(..excess);
        self.cut_bytes += excess as u64;
    }

    /// What was kept, with a line that says how much is missing where some is, and that number.
    pub(super) fn finish(self) -> (Vec<u8>, u64) {
        let mut bytes = self.head;
        if self.cut_bytes > 0 {
            bytes.extend(format!("\n[… {} bytes left out …]\n", self.cut_bytes).as_bytes());
        }
        bytes.extend(self.tail);
        (bytes, self.cut_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_survive_any_amount() {
        let mut output = CappedOutput::new(8);
        for part in [&b"ab"[..], b"cdef", b"", b"ghijklmnop", b"q"] {
            output.take(part);
        }
        let (bytes, cut_bytes) = output.finish();
        assert_eq!(String::from_utf8(bytes).unwrap(), "abcd\n[… 9 bytes left out …]\nnopq");
        assert_eq!(cut_bytes, 9);
    }

    #[test]
    fn what_fits_is_whole() {
        let mut output = CappedOutput::new(8);
        output.take(b"abcde");
        output.take(b"fgh");
        assert_eq!(output.finish(), (b"abcdefgh".to_vec(), 0));
    }
}
