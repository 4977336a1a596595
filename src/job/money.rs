//! What a target has spent, is taken to have spent, and has set aside for the call in flight.

use cody_events::ids::{CallNumber, ThreadNumber, TurnNumber};

/// Micro-dollars of one target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money {
    /// From usage that Claude reported.
    pub known_micros: u64,
    /// From calls whose usage nobody saw.
    pub assumed_micros: u64,
    /// The reservation of the call in flight.
    pub reserved_micros: u64,
}

impl Money {
    /// Known and assumed together.
    pub fn spent_micros(&self) -> u64 {
        self.known_micros.saturating_add(self.assumed_micros)
    }

    /// Spent and set aside together.
    pub fn committed_micros(&self) -> u64 {
        self.spent_micros().saturating_add(self.reserved_micros)
    }
}

/// A call that is permitted and not yet answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPermit {
    pub thread: ThreadNumber,
    pub turn: TurnNumber,
    pub call: CallNumber,
    pub reserved_micros: u64,
    pub max_tokens: u32,
    pub last: bool,
}
