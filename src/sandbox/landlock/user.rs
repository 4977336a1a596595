//! A user of its own for the commands of one worker, where the worker is root: other users' files,
//! processes and limits are out of its reach by the oldest rules of the system. No such user is
//! written down anywhere; a number is all the kernel needs.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Numbers that neither Debian nor systemd give to anybody.
const NUMBERS: std::ops::RangeInclusive<u32> = 60_578..=61_183;

/// A number that no other worker on this machine uses while this lives.
#[derive(Debug)]
pub(super) struct OwnUser {
    pub(super) number: u32,
    /// A name that the kernel gives to one at a time, and takes back whatever happens.
    _claim: UnixListener,
}

impl OwnUser {
    /// The first free number, if there is one.
    pub(super) fn claim() -> Option<Self> {
        let in_use = users_of_processes();
        NUMBERS.filter(|number| !in_use.contains(number)).find_map(|number| {
            let name = format!("cody-batch-user-{number}");
            let address = SocketAddr::from_abstract_name(name).ok()?;
            let claim = UnixListener::bind_addr(&address).ok()?;
            Some(Self { number, _claim: claim })
        })
    }
}

/// Users that own a process now.
fn users_of_processes() -> std::collections::BTreeSet<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.uid()).collect()
}
