//! Gathers the demo's figures from everyone who has some: the truth, the agents' buffers, the
//! topic, the database and the lake.

use anyhow::Context;
use serde_json::Value;
use shared::time::Timestamp;

use super::measure::{self, Delays, Judged};
use super::programs::Place;
use super::report::{EXACT, NOT_EXACT, Report, Sums};
use super::script::Length;
use super::stage::{GRACE_SECONDS, STORES, Stage};
use crate::oracle::{self, Places, Side, Totals};
use crate::postgres::client;
use crate::stack::Stack;

/// How long a question to the database may take while the demo plays.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// What was gathered.
pub(crate) struct Figures {
    oracle: oracle::Report,
    edge: Sums,
    kafka: Sums,
    counts: Counts,
    batches: Vec<Judged>,
}

#[derive(Default)]
struct Counts {
    duplicate_receipts: i64,
    duplicate_records: i64,
    supplements: i64,
    quarantined: i64,
    dead_letters: i64,
}

impl Figures {
    /// Asks everyone, then lets agents and centre leave.
    pub(crate) async fn gather(stage: &mut Stage) -> anyhow::Result<Self> {
        let oracle = verify(stage).await?;
        let (edge, quarantined) = edge(stage).await?;
        let kafka = kafka(stage).await?;
        let (mut counts, batches) = database(stage).await?;
        counts.quarantined = quarantined;
        stage.leave().await?;
        Ok(Self { oracle, edge, kafka, counts, batches })
    }

    /// Makes the report of the figures.
    pub(crate) fn report(&self, stage: &Stage, length: Length) -> Report {
        let of = |side| {
            self.oracle.totals.iter().find(|(one, _)| *one == side).map(|(_, totals)| sums(totals))
        };
        let places = vec![
            ("issued", of(Side::Truth).unwrap_or_default()),
            ("edge", self.edge),
            ("Kafka", self.kafka),
            ("Postgres", of(Side::Postgres).unwrap_or_default()),
            ("lake", of(Side::Lake).unwrap_or_default()),
        ];
        let differences = self.differences(&places);
        let (undisturbed, all): (Delays, Delays) =
            measure::delays(&self.batches, stage.simulation(), stage.disturbances());
        Report {
            verdict: if differences.is_empty() { EXACT } else { NOT_EXACT },
            simulated_minutes: length.minutes,
            speed: length.speed,
            places,
            duplicate_receipts: self.counts.duplicate_receipts,
            duplicate_records: self.counts.duplicate_records,
            supplements: self.counts.supplements,
            quarantined: self.counts.quarantined,
            dead_letters: self.counts.dead_letters,
            agent_memory: stage.memory(),
            agent_bytes: measure::size(&stage.place().program("edge-agent")),
            undisturbed,
            all,
            differences,
        }
    }

    /// Says where the oracle found a difference, and which place's sums are not the issued ones.
    fn differences(&self, places: &[(&'static str, Sums)]) -> Vec<String> {
        let mut differences: Vec<String> = self
            .oracle
            .differences
            .iter()
            .map(|found| {
                let sides = self.oracle.sides.iter().zip(&found.said);
                let said: Vec<String> =
                    sides.map(|(side, said)| format!("{side:?}: {said}")).collect();
                format!("store {}, {}: {}", found.store, found.place, said.join("; "))
            })
            .collect();
        let issued = places.first().map(|(_, sums)| *sums).unwrap_or_default();
        let other = |(_, sums): &&(&str, Sums)| *sums != issued;
        differences.extend(
            places
                .iter()
                .filter(other)
                .map(|(place, sums)| format!("{place} has {sums}; issued were {issued}")),
        );
        if issued.receipts == 0 {
            differences.push("nothing was issued, so nothing is proved".to_owned());
        }
        differences
    }
}

fn sums(totals: &Totals) -> Sums {
    let fits = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    Sums {
        receipts: fits(totals.receipts),
        lines: fits(totals.lines),
        cents: fits(totals.total_cents),
    }
}

async fn verify(stage: &Stage) -> anyhow::Result<oracle::Report> {
    let stack = Stack::open(&stage.place().dir)?;
    let places = Places {
        dir: stack.layout().dir().to_owned(),
        database: Some(stack.database()),
        lake: Some(stack.layout().lake()),
    };
    Ok(oracle::verify(&places).await?)
}

/// Sums what the agents' buffers hold, and counts what they set aside.
async fn edge(stage: &Stage) -> anyhow::Result<(Sums, i64)> {
    let (mut sums, mut quarantined) = (Sums::default(), 0);
    for (store, _) in STORES {
        let config = stage.edge_config(store);
        let arguments = ["--config", &config, "buffer", "stats", "--json"];
        let stats: Value =
            serde_json::from_str(&stage.place().run("edge-agent", &arguments).await?)?;
        sums.receipts += number(&stats, "/batches/receipts")?;
        sums.lines += number(&stats, "/batches/lines")?;
        sums.cents += number(&stats, "/batches/total_cents")?;
        quarantined += number(&stats, "/quarantined")?;
    }
    Ok((sums, quarantined))
}

/// Asks the centre what the topic holds. A difference is no failure here: it shows in the table.
async fn kafka(stage: &Stage) -> anyhow::Result<Sums> {
    let config = stage.central_config();
    let arguments = ["--config", &config, "reconcile", "--json"];
    let (_, out, error) = stage.place().try_run("central", &arguments).await?;
    let totals: Value = serde_json::from_str(&out)
        .with_context(|| format!("central reconcile said no JSON: {out}{error}"))?;
    Ok(Sums {
        receipts: number(&totals, "/kafka/receipts")?,
        lines: number(&totals, "/kafka/lines")?,
        cents: number(&totals, "/kafka/total_cents")?,
    })
}

fn number(value: &Value, pointer: &str) -> anyhow::Result<i64> {
    value
        .pointer(pointer)
        .and_then(Value::as_i64)
        .with_context(|| format!("no {pointer} in {value}"))
}

async fn database(stage: &Stage) -> anyhow::Result<(Counts, Vec<Judged>)> {
    let stack = Stack::open(&stage.place().dir)?;
    let client = client::connect(&stack.database()).await?;
    let row = client
        .query_one(
            "select count(*) filter (where verdict = 'duplicate'), \
             count(*) filter (where verdict = 'accepted' and kind = 'supplement'), \
             count(*) filter (where verdict = 'refused'), \
             (select coalesce(sum((counts->>'duplicates')::bigint), 0)::bigint from v1.tills) from batch",
            &[],
        )
        .await?;
    let counts = Counts {
        duplicate_records: row.try_get(0)?,
        supplements: row.try_get(1)?,
        dead_letters: row.try_get(2)?,
        duplicate_receipts: row.try_get(3)?,
        quarantined: 0,
    };
    let rows = client
        .query(
            "select (extract(epoch from minute) * 1000)::bigint, (extract(epoch from judged_at) * 1000)::bigint \
             from batch where verdict = 'accepted' and kind = 'original'",
            &[],
        )
        .await?;
    let grace = std::time::Duration::from_secs(60 + GRACE_SECONDS);
    let mut batches = Vec::with_capacity(rows.len());
    for row in rows {
        let at = |column| -> anyhow::Result<Timestamp> {
            Timestamp::from_unix_millis(row.try_get(column)?).context("a time out of range")
        };
        batches.push(Judged { due: at(0)?.plus(grace), judged_at: at(1)? });
    }
    Ok((counts, batches))
}

/// Counts what the truth ledgers hold so far.
pub(crate) fn issued_so_far(place: &Place) -> u64 {
    let mut receipts = 0;
    let counted = crate::truth::read(&place.dir, |entry| {
        receipts += u64::from(matches!(entry, crate::truth::Entry::Receipt(_)));
    });
    // The ledger is being written: a line that is not whole yet is counted the next time.
    drop(counted);
    receipts
}

/// Counts what is in the database so far, or nothing where it is away.
pub(crate) async fn stored_so_far(place: &Place) -> Option<i64> {
    let look = async {
        let stack = Stack::open(&place.dir).ok()?;
        let client = client::connect(&stack.database()).await.ok()?;
        let row = client
            .query_one("select coalesce(sum(receipt_count), 0)::bigint from v1.tills", &[])
            .await
            .ok()?;
        row.try_get::<_, i64>(0).ok()
    };
    tokio::time::timeout(LOOK, look).await.ok().flatten()
}
