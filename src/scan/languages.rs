//! Which language a file is written in: by its name, its extension, or the `#!` of its first line.
//! A table of our own, so that the names are a closed set.

use super::sorts::extension_of;

/// What a language is for. Lists of languages put code first; ranking trusts it most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Code,
    Markup,
    Data,
    Prose,
}

/// A language: its name and role.
pub type Language = (&'static str, Role);

use Role::{Code, Data, Markup, Prose};

/// The language of headers that C and C++ share; the tally decides whose they are.
pub const HEADER: Language = ("C header", Code);

/// File names, whole.
const NAMES: &[(&str, Language)] = &[
    ("BUILD", ("Starlark", Code)),
    ("BUILD.bazel", ("Starlark", Code)),
    ("CMakeLists.txt", ("CMake", Code)),
    ("Containerfile", ("Dockerfile", Code)),
    ("Dockerfile", ("Dockerfile", Code)),
    ("GNUmakefile", ("Makefile", Code)),
    ("Gemfile", ("Ruby", Code)),
    ("Jenkinsfile", ("Groovy", Code)),
    ("Justfile", ("Just", Code)),
    ("MODULE.bazel", ("Starlark", Code)),
    ("Makefile", ("Makefile", Code)),
    ("Podfile", ("Ruby", Code)),
    ("Rakefile", ("Ruby", Code)),
    ("Vagrantfile", ("Ruby", Code)),
    ("WORKSPACE", ("Starlark", Code)),
    ("justfile", ("Just", Code)),
    ("makefile", ("Makefile", Code)),
    ("meson.build", ("Meson", Code)),
];

/// Lower-case extensions, sorted.
const EXTENSIONS: &[(&str, Language)] = &[
    ("adb", ("Ada", Code)),
    ("adoc", ("AsciiDoc", Prose)),
    ("ads", ("Ada", Code)),
    ("asm", ("Assembly", Code)),
    ("astro", ("Astro", Markup)),
    ("awk", ("Awk", Code)),
    ("bash", ("Shell", Code)),
    ("bat", ("Batchfile", Code)),
    ("bzl", ("Starlark", Code)),
    ("c", ("C", Code)),
    ("cc", ("C++", Code)),
    ("cjs", ("JavaScript", Code)),
    ("cl", ("Common Lisp", Code)),
    ("clj", ("Clojure", Code)),
    ("cljc", ("Clojure", Code)),
    ("cljs", ("Clojure", Code)),
    ("cmake", ("CMake", Code)),
    ("cpp", ("C++", Code)),
    ("cr", ("Crystal", Code)),
    ("cs", ("C#", Code)),
    ("css", ("CSS", Markup)),
    ("csv", ("CSV", Data)),
    ("cts", ("TypeScript", Code)),
    ("cu", ("CUDA", Code)),
    ("cxx", ("C++", Code)),
    ("d", ("D", Code)),
    ("dart", ("Dart", Code)),
    ("el", ("Emacs Lisp", Code)),
    ("elm", ("Elm", Code)),
    ("erb", ("ERB", Markup)),
    ("erl", ("Erlang", Code)),
    ("ex", ("Elixir", Code)),
    ("exs", ("Elixir", Code)),
    ("f90", ("Fortran", Code)),
    ("fish", ("Shell", Code)),
    ("fs", ("F#", Code)),
    ("fsx", ("F#", Code)),
    ("gleam", ("Gleam", Code)),
    ("go", ("Go", Code)),
    ("gradle", ("Groovy", Code)),
    ("graphql", ("GraphQL", Code)),
    ("groovy", ("Groovy", Code)),
    ("h", HEADER),
    ("hcl", ("HCL", Code)),
    ("hh", ("C++", Code)),
    ("hpp", ("C++", Code)),
    ("hrl", ("Erlang", Code)),
    ("hs", ("Haskell", Code)),
    ("htm", ("HTML", Markup)),
    ("html", ("HTML", Markup)),
    ("hxx", ("C++", Code)),
    ("ini", ("INI", Data)),
    ("ipynb", ("Jupyter Notebook", Markup)),
    ("java", ("Java", Code)),
    ("jl", ("Julia", Code)),
    ("js", ("JavaScript", Code)),
    ("json", ("JSON", Data)),
    ("jsonc", ("JSON", Data)),
    ("jsx", ("JavaScript", Code)),
    ("kt", ("Kotlin", Code)),
    ("kts", ("Kotlin", Code)),
    ("less", ("Less", Markup)),
    ("lisp", ("Common Lisp", Code)),
    ("lua", ("Lua", Code)),
    ("m", ("Objective-C", Code)),
    ("markdown", ("Markdown", Prose)),
    ("md", ("Markdown", Prose)),
    ("mdx", ("Markdown", Prose)),
    ("mjs", ("JavaScript", Code)),
    ("mk", ("Makefile", Code)),
    ("ml", ("OCaml", Code)),
    ("mli", ("OCaml", Code)),
    ("mm", ("Objective-C++", Code)),
    ("mts", ("TypeScript", Code)),
    ("nim", ("Nim", Code)),
    ("nix", ("Nix", Code)),
    ("pas", ("Pascal", Code)),
    ("php", ("PHP", Code)),
    ("pl", ("Perl", Code)),
    ("pm", ("Perl", Code)),
    ("proto", ("Protocol Buffers", Code)),
    ("ps1", ("PowerShell", Code)),
    ("psm1", ("PowerShell", Code)),
    ("py", ("Python", Code)),
    ("pyi", ("Python", Code)),
    ("pyx", ("Cython", Code)),
    ("r", ("R", Code)),
    ("rake", ("Ruby", Code)),
    ("rb", ("Ruby", Code)),
    ("rs", ("Rust", Code)),
    ("rst", ("reStructuredText", Prose)),
    ("s", ("Assembly", Code)),
    ("sass", ("Sass", Markup)),
    ("sc", ("Scala", Code)),
    ("scala", ("Scala", Code)),
    ("scm", ("Scheme", Code)),
    ("scss", ("SCSS", Markup)),
    ("sh", ("Shell", Code)),
    ("sol", ("Solidity", Code)),
    ("sql", ("SQL", Code)),
    ("sv", ("SystemVerilog", Code)),
    ("svelte", ("Svelte", Markup)),
    ("svg", ("SVG", Data)),
    ("swift", ("Swift", Code)),
    ("tcl", ("Tcl", Code)),
    ("tex", ("TeX", Prose)),
    ("tf", ("HCL", Code)),
    ("toml", ("TOML", Data)),
    ("ts", ("TypeScript", Code)),
    ("tsv", ("CSV", Data)),
    ("tsx", ("TypeScript", Code)),
    ("txt", ("Text", Prose)),
    ("v", ("Verilog", Code)),
    ("vb", ("Visual Basic .NET", Code)),
    ("vhd", ("VHDL", Code)),
    ("vhdl", ("VHDL", Code)),
    ("vim", ("Vim Script", Code)),
    ("vue", ("Vue", Markup)),
    ("wat", ("WebAssembly", Code)),
    ("xhtml", ("HTML", Markup)),
    ("xml", ("XML", Data)),
    ("yaml", ("YAML", Data)),
    ("yml", ("YAML", Data)),
    ("zig", ("Zig", Code)),
    ("zsh", ("Shell", Code)),
];

/// Interpreters of a `#!` line, without version numbers.
const INTERPRETERS: &[(&str, Language)] = &[
    ("ash", ("Shell", Code)),
    ("awk", ("Awk", Code)),
    ("bash", ("Shell", Code)),
    ("bun", ("TypeScript", Code)),
    ("dash", ("Shell", Code)),
    ("deno", ("TypeScript", Code)),
    ("escript", ("Erlang", Code)),
    ("fish", ("Shell", Code)),
    ("ksh", ("Shell", Code)),
    ("lua", ("Lua", Code)),
    ("node", ("JavaScript", Code)),
    ("perl", ("Perl", Code)),
    ("php", ("PHP", Code)),
    ("python", ("Python", Code)),
    ("ruby", ("Ruby", Code)),
    ("sh", ("Shell", Code)),
    ("tclsh", ("Tcl", Code)),
    ("zsh", ("Shell", Code)),
];

/// The language that a path names.
pub fn by_path(path: &[u8]) -> Option<Language> {
    let name = std::str::from_utf8(super::listing::name_of(path)).ok()?;
    if let Some((_, language)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*language);
    }
    let extension = std::str::from_utf8(extension_of(path)?).ok()?.to_ascii_lowercase();
    let at = EXTENSIONS.binary_search_by(|(known, _)| (*known).cmp(&extension)).ok()?;
    EXTENSIONS.get(at).map(|(_, language)| *language)
}

/// The language of a script by its first line.
pub fn by_shebang(head: &[u8]) -> Option<Language> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().find(|(known, _)| *known == program).map(|(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(EXTENSIONS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn names_extensions_and_first_lines_name_a_language() {
        let named = |path: &str| by_path(path.as_bytes()).map(|(name, _)| name);
        assert_eq!(named("a/Makefile"), Some("Makefile"));
        assert_eq!(named("a/b.RS"), Some("Rust"));
        assert_eq!(named("x.tar.unknown"), None);
        assert_eq!(named(".rs"), None);

        let run_by = |line: &str| by_shebang(line.as_bytes()).map(|(name, _)| name);
        assert_eq!(run_by("#!/usr/bin/env -S python3.12 -u\nprint()"), Some("Python"));
        assert_eq!(run_by("#! /bin/sh\n"), Some("Shell"));
        assert_eq!(run_by("#!/usr/bin/env"), None);
        assert_eq!(run_by("hello"), None);
    }
}
