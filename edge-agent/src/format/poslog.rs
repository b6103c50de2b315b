//! ARTS POSLog: the same XML with incompatible signs per vendor, hence never without its dialect.
//! What every dialect has in common stands here: whose receipt it is, when it ended, whether it may
//! count at all. Elements are found by their local names.

use std::str::FromStr;

use shared::ids::{Article, IdError, Label, Series};
use shared::money::{Cents, DecimalError, Milli};
use shared::receipt::{Line, Receipt, ReceiptReference};
use shared::time::{BusinessDay, TimeError, Timestamp};
use shared::words::{Channel, LineKind, NotCounted, Unit as QuantityUnit};

use super::settle::{CENTS_MAX, MILLI_MAX, SettleFault, settle};
use super::stamp::{Place, Stamp, StampError, Stamps};
use super::{Context, Decoder, Item, Refusal, StoreFault, Unit};

mod closing;
mod fakes;
mod fill;
pub mod frame;
mod gk;
mod lex;
mod ncr_acs;
mod record;
mod roqqio;
mod rules;
mod stock;
mod v6;
mod visma;
mod wn_tpnet;
mod xml;

use fill::Filler;
use record::{Body, ControlKind, Link, RecordError, Retail, Transaction};
use rules::{Rules, Standing};

/// The scheme of article numbers that are no GTIN, where a dialect has none of its own.
const VENDOR: &str = "poslog";

/// Flag of a receipt that takes back another one whole.
const RECEIPT_VOID: &str = "receipt_void";

/// Who wrote a POSLog file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// NCR's ACS back office: signed figures, local times.
    NcrAcs,
    /// The seeded shop of this project: absolute figures, direction by element and flag.
    Fakes,
    /// Diebold Nixdorf TP.net, POSLog 2.2.1.
    WnTpnet,
    /// ROQQIO, POSLog 6.
    Roqqio,
    /// Visma Retail, POSLog 6.
    Visma,
    /// GK POS Server, POSLog 3.
    Gk,
    /// POSLog 6 as its schema means it.
    V6,
}

/// A dialect that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect of poslog")]
pub struct DialectError(String);

impl Dialect {
    /// All dialects, as a configuration names them.
    pub const NAMES: &'static [&'static str] =
        &["ncr-acs", "fakes", "wn-tpnet", "roqqio", "visma", "gk", "v6"];

    fn reading(self) -> Reading {
        match self {
            Self::NcrAcs => Reading::NcrAcs,
            Self::Fakes => Reading::Fakes,
            Self::WnTpnet => Reading::Table(&wn_tpnet::RULES),
            Self::Roqqio => Reading::Table(&roqqio::RULES),
            Self::Visma => Reading::Table(&visma::RULES),
            Self::Gk => Reading::Table(&gk::RULES),
            Self::V6 => Reading::Table(&v6::RULES),
        }
    }

    /// Returns its rules, where it is read by a table of them.
    fn rules(self) -> Option<&'static Rules> {
        match self.reading() {
            Reading::NcrAcs | Reading::Fakes => None,
            Reading::Table(rules) => Some(rules),
        }
    }
}

/// How the sales of a dialect are read.
enum Reading {
    NcrAcs,
    Fakes,
    Table(&'static Rules),
}

impl FromStr for Dialect {
    type Err = DialectError;
    fn from_str(text: &str) -> Result<Self, DialectError> {
        match text {
            "ncr-acs" => Ok(Self::NcrAcs),
            "fakes" => Ok(Self::Fakes),
            "wn-tpnet" => Ok(Self::WnTpnet),
            "roqqio" => Ok(Self::Roqqio),
            "visma" => Ok(Self::Visma),
            "gk" => Ok(Self::Gk),
            "v6" => Ok(Self::V6),
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
    #[error("a line has the flag {0}, whose meaning this dialect does not tell")]
    Flag(&'static str),
    #[error("it replaces another receipt, and no file tells whether that one has counted")]
    Replaced,
    #[error("the sign of {0} is not what this dialect means by it")]
    Sign(&'static str),
    #[error("{0} is none that this dialect has")]
    Word(&'static str),
    #[error("it names itself as the receipt that it takes back")]
    Itself,
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

    fn items(&mut self, unit: &Unit) -> Result<Vec<Item>, Fault> {
        // Files in older code pages differ in texts that are not read; a field that is read and
        // holds the replacement character is refused, so that no two articles become one.
        let text = String::from_utf8_lossy(&unit.bytes);
        let found = record::read(&text).map_err(Fault::Record)?;
        let mut receipt = self.head(&found)?;
        match verdict(&found, self.dialect)? {
            Verdict::Counts(retail, standing) => {
                self.fill(&mut receipt, &found, (retail, standing))?;
            }
            Verdict::DoesNotCount(reason) => {
                (receipt.counts, receipt.reason) = (false, Some(reason));
            }
        }
        if let Body::Cash(cash) = &found.body {
            receipt.cash_moves = closing::cash_moves(cash)?;
        }
        settle(&mut receipt).map_err(Fault::Settle)?;
        let beside = self.beside(&found, &receipt)?;
        Ok([vec![Item::Receipt(Box::new(receipt))], beside].concat())
    }

    fn fill(
        &self,
        receipt: &mut Receipt,
        found: &Transaction,
        (retail, standing): (&Retail, Standing),
    ) -> Result<(), Fault> {
        let rules = match (self.dialect.reading(), retail.odd_flag) {
            (Reading::NcrAcs | Reading::Fakes, Some(flag)) => return Err(Fault::Flag(flag)),
            (Reading::NcrAcs, None) => return ncr_acs::fill(receipt, found, retail),
            (Reading::Fakes, None) => None,
            (Reading::Table(rules), _) => Some(rules),
        };
        let link = retail.link.as_ref().or(found.link.as_ref());
        receipt.refers_to = self.refers_to(link, receipt)?;
        if standing == Standing::PostVoided {
            if receipt.refers_to.is_none() {
                return Err(Fault::Missing("the TransactionLink"));
            }
            receipt.flags.push(Label::new(RECEIPT_VOID).expect("a short word is a label"));
        }
        let Some(rules) = rules else { return fakes::fill(receipt, retail, standing) };
        let pseudonyms = self.context.pseudonyms.as_ref().zip(retail.loyalty.as_ref());
        receipt.customer = pseudonyms.and_then(|(pseudonyms, number)| pseudonyms.of(number));
        Filler { rules, articles: &self.context.articles, standing }.fill(receipt, retail)
    }

    /// Reads what a transaction holds beside its number.
    fn beside(&self, found: &Transaction, carrier: &Receipt) -> Result<Vec<Item>, Fault> {
        match &found.body {
            Body::Inventory(inventory) => {
                let vendor = self.dialect.rules().map_or(VENDOR, |rules| rules.vendor);
                let moved = stock::movements(inventory, carrier, &self.context, vendor)?;
                Ok(moved.into_iter().map(|moved| Item::Movement(Box::new(moved))).collect())
            }
            Body::Control(control) => {
                let Some(end) = &control.end_of_day else { return Ok(Vec::new()) };
                let closing = closing::closing(end, carrier, self.opened(found, carrier)?)?;
                Ok(closing.into_iter().map(|closing| Item::Closing(Box::new(closing))).collect())
            }
            Body::Nothing | Body::Retail(_) | Body::Cash(_) | Body::Other(_) => Ok(Vec::new()),
        }
    }

    fn opened(&self, found: &Transaction, carrier: &Receipt) -> Result<Option<Timestamp>, Fault> {
        let Some(began) = &found.began else { return Ok(None) };
        let stamp = Stamp::parse(began).map_err(Fault::Time)?;
        let place = Place {
            till: carrier.till.clone(),
            business_day: carrier.business_day,
            number: carrier.receipt.clone(),
        };
        let opened = Stamps::new(self.context.zone).resolve(stamp, &place);
        opened.map(|(at, _)| Some(at)).map_err(Fault::Time)
    }

    /// Reads which receipt a link names. One that is resumed was none.
    fn refers_to(
        &self,
        link: Option<&Link>,
        receipt: &Receipt,
    ) -> Result<Option<ReceiptReference>, Fault> {
        let Some(link) = link.filter(|link| link.reason.as_deref() != Some("Resume")) else {
            return Ok(None);
        };
        if link.number.is_none() {
            return Ok(None);
        }
        let number = needed("SequenceNumber of a link", &link.number)?.parse();
        let till = match &link.till {
            None => Ok(receipt.till.clone()),
            Some(_) => needed("WorkstationID of a link", &link.till)?.parse(),
        };
        let day = match (&link.business_day, &link.began) {
            (Some(day), _) => day.parse().map_err(Fault::Day)?,
            (None, Some(began)) => {
                let stamp = Stamp::parse(began).map_err(Fault::Time)?;
                stamp.business_day(self.context.zone, self.context.business_day_cut)
            }
            (None, None) => receipt.business_day,
        };
        let named = ReceiptReference {
            till: till.map_err(|error| Fault::Id("WorkstationID of a link", error))?,
            series: series(day)?,
            receipt: number.map_err(|error| Fault::Id("SequenceNumber of a link", error))?,
        };
        let own = (&receipt.till, &receipt.series, &receipt.receipt);
        let itself = (&named.till, &named.series, &named.receipt) == own;
        if itself { Err(Fault::Itself) } else { Ok(Some(named)) }
    }

    /// Reads whose receipt it is and when it ended.
    fn head(&mut self, found: &Transaction) -> Result<Receipt, Fault> {
        let store = self.context.store_of(needed(self.store_name(), &found.store)?);
        let till = needed("WorkstationID", &found.till)?.parse();
        let number = needed("SequenceNumber", &found.number)?.parse();
        let stamp = Stamp::parse(self.ended(found)?).map_err(Fault::Time)?;
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

    fn store_name(&self) -> &'static str {
        match self.dialect {
            Dialect::NcrAcs | Dialect::Fakes | Dialect::WnTpnet => "RetailStoreID",
            Dialect::Roqqio | Dialect::Visma | Dialect::Gk | Dialect::V6 => "UnitID",
        }
    }

    /// Finds when a transaction ended. Some vendors write several times of which only the end is in
    /// UTC, and no end where nothing was sold.
    fn ended<'a>(&self, found: &'a Transaction) -> Result<&'a str, Fault> {
        let others = [&found.printed, &found.logged, &found.began];
        let others = others.into_iter().filter(|_| self.dialect.rules().is_some());
        let first = [&found.ended].into_iter().chain(others).find(|field| field.is_some());
        needed("EndDateTime", first.unwrap_or(&found.ended))
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
        self.items(unit).map_err(|fault| Refusal::because(&fault))
    }
}

/// Receipt numbers of a POSLog till are unique within its business day.
fn series(day: BusinessDay) -> Result<Series, Fault> {
    Series::new(&day.to_string()).map_err(|error| Fault::Id("BusinessDayDate", error))
}

enum Verdict<'a> {
    Counts(&'a Retail, Standing),
    DoesNotCount(NotCounted),
}

fn verdict(found: &Transaction, dialect: Dialect) -> Result<Verdict<'_>, Fault> {
    let reason = match &found.body {
        Body::Nothing => return Err(Fault::Missing("the transaction's kind")),
        Body::Other(name) => return Err(Fault::Kind(name.chars().take(64).collect())),
        Body::Control(control) => match control.kind {
            ControlKind::NoSale => NotCounted::NoSale,
            ControlKind::Reprint => NotCounted::Reprint,
            ControlKind::Other => NotCounted::Control,
        },
        Body::Cash(_) => NotCounted::CashMove,
        Body::Inventory(_) => NotCounted::Control,
        Body::Retail(retail) if found.training || retail.training => NotCounted::Training,
        Body::Retail(retail) => return status(retail, dialect),
    };
    Ok(Verdict::DoesNotCount(reason))
}

/// Tells whether a sale of this status counts. A status whose meaning differs between vendors is a
/// fault: neither counting it nor dropping it would be right everywhere.
fn status(retail: &Retail, dialect: Dialect) -> Result<Verdict<'_>, Fault> {
    let has_rules = dialect.rules().is_some();
    match retail.status.as_deref() {
        None | Some("Finished" | "Tendered" | "Returned") => {
            Ok(Verdict::Counts(retail, Standing::Own))
        }
        Some("Resumed") if has_rules => Ok(Verdict::Counts(retail, Standing::Own)),
        Some("Replaced") if has_rules => Err(Fault::Replaced),
        Some("PostVoided") if has_rules || dialect == Dialect::Fakes => {
            Ok(Verdict::Counts(retail, Standing::PostVoided))
        }
        Some("Suspended" | "SuspendedRetrieved") => {
            Ok(Verdict::DoesNotCount(NotCounted::Suspended))
        }
        Some(
            "Canceled" | "Voided" | "TransactionVoided" | "Failed" | "InProcess" | "Subtotal"
            | "SuspendedDeleted",
        ) => Ok(Verdict::DoesNotCount(NotCounted::Aborted)),
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

/// Reads an amount; what is finer than a cent rounds half up.
fn figure(name: &'static str, field: &Option<String>) -> Result<Cents, Fault> {
    let text = needed(name, field)?;
    let cents = Cents::parse_half_up(text).map_err(|error| Fault::Figure(name, error))?;
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
