//! What is made whole before it is sent, so that its length is known and a part of it can be asked for:
//! in memory while it is small, else in a file that has no name and goes with its last reader.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, SeekFrom};

use super::outlet::Outlet;

/// What is larger lies in a file.
const MEMORY_BYTES: usize = 256 * 1024;
/// Nothing larger is made; its parts can be had one by one.
const MAX_BYTES: u64 = 4 << 30;

/// Something that is being made.
#[derive(Debug)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
}

/// Something that was made.
#[derive(Debug)]
pub enum Spooled {
    Memory(Bytes),
    File { file: File, length: u64 },
}

impl Spool {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { memory: Vec::new(), file: None, length: 0 }
    }

    /// What was put, to be read.
    pub async fn finish(mut self) -> io::Result<Spooled> {
        let Some(mut file) = self.file.take() else {
            return Ok(Spooled::Memory(Bytes::from(self.memory)));
        };
        file.write_all(&self.memory).await?;
        file.flush().await?;
        Ok(Spooled::File { file, length: self.length })
    }

    async fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
                let file = file.map_err(io::Error::other)??;
                empty.insert(File::from_std(file))
            }
        };
        file.write_all(&self.memory).await?;
        self.memory.clear();
        Ok(())
    }
}

#[async_trait]
impl Outlet for Spool {
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.length > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for piece in bytes.chunks(MEMORY_BYTES) {
            if self.memory.len() + piece.len() > MEMORY_BYTES {
                self.spill().await?;
            }
            self.memory.extend_from_slice(piece);
        }
        Ok(())
    }
}

impl Spooled {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Hands `length` bytes from `start` on to `out`, in pieces.
    pub async fn copy(self, start: u64, length: u64, out: &mut dyn Outlet) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let (start, end) = (index(start), index(start.saturating_add(length)));
                out.put(bytes.get(start..end).unwrap_or_default()).await
            }
            Self::File { mut file, .. } => {
                file.seek(SeekFrom::Start(start)).await?;
                let mut part = file.take(length);
                let mut piece = Vec::with_capacity(MEMORY_BYTES);
                loop {
                    piece.clear();
                    if part.read_buf(&mut piece).await? == 0 {
                        return Ok(());
                    }
                    out.put(&piece).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `length` bytes, put in pieces of `piece`.
    async fn spooled(length: usize, piece: usize) -> (Vec<u8>, Spooled) {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut spool = Spool::new();
        for piece in bytes.chunks(piece) {
            spool.put(piece).await.unwrap();
        }
        (bytes, spool.finish().await.unwrap())
    }

    #[tokio::test]
    async fn any_part_is_what_was_put() {
        for (length, piece) in [
            (0, 1),
            (10, 3),
            (MEMORY_BYTES, 1_000),
            (MEMORY_BYTES + 1, 7_919),
            (1_000_000, 600_000),
        ] {
            for (start, wanted) in [(0, length), (length / 2, length), (length / 3, 5)] {
                let (bytes, made) = spooled(length, piece).await;
                assert_eq!(made.length(), length as u64);
                assert_eq!(matches!(made, Spooled::File { .. }), length > MEMORY_BYTES);
                let mut part = Vec::new();
                made.copy(start as u64, wanted as u64, &mut part).await.unwrap();
                let end = (start + wanted).min(length);
                assert!(part == bytes[start..end], "{length} in {piece}: {start} + {wanted}");
            }
        }
    }
}
