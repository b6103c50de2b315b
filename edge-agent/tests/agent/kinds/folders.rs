//! Tills that leave files: one that grows all day, one for each receipt.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use edge_agent::config::Names;
use edge_agent::source::directory::{Directory, Marks as FileMarks, Settings, Watch};
use shared::time::Clock;
use tempfile::TempDir;

use crate::contract::{Kind, Marks, Memory, line};

/// One file that a till writes all day.
pub(crate) struct Grows {
    folder: TempDir,
    file: Option<File>,
}

/// A file for each receipt.
pub(crate) struct Drops {
    folder: TempDir,
    seen: Vec<(u64, i64, i64)>,
}

impl Grows {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("tills")).unwrap();
        Self { folder, file: None }
    }
}

impl Kind for Grows {
    type Source = Directory;
    const MEMORY: Memory = Memory::GivesAgain;

    async fn open(&mut self, marks: Marks) -> Directory {
        directory(&self.folder, &marks)
    }

    async fn say(&mut self, number: u32) {
        let path = self.folder.path().join("tills/day.jsonl");
        let open = || File::options().create(true).append(true).open(path).unwrap();
        let file = self.file.get_or_insert_with(open);
        let text = line(number);
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        file.write_all(first).unwrap();
        tokio::task::yield_now().await;
        file.write_all(second).unwrap();
    }

    async fn part(&mut self) -> bool {
        part(&self.folder)
    }

    async fn join(&mut self) {
        join(&self.folder);
    }

    async fn written(&mut self) -> Vec<u8> {
        let names = std::fs::read_dir(self.folder.path().join("tills")).unwrap();
        assert_eq!(names.count(), 1, "nothing is added to the folder");
        Vec::new()
    }
}

impl Drops {
    pub(crate) fn new() -> Self {
        Self { folder: Grows::new().folder, seen: Vec::new() }
    }

    fn state(&self, number: usize) -> (u64, i64, i64) {
        let path = self.folder.path().join(format!("tills/{number:03}.jsonl"));
        let meta = std::fs::metadata(path).unwrap();
        (meta.ino(), meta.ctime(), meta.ctime_nsec())
    }
}

impl Kind for Drops {
    type Source = Directory;
    const MEMORY: Memory = Memory::GivesAgain;

    async fn open(&mut self, marks: Marks) -> Directory {
        directory(&self.folder, &marks)
    }

    async fn say(&mut self, number: u32) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, line(number)).unwrap();
        let name = format!("tills/{number:03}.jsonl");
        std::fs::rename(&new, self.folder.path().join(name)).unwrap();
        self.seen.push(self.state(number as usize));
    }

    async fn part(&mut self) -> bool {
        part(&self.folder)
    }

    async fn join(&mut self) {
        join(&self.folder);
    }

    async fn written(&mut self) -> Vec<u8> {
        let now: Vec<_> = (1..=self.seen.len()).map(|number| self.state(number)).collect();
        assert_eq!(now, self.seen, "the files are as they were");
        Vec::new()
    }
}

fn directory(folder: &TempDir, marks: &Marks) -> Directory {
    let settings = Settings {
        path: folder.path().join("tills"),
        depth: 1,
        names: Names::new(&["*".to_owned()], &[]).unwrap(),
        bundle: None,
        processed_folder: None,
        may_empty: false,
        disk: None,
        poll: Duration::from_millis(10),
        tail: Duration::from_secs(86_400),
        gather: Duration::from_millis(1),
        clock: Clock::real(),
    };
    let written: BTreeMap<String, String> = marks.iter().cloned().collect();
    let mut known = FileMarks::new(Box::new(move |name| {
        let mark = written.get(&name).cloned();
        Box::pin(async move { mark })
    }));
    known.add(marks);
    Directory::new(settings, known, Watch::default())
}

fn part(folder: &TempDir) -> bool {
    std::fs::rename(folder.path().join("tills"), folder.path().join("away")).unwrap();
    true
}

fn join(folder: &TempDir) {
    std::fs::rename(folder.path().join("away"), folder.path().join("tills")).unwrap();
}
