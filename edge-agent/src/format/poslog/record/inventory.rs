//! Papers that move goods without a sale: deliveries, transfers, counts, losses.

use super::{LINES_MAX, Read, RecordError, once, without_prefix};
use crate::format::poslog::xml::{Element, Xml};

/// An `InventoryControlTransaction`.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct Inventory {
    pub(in crate::format::poslog) papers: Vec<StockPaper>,
}

/// One document of goods that moved.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct StockPaper {
    /// The element's name, such as `ReceiveInventory`.
    pub(in crate::format::poslog) name: String,
    pub(in crate::format::poslog) status: Option<String>,
    /// The kind of a loss.
    pub(in crate::format::poslog) type_code: Option<String>,
    pub(in crate::format::poslog) document: Option<String>,
    pub(in crate::format::poslog) order: Option<String>,
    pub(in crate::format::poslog) source: Option<String>,
    pub(in crate::format::poslog) destination: Option<String>,
    pub(in crate::format::poslog) supplier: Option<String>,
    pub(in crate::format::poslog) reason: Option<String>,
    pub(in crate::format::poslog) lines: Vec<StockLine>,
}

/// One article of a document.
#[derive(Debug, Default)]
pub(in crate::format::poslog) struct StockLine {
    pub(in crate::format::poslog) position: Option<String>,
    pub(in crate::format::poslog) id: Option<String>,
    pub(in crate::format::poslog) scanned: Option<String>,
    pub(in crate::format::poslog) quantity: Option<String>,
    pub(in crate::format::poslog) received: Option<String>,
    pub(in crate::format::poslog) unit: Option<String>,
    pub(in crate::format::poslog) reason: Option<String>,
    pub(in crate::format::poslog) lot: Option<String>,
    pub(in crate::format::poslog) best_before: Option<String>,
}

pub(super) fn inventory(xml: &mut Xml<'_>) -> Read<Inventory> {
    let mut found = Inventory::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "InventoryCount"
            | "ReceiveInventory"
            | "Transfer"
            | "ReturnToVendor"
            | "InventoryAdjustment"
            | "InventoryLoss" => {
                found.papers.push(paper(xml, &child)?);
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn paper(xml: &mut Xml<'_>, element: &Element<'_>) -> Read<StockPaper> {
    let status = match element.attribute("DocumentStatus")? {
        Some(status) => Some(status),
        None => element.attribute("CountStatus")?,
    };
    let type_code = element.attribute("TypeCode")?.map(without_prefix);
    let name = element.name().to_owned();
    let mut found = StockPaper { name, status, type_code, ..StockPaper::default() };
    while let Some(child) = xml.child()? {
        match child.name() {
            "DocumentID" => once("DocumentID", &mut found.document, xml)?,
            "PurchaseOrderID" => once("PurchaseOrderID", &mut found.order, xml)?,
            "SourceBusinessUnitID" => once("SourceBusinessUnitID", &mut found.source, xml)?,
            "DestinationBusinessUnitID" => {
                once("DestinationBusinessUnitID", &mut found.destination, xml)?;
            }
            "VendorID" | "SupplierID" => once("VendorID", &mut found.supplier, xml)?,
            "ReasonCode" => once("ReasonCode", &mut found.reason, xml)?,
            "LineItem" | "ItemCount" => {
                if found.lines.len() >= LINES_MAX {
                    return Err(RecordError::TooManyLines);
                }
                found.lines.push(line(xml)?);
            }
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn line(xml: &mut Xml<'_>) -> Read<StockLine> {
    let mut found = StockLine::default();
    while let Some(child) = xml.child()? {
        match child.name() {
            "SequenceNumber" | "LineNumber" => once("LineNumber", &mut found.position, xml)?,
            "ItemID" => once("ItemID", &mut found.id, xml)?,
            "POSIdentity" => scanned(xml, &mut found.scanned)?,
            "Quantity" | "CountedQuantity" | "QuantityReturned" | "QuantityShipped" => {
                unit(&child, &mut found)?;
                once("Quantity", &mut found.quantity, xml)?;
            }
            "QuantityReceived" => {
                unit(&child, &mut found)?;
                once("QuantityReceived", &mut found.received, xml)?;
            }
            "DiscrepancyReason" | "ReasonCode" => once("ReasonCode", &mut found.reason, xml)?,
            "LotNumber" => once("LotNumber", &mut found.lot, xml)?,
            "ExpirationDate" => once("ExpirationDate", &mut found.best_before, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn unit(element: &Element<'_>, found: &mut StockLine) -> Read<()> {
    if let Some(unit) = element.attribute("UnitOfMeasureCode")? {
        found.unit = Some(unit);
    }
    Ok(())
}

fn scanned(xml: &mut Xml<'_>, field: &mut Option<String>) -> Read<()> {
    while let Some(child) = xml.child()? {
        match child.name() {
            "POSItemID" if field.is_none() => once("POSItemID", field, xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}
