//! Where a download's bytes go while it is made, piece by piece: into memory, a file, a response, a
//! terminal. Whoever makes one never holds the whole.

use std::io;

use async_trait::async_trait;

/// Takes bytes, in order. An error says that nobody wants them any more, or that they have no place.
#[async_trait]
pub trait Outlet: Send {
    /// Takes `bytes` after those before, and waits where more would pile up.
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()>;
}

#[async_trait]
impl Outlet for Vec<u8> {
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}
