//! Libraries that make the world of one process worse: built when a test needs them.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A library that is loaded before libc.
pub(crate) struct Shim(TempDir);

impl Shim {
    /// Builds one of `fakes/shims`; nothing where there is no C compiler.
    pub(crate) fn build(name: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let shims = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fakes/shims");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(folder.path().join("shim.so"));
        match compiler.arg(shims.join(name)).arg("-ldl").status() {
            Ok(status) => assert!(status.success(), "{name} does not compile"),
            Err(error) => {
                eprintln!("skipped: no C compiler: {error}");
                return None;
            }
        }
        Some(Self(folder))
    }

    /// Returns what loads it.
    pub(crate) fn preload(&self) -> (&'static str, String) {
        ("LD_PRELOAD", self.0.path().join("shim.so").display().to_string())
    }
}
