//! Memory follows a receipt, not the file: what a program of its own holds at most while it reads one
//! copy of an input, and how much more while it reads a hundred. The bench starts itself for each, so
//! that no other part has stretched the memory before.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use edge_agent::format::{Decoder, Format, Framed, Framer};

use tokio::time::Instant;

use crate::durable::folder;
use crate::inputs::{self, CHUNK};
use crate::table::{Row, Table};

/// The first argument of a program that reads copies.
pub(crate) const COPIES: &str = "--copies";
/// This very program, also where another build has taken its place.
const OWN: &str = "/proc/self/exe";
/// How often the input is read.
const COUNT: u32 = 100;
/// Receipts of an input: some chunks of it.
const RECEIPTS: usize = 200;
/// How long one input is read: a busy machine then tells of fewer copies, and of how many.
const LIMIT: Duration = Duration::from_secs(120);
/// The input that has a target, and how far it may stretch the memory of an idle program, in KiB.
const TARGET: (&str, u64) = ("poslog/ncr-acs", 4 << 10);

/// Measures each input in a process of its own.
pub(crate) fn growing(table: &mut Table) {
    let folder = folder();
    for input in inputs::all(RECEIPTS) {
        let file = folder.path().join("input");
        std::fs::write(&file, &input.bytes).unwrap();
        let output = Command::new(OWN).args([COPIES, &input.name]).arg(&file).output().unwrap();
        let (told, why) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {why}", input.name);
        let told = String::from_utf8(told).unwrap();
        let figures: Vec<u32> = told.split_whitespace().map(|it| it.parse().unwrap()).collect();
        let [copies, growth, above_idle] = figures[..] else { panic!("{told:?}") };
        let what = format!("{}: growth over {copies} copies", input.name);
        let beside = "must not follow the number of copies";
        table.add(Row::alone("memory", &what, (growth.into(), "KiB"), beside));
        if input.name == TARGET.0 {
            let what = format!("{}: {copies} copies above idle", input.name);
            let beside = if u64::from(above_idle) <= TARGET.1 && copies == COUNT {
                "target: at most 4 MiB over 100 copies; kept"
            } else {
                "target: at most 4 MiB over 100 copies; NOT kept"
            };
            table.add(Row::alone("memory", &what, (above_idle.into(), "KiB"), beside));
        }
    }
}

/// Reads a file once, then often, and prints how often, how far that stretched the memory since the
/// first time, and how far all of it did.
pub(crate) fn read_copies(name: &str, file: &str) {
    let format = inputs::format(name);
    let context = inputs::context(inputs::store(), chrono_tz::Europe::Berlin);
    let (mut framer, mut decoder) = (format.framer(0), format.decoder(context));
    let (began, idle) = (Instant::now(), own_kib());
    let (mut copies, mut first, mut most) = (0, idle, idle);
    while copies < COUNT && began.elapsed() < LIMIT {
        let mut units = read(file, (framer.as_mut(), decoder.as_mut()), &mut most);
        // A file that ends its own list or archive is followed by another file, not by more of it.
        if matches!(format, Format::Dsfinvk(_) | Format::Fiskaltrust | Format::Square) {
            units += decode(framer.quiet(), decoder.as_mut());
            units += decode(framer.finish().into_iter().collect(), decoder.as_mut());
            most = most.max(own_kib());
            framer = format.framer(0);
        }
        assert!(units > 0, "a copy holds something that is read");
        copies += 1;
        if copies == 1 {
            first = most;
        }
    }
    println!("{copies} {} {}", most - first, most - idle);
}

/// Returns how many units were read; `most` is the most memory that was seen.
fn read(
    file: &str,
    (framer, decoder): (&mut dyn Framer, &mut dyn Decoder),
    most: &mut u64,
) -> usize {
    let mut file = File::open(file).unwrap();
    let (mut chunk, mut count) = (vec![0; CHUNK], 0);
    loop {
        let size = file.read(&mut chunk).unwrap();
        if size == 0 {
            return count;
        }
        count += decode(framer.push(&chunk[..size]), decoder);
        *most = (*most).max(own_kib());
    }
}

fn decode(framed: Vec<Framed>, decoder: &mut dyn Decoder) -> usize {
    let mut count = 0;
    for framed in framed {
        if let Framed::Unit(unit) = framed {
            black_box(decoder.decode(&unit)).expect("the input is readable");
            count += 1;
        }
    }
    count
}

/// Returns how much memory of its own this process has now, in KiB: code that is read in is no part of
/// it.
fn own_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
