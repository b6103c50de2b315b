//! Memory follows a receipt, not the file: what a program of its own holds at most after one copy of an
//! input, and how much more after a hundred. The bench starts itself for each, so that no other part
//! has stretched the memory before.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::process::Command;

use edge_agent::format::{Decoder, Format, Framed, Framer};

use crate::durable::folder;
use crate::inputs::{self, CHUNK};
use crate::table::{Row, Table};

/// The first argument of a program that reads copies.
pub(crate) const COPIES: &str = "--copies";
/// How often the input is read.
const COUNT: usize = 100;
/// Receipts of an input: some chunks of it.
const RECEIPTS: usize = 200;

/// Measures each input in a process of its own.
pub(crate) fn growing(table: &mut Table) {
    let folder = folder();
    for input in inputs::all(RECEIPTS) {
        let file = folder.path().join("input");
        std::fs::write(&file, &input.bytes).unwrap();
        let own = std::env::current_exe().unwrap();
        let output = Command::new(own).args([COPIES, &input.name]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let kibibytes: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let what = format!("{}: growth over {COUNT} copies", input.name);
        let beside = "must not follow the number of copies";
        table.add(Row::alone("memory", &what, (kibibytes, "KiB"), beside));
    }
}

/// Reads a file once, then often, and prints how far that stretched the memory.
pub(crate) fn read_copies(name: &str, file: &str) {
    let format = inputs::format(name);
    let context = inputs::context(inputs::store(), chrono_tz::Europe::Berlin);
    let (mut framer, mut decoder) = (format.framer(0), format.decoder(context));
    let mut first = 0;
    for copy in 0..COUNT {
        read(file, framer.as_mut(), decoder.as_mut());
        // A file that ends its own list or archive is followed by another file, not by more of it.
        if matches!(format, Format::Dsfinvk(_) | Format::Fiskaltrust | Format::Square) {
            framer = format.framer(0);
        }
        if copy == 0 {
            first = peak();
        }
    }
    println!("{}", peak() - first);
}

fn read(file: &str, framer: &mut dyn Framer, decoder: &mut dyn Decoder) {
    let mut file = File::open(file).unwrap();
    let mut chunk = vec![0; CHUNK];
    loop {
        let size = file.read(&mut chunk).unwrap();
        if size == 0 {
            break;
        }
        for framed in framer.push(&chunk[..size]) {
            if let Framed::Unit(unit) = framed {
                black_box(decoder.decode(&unit)).expect("the input is readable");
            }
        }
    }
}

/// Returns the most memory that this process has held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
