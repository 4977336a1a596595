//! What a recorded tree is made of: paths, modes, changed entries and blobs, as events carry them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::ObjectId;

/// A path inside a repository: bytes, `/` between components, never absolute, no `.` or `..`.
///
/// On the wire it is a string where it is UTF-8, else `{"base64": "…"}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

/// Why some bytes are no path of a recorded tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path is empty")]
    Empty,
    #[error("the path is absolute or has an empty component")]
    EmptyComponent,
    #[error("the path has a `.` or `..` component")]
    Dots,
    #[error("the path has a NUL byte")]
    Nul,
    #[error("the path has a component that some system reads as `.git`")]
    DotGit,
}

impl RepoPath {
    /// Takes `bytes` as a path. Components that fold to `.git` (case, NTFS short names, NTFS's
    /// backslash between names, ignored code points of HFS+) are refused: such a path is never part
    /// of a recorded tree, and git would refuse a whole patch for it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, BadPath> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(BadPath::Empty);
        }
        if bytes.contains(&0) {
            return Err(BadPath::Nul);
        }
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" => return Err(BadPath::EmptyComponent),
                b"." | b".." => return Err(BadPath::Dots),
                _ if folds_to_dot_git(component) => return Err(BadPath::DotGit),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, in order.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The folders that it stands in, the nearest first.
    pub fn folders(&self) -> impl Iterator<Item = Self> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            rest = &rest[..rest.iter().rposition(|byte| *byte == b'/')?];
            // A part of a good path is one.
            Some(Self(rest.to_vec()))
        })
    }

    /// Whether git refuses a symbolic link here, and with it a whole patch or checkout: it would read
    /// its list of submodules through the link.
    pub fn is_refused_as_link(&self) -> bool {
        self.0.split(|byte| matches!(byte, b'/' | b'\\')).any(folds_to_modules)
    }

    /// The path for a person to read: what is not UTF-8 is replaced.
    pub fn display(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display())
    }
}

/// Whether a file system may take `component`, or what NTFS reads as one in it, for `.git`.
fn folds_to_dot_git(component: &[u8]) -> bool {
    component.split(|byte| *byte == b'\\').any(is_dot_git)
}

/// Whether a name may be taken for `.git`: any case, NTFS's `GIT~1`, trailing dots and spaces, an
/// alternate data stream (`.git:x`), or code points that HFS+ ignores.
fn is_dot_git(name: &[u8]) -> bool {
    // In ASCII nothing is left out before the first character; most names end the question there.
    if name.is_ascii() && !matches!(name.first(), Some(b'.' | b'g' | b'G')) {
        return false;
    }
    // What a stream is called may be no text.
    let name = name.split(|byte| *byte == b':').next().unwrap_or_default();
    let folded = match std::str::from_utf8(name) {
        Ok(text) => text.chars().filter(|c| !hfs_ignores(*c)).collect::<String>(),
        Err(_) => return false,
    };
    let folded = folded.trim_end_matches(['.', ' ']).to_lowercase();
    folded == ".git" || folded == "git~1"
}

/// Whether a file system may take `name` for `.gitmodules`; as for `.git`, and with the short names
/// that NTFS gives (git's `is_ntfs_dotgitmodules`).
fn folds_to_modules(name: &[u8]) -> bool {
    let name = name.split(|byte| *byte == b':').next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(name) else { return false };
    let folded = text.chars().filter(|c| !hfs_ignores(*c)).collect::<String>();
    let folded = folded.trim_end_matches(['.', ' ']).to_lowercase();
    let is_short = folded.len() == 8
        && folded.split_once('~').is_some_and(|(start, number)| {
            // The first four of a folder are numbered; later ones get a hash of their long name.
            let is_numbered = start == "gitmod" && matches!(number, "1" | "2" | "3" | "4");
            let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
            is_numbered || (is_number && !number.starts_with('0') && "gi7eba".starts_with(start))
        });
    folded == ".gitmodules" || is_short
}

/// The code points that HFS+ leaves out of a comparison (git's `next_hfs_char`).
fn hfs_ignores(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Bytes on the wire: a string where they are UTF-8, else base64.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum TextOrBase64 {
    Text(String),
    Bytes { base64: String },
}

impl TextOrBase64 {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64.encode(bytes) },
        }
    }

    fn into_bytes(self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Bytes { base64 } => BASE64.decode(base64),
        }
    }
}

impl Serialize for RepoPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TextOrBase64::of(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let bytes =
            TextOrBase64::deserialize(deserializer)?.into_bytes().map_err(D::Error::custom)?;
        Self::new(bytes).map_err(D::Error::custom)
    }
}

impl JsonSchema for RepoPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RepoPath".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        TextOrBase64::json_schema(generator)
    }
}

/// The kinds of entry that a tree of ours may hold.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum EntryMode {
    /// A regular file.
    #[serde(rename = "100644")]
    File,
    /// A regular file with the executable bit.
    #[serde(rename = "100755")]
    Executable,
    /// A symbolic link; its blob is the link's text.
    #[serde(rename = "120000")]
    Symlink,
    /// A submodule's commit; only ever carried from the base, never made.
    #[serde(rename = "160000")]
    Gitlink,
}

impl EntryMode {
    /// The mode as git's number.
    pub fn bits(self) -> u32 {
        match self {
            Self::File => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
            Self::Gitlink => 0o160_000,
        }
    }

    /// The mode with this number; git's older 100664 counts as a regular file.
    pub fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            0o100_644 | 0o100_664 => Some(Self::File),
            0o100_755 => Some(Self::Executable),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Gitlink),
            _ => None,
        }
    }
}

/// What stands at a path: its mode and its blob.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub mode: EntryMode,
    pub object: ObjectId,
}

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedEntry {
    pub path: RepoPath,
    /// What stands there in the later tree; nothing if the path was deleted.
    pub entry: Option<Entry>,
}

/// The content of one blob: text where it is UTF-8, else base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    pub object: ObjectId,
    pub content: Vec<u8>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({}, {} bytes)", self.object, self.content.len())
    }
}

/// A blob as it stands in a payload.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BlobOnTheWire {
    object: ObjectId,
    content: TextOrBase64,
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BlobOnTheWire { object: self.object, content: TextOrBase64::of(&self.content) }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let BlobOnTheWire { object, content } = BlobOnTheWire::deserialize(deserializer)?;
        let content = content.into_bytes().map_err(serde::de::Error::custom)?;
        Ok(Self { object, content })
    }
}

impl JsonSchema for Blob {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Blob".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BlobOnTheWire::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_folds_to_dot_git_is_no_path() {
        for name in [
            ".git",
            ".GIT",
            "a/.Git/config",
            "git~1",
            ".git. .",
            ".git:x",
            ".g\u{200c}it",
            ".git\\config",
            "a\\.Git",
            "a/b\\git~1 \\c",
        ] {
            assert_eq!(RepoPath::new(name), Err(BadPath::DotGit), "{name}");
        }
        for name in [b".git:\xff".as_slice(), b"\xff\\.git".as_slice()] {
            assert_eq!(RepoPath::new(name), Err(BadPath::DotGit), "{}", name.escape_ascii());
        }
        for name in [".gitignore", "git", "a.git", ".github/workflows/x.yml", "a\\b", "\\.gitx"] {
            assert!(RepoPath::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn links_that_git_would_read_its_modules_through_are_refused() {
        for name in [
            ".gitmodules",
            "a/.GitModules",
            "a\\.gitmodules",
            ".gitmodules. ",
            ".gitmodules:x",
            ".git\u{200d}modules",
            "GITMOD~1",
            "gitmod~4",
            "gi7eba~1",
            "gi7~1234",
            "~1234567",
        ] {
            assert!(RepoPath::new(name).unwrap().is_refused_as_link(), "{name}");
        }
        for name in ["gitmodules", ".gitmodules.txt", "gitmod~5", "gi7eba~0", "gi8eba~1", "x~12345"]
        {
            assert!(!RepoPath::new(name).unwrap().is_refused_as_link(), "{name}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive_the_wire() {
        let path = RepoPath::new(vec![b'a', 0xff, b'b']).unwrap();
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(json, r#"{"base64":"Yf9i"}"#);
        assert_eq!(serde_json::from_str::<RepoPath>(&json).unwrap(), path);
        assert!(serde_json::from_str::<RepoPath>(r#""../x""#).is_err());
    }
}
