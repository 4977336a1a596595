//! Tells files that a person wrote from those that ranking and languages leave out: vendored,
//! generated, binary, LFS pointers, minified. By path first; by content where it is read anyway.

use super::listing::name_of;

/// What sort of file a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Written by the repository's people, as far as the path tells.
    Own,
    /// Somebody else's code, kept here.
    Vendored,
    /// Written by a program: lock files, bundles, bindings.
    Generated,
    /// No text.
    Binary,
}

const VENDORED_FOLDERS: &[&str] = &[
    ".bundle",
    ".eggs",
    ".venv",
    ".yarn",
    "Carthage",
    "Godeps",
    "Pods",
    "__pycache__",
    "bower_components",
    "jspm_packages",
    "node_modules",
    "site-packages",
    "third-party",
    "third_party",
    "thirdparty",
    "vendor",
    "vendored",
    "venv",
];

const GENERATED_FOLDERS: &[&str] =
    &[".next", ".nuxt", ".nyc_output", ".parcel-cache", "__generated__", "__snapshots__", "dist"];

const LOCK_FILES: &[&str] = &[
    "Cargo.lock",
    "Gemfile.lock",
    "MODULE.bazel.lock",
    "Package.resolved",
    "Pipfile.lock",
    "Podfile.lock",
    "bun.lock",
    "composer.lock",
    "deno.lock",
    "flake.lock",
    "go.sum",
    "go.work.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pubspec.lock",
    "stack.yaml.lock",
    "uv.lock",
    "yarn.lock",
];

const GENERATED_ENDINGS: &[&str] = &[
    ".bundle.js",
    ".designer.cs",
    ".freezed.dart",
    ".g.cs",
    ".g.dart",
    ".js.map",
    ".css.map",
    ".min.css",
    ".min.js",
    ".min.mjs",
    ".pb.cc",
    ".pb.go",
    ".pb.h",
    "_generated.go",
    "_pb2.py",
    "_pb2.pyi",
    "_pb2_grpc.py",
];

const BINARY_EXTENSIONS: &[&str] = &[
    "7z",
    "a",
    "aac",
    "apk",
    "avi",
    "avif",
    "bin",
    "bmp",
    "bz2",
    "class",
    "dat",
    "db",
    "dll",
    "dmg",
    "doc",
    "docx",
    "dylib",
    "ear",
    "egg",
    "eot",
    "exe",
    "flac",
    "gif",
    "gz",
    "heic",
    "icns",
    "ico",
    "iso",
    "jar",
    "jpeg",
    "jpg",
    "ko",
    "lib",
    "lz4",
    "m4a",
    "mdb",
    "mkv",
    "mov",
    "mp3",
    "mp4",
    "mpeg",
    "nupkg",
    "o",
    "obj",
    "odt",
    "ogg",
    "onnx",
    "otf",
    "parquet",
    "pdb",
    "pdf",
    "pkl",
    "png",
    "ppt",
    "pptx",
    "psd",
    "pyc",
    "pyo",
    "rar",
    "rlib",
    "rpm",
    "safetensors",
    "so",
    "sqlite",
    "sqlite3",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ttf",
    "war",
    "wasm",
    "wav",
    "webm",
    "webp",
    "whl",
    "woff",
    "woff2",
    "xls",
    "xlsx",
    "xz",
    "zip",
    "zst",
];

/// The sort that a path alone gives away.
pub fn by_path(path: &[u8]) -> Sort {
    let mut components = path.split(|byte| *byte == b'/').collect::<Vec<_>>();
    let name = components.pop().unwrap_or_default();
    if components.iter().any(|folder| is_one_of(folder, VENDORED_FOLDERS)) {
        return Sort::Vendored;
    }
    if components.iter().any(|folder| is_one_of(folder, GENERATED_FOLDERS))
        || is_one_of(name, LOCK_FILES)
    {
        return Sort::Generated;
    }
    let lower = name.to_ascii_lowercase();
    if GENERATED_ENDINGS.iter().any(|ending| lower.ends_with(ending.as_bytes())) {
        return Sort::Generated;
    }
    match extension_of(&lower) {
        Some(extension) if is_one_of(extension, BINARY_EXTENSIONS) => Sort::Binary,
        _ => Sort::Own,
    }
}

/// What follows the last dot of a name, unless the dot opens the name.
pub fn extension_of(path: &[u8]) -> Option<&[u8]> {
    let name = name_of(path);
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    (dot > 0 && dot + 1 < name.len()).then(|| &name[dot + 1..])
}

/// Why content is left out of the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoProse {
    Binary,
    LfsPointer,
    Generated,
    Minified,
}

/// What the head of a file gives away that its path did not.
pub fn by_content(head: &[u8]) -> Option<NoProse> {
    // git calls a file binary for a NUL in its first 8,000 bytes.
    if head.iter().take(8000).any(|byte| *byte == 0) {
        return Some(NoProse::Binary);
    }
    if is_lfs_pointer(head) {
        return Some(NoProse::LfsPointer);
    }
    if has_generated_mark(head) {
        return Some(NoProse::Generated);
    }
    is_minified(head).then_some(NoProse::Minified)
}

/// The first line of an LFS pointer, as git-lfs's specification gives it.
fn is_lfs_pointer(head: &[u8]) -> bool {
    head.starts_with(b"version https://git-lfs.github.com/spec/")
        || head.starts_with(b"version https://hawser.github.com/spec/")
}

/// The marks that generators agree on, looked for in the first lines only: further down they are
/// more often code about generated code.
fn has_generated_mark(head: &[u8]) -> bool {
    let first_lines = &head[..head.len().min(1024)];
    let lower = first_lines.to_ascii_lowercase();
    let has = |mark: &str| lower.windows(mark.len()).any(|window| window == mark.as_bytes());
    (has("code generated by") && has("do not edit"))
        || lower.split(|byte| *byte == b'\n').take(5).any(|line| {
            let is_comment = [b"//".as_slice(), b"#", b"/*", b" *", b"<!--", b"--", b";"]
                .iter()
                .any(|opening| line.starts_with(opening));
            is_comment && line.windows(10).any(|window| window == b"@generated")
        })
}

/// Lines of a thousand bytes on average are nobody's handwriting.
fn is_minified(head: &[u8]) -> bool {
    let lines = 1 + head.iter().filter(|byte| **byte == b'\n').count();
    head.len() > 4096 && head.len() / lines > 1000
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|one| one.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_give_their_sort_away() {
        for (path, sort) in [
            ("src/main.rs", Sort::Own),
            ("vendor", Sort::Own),
            ("a/vendor/b.go", Sort::Vendored),
            ("node_modules/x/index.js", Sort::Vendored),
            ("web/dist/app.js", Sort::Generated),
            ("Cargo.lock", Sort::Generated),
            ("api/v1/x.pb.go", Sort::Generated),
            ("static/jquery.MIN.js", Sort::Generated),
            ("logo.PNG", Sort::Binary),
            (".png", Sort::Own),
        ] {
            assert_eq!(by_path(path.as_bytes()), sort, "{path}");
        }
    }

    #[test]
    fn heads_give_their_sort_away() {
        let wide = format!("var a={};", "1+".repeat(4000));
        for (head, expected) in [
            ("fn main() {}\n", None),
            ("", None),
            ("a\0b", Some(NoProse::Binary)),
            (
                "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
                Some(NoProse::LfsPointer),
            ),
            ("// Code generated by protoc. DO NOT EDIT.\n", Some(NoProse::Generated)),
            ("# @generated by tool\n", Some(NoProse::Generated)),
            ("const MARK: &str = \"@generated\";\n", None),
            (wide.as_str(), Some(NoProse::Minified)),
        ] {
            assert_eq!(by_content(head.as_bytes()), expected, "{head:.40}");
        }
    }
}
