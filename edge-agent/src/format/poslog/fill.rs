//! Fills a receipt by its dialect's rules: each figure without its sign, turned by the dialect's
//! direction; adjustments read and never computed, but for what the rounding of sub-cent lines leaves.

use shared::ids::{Article, Label};
use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, Line, Payment, Receipt, Reduction, Vat};
use shared::words::{AdjustmentKind, LineKind, PaymentKind, Unit};

use super::record::{
    Change, Discount, Item, LineFlags, Modifier, Retail, Rounding, Tender, VatTotal,
};
use super::rules::{self, Direction, Mark, Mode, OwnKind, Part, Rules, Standing};
use super::{Fault, figure, label, milli, needed, sum, total};
use crate::format::article::{self, Articles};

/// What a receipt is filled by.
pub(super) struct Filler<'a> {
    pub(super) rules: &'a Rules,
    pub(super) articles: &'a Articles,
    pub(super) standing: Standing,
}

/// An amount, and whether it was finer than a cent.
struct Amount {
    cents: Cents,
    fine: bool,
}

impl Filler<'_> {
    /// Fills in lines, VAT, adjustments, payments and total.
    pub(super) fn fill(&self, receipt: &mut Receipt, retail: &Retail) -> Result<(), Fault> {
        let mut fine_lines = 0;
        for (at, item) in retail.items.iter().enumerate() {
            if let Some((line, fine)) = self.line(item, at + 1)? {
                fine_lines += i64::from(fine);
                receipt.lines.push(line);
            }
        }
        for discount in &retail.discounts {
            receipt.adjustments.extend(self.discount(discount)?);
        }
        for rounding in &retail.roundings {
            receipt.adjustments.extend(self.rounding(rounding)?);
        }
        receipt.total_cents = total(retail, "TransactionGrandAmount")?;
        receipt.payments = self.payments(retail)?;
        round(receipt, fine_lines)?;
        let adjustments = receipt.adjustments.iter().map(|part| part.cents);
        receipt.adjustment_cents = sum("the adjustments", adjustments)?;
        for vat in &retail.taxes {
            receipt.vat.extend(self.vat(vat, &receipt.lines)?);
        }
        Ok(())
    }

    /// Returns the line and whether its amount was finer than a cent, or nothing where it never counted.
    fn line(&self, item: &Item, place: usize) -> Result<Option<(Line, bool)>, Fault> {
        let quantity = milli("Quantity", &item.quantity)?;
        let amount = amount("ExtendedAmount", &item.amount)?;
        let discount = match &item.discount {
            None => Cents::ZERO,
            Some(_) => figure("ExtendedDiscountAmount", &item.discount)?.abs(),
        };
        let negative = item.item_type.as_deref() == Some("NegativeItem");
        let back = (item.returned || rules::gives_back(item.item_type.as_deref())) != negative;
        let mark = Mark {
            part: if back { Part::Return } else { Part::Sale },
            flags: item.flags,
            standing: self.standing,
            mode: mode(item),
            quantity: quantity.0.signum(),
            amount: amount.cents.0.signum(),
        };
        let sign = match (self.rules.direction)(&mark) {
            Direction::Plus => 1,
            Direction::Minus => -1,
            Direction::Nothing => return Ok(None),
            Direction::Unknown => return Err(Fault::Sign("a line's flags and figures")),
        };
        let kind = self.kind(item, &mark)?;
        let void = item.flags.void;
        let unsaid = if item.weighed { Unit::Kilograms } else { Unit::Pieces };
        let line = Line {
            position: position(item, place)?,
            article: self.article(item)?,
            text: None,
            restock: restock(item, &kind),
            kind,
            void,
            unit: rules::unit(item.unit.as_deref(), unsaid)
                .map_err(|error| Fault::Id("UnitOfMeasureCode", error))?,
            quantity_milli: Milli(sign * quantity.abs().0),
            amount_cents: Cents(sign * amount.cents.abs().0),
            discount_cents: Cents(sign * discount.0),
            adjustment_share_cents: Cents::ZERO,
            vat_key: label("TaxGroupID", &item.vat_key)?,
            vat_bp: basis_points(&item.vat_percent)?,
            reductions: reductions(item, discount, quantity, sign)?,
            seller: None,
        };
        Ok(Some((line, amount.fine)))
    }

    fn kind(&self, item: &Item, mark: &Mark) -> Result<LineKind, Fault> {
        match (self.rules.kind)(item) {
            OwnKind::Is(kind) => return Ok(kind),
            OwnKind::Refused => return Err(Fault::Word("ItemType")),
            OwnKind::Standard => {}
        }
        // A void keeps the kind of what it takes back.
        let unturned = Mark { flags: LineFlags::default(), standing: Standing::Own, ..*mark };
        Ok(rules::standard_kind(item, (self.rules.direction)(&unturned)))
    }

    /// Finds the number that means most: a GTIN that was scanned, a GTIN, a PLU, the vendor's own.
    fn article(&self, item: &Item) -> Result<Article, Fault> {
        let fault = |error| Fault::Id("ItemID", error);
        let is_plu = |kind: &Option<String>| kind.as_deref() == Some("PLU");
        let mut codes = item.scanned.iter().filter(|(kind, _)| !is_plu(kind)).map(|(_, code)| code);
        let gtin = codes
            .find(|code| article::is_gtin(code))
            .or_else(|| item.id.as_ref().filter(|code| article::is_gtin(code)));
        if gtin.is_none()
            && let Some((_, plu)) = item.scanned.iter().find(|(kind, _)| is_plu(kind))
        {
            let plu = Some(plu.clone());
            return article::plu(needed("POSItemID", &plu)?).map_err(fault);
        }
        let scanned = item.scanned.first().map(|(_, code)| code);
        let code = gtin.or(item.id.as_ref()).or(scanned).cloned();
        let scanned = self.articles.scanned(needed("ItemID", &code)?, self.rules.vendor);
        scanned.map(|scanned| scanned.article).map_err(fault)
    }

    fn sign(&self, what: &'static str, mark: Mark) -> Result<Option<i64>, Fault> {
        match (self.rules.direction)(&mark) {
            Direction::Plus => Ok(Some(1)),
            Direction::Minus => Ok(Some(-1)),
            Direction::Nothing => Ok(None),
            Direction::Unknown => Err(Fault::Sign(what)),
        }
    }

    fn mark(&self, part: Part, flags: LineFlags, cents: Cents) -> Mark {
        let (standing, mode) = (self.standing, Mode::Unsaid);
        Mark { part, flags, standing, mode, quantity: 0, amount: cents.0.signum() }
    }

    fn discount(&self, discount: &Discount) -> Result<Option<Adjustment>, Fault> {
        let cents = figure("Amount of a discount", &discount.amount)?;
        let sign = self.sign("a discount", self.mark(Part::Discount, discount.flags, cents))?;
        let kind = adjustment_kind(discount.kind.as_deref());
        let (id, vat_key) =
            (label("PromotionID", &discount.promotion)?, label("TaxGroupID", &discount.vat_key)?);
        let adjustment =
            |sign| Adjustment { kind, id, vat_key, cents: Cents(sign * cents.abs().0) };
        Ok(sign.map(adjustment))
    }

    /// Reads a rounding: `Down` lowers the total, `Up` raises it, else its sign stands in the file.
    fn rounding(&self, rounding: &Rounding) -> Result<Option<Adjustment>, Fault> {
        let read = figure("Rounding", &rounding.amount)?;
        let cents = match rounding.direction.as_deref() {
            Some("Down") => -read.abs(),
            Some("Up") => read.abs(),
            None => read,
            Some(_) => return Err(Fault::Word("RoundingDirection")),
        };
        let sign = self.sign("a rounding", self.mark(Part::Signed, rounding.flags, cents))?;
        let adjustment = |sign| Adjustment {
            kind: AdjustmentKind::Rounding,
            id: None,
            vat_key: None,
            cents: Cents(sign * cents.abs().0),
        };
        Ok(sign.map(adjustment).filter(|adjustment| adjustment.cents != Cents::ZERO))
    }

    fn payments(&self, retail: &Retail) -> Result<Vec<Payment>, Fault> {
        let mut found = Vec::with_capacity(retail.tenders.len());
        for tender in &retail.tenders {
            let cents = figure("Amount of a tender", &tender.amount)?;
            let mark = self.mark(rules::tender_part(tender), tender.flags, cents);
            if let Some(sign) = self.sign("a tender", mark)? {
                found.push((tender, Cents(sign * cents.abs().0)));
            }
        }
        let gives_cash = |tender: &Tender| {
            tender.change == Change::No && self.payment(tender) == PaymentKind::Cash
        };
        let by_card = |(tender, cents): &(&Tender, Cents)| {
            tender.change == Change::No && !gives_cash(tender) && cents.0 > 0
        };
        // On top of a card alone; where nothing was given, goods were taken back for cash.
        let is_cashback =
            found.iter().any(by_card) && !found.iter().any(|(tender, _)| gives_cash(tender));
        let back = if is_cashback { PaymentKind::Cashback } else { PaymentKind::Change };
        let payment = |(tender, cents): (&Tender, Cents)| {
            let kind = match tender.change {
                Change::Yes => back.clone(),
                Change::No => self.payment(tender),
            };
            Payment { kind, cents, currency: None }
        };
        Ok(found.into_iter().map(payment).collect())
    }

    fn payment(&self, tender: &Tender) -> PaymentKind {
        (self.rules.payment)(tender).unwrap_or_else(|| rules::standard_payment(tender))
    }

    /// Reads VAT as the till computed it. A row without a key is none that readers could add up.
    fn vat(&self, vat: &VatTotal, lines: &[Line]) -> Result<Option<Vat>, Fault> {
        let Some(key) = label("TaxGroupID", &vat.key)? else { return Ok(None) };
        if vat.taxable.is_none() || vat.amount.is_none() {
            return Ok(None);
        }
        let taxable = figure("TaxableAmount", &vat.taxable)?;
        let tax = figure("Amount of a tax", &vat.amount)?;
        let Some(sign) = self.sign("a tax", self.mark(Part::Signed, vat.flags, taxable))? else {
            return Ok(None);
        };
        let gross = if vat.taxable_holds_tax {
            taxable.abs()
        } else {
            sum("a tax", [taxable.abs(), tax.abs()])?
        };
        // Where figures are absolute a row's sign is that of the lines it sums up.
        let of_key = lines.iter().filter(|line| line.vat_key.as_ref() == Some(&key));
        let of_key = sum("the lines of a VAT key", of_key.map(|line| line.amount_cents))?;
        let sign = if of_key == Cents::ZERO { sign } else { of_key.0.signum() };
        let net = sum("a tax", [gross, -tax.abs()])?;
        Ok(Some(Vat {
            key,
            bp: basis_points(&vat.percent)?,
            gross_cents: Cents(sign * gross.0),
            net_cents: Cents(sign * net.0),
            tax_cents: Cents(sign * tax.abs().0),
        }))
    }
}

/// What the rounding of lines finer than a cent leaves is an adjustment, at most a cent a line.
fn round(receipt: &mut Receipt, fine_lines: i64) -> Result<(), Fault> {
    let lines = receipt.lines.iter().map(|line| line.amount_cents);
    let parts = lines.chain(receipt.adjustments.iter().map(|part| part.cents));
    let made = sum("the lines", parts)?;
    let rest = sum("the total", [receipt.total_cents, -made])?;
    if rest != Cents::ZERO && rest.abs().0 <= fine_lines {
        let (kind, id, vat_key) = (AdjustmentKind::Rounding, None, None);
        receipt.adjustments.push(Adjustment { kind, id, vat_key, cents: rest });
    }
    Ok(())
}

fn amount(name: &'static str, field: &Option<String>) -> Result<Amount, Fault> {
    let cents = figure(name, field)?;
    let fine = Cents::parse(needed(name, field)?).is_err();
    Ok(Amount { cents, fine })
}

fn mode(item: &Item) -> Mode {
    match item.mode.as_deref() {
        None => Mode::Unsaid,
        Some("MODE_NORMAL" | "NORMAL") => Mode::Normal,
        Some("RETOUR") => Mode::Return,
        Some(_) => Mode::Unknown,
    }
}

fn position(item: &Item, place: usize) -> Result<u32, Fault> {
    let place = u32::try_from(place).map_err(|_| Fault::TooLarge("the number of lines"));
    match &item.position {
        None => place,
        Some(text) => text.parse().map_err(|_| Fault::Word("SequenceNumber of a line")),
    }
}

fn restock(item: &Item, kind: &LineKind) -> Option<bool> {
    let disposal = item.disposal.as_deref().filter(|_| *kind == LineKind::Return);
    disposal.map(|method| method == "ReturnToStock")
}

fn basis_points(percent: &Option<String>) -> Result<Option<u32>, Fault> {
    let Some(_) = percent else { return Ok(None) };
    let percent = figure("Percent", percent)?;
    u32::try_from(percent.0).map(Some).map_err(|_| Fault::Sign("Percent"))
}

fn adjustment_kind(word: Option<&str>) -> AdjustmentKind {
    let word = word.unwrap_or_default().to_lowercase();
    let has = |part: &str| word.contains(part);
    if has("employee") || has("mitarbeiter") {
        AdjustmentKind::Employee
    } else if has("coupon") {
        AdjustmentKind::Coupon
    } else if has("loyalty") || has("bonus") {
        AdjustmentKind::Loyalty
    } else {
        AdjustmentKind::Promotion
    }
}

/// Reads what a line's discount is made of. Vendors write a modifier's amount per piece or per line;
/// where neither makes the discount, it stays one reduction.
fn reductions(
    item: &Item,
    discount: Cents,
    quantity: Milli,
    sign: i64,
) -> Result<Vec<Reduction>, Fault> {
    if discount == Cents::ZERO {
        return Ok(Vec::new());
    }
    let lowers = |modifier: &&Modifier| {
        let shares =
            modifier.method.as_deref().is_some_and(|method| method.ends_with("TotalDiscount"));
        !shares && matches!(modifier.action.as_deref(), None | Some("Subtract"))
    };
    let mut parts = Vec::new();
    for modifier in item.modifiers.iter().filter(lowers).filter(|part| part.amount.is_some()) {
        let cents = figure("Amount of a RetailPriceModifier", &modifier.amount)?.abs();
        let id = label("PromotionID", &modifier.promotion)?;
        parts.push((adjustment_kind(modifier.method.as_deref()), id, cents));
    }
    let pieces = quantity.abs().0 / 1000;
    let whole = quantity.0 % 1000 == 0;
    let of = |times: i64| -> Option<Cents> {
        Cents::checked_sum(parts.iter().map(|part| part.2))?.0.checked_mul(times).map(Cents)
    };
    let times =
        [1, pieces].into_iter().find(|&times| (times == 1 || whole) && of(times) == Some(discount));
    let reduction = |(kind, id, cents): (AdjustmentKind, Option<Label>, Cents), times: i64| {
        Reduction { kind, id, cents: Cents(sign * times * cents.0) }
    };
    Ok(match times {
        Some(times) => parts.into_iter().map(|part| reduction(part, times)).collect(),
        None => vec![reduction((AdjustmentKind::Promotion, None, discount), 1)],
    })
}
