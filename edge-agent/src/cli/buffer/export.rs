//! Prints batches for whoever wants to compute with them, in memory of one batch at a time.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use shared::minute::StoreMinute;

use super::ExportShape;
use crate::buffer::inspect::Inspector;

/// Sequences that are asked for at once.
const SEQUENCES_AT_ONCE: u32 = 1000;

const HEAD: &str = "sequence,store,minute,business_day,kind,till,article,line_kind,void,unit,quantity_milli,\
                    amount_cents,discount_cents,adjustment_share_cents,vat_key,vat_bp,lines";

/// Prints the batches from one sequence to another.
pub(super) fn export(
    inspector: &Inspector,
    (from, to): (u64, u64),
    shape: ExportShape,
) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(inspector, (from, to), (shape, &mut out)) {
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        printed => printed.map(|()| ExitCode::SUCCESS),
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

fn print(
    inspector: &Inspector,
    (mut from, to): (u64, u64),
    (shape, out): (ExportShape, &mut impl Write),
) -> anyhow::Result<()> {
    if matches!(shape, ExportShape::Csv) {
        writeln!(out, "{HEAD}")?;
    }
    loop {
        let sequences = inspector.sequences(from, to, SEQUENCES_AT_ONCE)?;
        let Some(last) = sequences.last().copied() else { break };
        for sequence in sequences {
            // One that was forgotten since is no loss: the broker has had it for a month.
            let Some(shown) = inspector.show(sequence)? else { continue };
            match shape {
                ExportShape::Jsonl => writeln!(out, "{}", shown.body)?,
                ExportShape::Csv => rows(&serde_json::from_value(shown.body)?, out)?,
            }
        }
        from = last + 1;
    }
    Ok(out.flush()?)
}

fn rows(batch: &StoreMinute, out: &mut impl Write) -> io::Result<()> {
    for sale in &batch.sales {
        let vat_key = sale.vat_key.as_ref().map_or("", |key| key.as_str());
        let vat_bp = sale.vat_bp.map_or(String::new(), |bp| bp.to_string());
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{vat_bp},{}",
            batch.sequence,
            batch.store,
            batch.minute,
            batch.business_day,
            batch.kind,
            sale.till,
            quoted(sale.article.as_str()),
            quoted(sale.kind.as_str()),
            sale.void,
            quoted(sale.unit.as_str()),
            sale.quantity_milli.0,
            sale.amount_cents.0,
            sale.discount_cents.0,
            sale.adjustment_share_cents.0,
            quoted(vat_key),
            sale.lines,
        )?;
    }
    Ok(())
}

/// Quotes a text where RFC 4180 wants it.
fn quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}
