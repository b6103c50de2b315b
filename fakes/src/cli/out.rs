//! The one place that writes to the terminal.

use std::io::{self, Write};

/// Writes a line to standard output.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes an error to standard error; where even that is closed, the exit code has to do.
pub fn error(text: &str) {
    let written = writeln!(io::stderr().lock(), "fakes: {text}");
    drop(written);
}
