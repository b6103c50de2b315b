//! DSFinV-K: the export that German law asks of every till, whole days after their closing. Each
//! closing is held against its own totals before any of its receipts count. Personal data and
//! signatures are in it; only the columns that [`export`] names are ever read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shared::ids::{IdError, Label, MovementId, ReceiptNumber, Series, TillId};
use shared::money::Cents;
use shared::ranges::Ranges;
use shared::receipt::{CashMove, Fiscal, Payment, Receipt, ReceiptReference, StockMovement, Vat};
use shared::time::{BusinessDay, TimeError};
use shared::words::{AdjustmentKind, Channel, LineKind, NotCounted, StockKind};

use super::settle::{SettleFault, settle, settle_movement};
use super::stamp::{Place, Stamp, StampError, Stamps};
use super::{Context, Decoder, FormatError, Item, Refusal, Unit};

mod archive;
mod book;
mod closing;
mod export;
pub mod frame;
mod index;
mod table;

use book::{Booking, LineFault, booking, cents};
use closing::{enters, payment_kind};
use export::{Bon, Position, Z, ZKey};

/// What marks a receipt that takes back an earlier one.
const RECEIPT_VOID: &str = "receipt_void";
/// Characters that one receipt's fault may take of the refusal of all.
const FAULT_CHARS_MAX: usize = 200;

/// How an export's numbers become ours.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DsfinvkSettings {
    till: TillColumn,
    number: NumberColumn,
    /// Whether goods taken for own use leave the stock.
    own_use: bool,
    /// Our tills by the export's names for them.
    tills: BTreeMap<String, TillId>,
}

/// Which column names the till.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum TillColumn {
    #[default]
    #[serde(rename = "Z_KASSE_ID")]
    Register,
    #[serde(rename = "TERMINAL_ID")]
    Terminal,
}

/// Which column numbers the receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum NumberColumn {
    #[default]
    #[serde(rename = "BON_NR")]
    Number,
    #[serde(rename = "BON_ID")]
    Id,
}

impl DsfinvkSettings {
    /// Reads the settings; none are needed.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, FormatError> {
        text.map_or_else(|| Ok(Self::default()), |text| super::registry::settings("dsfinvk", text))
    }
}

/// Why a receipt or a closing is set aside.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("its time is not usable")]
    Time(#[source] StampError),
    #[error("its business day is not usable")]
    Day(#[source] TimeError),
    #[error("line {0}")]
    Line(String, #[source] LineFault),
    #[error("a total")]
    Total(#[source] LineFault),
    #[error("its UMS_BRUTTO is {found}, its lines make {made}")]
    Sum { found: Cents, made: Cents },
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of exports.
#[derive(Debug)]
pub struct DsfinvkDecoder {
    settings: DsfinvkSettings,
    context: Context,
    stamps: Stamps,
}

/// What became of a closing's receipts.
#[derive(Default)]
struct Booked {
    items: Vec<Item>,
    faults: Vec<String>,
    tills: BTreeSet<TillId>,
    numbers: Ranges,
}

impl DsfinvkDecoder {
    /// Makes a decoder for a store.
    pub fn new(settings: DsfinvkSettings, context: Context) -> Self {
        let stamps = Stamps::new(context.zone);
        Self { settings, context, stamps }
    }

    /// Books a closing and its receipts; where its totals are not theirs, none of them.
    fn closing(&mut self, key: &ZKey, z: &Z) -> Booked {
        let mut booked = Booked::default();
        let name: String = format!("closing {} of {}", key.number, key.register);
        if let Err(mismatch) = closing::reconcile(z) {
            booked.faults.push(format!("{name}: {}", Refusal::because(&mismatch)));
            return booked;
        }
        let names = self.names(key, z);
        for bon in &z.bons {
            match self.transaction(key, z, bon, &names) {
                Ok((receipt, movements)) => {
                    booked.tills.insert(receipt.till.clone());
                    if let Some(number) = receipt.receipt.as_number() {
                        booked.numbers.insert(number);
                    }
                    booked.items.push(Item::Receipt(Box::new(receipt)));
                    booked.items.extend(movements.into_iter().map(Box::new).map(Item::Movement));
                }
                Err(fault) => {
                    let id: String = bon.id.chars().take(40).collect();
                    booked
                        .faults
                        .push(format!("receipt {id} in {name}: {}", Refusal::because(&fault)));
                }
            }
        }
        if !z.cases.is_empty() {
            match self.totals(key, z, &booked) {
                Ok(closing) => booked.items.push(closing),
                Err(fault) => booked.faults.push(format!("{name}: {}", Refusal::because(&fault))),
            }
        }
        booked
    }

    fn totals(&self, key: &ZKey, z: &Z, booked: &Booked) -> Result<Item, Fault> {
        let mut tills = booked.tills.clone();
        if tills.is_empty() {
            tills.insert(self.till(&key.register)?);
        }
        let stamp = Stamp::parse(&key.created).map_err(Fault::Time)?;
        let closed_at = stamp.alone(self.context.zone).map_err(Fault::Time)?;
        let closing = closing::closing((key, z), closed_at, tills, booked.numbers.clone());
        closing.map(|closing| Item::Closing(Box::new(closing))).map_err(Fault::Total)
    }

    fn transaction(
        &mut self,
        key: &ZKey,
        z: &Z,
        bon: &Bon,
        names: &BTreeMap<String, ReceiptReference>,
    ) -> Result<(Receipt, Vec<StockMovement>), Fault> {
        let mut receipt = self.head(key, z, bon)?;
        let mut movements = Vec::new();
        if enters(bon) {
            self.fill(&mut receipt, z, bon)?;
            let refers_to = bon.refers_to.as_ref();
            let same_z = |(other, _): &&(ZKey, String)| {
                (&other.register, &other.number) == (&key.register, &key.number)
            };
            receipt.refers_to = refers_to.filter(same_z).and_then(|(_, id)| names.get(id)).cloned();
        } else {
            receipt.counts = false;
            receipt.reason = Some(reason(&bon.kind)?);
            if self.settings.own_use && bon.kind.eq_ignore_ascii_case("AVSachbezug") {
                movements = self.own_use(&receipt, z, bon)?;
            }
        }
        settle(&mut receipt).map_err(Fault::Settle)?;
        Ok((receipt, movements))
    }

    fn head(&mut self, key: &ZKey, z: &Z, bon: &Bon) -> Result<Receipt, Fault> {
        let store = self.context.store.clone().ok_or(Fault::Missing("the store: name it"))?;
        let ended = if bon.ended.is_empty() { &bon.started } else { &bon.ended };
        let stamp = Stamp::parse(ended).map_err(Fault::Time)?;
        let place = self.place(key, z, bon)?;
        let (ended_at, flag) = self.stamps.resolve(stamp, &place).map_err(Fault::Time)?;
        let flags = flag.map(|flag| usable("a flag", Label::new(flag))).transpose()?;
        let pseudonyms = self.context.pseudonyms.as_ref();
        let device = bon.device.as_ref();
        let fiscal = device.and_then(|(id, number)| {
            let tse = Label::new(z.devices.get(id)?).ok()?;
            Some(Fiscal { tse, transaction: *number })
        });
        Ok(Receipt {
            store,
            series: series(place.business_day)?,
            till: place.till,
            receipt: place.number,
            business_day: place.business_day,
            ended_at,
            counts: true,
            reason: None,
            channel: Channel::Till,
            fiscal,
            refers_to: None,
            customer: pseudonyms.and_then(|pseudonyms| pseudonyms.of(&bon.customer)),
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

    fn place(&self, key: &ZKey, z: &Z, bon: &Bon) -> Result<Place, Fault> {
        let till = match self.settings.till {
            TillColumn::Register => self.till(&key.register)?,
            TillColumn::Terminal => self.till(&bon.terminal)?,
        };
        let number = match self.settings.number {
            NumberColumn::Number if !bon.number.is_empty() => &bon.number,
            NumberColumn::Number | NumberColumn::Id => &bon.id,
        };
        let ended = if bon.ended.is_empty() { &bon.started } else { &bon.ended };
        let business_day = self.business_day(z, ended)?;
        Ok(Place { till, business_day, number: receipt_number(number)? })
    }

    fn till(&self, name: &str) -> Result<TillId, Fault> {
        let known = self.settings.tills.get(name).cloned();
        known.map_or_else(|| usable("the till's id", TillId::new(name)), Ok)
    }

    fn business_day(&self, z: &Z, time: &str) -> Result<BusinessDay, Fault> {
        if let Some(day) = &z.business_day {
            return day.parse().map_err(Fault::Day);
        }
        let stamp = Stamp::parse(time).map_err(Fault::Time)?;
        Ok(stamp.business_day(self.context.zone, self.context.business_day_cut))
    }

    /// Returns how the receipts of a closing are named, by the export's ids for them.
    fn names(&self, key: &ZKey, z: &Z) -> BTreeMap<String, ReceiptReference> {
        let needed = z.bons.iter().any(|bon| bon.refers_to.is_some());
        let bons = z.bons.iter().filter(|_| needed);
        let named = bons.filter_map(|bon| {
            let place = self.place(key, z, bon).ok()?;
            let series = series(place.business_day).ok()?;
            let name = ReceiptReference { till: place.till, series, receipt: place.number };
            Some((bon.id.clone(), name))
        });
        named.collect()
    }

    fn fill(&self, receipt: &mut Receipt, z: &Z, bon: &Bon) -> Result<(), Fault> {
        let bookings = bon.positions.iter().map(|position| {
            let booking = usable("GV_TYP", booking(&position.case))?;
            Ok((position, booking))
        });
        let bookings: Vec<(&Position, Booking)> = bookings.collect::<Result<_, Fault>>()?;
        if !bookings.is_empty() && bookings.iter().all(|(_, what)| matches!(what, Booking::Cash(_)))
        {
            return cash_moves(receipt, &bookings);
        }
        self.lines(receipt, z, &bookings)?;
        if bon.void {
            receipt.flags.push(usable("a flag", Label::new(RECEIPT_VOID))?);
            receipt.lines.iter_mut().for_each(keep_kind);
        }
        totals(receipt, bon)?;
        receipt.vat = vat(z, bon)?;
        receipt.payments = payments(z, bon)?;
        Ok(())
    }

    fn lines(
        &self,
        receipt: &mut Receipt,
        z: &Z,
        bookings: &[(&Position, Booking)],
    ) -> Result<(), Fault> {
        let articles = &self.context.articles;
        let line = |position: &Position, kind: LineKind| {
            let at = |fault| Fault::Line(position.line.chars().take(40).collect(), fault);
            book::line(position, kind, z, articles).map_err(at)
        };
        for (position, booking) in bookings {
            match booking {
                Booking::Line(kind) => receipt.lines.push(line(position, kind.clone())?),
                Booking::Cash(_) => receipt.lines.push(line(position, LineKind::Other)?),
                Booking::Adjustment => {}
            }
        }
        for (position, _) in bookings.iter().filter(|(_, what)| *what == Booking::Adjustment) {
            let at = |fault| Fault::Line(position.line.chars().take(40).collect(), fault);
            let parts = book::adjustments(position).map_err(at)?;
            let carried = parts.iter().all(|part| {
                receipt.lines.iter().any(|line| line.vat_key == part.vat_key && !line.void)
            });
            if carried {
                receipt.adjustments.extend(parts);
            } else {
                receipt.lines.push(line(position, LineKind::Other)?);
            }
        }
        Ok(())
    }

    fn own_use(&self, receipt: &Receipt, z: &Z, bon: &Bon) -> Result<Vec<StockMovement>, Fault> {
        let mut movements = Vec::new();
        for position in &bon.positions {
            let booking = usable("GV_TYP", booking(&position.case))?;
            if booking != Booking::Line(LineKind::Sale) {
                continue;
            }
            let at = |fault| Fault::Line(position.line.chars().take(40).collect(), fault);
            let line = book::line(position, LineKind::Sale, z, &self.context.articles);
            let line = line.map_err(at)?;
            let (till, series, number) = (&receipt.till, &receipt.series, &receipt.receipt);
            let id = format!("dsfinvk/{till}/{series}/{number}/{}", line.position);
            let movement = StockMovement {
                id: usable("the movement's id", MovementId::new(&id))?,
                article: line.article,
                kind: StockKind::OwnUse,
                unit: line.unit,
                quantity_milli: -line.quantity_milli,
                occurred_at: receipt.ended_at,
                order: None,
                counterparty: None,
                reason: None,
                best_before: None,
                lot: None,
            };
            settle_movement(&movement).map_err(Fault::Settle)?;
            movements.push(movement);
        }
        Ok(movements)
    }
}

impl Decoder for DsfinvkDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        let export = export::read(&unit.bytes).map_err(|error| Refusal::because(&error))?;
        let (mut items, mut faults) = (Vec::new(), Vec::new());
        for (key, z) in &export {
            let booked = self.closing(key, z);
            items.extend(booked.items);
            faults.extend(booked.faults);
        }
        // The bytes are kept once, however many parts of them are at fault.
        if let Some((first, more)) = faults.split_first() {
            let first: String = first.chars().take(FAULT_CHARS_MAX).collect();
            let reason = match more {
                [] => first,
                [second] => format!("{first}; {second}"),
                [second, rest @ ..] => format!("{} more: {first}; {second}", rest.len()),
            };
            items.push(Item::Refused(Refusal::new(reason)));
        }
        Ok(items)
    }
}

fn usable<T>(what: &'static str, read: Result<T, IdError>) -> Result<T, Fault> {
    read.map_err(|error| Fault::Id(what, error))
}

/// A line of a receipt that takes back another one has the kind of the line that it turns.
fn keep_kind(line: &mut shared::receipt::Line) {
    if line.kind == LineKind::Return {
        line.kind = LineKind::Sale;
    } else if line.kind == LineKind::Sale && !line.void && line.amount_cents.0 > 0 {
        line.kind = LineKind::Return;
    }
}

fn receipt_number(text: &str) -> Result<ReceiptNumber, Fault> {
    usable("the receipt's number", ReceiptNumber::new(text))
}

/// Receipts of other sources of the same till are numbered within its business day too.
fn series(day: BusinessDay) -> Result<Series, Fault> {
    usable("the series", Series::new(&day.to_string()))
}

/// Tells why a transaction that enters no total does not count.
fn reason(kind: &str) -> Result<NotCounted, Fault> {
    Ok(match kind.to_ascii_lowercase().as_str() {
        "avtraining" => NotCounted::Training,
        "avbelegabbruch" | "avbelegstorno" => NotCounted::Aborted,
        "avbestellung" => NotCounted::Suspended,
        "avrechnung" | "avtransfer" | "avsachbezug" | "avsonstige" | "" => NotCounted::Other,
        _ => usable("BON_TYP", NotCounted::new(kind))?,
    })
}

fn cash_moves(receipt: &mut Receipt, bookings: &[(&Position, Booking)]) -> Result<(), Fault> {
    receipt.counts = false;
    receipt.reason = Some(NotCounted::CashMove);
    for (position, booking) in bookings {
        let Booking::Cash(word) = booking else { continue };
        let at = |fault| Fault::Line(position.line.chars().take(40).collect(), fault);
        let cents = cents(book::gross(position).map_err(at)?);
        receipt.cash_moves.push(CashMove { kind: usable("a cash move", Label::new(word))?, cents });
    }
    Ok(())
}

/// Holds the lines against the receipt's own total; what whole cents a line leave over is rounding.
fn totals(receipt: &mut Receipt, bon: &Bon) -> Result<(), Fault> {
    let mut made: i64 = 0;
    for position in &bon.positions {
        let at = |fault| Fault::Line(position.line.chars().take(40).collect(), fault);
        let gross = book::gross(position).map_err(at)?;
        made = made.checked_add(gross).ok_or(Fault::Total(LineFault::TooLarge))?;
    }
    let total = bon.total.unwrap_or(made);
    let mismatch = || Fault::Sum { found: cents(total), made: cents(made) };
    if cents(made) != cents(total) {
        return Err(mismatch());
    }
    receipt.total_cents = cents(total);
    let parts = receipt.lines.iter().map(|line| line.amount_cents);
    let parts = parts.chain(receipt.adjustments.iter().map(|part| part.cents));
    let booked = Cents::checked_sum(parts).ok_or(Fault::Total(LineFault::TooLarge))?;
    let rest = Cents(receipt.total_cents.0 - booked.0);
    if rest.0.unsigned_abs() > bon.positions.len() as u64 {
        return Err(mismatch());
    }
    if rest != Cents::ZERO {
        let rounding = AdjustmentKind::Rounding;
        let (id, vat_key) = (None, None);
        receipt.adjustments.push(shared::receipt::Adjustment {
            kind: rounding,
            id,
            vat_key,
            cents: rest,
        });
    }
    let adjustments = receipt.adjustments.iter().map(|part| part.cents);
    receipt.adjustment_cents =
        Cents::checked_sum(adjustments).ok_or(Fault::Total(LineFault::TooLarge))?;
    Ok(())
}

/// Returns VAT as the till summed it up, else as its lines make it.
fn vat(z: &Z, bon: &Bon) -> Result<Vec<Vat>, Fault> {
    let mut sums: BTreeMap<&str, [i64; 3]> = BTreeMap::new();
    let lines = bon.positions.iter().flat_map(|position| &position.vat);
    let rows: Vec<_> = if bon.vat.is_empty() { lines.collect() } else { bon.vat.iter().collect() };
    for (key, amounts) in rows {
        let sum = sums.entry(key).or_default();
        for (sum, part) in sum.iter_mut().zip(amounts) {
            *sum = sum.checked_add(*part).ok_or(Fault::Total(LineFault::TooLarge))?;
        }
    }
    let made = sums.into_iter().map(|(key, [gross, net, tax])| {
        Ok(Vat {
            key: usable("UST_SCHLUESSEL", Label::new(key))?,
            bp: z.rates.get(key).and_then(|rate| u32::try_from(*rate).ok()),
            gross_cents: cents(gross),
            net_cents: cents(net),
            tax_cents: cents(tax),
        })
    });
    made.collect()
}

fn payments(z: &Z, bon: &Bon) -> Result<Vec<Payment>, Fault> {
    let own = z.currency.as_deref().unwrap_or("EUR");
    let made = bon.payments.iter().map(|paid| {
        let foreign = !paid.currency.is_empty() && !paid.currency.eq_ignore_ascii_case(own);
        let currency = foreign.then(|| usable("ZAHLWAEH_CODE", Label::new(&paid.currency)));
        Ok(Payment {
            kind: payment_kind(&paid.kind, paid.amount),
            cents: cents(paid.amount),
            currency: currency.transpose()?,
        })
    });
    made.collect()
}
