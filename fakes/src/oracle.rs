//! The judge from outside: is everything that was issued in the database and in the warehouse, to
//! the cent, and nothing else? Shares no code with what it judges: it reads the views and the Delta
//! log by its own few lines and has its own rule for stock on hand.

mod compare;
mod database;
mod holdings;
mod lake;
mod on_hand;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use shared::ids::StoreId;

use crate::error::StackError;
use crate::postgres::client::Access;
use crate::stack::Stack;
use crate::till::projection::Carries;
use crate::truth::{self, Entry};

pub use compare::{DIFFERENCES_MAX, Difference, Report, Totals};
use holdings::Holdings;
pub use holdings::Side;

/// Rows of truth that are compared at once: their keys and figures take half a gigabyte.
const SHARE_ROWS_MAX: usize = 1_000_000;

/// Where truth, database and warehouse lie.
#[derive(Debug, Clone)]
pub struct Places {
    /// The stack's folder, with the truth in it.
    pub dir: PathBuf,
    /// The service's database.
    pub database: Option<Access>,
    /// The warehouse's folder.
    pub lake: Option<PathBuf>,
}

/// Compares everything that was issued with what the database and the warehouse hold.
pub async fn verify(places: &Places) -> Result<Report, StackError> {
    let shares = shares(places)?;
    let mut report = Report::new(places.sides());
    let issued: BTreeSet<StoreId> = shares.iter().flatten().cloned().collect();
    report.not_compared = others(places, &issued).await?;
    report.lines_untold = lines_untold(places)?;
    for stores in &shares {
        let mut holdings = Holdings::new(stores);
        truth::read(&places.dir, |entry| said::add(&mut holdings, &entry))
            .map_err(StackError::foreign("the truth cannot be read"))?;
        if let Some(access) = &places.database {
            database::read(access, &mut holdings).await?;
        }
        if let Some(folder) = &places.lake {
            lake::read(folder, &mut holdings)?;
        }
        if let Some(side) = places.sides().into_iter().find(|side| *side != Side::Truth) {
            holdings.leave_lines_to(side, &report.lines_untold);
        }
        compare::add(&mut report, holdings);
    }
    Ok(report)
}

impl Places {
    fn sides(&self) -> Vec<Side> {
        let database = self.database.as_ref().map(|_| Side::Postgres);
        let lake = self.lake.as_ref().map(|_| Side::Lake);
        [Some(Side::Truth), database, lake].into_iter().flatten().collect()
    }
}

/// Returns the stores whose tills' format cannot say a line as it was rung up.
fn lines_untold(places: &Places) -> Result<BTreeSet<String>, StackError> {
    if !places.dir.join("run/stack.json").exists() {
        return Ok(BTreeSet::new());
    }
    let stack = Stack::open(&places.dir)?;
    let stores = stack.state().stores.iter();
    let untold = stores.filter(|store| !Carries::of(store.format).says_lines());
    Ok(untold.map(|store| store.id.to_string()).collect())
}

/// Cuts the stores into shares whose truth fits into memory.
fn shares(places: &Places) -> Result<Vec<BTreeSet<StoreId>>, StackError> {
    let mut rows: BTreeMap<StoreId, usize> = BTreeMap::new();
    truth::read(&places.dir, |entry| match rows.get_mut(entry.store()) {
        Some(known) => *known += rows_of(&entry),
        None => {
            rows.insert(entry.store().clone(), rows_of(&entry));
        }
    })
    .map_err(StackError::foreign("the truth cannot be read"))?;
    let mut shares = vec![(BTreeSet::new(), 0)];
    for (store, more) in rows {
        if shares.last().is_some_and(|(_, taken)| *taken > 0 && taken + more > SHARE_ROWS_MAX) {
            shares.push((BTreeSet::new(), 0));
        }
        if let Some((stores, taken)) = shares.last_mut() {
            stores.insert(store);
            *taken += more;
        }
    }
    Ok(shares.into_iter().map(|(stores, _)| stores).collect())
}

fn rows_of(entry: &Entry) -> usize {
    match entry {
        Entry::Receipt(receipt) => receipt.lines.len() + 1,
        Entry::Batch(batch) => batch.sales.len() + batch.tills.len(),
        Entry::Movement(_) => 1,
        Entry::WithoutSale(_) => 0,
    }
}

/// Returns the stores that somebody else put there.
async fn others(
    places: &Places,
    issued: &BTreeSet<StoreId>,
) -> Result<BTreeSet<String>, StackError> {
    let mut found = BTreeSet::new();
    if let Some(access) = &places.database {
        found.extend(database::stores(access).await?);
    }
    if let Some(folder) = &places.lake {
        found.extend(lake::stores(folder)?);
    }
    found.retain(|store| StoreId::new(store).is_ok_and(|store| !issued.contains(&store)));
    Ok(found)
}
