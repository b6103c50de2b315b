//! What a till logs beside sales: drawers, reports, ends of a day with their totals, cash moved.

use super::{Read, RecordError, money, once, without_prefix};
use crate::format::poslog::xml::{Element, Xml};

/// A transaction of the till itself.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Control {
    pub(in crate::format::poslog) kind: ControlKind,
    pub(in crate::format::poslog) end_of_day: Option<EndOfDay>,
}

/// What the number was used for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::format::poslog) enum ControlKind {
    /// A report, a sign-on, a restart.
    #[default]
    Other,
    /// A drawer opened.
    NoSale,
    /// A receipt printed again.
    Reprint,
}

/// The end of a till's or a store's day, with what it summed up.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct EndOfDay {
    /// The element's name: `POSEOD`, `TillEOD` or `BusinessEOD`.
    pub(in crate::format::poslog) name: String,
    pub(in crate::format::poslog) tills: Vec<String>,
    pub(in crate::format::poslog) first_number: Option<String>,
    pub(in crate::format::poslog) last_number: Option<String>,
    pub(in crate::format::poslog) total: Option<String>,
    pub(in crate::format::poslog) taxes: Vec<TaxTotal>,
    pub(in crate::format::poslog) tenders: Vec<(Option<String>, Option<String>)>,
}

/// What an end of a day sums up for one VAT key.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct TaxTotal {
    pub(in crate::format::poslog) key: Option<String>,
    pub(in crate::format::poslog) gross: Option<String>,
    pub(in crate::format::poslog) tax: Option<String>,
}

/// Cash put in or taken out.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Cash {
    pub(in crate::format::poslog) parts: Vec<CashPart>,
}

/// One amount of cash moved.
#[derive(Debug)]
pub(in crate::format::poslog) struct CashPart {
    /// The element's name, such as `PaidOut`.
    pub(in crate::format::poslog) name: String,
    pub(in crate::format::poslog) amount: Option<String>,
}

pub(super) fn control(xml: &mut Xml<'_>) -> Read<Control> {
    let mut found = Control::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "NoSale" => {
                found.kind = ControlKind::NoSale;
                xml.skip()?;
            }
            "ReceiptReprint" => {
                found.kind = ControlKind::Reprint;
                xml.skip()?;
            }
            "ReasonCode" => {
                if matches!(xml.text()?.as_str(), "NoSale" | "no_sale") {
                    found.kind = ControlKind::NoSale;
                }
            }
            "POSEOD" | "TillEOD" | "BusinessEOD" => {
                if found.end_of_day.is_some() {
                    return Err(RecordError::Twice("the end of a day"));
                }
                found.end_of_day = Some(end_of_day(xml, &child)?);
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn end_of_day(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<EndOfDay> {
    let mut found = EndOfDay { name: element.name().to_owned(), ..EndOfDay::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "WorkstationID" => found.tills.push(xml.text()?),
            "StartSequenceNumber" => once("StartSequenceNumber", &mut found.first_number, xml)?,
            "EndSequenceNumber" => once("EndSequenceNumber", &mut found.last_number, xml)?,
            "Total" => {
                let kind = child.attribute("TotalType")?.map(without_prefix);
                if kind.as_deref() == Some("TransactionGrandAmount") {
                    once("TransactionGrandAmount", &mut found.total, xml)?;
                } else {
                    xml.skip()?;
                }
            }
            "Tax" => found.taxes.push(tax_total(xml)?),
            "Tender" => {
                let kind = child.attribute("TenderType")?;
                found.tenders.push((kind, amount(xml)?));
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn tax_total(xml: &mut Xml<'_>) -> Read<TaxTotal> {
    let mut found = TaxTotal::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "TaxGroupID" => once("TaxGroupID", &mut found.key, xml)?,
            "TaxableAmount" => money("TaxableAmount", &mut found.gross, xml, &child)?,
            "Amount" => money("Amount of a tax", &mut found.tax, xml, &child)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn amount(xml: &mut Xml<'_>) -> Read<Option<String>> {
    let mut found = None;
    while let Some(child) = xml.child()? {
        match child.name() {
            "Amount" => money("Amount", &mut found, xml, &child)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

pub(super) fn cash(xml: &mut Xml<'_>) -> Read<Cash> {
    let mut found = Cash::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "PaidIn" | "PaidOut" | "SafeDrop" | "TenderLoan" | "TenderPickup" => {
                cash_parts(xml, child.name(), &mut found.parts)?;
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

/// Reads the amounts of one move: its own, or those of the tenders in it that are cash.
fn cash_parts(xml: &mut Xml<'_>, name: &str, parts: &mut Vec<CashPart>) -> Read<()> {
    let mut own = None;
    while let Some(child) = xml.child()? {
        match child.name() {
            "Amount" => money("Amount", &mut own, xml, &child)?,
            "Tender" => {
                let kind = child.attribute("TenderType")?;
                let amount = amount(xml)?;
                if matches!(kind.as_deref(), None | Some("Cash")) {
                    parts.push(CashPart { name: name.to_owned(), amount });
                }
            }
            _ => xml.skip()?,
        }
    }
    if own.is_some() {
        parts.push(CashPart { name: name.to_owned(), amount: own });
    }
    Ok(())
}
