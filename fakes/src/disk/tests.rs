//! What may be left is exactly what is assumed of a disk; and the recorder misses nothing.

use std::process::Command;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::model::SECTOR;
use super::*;

fn opened(path: &str, inode: u64) -> Note {
    Note::Opened { path: path.to_owned(), inode, emptied: Emptied::No }
}

fn written(inode: u64, offset: u64, bytes: &[u8]) -> Note {
    Note::Written { inode, offset, bytes: bytes.to_vec() }
}

fn disk(notes: &[Note]) -> Disk {
    let mut disk = Disk::new(&Image { parts: [].into(), print: 0 });
    notes.iter().for_each(|note| disk.apply(note).unwrap());
    disk
}

fn file(image: &Image, path: &str) -> Option<Vec<u8>> {
    match image.parts.get(path) {
        Some(Part::File(bytes)) => Some(bytes.clone()),
        Some(Part::Folder | Part::Socket) | None => None,
    }
}

fn drawn(disk: &Disk, seed: u64) -> Image {
    disk.image(&Choice::drawn(disk, &mut ChaCha8Rng::seed_from_u64(seed)))
}

#[test]
fn what_was_synced_stays_and_a_synced_file_without_its_name_is_gone() {
    let sync_folder = [opened("", 1), Note::Synced { inode: 1 }];
    let write = [opened("a", 2), written(2, 0, b"safe"), Note::Synced { inode: 2 }];
    let unnamed = disk(&write);
    assert_eq!(file(&unnamed.image(&Choice::dropped()), "a"), None);
    assert_eq!(file(&unnamed.image(&Choice::kept()), "a").unwrap(), b"safe");
    let mut named = disk(&[&write[..], &sync_folder].concat());
    for seed in 0..200 {
        assert_eq!(file(&drawn(&named, seed), "a").unwrap(), b"safe");
    }
    named.apply(&Note::Unlinked("a".to_owned())).unwrap();
    assert_eq!(file(&named.image(&Choice::dropped()), "a").unwrap(), b"safe");
    assert_eq!(file(&named.image(&Choice::kept()), "a"), None);
}

#[test]
fn a_moved_file_is_in_one_place_and_names_go_back_in_their_order() {
    let make = |path: &str, inode| {
        [opened(path, inode), written(inode, 0, path.as_bytes()), Note::Synced { inode }]
    };
    let mut notes = vec![Note::FolderMade("x".to_owned()), Note::FolderMade("y".to_owned())];
    notes.extend([opened("", 1), Note::Synced { inode: 1 }]);
    notes.extend(make("x/a", 2));
    notes.extend(make("x/b", 3));
    notes.extend([opened("x", 4), Note::Synced { inode: 4 }]);
    let moved = |name: &str| Note::Renamed { from: format!("x/{name}"), to: format!("y/{name}") };
    notes.extend([moved("a"), moved("b")]);
    let disk = disk(&notes);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let image = drawn(&disk, seed);
        let at = |path: &str| image.parts.contains_key(path);
        assert!(at("x/a") != at("y/a") && at("x/b") != at("y/b"));
        assert!(!at("y/b") || at("y/a"), "the second move is there without the first");
        seen.insert((at("y/a"), at("y/b")));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    let every = Choice::every(&disk, |_| false);
    assert_eq!(every.len(), 9, "none, one or two in each of two folders");
}

#[test]
fn what_is_not_noted_is_no_recording() {
    let mut disk = disk(&[]);
    assert!(disk.apply(&written(7, 0, b"x")).unwrap_err().why.contains("nobody has opened"));
    let odd = disk.apply(&Note::Odd("truncate".to_owned())).unwrap_err();
    assert!(odd.to_string().contains("truncate"), "{odd}");
}

#[test]
fn the_recorder_notes_what_programs_do_and_replayed_it_makes_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, notes) = (folder.path().canonicalize().unwrap().join("in"), folder.path());
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("there"), "before").unwrap();
    let base = Image::read(&inside, &[]).unwrap();
    let recorder = Recorder::build(folder.path()).unwrap();
    let notes = notes.join("notes");
    append_placed(&notes, "late", b"by another").unwrap();
    std::fs::write(inside.join("late"), "by another").unwrap();
    let script = "mkdir d && echo one > d/a && echo two >> d/a && mv d/a d/b && rm there \
                  && dd if=late of=d/c bs=4 conv=fsync 2>/dev/null && cd d && mv c ../c \
                  && cd .. && mkdir e && rmdir e";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(&inside);
    recorder.attach(&mut shell, &inside, &notes);
    assert!(shell.status().unwrap().success());
    let noted = read(&notes).unwrap();
    assert!(noted.iter().any(|note| matches!(note, Note::Synced { .. })), "{noted:?}");
    let mut disk = Disk::new(&base);
    noted.iter().for_each(|note| disk.apply(note).unwrap());
    let made = disk.image(&Choice::kept());
    assert_eq!(made.parts, Image::read(&inside, &[]).unwrap().parts);
    // Whoever was killed in the midst of a note has not done what it says.
    let bytes = std::fs::read(&notes).unwrap();
    std::fs::write(&notes, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(read(&notes).unwrap(), noted[..noted.len() - 1]);
}

#[derive(Debug, Clone)]
enum Act {
    Write(usize, Vec<u8>),
    Cut(usize),
    Sync,
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = prop::collection::vec(1_u8.., 1..1_500);
    prop_oneof![
        6 => (0..3_000_usize, bytes).prop_map(|(offset, bytes)| Act::Write(offset, bytes)),
        1 => (0..4_000_usize).prop_map(Act::Cut),
        1 => Just(Act::Sync),
    ]
}

/// Writes a file as anyone would.
fn do_plainly(file: &mut Vec<u8>, act: &Act) {
    match act {
        Act::Write(offset, bytes) => {
            file.resize(file.len().max(offset + bytes.len()), 0);
            file[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Act::Cut(length) => file.resize(*length, 0),
        Act::Sync => {}
    }
}

fn sector(file: &[u8], at: usize, length: usize) -> Vec<u8> {
    let mut whole = file.get(at * SECTOR..).unwrap_or(&[]).to_vec();
    whole.resize(SECTOR, 0);
    whole.truncate(length.saturating_sub(at * SECTOR).min(SECTOR));
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Each sector is as of some moment since the last sync, and so is the length.
    #[test]
    fn every_sector_is_as_of_a_moment_since_the_sync(
        acts in prop::collection::vec(act(), 1..12), seed in any::<u64>(),
    ) {
        let mut notes = vec![opened("", 1), opened("f", 2), Note::Synced { inode: 1 }];
        let mut history = vec![Vec::new()];
        for act in &acts {
            let mut now = history.last().unwrap().clone();
            do_plainly(&mut now, act);
            match act {
                Act::Write(offset, bytes) => notes.push(written(2, *offset as u64, bytes)),
                Act::Cut(length) => notes.push(Note::Cut { inode: 2, length: *length as u64 }),
                Act::Sync => {
                    notes.push(Note::Synced { inode: 2 });
                    history.clear();
                }
            }
            history.push(now);
        }
        let disk = disk(&notes);
        let (first, last) = (history.first().unwrap(), history.last().unwrap());
        prop_assert_eq!(&file(&disk.image(&Choice::kept()), "f").unwrap(), last);
        let left = drawn(&disk, seed);
        let again = drawn(&disk, seed);
        prop_assert_eq!(left.print, again.print);
        let left = file(&left, "f").unwrap();
        prop_assert!(history.iter().any(|then| then.len() == left.len()));
        for at in 0..left.len().div_ceil(SECTOR) {
            let found = sector(&left, at, left.len());
            let then = |then: &Vec<u8>| sector(then, at, left.len()) == found;
            prop_assert!(history.iter().any(then), "sector {at} was never so");
        }
        let dropped = disk.image(&Choice::dropped());
        prop_assert_eq!(&file(&dropped, "f").unwrap_or_default(), first);
    }
}
