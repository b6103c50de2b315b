//! Links the agent with packed relocations (DT_RELR; glibc 2.36, Debian 12): two megabytes less of the
//! program, and of memory, since the loader reads all of them at every start.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
