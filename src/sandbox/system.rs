//! What of the machine's system every command may read: its programs, and the few settings that
//! they look for.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Directories of the system that are links on some machines and directories on others.
pub(super) const DIRS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// What of `/etc` programs look for. Nothing that names users, hosts or keys: not `/etc/ssl` as a
/// whole, whose `private` a worker running as root could read.
pub(super) const ETC: [&str; 15] = [
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/perl",
    "/etc/fonts",
    "/etc/maven",
];

/// All of it, for those who need no more than the paths.
pub(super) fn readable() -> Vec<PathBuf> {
    let named = ["/usr"].into_iter().chain(DIRS).chain(ETC).map(PathBuf::from);
    named.chain(java_settings()).collect()
}

/// `/etc/java-17-openjdk` and the like: a JDK's settings are links into them.
pub(super) fn java_settings() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    let is_java = |entry: &std::fs::DirEntry| entry.file_name().as_bytes().starts_with(b"java");
    let mut found: Vec<PathBuf> = entries.filter(is_java).map(|entry| entry.path()).collect();
    found.sort();
    found
}
