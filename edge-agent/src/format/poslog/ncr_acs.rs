//! NCR's ACS back office. Figures are signed: a void is a further line with negative figures and the
//! flag, the line that it takes back stays as it was. Only `acs:NegativeItem` (empties taken back)
//! writes a positive quantity beside a negative amount. Tax comes on top of the prices. The file's
//! own checks (gross positive, gross negative, tenders) must hold, else nothing is counted.

use std::collections::BTreeMap;

use shared::ids::Label;
use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, Line, Payment, Receipt};
use shared::words::{AdjustmentKind, LineKind, PaymentKind, Unit};

use super::record::{Item, Retail, Reward, Tender, Transaction};
use super::{Fault, cents, label, line, sum, total};

/// Fills in lines, tax, adjustments, payments and total.
pub(super) fn fill(
    receipt: &mut Receipt,
    found: &Transaction,
    retail: &Retail,
) -> Result<(), Fault> {
    let weight = weight_unit(found)?;
    let sale = |item| sale(item, &weight);
    receipt.lines = retail.items.iter().map(sale).collect::<Result<_, _>>()?;
    receipt.tax_added_cents = total(retail, "TransactionTaxAmount")?;
    receipt.total_cents = total(retail, "TransactionGrandAmount")?;
    receipt.payments = payments(retail)?;
    check(receipt, retail)?;
    let lines = sum("the lines", receipt.lines.iter().map(|line| line.amount_cents))?;
    let rest = [receipt.total_cents, -lines, -receipt.tax_added_cents];
    receipt.adjustment_cents = sum("the adjustments", rest)?;
    receipt.adjustments = adjustments(&retail.rewards, receipt.adjustment_cents)?;
    Ok(())
}

/// The files name no unit of weight. Where money is US dollars, scales weigh in pounds, and calling
/// them kilograms would more than double the stock.
fn weight_unit(found: &Transaction) -> Result<Unit, Fault> {
    let word = if found.currency.as_deref() == Some("USD") { "lb" } else { "kg" };
    Unit::new(word).map_err(|error| Fault::Id("the unit", error))
}

fn sale(item: &Item, weight: &Unit) -> Result<Line, Fault> {
    let empties = item.item_type.as_deref() == Some("NegativeItem");
    let unit = if item.weighed { weight.clone() } else { Unit::Pieces };
    let mut read = line(item, LineKind::Sale, unit)?;
    if empties {
        read.quantity_milli = Milli(read.quantity_milli.0.abs() * read.amount_cents.0.signum());
    }
    check_signs(item, &read)?;
    read.kind = kind(item, &read);
    Ok(read)
}

/// Refuses signs that contradict each other, so that no convention is guessed.
fn check_signs(item: &Item, read: &Line) -> Result<(), Fault> {
    let (quantity, amount) = (read.quantity_milli.0.signum(), read.amount_cents.0.signum());
    let empties = item.item_type.as_deref() == Some("NegativeItem");
    if quantity * amount < 0 {
        return Err(Fault::Sign("Quantity beside ExtendedAmount"));
    }
    let takes_back = item.void != empties;
    if (item.void || empties) && takes_back && (quantity > 0 || amount > 0) {
        return Err(Fault::Sign("a void line or an acs:NegativeItem"));
    }
    if item.returned && !item.void && (quantity > 0 || amount > 0) {
        return Err(Fault::Sign("a Return"));
    }
    Ok(())
}

fn kind(item: &Item, read: &Line) -> LineKind {
    let comes_back = item.returned || (read.quantity_milli.0 < 0 && !item.void);
    match item.item_type.as_deref() {
        Some("NegativeItem" | "DepositRefund") => LineKind::DepositRefund,
        Some("Deposit") => LineKind::Deposit,
        None | Some("Stock") if comes_back => LineKind::Return,
        None | Some("Stock") => LineKind::Sale,
        Some("Fee" | "Service") => LineKind::Fee,
        Some(_) => LineKind::Other,
    }
}

fn payments(retail: &Retail) -> Result<Vec<Payment>, Fault> {
    let amounts = retail.tenders.iter().map(amount).collect::<Result<Vec<_>, _>>()?;
    let cash_given = retail.tenders.iter().zip(&amounts).any(|(tender, amount)| {
        tender.kind.as_deref() == Some("Cash") && amount.0 > 0 && !tender.void
    });
    let card_given = retail.tenders.iter().zip(&amounts).any(|(tender, amount)| {
        tender.kind.as_deref() != Some("Cash") && amount.0 > 0 && !tender.void
    });
    // Where nothing was given, goods were taken back for cash.
    let is_cashback = card_given && !cash_given;
    let back = if is_cashback { PaymentKind::Cashback } else { PaymentKind::Change };
    let payment = |(tender, cents): (&Tender, Cents)| {
        let kind = match tender.kind.as_deref() {
            Some("Cash") if cents.0 < 0 && !tender.void => back.clone(),
            Some("Cash") => PaymentKind::Cash,
            Some("CreditDebit") => PaymentKind::Credit,
            Some("GiftCard" | "StoredValue") => PaymentKind::GiftCard,
            Some("Voucher" | "Coupon" | "ManufacturerCoupon") => PaymentKind::Voucher,
            None | Some(_) => PaymentKind::Other,
        };
        Payment { kind, cents, currency: None }
    };
    Ok(retail.tenders.iter().zip(amounts).map(payment).collect())
}

/// Amounts are signed; those of a refund are positive and leave the drawer.
fn amount(tender: &Tender) -> Result<Cents, Fault> {
    let amount = cents("Amount of a tender", &tender.amount)?;
    let refund = tender.code.as_deref() == Some("Refund");
    Ok(if refund { -amount.abs() } else { amount })
}

/// Holds the receipt against what the till itself summed up.
fn check(receipt: &Receipt, retail: &Retail) -> Result<(), Fault> {
    let positive = total(retail, "GrossPositive")?;
    let sold = receipt.lines.iter().map(|line| line.amount_cents).filter(|cents| cents.0 > 0);
    let made = sum("GrossPositive", sold.chain([receipt.tax_added_cents]))?;
    equal("acs:GrossPositive", positive, made)?;
    let made = sum("the gross amounts", [positive, total(retail, "GrossNegative")?])?;
    equal("the grand total", receipt.total_cents, made)?;
    let paid = sum("the tenders", receipt.payments.iter().map(|payment| payment.cents))?;
    equal("the grand total", receipt.total_cents, paid)
}

fn equal(what: &'static str, found: Cents, made: Cents) -> Result<(), Fault> {
    if found == made { Ok(()) } else { Err(Fault::Check { what, found, made }) }
}

/// Finds the rewards that make the difference between lines, tax and total. Rewards are listed per
/// item and again per receipt, beside offers that give no money: those that sum up the receipt are
/// flagged. Where neither they nor all rewards make the difference, it stays unexplained.
fn adjustments(rewards: &[Reward], difference: Cents) -> Result<Vec<Adjustment>, Fault> {
    if difference == Cents::ZERO {
        return Ok(Vec::new());
    }
    let mut amounts = Vec::with_capacity(rewards.len());
    for reward in rewards {
        let given = reward.amount.is_some();
        let cents = if given { cents("a reward", &reward.amount)? } else { Cents::ZERO };
        amounts.push((reward, cents));
    }
    amounts.retain(|(_, cents)| *cents != Cents::ZERO);
    let summed =
        |reward: &Reward| reward.summarized && reward.category.as_deref() == Some("Monetary");
    for choose in [&summed as &dyn Fn(&Reward) -> bool, &|_: &Reward| true] {
        let chosen = amounts.iter().filter(|(reward, _)| choose(reward));
        let per_promotion = per_promotion(chosen)?;
        if sum("the rewards", per_promotion.values().copied())? == difference {
            return Ok(per_promotion.into_iter().map(loyalty).collect());
        }
    }
    if amounts.is_empty() {
        return Err(Fault::Unexplained(difference));
    }
    let kind = AdjustmentKind::Unexplained;
    Ok(vec![Adjustment { kind, id: None, vat_key: None, cents: difference }])
}

fn per_promotion<'a>(
    rewards: impl Iterator<Item = &'a (&'a Reward, Cents)>,
) -> Result<BTreeMap<Option<Label>, Cents>, Fault> {
    let mut found = BTreeMap::new();
    for (reward, cents) in rewards {
        let so_far: &mut Cents = found.entry(label("PromotionID", &reward.promotion)?).or_default();
        *so_far = sum("a promotion", [*so_far, *cents])?;
    }
    Ok(found)
}

fn loyalty((id, cents): (Option<Label>, Cents)) -> Adjustment {
    Adjustment { kind: AdjustmentKind::Loyalty, id, vat_key: None, cents }
}
