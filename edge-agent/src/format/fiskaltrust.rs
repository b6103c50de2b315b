//! The journal of the fiskaltrust middleware: rows of its queue, each the request of a till and the
//! response to it. A bare request is read too. The row is the identity, never the till's own
//! reference, which comes again; amounts decide the sign, never a flag; a row without its response
//! was not signed and is no sale yet.

use std::fmt::Display;

use serde_json::value::RawValue;
use shared::ids::{IdError, Label, ReceiptNumber, Series, StoreId, TillId};
use shared::minute::Closing;
use shared::money::{Cents, DecimalError};
use shared::ranges::Ranges;
use shared::receipt::Receipt;
use shared::time::{TimeError, Timestamp};
use shared::words::{Channel, NotCounted};

use super::json::{document, plain, whole};
use super::settle::{SettleFault, settle};
use super::stamp::Stamp;
use super::{Context, Decoder, Item, Refusal, StoreFault, Unit};
use cases::ReceiptKind;
use wire::{Request, Response, Row};

mod cases;
mod fiscal;
mod items;
mod wire;

/// The member of the answer that holds the rows.
pub(super) const LIST: &str = "ftQueueItems";

/// The scheme of article numbers that are no GTIN, and the source of closings.
const VENDOR: &str = "fiskaltrust";

/// Why a row is set aside.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("it is no row of a journal")]
    Row(#[source] serde_json::Error),
    #[error("it holds neither a request nor its response")]
    NoRequest,
    #[error("its request cannot be read")]
    Request(#[source] serde_json::Error),
    #[error("its response cannot be read")]
    Response(#[source] serde_json::Error),
    #[error("its {0} is no number")]
    Number(&'static str),
    #[error("its {0} is not readable")]
    Amount(&'static str, #[source] DecimalError),
    #[error("its {0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("its moment is not readable")]
    Moment(#[source] TimeError),
    #[error("it is of another store")]
    Store(#[source] StoreFault),
    #[error("its items make {made}, it says {said}: more than rounding explains")]
    Rounding { made: Cents, said: Cents },
    #[error("its figures are too large")]
    TooLarge,
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of the journal.
#[derive(Debug)]
pub(super) struct FiskaltrustDecoder {
    context: Context,
}

/// What a receipt is known by.
struct Identity {
    series: Series,
    number: ReceiptNumber,
}

impl FiskaltrustDecoder {
    /// Makes a decoder for a store.
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn items(&self, bytes: &[u8]) -> Result<Vec<Item>, RowError> {
        let row: Row<'_> = serde_json::from_slice(bytes).map_err(RowError::Row)?;
        let request = row.request.map(document).transpose().map_err(RowError::Request)?.flatten();
        let response =
            row.response.map(document).transpose().map_err(RowError::Response)?.flatten();
        let bare = row.case.is_some().then(|| std::str::from_utf8(bytes).ok()).flatten();
        let text = request.as_deref().or(bare).ok_or(RowError::NoRequest)?;
        let request: Request<'_> = serde_json::from_str(text).map_err(RowError::Request)?;
        let response: Option<Response<'_>> = response
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(RowError::Response)?;
        self.receipt(&row, &request, response.as_ref())
    }

    fn receipt(
        &self,
        row: &Row<'_>,
        request: &Request<'_>,
        response: Option<&Response<'_>>,
    ) -> Result<Vec<Item>, RowError> {
        let case = whole(request.case).ok_or(RowError::Number("ftReceiptCase"))?;
        let ended_at = moment(&request.moment)?;
        let till = till(request)?;
        let identity = identity(row, request, response, ended_at)?;
        let cut = self.context.business_day_cut;
        let business_day = Stamp::Instant(ended_at).business_day(self.context.zone, cut);
        let mut receipt = Receipt {
            store: self.store(request)?,
            till,
            series: identity.series,
            receipt: identity.number,
            business_day,
            ended_at,
            counts: false,
            reason: None,
            channel: Channel::Till,
            fiscal: response.and_then(fiscal::of),
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
            version: None,
        };
        let unsigned = row.row.is_some() && response.is_none();
        let kind = cases::receipt_kind(case);
        let mut found = Vec::new();
        match &kind {
            ReceiptKind::Sale | ReceiptKind::CashMove if unsigned => {
                receipt.reason = Some(NotCounted::Suspended);
            }
            ReceiptKind::Sale => items::fill(&mut receipt, request, &self.context.articles, case)?,
            ReceiptKind::CashMove => items::move_cash(&mut receipt, request)?,
            ReceiptKind::DailyClosing if unsigned => receipt.reason = Some(NotCounted::Suspended),
            ReceiptKind::DailyClosing => {
                found.push(Item::Closing(Box::new(closing(&receipt, request)?)));
                receipt.reason = Some(NotCounted::Control);
            }
            ReceiptKind::Not(reason) => receipt.reason = Some(reason.clone()),
        }
        settle(&mut receipt).map_err(RowError::Settle)?;
        found.push(Item::Receipt(Box::new(receipt)));
        Ok(found)
    }

    /// The journal names no store: it is the one whose middleware was asked. Without a configured
    /// one, the cash box stands for it.
    fn store(&self, request: &Request<'_>) -> Result<StoreId, RowError> {
        match &self.context.store {
            Some(store) => Ok(store.clone()),
            None => {
                let cash_box = request.cash_box.as_deref().unwrap_or_default().replace('-', "");
                self.context.store_of(&cash_box).map_err(RowError::Store)
            }
        }
    }
}

impl Decoder for FiskaltrustDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        if super::json::is_empty_object(&unit.bytes) {
            return Ok(Vec::new());
        }
        self.items(&unit.bytes).map_err(|error| Refusal::because(&error))
    }
}

/// Reads a time; the interface wants UTC, so a time without an offset is one.
fn moment(text: &str) -> Result<Timestamp, RowError> {
    let text = text.trim().replacen(' ', "T", 1);
    text.parse().or_else(|_| format!("{text}Z").parse()).map_err(RowError::Moment)
}

/// A till without a terminal is its cash box.
fn till(request: &Request<'_>) -> Result<TillId, RowError> {
    let terminal = request.terminal.as_deref().map(str::trim).unwrap_or_default();
    let cash_box = request.cash_box.as_deref().unwrap_or_default().replace('-', "");
    let name = if terminal.is_empty() { cash_box.as_str() } else { terminal };
    TillId::new(name).map_err(|fault| RowError::Id("terminal", fault))
}

/// A row is known by its queue and its number there. A request that is no row of a queue is known by
/// its cash box and, since its reference may come again, by reference and moment together.
fn identity(
    row: &Row<'_>,
    request: &Request<'_>,
    response: Option<&Response<'_>>,
    ended_at: Timestamp,
) -> Result<Identity, RowError> {
    let queue = row.queue.as_deref().or(response.and_then(|it| it.queue.as_deref()));
    let number = row.row.or(response.and_then(|it| it.row));
    let (series, number) = match (queue, number) {
        (Some(queue), Some(number)) => {
            let number = whole(number).ok_or(RowError::Number("ftQueueRow"))?;
            (queue.to_owned(), number.to_string())
        }
        _ => {
            let cash_box = request.cash_box.as_deref().unwrap_or_default();
            let reference = request.reference.as_deref().unwrap_or_default().trim();
            (format!("request:{cash_box}"), format!("{reference}@{ended_at}"))
        }
    };
    Ok(Identity {
        series: Series::new(&series).map_err(|fault| RowError::Id("queue", fault))?,
        number: ReceiptNumber::new(&number).map_err(|fault| RowError::Id("number", fault))?,
    })
}

/// A closing of the interface marks the end of a day and says no more than its request does.
fn closing(receipt: &Receipt, request: &Request<'_>) -> Result<Closing, RowError> {
    let name = format!("{}/{}", receipt.series, receipt.receipt);
    let label = |text: &str| Label::new(text).map_err(|fault| RowError::Id("closing", fault));
    let total = request.amount.map(|raw| items::cents("cbReceiptAmount", raw)).transpose()?;
    Ok(Closing {
        tills: vec![receipt.till.clone()],
        closing: label(&name)?,
        source: label(VENDOR)?,
        opened_at: None,
        closed_at: receipt.ended_at,
        receipts: Ranges::new(),
        total_cents: total.unwrap_or(Cents::ZERO),
        cases: Vec::new(),
        payments: Vec::new(),
        cash_moves: Vec::new(),
        supersedes: None,
    })
}

/// Returns the text of a number.
fn number<'a>(what: &'static str, raw: &'a RawValue) -> Result<&'a str, RowError> {
    plain(raw).ok_or(RowError::Number(what))
}

fn label(text: impl Display) -> Option<Label> {
    Label::new(&text.to_string()).ok()
}
