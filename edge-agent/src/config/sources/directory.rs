//! The keys of a source of kind `directory`.
//!
//! ```toml
//! path = "/srv/tills"                # required
//! processed = "leave"                # or "move", then processed_folder is required
//! processed_folder = "/srv/tills-done"
//! poll_millis = 1000                 # how often the folder is looked at without a hint
//! tail_seconds = 86400               # age at which an unfinished file is taken for finished
//! ```

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Section;

/// A folder of files.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The folder.
    pub path: PathBuf,
    /// Where files go that are read to their end; nothing leaves them.
    pub processed_folder: Option<PathBuf>,
    /// How often the folder is looked at.
    pub poll: Duration,
    /// Age at which an unfinished file is taken for finished.
    pub tail: Duration,
}

pub(super) fn read(section: &mut Section) -> Option<DirectoryConfig> {
    let path = section.required_path("path", "the folder with the till's files");
    let processed_folder = processed(section);
    let poll = section.number("poll_millis", 1000, 10..=60_000);
    let tail = section.seconds("tail_seconds", 86_400, 1..=31_536_000);
    Some(DirectoryConfig { path: path?, processed_folder, poll: Duration::from_millis(poll), tail })
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
