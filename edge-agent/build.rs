//! Links the agent with packed relocations (DT_RELR; glibc 2.36, Debian 12): two megabytes less of the
//! program, and of memory, since the loader reads all of them at every start. Notes when the program
//! was built: a clock that says less is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

#[allow(clippy::disallowed_methods, reason = "a build has no clock of the product's")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    println!("cargo::rustc-env=FRISCHMARKT_BUILT={}", set.unwrap_or_else(now));
}
