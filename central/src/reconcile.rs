//! The proof that every place holds the same: the accepted batches in the topic, the views and the
//! kept sums in Postgres, the tables of the lake; receipts, lines, quantities and cents per store and
//! business day. Where two differ it looks again at that day alone, per minute and till. Beside that
//! it compares what agents have counted of their days and what tills said at their closings, and looks
//! for receipt numbers that are missing or there twice.
//!
//! It may run beside everything else: all places are cut where the lake's own identifiers are, so
//! what arrives meanwhile belongs to no side. It changes nothing.

mod compare;
pub mod role;
mod rounds;
mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use shared::time::BusinessDay;
use shared::topics::Topic;
use tokio::time::Instant;

use crate::config::Config;
use crate::figures::{Figures, Grain, Key, Part, Scope};
use crate::lake::schema::LakeTable;
use crate::lake::storage::{Storage, StorageError};
use crate::lake::totals::{TableTotals, TotalsError};
use crate::lake::{self, LakeError};
use crate::store::closings::Closings;
use crate::store::digests::Digests;
use crate::store::numbers::ReceiptNumbers;
use crate::store::totals::{ArticleDifference, Cut, Question};
use crate::store::{Store, StoreError};
use compare::Sides;
use topic::{Reading, TopicTotals};

pub use compare::Difference;
pub use topic::TopicError;

/// The pause between two looks at a lake that is behind.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Stores' days that are looked into more closely.
const DAYS_MAX: usize = 5;
/// Differences that are told of each.
const DIFFERENCES_MAX: usize = 20;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The topic's id cannot be found out.
    #[error("the topic is not known")]
    Generation(#[source] LakeError),
    /// Postgres did not answer.
    #[error("Postgres cannot be read")]
    Store(#[source] StoreError),
    /// The topic cannot be read.
    #[error("the topic cannot be summed up")]
    Topic(#[source] TopicError),
    /// The lake's place cannot be asked.
    #[error("the lake's place cannot be used")]
    Place(#[source] StorageError),
    /// The lake cannot be read.
    #[error("the lake cannot be summed up")]
    Lake(#[source] TotalsError),
}

/// What is to be compared.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Stores and days.
    pub scope: Scope,
    /// These days only, where there are any.
    pub days: BTreeSet<BusinessDay>,
    /// How long the lake may take to catch up, real time.
    pub wait: Duration,
}

impl Order {
    /// Returns what is compared, one after the other.
    fn scopes(&self) -> Vec<Scope> {
        let one = |&day: &BusinessDay| Scope { day: Some(day), ..self.scope.clone() };
        let scopes: Vec<Scope> = self.days.iter().map(one).collect();
        if scopes.is_empty() { vec![self.scope.clone()] } else { scopes }
    }
}

/// A kind of difference, the gravest first. Each has an exit status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Kafka, Postgres and the lake do not hold the same.
    Places,
    /// Sums kept per article and day are not those of their rows.
    KeptSums,
    /// Records are not what was judged, or the lake does not catch up.
    Records,
    /// An agent has counted a day otherwise than its rows.
    Digests,
    /// A till's closing says something else than its receipts.
    Closings,
    /// Receipt numbers are missing or there twice.
    ReceiptNumbers,
}

impl Kind {
    /// All kinds, the gravest first.
    pub const ALL: [Self; 6] = [
        Self::Places,
        Self::KeptSums,
        Self::Records,
        Self::Digests,
        Self::Closings,
        Self::ReceiptNumbers,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Places => "places",
            Self::KeptSums => "kept_sums",
            Self::Records => "records",
            Self::Digests => "digests",
            Self::Closings => "closings",
            Self::ReceiptNumbers => "receipt_numbers",
        }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// True where nothing of any kind was found.
    pub equal: bool,
    /// Where the comparison ended: a topic's id, and per partition the first offset that was not
    /// judged yet.
    #[serde(skip)]
    pub judged: (String, Cut),
    /// Records in the topic up to where they are judged; of some days alone, from the first of them on.
    pub records: u64,
    /// Those of them that count.
    pub accepted: u64,
    /// Stores' days that the topic no longer holds whole; there only the others are compared.
    pub days_no_longer_in_kafka: usize,
    /// Sums of the topic.
    pub kafka: Figures,
    /// Sums of the views.
    pub postgres: Figures,
    /// Sums of the tables.
    pub lake: Figures,
    /// How many stores' days differ.
    pub differing_days: usize,
    /// The first differences, as near as they could be located.
    pub differences: Vec<Difference>,
    /// Article days whose kept sums are not those of their rows.
    pub article_days: Vec<ArticleDifference>,
    /// What agents have counted beside the rows.
    pub digests: Digests,
    /// Closings of tills beside their receipts.
    pub closings: Closings,
    /// Receipt numbers that are missing or there twice.
    pub receipt_numbers: Vec<ReceiptNumbers>,
    /// What else is wrong: records that are not what was judged, a lake that does not catch up.
    pub faults: Vec<String>,
}

impl Report {
    /// Returns how many differences of a kind were found.
    pub fn found(&self, kind: Kind) -> usize {
        match kind {
            Kind::Places => self.differing_days,
            Kind::KeptSums => self.article_days.len(),
            Kind::Records => self.faults.len(),
            Kind::Digests => self.digests.differing,
            Kind::Closings => self.closings.compared.differing + self.closings.faults.len(),
            Kind::ReceiptNumbers => self.receipt_numbers.len(),
        }
    }

    /// Returns the gravest kind of difference that was found.
    pub fn gravest(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&kind| self.found(kind) > 0)
    }
}

/// Compares all places.
pub async fn reconcile(config: &Config, order: &Order) -> Result<Report, ReconcileError> {
    let store = Store::new(&config.postgres).map_err(ReconcileError::Store)?;
    let topic = Topic::StoreMinutes.name(&config.kafka.topic_prefix);
    let generation = lake::generation(config, &topic).await.map_err(ReconcileError::Generation)?;
    let storage = Storage::of(&config.lake).map_err(ReconcileError::Place)?;
    let judged = store.judged(&generation).await.map_err(ReconcileError::Store)?;
    let places = Places { config, store, topic, generation, judged };
    let (lake, mut faults) = places.caught_up_lake(&storage, order.wait).await?;
    let scopes = order.scopes();
    let (sides, topic) = places.sides(&lake, &scopes, Grain::Day).await?;
    let differing = sides.differing();
    let differences = places.look_closer(&lake, &sides, &differing).await?;
    let within = places.within(&scopes).await.map_err(ReconcileError::Store)?;
    faults.extend(topic.faults);
    let mut report = Report {
        equal: false,
        records: topic.records,
        accepted: topic.accepted,
        days_no_longer_in_kafka: sides.forgotten.len(),
        kafka: compare::total(&sides.kafka),
        postgres: compare::total(&sides.postgres),
        lake: compare::total(&sides.lake),
        differing_days: differing.len(),
        differences,
        article_days: within.article_days,
        digests: within.digests,
        closings: within.closings,
        receipt_numbers: within.receipt_numbers,
        faults,
        judged: (places.generation.clone(), places.judged.clone()),
    };
    report.equal = report.gravest().is_none();
    Ok(report)
}

/// How the places are reached, and up to where they are compared at most.
struct Places<'a> {
    config: &'a Config,
    store: Store,
    topic: String,
    generation: String,
    judged: Cut,
}

/// What is compared within the database.
#[derive(Default)]
struct Within {
    article_days: Vec<ArticleDifference>,
    digests: Digests,
    closings: Closings,
    receipt_numbers: Vec<ReceiptNumbers>,
}

/// One version of every table, and where it ends.
struct Lake {
    tables: Vec<TableTotals>,
    cuts: BTreeMap<Part, Cut>,
}

impl Places<'_> {
    /// Compares what Postgres itself holds, but for the sums of the views.
    async fn within(&self, scopes: &[Scope]) -> Result<Within, StoreError> {
        let mut all = Within::default();
        for scope in scopes {
            all.article_days.extend(self.store.article_day_differences(scope).await?);
            all.digests.join(self.store.compare_digests(scope).await?);
            all.closings.join(self.store.compare_closings(scope).await?);
            all.receipt_numbers.extend(self.store.receipt_numbers(scope).await?);
        }
        Ok(all)
    }

    /// Opens the lake once it holds every row that was judged when the comparison began.
    async fn caught_up_lake(
        &self,
        storage: &Storage,
        wait: Duration,
    ) -> Result<(Lake, Vec<String>), ReconcileError> {
        let deadline = Instant::now() + wait;
        loop {
            let lake = self.lake(storage).await?;
            let behind = self.behind(&lake).await?;
            if behind.is_empty() || Instant::now() >= deadline {
                return Ok((lake, behind));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn lake(&self, storage: &Storage) -> Result<Lake, ReconcileError> {
        let (mut tables, mut cuts) = (Vec::new(), BTreeMap::new());
        for what in LakeTable::ALL {
            let table = TableTotals::open(storage, what).await.map_err(ReconcileError::Lake)?;
            let mut cut = Cut::new();
            for &partition in self.judged.keys() {
                let name = format!("{}/{partition}", self.generation);
                let end = table.position(&name).await.map_err(ReconcileError::Lake)?;
                cut.insert(partition, end.unwrap_or(0));
            }
            cuts.insert(what.part(), cut);
            tables.push(table);
        }
        Ok(Lake { tables, cuts })
    }

    async fn behind(&self, lake: &Lake) -> Result<Vec<String>, ReconcileError> {
        let mut behind = Vec::new();
        for table in &lake.tables {
            let part = table.table().part();
            let span = (&lake.cuts[&part], &self.judged);
            let lacking = self.store.lacking(&self.generation, part, span).await;
            let lacking = lacking.map_err(ReconcileError::Store)?;
            if lacking > 0 {
                let name = table.table().name();
                behind.push(format!("the lake's table {name} lacks {lacking} accepted batches"));
            }
        }
        Ok(behind)
    }

    async fn sides(
        &self,
        lake: &Lake,
        scopes: &[Scope],
        grain: Grain,
    ) -> Result<(Sides, TopicTotals), ReconcileError> {
        let mut sides = Sides::default();
        for scope in scopes {
            let question =
                Question { generation: &self.generation, cuts: &lake.cuts, scope, grain };
            let figures = self.store.figures(&question).await.map_err(ReconcileError::Store)?;
            sides.postgres.extend(figures);
            for table in &lake.tables {
                let figures = table.figures(scope, grain).await.map_err(ReconcileError::Lake)?;
                for (key, part) in figures {
                    sides.lake.entry(key).or_default().add(&part);
                }
            }
        }
        let reading = Reading {
            kafka: &self.config.kafka,
            topic: &self.topic,
            generation: &self.generation,
            begins: self.begins(scopes).await.map_err(ReconcileError::Store)?,
            ends: &self.judged,
            cuts: &lake.cuts,
        };
        let mut topic = topic::read(&self.store, &reading, scopes, grain)
            .await
            .map_err(ReconcileError::Topic)?;
        sides.kafka = std::mem::take(&mut topic.figures);
        let forgotten = self.store.days_before(&self.generation, &topic.first).await;
        sides.forgotten = forgotten.map_err(ReconcileError::Store)?;
        sides.forgotten.retain(|(store, day)| scopes.iter().any(|one| one.holds(store, *day)));
        Ok((sides, topic))
    }

    /// Returns where the topic's records of some days begin; nothing where all days are meant. A
    /// partition without any of them begins where it ends.
    async fn begins(&self, scopes: &[Scope]) -> Result<Option<Cut>, StoreError> {
        let days: Option<BTreeSet<BusinessDay>> = scopes.iter().map(|scope| scope.day).collect();
        let Some(days) = days else { return Ok(None) };
        let mut begins = self.judged.clone();
        begins.extend(self.store.first_of_days(&self.generation, &days).await?);
        Ok(Some(begins))
    }

    /// Looks at the first differing days per minute and till.
    async fn look_closer(
        &self,
        lake: &Lake,
        coarse: &Sides,
        differing: &[Key],
    ) -> Result<Vec<Difference>, ReconcileError> {
        let days = &differing[..differing.len().min(DAYS_MAX)];
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let scopes: Vec<Scope> = days.iter().filter_map(scope_of).collect();
        let (fine, _) = self.sides(lake, &scopes, Grain::Till).await?;
        let near = fine.differing().into_iter().flat_map(|key| fine.differences(&key));
        let near: Vec<Difference> = near.take(DIFFERENCES_MAX).collect();
        if near.is_empty() {
            return Ok(days.iter().flat_map(|key| coarse.differences(key)).collect());
        }
        Ok(near)
    }
}

fn scope_of(key: &Key) -> Option<Scope> {
    let store = shared::ids::StoreId::new(&key.store).ok()?;
    Some(Scope { store: Some(store), day: Some(key.day) })
}
