//! What a folder looks like to the agent, for whoever sets it up. It changes nothing, and remembers
//! nothing.

use std::fmt::Write;
use std::io::{Error, Read};

use super::hints::Watch;
use super::known::{Files, Habits, Marks};
use super::stamp::{Candidate, Shape};
use super::{Disk, Settings, bundle, file, listing, mount};
use crate::source::SourceError;

/// Says what a folder holds, how old it is, whether it can be read, and what the kernel tells of it.
pub fn probe(settings: &Settings) -> Result<String, SourceError> {
    let folder = |source| super::folder_error(&settings.path, source);
    let found = mount::mount(&settings.path).map_err(folder)?;
    let disk = settings.disk.unwrap_or(found.disk);
    let entries = std::fs::read_dir(&settings.path).map_err(folder)?.count();
    let habits = Habits { tail: settings.tail, settle: std::time::Duration::ZERO, moves: false };
    let mut files = Files::new(Marks::default(), habits);
    // A bundle is read when a second look finds it as the first.
    let mut listed = listing::list(settings, &mut files, 1);
    if settings.bundle.is_some() {
        listed = listing::list(settings, &mut files, 1);
    }
    let listed = listed.map_err(|(path, source)| super::folder_error(&path, source))?;
    if let Some((feed, source)) = listed.unreadable {
        return Err(SourceError::Feed { feed, source });
    }
    let mut told =
        format!("{} holds {entries} entries, {} match", settings.path.display(), listed.matched);
    if let (Some(oldest), Some(newest)) = (listed.found.first(), listed.found.last()) {
        for (which, candidate) in [("oldest", oldest), ("newest", newest)] {
            if which == "newest" && listed.more {
                continue;
            }
            let at = candidate.stamp.modified_at();
            let at = at.map_or_else(|| "a time that is none".to_owned(), |at| at.to_string());
            write!(told, ", {which} {at}").expect("writing to a String does not fail");
            try_to_read(settings, candidate)
                .map_err(|source| SourceError::Feed { feed: candidate.name.clone(), source })?;
        }
        told.push_str(", free to read");
    }
    told.push_str(&match disk {
        Disk::Share(kind) => format!("; a share ({kind}) gives no hints: listed in turn"),
        Disk::Local => match Watch::fires(&settings.path) {
            Ok(()) => "; the kernel tells of what happens in it".to_owned(),
            Err(error) => format!("; the kernel gives no hints ({error}): listed in turn"),
        },
    });
    Ok(told)
}

fn try_to_read(settings: &Settings, candidate: &Candidate) -> Result<(), Error> {
    let path = settings.path.join(&candidate.name);
    let mut byte = [0];
    match candidate.shape {
        Shape::File => file::open_plain(&path)?.read(&mut byte)?,
        Shape::Bundle => bundle::Bundle::open(&path)?.read(&mut byte)?,
    };
    Ok(())
}
