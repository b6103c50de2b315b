//! What the warehouse says: the live files of its tables, by the Delta log. Never writes, and never
//! names the library that the warehouse is written with.

mod columns;
mod log;

use std::collections::BTreeSet;
use std::path::Path;

use super::holdings::{
    Holdings, MovementFact, MovementSums, Place, RowFact, RowSums, Side, TillFact, TillSums,
};
use crate::error::StackError;
use columns::Page;

const TILL_COLUMNS: [&str; 9] = [
    "store",
    "business_day",
    "minute",
    "till",
    "receipt_count",
    "lines_cents",
    "tax_added_cents",
    "adjustment_cents",
    "total_cents",
];
const SALES_COLUMNS: [&str; 15] = [
    "store",
    "business_day",
    "minute",
    "till",
    "article",
    "kind",
    "unit",
    "void",
    "seller",
    "restock",
    "lines",
    "quantity_milli",
    "amount_cents",
    "discount_cents",
    "adjustment_share_cents",
];
const MOVEMENT_COLUMNS: [&str; 7] =
    ["store", "occurred_at", "id", "article", "kind", "unit", "quantity_milli"];

/// Reads everything about the stores that are compared now.
pub(super) fn read(folder: &Path, holdings: &mut Holdings) -> Result<(), StackError> {
    each_page(&folder.join("tills"), &TILL_COLUMNS, |page| add_tills(holdings, page))?;
    each_page(&folder.join("sales"), &SALES_COLUMNS, |page| add_rows(holdings, page))?;
    let table = folder.join("stock_movements");
    each_page(&table, &MOVEMENT_COLUMNS, |page| add_movements(holdings, page))
}

/// Returns every store that the warehouse knows something of.
pub(super) fn stores(folder: &Path) -> Result<BTreeSet<String>, StackError> {
    let mut found = BTreeSet::new();
    for table in ["tills", "sales", "stock_movements"] {
        each_page(&folder.join(table), &["store"], |page| {
            for row in 0..page.rows() {
                found.insert(page.text("store", row)?.to_owned());
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// A table that does not exist yet holds nothing.
fn each_page(
    table: &Path,
    columns: &[&str],
    mut each: impl FnMut(&Page) -> Result<(), StackError>,
) -> Result<(), StackError> {
    for file in log::live_files(table)? {
        columns::read(&file, columns, &mut each)?;
    }
    Ok(())
}

fn place(page: &Page, row: usize) -> Result<Place<'_>, StackError> {
    Ok(Place {
        store: page.text("store", row)?,
        day: page.day("business_day", row)?,
        minute: page.number("minute", row)?.div_euclid(60_000_000),
        till: page.text("till", row)?,
    })
}

fn add_tills(holdings: &mut Holdings, page: &Page) -> Result<(), StackError> {
    for row in 0..page.rows() {
        let place = place(page, row)?;
        if !holdings.compares(place.store) {
            continue;
        }
        let sums = TillSums {
            receipts: page.number("receipt_count", row)?.into(),
            lines_cents: page.number("lines_cents", row)?.into(),
            tax_added_cents: page.number("tax_added_cents", row)?.into(),
            adjustment_cents: page.number("adjustment_cents", row)?.into(),
            total_cents: page.number("total_cents", row)?.into(),
            adjustment_share_cents: 0,
        };
        holdings.add_till(Side::Lake, &TillFact { place, sums });
    }
    Ok(())
}

fn add_rows(holdings: &mut Holdings, page: &Page) -> Result<(), StackError> {
    for row in 0..page.rows() {
        let place = place(page, row)?;
        if !holdings.compares(place.store) {
            continue;
        }
        let share = page.number("adjustment_share_cents", row)?.into();
        let sums = TillSums { adjustment_share_cents: share, ..TillSums::default() };
        holdings.add_till(Side::Lake, &TillFact { place, sums });
        let sums = RowSums {
            lines: page.number("lines", row)?.into(),
            quantity_milli: page.number("quantity_milli", row)?.into(),
            amount_cents: page.number("amount_cents", row)?.into(),
            discount_cents: page.number("discount_cents", row)?.into(),
        };
        let fact = RowFact {
            place,
            article: page.text("article", row)?,
            kind: page.text("kind", row)?,
            unit: page.text("unit", row)?,
            void: page.flag("void", row)? == Some(true),
            seller: page.maybe_text("seller", row)?,
            restock: page.flag("restock", row)?,
            sums,
        };
        holdings.add_row(Side::Lake, &fact);
    }
    Ok(())
}

fn add_movements(holdings: &mut Holdings, page: &Page) -> Result<(), StackError> {
    for row in 0..page.rows() {
        let store = page.text("store", row)?;
        if !holdings.compares(store) {
            continue;
        }
        let quantity = page.number("quantity_milli", row)?.into();
        let fact = MovementFact {
            store,
            at: page.number("occurred_at", row)?,
            id: page.text("id", row)?,
            article: page.text("article", row)?,
            kind: page.text("kind", row)?,
            unit: page.text("unit", row)?,
            sums: MovementSums { movements: 1, quantity_milli: quantity },
        };
        holdings.add_movement(Side::Lake, &fact);
    }
    Ok(())
}
