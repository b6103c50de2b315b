//! Recordings of the agent at work, with what its tills have issued and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use edge_agent::buffer::{Buffer, Outgoing, Settings};
use edge_agent::format::{Choice as FormatChoice, Format};
use fakes::disk::{self, Choice, Disk, Image, Note, Part, Recorder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::receipt::Receipt;
use shared::time::Clock;
use tempfile::TempDir;

use super::oracle;
use super::trial::{Subject, Verdict};
use crate::reading::{context, data, find, receipts};
use crate::tcp::{call, free_port};
use crate::till::{ACK, ask};
use crate::world::{World, lines, receipt};

/// A till and a receipt's number: unique within a recording, which lives one business day.
pub(super) type Id = (String, String);

/// What no power cut is about: the agent's own log.
const LEFT_OUT: [&str; 1] = ["log"];

/// What the agent has promised so far.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Promise {
    /// Receipts that their tills will not send again.
    pub(super) answered: BTreeSet<Id>,
    /// The highest sequence that the shipper may have handed over.
    pub(super) visible: u64,
    answers: BTreeMap<u16, usize>,
}

/// A receipt and how it comes.
pub(super) struct Issued {
    pub(super) receipt: Receipt,
    pub(super) way: Way,
}

/// How a receipt comes.
pub(super) enum Way {
    /// In a file, and where it ends there.
    File { path: String, end: u64 },
    /// Over a line.
    Line(Vec<u8>),
}

/// The agent at work, note by note.
pub(super) struct Recording {
    pub(super) name: &'static str,
    pub(super) base: Image,
    pub(super) notes: Vec<Note>,
    /// What was promised before the first note.
    pub(super) before: Promise,
    pub(super) issued: BTreeMap<Id, Issued>,
    /// Files as their tills leave them in the end.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The batches in the end.
    pub(super) batches: BTreeMap<u64, Outgoing>,
    /// Whose receipts an answer at a port was for.
    peers: BTreeMap<u16, Vec<Id>>,
    /// Its certificates are those of the agents that start on its states.
    _boxes: Vec<World>,
}

/// The recorder and the folder that it was built in.
pub(super) struct Studio {
    folder: TempDir,
    recorder: Recorder,
}

impl Studio {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let recorder = Recorder::build(folder.path()).unwrap();
        Self { folder, recorder }
    }

    pub(super) fn notes(&self) -> std::path::PathBuf {
        self.folder.path().join("notes")
    }

    /// Has a program's doings in a folder noted.
    pub(super) fn attach(&self, program: &mut Command, folder: &Path) {
        let folder = folder.canonicalize().unwrap();
        self.recorder.attach(program, &folder, &self.notes());
        // The agent tells of each minute that it has closed, before anything else sees it.
        program.env("RUST_LOG", "warn,edge_agent=debug");
    }
}

impl Recording {
    /// Records folders: one whose files stay, one whose files are moved away.
    pub(super) async fn of_folders(seed: u64) -> Self {
        let (studio, world) = (Studio::new(), World::new());
        std::fs::create_dir(world.path("emptied")).unwrap();
        world.configure_source(
            "[[sources]]\nname = \"emptied\"\nkind = \"directory\"\npath = \"emptied\"\n\
             format = \"jsonl\"\npoll_millis = 100\nmay_empty = true\nprocessed = \"move\"\n\
             processed_folder = \"done\"\ntail_seconds = 1\n",
        );
        without_reserve(&world);
        let mut shop = Shop::default();
        let files = shop.files();
        let base = Image::read(world.path("").as_path(), &LEFT_OUT).unwrap();
        let agent = world.start_with(|command| studio.attach(command, &world.path("")));
        world.until("the agent is up", |_| true).await;
        drop_all(&world, &studio, &files, &mut ChaCha8Rng::seed_from_u64(seed)).await;
        let sums = shop.sums();
        world.until_cut(sums.0, sums.1).await;
        assert!(agent.stop().await.success());
        shop.recorded("folders", base, studio, world).await
    }

    /// Records what the agent does when it starts on what a power cut has left of another recording.
    pub(super) async fn of_recovery(first: Self, cut: usize, seed: u64) -> Self {
        let (mut disk, mut before) = (Disk::new(&first.base), first.before.clone());
        for note in &first.notes[..cut] {
            disk.apply(note).unwrap();
            before.note(note, &first.peers);
        }
        let choice = Choice::drawn(&disk, &mut ChaCha8Rng::seed_from_u64(seed));
        let base = disk.image(&choice);
        let folder = TempDir::new().unwrap();
        base.write(folder.path()).unwrap();
        let (studio, world) = (Studio::new(), World::over(folder));
        before.answers.clear();
        let agent = world.start_with(|command| studio.attach(command, &world.path("")));
        let mut missing = Vec::new();
        for (path, bytes) in &first.files {
            // A file of which only the first part had come grows now.
            let is_whole = base.parts.get(path) == Some(&Part::File(bytes.clone()));
            let moved = path.replace("emptied/", "done/");
            let was_moved = moved != *path && base.parts.contains_key(&moved);
            if !is_whole && !was_moved {
                missing.push((path.clone(), bytes.clone()));
            }
        }
        drop_all(&world, &studio, &missing, &mut ChaCha8Rng::seed_from_u64(seed)).await;
        let shop = Shop { issued: first.issued, files: first.files, ..Shop::default() };
        let sums = shop.sums();
        world.until_cut(sums.0, sums.1).await;
        assert!(agent.stop().await.success());
        let mut recording = shop.recorded("a recovery", base, studio, world).await;
        recording.before = before;
        recording._boxes.extend(first._boxes);
        recording
    }

    /// Records lines: two tills that wait for an answer to every receipt.
    pub(super) async fn of_lines() -> Self {
        let (studio, world, port) = (Studio::new(), World::new(), free_port());
        let settings = data("telegram/whole/layout.toml").display().to_string();
        world.configure_source(&format!(
            "[[sources]]\nname = \"lines\"\nkind = \"tcp\"\nmode = \"server\"\n\
             address = \"127.0.0.1:{port}\"\nformat = \"telegram\"\nsettings = {settings:?}\n\
             answer = \"ack-nak\"\n"
        ));
        without_reserve(&world);
        // So that minutes close between the receipts of others.
        world.reconfigure(|config| {
            config.replace("first_box = true", "first_box = true\nholding_seconds = 1")
        });
        let mut shop = Shop::default();
        let base = Image::read(world.path("").as_path(), &LEFT_OUT).unwrap();
        let agent = world.start_with(|command| studio.attach(command, &world.path("")));
        let speaks = |till: &'static str, mut telegrams: Vec<(Id, Vec<u8>)>| async move {
            let mut line = call(port).await;
            let port = line.local_addr().unwrap().port();
            for (id, telegram) in &telegrams {
                assert_eq!(ask(&mut line, telegram).await, ACK, "{till}: {id:?}");
            }
            (port, telegrams.drain(..).map(|(id, _)| id).collect::<Vec<_>>())
        };
        let (one, other) = (shop.telegrams("3", 0..45), shop.telegrams("5", 0..45));
        let (one, other) = tokio::join!(speaks("3", one), speaks("5", other));
        shop.peers.extend([one, other]);
        let sums = shop.sums();
        world.until_cut(sums.0, sums.1).await;
        let (early, later) = (shop.telegrams("3", 45..60), shop.telegrams("5", 45..60));
        let sums = shop.sums();
        let (early, later) = tokio::join!(speaks("3", early), speaks("5", later));
        shop.peers.extend([early, later]);
        world.until_cut(sums.0, sums.1).await;
        assert!(agent.stop().await.success());
        shop.recorded("lines", base, studio, world).await
    }

    /// Returns it with notes left out, or put elsewhere.
    pub(super) fn altered(&self, alter: impl FnOnce(&mut Vec<Note>)) -> Altered<'_> {
        let mut notes = self.notes.clone();
        alter(&mut notes);
        Altered { recording: self, notes }
    }
}

impl Subject for Recording {
    type Promise = Promise;

    fn name(&self) -> &'static str {
        self.name
    }

    fn begin(&self) -> (Disk, Promise) {
        (Disk::new(&self.base), self.before.clone())
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn follow(&self, promise: &mut Promise, note: &Note) {
        promise.note(note, &self.peers);
    }

    async fn check(&self, image: &Image, promise: &Promise, folder: &Path) -> Verdict<()> {
        oracle::check(self, image, promise, folder).await
    }

    async fn check_agent(&self, image: &Image, promise: &Promise) -> Verdict<()> {
        oracle::check_agent(self, image, promise).await
    }
}

/// A recording of an agent that is not as it should be.
pub(super) struct Altered<'a> {
    recording: &'a Recording,
    notes: Vec<Note>,
}

impl Subject for Altered<'_> {
    type Promise = Promise;

    fn name(&self) -> &'static str {
        "what must not hold"
    }

    fn begin(&self) -> (Disk, Promise) {
        self.recording.begin()
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn follow(&self, promise: &mut Promise, note: &Note) {
        self.recording.follow(promise, note);
    }

    async fn check(&self, image: &Image, promise: &Promise, folder: &Path) -> Verdict<()> {
        oracle::check(self.recording, image, promise, folder).await
    }
}

impl Promise {
    fn note(&mut self, note: &Note, peers: &BTreeMap<u16, Vec<Id>>) {
        match note {
            Note::Sent { peer, bytes } => {
                let Some(ids) = peers.get(peer) else { return };
                let answers = bytes.iter().filter(|byte| **byte == ACK).count();
                let so_far = self.answers.entry(*peer).or_default();
                self.answered.extend(ids.iter().skip(*so_far).take(answers).cloned());
                *so_far += answers;
            }
            Note::Said(line) if line.contains("a minute is closed") => {
                let (_, sequence) = line.split_once("sequence=").expect("it names the sequence");
                let digits: String = sequence.chars().take_while(char::is_ascii_digit).collect();
                self.visible = self.visible.max(digits.parse().unwrap());
            }
            Note::Said(_)
            | Note::Opened { .. }
            | Note::Written { .. }
            | Note::Cut { .. }
            | Note::Synced { .. }
            | Note::Renamed { .. }
            | Note::Unlinked(_)
            | Note::FolderMade(_)
            | Note::FolderRemoved(_)
            | Note::SocketMade(_)
            | Note::Placed { .. }
            | Note::Odd(_) => {}
        }
    }
}

/// The reserve holds nothing that a power cut could take.
fn without_reserve(world: &World) {
    let key = "key_file = \"buffer.key\"";
    world.reconfigure(|config| config.replace(key, &format!("{key}\nreserve_bytes = 0")));
}

/// What tills issue in one recording.
#[derive(Default)]
struct Shop {
    issued: BTreeMap<Id, Issued>,
    files: BTreeMap<String, Vec<u8>>,
    peers: BTreeMap<u16, Vec<Id>>,
}

impl Shop {
    /// Returns files in the order in which they come; some come in two parts.
    fn files(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut coming = Vec::new();
        for file in 0..24_u32 {
            let (till, folder) = if file % 2 == 0 { ("3", "tills") } else { ("4", "emptied") };
            let path = format!("{folder}/{file:02}.jsonl");
            let numbers = file * 5 + 1..file * 5 + 6;
            let all: Vec<Receipt> = numbers
                .map(|number| {
                    let time = format!("{:02}:{:02}:07", 8 + number / 60, number / 4 % 60);
                    receipt(till, number, &time, 100 + i64::from(number))
                })
                .collect();
            if file % 6 == 0 {
                coming.push((path.clone(), lines(&all[..2]).into_bytes()));
            }
            let bytes = lines(&all).into_bytes();
            self.read(&find("jsonl", None).unwrap(), &path, &bytes);
            coming.push((path, bytes));
        }
        coming
    }

    fn read(&mut self, format: &Format, path: &str, bytes: &[u8]) {
        let mut end = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            end += line.len() as u64;
            for receipt in receipts(format, &berlin(), line) {
                let way = Way::File { path: path.to_owned(), end };
                self.issued.insert(id_of(&receipt), Issued { receipt, way });
            }
        }
        self.files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Returns telegrams of one till, each a receipt.
    fn telegrams(&mut self, till: &str, numbers: std::ops::Range<u32>) -> Vec<(Id, Vec<u8>)> {
        let layout = std::fs::read_to_string(data("telegram/whole/layout.toml")).unwrap();
        let choice = FormatChoice { name: "telegram", dialect: None, settings: Some(&layout) };
        let format = Format::find(choice).unwrap();
        let mut telegrams = Vec::new();
        for number in numbers {
            let (minute, second) = (number / 6, number % 60);
            let amount = format!("{},{:02}", 1 + number, number);
            let content = format!(
                "K;{till};{};02.03.26;10:{minute:02}:{second:02};V\r\
                 P;4006381333931;1;ST;{amount};A;V\rS;{amount}",
                number + 1
            );
            let telegram = crate::telegram::wrap("stx-etx", "xor", content.as_bytes());
            let receipt = receipts(&format, &berlin(), &telegram).pop().unwrap();
            telegrams.push((id_of(&receipt), telegram.clone()));
            let way = Way::Line(telegram);
            self.issued.insert(id_of(&receipt), Issued { receipt, way });
        }
        telegrams
    }

    fn sums(&self) -> (u64, i64) {
        let cents = self.issued.values().map(|issued| issued.receipt.total_cents.0).sum();
        (self.issued.len() as u64, cents)
    }

    /// Reads the notes, and makes sure that they miss nothing: replayed they make the very folder.
    async fn recorded(
        self,
        name: &'static str,
        base: Image,
        studio: Studio,
        world: World,
    ) -> Recording {
        let notes = disk::read(&studio.notes()).unwrap();
        replay_makes(&base, &notes, &world.path(""));
        let batches = batches(&world).await;
        let recording = Recording {
            name,
            base,
            notes,
            before: Promise::default(),
            issued: self.issued,
            files: self.files,
            batches,
            peers: self.peers,
            _boxes: vec![world],
        };
        let mut promise = Promise::default();
        recording.notes.iter().for_each(|note| recording.follow(&mut promise, note));
        let last = recording.batches.keys().last().copied().unwrap_or(0);
        assert_eq!(promise.visible, last, "each batch was told of");
        let answers: usize = recording.peers.values().map(Vec::len).sum();
        assert_eq!(promise.answered.len(), answers, "each answer was noted");
        recording
    }
}

/// Makes sure that notes, replayed with nothing lost, make the folder that the program has left.
pub(super) fn replay_makes(base: &Image, notes: &[Note], folder: &Path) {
    let mut disk = Disk::new(base);
    for (at, note) in notes.iter().enumerate() {
        if let Err(error) = disk.apply(note) {
            let near: Vec<String> = notes[at.saturating_sub(8)..=at].iter().map(short).collect();
            panic!("{error}\n{}", near.join("\n"));
        }
    }
    let (made, found) =
        (disk.image(&Choice::kept()).parts, Image::read(folder, &LEFT_OUT).unwrap().parts);
    assert_eq!(made.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (path, part) in &made {
        // The index of the log is mapped, not written; it is made anew after a power cut.
        assert!(path.ends_with("-shm") || found[path] == *part, "{path} is otherwise");
    }
}

/// Returns the beginning of what a note says.
fn short(note: &Note) -> String {
    format!("{note:?}").chars().take(200).collect()
}

/// Drops files as tills do, at their own pace, and notes that.
async fn drop_all(
    world: &World,
    studio: &Studio,
    files: &[(String, Vec<u8>)],
    dice: &mut ChaCha8Rng,
) {
    for (at, (path, bytes)) in files.iter().enumerate() {
        disk::append_placed(&studio.notes(), path, bytes).unwrap();
        std::fs::write(world.path("arriving"), bytes).unwrap();
        std::fs::rename(world.path("arriving"), world.path(path)).unwrap();
        if at % 4 == 3 && dice.random_bool(0.7) {
            // What came so far is taken in before more comes.
            let moved = |path: &String| !path.starts_with("emptied/") || !world.path(path).exists();
            let look = async || {
                let waits = files[..=at].iter().find(|(path, _)| !moved(path));
                waits.map_or(Ok(()), |(path, _)| Err(format!("{path} waits")))
            };
            fakes::wait::until("files are moved away", crate::world::SOON, look).await.unwrap();
        }
    }
}

/// Returns the batches of a box at rest.
async fn batches(world: &World) -> BTreeMap<u64, Outgoing> {
    let folder = TempDir::new().unwrap();
    let copy = Image::read(world.path("").as_path(), &LEFT_OUT).unwrap();
    copy.write(folder.path()).unwrap();
    let (buffer, writer) = Buffer::open(settings(folder.path())).unwrap();
    let waiting = buffer.waiting(None, usize::MAX).await.unwrap();
    drop(buffer);
    writer.join();
    waiting.into_iter().map(|batch| (batch.sequence.get(), batch)).collect()
}

/// Returns how the buffer of a box is opened.
pub(super) fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("buffer.db"),
        key: edge_agent::buffer::Key::from_file(&folder.join("buffer.key")).unwrap(),
        machine_id: None,
        quota: edge_agent::buffer::Quota::UNBOUNDED,
        now: Clock::real().now(),
    }
}

pub(super) fn id_of(receipt: &Receipt) -> Id {
    (receipt.till.to_string(), receipt.receipt.to_string())
}

fn berlin() -> edge_agent::format::Context {
    context("10", chrono_tz::Europe::Berlin)
}
