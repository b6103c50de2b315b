//! `decode`: shows what a till's file means, one canonical receipt a line. It needs no configuration
//! and touches nothing.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::NaiveTime;
use clap::Args;
use shared::ids::StoreId;

use super::USAGE;
use super::input::{Heard, Input, read_text, refuse_command};
use crate::format::article::Articles;
use crate::format::{Context, Item};

mod summary;

use summary::Summary;

/// Decodes a till's file and prints its receipts as JSON Lines.
///
/// What is refused goes to the error stream with its offsets. Exit status: 0 where all was read, 1
/// where something was refused or the file cannot be read, 2 where the command is wrong.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    #[command(flatten)]
    input: Input,
    /// The table of the chain's article numbers.
    #[arg(long, value_name = "FILE")]
    articles: Option<PathBuf>,
    /// The store; the file's own id is taken without it.
    #[arg(long)]
    store: Option<StoreId>,
    /// The zone of the till's clock.
    #[arg(long, default_value = "Europe/Berlin", value_parser = zone)]
    zone: chrono_tz::Tz,
    /// The local time at which a business day begins where the till names none.
    #[arg(long, default_value = "03:00", value_parser = clock_time)]
    business_day_cut: NaiveTime,
    /// Prints sums instead of receipts.
    #[arg(long, conflicts_with = "unmapped")]
    summary: bool,
    /// Prints the articles that are known by their text alone, instead of receipts.
    #[arg(long)]
    unmapped: bool,
}

fn clock_time(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text, "%H:%M")
        .map_err(|_| "a time such as 03:00 is wanted".to_owned())
}

fn zone(text: &str) -> Result<chrono_tz::Tz, String> {
    text.parse().map_err(|_| "an IANA zone such as Europe/Berlin is wanted".to_owned())
}

/// Runs the command.
pub fn run(args: DecodeArgs) -> anyhow::Result<ExitCode> {
    let (format, articles) = match (args.input.format(), articles(&args)) {
        (Ok(format), Ok(articles)) => (format, articles),
        (Err(error), _) | (_, Err(error)) => {
            refuse_command(&error)?;
            return Ok(ExitCode::from(USAGE));
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
    let what = match (args.summary, args.unmapped) {
        (true, _) => What::Summary,
        (false, true) => What::Unmapped,
        (false, false) => What::Items,
    };
    let out = BufWriter::new(io::stdout().lock());
    let mut printer = Printer { out, what, summary: Summary::default(), heard: 0, refused: 0 };
    if let Err(error) = args.input.read((&format, context), |heard| printer.hear(heard)) {
        printer.out.flush()?;
        refuse_command(&error)?;
        return Ok(ExitCode::FAILURE);
    }
    match printer.finish() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) if printer.refused == 0 => Ok(ExitCode::SUCCESS),
        Ok(()) | Err(_) => Ok(ExitCode::FAILURE),
    }
}

fn articles(args: &DecodeArgs) -> anyhow::Result<Articles> {
    let Some(path) = &args.articles else { return Ok(Articles::default()) };
    Articles::parse(&read_text(path)?).with_context(|| format!("{} is not usable", path.display()))
}

/// What is printed.
enum What {
    Items,
    Summary,
    Unmapped,
}

struct Printer<W> {
    out: W,
    what: What,
    summary: Summary,
    heard: u64,
    refused: u64,
}

impl<W: Write> Printer<W> {
    fn hear(&mut self, heard: Heard<'_>) -> io::Result<()> {
        self.heard += 1;
        match heard {
            Heard::Item(item) => {
                self.summary.add(item);
                if matches!(self.what, What::Items) { self.item(item) } else { Ok(()) }
            }
            Heard::Refused(unit, reason) => {
                self.refused += 1;
                self.summary.refuse();
                // What was read before stands before the refusal, also where both streams are one
                // terminal.
                self.out.flush()?;
                writeln!(
                    io::stderr().lock(),
                    "refused bytes {}..{}: {reason}",
                    unit.start,
                    unit.end
                )
            }
        }
    }

    fn item(&mut self, item: &Item) -> io::Result<()> {
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
            // Heard as a refusal, with the bytes.
            Item::Refused(_) => return Ok(()),
        }
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.what {
            What::Items => {}
            What::Summary => write!(self.out, "{}", self.summary)?,
            What::Unmapped => write!(self.out, "{}", self.summary.unmapped())?,
        }
        self.out.flush()?;
        // Silence would leave open whether anything was read.
        match self.heard {
            0 => writeln!(io::stderr().lock(), "nothing stands in it: no receipt, nothing refused"),
            1.. => Ok(()),
        }
    }
}
