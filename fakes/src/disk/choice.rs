//! What became of all that was not synced: drawn by a die, or every way in turn.

use std::collections::BTreeMap;

use rand::Rng;

use super::model::{Disk, Undecided};

/// Sectors that often share a fate: a page of memory.
const PAGE_SECTORS: usize = 8;

/// What becomes of one file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFate {
    /// So many of the first changes are there, and no other.
    Until(usize),
    /// Each stretch of so many sectors is as of a moment of its own; so many of 100 are up to date.
    Mixed { seed: u64, stretch: usize, fresh: u64 },
}

impl FileFate {
    /// All changes are there.
    pub(super) const KEPT: Self = Self::Until(usize::MAX);
    /// None is.
    pub(super) const DROPPED: Self = Self::Until(0);

    /// Tells how many of the changes that touched a sector it has seen.
    pub(super) fn seen(self, sector: usize, touches: &[usize]) -> usize {
        match self {
            Self::Until(count) => touches.partition_point(|change| *change < count),
            Self::Mixed { seed, stretch, fresh } => {
                let drawn = mixed(seed, (sector / stretch) as u64);
                let is_fresh = drawn % 100 < fresh;
                if is_fresh { touches.len() } else { below(drawn >> 8, touches.len() + 1) }
            }
        }
    }

    /// Returns the length that is left of a safe one and those after each change.
    pub(super) fn length(self, safe: usize, lengths: &[usize]) -> usize {
        let seen = match self {
            Self::Until(count) => count.min(lengths.len()),
            Self::Mixed { seed, .. } => match mixed(seed, u64::MAX) {
                drawn if drawn % 3 == 0 => lengths.len(),
                drawn if drawn % 3 == 1 => 0,
                drawn => below(drawn >> 8, lengths.len() + 1),
            },
        };
        if seen == 0 { safe } else { lengths[seen - 1] }
    }
}

/// What becomes of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    files: BTreeMap<usize, FileFate>,
    /// How many of the first changes of its names a folder keeps.
    folders: BTreeMap<String, usize>,
    /// What becomes of all others.
    rest: FileFate,
}

impl Choice {
    /// Nothing is lost, as where only the program was killed.
    pub fn kept() -> Self {
        Self { files: BTreeMap::new(), folders: BTreeMap::new(), rest: FileFate::KEPT }
    }

    /// All is lost that was not synced.
    pub fn dropped() -> Self {
        Self { rest: FileFate::DROPPED, ..Self::kept() }
    }

    /// Draws what becomes of everything that is not safe now.
    pub fn drawn(disk: &Disk, dice: &mut impl Rng) -> Self {
        match dice.random_range(0..10) {
            0 => Self::kept(),
            1 => Self::dropped(),
            _ => {
                let Undecided { files, folders } = disk.undecided();
                let files = files.into_iter().map(|(file, changes)| (file, fate(changes, dice)));
                let files = files.collect();
                let folders = folders.into_iter().map(|(folder, changes)| {
                    let kept = match dice.random_range(0..3) {
                        0 => 0,
                        1 => changes,
                        _ => dice.random_range(0..=changes),
                    };
                    (folder, kept)
                });
                Self { files, folders: folders.collect(), rest: FileFate::KEPT }
            }
        }
    }

    /// Returns every way in which files are lost or kept whole, and names up to any moment; files
    /// for which `is_minor` holds are kept.
    pub fn every(disk: &Disk, is_minor: impl Fn(&str) -> bool) -> Vec<Self> {
        let Undecided { files, folders } = disk.undecided();
        let mut all = vec![Self::kept()];
        for (file, _) in files {
            if !disk.name_of(file).is_some_and(&is_minor) {
                all = each(&all, [FileFate::KEPT, FileFate::DROPPED], |choice, fate| {
                    choice.files.insert(file, fate);
                });
            }
        }
        for (folder, changes) in folders {
            all = each(&all, 0..=changes, |choice, kept| {
                choice.folders.insert(folder.clone(), kept);
            });
        }
        all
    }

    pub(super) fn file(&self, file: usize) -> FileFate {
        self.files.get(&file).copied().unwrap_or(self.rest)
    }

    /// Returns how many changes of its names a folder keeps; nothing where it keeps all.
    pub(super) fn folder(&self, folder: &str) -> Option<usize> {
        let lost = (self.rest == FileFate::DROPPED).then_some(0);
        self.folders.get(folder).copied().or(lost)
    }
}

fn fate(changes: usize, dice: &mut impl Rng) -> FileFate {
    match dice.random_range(0..8) {
        0 | 1 => FileFate::KEPT,
        2 | 3 => FileFate::DROPPED,
        4 | 5 => FileFate::Until(dice.random_range(0..=changes)),
        _ => {
            let stretch = if dice.random_bool(0.5) { 1 } else { PAGE_SECTORS };
            let fresh = [0, 50, 90, 99][dice.random_range(0..4)];
            FileFate::Mixed { seed: dice.random(), stretch, fresh }
        }
    }
}

/// Returns every choice with every value.
fn each<T>(
    choices: &[Choice],
    values: impl IntoIterator<Item = T> + Clone,
    set: impl Fn(&mut Choice, T),
) -> Vec<Choice> {
    let with = |choice: &Choice| {
        let (choice, set) = (choice.clone(), &set);
        values.clone().into_iter().map(move |value| {
            let mut choice = choice.clone();
            set(&mut choice, value);
            choice
        })
    };
    choices.iter().flat_map(with).collect()
}

/// Mixes two numbers into one that looks drawn (splitmix64).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Returns a number below a limit.
fn below(drawn: u64, limit: usize) -> usize {
    usize::try_from(drawn % limit as u64).expect("it is below the limit")
}
