//! A repository that looks like code: folders in folders, words in lines, some binary files, made by
//! the real git from a seed.

use std::fmt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How large a repository is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub files: u64,
    pub bytes: u64,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {} MiB", self.files, self.bytes >> 20)
    }
}

/// A made repository.
pub struct Made {
    pub bare: PathBuf,
}

impl Made {
    /// The file that edits are about.
    pub fn edited() -> &'static str {
        "src/area0/part0/file0.py"
    }
}

const WORDS: [&str; 24] = [
    "account", "balance", "cache", "default", "event", "filter", "group", "handle", "index",
    "join", "key", "limit", "merge", "number", "order", "page", "query", "return", "self", "table",
    "update", "value", "where", "yield",
];

/// Numbers that are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// Makes a bare repository of `size` at `dir` with one commit on `main`.
pub fn repository(dir: &Path, size: Size) -> Made {
    std::fs::create_dir_all(dir).unwrap();
    let git = |args: &[&str]| {
        let status = Command::new("git").arg("-C").arg(dir).args(args).status().unwrap();
        assert!(status.success(), "git {args:?}");
    };
    git(&["init", "-q", "--bare", "-b", "main"]);
    git(&["config", "core.compression", "1"]);
    git(&["config", "fastimport.unpackLimit", "1"]);
    let mut import = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["fast-import", "--quiet", "--depth=0"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write(&mut BufWriter::new(import.stdin.take().unwrap()), size).unwrap();
    assert!(import.wait().unwrap().success());
    Made { bare: dir.to_owned() }
}

fn write(out: &mut impl Write, size: Size) -> std::io::Result<()> {
    out.write_all(b"commit refs/heads/main\ncommitter t <t@t> 1700000000 +0000\ndata 1\nx\n")?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut content = Vec::new();
    let mean = size.bytes / size.files;
    for file in 0..size.files {
        content.clear();
        let length = mean / 2 + numbers.below(mean);
        let kind = if file > 0 && numbers.below(50) == 0 { "bin" } else { "py" };
        fill(&mut content, length, kind, &mut numbers);
        if file == 0 {
            content.extend(b"THE_LINE = 0\n");
        }
        let (area, part) = (file / 2_000, file / 40 % 50);
        let mode = if file % 200 == 1 { "100755" } else { "100644" };
        writeln!(out, "M {mode} inline src/area{area}/part{part}/file{file}.{kind}")?;
        writeln!(out, "data {}", content.len())?;
        out.write_all(&content)?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"M 100644 inline .gitignore\ndata 13\n__pycache__/\n\ndone\n")?;
    out.flush()
}

fn fill(content: &mut Vec<u8>, length: u64, kind: &str, numbers: &mut Numbers) {
    while (content.len() as u64) < length {
        if kind == "bin" {
            content.extend(numbers.next().to_le_bytes());
            continue;
        }
        let words = 3 + numbers.below(9);
        for _ in 0..words {
            let word = WORDS[usize::try_from(numbers.below(24)).unwrap()];
            content.extend(word.as_bytes());
            content.push(b' ');
        }
        content.push(b'\n');
    }
}
