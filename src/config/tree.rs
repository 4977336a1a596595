//! What a turn may add.

use super::ConfigError;
use super::settings::Settings;

/// What one turn may add to a tree.
#[derive(Debug, Clone)]
pub struct TreeConfig {
    /// `new_entries_a_turn` / `CODY_NEW_ENTRIES_A_TURN`.
    pub new_entries_a_turn: u64,
    /// `new_bytes_a_turn` / `CODY_NEW_BYTES_A_TURN`.
    pub new_bytes_a_turn: u64,
}

impl TreeConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            new_entries_a_turn: settings.number(
                "new_entries_a_turn",
                "CODY_NEW_ENTRIES_A_TURN",
                2_000,
            )?,
            new_bytes_a_turn: settings.number(
                "new_bytes_a_turn",
                "CODY_NEW_BYTES_A_TURN",
                32 << 20,
            )?,
        })
    }
}
