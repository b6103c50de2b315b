//! The recorder: a few lines of C that are preloaded into a program, built where they are needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The recorder's text.
const TEXT: &str = include_str!("recorder.c");

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The machine refused.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The compiler refused.
    #[error("the C compiler does not build the recorder: {0}")]
    Compiler(String),
}

/// A built recorder.
#[derive(Debug, Clone)]
pub struct Recorder {
    library: PathBuf,
}

impl Recorder {
    /// Builds it in a folder.
    pub fn build(folder: &Path) -> Result<Self, RecorderError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| RecorderError::System { what, source }
        };
        let (text, library) = (folder.join("recorder.c"), folder.join("recorder.so"));
        std::fs::write(&text, TEXT).map_err(failed("write the recorder's text"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o"]);
        compiler.arg(&library).arg(&text).args(["-ldl", "-lpthread"]);
        let built = compiler.output().map_err(failed("run cc, Debian's package gcc"))?;
        if !built.status.success() {
            let said = String::from_utf8_lossy(&built.stderr).into_owned();
            return Err(RecorderError::Compiler(said));
        }
        Ok(Self { library })
    }

    /// Has a program noted that is about to start: what it does to a folder, given by its real path,
    /// is appended to a file outside of it.
    pub fn attach(&self, program: &mut Command, folder: &Path, notes: &Path) {
        program.env("LD_PRELOAD", &self.library);
        program.env("RECORD_FOLDER", folder).env("RECORD_LOG", notes);
    }
}
