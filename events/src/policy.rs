//! What a job's diffs may touch without being held for a person.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A class of changes that a diff is held for, unless its job allows the class.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PathClass {
    /// What makes code run by itself, or decides who reviews and where packages come from.
    Workflows,
    /// Lock files of package managers.
    Lockfiles,
    /// Contents that nobody can read in a diff.
    Binaries,
    /// Files, or numbers of files, that nobody reads.
    LargeChanges,
    /// Tests that are gone, emptied or skipped.
    DeletedTests,
    /// Symbolic links that lead out of the repository.
    OutwardLinks,
}

impl PathClass {
    /// Every class.
    pub const ALL: [Self; 6] = [
        Self::Workflows,
        Self::Lockfiles,
        Self::Binaries,
        Self::LargeChanges,
        Self::DeletedTests,
        Self::OutwardLinks,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workflows => "workflows",
            Self::Lockfiles => "lockfiles",
            Self::Binaries => "binaries",
            Self::LargeChanges => "large-changes",
            Self::DeletedTests => "deleted-tests",
            Self::OutwardLinks => "outward-links",
        }
    }
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no class of changes; there are workflows, lockfiles, binaries, large-changes, deleted-tests and outward-links"
)]
pub struct NoSuchClass(String);

impl FromStr for PathClass {
    type Err = NoSuchClass;

    fn from_str(name: &str) -> Result<Self, NoSuchClass> {
        let known = Self::ALL.into_iter().find(|class| class.name() == name);
        known.ok_or_else(|| NoSuchClass(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_one_name() {
        for class in PathClass::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
        }
        let error = "ci".parse::<PathClass>().unwrap_err();
        for class in PathClass::ALL {
            assert!(error.to_string().contains(class.name()), "{error}");
        }
    }
}
