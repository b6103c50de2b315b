//! Charge and pay items become lines, adjustments, payments and moves of cash. Amounts are read as
//! the decimal text they are: each rounds half up to the cent, and what that leaves against the
//! receipt's own total is an adjustment of at most one cent an item that had to be rounded.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use shared::ids::Article;
use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, CashMove, Line, Payment, Receipt, Vat};
use shared::words::{AdjustmentKind, LineKind, NotCounted, Unit};

use super::cases::{self, Charge, Pay};
use super::wire::{ChargeItem, PayItem, Request};
use super::{RowError, VENDOR, label, number};
use crate::format::article::{self, Articles};
use crate::format::json::whole;

/// Decimals to which tax amounts are summed before they are rounded: tills write up to 28, and what
/// lies beyond ten cannot reach a cent on any receipt.
const TAX_DECIMALS: usize = 10;

/// What marks a receipt that takes back an earlier one.
const RECEIPT_VOID: &str = "receipt_void";

/// A charge item with its figures read.
struct Charged<'a> {
    item: &'a ChargeItem<'a>,
    charge: Charge,
    cents: Cents,
    vat_key: u32,
    vat_bp: u32,
}

/// Fills in what a receipt that may count holds.
pub(super) fn fill(
    receipt: &mut Receipt,
    request: &Request<'_>,
    articles: &Articles,
    case: u64,
) -> Result<(), RowError> {
    let charged = charges(request)?;
    let pays = request.pays.as_deref().unwrap_or_default();
    let all_cash =
        |charged: &[Charged<'_>]| charged.iter().all(|item| matches!(item.charge, Charge::Cash(_)));
    let moves = pays.iter().any(|item| matches!(pay(item), Ok(Pay::Cash)));
    if all_cash(&charged) && (moves || !charged.is_empty()) {
        return move_cash(receipt, request);
    }
    if is_old_void(pays, case) {
        receipt.reason = Some(NotCounted::Aborted);
        return Ok(());
    }
    let paid = payments(receipt, pays)?;
    let sum = Cents::checked_sum(charged.iter().map(|item| item.cents));
    let made = sum.ok_or(RowError::TooLarge)?;
    let said = request.amount.map(|raw| cents("cbReceiptAmount", raw)).transpose()?;
    receipt.counts = true;
    receipt.total_cents = said.unwrap_or(if pays.is_empty() { made } else { paid });
    for (at, item) in charged.iter().enumerate() {
        if item.charge != Charge::Adjustment {
            receipt.lines.push(line(item, at, articles, cases::is_void(case))?);
        }
    }
    if cases::is_void(case) {
        receipt.flags.extend(label(RECEIPT_VOID));
    }
    adjust(receipt, &charged, made)?;
    receipt.vat = vat(&charged)?;
    Ok(())
}

/// A receipt that is paid with nothing but the word for its cancellation was given up: nobody paid
/// it, and the order behind it was no sale either. One that takes an earlier one back has the flag.
fn is_old_void(pays: &[PayItem<'_>], case: u64) -> bool {
    let voids = |item: &PayItem<'_>| {
        matches!(pay(item), Ok(Pay::Grant)) && cases::is_old_void(words(item.description.as_ref()))
    };
    !cases::is_void(case) && !pays.is_empty() && pays.iter().all(voids)
}

/// Reads cash put into the drawer or taken out of it: the charge items say it, else the pay items,
/// whose amounts are the other side.
pub(super) fn move_cash(receipt: &mut Receipt, request: &Request<'_>) -> Result<(), RowError> {
    receipt.reason = Some(NotCounted::CashMove);
    let by_sign = |cents: Cents| if cents.0 < 0 { "drop" } else { "float" };
    let mut add = |kind: &str, cents: Cents| {
        receipt.cash_moves.extend(label(kind).map(|kind| CashMove { kind, cents }));
    };
    let charged = charges(request)?;
    for item in &charged {
        match item.charge {
            Charge::Cash(kind) => add(kind.unwrap_or(by_sign(item.cents)), item.cents),
            Charge::Line(_) | Charge::Agency | Charge::Adjustment => {
                add(by_sign(item.cents), item.cents);
            }
        }
    }
    if !charged.is_empty() {
        return Ok(());
    }
    for item in request.pays.as_deref().unwrap_or_default() {
        if pay(item)? == Pay::Cash {
            let cents = cents("pay item", item.amount)?;
            add(by_sign(Cents(-cents.0)), Cents(-cents.0));
        }
    }
    Ok(())
}

fn charges<'a>(request: &'a Request<'a>) -> Result<Vec<Charged<'a>>, RowError> {
    let items = request.charges.as_deref().unwrap_or_default();
    let read = |item: &'a ChargeItem<'a>| {
        let code = code("ftChargeItemCase", item.case)?;
        // A rate has two decimals more than its basis points have none: 19.00 are 1900.
        let rate = item.vat_rate.map(|raw| cents("VATRate", raw)).transpose()?;
        let vat_bp = u32::try_from(rate.unwrap_or_default().0).ok();
        let vat_bp = vat_bp.filter(|&bp| bp <= 10_000).ok_or(RowError::Number("VATRate"))?;
        Ok(Charged {
            item,
            charge: cases::charge(code, words(item.description.as_ref())),
            cents: cents("charge item's amount", item.amount)?,
            vat_key: cases::vat_key(code, vat_bp),
            vat_bp,
        })
    };
    items.iter().map(read).collect()
}

fn line(item: &Charged<'_>, at: usize, articles: &Articles, void: bool) -> Result<Line, RowError> {
    let (kind, seller) = match &item.charge {
        // What comes back without the flag of a void is a return.
        Charge::Line(LineKind::Sale) if item.cents.0 < 0 && !void => (LineKind::Return, None),
        Charge::Line(kind) => (kind.clone(), None),
        Charge::Agency => (LineKind::Sale, label("agency")),
        Charge::Cash(_) | Charge::Adjustment => (LineKind::Other, None),
    };
    let (article, named) = article(item.item, articles)?;
    let (unit, quantity) = quantity(item)?;
    let position = item.item.position.and_then(whole).filter(|&position| position > 0);
    let position = position.and_then(|position| u32::try_from(position).ok());
    Ok(Line {
        position: position.or(u32::try_from(at + 1).ok()).ok_or(RowError::TooLarge)?,
        article,
        text: if named { None } else { label(words(item.item.description.as_ref()).trim()) },
        kind,
        void: false,
        unit,
        quantity_milli: quantity,
        amount_cents: item.cents,
        discount_cents: Cents::ZERO,
        adjustment_share_cents: Cents::ZERO,
        vat_key: label(item.vat_key),
        vat_bp: Some(item.vat_bp),
        reductions: Vec::new(),
        seller,
        restock: None,
    })
}

/// Returns the article, and whether a number names it.
fn article(item: &ChargeItem<'_>, articles: &Articles) -> Result<(Article, bool), RowError> {
    let given =
        |text: &Option<String>| text.as_deref().map(str::trim).unwrap_or_default().to_owned();
    let (barcode, number) = (given(&item.barcode), given(&item.number));
    let found = if !barcode.is_empty() {
        articles.scanned(&barcode, VENDOR).map(|scanned| (scanned.article, true))
    } else if !number.is_empty() {
        article::own(VENDOR, &number).map(|article| (article, true))
    } else {
        let text = words(item.description.as_ref());
        articles.text(if text.trim().is_empty() { "-" } else { text }).map(|it| (it, false))
    };
    found.map_err(|fault| RowError::Id("article", fault))
}

/// Returns the unit and the quantity. The amount has the sign: tills void a line with a positive
/// quantity. The quantity in the unit is that of one piece, as DSFinV-K has it (MENGE x FAKTOR).
fn quantity(item: &Charged<'_>) -> Result<(Unit, Milli), RowError> {
    let read = |what, raw: Option<&RawValue>| match raw {
        None => Ok(1000),
        Some(raw) if raw.get() == "null" => Ok(1000),
        Some(raw) => {
            let milli = Milli::parse_half_up(number(what, raw)?);
            milli.map(|milli| milli.0).map_err(|fault| RowError::Amount(what, fault))
        }
    };
    let pieces = read("Quantity", item.item.quantity)?;
    let factor = read("UnitQuantity", item.item.unit_quantity)?;
    let factor = if factor == 0 { 1000 } else { factor };
    let unit = match words(item.item.unit.as_ref()).trim().to_lowercase().as_str() {
        "kg" | "kilo" | "kilogramm" => Some(Unit::Kilograms),
        "l" | "lt" | "liter" => Some(Unit::Litres),
        "m" | "meter" => Some(Unit::Metres),
        "" | "stk" | "stk." | "stück" | "st" | "pcs" | "piece" => Some(Unit::Pieces),
        _ => None,
    };
    // A unit that is not known says nothing: the pieces remain.
    let (unit, factor) = unit.map_or((Unit::Pieces, 1000), |unit| (unit, factor));
    let product = i128::from(pieces) * i128::from(factor);
    let rounded = (product.abs() + 500) / 1000;
    let milli = i64::try_from(rounded).map_err(|_| RowError::TooLarge)?;
    let negative = item.cents.0 < 0 || (item.cents.0 == 0 && product < 0);
    Ok((unit, Milli(if negative { -milli } else { milli })))
}

/// Adds the adjustments that the till says, and the rounding that the total shows.
fn adjust(receipt: &mut Receipt, charged: &[Charged<'_>], made: Cents) -> Result<(), RowError> {
    for item in charged.iter().filter(|item| item.charge == Charge::Adjustment) {
        let key = label(item.vat_key);
        let borne = receipt.lines.iter().any(|line| line.vat_key == key);
        receipt.adjustments.push(Adjustment {
            kind: AdjustmentKind::Other,
            id: None,
            vat_key: key.filter(|_| borne),
            cents: item.cents,
        });
    }
    let said = receipt.total_cents;
    let off = said.0.checked_sub(made.0).ok_or(RowError::TooLarge)?;
    if off != 0 {
        let fine = charged.iter().filter(|item| is_fine(item.item.amount)).count();
        if usize::try_from(off.unsigned_abs()).map_or(true, |off| off > fine) {
            return Err(RowError::Rounding { made, said });
        }
        let kind = AdjustmentKind::Rounding;
        receipt.adjustments.push(Adjustment { kind, id: None, vat_key: None, cents: Cents(off) });
    }
    let sum = Cents::checked_sum(receipt.adjustments.iter().map(|part| part.cents));
    receipt.adjustment_cents = sum.ok_or(RowError::TooLarge)?;
    Ok(())
}

/// Tells whether an amount has digits below the cent.
fn is_fine(raw: &RawValue) -> bool {
    let fraction = raw.get().trim_matches('"').split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.len() > 2 && fraction[2..].bytes().any(|digit| digit != b'0')
}

/// Adds the payments and returns their sum.
fn payments(receipt: &mut Receipt, pays: &[PayItem<'_>]) -> Result<Cents, RowError> {
    for item in pays {
        let kind = match pay(item)? {
            Pay::Means(kind) => kind,
            Pay::Grant | Pay::Cash => shared::words::PaymentKind::Other,
        };
        let cents = cents("pay item's amount", item.amount)?;
        receipt.payments.push(Payment { kind, cents, currency: None });
    }
    let sum = Cents::checked_sum(receipt.payments.iter().map(|payment| payment.cents));
    sum.ok_or(RowError::TooLarge)
}

fn pay(item: &PayItem<'_>) -> Result<Pay, RowError> {
    Ok(cases::pay(code("ftPayItemCase", item.case)?, words(item.description.as_ref())))
}

/// Sums up VAT per key as the till computed it; nothing where it computed none.
fn vat(charged: &[Charged<'_>]) -> Result<Vec<Vat>, RowError> {
    let mut sums: BTreeMap<(u32, u32), (Cents, i128)> = BTreeMap::new();
    for item in charged {
        let Some(raw) = item.item.vat_amount else { return Ok(Vec::new()) };
        let sum = sums.entry((item.vat_key, item.vat_bp)).or_default();
        sum.0 = sum.0.checked_add(item.cents).ok_or(RowError::TooLarge)?;
        sum.1 += fine_digits(number("VATAmount", raw)?).ok_or(RowError::Number("VATAmount"))?;
    }
    let row = |((key, bp), (gross_cents, tax)): ((u32, u32), (Cents, i128))| {
        let per_cent = 10_i128.pow(u32::try_from(TAX_DECIMALS - 2).unwrap_or(0));
        let rounded = (tax.abs() + per_cent / 2) / per_cent * tax.signum();
        let tax = i64::try_from(rounded).map_err(|_| RowError::TooLarge)?;
        let net = gross_cents.0.checked_sub(tax).ok_or(RowError::TooLarge)?;
        let key = label(key).ok_or(RowError::Number("VAT key"))?;
        let (net_cents, tax_cents) = (Cents(net), Cents(tax));
        Ok(Vat { key, bp: Some(bp), gross_cents, net_cents, tax_cents })
    };
    sums.into_iter().map(row).collect()
}

/// Returns a decimal in units of its tenth digit; finer ones are cut off.
fn fine_digits(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.get(..fraction.len().min(TAX_DECIMALS))?;
    let all = format!("{whole}{fraction:0<TAX_DECIMALS$}");
    let fits = whole.len() <= 16 && all.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| all.parse::<i128>().ok())?.map(|value| sign * value)
}

/// Reads an amount; finer digits round half up.
pub(super) fn cents(what: &'static str, raw: &RawValue) -> Result<Cents, RowError> {
    Cents::parse_half_up(number(what, raw)?).map_err(|fault| RowError::Amount(what, fault))
}

/// An item without a code is one of an unknown kind.
fn code(what: &'static str, raw: Option<&RawValue>) -> Result<u64, RowError> {
    raw.map_or(Ok(0), |raw| whole(raw).ok_or(RowError::Number(what)))
}

fn words(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}
