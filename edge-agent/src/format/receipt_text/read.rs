//! Reads a receipt's lines by a profile. What comes out is still the receipt's own: its letters for
//! VAT, its unsigned quantities. Lines of other parts than goods are taken where a pattern wants them.

use shared::ids::{IdError, Label};
use shared::money::{Cents, DecimalError, Milli};
use shared::receipt::{CashMove, Payment};
use shared::words::{AdjustmentKind, LineKind, NotCounted, Unit};

use super::figures;
use super::pattern::Found;
use super::profile::{DiscountOf, Mark, Of, Profile, Where};
use crate::format::StoreFault;
use crate::format::settle::SettleFault;
use crate::format::stamp::StampError;

/// Characters of the widest paper, many times over.
const LINE_CHARS_MAX: usize = 512;

/// Why a text is no receipt that can be counted. Lines are numbered from 1 within the receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// A line is longer than any paper is wide.
    #[error("line {0} is longer than any paper is wide")]
    Long(usize),
    /// Where the goods begin is not found.
    #[error("where its goods begin is not found")]
    NoGoods,
    /// A line among the goods is not understood.
    #[error("line {0} among the goods is not understood")]
    Line(usize),
    /// A line says how much of an item, and no item is there.
    #[error("line {0} stands at no item")]
    NoItem(usize),
    /// A figure is not readable.
    #[error("the figure in line {0} is not readable")]
    Figure(usize, #[source] DecimalError),
    /// Quantity and price do not make the amount.
    #[error("line {0}: quantity and price do not make the amount")]
    Quantity(usize),
    /// A unit of quantity is not known.
    #[error("line {0}: its unit is not known")]
    Unit(usize),
    /// What every receipt has is missing.
    #[error("its {0} is missing")]
    Missing(&'static str),
    /// What a receipt has once is there twice.
    #[error("it has two of {0}: two receipts stand in one")]
    Two(&'static str),
    /// What a receipt names cannot be named so.
    #[error("its {0} is not usable")]
    Id(&'static str, #[source] IdError),
    /// The date or time is none.
    #[error("its date or time is none")]
    Date,
    /// The date or time is no moment.
    #[error("its time is not usable")]
    Time(#[source] StampError),
    /// A letter for VAT is not in the receipt's own table.
    #[error("the VAT letter {0:?} is not in its own table")]
    Letter(Label),
    /// A rate of VAT has no key.
    #[error("a VAT rate of {0} basis points has no key")]
    Rate(u32),
    /// The receipt's own table of VAT contradicts it.
    #[error("VAT key {key}: {what} make {made}, {said} is printed")]
    Vat {
        /// The key.
        key: Label,
        /// What was summed.
        what: &'static str,
        /// Its sum.
        made: Cents,
        /// What is printed.
        said: Cents,
    },
    /// Several receipts stand beside one code.
    #[error("several receipts stand in one and only one TSE code")]
    OneCode,
    /// The code of the security device contradicts the text.
    #[error("VAT key {key}: the text says {text}, the TSE code says {code}")]
    Code {
        /// The key.
        key: usize,
        /// By the text.
        text: Cents,
        /// By the code.
        code: Cents,
    },
    /// It is of another store.
    #[error("it is of another store")]
    Store(#[source] StoreFault),
    /// Its figures contradict each other.
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// What names a receipt.
#[derive(Debug, Default)]
pub(super) struct Key<'a> {
    pub(super) date: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) market: Option<&'a str>,
    pub(super) till: Option<&'a str>,
    pub(super) receipt: Option<&'a str>,
}

/// A position.
#[derive(Debug)]
pub(super) struct Goods {
    pub(super) text: String,
    pub(super) letter: Option<Label>,
    pub(super) kind: LineKind,
    pub(super) void: bool,
    pub(super) amount: Cents,
    /// Without its sign.
    pub(super) quantity: Milli,
    pub(super) unit: Unit,
    pub(super) reductions: Vec<(AdjustmentKind, Cents)>,
}

/// A discount on the whole receipt.
#[derive(Debug)]
pub(super) struct Off {
    pub(super) kind: AdjustmentKind,
    pub(super) letter: Option<Label>,
    pub(super) cents: Cents,
}

/// A row of the table of VAT.
#[derive(Debug)]
pub(super) struct VatRow {
    pub(super) letter: Label,
    /// In hundredths of a percent.
    pub(super) rate: Cents,
    pub(super) net: Cents,
    pub(super) tax: Cents,
    pub(super) gross: Cents,
}

/// A sale as it is printed.
#[derive(Debug, Default)]
pub(super) struct Sale {
    pub(super) goods: Vec<Goods>,
    pub(super) off: Vec<Off>,
    pub(super) vat: Vec<VatRow>,
    pub(super) total: Option<Cents>,
    pub(super) payments: Vec<Payment>,
}

/// What a receipt's text turns out to be.
#[derive(Debug)]
pub(super) enum Slip {
    Sale(Sale),
    NotCounted(NotCounted, Option<CashMove>),
    Closing {
        number: Label,
        total: Cents,
    },
    /// Nothing that has a number.
    Nothing,
}

/// How much of an item, with the price of one where it is said.
#[derive(Debug)]
struct Amount {
    line: usize,
    quantity: Milli,
    unit: Unit,
    price: Option<Cents>,
}

struct Reader<'p> {
    profile: &'p Profile,
    sale: Sale,
    below: Option<Amount>,
}

/// Reads what a receipt is and what it holds.
pub(super) fn read(profile: &Profile, lines: &[&str]) -> Result<Slip, ReadFault> {
    if let Some(at) = lines.iter().position(|line| line.len() > LINE_CHARS_MAX) {
        return Err(ReadFault::Long(at + 1));
    }
    let begin = lines.iter().position(|line| profile.items.begin.matches(line));
    let (head, body) = lines.split_at(begin.unwrap_or(lines.len()));
    if let Some(layout) = &profile.closing
        && head.iter().any(|line| layout.begin.matches(line))
    {
        let number = once(lines, |line| layout.number.find(line)?.group("number"), "number")?;
        let total = once(lines, |line| layout.total.find(line)?.group("amount"), "total")?;
        let total = figures::cents(total).map_err(|error| ReadFault::Figure(0, error))?;
        let number = Label::new(number).map_err(|error| ReadFault::Id("number", error))?;
        return Ok(Slip::Closing { number, total });
    }
    if let Some(mark) = mark(profile, head, body) {
        return marked(mark, lines);
    }
    let begin = begin.ok_or(ReadFault::NoGoods)?;
    let mut reader = Reader { profile, sale: Sale::default(), below: None };
    for (at, line) in lines.iter().enumerate().skip(begin + 1) {
        if !line.trim().is_empty() {
            reader.line(at + 1, line)?;
        }
    }
    match reader.below {
        Some(amount) => Err(ReadFault::NoItem(amount.line)),
        None => Ok(Slip::Sale(reader.sale)),
    }
}

/// Reads what names the receipt, wherever it stands.
pub(super) fn key<'a>(profile: &Profile, lines: &[&'a str]) -> Result<Key<'a>, ReadFault> {
    let mut key = Key::default();
    for line in lines {
        for found in profile.key.iter().filter_map(|pattern| pattern.find(line)) {
            for (name, place) in [
                ("date", &mut key.date),
                ("time", &mut key.time),
                ("market", &mut key.market),
                ("till", &mut key.till),
                ("receipt", &mut key.receipt),
            ] {
                let Some(text) = found.group(name) else { continue };
                if place.is_some_and(|known| known != text) {
                    return Err(ReadFault::Two(name));
                }
                *place = Some(text);
            }
        }
    }
    Ok(key)
}

fn once<'a>(
    lines: &[&'a str],
    find: impl Fn(&'a str) -> Option<&'a str>,
    what: &'static str,
) -> Result<&'a str, ReadFault> {
    let mut all = lines.iter().filter_map(|line| find(line));
    match (all.next(), all.next()) {
        (Some(text), None) => Ok(text),
        (None, _) => Err(ReadFault::Missing(what)),
        (Some(_), Some(_)) => Err(ReadFault::Two(what)),
    }
}

fn mark<'p>(profile: &'p Profile, head: &[&str], body: &[&str]) -> Option<&'p Mark> {
    let first = head.iter().find(|line| !line.trim().is_empty());
    profile.not_counted.iter().find(|mark| match mark.place {
        Where::First => first.is_some_and(|line| mark.pattern.matches(line)),
        Where::Head => head.iter().any(|line| mark.pattern.matches(line)),
        Where::Body => body.iter().any(|line| mark.pattern.matches(line)),
    })
}

fn marked(mark: &Mark, lines: &[&str]) -> Result<Slip, ReadFault> {
    if mark.keyless {
        return Ok(Slip::Nothing);
    }
    let Some(cash) = &mark.cash else {
        return Ok(Slip::NotCounted(mark.reason.clone(), None));
    };
    let amount = once(lines, |line| cash.pattern.find(line)?.group("amount"), "amount of cash")?;
    let cents = figures::cents(amount).map_err(|error| ReadFault::Figure(0, error))?;
    let cents = if cash.out { -cents } else { cents };
    let moved = CashMove { kind: cash.kind.clone(), cents };
    Ok(Slip::NotCounted(mark.reason.clone(), Some(moved)))
}

impl Reader<'_> {
    fn line(&mut self, at: usize, line: &str) -> Result<(), ReadFault> {
        if self.profile.items.begin.matches(line) {
            return Err(ReadFault::Two("column heads"));
        }
        if let Some(found) = self.profile.total.find(line) {
            if self.sale.total.is_some() {
                return Err(ReadFault::Two("totals"));
            }
            self.sale.total = Some(cents(&found, "amount", at)?);
            return Ok(());
        }
        if self.sale.total.is_some() { self.foot(at, line) } else { self.goods(at, line) }
    }

    fn goods(&mut self, at: usize, line: &str) -> Result<(), ReadFault> {
        let items = &self.profile.items;
        for refine in &items.refine {
            if let Some(found) = refine.pattern.find(line) {
                let amount = amount(&found, at)?.ok_or(ReadFault::Line(at))?;
                return self.refine(amount, refine.of);
            }
        }
        if let Some(found) = items.lines.iter().find_map(|pattern| pattern.find(line)) {
            return self.item(at, &found);
        }
        if items.ignore.iter().any(|pattern| pattern.matches(line)) {
            return Ok(());
        }
        Err(ReadFault::Line(at))
    }

    fn refine(&mut self, amount: Amount, of: Of) -> Result<(), ReadFault> {
        match of {
            Of::ItemAbove => {
                let goods = self.sale.goods.last_mut().ok_or(ReadFault::NoItem(amount.line))?;
                goods.take(&amount)
            }
            Of::ItemBelow if self.below.is_some() => Err(ReadFault::NoItem(amount.line)),
            Of::ItemBelow => {
                self.below = Some(amount);
                Ok(())
            }
        }
    }

    fn item(&mut self, at: usize, found: &Found<'_>) -> Result<(), ReadFault> {
        let text = found.group("text").unwrap_or("");
        let letter = found.group("letter").map(Label::new).transpose();
        let letter = letter.map_err(|error| ReadFault::Id("VAT letter", error))?;
        let cents = cents(found, "amount", at)?;
        let items = &self.profile.items;
        if let Some(discount) = items.discounts.iter().find(|off| off.text.matches(text)) {
            let kind = discount.kind.clone();
            match discount.of {
                DiscountOf::Receipt => self.sale.off.push(Off { kind, letter, cents }),
                DiscountOf::ItemAbove => {
                    let goods = self.sale.goods.last_mut().ok_or(ReadFault::NoItem(at))?;
                    goods.reductions.push((kind, cents));
                }
            }
            return Ok(());
        }
        let kind = items.kinds.iter().find_map(|kind| Some((kind, kind.text.find(text)?)));
        let (kind, void, text) = match &kind {
            Some((kind, found)) => {
                (kind.kind.clone(), kind.void, found.group("text").unwrap_or(text))
            }
            None => (LineKind::Sale, false, text),
        };
        let text = items.strip.as_ref().map_or_else(|| text.to_owned(), |off| off.stripped(text));
        let (quantity, unit) = (Milli(1000), Unit::Pieces);
        let reductions = Vec::new();
        let mut goods =
            Goods { text, letter, kind, void, amount: cents, quantity, unit, reductions };
        if let Some(amount) = amount(found, at)? {
            goods.take(&amount)?;
        }
        if let Some(amount) = self.below.take() {
            goods.take(&amount)?;
        }
        self.sale.goods.push(goods);
        Ok(())
    }

    fn foot(&mut self, at: usize, line: &str) -> Result<(), ReadFault> {
        if let Some(found) = self.profile.vat.row.find(line) {
            let letter = found.group("letter").unwrap_or("");
            let row = VatRow {
                letter: Label::new(letter).map_err(|error| ReadFault::Id("VAT letter", error))?,
                rate: cents(&found, "rate", at)?,
                net: cents(&found, "net", at)?,
                tax: cents(&found, "tax", at)?,
                gross: cents(&found, "gross", at)?,
            };
            if self.sale.vat.iter().any(|other| other.letter == row.letter) {
                return Err(ReadFault::Two("VAT rows of one letter"));
            }
            self.sale.vat.push(row);
            return Ok(());
        }
        let paid = |paid: &super::profile::Paid| {
            paid.pattern.find(line).map(|found| (paid.kind.clone(), paid.back, found))
        };
        if let Some((kind, back, found)) = self.profile.payments.iter().find_map(paid) {
            let cents = cents(&found, "amount", at)?;
            let cents = if back { -cents } else { cents };
            self.sale.payments.push(Payment { kind, cents, currency: None });
        }
        Ok(())
    }
}

impl Goods {
    /// Takes a quantity. It must make the amount: pieces exactly, what is weighed to a cent.
    fn take(&mut self, amount: &Amount) -> Result<(), ReadFault> {
        if let Some(price) = amount.price {
            let thousandths = i128::from(amount.quantity.0) * i128::from(price.0);
            let printed = i128::from(self.amount.0).abs() * 1000;
            let slack = if amount.unit == Unit::Pieces { 0 } else { 1000 };
            if (thousandths.abs() - printed).abs() > slack {
                return Err(ReadFault::Quantity(amount.line));
            }
        }
        let quantity = amount.quantity.0.checked_abs().ok_or(ReadFault::Quantity(amount.line))?;
        (self.quantity, self.unit) = (Milli(quantity), amount.unit.clone());
        Ok(())
    }
}

/// Reads a quantity with unit and price where the pattern found one.
fn amount(found: &Found<'_>, line: usize) -> Result<Option<Amount>, ReadFault> {
    let Some(quantity) = found.group("quantity") else { return Ok(None) };
    let quantity = figures::milli(quantity).map_err(|error| ReadFault::Figure(line, error))?;
    let unit = match found.group("unit").unwrap_or("Stk") {
        "Stk" | "Stk." | "St" | "St." | "x" => Unit::Pieces,
        "kg" | "KG" => Unit::Kilograms,
        "l" | "L" => Unit::Litres,
        "m" | "M" => Unit::Metres,
        _ => return Err(ReadFault::Unit(line)),
    };
    let price = found.group("price").map(figures::cents).transpose();
    let price = price.map_err(|error| ReadFault::Figure(line, error))?;
    Ok(Some(Amount { line, quantity, unit, price }))
}

fn cents(found: &Found<'_>, group: &'static str, line: usize) -> Result<Cents, ReadFault> {
    let text = found.group(group).ok_or(ReadFault::Missing(group))?;
    figures::cents(text).map_err(|error| ReadFault::Figure(line, error))
}
