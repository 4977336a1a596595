//! A part of a long text, taken while the text is written.

use async_trait::async_trait;

use crate::api::downloads::DownloadError;
use crate::api::downloads::outlet::Outlet;

/// Takes a part of what is written, and wants no more when it is full.
#[derive(Debug)]
pub struct Window {
    offset: u64,
    left_out: u64,
    most: usize,
    bytes: Vec<u8>,
    is_full: bool,
}

impl Window {
    /// At most `most` bytes after the first `offset`.
    pub fn new(offset: u64, most: usize) -> Self {
        Self { offset, left_out: 0, most, bytes: Vec::new(), is_full: false }
    }

    /// Whether `written` ended as it should: wholly, or because the window is full.
    pub fn check(&self, written: Result<(), DownloadError>) -> Result<(), DownloadError> {
        match written {
            Err(DownloadError::Write(_)) if self.is_full => Ok(()),
            written => written,
        }
    }

    /// What it took, and where the next part begins. A character that was cut through belongs to the
    /// next part.
    pub fn end(self) -> (String, Option<u64>) {
        let whole = match std::str::from_utf8(&self.bytes) {
            Err(error) if self.is_full && error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.bytes.len(),
        };
        let next = self.is_full.then_some(self.left_out + whole as u64);
        let text = self.bytes.get(..whole).unwrap_or_default();
        (String::from_utf8_lossy(text).into_owned(), next)
    }
}

#[async_trait]
impl Outlet for Window {
    async fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let skip = usize::try_from(self.offset - self.left_out).unwrap_or(usize::MAX);
        let (skipped, rest) = bytes.split_at(skip.min(bytes.len()));
        self.left_out += skipped.len() as u64;
        let (taken, left) = rest.split_at(rest.len().min(self.most - self.bytes.len()));
        self.bytes.extend_from_slice(taken);
        if !left.is_empty() {
            self.is_full = true;
            return Err(std::io::Error::other("no more is wanted"));
        }
        Ok(())
    }
}

/// A part of a text that is there, and where the next one begins.
pub fn part(text: &str, offset: u64, most: usize) -> (&str, Option<u64>) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let start = text.ceil_char_boundary(start);
    let end = text.floor_char_boundary(start.saturating_add(most).min(text.len()));
    let next = (end < text.len()).then_some(end as u64);
    (text.get(start..end).unwrap_or_default(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_make_the_whole_again() {
        let words = "aé€𝄞 ".repeat(40);
        for most in [5, 7, 64, 10_000] {
            let (mut whole, mut offset) = (String::new(), 0);
            loop {
                let mut window = Window::new(offset, most);
                for piece in words.as_bytes().chunks(9) {
                    if window.put(piece).await.is_err() {
                        break;
                    }
                }
                let (text, next) = window.end();
                whole.push_str(&text);
                match next {
                    Some(next) => offset = next,
                    None => break,
                }
            }
            assert_eq!(whole, words, "{most}");
        }
        let (mut whole, mut offset) = (String::new(), Some(0));
        while let Some(at) = offset {
            let (text, next) = part(&words, at, 7);
            whole.push_str(text);
            offset = next;
        }
        assert_eq!(whole, words);
        assert_eq!(part("abc", 99, 7), ("", None));
    }
}
