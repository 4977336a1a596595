//! Names of places. Landlock has no mounts: a command sees the machine's own paths. What it prints
//! is told in the words that both backends share, so that a conversation need not know which it was.

use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, MatchKind};

/// Where things are, and what they are called.
#[derive(Debug)]
pub(super) struct Places {
    pairs: Vec<(PathBuf, PathBuf)>,
    finder: Option<AhoCorasick>,
}

impl Places {
    pub(super) fn new(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let real = pairs.iter().map(|(real, _)| real.as_os_str().as_encoded_bytes());
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(real).ok();
        Self { pairs, finder }
    }

    /// `text` with the shared names in place of the machine's.
    pub(super) fn told(&self, text: Vec<u8>) -> Vec<u8> {
        let Some(finder) = &self.finder else { return text };
        let names: Vec<&[u8]> =
            self.pairs.iter().map(|(_, name)| name.as_os_str().as_encoded_bytes()).collect();
        finder.replace_all_bytes(&text, &names)
    }

    /// Where the place called `name` is: itself, where that is no name of ours.
    pub(super) fn real(&self, name: &str) -> String {
        let path = Path::new(name);
        let found = self.pairs.iter().find_map(|(real, called)| {
            let rest = path.strip_prefix(called).ok()?;
            Some(if rest.as_os_str().is_empty() { real.clone() } else { real.join(rest) })
        });
        found.map_or_else(|| name.to_owned(), |real| real.display().to_string())
    }

    /// A variable's value, in which several places may stand with a colon between them.
    pub(super) fn real_value(&self, value: &str) -> String {
        value.split(':').map(|part| self.real(part)).collect::<Vec<_>>().join(":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let pairs = [("/data/x/repo", "/repo"), ("/data/x", "/run/cody")];
        let places = Places::new(pairs.map(|(real, name)| (real.into(), name.into())).to_vec());
        let text = b"/data/x/repo/a:1 /data/x/command /data/xy /repo".to_vec();
        let told = String::from_utf8(places.told(text)).unwrap();
        assert_eq!(told, "/repo/a:1 /run/cody/command /run/codyy /repo");
        assert_eq!(places.real("/repo/a b"), "/data/x/repo/a b");
        assert_eq!(places.real("/repository"), "/repository");
        assert_eq!(
            places.real_value("/usr/bin:/repo:/repo/bin"),
            "/usr/bin:/data/x/repo:/data/x/repo/bin"
        );
    }
}
