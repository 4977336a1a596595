//! What a caller may do.

use std::collections::BTreeSet;

use cody_events::system::Scope;
use serde::{Deserialize, Serialize};

/// A set of scopes, and what they imply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether these allow what needs `wanted`: `admin` implies all, `run` and `approve` imply `read`.
    pub fn allows(&self, wanted: Scope) -> bool {
        self.0.iter().any(|held| match (held, wanted) {
            (Scope::Admin, _) => true,
            (Scope::Run | Scope::Approve, Scope::Read) => true,
            (held, wanted) => *held == wanted,
        })
    }

    /// The scopes as they were given, in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_implies_all_and_run_and_approve_imply_read() {
        let table = [
            (Scope::Read, [true, false, false, false]),
            (Scope::Run, [true, true, false, false]),
            (Scope::Approve, [true, false, true, false]),
            (Scope::Admin, [true, true, true, true]),
        ];
        for (held, expected) in table {
            let scopes = Scopes::from_iter([held]);
            assert_eq!(Scope::ALL.map(|wanted| scopes.allows(wanted)), expected, "{held:?}");
        }
        let both = Scopes::from_iter([Scope::Approve, Scope::Run]);
        assert_eq!(Scope::ALL.map(|wanted| both.allows(wanted)), [true, true, true, false]);
        assert_eq!(Scope::ALL.map(|wanted| Scopes::default().allows(wanted)), [false; 4]);
    }
}
