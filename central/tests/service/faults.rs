//! Effect once under every fault: a run draws a small load and a few faults from its seed, and ends
//! only when truth, Postgres and the lake are equal to the cent, every planted bad record is set
//! aside by one letter, and every record of the topic has its one verdict. RUNS=n runs that many,
//! SEED=n begins with that one; a failed run names the command that repeats it.

mod boxes;
mod centre;
mod draw;
mod fault;
mod gate;
mod operator;
mod places;
mod run;
pub(crate) mod scenarios;
mod shop;
mod store_faults;
mod stores;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::OnceLock;

pub(crate) use fault::Place;

use fakes::stack::Stack;
use fakes::stack::own::OwnStack;
use futures_util::FutureExt;
use tokio::time::Instant;

/// Runs of an ordinary test; `make faults` asks for more.
const RUNS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_everything_counts_once() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (runs, first) = (
        number("RUNS").unwrap_or(RUNS),
        number("SEED").unwrap_or_else(|| rand::random_range(0..1_000_000)),
    );
    println!("RUNS={runs} SEED={first}");
    let mut met = BTreeMap::new();
    let started = Instant::now();
    let (mut records, mut set_aside) = (0, 0);
    for seed in first..first + runs {
        let run = AssertUnwindSafe(run::run(disturbed_stack(), seed)).catch_unwind();
        let told = run.await.unwrap_or_else(|failure| {
            println!("FAILED; this repeats it: make faults RUNS=1 SEED={seed}");
            resume_unwind(failure)
        });
        println!("{told}");
        records += told.records;
        set_aside += told.set_aside;
        told.faults.iter().for_each(|fault| *met.entry(fault.name()).or_insert(0) += 1);
    }
    println!(
        "{runs} runs in {} s, {records} records, 0 lost, 0 twice, {set_aside} set aside as planted",
        started.elapsed().as_secs()
    );
    for (fault, times) in met {
        println!("  {fault}: {times}");
    }
}

/// The stack whose servers are restarted: nobody else's tests are on it.
fn disturbed_stack() -> &'static Stack {
    static STACK: OnceLock<OwnStack> = OnceLock::new();
    STACK.get_or_init(|| OwnStack::start().unwrap_or_else(|error| panic!("{}", error.chain())))
}
