//! The canonical receipt: what every till format becomes, and the stock movement beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Article, Label, MovementId, ReceiptNumber, Series, StoreId, TillId};
use crate::money::{Cents, Milli};
use crate::time::{BusinessDay, Timestamp};
use crate::words::{AdjustmentKind, Channel, LineKind, NotCounted, PaymentKind, StockKind, Unit};

/// One completed transaction of a till, or one that must not count with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The store that rang it up.
    pub store: StoreId,
    /// The register.
    pub till: TillId,
    /// The span in which the number is unique.
    pub series: Series,
    /// The receipt's number.
    pub receipt: ReceiptNumber,
    /// The day that the till books it on.
    pub business_day: BusinessDay,
    /// When it ended, in UTC; this decides its minute.
    pub ended_at: Timestamp,
    /// False where it is no sale.
    pub counts: bool,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotCounted>,
    /// Where it was rung up.
    #[serde(default = "till_channel")]
    pub channel: Channel,
    /// The fiscal device's own number of the transaction.
    #[serde(default)]
    pub fiscal: Option<Fiscal>,
    /// The receipt that this one takes back or corrects.
    #[serde(default)]
    pub refers_to: Option<ReceiptReference>,
    /// The customer's pseudonym, never a number that the till knows.
    #[serde(default)]
    pub customer: Option<Label>,
    /// What the decoder found odd but readable, such as `clock_ambiguous`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Label>,
    /// Its positions.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// VAT as the till computed it.
    #[serde(default)]
    pub vat: Vec<Vat>,
    /// Amounts of the whole receipt that stand beside its lines.
    #[serde(default)]
    pub adjustments: Vec<Adjustment>,
    /// Tax on top of the prices; 0 where prices hold it.
    #[serde(default)]
    pub tax_added_cents: Cents,
    /// The sum of the adjustments.
    #[serde(default)]
    pub adjustment_cents: Cents,
    /// What the customer had to pay.
    #[serde(default)]
    pub total_cents: Cents,
    /// How it was paid; signed, sums to the total.
    #[serde(default)]
    pub payments: Vec<Payment>,
    /// Cash put into the drawer or taken out of it, where that is what the number was used for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cash_moves: Vec<CashMove>,
    /// The source's own version, where it keeps the receipt and may change it: a higher one corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Cash put into a drawer or taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CashMove {
    /// What for: `drop`, `float`, `paid_in`, `paid_out`.
    pub kind: Label,
    /// Amount, negative where it left the drawer.
    pub cents: Cents,
}

fn till_channel() -> Channel {
    Channel::Till
}

/// The number that a technical security device gave a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fiscal {
    /// A name of the device: a hash of its public key.
    pub tse: Label,
    /// Its transaction number.
    pub transaction: u64,
}

/// Another receipt of the same store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptReference {
    /// Its register.
    pub till: TillId,
    /// Its series.
    pub series: Series,
    /// Its number.
    pub receipt: ReceiptNumber,
}

/// One position of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Its number on the receipt.
    pub position: u32,
    /// What was sold.
    pub article: Article,
    /// The text on the receipt, where it is the article's only name.
    #[serde(default)]
    pub text: Option<Label>,
    /// What kind of line it is.
    pub kind: LineKind,
    /// True where it takes back another line of this receipt: quantity and amount are reversed.
    #[serde(default)]
    pub void: bool,
    /// The unit of its quantity.
    pub unit: Unit,
    /// Quantity in thousandths of the unit, signed.
    pub quantity_milli: Milli,
    /// Amount after its discount, signed.
    pub amount_cents: Cents,
    /// Discount inside the amount, positive where the customer paid less.
    #[serde(default)]
    pub discount_cents: Cents,
    /// Its part of the receipt's adjustments.
    #[serde(default)]
    pub adjustment_share_cents: Cents,
    /// VAT key as DSFinV-K numbers them.
    #[serde(default)]
    pub vat_key: Option<Label>,
    /// VAT rate in basis points.
    #[serde(default)]
    pub vat_bp: Option<u32>,
    /// What the discount is made of.
    #[serde(default)]
    pub reductions: Vec<Reduction>,
    /// The seller where it is not us: neither turnover nor stock of ours.
    #[serde(default)]
    pub seller: Option<Label>,
    /// For returned goods: whether they go back on the shelf.
    #[serde(default)]
    pub restock: Option<bool>,
}

/// A part of a line's discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reduction {
    /// What gave it.
    pub kind: AdjustmentKind,
    /// The promotion's or coupon's id.
    #[serde(default)]
    pub id: Option<Label>,
    /// Amount, positive where the customer paid less.
    pub cents: Cents,
}

/// VAT of one key on a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vat {
    /// VAT key as DSFinV-K numbers them.
    pub key: Label,
    /// Rate in basis points.
    #[serde(default)]
    pub bp: Option<u32>,
    /// Gross amount.
    pub gross_cents: Cents,
    /// Net amount.
    pub net_cents: Cents,
    /// Tax.
    pub tax_cents: Cents,
}

/// An amount of the whole receipt beside its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adjustment {
    /// What gave it.
    pub kind: AdjustmentKind,
    /// The promotion's or coupon's id.
    #[serde(default)]
    pub id: Option<Label>,
    /// The VAT key whose lines it belongs to, where the till says so.
    #[serde(default)]
    pub vat_key: Option<Label>,
    /// Amount, negative where the customer paid less.
    pub cents: Cents,
}

/// One means of payment on a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    /// How it was paid.
    pub kind: PaymentKind,
    /// Amount in the store's currency, negative where money went back.
    pub cents: Cents,
    /// The currency where it is not the store's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Label>,
}

/// One movement of stock: a document's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockMovement {
    /// Document and line, unique in the store; a second one with the same id counts nothing.
    pub id: MovementId,
    /// What moved.
    pub article: Article,
    /// What moved it.
    pub kind: StockKind,
    /// The unit of its quantity.
    pub unit: Unit,
    /// The signed change on hand in thousandths; for `count` what is there, for `announced` what will come.
    pub quantity_milli: Milli,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The order that it answers.
    #[serde(default)]
    pub order: Option<Label>,
    /// The other party's number.
    #[serde(default)]
    pub counterparty: Option<Label>,
    /// Why, for waste and corrections.
    #[serde(default)]
    pub reason: Option<Label>,
    /// Best-before day.
    #[serde(default)]
    pub best_before: Option<BusinessDay>,
    /// Lot number.
    #[serde(default)]
    pub lot: Option<Label>,
}

/// A receipt whose figures contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumFault {
    /// A sum does not fit 64 bits.
    #[error("the sum of {0} does not fit 64 bits")]
    Overflow(&'static str),
    /// Lines, tax and adjustments do not make the total.
    #[error(
        "lines {lines} + tax {tax} + adjustments {adjustments} make {made}, the total is {total}"
    )]
    Total {
        /// Sum of the lines.
        lines: Cents,
        /// Tax added.
        tax: Cents,
        /// Sum of the adjustments.
        adjustments: Cents,
        /// What they make together.
        made: Cents,
        /// What the receipt says.
        total: Cents,
    },
    /// The list of adjustments does not sum to their total.
    #[error("adjustments sum to {listed}, the receipt says {said}")]
    Adjustments {
        /// Sum of the list.
        listed: Cents,
        /// What the receipt says.
        said: Cents,
    },
    /// Payments do not make the total.
    #[error("payments sum to {paid}, the total is {total}")]
    Payments {
        /// Sum of the payments.
        paid: Cents,
        /// What the receipt says.
        total: Cents,
    },
}

impl Receipt {
    /// Sums its lines.
    pub fn lines_cents(&self) -> Option<Cents> {
        Cents::checked_sum(self.lines.iter().map(|line| line.amount_cents))
    }

    /// Checks lines + tax + adjustments = total, and payments = total where payments are known.
    pub fn check_sums(&self) -> Result<(), SumFault> {
        let lines = self.lines_cents().ok_or(SumFault::Overflow("lines"))?;
        let listed = Cents::checked_sum(self.adjustments.iter().map(|part| part.cents))
            .ok_or(SumFault::Overflow("adjustments"))?;
        if listed != self.adjustment_cents {
            return Err(SumFault::Adjustments { listed, said: self.adjustment_cents });
        }
        let (tax, total) = (self.tax_added_cents, self.total_cents);
        let made = Cents::checked_sum([lines, tax, listed]).ok_or(SumFault::Overflow("all"))?;
        if made != total {
            return Err(SumFault::Total { lines, tax, adjustments: listed, made, total });
        }
        let paid = Cents::checked_sum(self.payments.iter().map(|payment| payment.cents))
            .ok_or(SumFault::Overflow("payments"))?;
        if paid != total && !self.payments.is_empty() {
            return Err(SumFault::Payments { paid, total });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"{"store":"0417","till":"3","series":"2026-11-23","receipt":"933","business_day":"2026-11-23",
        "ended_at":"2026-11-23T09:41:07Z","counts":true,"lines":[{"position":1,"article":"04012345678901","kind":"sale",
        "unit":"pcs","quantity_milli":2000,"amount_cents":398}],"adjustments":[{"kind":"employee","cents":-20}],
        "adjustment_cents":-20,"total_cents":378,"payments":[{"kind":"cash","cents":500},{"kind":"change","cents":-122}]}"#;

    #[test]
    fn a_receipt_that_adds_up_is_accepted_and_a_cent_too_much_is_named() {
        let mut receipt: Receipt = serde_json::from_str(PRINTED).unwrap();
        assert_eq!(receipt.check_sums(), Ok(()));
        receipt.total_cents = Cents(379);
        assert_eq!(
            receipt.check_sums().unwrap_err().to_string(),
            "lines 3.98 + tax 0.00 + adjustments -0.20 make 3.78, the total is 3.79"
        );
        receipt.total_cents = Cents(378);
        receipt.payments[1].cents = Cents(-121);
        assert!(matches!(receipt.check_sums(), Err(SumFault::Payments { .. })));
    }
}
