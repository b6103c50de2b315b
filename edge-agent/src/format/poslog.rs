//! ARTS POSLog: the same XML with incompatible signs per vendor, hence never without its dialect.
//! What every dialect has in common stands here: whose receipt it is, when it ended, whether it may
//! count at all. Elements are found by their local names.

use std::str::FromStr;

use shared::ids::{Article, IdError, Label, Series};
use shared::money::{Cents, DecimalError, Milli};
use shared::receipt::{Line, Receipt};
use shared::time::{BusinessDay, TimeError};
use shared::words::{Channel, LineKind, NotCounted, Unit as QuantityUnit};

use super::settle::{CENTS_MAX, MILLI_MAX, SettleFault, settle};
use super::stamp::{Place, Stamp, StampError, Stamps};
use super::{Context, Decoder, Item, Refusal, StoreFault, Unit};

mod fakes;
pub mod frame;
mod lex;
mod ncr_acs;
mod record;
mod xml;

use record::{Body, RecordError, Retail, Transaction};

/// Who wrote a POSLog file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// NCR's ACS back office: signed figures, local times.
    NcrAcs,
    /// The seeded shop of this project: absolute figures, direction by element and flag.
    Fakes,
}

/// A dialect that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect of poslog")]
pub struct DialectError(String);

impl Dialect {
    /// All dialects, as a configuration names them.
    pub const NAMES: &'static [&'static str] = &["ncr-acs", "fakes"];
}

impl FromStr for Dialect {
    type Err = DialectError;
    fn from_str(text: &str) -> Result<Self, DialectError> {
        match text {
            "ncr-acs" => Ok(Self::NcrAcs),
            "fakes" => Ok(Self::Fakes),
            other => Err(DialectError(other.to_owned())),
        }
    }
}

/// Why a transaction is set aside.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the unit is no transaction")]
    Record(#[source] RecordError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    #[error("{0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("{0} is no figure that a till can mean")]
    Figure(&'static str, #[source] DecimalError),
    #[error("{0} is larger than any till's")]
    TooLarge(&'static str),
    #[error("it is of another store")]
    Store(#[source] StoreFault),
    #[error("its time is not usable")]
    Time(#[source] StampError),
    #[error("its business day is not usable")]
    Day(#[source] TimeError),
    #[error("a transaction of kind {0} is not read")]
    Kind(String),
    #[error("the status {0:?} is not known in this dialect")]
    Status(String),
    #[error("the sign of {0} is not what this dialect means by it")]
    Sign(&'static str),
    #[error("{what} is {found}, its parts make {made}")]
    Check { what: &'static str, found: Cents, made: Cents },
    #[error("a difference of {0} is explained by no element")]
    Unexplained(Cents),
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of POSLog units.
#[derive(Debug)]
pub struct PoslogDecoder {
    dialect: Dialect,
    context: Context,
    stamps: Stamps,
}

impl PoslogDecoder {
    /// Makes a decoder for a store.
    pub fn new(dialect: Dialect, context: Context) -> Self {
        let stamps = Stamps::new(context.zone);
        Self { dialect, context, stamps }
    }

    fn receipt(&mut self, unit: &Unit) -> Result<Receipt, Fault> {
        // Files in older code pages differ in texts that are not read; a field that is read and
        // holds the replacement character is refused, so that no two articles become one.
        let text = String::from_utf8_lossy(&unit.bytes);
        let found = record::read(&text).map_err(Fault::Record)?;
        let mut receipt = self.head(&found)?;
        match verdict(&found)? {
            Verdict::Counts(retail) => {
                match self.dialect {
                    Dialect::NcrAcs => ncr_acs::fill(&mut receipt, &found, retail),
                    Dialect::Fakes => fakes::fill(&mut receipt, retail),
                }?;
            }
            Verdict::DoesNotCount(reason) => {
                (receipt.counts, receipt.reason) = (false, Some(reason));
            }
        }
        settle(&mut receipt).map_err(Fault::Settle)?;
        Ok(receipt)
    }

    /// Reads whose receipt it is and when it ended.
    fn head(&mut self, found: &Transaction) -> Result<Receipt, Fault> {
        let store = self.context.store_of(needed("RetailStoreID", &found.store)?);
        let till = needed("WorkstationID", &found.till)?.parse();
        let number = needed("SequenceNumber", &found.number)?.parse();
        let stamp = Stamp::parse(needed("EndDateTime", &found.ended)?).map_err(Fault::Time)?;
        let business_day = self.business_day(found, stamp)?;
        let place = Place {
            till: till.map_err(|error| Fault::Id("WorkstationID", error))?,
            number: number.map_err(|error| Fault::Id("SequenceNumber", error))?,
            business_day,
        };
        let store = store.map_err(Fault::Store)?;
        let (ended_at, flag) = self.stamps.resolve(stamp, &place).map_err(Fault::Time)?;
        let flags = flag.map(Label::new).transpose().map_err(|error| Fault::Id("a flag", error))?;
        Ok(Receipt {
            store,
            till: place.till,
            series: series(business_day)?,
            receipt: place.number,
            business_day,
            ended_at,
            counts: true,
            reason: None,
            channel: Channel::Till,
            fiscal: None,
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

    fn business_day(&self, found: &Transaction, stamp: Stamp) -> Result<BusinessDay, Fault> {
        match &found.business_day {
            Some(day) => day.parse().map_err(Fault::Day),
            None => Ok(stamp.business_day(self.context.zone, self.context.business_day_cut)),
        }
    }
}

impl Decoder for PoslogDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        match self.receipt(unit) {
            Ok(receipt) => Ok(vec![Item::Receipt(Box::new(receipt))]),
            Err(fault) => Err(Refusal::because(&fault)),
        }
    }
}

/// Receipt numbers of a POSLog till are unique within its business day.
fn series(day: BusinessDay) -> Result<Series, Fault> {
    Series::new(&day.to_string()).map_err(|error| Fault::Id("BusinessDayDate", error))
}

enum Verdict<'a> {
    Counts(&'a Retail),
    DoesNotCount(NotCounted),
}

fn verdict(found: &Transaction) -> Result<Verdict<'_>, Fault> {
    let reason = match &found.body {
        Body::Nothing => return Err(Fault::Missing("the transaction's kind")),
        Body::Other(name) => return Err(Fault::Kind(name.chars().take(64).collect())),
        Body::Control { no_sale: true } => NotCounted::NoSale,
        Body::Control { no_sale: false } => NotCounted::Control,
        Body::Cash => NotCounted::CashMove,
        Body::Retail(_) if found.training => NotCounted::Training,
        Body::Retail(retail) => match status(retail)? {
            None => return Ok(Verdict::Counts(retail)),
            Some(reason) => reason,
        },
    };
    Ok(Verdict::DoesNotCount(reason))
}

/// Tells why a sale of this status does not count. A status whose meaning differs between vendors
/// is a fault: neither counting it nor dropping it would be right everywhere.
fn status(retail: &Retail) -> Result<Option<NotCounted>, Fault> {
    match retail.status.as_deref() {
        None | Some("Finished" | "Tendered" | "Returned") => Ok(None),
        Some("Suspended" | "SuspendedRetrieved") => Ok(Some(NotCounted::Suspended)),
        Some(
            "Canceled" | "Voided" | "TransactionVoided" | "Failed" | "InProcess" | "Subtotal"
            | "SuspendedDeleted",
        ) => Ok(Some(NotCounted::Aborted)),
        Some(other) => Err(Fault::Status(other.chars().take(64).collect())),
    }
}

fn needed<'a>(name: &'static str, field: &'a Option<String>) -> Result<&'a str, Fault> {
    match field.as_deref() {
        None | Some("") => Err(Fault::Missing(name)),
        Some(text) if text.contains(char::REPLACEMENT_CHARACTER) => Err(Fault::NotUtf8(name)),
        Some(text) => Ok(text),
    }
}

fn cents(name: &'static str, field: &Option<String>) -> Result<Cents, Fault> {
    let text = needed(name, field)?;
    let cents = Cents::parse(text).map_err(|error| Fault::Figure(name, error))?;
    let fits = (-CENTS_MAX..=CENTS_MAX).contains(&cents.0);
    if fits { Ok(cents) } else { Err(Fault::TooLarge(name)) }
}

fn milli(name: &'static str, field: &Option<String>) -> Result<Milli, Fault> {
    let text = needed(name, field)?;
    let milli = Milli::parse(text).map_err(|error| Fault::Figure(name, error))?;
    let fits = (-MILLI_MAX..=MILLI_MAX).contains(&milli.0);
    if fits { Ok(milli) } else { Err(Fault::TooLarge(name)) }
}

fn total(retail: &Retail, name: &'static str) -> Result<Cents, Fault> {
    cents(name, &retail.totals.get(name).cloned())
}

fn sum(what: &'static str, parts: impl IntoIterator<Item = Cents>) -> Result<Cents, Fault> {
    Cents::checked_sum(parts).ok_or(Fault::TooLarge(what))
}

fn label(name: &'static str, field: &Option<String>) -> Result<Option<Label>, Fault> {
    if field.as_deref().is_none_or(str::is_empty) {
        return Ok(None);
    }
    Label::new(needed(name, field)?).map(Some).map_err(|error| Fault::Id(name, error))
}

/// Brings an item's number into the form of the canonical receipt: 14 digits where it is one of a
/// GTIN's lengths, a scheme of its own where it is not.
fn article(item: &record::Item) -> Result<Article, Fault> {
    let id = needed("ItemID", &item.id)?;
    let digits = id.bytes().all(|byte| byte.is_ascii_digit());
    let normal = match id.len() {
        8 | 12 | 13 | 14 if digits => format!("{id:0>14}"),
        _ if id.contains(':') => id.to_owned(),
        _ => format!("own:poslog:{id}"),
    };
    Article::new(&normal).map_err(|error| Fault::Id("ItemID", error))
}

/// Makes a line with what every dialect reads in the same way.
fn line(item: &record::Item, kind: LineKind, unit: QuantityUnit) -> Result<Line, Fault> {
    let position = needed("SequenceNumber of a line", &item.position)?;
    let vat_bp = item.vat_percent.as_ref().map(|_| cents("Percent", &item.vat_percent));
    let vat_bp = vat_bp.transpose()?.map(|percent| u32::try_from(percent.0));
    Ok(Line {
        position: position.parse().map_err(|_| Fault::Missing("SequenceNumber of a line"))?,
        article: article(item)?,
        text: None,
        kind,
        void: item.void,
        unit,
        quantity_milli: milli("Quantity", &item.quantity)?,
        amount_cents: cents("ExtendedAmount", &item.amount)?,
        discount_cents: match &item.discount {
            None => Cents::ZERO,
            Some(_) => cents("ExtendedDiscountAmount", &item.discount)?,
        },
        adjustment_share_cents: Cents::ZERO,
        vat_key: label("TaxGroupID", &item.vat_key)?,
        vat_bp: vat_bp.transpose().map_err(|_| Fault::Sign("Percent"))?,
        reductions: Vec::new(),
        seller: None,
        restock: None,
    })
}
