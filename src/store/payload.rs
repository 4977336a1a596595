//! Payloads as they are kept: salted and committed to, and packed where that is shorter. What goes
//! into the hashes is the plaintext, so a payload can be packed anew without touching the chain.

use std::cell::RefCell;

use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use cody_events::hash::{SALT_BYTES, payload_commit};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use zstd::bulk::{Compressor, Decompressor};

use super::LogError;

/// The most bytes that one payload may have. SQLite itself ends at 10^9.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024 * 1024;

/// Payloads of fewer bytes are kept as they are.
const MIN_PACKED_BYTES: usize = 128;
const ZSTD_LEVEL: i32 = 3;
/// Longer payloads are packed with tables made for them, which no thread is to keep.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// How a payload is kept.
const CODEC_PLAIN: i64 = 0;
const CODEC_ZSTD: i64 = 1;

/// What is written beside a payload's plaintext.
pub(super) struct Packed {
    pub salt: [u8; SALT_BYTES],
    pub commit: Sha256,
    /// One zstd frame; nothing if the plaintext is no longer than that.
    frame: Option<Vec<u8>>,
}

impl Packed {
    /// Packs `plaintext`. This is the slow part of an append, so it is done before the writer's turn.
    pub fn new(salt: [u8; SALT_BYTES], plaintext: &[u8]) -> Self {
        let frame = (plaintext.len() >= MIN_PACKED_BYTES)
            .then(|| pack(plaintext).ok())
            .flatten()
            .filter(|frame| frame.len() < plaintext.len());
        Self { salt, commit: payload_commit(&salt, plaintext), frame }
    }

    /// Writes the payload of the event at `position`.
    pub fn insert(
        &self,
        connection: &Connection,
        position: u64,
        plaintext: &[u8],
    ) -> rusqlite::Result<()> {
        let (codec, bytes) = match &self.frame {
            Some(frame) => (CODEC_ZSTD, frame.as_slice()),
            None => (CODEC_PLAIN, plaintext),
        };
        connection
            .prepare_cached("INSERT INTO payloads VALUES (?1, ?2, NULL, ?3, ?4)")?
            .execute(params![position.cast_signed(), codec, self.salt, bytes])?;
        Ok(())
    }
}

thread_local! {
    /// Making one costs as much as packing a kilobyte, so each thread keeps its own.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn pack(plaintext: &[u8]) -> std::io::Result<Vec<u8>> {
    if plaintext.len() > MAX_KEPT_BYTES {
        return zstd::bulk::compress(plaintext, ZSTD_LEVEL);
    }
    PACKER.with_borrow_mut(|packer| match packer {
        Some(packer) => packer.compress(plaintext),
        None => packer.insert(Compressor::new(ZSTD_LEVEL)?).compress(plaintext),
    })
}

fn unpack(frame: &[u8], capacity: usize) -> std::io::Result<Vec<u8>> {
    if capacity > MAX_KEPT_BYTES {
        return zstd::bulk::decompress(frame, capacity);
    }
    UNPACKER.with_borrow_mut(|unpacker| match unpacker {
        Some(unpacker) => unpacker.decompress(frame, capacity),
        None => unpacker.insert(Decompressor::new()?).decompress(frame, capacity),
    })
}

/// A payload's row.
pub(super) struct Stored {
    codec: i64,
    salt: [u8; SALT_BYTES],
    bytes: Vec<u8>,
    /// The plaintext's length and commitment, as the event has them.
    length: u64,
    commit: Option<Sha256>,
}

impl Stored {
    /// Reads the payload at `position`, if it is there.
    pub fn find(connection: &Connection, position: u64) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT p.codec, p.salt, p.bytes, e.payload_len, e.payload_commit FROM payloads p
                 JOIN events e ON e.position = p.position WHERE p.position = ?1",
            )?
            .query_row([position.cast_signed()], Self::read)
            .optional()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            codec: row.get(0)?,
            salt: row.get(1)?,
            bytes: row.get(2)?,
            length: row.get::<_, Option<i64>>(3)?.unwrap_or(0).cast_unsigned(),
            commit: row.get::<_, Option<[u8; 32]>>(4)?.map(Sha256),
        })
    }

    /// The payload of `event` in a row that has codec, salt and bytes from the column `first` on, or
    /// nothing there.
    pub fn beside(event: &Recorded, row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Self>> {
        let Some(codec) = row.get(first)? else { return Ok(None) };
        Ok(Some(Self {
            codec,
            salt: row.get(first + 1)?,
            bytes: row.get(first + 2)?,
            length: event.payload_len.unwrap_or(0),
            commit: event.payload_commit,
        }))
    }

    /// The bytes that were given, if they are as long as their event says and the ones that it
    /// committed to.
    pub fn plaintext(self) -> Result<Vec<u8>, String> {
        let (salt, length, commit) = (self.salt, self.length, self.commit);
        let plaintext = self.unpack()?;
        if plaintext.len() as u64 != length || commit != Some(payload_commit(&salt, &plaintext)) {
            return Err("the payload is not what was written".to_owned());
        }
        Ok(plaintext)
    }

    /// The same, for whoever asked the log for it.
    pub fn checked(self, position: u64) -> Result<Vec<u8>, LogError> {
        self.plaintext()
            .map_err(|what| LogError::Damaged { place: format!("payload {position}"), what })
    }

    fn unpack(self) -> Result<Vec<u8>, String> {
        match self.codec {
            CODEC_PLAIN => Ok(self.bytes),
            CODEC_ZSTD => {
                // A damaged length must not make us ask for all the memory there is.
                let capacity = usize::try_from(self.length).unwrap_or(usize::MAX);
                unpack(&self.bytes, capacity.min(MAX_PAYLOAD_BYTES))
                    .map_err(|error| error.to_string())
            }
            codec => Err(format!("codec {codec} is unknown")),
        }
    }
}
