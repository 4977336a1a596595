//! Whether a conversation leads anywhere, from what its tools did. Counts; judges no text.

use std::collections::BTreeSet;

use cody_events::digest::{ObjectId, Sha256};
use cody_events::ids::TurnNumber;
use cody_events::thread::{StuckSign, ToolsRan};

/// What is a sign: how much of it before the warning, and how much more after it.
struct Patience {
    same_work: u32,
    remade_changes: u32,
    still_turns: u32,
}

const BEFORE: Patience = Patience { same_work: 3, remade_changes: 2, still_turns: 24 };
const AFTER: Patience = Patience { same_work: 2, remade_changes: 1, still_turns: 12 };

/// The most changes that are remembered; a conversation with more goes somewhere.
const MOST_CHANGES: usize = 512;

/// What the turns of a thread did to its tree, as far as it tells whether they lead anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    latest_work: Option<Sha256>,
    /// Turns in a row with that work.
    same_work: u32,
    /// Each step from one tree to another.
    changes: BTreeSet<(ObjectId, ObjectId)>,
    /// Steps that had been made before.
    remade_changes: u32,
    /// Turns in a row without a change.
    still_turns: u32,
    /// The turn that was asked for with the warning, and what it warned of.
    warned: Option<(TurnNumber, StuckSign)>,
}

impl Progress {
    /// Takes in what the tools of a turn did.
    pub(super) fn tools_ran(&mut self, e: &ToolsRan) {
        if e.finish.is_some() || e.interrupted {
            // Claims are judged elsewhere, and an interruption is nobody's doing.
            self.latest_work = None;
            self.same_work = 0;
        } else if e.work_hash.is_some() && e.work_hash == self.latest_work {
            self.same_work = self.same_work.saturating_add(1);
        } else {
            self.latest_work = e.work_hash;
            self.same_work = 1;
        }
        if e.tree_before == e.tree_after {
            self.still_turns = self.still_turns.saturating_add(u32::from(!e.interrupted));
            return;
        }
        self.still_turns = 0;
        let change = (e.tree_before, e.tree_after);
        if self.changes.contains(&change) {
            self.remade_changes = self.remade_changes.saturating_add(1);
        } else if self.changes.len() < MOST_CHANGES {
            self.changes.insert(change);
        }
    }

    /// Takes in that the call for `turn` carries a warning; from then on less is borne.
    pub(super) fn warn(&mut self, turn: TurnNumber, sign: StuckSign) {
        if self.warned.is_none() {
            self.warned = Some((turn, sign));
            self.same_work = 0;
            self.remade_changes = 0;
            self.still_turns = 0;
        }
    }

    /// What the call for `turn` has to warn of: each of its tries says it, and no later call.
    pub fn due_warning(&self, turn: TurnNumber) -> Option<StuckSign> {
        match self.warned {
            None => self.sign(&BEFORE),
            Some((warned, sign)) => (warned == turn).then_some(sign),
        }
    }

    /// Why the thread ends, if it went on as before after its warning.
    pub(super) fn led_nowhere(&self) -> Option<StuckSign> {
        self.warned.and_then(|_| self.sign(&AFTER))
    }

    fn sign(&self, patience: &Patience) -> Option<StuckSign> {
        if self.same_work >= patience.same_work {
            Some(StuckSign::SameWork)
        } else if self.remade_changes >= patience.remade_changes {
            Some(StuckSign::EditUndo)
        } else if self.still_turns >= patience.still_turns {
            Some(StuckSign::NoChange)
        } else {
            None
        }
    }
}
