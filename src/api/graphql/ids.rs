//! Global ids: opaque to whoever reads them, and stable. Inside stand the kind and what it is known by.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};

/// What a global id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalId {
    Job(JobId),
    Target(JobId, TargetNumber),
    Thread(JobId, TargetNumber, ThreadNumber),
    /// By its place in the log.
    Message(u64),
    Diff(u64),
    /// The diff's place in the log, and the file's place in it from 0.
    File(u64, u32),
    /// And the hunk's place in the file.
    Hunk(u64, u32, u32),
    Event(u64),
    Token(TokenKey),
}

/// A token's id, by the first eight bytes of its SHA-256: a global id has a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenKey(u64);

impl TokenKey {
    /// The key of the token with this id.
    pub fn of(token_id: &str) -> Self {
        let digest = Sha256::of(token_id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl GlobalId {
    /// The id that `text` is; nothing if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        // Ids are short, and what comes in may not be.
        if text.len() > 128 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let inside = String::from_utf8(bytes).ok()?;
        let mut parts = inside.split(':');
        let kind = parts.next()?;
        let id = match kind {
            "job" => Self::Job(parts.next()?.parse().ok()?),
            "target" => {
                Self::Target(parts.next()?.parse().ok()?, number(&mut parts).map(TargetNumber)?)
            }
            "thread" => Self::Thread(
                parts.next()?.parse().ok()?,
                number(&mut parts).map(TargetNumber)?,
                number(&mut parts).map(ThreadNumber)?,
            ),
            "message" => Self::Message(number(&mut parts)?),
            "diff" => Self::Diff(number(&mut parts)?),
            "file" => Self::File(number(&mut parts)?, number(&mut parts)?),
            "hunk" => Self::Hunk(number(&mut parts)?, number(&mut parts)?, number(&mut parts)?),
            "event" => Self::Event(number(&mut parts)?),
            "token" => Self::Token(TokenKey(number(&mut parts)?)),
            _ => return None,
        };
        parts.next().is_none().then_some(id)
    }

    /// The job that `text` names: by its global id, or as it is written everywhere else.
    pub fn job(text: &str) -> Option<JobId> {
        match Self::parse(text) {
            Some(Self::Job(job)) => Some(job),
            Some(_) => None,
            None => text.parse().ok(),
        }
    }
}

fn number<'a, N: std::str::FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Option<N> {
    parts.next()?.parse().ok()
}

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = match self {
            Self::Job(job) => format!("job:{job}"),
            Self::Target(job, target) => format!("target:{job}:{target}"),
            Self::Thread(job, target, thread) => format!("thread:{job}:{target}:{thread}"),
            Self::Message(position) => format!("message:{position}"),
            Self::Diff(position) => format!("diff:{position}"),
            Self::File(position, index) => format!("file:{position}:{index}"),
            Self::Hunk(position, file, index) => format!("hunk:{position}:{file}:{index}"),
            Self::Event(position) => format!("event:{position}"),
            Self::Token(TokenKey(key)) => format!("token:{key}"),
        };
        f.write_str(&URL_SAFE_NO_PAD.encode(inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_and_nothing_else_does() {
        let job = JobId(uuid::Uuid::from_u128(7));
        let ids = [
            GlobalId::Job(job),
            GlobalId::Target(job, TargetNumber(2)),
            GlobalId::Thread(job, TargetNumber(2), ThreadNumber(3)),
            GlobalId::Message(u64::MAX),
            GlobalId::Diff(4),
            GlobalId::File(4, 0),
            GlobalId::Hunk(4, 0, 9),
            GlobalId::Event(1),
            GlobalId::Token(TokenKey::of("tok_1")),
        ];
        for id in ids {
            assert_eq!(GlobalId::parse(&id.to_string()), Some(id));
        }
        for bad in
            ["", "job", "am9i", "event:1", &URL_SAFE_NO_PAD.encode("event:1:2"), &"x".repeat(999)]
        {
            assert_eq!(GlobalId::parse(bad), None, "{bad}");
        }
        assert_eq!(GlobalId::job(&job.to_string()), Some(job));
    }
}
