//! One run: what a seed draws, sent through the topic while faults strike, and the proof at its end.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use central::store::Store;
use fakes::link::Link;
use fakes::oracle::{Places, verify};
use fakes::postgres::client::{self, Access};
use fakes::stack::Stack;
use fakes::truth::{Entry, Ledger};
use fakes::wait;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::centre::Centre;
use super::draw::{Sending, draw, planted};
use super::fault::{Fault, Place};
use super::gate;
use crate::foreign::{self, Sums};
use crate::ingest_world::World;
use crate::lake_s3::S3Lake;

/// How long a run may take to become exact once nothing fails any more, on a loaded machine.
const EXACT_WITHIN: Duration = Duration::from_secs(120);

/// What a run has seen.
pub(super) struct Told {
    seed: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) records: i64,
    pub(super) set_aside: usize,
    took: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.name()).collect();
        let (records, aside) = (self.records, self.set_aside);
        let (seed, faults, millis) = (self.seed, faults.join(" + "), self.took.as_millis());
        write!(
            out,
            "seed {seed}: {faults}; {records} records, {aside} set aside, exact; {millis} ms"
        )
    }
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) centre: Centre,
    pub(super) chance: ChaCha8Rng,
    /// Where the lake lies, if it is an object store.
    pub(crate) s3: Option<S3Lake>,
    /// What everything that counts sums up to, where that is known before it is sent.
    truth: Option<Sums>,
    /// Records that must get a verdict.
    pub(super) records: i64,
    /// Batches that were sent before, by store and sequence.
    sent: BTreeSet<(String, u64)>,
    /// The database's server.
    access: Access,
}

/// Where a record came to lie.
pub(crate) struct Lies {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) sending: Sending,
}

pub(super) async fn run(stack: &'static Stack, seed: u64) -> Told {
    let started = Instant::now();
    let world = World::on(stack, "faults").await;
    gate::build(&world).await;
    let drawn = draw(&world, seed);
    let place = drawn.faults.iter().filter_map(|fault| fault.lake_in()).next();
    let place = place.unwrap_or(Place::Folder);
    let mut run = Run::begin(world, place, &drawn.parts, drawn.chance).await;
    let mut parts = drawn.parts.iter();
    run.send(parts.next().unwrap()).await;
    for (fault, part) in drawn.faults.iter().zip(parts) {
        fault.strike(&mut run, part).await;
    }
    run.until_exact().await;
    run.until_judged().await;
    let planted = planted(&drawn.parts);
    assert_eq!(run.letters().await, planted, "letters are those of the planted records");
    let told = Told {
        seed,
        faults: drawn.faults,
        records: run.records,
        set_aside: planted.len(),
        took: started.elapsed(),
    };
    run.centre.kill().await;
    told
}

/// The truth is written before anything is sent; what is sent again stands there once.
fn write_truth(world: &World, parts: &[Vec<Sending>]) -> Sums {
    let mut sums = Sums::default();
    let mut ledger = Ledger::open(world.folder.path(), "run").unwrap();
    let mut known = BTreeSet::new();
    for sending in parts.iter().flatten().filter(|sending| !sending.bad) {
        if known.insert((sending.batch.store.clone(), sending.batch.sequence)) {
            ledger.note(&Entry::of_batch(&sending.batch)).unwrap();
            sums.add(&sending.batch);
        }
    }
    sums
}

impl Run {
    /// Writes the truth down and starts the centre.
    pub(super) async fn begin(
        mut world: World,
        place: Place,
        parts: &[Vec<Sending>],
        chance: ChaCha8Rng,
    ) -> Self {
        let truth = write_truth(&world, parts);
        let truth = (!parts.is_empty()).then_some(truth);
        let s3 = match place {
            Place::Folder => None,
            Place::S3 => Some(S3Lake::new(world.stack).await),
        };
        if let Some(lake) = &s3 {
            lake.take_in(&mut world);
        }
        let mut centre = Centre::of(&world).await;
        centre.start();
        let access = world.database.access().clone();
        Self { world, centre, chance, s3, truth, records: 0, sent: BTreeSet::new(), access }
    }

    /// Sends records in their order, and tells where they lie.
    pub(crate) async fn send(&mut self, part: &[Sending]) -> Vec<Lies> {
        let mut all = Vec::new();
        for sending in part {
            let (partition, offset) = self.world.send(&sending.batch).await;
            self.records += 1;
            let batch = &sending.batch;
            self.sent.insert((batch.store.as_str().to_owned(), batch.sequence.get()));
            all.push(Lies { partition, offset, sending: sending.clone() });
        }
        all
    }

    /// Returns true where a part holds something that counts and was not sent before.
    pub(super) fn brings_news(&self, part: &[Sending]) -> bool {
        part.iter().any(|Sending { batch, bad }| {
            !bad && !self.sent.contains(&(batch.store.as_str().to_owned(), batch.sequence.get()))
        })
    }

    /// Returns the partitions of which something was judged.
    pub(super) async fn judged_partitions(&self) -> BTreeSet<i32> {
        let sql = "SELECT partition FROM progress WHERE next_offset > 0";
        let rows = self.world.sql.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Returns how many records of a partition were judged from an offset on.
    pub(super) async fn judged_from(&self, partition: i32, offset: i64) -> i64 {
        let sql = "SELECT count(*) FROM batch WHERE partition = $1 AND record_offset >= $2";
        self.world.sql.query_one(sql, &[&partition, &offset]).await.unwrap().get(0)
    }

    /// Waits until every record has its verdict.
    pub(super) async fn until_judged(&self) {
        let judged = wait::until("every record has a verdict", EXACT_WITHIN, async || {
            match self.world.number("SELECT count(*) FROM batch").await {
                judged if judged == self.records => Ok(()),
                judged => Err(format!("{judged} of {}", self.records)),
            }
        });
        judged.await.unwrap_or_else(|late| panic!("{late}: {}", self.centre.tail()));
    }

    /// Waits until Postgres holds so many receipts.
    pub(super) async fn until_counted(&self, receipts: u64) {
        let sql = "SELECT coalesce(sum(receipt_count), 0)::bigint FROM v1.tills";
        let counted = wait::until("the receipts count", EXACT_WITHIN, async || {
            match self.world.number(sql).await.unsigned_abs() {
                seen if seen == receipts => Ok(()),
                seen => Err(format!("{seen} of {receipts} count")),
            }
        });
        counted.await.unwrap_or_else(|late| panic!("{late}: {}", self.centre.tail()));
    }

    /// Waits until Postgres and the lake hold what the truth says, and nothing else; a reader that is
    /// not ours finds the same sums in the lake.
    pub(crate) async fn until_exact(&self) {
        self.until_agree(true).await;
        let folder = self.lake().display().to_string();
        let found = match &self.s3 {
            Some(lake) => foreign::sums(&lake.address(), Some(&lake.endpoint())),
            None => foreign::sums(&folder, None),
        };
        // What tills rang up is held against Postgres by now, so one is as good as the other.
        let truth = match &self.truth {
            Some(truth) => truth.clone(),
            None => Sums::in_postgres(&self.world.sql).await,
        };
        assert_eq!(found, truth, "DuckDB finds the truth in the lake");
    }

    /// Waits until the lake holds all that Postgres holds; not all that will be sent was sent yet.
    pub(crate) async fn until_followed(&self) {
        self.until_judged().await;
        self.until_agree(false).await;
    }

    async fn until_agree(&self, with_truth: bool) {
        let agree = wait::until("all places agree", EXACT_WITHIN, async || {
            let places = Places {
                dir: self.world.folder.path().to_owned(),
                database: Some(self.access.clone()),
                lake: Some(self.lake_here().await?),
            };
            match verify(&places).await {
                Ok(report) if report.is_exact() => Ok(()),
                Ok(report) if !with_truth && same_sides(&report) => Ok(()),
                Ok(report) => Err(format!("{report:#?}")),
                Err(error) => Err(error.chain()),
            }
        });
        agree.await.unwrap_or_else(|late| panic!("{late}: {}", self.centre.tail()));
    }

    /// Returns store and sequence of what is set aside; each must have one letter.
    async fn letters(&self) -> BTreeSet<(String, i64)> {
        let sql = "SELECT b.store_id, b.sequence, l.times,
                   count(*) OVER (PARTITION BY b.store_id, b.sequence)
                   FROM dead_letter l JOIN batch b ON b.dead_letter_id = l.id";
        let rows = self.world.sql.query(sql, &[]).await.unwrap();
        let letter = |row: &tokio_postgres::Row| {
            assert_eq!((row.get::<_, i64>(2), row.get::<_, i64>(3)), (1, 1), "one letter a record");
            (row.get(0), row.get(1))
        };
        rows.iter().map(letter).collect()
    }

    /// Returns a folder with what the lake holds now.
    async fn lake_here(&self) -> Result<PathBuf, String> {
        match &self.s3 {
            Some(lake) => lake.folder().await,
            None => Ok(self.lake()),
        }
    }

    /// Returns the folder of a lake that lies in one.
    pub(super) fn lake(&self) -> PathBuf {
        self.world.folder.path().join("lake")
    }

    /// Connects again where the server was restarted.
    pub(super) async fn reconnect(&mut self) {
        self.world.sql = client::connect(&self.access).await.unwrap();
    }

    /// Goes on with another server: the name that the program knows leads there from now on.
    pub(super) async fn fail_over_to(&mut self, port: u16) {
        let known = self.centre.link.port();
        self.centre.link.refuse().await;
        self.centre.link = Link::start_on(known, ([127, 0, 0, 1], port).into()).await.unwrap();
        self.access.port = port;
        self.world.config.postgres.port = port;
        self.world.store = Store::new(&self.world.config.postgres).unwrap();
        self.reconnect().await;
    }
}

/// Postgres and the lake are the last two sides of a report.
fn same_sides(report: &fakes::oracle::Report) -> bool {
    let [.., (_, postgres), (_, lake)] = report.totals.as_slice() else { return false };
    (postgres.receipts, postgres.lines, postgres.total_cents, postgres.movements)
        == (lake.receipts, lake.lines, lake.total_cents, lake.movements)
        && postgres.lines > 0
}
