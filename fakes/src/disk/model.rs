//! What a folder holds and what of it is safe, note by note; and the folder that a power cut leaves
//! where it is decided what became of all the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::choice::{Choice, FileFate};
use super::notes::{Emptied, Note};

/// Bytes that a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Why a note does not fit.
#[derive(Debug, thiserror::Error)]
#[error("note {step}: {why}")]
pub struct DiskError {
    /// Its place among the notes.
    pub step: u64,
    /// What does not fit.
    pub why: String,
}

/// One thing in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A file and its bytes.
    File(Vec<u8>),
    /// A folder.
    Folder,
    /// A socket that nobody listens on.
    Socket,
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its parts by their paths.
    pub parts: BTreeMap<String, Part>,
    /// Equal for two images of one disk only where they hold the same.
    pub print: u64,
}

impl Image {
    /// Reads a folder; nothing of what `leave_out` names.
    pub fn read(folder: &Path, leave_out: &[&str]) -> io::Result<Self> {
        let (mut parts, mut open) = (BTreeMap::new(), vec![String::new()]);
        while let Some(below) = open.pop() {
            for entry in std::fs::read_dir(folder.join(&below))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                let kind = entry.file_type()?;
                if leave_out.contains(&path.as_str()) {
                    continue;
                }
                let part = if kind.is_dir() {
                    open.push(path.clone());
                    Part::Folder
                } else if kind.is_file() {
                    Part::File(std::fs::read(entry.path())?)
                } else {
                    Part::Socket
                };
                parts.insert(path, part);
            }
        }
        Ok(Self { parts, print: 0 })
    }

    /// Makes a folder hold it. The folder is there and empty.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        // A folder's path sorts before all that lies in it.
        for (path, part) in &self.parts {
            let path = folder.join(path);
            match part {
                Part::Folder => std::fs::create_dir(path)?,
                // As the agent makes its own files; a key that others may read is refused.
                Part::File(bytes) => {
                    let mut new = std::fs::OpenOptions::new();
                    new.write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)?;
                }
                Part::Socket => drop(std::os::unix::net::UnixListener::bind(path)?),
            }
        }
        Ok(())
    }
}

/// A change of a file's bytes that is not synced.
#[derive(Debug, Clone)]
struct Change {
    step: u64,
    offset: usize,
    /// Nothing where the file was only given a length.
    bytes: Option<Vec<u8>>,
    before: usize,
    after: usize,
}

impl Change {
    /// Returns the sectors that look otherwise after it.
    fn sectors(&self) -> std::ops::Range<usize> {
        let (from, to) = match &self.bytes {
            Some(bytes) => (self.offset, self.offset + bytes.len()),
            None => (self.after.min(self.before), self.before),
        };
        from / SECTOR..to.div_ceil(SECTOR)
    }

    /// Changes one sector of a file that is long enough.
    fn apply(&self, sector: usize, file: &mut [u8]) {
        let (low, high) = (sector * SECTOR, ((sector + 1) * SECTOR).min(file.len()));
        match &self.bytes {
            Some(bytes) => {
                let (from, to) = (low.max(self.offset), high.min(self.offset + bytes.len()));
                file[from..to].copy_from_slice(&bytes[from - self.offset..to - self.offset]);
            }
            None => file[low.max(self.after).min(high)..high].fill(0),
        }
    }
}

#[derive(Debug, Clone)]
enum Node {
    File(FileNode),
    Folder(String),
    Socket,
}

#[derive(Debug, Clone, Default)]
struct FileNode {
    safe: Vec<u8>,
    length: usize,
    changes: Vec<Change>,
}

/// A change of names that is not synced, and the folders that it is in.
#[derive(Debug, Clone)]
struct NameChange {
    step: u64,
    gone: Option<String>,
    come: Option<(String, usize)>,
}

impl NameChange {
    fn folders(&self) -> BTreeSet<&str> {
        let come = self.come.as_ref().map(|(path, _)| path);
        self.gone.iter().chain(come).map(|path| folder_of(path)).collect()
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((come, node)) = &self.come {
            names.insert(come.clone(), *node);
        }
    }
}

/// What of a disk is not safe: the files, with the number of their changes, and the folders, with the
/// number of changes among their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Undecided {
    pub(super) files: Vec<(usize, usize)>,
    pub(super) folders: Vec<(String, usize)>,
}

/// A disk under way.
#[derive(Debug, Clone)]
pub struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    inodes: BTreeMap<u64, usize>,
    step: u64,
    /// Rises whenever something becomes safe.
    syncs: u64,
}

impl Disk {
    /// Begins with a folder in which everything is safe.
    pub fn new(image: &Image) -> Self {
        let mut disk = Self {
            nodes: vec![Node::Folder(String::new())],
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            name_changes: Vec::new(),
            inodes: BTreeMap::new(),
            step: 0,
            syncs: 0,
        };
        for (path, part) in &image.parts {
            let node = match part {
                Part::File(bytes) => Node::File(FileNode::holding(bytes)),
                Part::Folder => Node::Folder(path.clone()),
                Part::Socket => Node::Socket,
            };
            disk.place(path, node);
        }
        disk
    }

    /// Does what the next note says.
    pub fn apply(&mut self, note: &Note) -> Result<(), DiskError> {
        self.step += 1;
        match note {
            Note::Opened { path, inode, emptied } => self.opened(path, *inode, *emptied),
            Note::Written { inode, offset, bytes } => {
                let (step, offset) = (self.step, self.fitting(*offset)?);
                let file = self.file(*inode)?;
                let (before, end) = (file.length, offset + bytes.len());
                file.length = before.max(end);
                let (bytes, after) = (Some(bytes.clone()), file.length);
                file.changes.push(Change { step, offset, bytes, before, after });
                Ok(())
            }
            Note::Cut { inode, length } => {
                let (step, after) = (self.step, self.fitting(*length)?);
                self.file(*inode)?.cut(step, after);
                Ok(())
            }
            Note::Synced { inode } => self.synced(*inode),
            Note::Renamed { from, to } => {
                let node = self.node(from)?;
                if matches!(self.nodes[node], Node::Folder(_)) {
                    return Err(self.wrong(format!("the folder {from} is moved")));
                }
                self.change_names(Some(from.clone()), Some((to.clone(), node)));
                Ok(())
            }
            Note::Unlinked(path) | Note::FolderRemoved(path) => {
                self.node(path)?;
                self.change_names(Some(path.clone()), None);
                Ok(())
            }
            Note::FolderMade(path) => {
                let node = self.add(Node::Folder(path.clone()));
                self.change_names(None, Some((path.clone(), node)));
                Ok(())
            }
            Note::SocketMade(path) => {
                let node = self.add(Node::Socket);
                self.change_names(None, Some((path.clone(), node)));
                Ok(())
            }
            Note::Placed { path, bytes } => {
                self.place(path, Node::File(FileNode::holding(bytes)));
                Ok(())
            }
            Note::Sent { .. } | Note::Said(_) => Ok(()),
            Note::Odd(what) => Err(self.wrong(format!("it is not noted what {what} did"))),
        }
    }

    /// Tells what a power cut could take now.
    pub(super) fn undecided(&self) -> Undecided {
        let changed = |(at, node): (usize, &Node)| match node {
            Node::File(file) if !file.changes.is_empty() => Some((at, file.changes.len())),
            Node::File(_) | Node::Folder(_) | Node::Socket => None,
        };
        let mut folders: BTreeMap<String, usize> = BTreeMap::new();
        for change in &self.name_changes {
            for folder in change.folders() {
                *folders.entry(folder.to_owned()).or_default() += 1;
            }
        }
        Undecided {
            files: self.nodes.iter().enumerate().filter_map(changed).collect(),
            folders: folders.into_iter().collect(),
        }
    }

    /// Returns a path under which a file is or was known.
    pub(super) fn name_of(&self, file: usize) -> Option<&str> {
        let all = self.names.iter().chain(&self.safe_names);
        all.filter(|(_, node)| **node == file).map(|(path, _)| path.as_str()).next()
    }

    /// Returns the folder that a power cut leaves now, where it is decided so.
    pub fn image(&self, choice: &Choice) -> Image {
        let mut print = DefaultHasher::new();
        self.syncs.hash(&mut print);
        let names = self.names_left(choice, &mut print);
        let is_there =
            |path: &str| folder_of(path).is_empty() || names.contains_key(folder_of(path));
        let mut parts = BTreeMap::new();
        for (path, node) in names.iter().filter(|(path, _)| ancestors(path).all(is_there)) {
            let part = match &self.nodes[*node] {
                Node::File(file) => {
                    node.hash(&mut print);
                    Part::File(file.left(choice.file(*node), &mut print))
                }
                Node::Folder(_) => Part::Folder,
                Node::Socket => Part::Socket,
            };
            parts.insert(path.clone(), part);
        }
        Image { parts, print: print.finish() }
    }

    /// Each folder keeps the first changes of its names, as many as is decided; one that was in two
    /// folders is kept where both keep it.
    fn names_left(&self, choice: &Choice, print: &mut DefaultHasher) -> BTreeMap<String, usize> {
        let mut names = self.safe_names.clone();
        let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ended = BTreeSet::new();
        for change in &self.name_changes {
            let folders = change.folders();
            let is_kept = folders.iter().all(|folder| {
                let so_far = kept.get(folder).copied().unwrap_or(0);
                !ended.contains(folder) && choice.folder(folder).is_none_or(|most| so_far < most)
            });
            for folder in folders {
                if is_kept {
                    *kept.entry(folder).or_default() += 1;
                } else {
                    ended.insert(folder);
                }
            }
            if is_kept {
                change.step.hash(print);
                change.apply(&mut names);
            }
        }
        names
    }

    fn opened(&mut self, path: &str, inode: u64, emptied: Emptied) -> Result<(), DiskError> {
        let node = match self.names.get(path) {
            Some(&node) => node,
            None if path.is_empty() => 0,
            None => {
                let node = self.add(Node::File(FileNode::default()));
                self.change_names(None, Some((path.to_owned(), node)));
                node
            }
        };
        self.inodes.insert(inode, node);
        let step = self.step;
        if let (Emptied::Yes, Node::File(file)) = (emptied, &mut self.nodes[node])
            && file.length > 0
        {
            file.cut(step, 0);
        }
        Ok(())
    }

    fn synced(&mut self, inode: u64) -> Result<(), DiskError> {
        let node = self.open_node(inode)?;
        let is_new = match &mut self.nodes[node] {
            Node::File(file) => file.sync(),
            Node::Folder(path) => {
                let path = path.clone();
                self.sync_names(&path)
            }
            Node::Socket => false,
        };
        self.syncs += u64::from(is_new);
        Ok(())
    }

    /// Makes the names of a folder safe, with all that had to happen before. Tells whether any was
    /// not.
    fn sync_names(&mut self, folder: &str) -> bool {
        let mut folders = BTreeSet::from([folder.to_owned()]);
        let mut is_safe = vec![false; self.name_changes.len()];
        for (at, change) in self.name_changes.iter().enumerate().rev() {
            if change.folders().iter().any(|folder| folders.contains(*folder)) {
                is_safe[at] = true;
                folders.extend(change.folders().into_iter().map(str::to_owned));
            }
        }
        let changes = std::mem::take(&mut self.name_changes);
        for (change, is_safe) in changes.into_iter().zip(&is_safe) {
            if *is_safe {
                change.apply(&mut self.safe_names);
            } else {
                self.name_changes.push(change);
            }
        }
        is_safe.contains(&true)
    }

    fn change_names(&mut self, gone: Option<String>, come: Option<(String, usize)>) {
        let change = NameChange { step: self.step, gone, come };
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn place(&mut self, path: &str, node: Node) {
        let node = self.add(node);
        self.names.insert(path.to_owned(), node);
        self.safe_names.insert(path.to_owned(), node);
        self.syncs += 1;
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&self, path: &str) -> Result<usize, DiskError> {
        let node = self.names.get(path).copied();
        node.ok_or_else(|| self.wrong(format!("nobody has made {path}")))
    }

    fn open_node(&self, inode: u64) -> Result<usize, DiskError> {
        let node = self.inodes.get(&inode).copied();
        node.ok_or_else(|| self.wrong(format!("nobody has opened the inode {inode}")))
    }

    fn file(&mut self, inode: u64) -> Result<&mut FileNode, DiskError> {
        let (node, step) = (self.open_node(inode)?, self.step);
        match &mut self.nodes[node] {
            Node::File(file) => Ok(file),
            Node::Folder(_) | Node::Socket => {
                Err(DiskError { step, why: format!("the inode {inode} is no file") })
            }
        }
    }

    fn fitting(&self, number: u64) -> Result<usize, DiskError> {
        usize::try_from(number).map_err(|_| self.wrong(format!("{number} is no place in a file")))
    }

    fn wrong(&self, why: String) -> DiskError {
        DiskError { step: self.step, why }
    }
}

impl FileNode {
    fn holding(bytes: &[u8]) -> Self {
        Self { safe: bytes.to_vec(), length: bytes.len(), changes: Vec::new() }
    }

    fn cut(&mut self, step: u64, after: usize) {
        let before = std::mem::replace(&mut self.length, after);
        self.changes.push(Change { step, offset: after, bytes: None, before, after });
    }

    /// Makes all of it safe. Tells whether any was not.
    fn sync(&mut self) -> bool {
        let changes = std::mem::take(&mut self.changes);
        for change in &changes {
            self.safe.resize(change.after.max(self.safe.len()), 0);
            match &change.bytes {
                Some(bytes) => {
                    self.safe[change.offset..change.offset + bytes.len()].copy_from_slice(bytes);
                }
                None => self.safe.truncate(change.after),
            }
        }
        !changes.is_empty()
    }

    /// Returns the bytes that are left where it is decided so.
    fn left(&self, fate: FileFate, print: &mut DefaultHasher) -> Vec<u8> {
        let mut touches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, change) in self.changes.iter().enumerate() {
            change.sectors().for_each(|sector| touches.entry(sector).or_default().push(at));
        }
        let lengths: Vec<usize> = self.changes.iter().map(|change| change.after).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0).max(self.safe.len());
        let mut bytes = self.safe.clone();
        bytes.resize(longest, 0);
        for (sector, touches) in &touches {
            for &at in &touches[..fate.seen(*sector, touches)] {
                self.changes[at].apply(*sector, &mut bytes);
                (*sector, self.changes[at].step).hash(print);
            }
        }
        bytes.truncate(fate.length(self.safe.len(), &lengths));
        bytes.len().hash(print);
        bytes
    }
}

/// Returns the path of the folder that holds it.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the path and those of the folders around it, but for the outermost.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(folder_of(path)).filter(|it| !it.is_empty()))
}
