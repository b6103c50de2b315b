//! The keys of a source of kind `directory`.
//!
//! ```toml
//! path = "/srv/tills"                # required
//! depth = 1                          # levels of folders: 1 is the folder alone (2 with bundles)
//! pattern = ["*.xml", "*.xml.gz"]    # what is read; all files without it (`*.zip` with bundles)
//! exclude = ["test-*"]               # what is left alone all the same
//! processed = "leave"                # or "move", then processed_folder is required
//! processed_folder = "/srv/tills-done"
//! may_empty = false                  # true: a folder without files is no fault (so with "move")
//! poll_millis = 1000                 # how often the folder is looked at without a hint
//! tail_seconds = 86400               # age at which an unfinished file is taken for finished
//! network = true                     # whether others write to it over a network; else seen by itself
//! bundle = false                     # true: a folder with the file `bundle_mark` is one feed
//! bundle_mark = "index.xml"
//! settle_seconds = 30                # how long a bundle stands still before it is read
//! ```
//!
//! A pattern without `/` is of a file's own name, one with `/` of its path below the folder.

use std::path::PathBuf;
use std::time::Duration;

use globset::{Error, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::config::Section;

/// Levels of folders that are looked into at most.
const DEPTH_MAX: u64 = 8;

/// A folder of files.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The folder.
    pub path: PathBuf,
    /// Levels of folders.
    pub depth: u32,
    /// Which files are read.
    pub names: Names,
    /// Where files go that are read to their end; nothing leaves them.
    pub processed_folder: Option<PathBuf>,
    /// Whether a folder without files is no fault.
    pub may_empty: bool,
    /// How often the folder is looked at.
    pub poll: Duration,
    /// Age at which an unfinished file is taken for finished.
    pub tail: Duration,
    /// Whether others write to it over a network; seen by itself where it is not said.
    pub network: Option<bool>,
    /// What makes a folder one feed.
    pub bundle: Option<BundleConfig>,
}

/// What makes a folder one feed.
#[derive(Debug, Clone)]
pub struct BundleConfig {
    /// The file that such a folder holds.
    pub mark: String,
    /// How long its files stand still before they are read.
    pub settle: Duration,
}

/// Which files are read, by their paths below the folder.
#[derive(Debug, Clone)]
pub struct Names {
    pattern: GlobSet,
    exclude: GlobSet,
}

impl Names {
    /// Makes a choice of patterns.
    pub fn new(pattern: &[String], exclude: &[String]) -> Result<Self, Error> {
        Ok(Self { pattern: set(pattern)?, exclude: set(exclude)? })
    }

    /// Tells whether a file is read.
    pub fn takes(&self, name: &str) -> bool {
        self.pattern.is_match(name) && !self.exclude.is_match(name)
    }
}

impl DirectoryConfig {
    /// Returns a flat folder of files that move away when they are read.
    pub fn emptied(path: PathBuf, processed: PathBuf, poll: Duration) -> Self {
        let names = Names::new(&["*.jsonl".to_owned()], &[]).expect("a plain pattern is one");
        Self {
            path,
            depth: 1,
            names,
            processed_folder: Some(processed),
            may_empty: true,
            poll,
            tail: poll,
            network: None,
            bundle: None,
        }
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let anywhere =
            if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        set.add(GlobBuilder::new(&anywhere).literal_separator(true).build()?);
    }
    set.build()
}

pub(super) fn read(section: &mut Section) -> Option<DirectoryConfig> {
    let path = section.required_path("path", "the folder with the till's files");
    let processed_folder = processed(section);
    let may_empty = section.flag("may_empty").unwrap_or(processed_folder.is_some());
    let poll = section.number("poll_millis", 1000, 10..=60_000);
    let tail = section.seconds("tail_seconds", 86_400, 1..=31_536_000);
    let network = section.flag("network");
    let bundle = bundle(section);
    let (depth, all) = if bundle.is_some() { (2, "*.zip") } else { (1, "*") };
    let depth = section.number("depth", depth, 1..=DEPTH_MAX);
    let depth = u32::try_from(depth).expect("a depth is small");
    let names = names(section, all);
    let poll = Duration::from_millis(poll);
    let (path, names) = (path?, names?);
    Some(DirectoryConfig {
        path,
        depth,
        names,
        processed_folder,
        may_empty,
        poll,
        tail,
        network,
        bundle,
    })
}

fn names(section: &mut Section, all: &str) -> Option<Names> {
    let pattern = section.texts("pattern")?.unwrap_or_else(|| vec![all.to_owned()]);
    let exclude = section.texts("exclude")?.unwrap_or_default();
    if pattern.is_empty() {
        section.fault("pattern", "is empty: nothing would be read".to_owned());
        return None;
    }
    match (set(&pattern), set(&exclude)) {
        (Ok(pattern), Ok(exclude)) => Some(Names { pattern, exclude }),
        (Err(error), _) => {
            section.fault("pattern", error.to_string());
            None
        }
        (Ok(_), Err(error)) => {
            section.fault("exclude", error.to_string());
            None
        }
    }
}

fn bundle(section: &mut Section) -> Option<BundleConfig> {
    let bundled = section.flag("bundle").unwrap_or(false);
    let mark = section.text("bundle_mark");
    let settle = section.seconds("settle_seconds", 30, 1..=3600);
    if let Some(mark) = &mark
        && (mark.is_empty() || mark.contains('/'))
    {
        section.fault("bundle_mark", format!("{mark:?} is no file's own name"));
    }
    if !bundled {
        section.means_nothing("bundle_mark", "without bundle = true");
        section.means_nothing("settle_seconds", "without bundle = true");
    }
    let mark = mark.unwrap_or_else(|| "index.xml".to_owned());
    bundled.then_some(BundleConfig { mark, settle })
}

fn processed(section: &mut Section) -> Option<PathBuf> {
    let folder = section.path("processed_folder");
    match (section.text("processed").as_deref(), &folder) {
        (None | Some("leave"), None) | (Some("move"), Some(_)) => {}
        (Some("move"), None) => {
            section
                .fault("processed_folder", "is missing; processed = \"move\" needs it".to_owned());
        }
        (None | Some("leave"), Some(_)) => {
            section.fault("processed", "must be \"move\" where processed_folder is set".to_owned());
        }
        (Some(other), _) => {
            section.fault("processed", format!("{other:?} is neither \"leave\" nor \"move\""));
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_the_own_name_or_of_the_path() {
        let words = |words: &[&str]| words.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        for (pattern, exclude, name, wanted) in [
            (["*"].as_slice(), [].as_slice(), "a.xml", true),
            (&["*"], &[], "a/b/c.xml", true),
            (&["*.xml", "*.xml.gz"], &[], "a/c.xml.gz", true),
            (&["*.xml"], &[], "a/c.xml.gz", false),
            (&["*.xml"], &["test-*"], "a/test-1.xml", false),
            (&["*"], &["test/*"], "test/1.xml", false),
            (&["*"], &["test/*"], "a/test/1.xml", true),
            (&["till-?/*.xml"], &[], "till-3/1.xml", true),
            (&["till-?/*.xml"], &[], "till-3/a/1.xml", false),
        ] {
            let names = Names::new(&words(pattern), &words(exclude)).unwrap();
            assert_eq!(names.takes(name), wanted, "{pattern:?} {exclude:?} {name}");
        }
        assert!(Names::new(&words(&["[a"]), &[]).is_err());
    }
}
