//! Links the agent with packed relocations (DT_RELR; glibc 2.36, Debian 12): two megabytes less of the
//! program, and of memory, since the loader reads all of them at every start. Tells it when it was
//! built: a box whose clock stands before that has not heard the time yet.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // A day's slack, for machines whose clocks differ.
    let built = (built_at() / DAY_SECONDS).saturating_sub(1) * DAY_SECONDS;
    println!("cargo::rustc-env=EDGE_AGENT_BUILT={built}");
}

/// Returns the time of a build that can be repeated, else that of this one, in seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "no program runs yet whose clock could be asked")]
fn built_at() -> u64 {
    let repeated = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    repeated.unwrap_or_else(now)
}
