//! What was read of a text becomes a canonical receipt: letters become VAT keys by the receipt's own
//! table, quantities take the sign of their amount, and every figure that is printed twice is held
//! against its other self.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::ids::{Label, Series};
use shared::minute::Closing;
use shared::money::{Cents, Milli};
use shared::ranges::Ranges;
use shared::receipt::{Adjustment, Fiscal, Line, Receipt, Reduction, Vat};
use shared::time::Timestamp;
use shared::words::{Channel, LineKind, NotCounted};

use super::figures;
use super::profile::Profile;
use super::read::{Goods, Key, ReadFault, Sale, Slip, VatRow, key, read};
use crate::format::settle::{CENTS_MAX, settle};
use crate::format::stamp::{Place, Stamp, Stamps};
use crate::format::{Context, Item};

/// Flag of a receipt whose printed time is not the security device's.
const CLOCK_DIFFERS: &str = "clock_differs_from_tse";

/// How far the two may be apart: a receipt is printed when it ends, to the minute.
const CLOCK_SLACK_MILLIS: u64 = 10 * 60 * 1000;

/// What a security device says of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::format) struct Witness {
    /// Device and transaction.
    pub(in crate::format) fiscal: Fiscal,
    /// When the transaction ended.
    pub(in crate::format) ended_at: Timestamp,
    /// Gross amounts of the VAT keys 1 to 5, where it was a sale.
    pub(in crate::format) gross: Option<[Cents; 5]>,
    /// Why it was none.
    pub(in crate::format) reason: Option<NotCounted>,
}

/// Reads texts for a store.
#[derive(Debug)]
pub(in crate::format) struct TextReader {
    profile: Arc<Profile>,
    context: Context,
    stamps: Stamps,
}

/// What a letter of the receipt means.
type Letters = BTreeMap<Label, (Label, u32)>;

impl TextReader {
    pub(in crate::format) fn new(profile: Arc<Profile>, context: Context) -> Self {
        let stamps = Stamps::new(context.zone);
        Self { profile, context, stamps }
    }

    /// Reads what the lines of one unit hold.
    pub(in crate::format) fn items(
        &mut self,
        lines: &[&str],
        witness: Option<Witness>,
    ) -> Result<Vec<Item>, ReadFault> {
        let parts = parts(&self.profile, lines);
        if parts.len() > 1 && witness.is_some() {
            return Err(ReadFault::OneCode);
        }
        let mut found = Vec::new();
        for part in parts {
            found.extend(self.item(part, witness.as_ref())?);
        }
        Ok(found)
    }

    fn item(
        &mut self,
        lines: &[&str],
        witness: Option<&Witness>,
    ) -> Result<Option<Item>, ReadFault> {
        let profile = Arc::clone(&self.profile);
        let mut slip = read(&profile, lines)?;
        if let (Slip::Sale(_), Some(reason)) = (&slip, witness.and_then(|seen| seen.reason.clone()))
        {
            slip = Slip::NotCounted(reason, None);
        }
        if matches!(slip, Slip::Nothing) {
            return Ok(None);
        }
        let key = key(&profile, lines)?;
        let mut receipt = self.head(&key, witness)?;
        match slip {
            Slip::Nothing => return Ok(None),
            Slip::Closing { number, total } => {
                return Ok(Some(Item::Closing(Box::new(closing(
                    &receipt, &profile, number, total,
                )?))));
            }
            Slip::NotCounted(reason, cash) => {
                (receipt.counts, receipt.reason) = (false, Some(reason));
                receipt.cash_moves = cash.into_iter().collect();
            }
            Slip::Sale(sale) => {
                self.fill(&mut receipt, sale)?;
                if let Some(gross) = witness.and_then(|seen| seen.gross) {
                    check_code(&receipt, &gross)?;
                }
            }
        }
        settle(&mut receipt).map_err(ReadFault::Settle)?;
        Ok(Some(Item::Receipt(Box::new(receipt))))
    }

    /// Reads whose receipt it is and when it ended.
    fn head(&mut self, key: &Key<'_>, witness: Option<&Witness>) -> Result<Receipt, ReadFault> {
        let store = match (key.market, &self.context.store) {
            (Some(market), _) => self.context.store_of(market).map_err(ReadFault::Store)?,
            (None, Some(store)) => store.clone(),
            (None, None) => return Err(ReadFault::Missing("market")),
        };
        let till = key.till.ok_or(ReadFault::Missing("till"))?;
        let number = key.receipt.ok_or(ReadFault::Missing("receipt number"))?;
        let date = figures::date(key.date.ok_or(ReadFault::Missing("date"))?);
        let time = figures::time(key.time.ok_or(ReadFault::Missing("time"))?);
        let printed = date.ok_or(ReadFault::Date)?.and_time(time.ok_or(ReadFault::Date)?);
        let stamp = Stamp::parse(&printed.format("%Y-%m-%dT%H:%M:%S").to_string());
        let stamp = stamp.map_err(ReadFault::Time)?;
        let business_day = stamp.business_day(self.context.zone, self.context.business_day_cut);
        let id = |what| move |error| ReadFault::Id(what, error);
        let place = Place {
            till: till.parse().map_err(id("till"))?,
            number: number.parse().map_err(id("receipt number"))?,
            business_day,
        };
        let (ended_at, flag) = self.moment(stamp, &place, witness)?;
        let flags = flag.map(Label::new).transpose().map_err(id("flag"))?;
        Ok(Receipt {
            store,
            till: place.till,
            series: Series::new(&business_day.to_string()).map_err(id("business day"))?,
            receipt: place.number,
            business_day,
            ended_at,
            counts: true,
            reason: None,
            channel: Channel::Till,
            fiscal: witness.map(|seen| seen.fiscal.clone()),
            refers_to: None,
            customer: None,
            flags: flags.into_iter().collect(),
            lines: Vec::new(),
            vat: Vec::new(),
            adjustments: Vec::new(),
            tax_added_cents: Cents::ZERO,
            adjustment_cents: Cents::ZERO,
            total_cents: Cents::ZERO,
            payments: Vec::new(),
            cash_moves: Vec::new(),
            version: None,
        })
    }

    /// Takes the security device's time, which is in UTC and to the second, where the printed one
    /// agrees.
    fn moment(
        &mut self,
        stamp: Stamp,
        place: &Place,
        witness: Option<&Witness>,
    ) -> Result<(Timestamp, Option<&'static str>), ReadFault> {
        let (printed, flag) = self.stamps.resolve(stamp, place).map_err(ReadFault::Time)?;
        let Some(seen) = witness else { return Ok((printed, flag)) };
        let apart = |hour: i64| {
            let other = seen.ended_at.unix_millis() - hour * 3_600_000;
            printed.unix_millis().abs_diff(other) <= CLOCK_SLACK_MILLIS
        };
        // In the hour that comes twice, the device knows which of the two it is.
        let other_hour = flag.is_some() && (apart(1) || apart(-1));
        if apart(0) || other_hour {
            return Ok((seen.ended_at, None));
        }
        Ok((printed, Some(CLOCK_DIFFERS)))
    }

    fn fill(&self, receipt: &mut Receipt, sale: Sale) -> Result<(), ReadFault> {
        receipt.total_cents = sale.total.ok_or(ReadFault::Missing("total"))?;
        let letters = letters(&sale.vat)?;
        for (position, goods) in (1_u32..).zip(&sale.goods) {
            receipt.lines.push(self.line(position, goods, &letters)?);
        }
        for off in sale.off {
            let vat_key = meaning(off.letter.as_ref(), &letters)?.map(|(key, _)| key);
            let cents = off.cents;
            receipt.adjustments.push(Adjustment { kind: off.kind, id: None, vat_key, cents });
        }
        let adjustments = receipt.adjustments.iter().map(|part| part.cents);
        receipt.adjustment_cents = bounded("adjustments", adjustments)?;
        receipt.payments = sale.payments;
        for row in &sale.vat {
            receipt.vat.push(vat(row, receipt, &letters)?);
        }
        Ok(())
    }

    fn line(&self, position: u32, goods: &Goods, letters: &Letters) -> Result<Line, ReadFault> {
        let id = |error| ReadFault::Id("article", error);
        let vat = meaning(goods.letter.as_ref(), letters)?;
        let came_in = goods.amount.0 < 0 && !goods.void;
        let kind = if came_in && goods.kind == LineKind::Sale {
            LineKind::Return
        } else if came_in && goods.kind == LineKind::Deposit {
            LineKind::DepositRefund
        } else {
            goods.kind.clone()
        };
        let back = goods.amount.0 < 0 || (goods.amount.0 == 0 && brings_back(&kind));
        let off = bounded("discounts", goods.reductions.iter().map(|(_, cents)| *cents))?;
        let reduction = |(kind, cents): &(_, Cents)| Reduction {
            kind: Clone::clone(kind),
            id: None,
            cents: -*cents,
        };
        let text = goods.text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Line {
            position,
            article: self.context.articles.text(&text).map_err(id)?,
            text: Some(Label::new(&text).map_err(id)?),
            kind,
            void: goods.void,
            unit: goods.unit.clone(),
            quantity_milli: if back { Milli(-goods.quantity.0) } else { goods.quantity },
            amount_cents: bounded("amounts", [goods.amount, off])?,
            discount_cents: -off,
            adjustment_share_cents: Cents::ZERO,
            vat_key: vat.as_ref().map(|(key, _)| key.clone()),
            vat_bp: vat.map(|(_, bp)| bp),
            reductions: goods.reductions.iter().map(reduction).collect(),
            seller: None,
            restock: None,
        })
    }
}

fn brings_back(kind: &LineKind) -> bool {
    matches!(kind, LineKind::Return | LineKind::DepositRefund)
}

/// Parts a text behind each last line of a receipt, where a further receipt follows it.
fn parts<'a, 'b>(profile: &Profile, lines: &'a [&'b str]) -> Vec<&'a [&'b str]> {
    let mut parts = Vec::new();
    let mut rest = lines;
    while let Some(at) = rest.iter().position(|line| profile.is_last_line(line)) {
        let (part, behind) = rest.split_at(at + 1);
        if !behind.iter().any(|line| profile.items.begin.matches(line)) {
            break;
        }
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}

fn closing(
    receipt: &Receipt,
    profile: &Profile,
    number: Label,
    total: Cents,
) -> Result<Closing, ReadFault> {
    Ok(Closing {
        tills: vec![receipt.till.clone()],
        closing: number,
        source: Label::new(&format!("receipt-text:{}", profile.name))
            .map_err(|error| ReadFault::Id("profile", error))?,
        opened_at: None,
        closed_at: receipt.ended_at,
        receipts: Ranges::default(),
        total_cents: bounded("total", [total])?,
        cases: Vec::new(),
        payments: Vec::new(),
        cash_moves: Vec::new(),
        supersedes: None,
    })
}

/// Sums amounts of a receipt, none of which can be larger than any till's.
fn bounded(what: &'static str, parts: impl IntoIterator<Item = Cents>) -> Result<Cents, ReadFault> {
    let too_large = || ReadFault::Settle(crate::format::settle::SettleFault::TooLarge(what));
    let sum = Cents::checked_sum(parts).ok_or_else(too_large)?;
    if (-CENTS_MAX..=CENTS_MAX).contains(&sum.0) { Ok(sum) } else { Err(too_large()) }
}

/// Returns the VAT key and rate of a letter.
fn meaning(letter: Option<&Label>, letters: &Letters) -> Result<Option<(Label, u32)>, ReadFault> {
    let Some(letter) = letter else { return Ok(None) };
    letters.get(letter).cloned().map(Some).ok_or_else(|| ReadFault::Letter(letter.clone()))
}

fn letters(rows: &[VatRow]) -> Result<Letters, ReadFault> {
    let meaning = |row: &VatRow| {
        let bp = u32::try_from(row.rate.0).map_err(|_| ReadFault::Rate(0))?;
        // Keys as DSFinV-K numbers them; 16 and 5 percent held in the second half of 2020.
        let key = match bp {
            1900 | 1600 => "1",
            700 | 500 => "2",
            1070 => "3",
            550 => "4",
            0 => "5",
            _ => return Err(ReadFault::Rate(bp)),
        };
        let key = Label::new(key).map_err(|error| ReadFault::Id("VAT key", error))?;
        Ok((row.letter.clone(), (key, bp)))
    };
    rows.iter().map(meaning).collect()
}

/// Takes a row of the table of VAT, which must be what the lines and adjustments of its letter make.
fn vat(row: &VatRow, receipt: &Receipt, letters: &Letters) -> Result<Vat, ReadFault> {
    let (key, bp) = meaning(Some(&row.letter), letters)?.ok_or(ReadFault::Missing("VAT letter"))?;
    let of_key = |found: &Option<Label>| found.as_ref() == Some(&key);
    let lines = receipt.lines.iter().filter(|line| of_key(&line.vat_key));
    let offs = receipt.adjustments.iter().filter(|off| of_key(&off.vat_key));
    let amounts = lines.map(|line| line.amount_cents).chain(offs.map(|off| off.cents));
    for (what, made) in [
        ("its lines", bounded("lines", amounts)?),
        ("net and tax", bounded("VAT amounts", [row.net, row.tax])?),
    ] {
        if made != row.gross {
            return Err(ReadFault::Vat { key, what, made, said: row.gross });
        }
    }
    Ok(Vat { key, bp: Some(bp), gross_cents: row.gross, net_cents: row.net, tax_cents: row.tax })
}

/// Holds the table of VAT against what the security device signed.
fn check_code(receipt: &Receipt, gross: &[Cents; 5]) -> Result<(), ReadFault> {
    for (key, &code) in (1_usize..).zip(gross) {
        let of_key = receipt.vat.iter().filter(|vat| vat.key.as_str() == key.to_string());
        let text = bounded("VAT amounts", of_key.map(|vat| vat.gross_cents))?;
        if text != code {
            return Err(ReadFault::Code { key, text, code });
        }
    }
    Ok(())
}
