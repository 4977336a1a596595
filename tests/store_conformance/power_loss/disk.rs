//! A disk rebuilt from the journal of what it was asked to do, as a power cut at one moment may have
//! left it: what was synced is there; of the rest each write is there, is not, or is there in part.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng as _;
use rand::rngs::StdRng;

/// What a disk writes at once. A write of more can be cut between any two of these.
const SECTOR: usize = 512;

/// One thing that the disk was asked to do.
#[derive(Debug)]
pub struct Record {
    name: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Write {
        offset: usize,
        data: Vec<u8>,
    },
    Cut {
        length: usize,
    },
    Sync,
    SyncNames,
    /// The kernel takes what it could not write for written, and forgets it.
    SyncFailed,
    Create,
    Remove,
}

impl Record {
    /// Whether the WAL is begun anew, over what it held before.
    pub fn begins_wal(&self) -> bool {
        self.name == "log.db-wal" && matches!(self.what, What::Write { offset: 0, .. })
    }
}

/// Whether the disk does what a sync asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    Obeyed,
    /// As on a disk that answers before it has written.
    Ignored,
}

/// Reads the records of the journal at `path`, in order.
pub fn records(path: &Path) -> Vec<Record> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_at(18);
        let number = |at: usize| {
            let bytes: [u8; 8] = head[at..at + 8].try_into().unwrap();
            usize::try_from(u64::from_ne_bytes(bytes)).unwrap()
        };
        let (offset, length) = (number(2), number(10));
        let (name, after) = after.split_at(usize::from(head[1]));
        let (data, after) = after.split_at(length);
        let what = match head[0] {
            1 => What::Write { offset, data: data.to_vec() },
            2 => What::Cut { length: offset },
            3 => What::Sync,
            4 => What::SyncNames,
            5 => What::Create,
            6 => What::Remove,
            7 => What::SyncFailed,
            other => panic!("no such operation: {other}"),
        };
        records.push(Record { name: String::from_utf8(name.to_vec()).unwrap(), what });
        rest = after;
    }
    records
}

/// What a file holds for certain, and what may or may not be there yet.
#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<What>,
}

/// The disk after some of the records.
#[derive(Debug)]
pub struct Disk {
    syncs: Syncs,
    files: Vec<File>,
    /// What each name has stood for since the directory was synced: the first for certain then, the
    /// last for whoever looks now.
    names: BTreeMap<String, Vec<Option<usize>>>,
    /// What the child wrote down as acknowledged.
    told: String,
}

impl Disk {
    pub fn new(syncs: Syncs) -> Self {
        Self { syncs, files: Vec::new(), names: BTreeMap::new(), told: String::new() }
    }

    /// What was acknowledged so far, one line each.
    pub fn acknowledged(&self) -> &str {
        &self.told
    }

    /// Does what `record` says.
    pub fn take(&mut self, record: Record) {
        let Record { name, what } = record;
        if name == "acks" {
            if let What::Write { data, .. } = what {
                self.told.push_str(std::str::from_utf8(&data).unwrap());
            }
            return;
        }
        match what {
            What::Create => {
                self.files.push(File::default());
                let file = Some(self.files.len() - 1);
                self.names.entry(name).or_insert_with(|| vec![None]).push(file);
            }
            What::Remove => self.names.get_mut(&name).unwrap().push(None),
            What::SyncNames if self.syncs == Syncs::Obeyed => {
                for history in self.names.values_mut() {
                    history.drain(..history.len() - 1);
                }
            }
            What::Sync if self.syncs == Syncs::Obeyed => {
                let File { synced, pending } = self.file(&name);
                for done in pending.drain(..) {
                    apply(synced, &done, |_| true);
                }
            }
            What::SyncFailed => self.file(&name).pending.clear(),
            What::Sync | What::SyncNames => {}
            What::Write { .. } | What::Cut { .. } => self.file(&name).pending.push(what),
        }
    }

    fn file(&mut self, name: &str) -> &mut File {
        let current = self.names[name].last().copied().flatten();
        &mut self.files[current.unwrap()]
    }

    /// Writes into `directory` what a power cut now may leave, by the choices of `random`.
    pub fn cut_power(&self, directory: &Path, random: &mut StdRng) {
        // All that was not synced is lost, or all is there, or each write meets a fate of its own.
        let style = random.random_range(0..6);
        for (name, history) in &self.names {
            let stands_for = match style {
                0 => history[0],
                1 => *history.last().unwrap(),
                _ => history[random.random_range(0..history.len())],
            };
            let Some(file) = stands_for else { continue };
            let File { synced, pending } = &self.files[file];
            let mut bytes = synced.clone();
            for write in pending {
                let fate = if style < 2 { style } else { random.random_range(0..3) };
                match fate {
                    0 => {}
                    1 => apply(&mut bytes, write, |_| true),
                    _ => apply(&mut bytes, write, |_| random.random()),
                }
            }
            std::fs::write(directory.join(name), bytes).unwrap();
        }
    }
}

/// Changes `bytes` by those sectors of `what` that reach the disk.
fn apply(bytes: &mut Vec<u8>, what: &What, mut reaches: impl FnMut(usize) -> bool) {
    match what {
        What::Write { offset, data } => {
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                if !reaches(index) {
                    continue;
                }
                let (from, to) = (offset + index * SECTOR, offset + index * SECTOR + sector.len());
                if bytes.len() < to {
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(sector);
            }
        }
        What::Cut { length } if reaches(0) => bytes.resize(*length, 0),
        What::Cut { .. }
        | What::Sync
        | What::SyncNames
        | What::SyncFailed
        | What::Create
        | What::Remove => {}
    }
}
