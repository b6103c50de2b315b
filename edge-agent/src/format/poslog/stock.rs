//! Papers of an `InventoryControlTransaction` become stock movements, each known by document and line.
//! Figures are absolute, but for a correction's; the paper's kind decides the sign. A paper that is
//! not final moves nothing.

use shared::ids::{Article, Label, MovementId};
use shared::money::Milli;
use shared::receipt::{Receipt, StockMovement};
use shared::words::{StockKind, Unit};

use super::record::{Inventory, StockLine, StockPaper};
use super::{Fault, label, milli, needed, rules};
use crate::format::settle::settle_movement;
use crate::format::{Context, article};

/// Words of a paper that is not final, or no longer.
const NOT_FINAL: [&str; 10] = [
    "Canceled",
    "Cancelled",
    "Voided",
    "Draft",
    "Open",
    "Pending",
    "Planned",
    "Started",
    "InProgress",
    "Suspended",
];

/// Reads the movements of a transaction; `carrier` is its number's receipt.
pub(super) fn movements(
    inventory: &Inventory,
    carrier: &Receipt,
    context: &Context,
    vendor: &str,
) -> Result<Vec<StockMovement>, Fault> {
    let mut found = Vec::new();
    for paper in &inventory.papers {
        if paper.status.as_deref().is_some_and(|status| NOT_FINAL.contains(&status)) {
            continue;
        }
        let kind = kind(paper, carrier, context)?;
        for (at, line) in paper.lines.iter().enumerate() {
            let movement = Movement { paper, carrier, context, vendor, kind: kind.clone() };
            found.push(movement.read(line, at + 1)?);
        }
    }
    Ok(found)
}

fn kind(paper: &StockPaper, carrier: &Receipt, context: &Context) -> Result<StockKind, Fault> {
    match paper.name.as_str() {
        "InventoryCount" => Ok(StockKind::Count),
        "ReceiveInventory" => Ok(StockKind::Delivery),
        "ReturnToVendor" => Ok(StockKind::SupplierReturn),
        "InventoryAdjustment" => Ok(StockKind::Correction),
        "InventoryLoss" => Ok(StockKind::Waste),
        "Transfer" => {
            let is_ours = |unit: &Option<String>| {
                unit.as_deref().is_some_and(|unit| {
                    context.store_of(unit).is_ok_and(|store| store == carrier.store)
                })
            };
            match (is_ours(&paper.source), is_ours(&paper.destination)) {
                (true, false) => Ok(StockKind::TransferOut),
                (false, true) => Ok(StockKind::TransferIn),
                (true, true) | (false, false) => {
                    Err(Fault::Word("the pair of stores of a Transfer"))
                }
            }
        }
        other => Err(Fault::Kind(other.chars().take(64).collect())),
    }
}

struct Movement<'a> {
    paper: &'a StockPaper,
    carrier: &'a Receipt,
    context: &'a Context,
    vendor: &'a str,
    kind: StockKind,
}

impl Movement<'_> {
    fn read(&self, line: &StockLine, place: usize) -> Result<StockMovement, Fault> {
        let quantity = self.quantity(line)?;
        let unit = rules::unit(line.unit.as_deref(), Unit::Pieces);
        let counterparty = match self.kind {
            StockKind::TransferOut => &self.paper.destination,
            StockKind::TransferIn => &self.paper.source,
            StockKind::Announced
            | StockKind::Delivery
            | StockKind::Waste
            | StockKind::Count
            | StockKind::OwnUse
            | StockKind::SupplierReturn
            | StockKind::Produced
            | StockKind::Consumed
            | StockKind::Blocked
            | StockKind::SaleOther
            | StockKind::Correction
            | StockKind::Unknown(_) => &self.paper.supplier,
        };
        let movement = StockMovement {
            id: self.id(line, place)?,
            article: self.article(line)?,
            kind: self.kind.clone(),
            unit: unit.map_err(|error| Fault::Id("UnitOfMeasureCode", error))?,
            quantity_milli: quantity,
            occurred_at: self.carrier.ended_at,
            order: label("PurchaseOrderID", &self.paper.order)?,
            counterparty: label("the other party", counterparty)?,
            reason: self.reason(line)?,
            best_before: line
                .best_before
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(Fault::Day)?,
            lot: label("LotNumber", &line.lot)?,
        };
        settle_movement(&movement).map_err(Fault::Settle)?;
        Ok(movement)
    }

    fn quantity(&self, line: &StockLine) -> Result<Milli, Fault> {
        let comes_in = matches!(self.kind, StockKind::Delivery | StockKind::TransferIn);
        let read = if comes_in && line.received.is_some() {
            milli("QuantityReceived", &line.received)?
        } else {
            milli("Quantity", &line.quantity)?
        };
        match self.kind.sign() {
            0 => Ok(read),
            _ if read.0 < 0 => Err(Fault::Sign("Quantity of a paper")),
            sign => Ok(Milli(sign * read.0)),
        }
    }

    /// Names a line by its document; without one by the transaction that carries it.
    fn id(&self, line: &StockLine, place: usize) -> Result<MovementId, Fault> {
        let line = line.position.clone().unwrap_or_else(|| place.to_string());
        let document = match label("DocumentID", &self.paper.document)? {
            Some(document) => document.to_string(),
            None => {
                let Receipt { till, business_day, receipt, .. } = self.carrier;
                format!("{till}/{business_day}/{receipt}")
            }
        };
        let id = MovementId::new(&format!("{}-{document}/{line}", self.paper.name));
        id.map_err(|error| Fault::Id("DocumentID", error))
    }

    fn article(&self, line: &StockLine) -> Result<Article, Fault> {
        let gtin = line.scanned.as_ref().filter(|code| article::is_gtin(code));
        let code = gtin.or(line.id.as_ref()).or(line.scanned.as_ref()).cloned();
        let scanned = self.context.articles.scanned(needed("ItemID", &code)?, self.vendor);
        scanned.map(|scanned| scanned.article).map_err(|error| Fault::Id("ItemID", error))
    }

    /// Says why goods were lost or corrected.
    fn reason(&self, line: &StockLine) -> Result<Option<Label>, Fault> {
        let own = line.reason.clone().or_else(|| self.paper.reason.clone());
        let lost = self.paper.type_code.as_ref().map(|word| word.to_lowercase());
        if self.kind == StockKind::Waste {
            return label("TypeCode of a loss", &lost.or(own));
        }
        label("ReasonCode", &own)
    }
}
