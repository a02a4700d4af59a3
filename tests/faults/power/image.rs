//! What a disk may hold after a power cut: everything that was synced, and any part of the rest.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;

use super::trace::Event;

/// A disk writes sectors whole.
const SECTOR: usize = 512;

/// How a disk handles a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncs {
    /// It syncs.
    Kept,
    /// It reports success, and does nothing.
    Ignored,
}

/// How much of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Survival {
    /// Nothing.
    None,
    /// All.
    All,
    /// Each sector and each change of a size or a name, with this probability.
    Some(f64),
}

/// A change of a file that is not synced yet, with the number of its event.
#[derive(Debug, Clone)]
enum Change {
    Write { event: usize, offset: usize, bytes: Vec<u8> },
    Truncate { event: usize, length: usize },
}

impl Change {
    fn event(&self) -> usize {
        match self {
            Self::Write { event, .. } | Self::Truncate { event, .. } => *event,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    changes: Vec<Change>,
}

/// A change of the directory that is not synced yet: a name leads to a file, or nowhere.
#[derive(Debug, Clone)]
struct Renaming {
    event: usize,
    name: String,
    to: Option<usize>,
}

/// A disk with one directory, at one moment.
#[derive(Debug)]
pub(super) struct Disk {
    syncs: Syncs,
    files: Vec<File>,
    /// The synced names.
    synced: BTreeMap<String, usize>,
    renamings: Vec<Renaming>,
    /// The names that programs see.
    names: BTreeMap<String, usize>,
    events: usize,
}

impl Disk {
    /// A disk with these files, all synced.
    pub(super) fn new(syncs: Syncs, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let (names, contents): (Vec<String>, Vec<Vec<u8>>) = files.into_iter().unzip();
        let names: BTreeMap<String, usize> = names.into_iter().zip(0..).collect();
        let files = contents.into_iter().map(|synced| File { synced, changes: Vec::new() }).collect();
        Self { syncs, files, synced: names.clone(), renamings: Vec::new(), names, events: 0 }
    }

    /// Applies the next event.
    pub(super) fn apply(&mut self, event: &Event) {
        let number = self.events;
        self.events += 1;
        match event {
            Event::Create(name) => {
                self.files.push(File::default());
                self.rename(number, name, Some(self.files.len() - 1));
            }
            Event::Unlink(name) => self.rename(number, name, None),
            Event::Rename { from, to } => {
                let file = self.names.get(from).copied();
                self.rename(number, to, file);
                self.rename(number, from, None);
            }
            Event::Write { file, offset, bytes } => {
                self.change(file, Change::Write { event: number, offset: *offset, bytes: bytes.clone() });
            }
            Event::Truncate { file, length } => {
                self.change(file, Change::Truncate { event: number, length: *length });
            }
            Event::Sync { file, begun } if self.syncs == Syncs::Kept => {
                // A file without a name may be synced, but no program can find it.
                if let Some(file) = self.names.get(file) {
                    self.files[*file].sync(*begun);
                }
            }
            Event::SyncDirectory { begun } if self.syncs == Syncs::Kept => {
                let safe = self.renamings.partition_point(|renaming| renaming.event < *begun);
                for renaming in self.renamings.drain(..safe) {
                    renaming.apply_to(&mut self.synced);
                }
            }
            Event::Sync { .. } | Event::SyncDirectory { .. } | Event::Send { .. } | Event::Reported { .. } => {}
        }
    }

    fn rename(&mut self, event: usize, name: &str, to: Option<usize>) {
        let renaming = Renaming { event, name: name.to_owned(), to };
        renaming.apply_to(&mut self.names);
        self.renamings.push(renaming);
    }

    fn change(&mut self, name: &str, change: Change) {
        let file = self.names.get(name).unwrap_or_else(|| panic!("{name} was written, but not created"));
        self.files[*file].changes.push(change);
    }

    /// Writes what the disk may hold after a power cut at this moment into an empty directory.
    pub(super) fn cut_power(&self, survival: Survival, random: &mut Rng, directory: &Path) {
        let mut names = self.synced.clone();
        for renaming in &self.renamings {
            if survival.survives(random) {
                renaming.apply_to(&mut names);
            }
        }
        for (name, file) in names {
            std::fs::write(directory.join(name), self.files[file].after_power_cut(survival, random)).unwrap();
        }
    }
}

impl Renaming {
    fn apply_to(&self, names: &mut BTreeMap<String, usize>) {
        match self.to {
            Some(file) => names.insert(self.name.clone(), file),
            None => names.remove(&self.name),
        };
    }
}

impl Survival {
    fn survives(self, random: &mut Rng) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(probability) => random.f64() < probability,
        }
    }
}

impl File {
    fn sync(&mut self, begun: usize) {
        let safe = self.changes.partition_point(|change| change.event() < begun);
        for change in self.changes.drain(..safe) {
            match change {
                Change::Write { offset, bytes, .. } => put(&mut self.synced, offset, &bytes),
                Change::Truncate { length, .. } => self.synced.resize(length, 0),
            }
        }
    }

    fn after_power_cut(&self, survival: Survival, random: &mut Rng) -> Vec<u8> {
        let mut contents = self.synced.clone();
        for change in &self.changes {
            match change {
                Change::Write { offset, bytes, .. } => {
                    let end = offset + bytes.len();
                    // The size may reach the disk before the content.
                    if contents.len() < end && survival.survives(random) {
                        contents.resize(end, 0);
                    }
                    for (at, sector) in sectors(*offset, bytes) {
                        if survival.survives(random) {
                            put(&mut contents, at, sector);
                        }
                    }
                }
                Change::Truncate { length, .. } => {
                    if survival.survives(random) {
                        contents.resize(*length, 0);
                    }
                }
            }
        }
        contents
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

/// The sectors of a write, each with its offset.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = rest.len().min(SECTOR - at % SECTOR);
        let (sector, after) = rest.split_at(length);
        let whole = (length > 0).then_some((at, sector));
        (at, rest) = (at + length, after);
        whole
    })
}
