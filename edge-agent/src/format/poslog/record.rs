//! A `Transaction` as it stands in the file: texts, not yet judged. This and the files beside it are
//! the list of what may be read at all. Operator, name, card number and signature are not on it, so
//! they cannot leave the decoder; of a customer only the loyalty number is, for its pseudonym.

use super::xml::{Element, Xml, XmlError};

mod control;
mod inventory;
mod retail;

pub(super) use control::{Cash, Control, ControlKind, EndOfDay};
pub(super) use inventory::{Inventory, StockLine, StockPaper};
pub(super) use retail::{
    Change, Discount, Item, LineFlags, Modifier, Retail, Reward, Rounding, Tender, VatTotal,
};

/// Lines of one transaction; the largest of a real store has some hundred.
const LINES_MAX: usize = 50_000;

/// Why a unit is no transaction that can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the Transaction is not readable")]
    Xml(#[from] XmlError),
    #[error("{0} stands twice in one element")]
    Twice(&'static str),
    #[error("the flag {0} is neither true nor false")]
    Flag(&'static str),
    #[error("{0} is an amount without a currency")]
    NoCurrency(&'static str),
    #[error("a transaction of more than {LINES_MAX} lines")]
    TooManyLines,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) training: bool,
    pub(super) store: Option<String>,
    pub(super) till: Option<String>,
    pub(super) number: Option<String>,
    pub(super) business_day: Option<String>,
    pub(super) began: Option<String>,
    pub(super) ended: Option<String>,
    /// Times that some vendors write beside or instead of the end.
    pub(super) printed: Option<String>,
    pub(super) logged: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) link: Option<Link>,
    pub(super) body: Body,
}

/// What kind of transaction it is.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// It says nothing.
    #[default]
    Nothing,
    /// A sale.
    Retail(Retail),
    /// A report, a sign-on, a drawer opened.
    Control(Control),
    /// Cash put in or taken out.
    Cash(Cash),
    /// Goods moved without a sale.
    Inventory(Inventory),
    /// Something else, by its name.
    Other(String),
}

/// Another transaction that one names.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) reason: Option<String>,
    pub(super) till: Option<String>,
    pub(super) number: Option<String>,
    pub(super) business_day: Option<String>,
    pub(super) began: Option<String>,
}

type Read<T> = Result<T, RecordError>;

/// Reads the one transaction of a unit.
pub(super) fn read(text: &str) -> Read<Transaction> {
    let mut xml = Xml::new(text);
    match xml.child()? {
        Some(element) => transaction(&mut xml, &element),
        None => Err(RecordError::Xml(XmlError::Unfinished)),
    }
}

fn transaction(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Transaction> {
    let training = flag(element, "TrainingModeFlag")?;
    let mut found = Transaction { training, ..Transaction::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "RetailStoreID" => once("RetailStoreID", &mut found.store, xml)?,
            "BusinessUnit" => unit_id(xml, &mut found.store)?,
            "WorkstationID" => once("WorkstationID", &mut found.till, xml)?,
            "SequenceNumber" => once("SequenceNumber", &mut found.number, xml)?,
            "BusinessDayDate" => once("BusinessDayDate", &mut found.business_day, xml)?,
            "BeginDateTime" => once("BeginDateTime", &mut found.began, xml)?,
            "EndDateTime" => once("EndDateTime", &mut found.ended, xml)?,
            "ReceiptDateTime" => once("ReceiptDateTime", &mut found.printed, xml)?,
            "POSLogDateTime" => once("POSLogDateTime", &mut found.logged, xml)?,
            "CurrencyCode" => once("CurrencyCode", &mut found.currency, xml)?,
            "TransactionLink" => keep_link(&mut found.link, link(xml, &child)?),
            name if name.ends_with("Transaction") => {
                if !matches!(found.body, Body::Nothing) {
                    return Err(RecordError::Twice("the transaction's kind"));
                }
                found.body = body(xml, &child)?;
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn unit_id(xml: &mut Xml<'_>, store: &mut Option<String>) -> Read<()> {
    while let Some(child) = xml.child()? {
        match child.name() {
            "UnitID" => once("UnitID", store, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn body(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Body> {
    match element.name() {
        "RetailTransaction" => retail::retail(xml, element).map(Body::Retail),
        "ControlTransaction" => control::control(xml).map(Body::Control),
        "TenderControlTransaction" => control::cash(xml).map(Body::Cash),
        "InventoryControlTransaction" => inventory::inventory(xml).map(Body::Inventory),
        other => {
            let name = other.to_owned();
            xml.skip()?;
            Ok(Body::Other(name))
        }
    }
}

fn link(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<Link> {
    let mut found = Link { reason: element.attribute("ReasonCode")?, ..Link::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "WorkstationID" => once("WorkstationID", &mut found.till, xml)?,
            "SequenceNumber" => once("SequenceNumber", &mut found.number, xml)?,
            "BusinessDayDate" => {
                let day = xml.whole_text()?;
                found.business_day = Some(day);
            }
            "BeginDateTime" => once("BeginDateTime", &mut found.began, xml)?,
            "ReasonCode" => once("ReasonCode", &mut found.reason, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

/// Keeps the first link: that of the transaction, which stands before those of lines.
fn keep_link(kept: &mut Option<Link>, found: Link) {
    kept.get_or_insert(found);
}

fn once(name: &'static str, field: &mut Option<String>, xml: &mut Xml<'_>) -> Read<()> {
    match field.replace(xml.text()?) {
        Some(_) => Err(RecordError::Twice(name)),
        None => Ok(()),
    }
}

/// Reads an amount. `XXX` is the code for no currency: only zero may carry it.
fn money(
    name: &'static str,
    field: &mut Option<String>,
    xml: &mut Xml<'_>,
    element: &Element<'_>,
) -> Read<()> {
    let none = element.attribute("Currency")?.as_deref() == Some("XXX");
    once(name, field, xml)?;
    let is_worth = |text: &String| text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if none && field.as_ref().is_some_and(is_worth) {
        return Err(RecordError::NoCurrency(name));
    }
    Ok(())
}

fn flag(element: &Element<'_>, name: &'static str) -> Read<bool> {
    match element.attribute(name)?.as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(RecordError::Flag(name)),
    }
}

/// Takes the prefix off a name that stands as a value, as in `TotalType="acs:GrossPositive"`.
fn without_prefix(name: String) -> String {
    name.rsplit_once(':').map_or(name.clone(), |(_, local)| local.to_owned())
}
