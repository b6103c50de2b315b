//! `decode`: shows what a till's file means, one canonical receipt a line. It needs no configuration
//! and touches nothing.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::NaiveTime;
use clap::Args;
use shared::ids::StoreId;

use crate::format::article::Articles;
use crate::format::{Choice, Context, Decoder, Format, Framed, Framer, Item, Refusal, Unit};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Decodes a till's file and prints its receipts as JSON Lines.
///
/// What is refused goes to the error stream with its offsets. Exit status: 0 where all was read, 1
/// where something was refused or the file cannot be read, 2 where the command is wrong.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// The file's format; an unknown name lists those that are known.
    #[arg(long)]
    format: String,
    /// The format's dialect; an unknown name lists those that are known.
    #[arg(long)]
    dialect: Option<String>,
    /// The file with the format's own settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The table of the chain's article numbers.
    #[arg(long, value_name = "FILE")]
    articles: Option<PathBuf>,
    /// The store; the file's own id is taken without it.
    #[arg(long)]
    store: Option<StoreId>,
    /// The zone of the till's clock.
    #[arg(long, default_value = "Europe/Berlin")]
    zone: chrono_tz::Tz,
    /// The local time at which a business day begins where the till names none.
    #[arg(long, default_value = "03:00", value_parser = clock_time)]
    business_day_cut: NaiveTime,
    /// The file, or - for the standard input.
    file: PathBuf,
}

fn clock_time(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text, "%H:%M")
        .map_err(|_| "a time such as 03:00 is wanted".to_owned())
}

/// Runs the command.
pub fn run(args: DecodeArgs) -> anyhow::Result<ExitCode> {
    let (format, articles) = match (format(&args), articles(&args)) {
        (Ok(format), Ok(articles)) => (format, articles),
        (Err(error), _) | (_, Err(error)) => {
            writeln!(io::stderr().lock(), "error: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let context = Context {
        store: args.store,
        pos_store: None,
        zone: args.zone,
        business_day_cut: args.business_day_cut,
        articles: Arc::new(articles),
        pseudonyms: None,
    };
    let input = open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let out = BufWriter::new(io::stdout().lock());
    let (framer, decoder) = (format.framer(0), format.decoder(context));
    let mut printer = Printer { framer, decoder, out, refused: 0 };
    match printer.print(input) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context(format!("cannot decode {}", args.file.display())),
    }
}

fn format(args: &DecodeArgs) -> anyhow::Result<Format> {
    let settings = args.settings.as_deref().map(read).transpose()?;
    let dialect = args.dialect.as_deref();
    Ok(Format::find(Choice { name: &args.format, dialect, settings: settings.as_deref() })?)
}

fn articles(args: &DecodeArgs) -> anyhow::Result<Articles> {
    let Some(path) = &args.articles else { return Ok(Articles::default()) };
    Articles::parse(&read(path)?).with_context(|| format!("{} is not usable", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

struct Printer<W> {
    framer: Box<dyn Framer>,
    decoder: Box<dyn Decoder>,
    out: W,
    refused: u64,
}

impl<W: Write> Printer<W> {
    /// Prints all that the input holds and returns how many pieces of it were refused.
    fn print(&mut self, mut input: impl Read) -> io::Result<u64> {
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
        if let Some(rest) = self.framer.finish() {
            self.framed(rest)?;
        }
        self.out.flush()?;
        Ok(self.refused)
    }

    fn framed(&mut self, framed: Framed) -> io::Result<()> {
        match framed {
            Framed::Refused { unit, reason } => self.refuse(&unit, &reason),
            Framed::Unit(unit) => match self.decoder.decode(&unit) {
                Ok(items) => items.iter().try_for_each(|item| self.item(&unit, item)),
                Err(reason) => self.refuse(&unit, &reason),
            },
        }
    }

    fn item(&mut self, unit: &Unit, item: &Item) -> io::Result<()> {
        match item {
            Item::Receipt(receipt) => serde_json::to_writer(&mut self.out, receipt)?,
            Item::Movement(movement) => {
                let line = serde_json::json!({ "movement": movement });
                serde_json::to_writer(&mut self.out, &line)?;
            }
            Item::Closing(closing) => {
                let line = serde_json::json!({ "closing": closing });
                serde_json::to_writer(&mut self.out, &line)?;
            }
            Item::Refused(reason) => return self.refuse(unit, reason),
        }
        self.out.write_all(b"\n")
    }

    fn refuse(&mut self, unit: &Unit, reason: &Refusal) -> io::Result<()> {
        self.refused += 1;
        // What was read before stands before the refusal, also where both streams are one terminal.
        self.out.flush()?;
        writeln!(io::stderr().lock(), "refused bytes {}..{}: {reason}", unit.start, unit.end)
    }
}
