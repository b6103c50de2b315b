//! Orders of the Square Orders API: elements of `orders`, or one bare order. An order is kept by its
//! service and may change: its `version` goes along, and a higher one corrects. Customers, cards and
//! notes are never read. Facts after the service's published description of its types.

use shared::ids::{IdError, Label, ReceiptNumber, Series, TillId};
use shared::money::{Cents, DecimalError};
use shared::receipt::{Adjustment, Payment, Receipt, ReceiptReference};
use shared::time::{TimeError, Timestamp};
use shared::words::{AdjustmentKind, Channel, NotCounted, PaymentKind};

use super::json::is_empty_object;
use super::settle::{SettleFault, settle};
use super::stamp::Stamp;
use super::{Context, Decoder, Item, Refusal, StoreFault, Unit};
use wire::{Money, Order, Tender, Wrapped};

mod lines;
mod wire;

/// The member of the answer that holds the orders.
pub(super) const LIST: &str = "orders";

/// The scheme of its article numbers, and the till of its receipts: an order names none.
const VENDOR: &str = "square";

/// Its orders' ids are unique for ever.
const SERIES: &str = "orders";

/// Why an order is set aside.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("it is no order")]
    Json(#[source] serde_json::Error),
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("its {0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("it is of another location")]
    Store(#[source] StoreFault),
    #[error("its time is not readable")]
    Time(#[source] TimeError),
    #[error("the quantity of line {0} is not readable")]
    Quantity(usize, #[source] DecimalError),
    #[error("line {at}: {gross} less {discount} are not {amount}")]
    Line { at: usize, gross: Cents, discount: Cents, amount: Cents },
    #[error("it holds amounts in {0} and in {1}")]
    Currencies(String, String),
    #[error("its figures are too large")]
    TooLarge,
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of orders.
#[derive(Debug)]
pub(super) struct SquareDecoder {
    context: Context,
}

impl SquareDecoder {
    /// Makes a decoder for a store.
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, OrderError> {
        let wrapped: Wrapped = serde_json::from_slice(bytes).map_err(OrderError::Json)?;
        let order: Order = match wrapped.order {
            Some(order) => order,
            None => serde_json::from_slice(bytes).map_err(OrderError::Json)?,
        };
        let mut receipt = self.head(&order)?;
        match order.state.as_deref().ok_or(OrderError::Missing("state"))? {
            "COMPLETED" => fill(&mut receipt, &order, &self.context)?,
            "OPEN" | "DRAFT" => receipt.reason = Some(NotCounted::Suspended),
            "CANCELED" => receipt.reason = Some(NotCounted::Aborted),
            _ => receipt.reason = Some(NotCounted::Other),
        }
        settle(&mut receipt).map_err(OrderError::Settle)?;
        Ok(receipt)
    }

    fn head(&self, order: &Order) -> Result<Receipt, OrderError> {
        let id = order.id.as_deref().ok_or(OrderError::Missing("id"))?;
        let location = order.location_id.as_deref().ok_or(OrderError::Missing("location_id"))?;
        let time = [&order.closed_at, &order.updated_at, &order.created_at];
        let time = time.into_iter().flatten().next().ok_or(OrderError::Missing("time"))?;
        let ended_at: Timestamp = time.parse().map_err(OrderError::Time)?;
        let cut = self.context.business_day_cut;
        Ok(Receipt {
            store: self.context.store_of(location).map_err(OrderError::Store)?,
            till: till()?,
            series: series()?,
            receipt: receipt_number(id)?,
            business_day: Stamp::Instant(ended_at).business_day(self.context.zone, cut),
            ended_at,
            counts: false,
            reason: None,
            channel: Channel::Till,
            fiscal: None,
            refers_to: None,
            customer: None,
            flags: Vec::new(),
            lines: Vec::new(),
            vat: Vec::new(),
            adjustments: Vec::new(),
            tax_added_cents: Cents::ZERO,
            adjustment_cents: Cents::ZERO,
            total_cents: Cents::ZERO,
            payments: Vec::new(),
            cash_moves: Vec::new(),
            version: order.version,
        })
    }
}

impl Decoder for SquareDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        if is_empty_object(&unit.bytes) {
            return Ok(Vec::new());
        }
        match self.receipt(&unit.bytes) {
            Ok(receipt) => Ok(vec![Item::Receipt(Box::new(receipt))]),
            Err(error) => Err(Refusal::because(&error)),
        }
    }
}

fn till() -> Result<TillId, OrderError> {
    TillId::new(VENDOR).map_err(|fault| OrderError::Id("till", fault))
}

fn series() -> Result<Series, OrderError> {
    Series::new(SERIES).map_err(|fault| OrderError::Id("series", fault))
}

fn receipt_number(id: &str) -> Result<ReceiptNumber, OrderError> {
    ReceiptNumber::new(id).map_err(|fault| OrderError::Id("id", fault))
}

/// Fills in what a completed order holds.
fn fill(receipt: &mut Receipt, order: &Order, context: &Context) -> Result<(), OrderError> {
    let net = order.net_amounts.as_ref().and_then(|net| net.total_money.as_ref());
    let total = net.or(order.total_money.as_ref()).ok_or(OrderError::Missing("total_money"))?;
    receipt.counts = true;
    receipt.total_cents = total.cents();
    receipt.lines = lines::of(order, &context.articles)?;
    receipt.tax_added_cents = lines::tax_added(order)?;
    let source = order.returns.iter().find_map(|back| back.source_order_id.as_deref());
    if let Some(source) = source {
        let (till, series, receipt_of) = (till()?, series()?, receipt_number(source)?);
        receipt.refers_to = Some(ReceiptReference { till, series, receipt: receipt_of });
    }
    let rounding = |money: Option<&Money>| money.map_or(Cents::ZERO, Money::cents);
    let sold = rounding(order.rounding_adjustment.as_ref().and_then(|it| it.amount_money.as_ref()));
    let back = order.returns.iter().filter_map(|back| back.rounding_adjustment.as_ref());
    let back = back.map(|it| Cents(-rounding(it.amount_money.as_ref()).0));
    let off = Cents::checked_sum(back.chain([sold])).ok_or(OrderError::TooLarge)?;
    if off != Cents::ZERO {
        let kind = AdjustmentKind::Rounding;
        receipt.adjustments.push(Adjustment { kind, id: None, vat_key: None, cents: off });
        receipt.adjustment_cents = off;
    }
    receipt.payments = order.tenders.iter().flat_map(payments).collect();
    if !order.returns.is_empty() {
        let refunds = order.refunds.iter().filter_map(|refund| refund.amount_money.as_ref());
        let refund = |money: &Money| payment(PaymentKind::Other, Cents(-money.cents().0));
        receipt.payments.extend(refunds.map(refund));
    }
    one_currency(order, &total.currency)
}

/// Returns a tender's payments. The amount of cash is what was kept of it.
fn payments(tender: &Tender) -> Vec<Payment> {
    let amount = tender.amount_money.as_ref().map_or(Cents::ZERO, Money::cents);
    let kind = match tender.kind.as_deref().unwrap_or_default() {
        "CASH" => PaymentKind::Cash,
        "CARD" | "THIRD_PARTY_CARD" => PaymentKind::Credit,
        "SQUARE_GIFT_CARD" => PaymentKind::GiftCard,
        "WALLET" => PaymentKind::Mobile,
        _ => PaymentKind::Other,
    };
    let cash = tender.cash_details.as_ref();
    let given = cash.and_then(|cash| cash.buyer_tendered_money.as_ref()).map(Money::cents);
    let back = cash.and_then(|cash| cash.change_back_money.as_ref()).map(Money::cents);
    match (given, back) {
        (Some(given), Some(back))
            if back.0 > 0 && given.0.checked_sub(back.0) == Some(amount.0) =>
        {
            vec![payment(kind, given), payment(PaymentKind::Change, Cents(-back.0))]
        }
        _ => vec![payment(kind, amount)],
    }
}

fn payment(kind: PaymentKind, cents: Cents) -> Payment {
    Payment { kind, cents, currency: None }
}

/// Sums over two currencies mean nothing.
fn one_currency(order: &Order, currency: &Option<String>) -> Result<(), OrderError> {
    let of_lines = order.line_items.iter().filter_map(|line| line.total_money.as_ref());
    let of_tenders = order.tenders.iter().filter_map(|tender| tender.amount_money.as_ref());
    match of_lines.chain(of_tenders).find(|money| money.currency != *currency) {
        None => Ok(()),
        Some(other) => {
            let name = |currency: &Option<String>| {
                currency.as_deref().unwrap_or("none").chars().take(8).collect()
            };
            Err(OrderError::Currencies(name(currency), name(&other.currency)))
        }
    }
}

fn label(text: &str) -> Option<Label> {
    Label::new(text.trim()).ok()
}
