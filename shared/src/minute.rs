//! The store-minute: what one store rang up and moved in one minute, the only sales message that
//! leaves a store. It holds no personal data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::DayDigest;
use crate::ids::{Article, Label, ReceiptNumber, Sequence, Series, StoreId, StreamId, TillId};
use crate::money::{Cents, Milli};
use crate::ranges::Ranges;
use crate::receipt::{CashMove, Payment, StockMovement, Vat};
use crate::time::{BusinessDay, Minute, Timestamp};
use crate::words::{AdjustmentKind, BatchKind, Channel, LineKind, Unit};

/// One batch: the body of a record of `store-minutes.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreMinute {
    /// The store; also the record's key.
    pub store: StoreId,
    /// The minute in which its receipts ended.
    pub minute: Minute,
    /// The day that the tills book them on.
    pub business_day: BusinessDay,
    /// The agent buffer that cut the batch.
    pub stream: StreamId,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// The stream before this one, on a stream's first batch, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<StreamId>,
    /// First batch of the minute and business day, or a further one.
    pub kind: BatchKind,
    /// All minutes up to this one are delivered, as far as the agent knows.
    #[serde(default)]
    pub complete_through: Option<Minute>,
    /// Totals per till and series.
    #[serde(default)]
    pub tills: Vec<TillMinute>,
    /// Rows per till, article, kind, unit and VAT.
    #[serde(default)]
    pub sales: Vec<SaleRow>,
    /// Movements of stock.
    #[serde(default)]
    pub stock: Vec<StockMovement>,
    /// Corrections of versioned receipts.
    #[serde(default)]
    pub corrections: Vec<Correction>,
    /// Closings of tills.
    #[serde(default)]
    pub closings: Vec<Closing>,
    /// What had to be given up.
    #[serde(default)]
    pub losses: Vec<Loss>,
    /// Sequences of this stream that the agent can no longer send: their disk was damaged. One that
    /// was delivered before stays so.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub abandoned: Ranges,
    /// What the agent has counted of days that are over, and of those that changed since it told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<DayDigest>,
}

/// What one till rang up in the minute, within one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TillMinute {
    /// The register.
    pub till: TillId,
    /// The span in which its receipt numbers are unique.
    pub series: Series,
    /// Where the receipts were rung up.
    pub channel: Channel,
    /// Numbers of the receipts that count.
    pub receipts: Ranges,
    /// Ids of the receipts that count and are no numbers.
    #[serde(default)]
    pub receipt_ids: Vec<ReceiptNumber>,
    /// Numbers that the till used for something else than a sale.
    #[serde(default)]
    pub numbers_without_sale: Ranges,
    /// How many receipts count: `receipts` and `receipt_ids` together.
    pub receipt_count: u64,
    /// Sum of the lines.
    pub lines_cents: Cents,
    /// Tax on top of the prices.
    pub tax_added_cents: Cents,
    /// Sum of the adjustments.
    pub adjustment_cents: Cents,
    /// Sum of the receipts' totals.
    pub total_cents: Cents,
    /// Sum of the voided lines, as a positive amount.
    #[serde(default)]
    pub voided_cents: Cents,
    /// VAT as the till computed it.
    #[serde(default)]
    pub vat: Vec<Vat>,
    /// Adjustments per kind.
    #[serde(default)]
    pub adjustments: Vec<KindAmount>,
    /// Payments per kind and currency.
    #[serde(default)]
    pub payments: Vec<Payment>,
    /// Cash put in and taken out.
    #[serde(default)]
    pub cash_moves: Vec<CashMove>,
    /// How often something happened.
    #[serde(default)]
    pub counts: Counts,
}

/// An amount per kind of adjustment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindAmount {
    /// The kind.
    pub kind: AdjustmentKind,
    /// Its sum.
    pub cents: Cents,
}

/// How often something happened at a till within the minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Lines voided.
    pub line_voids: u64,
    /// Whole receipts voided.
    pub receipt_voids: u64,
    /// Receipts with a return.
    pub returns: u64,
    /// Prices changed by hand.
    pub price_overrides: u64,
    /// Receipts given up.
    pub aborted: u64,
    /// Receipts for training.
    pub training: u64,
    /// Drawers opened without a sale.
    pub no_sale: u64,
    /// Second copies that were dropped.
    pub duplicates: u64,
    /// Receipts set aside.
    pub quarantined: u64,
}

/// What one till sold of one article in the minute, per kind, unit and VAT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaleRow {
    /// The register.
    pub till: TillId,
    /// What was sold.
    pub article: Article,
    /// Its text, where the text is its only name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Label>,
    /// What kind of lines these are.
    pub kind: LineKind,
    /// True for lines that take back others.
    #[serde(default)]
    pub void: bool,
    /// The unit of the quantity.
    pub unit: Unit,
    /// VAT key.
    #[serde(default)]
    pub vat_key: Option<Label>,
    /// VAT rate in basis points.
    #[serde(default)]
    pub vat_bp: Option<u32>,
    /// The seller where it is not us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<Label>,
    /// For returned goods: whether they go back on the shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restock: Option<bool>,
    /// Quantity in thousandths, signed.
    pub quantity_milli: Milli,
    /// Amount after discounts, signed.
    pub amount_cents: Cents,
    /// Discounts inside the amount.
    #[serde(default)]
    pub discount_cents: Cents,
    /// Part of the receipts' adjustments.
    #[serde(default)]
    pub adjustment_share_cents: Cents,
    /// How many lines the row sums up.
    pub lines: u64,
}

impl SaleRow {
    /// Returns true where the row's quantity leaves (or comes back to) our own stock.
    pub fn moves_stock(&self) -> bool {
        let thrown_away = self.kind == LineKind::Return && self.restock == Some(false);
        self.kind.moves_goods() && self.seller.is_none() && !thrown_away
    }
}

/// A versioned receipt that changed after it had been counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Correction {
    /// The register.
    pub till: TillId,
    /// The series.
    pub series: Series,
    /// The receipt.
    pub receipt: ReceiptNumber,
    /// What changes in the total.
    pub total_cents: Cents,
}

/// A till's own totals of a shift or a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Closing {
    /// The registers that it closes.
    pub tills: Vec<TillId>,
    /// Its number.
    pub closing: Label,
    /// The source that told of it.
    pub source: Label,
    /// When the span began.
    #[serde(default)]
    pub opened_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// Numbers of its receipts.
    #[serde(default)]
    pub receipts: Ranges,
    /// Its total.
    pub total_cents: Cents,
    /// Totals per business case and VAT key.
    #[serde(default)]
    pub cases: Vec<ClosingCase>,
    /// Payments.
    #[serde(default)]
    pub payments: Vec<Payment>,
    /// Cash put in and taken out.
    #[serde(default)]
    pub cash_moves: Vec<CashMove>,
    /// The closing that it replaces.
    #[serde(default)]
    pub supersedes: Option<Label>,
}

/// A closing's total of one business case and VAT key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClosingCase {
    /// The business case.
    pub case: Label,
    /// VAT key.
    #[serde(default)]
    pub vat_key: Option<Label>,
    /// Gross amount.
    pub gross: Cents,
    /// Net amount.
    pub net: Cents,
    /// Tax.
    pub tax: Cents,
}

/// A durable record of what had to be given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Its identity.
    pub id: Label,
    /// The register, where one is known.
    #[serde(default)]
    pub till: Option<TillId>,
    /// The minute.
    pub minute: Minute,
    /// How many receipts.
    pub count: u64,
    /// Their amount.
    pub cents: Cents,
    /// Why.
    pub reason: Label,
}

/// How an agent is: the body of a record of `store-status.v1`, one a minute even when nothing is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreStatus {
    /// The store; also the record's key.
    pub store: StoreId,
    /// When the agent wrote it.
    pub at: Timestamp,
    /// The agent buffer.
    pub stream: StreamId,
    /// The highest sequence that was cut; 0 where none was.
    pub highest_sequence: u64,
    /// All minutes up to this one are cut.
    #[serde(default)]
    pub complete_through: Option<Minute>,
    /// Batches that wait for the broker.
    pub backlog: u64,
    /// Units set aside.
    pub quarantined: u64,
    /// Batches whose contents were given up since the buffer was made; each ships its losses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up: u64,
    /// The agent's version.
    pub version: String,
    /// Days until the client certificate expires.
    #[serde(default)]
    pub certificate_days: Option<i64>,
    /// Whether the box's clock is in step, where that is known.
    #[serde(default)]
    pub clock_synchronised: Option<bool>,
    /// Why the box's clock is not believed, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error: Option<String>,
    /// Per till the last receipt.
    #[serde(default)]
    pub tills: Vec<TillStatus>,
    /// Per source how it is.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The last that was seen of a till.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TillStatus {
    /// The register.
    pub till: TillId,
    /// Its last receipt.
    pub receipt: ReceiptNumber,
    /// When that ended.
    pub ended_at: Timestamp,
}

/// How a source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it can be read.
    pub up: bool,
    /// All minutes up to this one are read.
    #[serde(default)]
    pub through: Option<Minute>,
    /// What is wrong.
    #[serde(default)]
    pub error: Option<String>,
}
