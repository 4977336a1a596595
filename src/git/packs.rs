//! The server's own packs: one for each pinned base, with its commit and its tree and nothing else,
//! named by the hash of its bytes. Later attempts, deliveries and replays read these, never a tip.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use cody_events::digest::{ObjectId, Sha256};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::{ObjectType, Odb, Oid, Repository};
use sha1::{Digest as _, Sha1};

use super::base::oid;
use super::error::{GitError, io as at};
use super::settings::isolate;

/// Packs are read far more often than they are made, but never sent: speed wins over size.
const COMPRESSION: Compression = Compression::fast();

/// Where packs are kept.
#[derive(Debug, Clone)]
pub struct PackStore {
    dir: PathBuf,
}

/// A pack in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedPack {
    /// The SHA-256 of the pack's bytes.
    pub hash: Sha256,
    pub bytes: u64,
    pub dir: PathBuf,
}

impl PackStore {
    /// A store in `dir`, which is made when the first pack comes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory of a pack, laid out as git's `objects`.
    pub fn dir(&self, hash: &Sha256) -> PathBuf {
        self.dir.join(hash.to_string())
    }

    /// Keeps `commit` of the repository at `path`. The same base twice is kept once.
    pub fn store(&self, path: &Path, commit: ObjectId) -> Result<PinnedPack, GitError> {
        fs::create_dir_all(&self.dir).map_err(at("a directory cannot be made", &self.dir))?;
        isolate()?;
        let repository = Repository::open(path)?;
        let scratch = tempfile::TempDir::with_prefix_in("new-", &self.dir)
            .map_err(at("a directory cannot be made", &self.dir))?;
        let packs = scratch.path().join("pack");
        fs::create_dir(&packs).map_err(at("a directory cannot be made", &packs))?;
        let objects = objects_of(&repository, commit)?;
        match received_whole(&repository, commit, objects.len())? {
            Some(received) => link(&received, &packs)?,
            None => write(&repository, &objects, &packs)?,
        }
        let pack = only_pack(&packs)?;
        let (hash, bytes) = hash_file(&pack).map_err(at("a pack cannot be read", &pack))?;
        sync(&packs).map_err(at("a pack cannot be made durable", &packs))?;
        let dir = self.dir(&hash);
        if !dir.exists() {
            let new = scratch.keep();
            if let Err(error) = fs::rename(&new, &dir) {
                // Somebody else was faster; theirs has the same bytes.
                let _ = fs::remove_dir_all(&new);
                if !dir.exists() {
                    return Err(at("a pack cannot be put in its place", &dir)(error));
                }
            }
            sync(&self.dir).map_err(at("a pack cannot be made durable", &self.dir))?;
        }
        Ok(PinnedPack { hash, bytes, dir })
    }
}

/// The pack that a fetch at depth 1 brought, if it holds `count` objects, those of the base, and
/// the repository holds nothing else: it is exactly what we would write.
fn received_whole(
    repository: &Repository,
    commit: ObjectId,
    count: usize,
) -> Result<Option<PathBuf>, GitError> {
    let shallow = repository.path().join("shallow");
    let is_alone = fs::read_to_string(shallow).is_ok_and(|text| text.trim() == commit.to_string());
    if !is_alone {
        return Ok(None);
    }
    let packs = repository.path().join("objects/pack");
    let found = list(&packs, "pack").map_err(at("packs cannot be listed", &packs))?;
    match found.as_slice() {
        [pack] if pack.with_extension("idx").exists() => {
            let counted = count_in(pack).map_err(at("a pack cannot be read", pack))?;
            // A host may have put more into its pack than it was asked for.
            Ok((counted as usize == count).then(|| pack.clone()))
        }
        _ => Ok(None),
    }
}

/// How many objects a pack's header promises.
fn count_in(pack: &Path) -> io::Result<u32> {
    let mut header = [0; 12];
    File::open(pack)?.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    Ok(u32::from_be_bytes([a, b, c, d]))
}

fn link(pack: &Path, packs: &Path) -> Result<(), GitError> {
    for source in [pack.to_owned(), pack.with_extension("idx")] {
        let Some(name) = source.file_name() else { continue };
        let target = packs.join(name);
        if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(at("a pack cannot be copied", &target))?;
        }
    }
    Ok(())
}

/// Writes a pack without deltas: finding them costs more time than they save space here.
fn write(repository: &Repository, objects: &[Oid], packs: &Path) -> Result<(), GitError> {
    let odb = repository.odb()?;
    let raw = packs.join("new.raw");
    write_objects(&odb, objects, &raw)?;
    let mut indexer = git2::Indexer::new(Some(&odb), packs, 0o644, true)?;
    let mut file = File::open(&raw).map_err(at("a pack cannot be read", &raw))?;
    io::copy(&mut file, &mut indexer).map_err(at("a pack cannot be indexed", &raw))?;
    indexer.commit()?;
    fs::remove_file(&raw).map_err(at("a file cannot be removed", &raw))
}

/// The commit, its trees and its blobs, each once.
fn objects_of(repository: &Repository, commit: ObjectId) -> Result<Vec<Oid>, GitError> {
    let root = repository.find_commit(oid(commit)?)?;
    let mut objects = vec![root.id()];
    let mut seen = HashSet::from([root.id()]);
    collect(repository, root.tree_id(), &mut objects, &mut seen)?;
    Ok(objects)
}

fn collect(
    repository: &Repository,
    tree: Oid,
    objects: &mut Vec<Oid>,
    seen: &mut HashSet<Oid>,
) -> Result<(), GitError> {
    if !seen.insert(tree) {
        return Ok(());
    }
    objects.push(tree);
    for entry in &repository.find_tree(tree)? {
        match entry.kind() {
            Some(ObjectType::Tree) => collect(repository, entry.id(), objects, seen)?,
            Some(ObjectType::Blob) if seen.insert(entry.id()) => objects.push(entry.id()),
            _ => {}
        }
    }
    Ok(())
}

/// The pack format, version 2: a header, each object deflated, and the SHA-1 of all that.
fn write_objects(odb: &Odb<'_>, objects: &[Oid], path: &Path) -> Result<(), GitError> {
    let failed = || at("a pack cannot be written", path);
    let file = File::create(path).map_err(failed())?;
    let mut out = Hashed { inner: BufWriter::with_capacity(1 << 20, file), hasher: Sha1::new() };
    let count = u32::try_from(objects.len())
        .map_err(|_| GitError::TooBig { what: "too many objects for one pack".to_owned() })?;
    let mut header = Vec::from(*b"PACK\0\0\0\x02");
    header.extend(count.to_be_bytes());
    out.write_all(&header).map_err(failed())?;
    for id in objects {
        let object = odb.read(*id)?;
        out.write_all(&object_header(object.kind(), object.len())).map_err(failed())?;
        let mut deflate = ZlibEncoder::new(&mut out, COMPRESSION);
        deflate.write_all(object.data()).map_err(failed())?;
        deflate.finish().map_err(failed())?;
    }
    let digest = out.hasher.finalize_reset();
    out.inner.write_all(&digest).map_err(failed())?;
    out.inner.flush().map_err(failed())
}

/// An object's kind and size, seven bits a byte after the first.
fn object_header(kind: ObjectType, size: usize) -> Vec<u8> {
    let kind = match kind {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Tag => 4,
        ObjectType::Blob | ObjectType::Any => 3,
    };
    let low = u8::try_from(size & 0x0f).unwrap_or(0);
    let mut bytes = vec![(kind << 4) | low];
    let mut rest = size >> 4;
    while rest > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0));
        rest >>= 7;
    }
    bytes
}

struct Hashed<W> {
    inner: W,
    hasher: Sha1,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn only_pack(packs: &Path) -> Result<PathBuf, GitError> {
    let found = list(packs, "pack").map_err(at("packs cannot be listed", packs))?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| GitError::Hostile { what: "a pack came out empty".to_owned() })
}

fn list(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn hash_file(path: &Path) -> io::Result<(Sha256, u64)> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let bytes = file.stream_position()?;
    Ok((Sha256(hasher.finalize().into()), bytes))
}

/// Makes the files of `dir`, and their names, survive a loss of power.
fn sync(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}
