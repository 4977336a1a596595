//! Jobs against servers and types that no one here wrote.
