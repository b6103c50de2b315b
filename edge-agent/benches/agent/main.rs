//! What the agent manages: each decoder, the aggregation, the durable buffer, the way to the broker and
//! the whole program, each beside the plain cost of the libraries under it with the same bytes in the
//! same run. A rate says something of a machine, a ratio something of the program. Nothing is asserted
//! of any time. Started by `make bench`; words behind it choose parts.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails and tells by them")]

mod drain;
mod durable;
mod formats;
mod inputs;
mod memory;
mod plain;
mod process;
mod sheets;
mod table;
#[allow(dead_code, clippy::print_stderr, reason = "the agent's tests use the rest of it")]
#[path = "../../tests/agent/world.rs"]
mod world;

use table::Table;

/// Measures something and adds its rows.
type Measure = fn(&mut Table);

/// The parts, in the order in which they run.
const PARTS: [(&str, Measure); 6] = [
    ("formats", formats::decoding),
    ("memory", memory::growing),
    ("aggregate", formats::aggregating),
    ("buffer", durable::taking),
    ("drain", drain::draining),
    ("process", process::running),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, file] = arguments.as_slice()
        && word == memory::COPIES
    {
        return memory::read_copies(name, file);
    }
    // `cargo test --benches` starts benches too; only `cargo bench` says so.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("not measured: `make bench` does");
        return;
    }
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !PARTS.iter().any(|(name, _)| chosen(name));
    let mut table = Table::default();
    for (name, run) in PARTS {
        if all || chosen(name) {
            run(&mut table);
        }
    }
    table.print();
    table.save();
}
