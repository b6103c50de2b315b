//! The one place that writes to standard output.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line. A reader that has gone away is no fault of ours.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
