//! The small tables beside the log: what is true now and need not be proved later. Claims' nonces,
//! leases, packs, hashes of tokens, and which build of the views is current.

use async_trait::async_trait;
use cody_events::digest::{ObjectId, Sha256};
use cody_events::ids::{AttemptNumber, JobId, RequestId, TargetNumber};
use cody_events::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::{LogError, SqliteLog};

/// A worker that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNonce {
    pub request: RequestId,
    pub job: JobId,
    pub target: TargetNumber,
    /// The SHA-256 of the nonce that the worker must show.
    pub nonce_hash: Sha256,
    /// The local process that was started, to find it again after a restart.
    pub process: Option<Process>,
    pub requested_at: Timestamp,
}

/// A local process: its pid, and the kernel's start time, which tells a reused pid apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub start: u64,
}

/// A worker's right to a target, and how it is known again. How long it lasts is kept in memory, by
/// [`super::leases::Leases`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub request: RequestId,
    pub job: JobId,
    pub target: TargetNumber,
    pub attempt: AttemptNumber,
    pub token_hash: Sha256,
    pub worker: String,
    pub process: Process,
}

/// The pack of a base that a repository was pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    pub repository: String,
    pub base_commit: ObjectId,
    pub pack_hash: Sha256,
    pub bytes: u64,
    pub last_used_at: Timestamp,
}

/// How a token is known again. Everything else about it is told by its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash {
    /// The SHA-256 of the token's text.
    pub token_hash: Sha256,
    pub token_id: String,
    pub last_used_at: Option<Timestamp>,
}

/// The side tables.
#[async_trait]
pub trait SideTables: Send + Sync {
    async fn put_nonce(&self, nonce: ClaimNonce) -> Result<(), LogError>;
    async fn find_nonce(&self, request: RequestId) -> Result<Option<ClaimNonce>, LogError>;
    async fn list_nonces(&self) -> Result<Vec<ClaimNonce>, LogError>;
    /// Writes the lease of a claim, in place of an earlier one of the same request.
    async fn put_lease(&self, lease: Lease) -> Result<(), LogError>;
    async fn find_lease(&self, token_hash: Sha256) -> Result<Option<Lease>, LogError>;
    /// Forgets a request: its nonce and its lease.
    async fn forget_request(&self, request: RequestId) -> Result<(), LogError>;
    async fn put_pack(&self, pack: PackRow) -> Result<(), LogError>;
    async fn find_pack(
        &self,
        repository: String,
        base_commit: ObjectId,
    ) -> Result<Option<PackRow>, LogError>;
    async fn put_token(&self, token: TokenHash) -> Result<(), LogError>;
    /// Every token whose hash is kept; whoever adds one sees to it that they do not grow too many.
    async fn list_tokens(&self) -> Result<Vec<TokenHash>, LogError>;
    async fn note_token_used(&self, token_id: String, at: Timestamp) -> Result<(), LogError>;
    /// Forgets the hashes of these tokens.
    async fn forget_tokens(&self, token_ids: Vec<String>) -> Result<(), LogError>;
    async fn views_generation(&self) -> Result<u64, LogError>;
    async fn switch_views(&self, generation: u64) -> Result<(), LogError>;
}

const NONCE: &str = "request, job, target, nonce_hash, pid, process_start, requested_at";
const LEASE: &str = "request, job, target, attempt, token_hash, worker, pid, process_start";

#[async_trait]
impl SideTables for SqliteLog {
    async fn put_nonce(&self, nonce: ClaimNonce) -> Result<(), LogError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO claim_nonces VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    nonce.request.0.as_bytes(),
                    nonce.job.to_string(),
                    nonce.target.0,
                    nonce.nonce_hash.as_bytes(),
                    nonce.process.map(|process| process.pid),
                    nonce.process.map(|process| process.start.cast_signed()),
                    nonce.requested_at.as_micros(),
                ])?;
            Ok(())
        })
        .await
    }

    async fn find_nonce(&self, request: RequestId) -> Result<Option<ClaimNonce>, LogError> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {NONCE} FROM claim_nonces WHERE request = ?1"))?
                .query_row([request.0.as_bytes()], read_nonce)
                .optional()
        })
        .await
    }

    async fn list_nonces(&self) -> Result<Vec<ClaimNonce>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {NONCE} FROM claim_nonces ORDER BY request"))?
                .query_map([], read_nonce)?
                .collect()
        })
        .await
    }

    async fn put_lease(&self, lease: Lease) -> Result<(), LogError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    lease.request.0.as_bytes(),
                    lease.job.to_string(),
                    lease.target.0,
                    lease.attempt.0,
                    lease.token_hash.as_bytes(),
                    lease.worker,
                    lease.process.pid,
                    lease.process.start.cast_signed(),
                ])?;
            Ok(())
        })
        .await
    }

    async fn find_lease(&self, token_hash: Sha256) -> Result<Option<Lease>, LogError> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {LEASE} FROM leases WHERE token_hash = ?1"))?
                .query_row([token_hash.as_bytes()], read_lease)
                .optional()
        })
        .await
    }

    async fn forget_request(&self, request: RequestId) -> Result<(), LogError> {
        self.write(move |connection| {
            let id = request.0.as_bytes();
            connection.prepare_cached("DELETE FROM leases WHERE request = ?1")?.execute([id])?;
            connection
                .prepare_cached("DELETE FROM claim_nonces WHERE request = ?1")?
                .execute([id])?;
            Ok(())
        })
        .await
    }

    async fn put_pack(&self, pack: PackRow) -> Result<(), LogError> {
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO packs VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    pack.repository,
                    pack.base_commit.as_bytes(),
                    pack.pack_hash.as_bytes(),
                    pack.bytes.cast_signed(),
                    pack.last_used_at.as_micros(),
                ])?;
            Ok(())
        })
        .await
    }

    async fn find_pack(
        &self,
        repository: String,
        base_commit: ObjectId,
    ) -> Result<Option<PackRow>, LogError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT repository, base_commit, pack_hash, bytes, last_used_at FROM packs
                     WHERE repository = ?1 AND base_commit = ?2",
                )?
                .query_row(params![repository, base_commit.as_bytes()], |row| {
                    Ok(PackRow {
                        repository: row.get(0)?,
                        base_commit: ObjectId(row.get(1)?),
                        pack_hash: Sha256(row.get(2)?),
                        bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                        last_used_at: Timestamp(row.get(4)?),
                    })
                })
                .optional()
        })
        .await
    }

    async fn put_token(&self, token: TokenHash) -> Result<(), LogError> {
        self.write(move |connection| {
            connection.prepare_cached("INSERT INTO token_hashes VALUES (?1, ?2, ?3)")?.execute(
                params![
                    token.token_hash.as_bytes(),
                    token.token_id,
                    token.last_used_at.map(Timestamp::as_micros),
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn list_tokens(&self) -> Result<Vec<TokenHash>, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT token_hash, token_id, last_used_at FROM token_hashes ORDER BY token_id",
                )?
                .query_map([], |row| {
                    Ok(TokenHash {
                        token_hash: Sha256(row.get(0)?),
                        token_id: row.get(1)?,
                        last_used_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
                    })
                })?
                .collect()
        })
        .await
    }

    async fn note_token_used(&self, token_id: String, at: Timestamp) -> Result<(), LogError> {
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE token_hashes SET last_used_at = ?2 WHERE token_id = ?1")?
                .execute(params![token_id, at.as_micros()])?;
            Ok(())
        })
        .await
    }

    async fn forget_tokens(&self, token_ids: Vec<String>) -> Result<(), LogError> {
        self.write(move |connection| {
            let mut forget =
                connection.prepare_cached("DELETE FROM token_hashes WHERE token_id = ?1")?;
            for token_id in token_ids {
                forget.execute([token_id])?;
            }
            Ok(())
        })
        .await
    }

    async fn views_generation(&self) -> Result<u64, LogError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT generation FROM views_pointer")?
                .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        })
        .await
    }

    async fn switch_views(&self, generation: u64) -> Result<(), LogError> {
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE views_pointer SET generation = ?1")?
                .execute([generation.cast_signed()])?;
            Ok(())
        })
        .await
    }
}

fn read_nonce(row: &Row<'_>) -> rusqlite::Result<ClaimNonce> {
    let process = match (row.get::<_, Option<u32>>(4)?, row.get::<_, Option<i64>>(5)?) {
        (Some(pid), Some(start)) => Some(Process { pid, start: start.cast_unsigned() }),
        _ => None,
    };
    Ok(ClaimNonce {
        request: RequestId(Uuid::from_bytes(row.get(0)?)),
        job: job(row, 1)?,
        target: TargetNumber(row.get(2)?),
        nonce_hash: Sha256(row.get(3)?),
        process,
        requested_at: Timestamp(row.get(6)?),
    })
}

fn read_lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease {
        request: RequestId(Uuid::from_bytes(row.get(0)?)),
        job: job(row, 1)?,
        target: TargetNumber(row.get(2)?),
        attempt: AttemptNumber(row.get(3)?),
        token_hash: Sha256(row.get(4)?),
        worker: row.get(5)?,
        process: Process { pid: row.get(6)?, start: row.get::<_, i64>(7)?.cast_unsigned() },
    })
}

fn job(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}
