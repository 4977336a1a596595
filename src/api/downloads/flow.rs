//! A response's body while it is made: a few pieces wait for the reader, and no more are made until it
//! takes them. A reader that goes away, or takes nothing for long, ends the making.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::outlet::Outlet;
use crate::app::App;

/// How large a piece is.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the reader.
const WAITING: usize = 4;
/// How long a reader may take nothing.
const STALL: Duration = Duration::from_secs(120);

/// The end of a body at which bytes are put.
pub struct Flow {
    app: Arc<App>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Flow {
    /// A flow, and the body that it becomes.
    pub fn new(app: Arc<App>) -> (Self, Body) {
        let (pieces, taken) = mpsc::channel(WAITING);
        let body = futures_util::stream::unfold(taken, |mut taken| async move {
            taken.recv().await.map(|piece| (piece, taken))
        });
        (Self { app, pieces, buffer: BytesMut::new() }, Body::from_stream(body))
    }

    /// Ends the body: as it should, or broken off so that nobody takes it for whole.
    pub async fn end<E: std::fmt::Display>(mut self, made: Result<(), E>) {
        let sent = match made {
            Ok(()) => {
                let rest = self.buffer.split().freeze();
                if rest.is_empty() { Ok(()) } else { self.send(Ok(rest)).await }
            }
            Err(_) if self.pieces.is_closed() => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a download broke off");
                self.send(Err(io::Error::other("the server could not go on"))).await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a download was not taken to its end");
        }
    }

    async fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        tokio::select! {
            sent = self.pieces.send(piece) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            () = self.app.clock().sleep(STALL) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[async_trait]
impl Outlet for Flow {
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(PIECE_BYTES) {
            self.buffer.extend_from_slice(part);
            if self.buffer.len() >= PIECE_BYTES {
                let piece = self.buffer.split_to(PIECE_BYTES).freeze();
                self.send(Ok(piece)).await?;
            }
        }
        Ok(())
    }
}
