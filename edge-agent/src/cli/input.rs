//! A till's file on the command line: which format it has, and every item and refusal that is in it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::format::{Choice, Context, Decoder, Format, Framed, Framer, Item, Refusal, Unit};
use crate::source::directory::bundle::Bundle;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A file and what its bytes mean.
#[derive(Debug, Args)]
pub(super) struct Input {
    /// The file's format; an unknown name lists those that are known.
    #[arg(long)]
    format: String,
    /// The format's dialect; an unknown name lists those that are known.
    #[arg(long)]
    dialect: Option<String>,
    /// The file with the format's own settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The file, or - for the standard input; a folder where the format is an export of many tables.
    file: PathBuf,
}

/// What stands in a file.
pub(super) enum Heard<'a> {
    /// A receipt, a movement or a closing.
    Item(&'a Item),
    /// Bytes that are set aside, and why.
    Refused(&'a Unit, &'a Refusal),
}

impl Input {
    /// Finds the format; what is wrong with it is the command's fault, not the file's.
    pub(super) fn format(&self) -> anyhow::Result<Format> {
        let settings = self.settings.as_deref().map(read_text).transpose()?;
        let dialect = self.dialect.as_deref();
        Ok(Format::find(Choice { name: &self.format, dialect, settings: settings.as_deref() })?)
    }

    /// Reads the file to its end. A reader that has seen enough, such as `head`, is no failure.
    pub(super) fn read(
        &self,
        (format, context): (&Format, Context),
        hear: impl FnMut(Heard<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let shown = self.file.display();
        let input = open(&self.file, format).with_context(|| format!("cannot open {shown}"))?;
        let (framer, decoder) = (format.framer(0), format.decoder(context));
        match (Reading { framer, decoder, hear }).run(input) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            read => read.with_context(|| format!("cannot decode {shown}")),
        }
    }
}

/// Reads a text file that the command names.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Says what is wrong with the command or its file.
pub(super) fn refuse_command(error: &anyhow::Error) -> io::Result<()> {
    writeln!(io::stderr().lock(), "error: {error:#}")
}

fn open(path: &Path, format: &Format) -> anyhow::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    if !path.is_dir() {
        return Ok(Box::new(File::open(path)?));
    }
    ensure!(format.is_bundle(), "it is a folder, and only an export of dsfinvk is one");
    ensure!(std::fs::read_dir(path)?.next().is_some(), "the folder is empty");
    Ok(Box::new(Bundle::open(path)?))
}

struct Reading<H> {
    framer: Box<dyn Framer>,
    decoder: Box<dyn Decoder>,
    hear: H,
}

impl<H: FnMut(Heard<'_>) -> io::Result<()>> Reading<H> {
    fn run(&mut self, mut input: impl Read) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = match input.read(&mut chunk) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length == 0 {
                break;
            }
            for framed in self.framer.push(&chunk[..length]) {
                self.framed(framed)?;
            }
        }
        for framed in self.framer.quiet() {
            self.framed(framed)?;
        }
        self.framer.finish().map_or(Ok(()), |rest| self.framed(rest))
    }

    fn framed(&mut self, framed: Framed) -> io::Result<()> {
        match framed {
            Framed::Refused { unit, reason } => (self.hear)(Heard::Refused(&unit, &reason)),
            Framed::Unit(unit) => match self.decoder.decode(&unit) {
                Ok(items) => items.iter().try_for_each(|item| match item {
                    Item::Refused(reason) => (self.hear)(Heard::Refused(&unit, reason)),
                    Item::Receipt(_) | Item::Movement(_) | Item::Closing(_) => {
                        (self.hear)(Heard::Item(item))
                    }
                }),
                Err(reason) => (self.hear)(Heard::Refused(&unit, &reason)),
            },
        }
    }
}
