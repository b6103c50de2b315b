//! Trying the states that a power cut may leave of a recording, side by side.

use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fakes::disk::{Choice, Disk, Image, Note};
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

/// States that are looked at side by side.
const WORKERS: usize = 2;

/// States that are also handed to the agent itself: so many at least, and one in so many.
const AGENTS_LEAST: usize = 1;
const AGENT_SHARE: usize = 100;

/// Faults that are told; more say nothing new.
const FAULTS_MAX: usize = 5;

/// A fault and what it is about.
pub(super) type Verdict<T> = Result<T, String>;

/// What is recorded, and what it promises.
pub(super) trait Subject: Sync {
    /// What was promised so far.
    type Promise: Clone + Hash;

    fn name(&self) -> &'static str;

    /// Returns the disk and the promises before the first note.
    fn begin(&self) -> (Disk, Self::Promise);

    fn notes(&self) -> &[Note];

    /// Adds what a note promises.
    fn follow(&self, promise: &mut Self::Promise, note: &Note);

    /// Looks at a state that lies in a folder.
    fn check(
        &self,
        image: &Image,
        promise: &Self::Promise,
        folder: &Path,
    ) -> impl Future<Output = Verdict<()>>;

    /// Hands a state to the agent itself, where there is one.
    async fn check_agent(&self, _: &Image, _: &Self::Promise) -> Verdict<()> {
        Ok(())
    }
}

/// Tries states of a subject.
pub(super) struct Trial<'a, S> {
    subject: &'a S,
    seed: u64,
    /// One in so many goes to the agent itself.
    agent_share: Option<usize>,
    prints: Mutex<BTreeSet<u64>>,
    faults: Mutex<Vec<String>>,
    states: AtomicUsize,
    agents: AtomicUsize,
}

/// What became of a trial.
pub(super) struct Outcome {
    what: String,
    pub(super) states: usize,
    pub(super) faults: Vec<String>,
}

impl Outcome {
    pub(super) fn told(&self) -> String {
        let some = self.faults.iter().take(FAULTS_MAX);
        let some = some.map(|fault| format!("\n{}", fault.chars().take(500).collect::<String>()));
        format!("{}{}", self.what, some.collect::<String>())
    }

    pub(super) fn holds(&self) {
        assert!(self.faults.is_empty(), "{}", self.told());
        assert!(self.states > 0, "{}", self.told());
    }
}

impl<'a, S: Subject> Trial<'a, S> {
    pub(super) fn new(subject: &'a S, seed: u64) -> Self {
        Self {
            subject,
            seed,
            agent_share: None,
            prints: Mutex::default(),
            faults: Mutex::default(),
            states: AtomicUsize::new(0),
            agents: AtomicUsize::new(0),
        }
    }

    /// Hands some of so many states to the agent itself.
    pub(super) fn with_agent(self, states: usize) -> Self {
        Self { agent_share: Some((states / AGENTS_LEAST).clamp(1, AGENT_SHARE)), ..self }
    }

    /// Tries so many states that all differ, or as many as are found.
    pub(super) fn run(self, states: usize) -> Outcome {
        let begun = tokio::time::Instant::now();
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let trial = &self;
                scope.spawn(move || trial.draw(worker, states));
            }
        });
        self.outcome(begun)
    }

    /// Tries every way in which whole files and names are lost or kept at each of the first notes; so
    /// many of them, where there are more.
    pub(super) fn run_every(
        self,
        notes: usize,
        is_minor: impl Fn(&str) -> bool,
        states: usize,
    ) -> Outcome {
        let begun = tokio::time::Instant::now();
        let (mut disk, mut promise) = self.subject.begin();
        let mut found = Vec::new();
        for cut in 0..=notes {
            for choice in Choice::every(&disk, &is_minor) {
                let image = disk.image(&choice);
                if self.is_new(&image, &promise) {
                    found.push((cut, image, promise.clone()));
                }
            }
            if let Some(note) = self.subject.notes().get(cut) {
                disk.apply(note).unwrap();
                self.subject.follow(&mut promise, note);
            }
        }
        let all = found.len();
        found.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let runtime = super::runtime();
        for (cut, image, promise) in found.iter().take(states) {
            runtime.block_on(self.look_at(*cut, image, promise));
        }
        let mut outcome = self.outcome(begun);
        eprintln!("of all {all} states of its first {notes} notes");
        outcome.what.push_str(&format!(", of all {all} of the first {notes} notes"));
        outcome
    }

    fn outcome(self, begun: tokio::time::Instant) -> Outcome {
        let (states, agents) = (self.states.into_inner(), self.agents.into_inner());
        let faults = self.faults.into_inner().unwrap();
        let what = format!(
            "power cuts of {}: {states} states of {} notes, {agents} with the agent itself, \
             {} faults, {:.1} s, SEED={}",
            self.subject.name(),
            self.subject.notes().len(),
            faults.len(),
            begun.elapsed().as_secs_f32(),
            self.seed,
        );
        eprintln!("{what}");
        Outcome { what, states, faults }
    }

    fn draw(&self, worker: usize, states: usize) {
        let mut dice = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(worker as u64));
        let runtime = super::runtime();
        let notes = self.subject.notes();
        // Where there are fewer states than wanted, passes end it.
        for _ in 0..8 {
            let rest = states.saturating_sub(self.states.load(Ordering::SeqCst));
            let share = rest.div_ceil(WORKERS);
            let mut cuts: Vec<usize> =
                (0..share).map(|_| dice.random_range(0..=notes.len())).collect();
            cuts.sort_unstable();
            let (mut disk, mut promise) = self.subject.begin();
            let mut step = 0;
            for cut in cuts {
                for note in &notes[step..cut] {
                    disk.apply(note).unwrap();
                    self.subject.follow(&mut promise, note);
                }
                step = cut;
                if self.states.load(Ordering::SeqCst) >= states {
                    return;
                }
                let drawn = (0..8).find_map(|_| {
                    let image = disk.image(&Choice::drawn(&disk, &mut dice));
                    self.is_new(&image, &promise).then_some(image)
                });
                if let Some(image) = drawn {
                    runtime.block_on(self.look_at(cut, &image, &promise));
                }
            }
        }
    }

    fn is_new(&self, image: &Image, promise: &S::Promise) -> bool {
        let mut print = DefaultHasher::new();
        (image.print, promise).hash(&mut print);
        self.prints.lock().unwrap().insert(print.finish())
    }

    async fn look_at(&self, cut: usize, image: &Image, promise: &S::Promise) {
        let state = self.states.fetch_add(1, Ordering::SeqCst);
        let folder = quick_folder();
        image.write(folder.path()).unwrap();
        let mut outcome = self.subject.check(image, promise, folder.path()).await;
        if outcome.is_ok() && self.agent_share.is_some_and(|share| state % share == share / 2) {
            self.agents.fetch_add(1, Ordering::SeqCst);
            outcome = self.subject.check_agent(image, promise).await;
        }
        if let Err(fault) = outcome {
            let kept = keep(image, self.subject.name(), cut);
            self.faults.lock().unwrap().push(format!("cut at note {cut}: {fault}{kept}"));
        }
    }
}

/// Keeps a state that did not hold, where that is wanted.
fn keep(image: &Image, name: &str, cut: usize) -> String {
    let Some(folder) = std::env::var_os("POWER_CUT_KEEP") else { return String::new() };
    let folder = PathBuf::from(folder).join(format!("{}-{cut}", name.replace(' ', "-")));
    std::fs::create_dir_all(&folder).unwrap();
    match image.write(&folder) {
        Ok(()) => format!(" (kept in {})", folder.display()),
        Err(error) => format!(" (not kept in {}: {error})", folder.display()),
    }
}

/// Returns a folder in memory where there is one: thousands of states are written.
fn quick_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("power-cut-").tempdir_in(folder).unwrap()
}
