//! What the database says, through its published views only.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use super::holdings::{
    Holdings, MovementFact, MovementSums, Place, RowFact, RowSums, Side, TillFact, TillSums,
};
use crate::error::StackError;
use crate::postgres::client::{self, Access};

/// Rows fetched at once: a page of a few megabytes.
const PAGE: &str = "FETCH 20000 FROM page";
/// What every question asks first; a day and a minute are numbers from 1970.
const PLACE: &str = "store, (business_day - date '1970-01-01')::text, \
    floor(extract(epoch FROM minute) / 60)::bigint::text, till";

/// A question to a view and what its rows mean; every column is text.
struct Question {
    columns: &'static str,
    sums: &'static str,
    view: &'static str,
    add: fn(&mut Holdings, &Fields) -> Result<(), StackError>,
}

const QUESTIONS: [Question; 5] = [
    Question {
        columns: "",
        sums: "sum(receipt_count)::text, sum(lines_cents)::text, sum(tax_added_cents)::text, \
            sum(adjustment_cents)::text, sum(total_cents)::text",
        view: "v1.tills",
        add: add_till,
    },
    Question {
        columns: ", article, kind, unit, void::text, seller, restock::text",
        sums: "sum(lines)::text, sum(quantity_milli)::text, sum(amount_cents)::text, \
            sum(discount_cents)::text",
        view: "v1.sales",
        add: add_row,
    },
    Question {
        columns: "",
        sums: "sum(adjustment_share_cents)::text",
        view: "v1.sales",
        add: add_share,
    },
    Question {
        columns: "store, (extract(epoch FROM occurred_at) * 1000000)::bigint::text, id, article, \
            kind, unit",
        sums: "count(*)::text, sum(quantity_milli)::text",
        view: "v1.stock_movements",
        add: add_movement,
    },
    Question {
        columns: "store, article, unit",
        sums: "sum(on_hand_milli)::text",
        view: "v1.stock",
        add: add_on_hand,
    },
];

impl Question {
    /// A store's id holds letters, digits, dots, dashes and underscores: nothing to escape.
    fn text(&self, stores: &str) -> String {
        let placed = matches!(self.view, "v1.tills" | "v1.sales");
        let columns = format!("{}{}", if placed { PLACE } else { "" }, self.columns);
        let group: Vec<String> =
            (1..=columns_of(&columns)).map(|number| number.to_string()).collect();
        format!(
            "SELECT {columns}, {} FROM {} WHERE store = ANY(string_to_array('{stores}', ',')) \
             GROUP BY {}",
            self.sums,
            self.view,
            group.join(", ")
        )
    }
}

fn columns_of(columns: &str) -> usize {
    columns.split(',').count()
}

/// A row as texts.
struct Fields(Vec<Option<String>>);

impl Fields {
    fn text(&self, at: usize) -> Result<&str, StackError> {
        self.maybe(at).ok_or_else(|| StackError::wrong(format!("column {at} of a view is null")))
    }

    fn maybe(&self, at: usize) -> Option<&str> {
        self.0.get(at)?.as_deref()
    }

    fn number<T: FromStr<Err: Display>>(&self, at: usize) -> Result<T, StackError> {
        let text = self.text(at)?;
        text.parse().map_err(|error| StackError::wrong(format!("{text:?} in a view: {error}")))
    }

    fn place(&self) -> Result<Place<'_>, StackError> {
        let (store, till) = (self.text(0)?, self.text(3)?);
        Ok(Place { store, day: self.number(1)?, minute: self.number(2)?, till })
    }
}

/// Reads everything about the stores that are compared now, as of one instant.
pub(super) async fn read(access: &Access, holdings: &mut Holdings) -> Result<(), StackError> {
    let client = client::connect(access).await?;
    let failed = || StackError::foreign("Postgres cannot be read");
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    client.batch_execute(begin).await.map_err(failed())?;
    let stores: Vec<&str> = holdings.stores().collect();
    let stores = stores.join(",");
    for question in &QUESTIONS {
        let declare = format!("DECLARE page NO SCROLL CURSOR FOR {}", question.text(&stores));
        client.batch_execute(&declare).await.map_err(failed())?;
        loop {
            let rows = client.query(PAGE, &[]).await.map_err(failed())?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let fields = (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>();
                (question.add)(holdings, &Fields(fields.map_err(failed())?))?;
            }
        }
        client.batch_execute("CLOSE page").await.map_err(failed())?;
    }
    client.batch_execute("COMMIT").await.map_err(failed())
}

fn add_till(holdings: &mut Holdings, row: &Fields) -> Result<(), StackError> {
    let sums = TillSums {
        receipts: row.number(4)?,
        lines_cents: row.number(5)?,
        tax_added_cents: row.number(6)?,
        adjustment_cents: row.number(7)?,
        total_cents: row.number(8)?,
        adjustment_share_cents: 0,
    };
    holdings.add_till(Side::Postgres, &TillFact { place: row.place()?, sums });
    Ok(())
}

fn add_share(holdings: &mut Holdings, row: &Fields) -> Result<(), StackError> {
    let sums = TillSums { adjustment_share_cents: row.number(4)?, ..TillSums::default() };
    holdings.add_till(Side::Postgres, &TillFact { place: row.place()?, sums });
    Ok(())
}

fn add_row(holdings: &mut Holdings, row: &Fields) -> Result<(), StackError> {
    let sums = RowSums {
        lines: row.number(10)?,
        quantity_milli: row.number(11)?,
        amount_cents: row.number(12)?,
        discount_cents: row.number(13)?,
    };
    let fact = RowFact {
        place: row.place()?,
        article: row.text(4)?,
        kind: row.text(5)?,
        unit: row.text(6)?,
        void: row.number(7)?,
        seller: row.maybe(8),
        restock: row.maybe(9).map(|restock| restock == "true"),
        sums,
    };
    holdings.add_row(Side::Postgres, &fact);
    Ok(())
}

fn add_movement(holdings: &mut Holdings, row: &Fields) -> Result<(), StackError> {
    let fact = MovementFact {
        store: row.text(0)?,
        at: row.number(1)?,
        id: row.text(2)?,
        article: row.text(3)?,
        kind: row.text(4)?,
        unit: row.text(5)?,
        sums: MovementSums { movements: row.number(6)?, quantity_milli: row.number(7)? },
    };
    holdings.add_movement(Side::Postgres, &fact);
    Ok(())
}

fn add_on_hand(holdings: &mut Holdings, row: &Fields) -> Result<(), StackError> {
    let key = holdings.stock_key(row.text(0)?, row.text(1)?, row.text(2)?);
    holdings.set_on_hand(Side::Postgres, key, row.number(3)?);
    Ok(())
}

/// Returns every store that the database knows something of.
pub(super) async fn stores(access: &Access) -> Result<BTreeSet<String>, StackError> {
    const STORES: &str = "SELECT store FROM v1.tills UNION SELECT store FROM v1.sales \
        UNION SELECT store FROM v1.stock_movements UNION SELECT store FROM v1.stock";
    let client = client::connect(access).await?;
    let failed = || StackError::foreign("Postgres cannot be read");
    let rows = client.query(STORES, &[]).await.map_err(failed())?;
    rows.iter().map(|row| row.try_get(0).map_err(failed())).collect()
}
