//! One format against a coverage-guided engine, which owns `main`: libFuzzer asks for the promises of
//! `tests/agent/damage.rs` with inputs that it makes up. `FUZZ_FAMILY` names the family of our own
//! files that is read; without it the families are listed. Started by `scripts/fuzz`.

#![no_main]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "fails by them")]
#![allow(dead_code, reason = "the agent's tests use the rest of `reading` and `damage`")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use reading::{FAMILIES, Family};

#[path = "../../tests/agent/damage.rs"]
mod damage;
#[path = "../../tests/agent/reading.rs"]
mod reading;

/// Words that the engine is given: what stands in our own files and can hardly be guessed.
const WORDS_MAX: usize = 500;

static FAMILY: OnceLock<&'static Family> = OnceLock::new();

fuzz_target!(init: prepare(), |input: &[u8]| {
    damage::read(FAMILY.get().expect("it is set before the first input"), input);
});

/// Finds the family, and leaves what the engine starts from in the folder `FUZZ_FOLDER`.
fn prepare() {
    let Ok(wanted) = std::env::var("FUZZ_FAMILY") else {
        FAMILIES.iter().for_each(|family| println!("{}", family.folder));
        std::process::exit(0);
    };
    let found = FAMILIES.iter().find(|family| family.folder == wanted);
    let family = FAMILY.get_or_init(|| found.expect("FUZZ_FAMILY names a family"));
    if let Some(folder) = std::env::var_os("FUZZ_FOLDER") {
        leave_seeds(family, Path::new(&folder));
    }
}

fn leave_seeds(family: &Family, folder: &Path) {
    let seeds = folder.join("seeds");
    fs::create_dir_all(&seeds).unwrap();
    let mut words = BTreeSet::new();
    for file in family.files().iter().filter(|file| file.is_file()) {
        let bytes = fs::read(file).unwrap();
        fs::write(seeds.join(file.file_name().unwrap()), &bytes).unwrap();
        let parts = bytes.split(|byte| !byte.is_ascii_alphanumeric());
        words.extend(parts.filter(|part| (2..24).contains(&part.len())).map(<[u8]>::to_vec));
    }
    let line = |word: Vec<u8>| format!("\"{}\"\n", String::from_utf8_lossy(&word));
    let lines: String = words.into_iter().take(WORDS_MAX).map(line).collect();
    fs::write(folder.join("words"), lines).unwrap();
}
