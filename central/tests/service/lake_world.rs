//! A topic, a database and a lake of one test's own, and a judge by hand: plain statements, row by
//! row, that share nothing with the service's own writer.

use std::collections::BTreeMap;
use std::time::Duration;

use central::config::{
    Config, HttpConfig, JudgeConfig, KafkaConfig, LakeConfig, PostgresConfig, ReconcileConfig,
    UnknownStores,
};
use central::store::Store;
use fakes::postgres::client;
use fakes::stack::Stack;
use fakes::stack::own::{TestDatabase, TestTopics};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared::ids::{Sequence, StoreId, StreamId};
use shared::minute::StoreMinute;
use shared::ranges::Ranges;
use shared::time::{Clock, Timestamp};
use shared::topics::Topic;
use shared::wire::{encode, record_hash, store_minute_headers};

/// How long anything may take before the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Receipt numbers that a batch takes, with and without a sale.
pub(crate) const NUMBERS: u64 = 6;

/// Where a record lies.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) batch: StoreMinute,
}

/// Everything one test needs. The topics and the database go when it is dropped.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) generation: String,
    pub(crate) sql: tokio_postgres::Client,
    pub(crate) store: Store,
    producer: FutureProducer,
    topic: String,
    stream: StreamId,
    _topics: TestTopics<'static>,
    _database: TestDatabase,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(test: &str) -> Self {
        let stack = Stack::shared();
        let topics = stack.topics_for(test).await.unwrap();
        let database = stack.database_for(test).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = config(stack, topics.prefix(), (&database, folder.path()));
        let store = Store::new(&config.postgres).unwrap();
        store.migrate().await.unwrap();
        let topic = Topic::StoreMinutes.name(topics.prefix());
        let generation = central::lake::generation(&config, &topic).await.unwrap();
        Self {
            sql: client::connect(database.access()).await.unwrap(),
            producer: producer(stack),
            stream: StreamId::new(Clock::real().now()),
            config,
            generation,
            store,
            topic,
            _topics: topics,
            _database: database,
            _folder: folder,
        }
    }

    /// Makes a batch of a store; each sequence is a minute of its own, with the next receipt numbers.
    pub(crate) fn batch(&self, store: &str, sequence: u64) -> StoreMinute {
        let mut batch: StoreMinute = serde_json::from_str(include_str!(
            "../../../shared/tests/shared/golden/store-minute.full.json"
        ))
        .unwrap();
        batch.store = StoreId::new(store).unwrap();
        batch.stream = self.stream;
        batch.sequence = Sequence::new(sequence).unwrap();
        let minute = batch.minute.start().plus(Duration::from_secs(60 * sequence));
        batch.minute = minute.minute();
        for till in &mut batch.tills {
            let later = |ranges: &Ranges| shifted(ranges, NUMBERS * (sequence - 1));
            till.receipts = later(&till.receipts);
            till.numbers_without_sale = later(&till.numbers_without_sale);
        }
        for (line, movement) in batch.stock.iter_mut().enumerate() {
            movement.id = format!("D-{store}-{sequence}/{line}").parse().unwrap();
        }
        batch
    }

    pub(crate) async fn send(&self, batch: StoreMinute) -> Sent {
        let mut headers = rdkafka::message::OwnedHeaders::new();
        for (key, value) in &store_minute_headers(&batch, now()) {
            headers = headers.insert(rdkafka::message::Header { key, value: Some(value) });
        }
        let body = encode(&batch);
        let record =
            FutureRecord::to(&self.topic).key(batch.store.as_str()).payload(&body).headers(headers);
        let sent = self.producer.send(record, SOON).await.unwrap();
        Sent { partition: sent.partition, offset: sent.offset, batch }
    }

    /// Sends batches and judges all of them accepted.
    pub(crate) async fn send_accepted(&self, store: &str, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            let sent = self.send(self.batch(store, sequence)).await;
            self.accept(&sent).await;
        }
    }

    pub(crate) async fn accept(&self, sent: &Sent) {
        self.judge(sent, "accepted").await;
        self.insert_rows(&sent.batch).await;
    }

    /// Notes a verdict, and moves the offset that is judged next.
    pub(crate) async fn judge(&self, sent: &Sent, verdict: &str) {
        let Sent { partition, offset, batch } = sent;
        let id = format!("{}/{}", batch.stream, batch.sequence);
        let hash = record_hash(&id, &encode(batch)).to_vec();
        let (store, stream) = (batch.store.as_str(), batch.stream.as_uuid());
        let sequence = i64::try_from(batch.sequence.get()).unwrap();
        self.sql
            .execute(
                "INSERT INTO batch (topic_generation, partition, record_offset, store_id, stream_id,
                                    sequence, verdict, hash, minute, business_day)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    &self.generation, partition, offset, &store, &stream, &sequence, &verdict,
                    &hash, &batch.minute.start().utc(), &batch.business_day.date(),
                ],
            )
            .await
            .unwrap();
        self.sql
            .execute(
                "INSERT INTO progress (topic_generation, partition, next_offset, last_record, last_appended_at)
                 VALUES ($1, $2, $3, $4, now()) ON CONFLICT (topic_generation, partition)
                 DO UPDATE SET next_offset = excluded.next_offset, last_record = excluded.last_record",
                &[&self.generation, partition, &(offset + 1), &hash],
            )
            .await
            .unwrap();
    }

    async fn insert_rows(&self, batch: &StoreMinute) {
        self.store.make_days(&[batch.business_day].into()).await.unwrap();
        let json = serde_json::to_value(batch).unwrap();
        for statement in [INSERT_SALES, INSERT_TILLS, INSERT_STOCK, ADD_ARTICLE_DAYS] {
            self.sql.execute(statement, &[&json]).await.unwrap();
        }
    }
}

const INSERT_SALES: &str = "
    INSERT INTO sale (store_id, stream_id, sequence, position, business_day, minute, till, article, text,
        kind, void, unit, vat_key, vat_bp, seller, restock, moves_stock, quantity_milli, amount_cents,
        discount_cents, adjustment_share_cents, lines)
    SELECT $1->>'store', ($1->>'stream')::uuid, ($1->>'sequence')::bigint, n, ($1->>'business_day')::date,
        ($1->>'minute')::timestamptz, r->>'till', r->>'article', r->>'text', r->>'kind',
        coalesce((r->>'void')::boolean, false), r->>'unit', r->>'vat_key', (r->>'vat_bp')::int,
        r->>'seller', (r->>'restock')::boolean, false, (r->>'quantity_milli')::bigint,
        (r->>'amount_cents')::bigint, (r->>'discount_cents')::bigint,
        (r->>'adjustment_share_cents')::bigint, (r->>'lines')::bigint
    FROM jsonb_array_elements($1::jsonb->'sales') WITH ORDINALITY AS rows (r, n)";
const INSERT_TILLS: &str = "
    INSERT INTO store_minute (store_id, stream_id, sequence, position, business_day, minute, kind, till,
        series, channel, receipts, receipt_ids, numbers_without_sale, receipt_count, lines_cents,
        tax_added_cents, adjustment_cents, total_cents, voided_cents, adjustments, cash_moves, counts)
    SELECT $1->>'store', ($1->>'stream')::uuid, ($1->>'sequence')::bigint, n, ($1->>'business_day')::date,
        ($1->>'minute')::timestamptz, $1->>'kind', r->>'till', r->>'series', r->>'channel',
        r->'receipts', r->'receipt_ids', r->'numbers_without_sale', (r->>'receipt_count')::bigint,
        (r->>'lines_cents')::bigint, (r->>'tax_added_cents')::bigint, (r->>'adjustment_cents')::bigint,
        (r->>'total_cents')::bigint, (r->>'voided_cents')::bigint, r->'adjustments', r->'cash_moves',
        r->'counts'
    FROM jsonb_array_elements($1::jsonb->'tills') WITH ORDINALITY AS rows (r, n)";
const INSERT_STOCK: &str = "
    INSERT INTO stock_movement (store_id, movement_id, stream_id, sequence, position, business_day, minute,
        article, kind, effect, unit, quantity_milli, occurred_at)
    SELECT $1->>'store', r->>'id', ($1->>'stream')::uuid, ($1->>'sequence')::bigint, n,
        ($1->>'business_day')::date, ($1->>'minute')::timestamptz, r->>'article', r->>'kind', 'change',
        r->>'unit', (r->>'quantity_milli')::bigint, (r->>'occurred_at')::timestamptz
    FROM jsonb_array_elements($1::jsonb->'stock') WITH ORDINALITY AS rows (r, n)";
const ADD_ARTICLE_DAYS: &str = "
    INSERT INTO article_day AS kept (store_id, business_day, article, kind, unit, own, quantity_milli,
        amount_cents, discount_cents, adjustment_share_cents, lines)
    SELECT $1->>'store', ($1->>'business_day')::date, r->>'article', r->>'kind', r->>'unit',
        r->>'seller' IS NULL, sum((r->>'quantity_milli')::bigint), sum((r->>'amount_cents')::bigint),
        sum((r->>'discount_cents')::bigint), sum((r->>'adjustment_share_cents')::bigint),
        sum((r->>'lines')::bigint)
    FROM jsonb_array_elements($1::jsonb->'sales') r
    GROUP BY r->>'article', r->>'kind', r->>'unit', r->>'seller' IS NULL
    ON CONFLICT (store_id, business_day, article, kind, unit, own) DO UPDATE SET
        quantity_milli = kept.quantity_milli + excluded.quantity_milli,
        amount_cents = kept.amount_cents + excluded.amount_cents,
        lines = kept.lines + excluded.lines";

fn now() -> Timestamp {
    Clock::real().now()
}

fn producer(stack: &Stack) -> FutureProducer {
    let identity = stack.layout().credentials("fakes");
    ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", identity.ca.display().to_string())
        .set("ssl.certificate.location", identity.certificate.display().to_string())
        .set("ssl.key.location", identity.key.display().to_string())
        .set("acks", "all")
        .create()
        .unwrap()
}

fn config(stack: &Stack, prefix: &str, own: (&TestDatabase, &std::path::Path)) -> Config {
    let (database, folder) = own;
    let identity = stack.layout().credentials("central");
    let access = database.access();
    Config {
        clock: Clock::real(),
        kafka: KafkaConfig {
            brokers: stack.brokers(),
            topic_prefix: prefix.to_owned(),
            group_prefix: format!("{prefix}central"),
            instance: None,
            ca: identity.ca.clone(),
            certificate: identity.certificate,
            key: identity.key,
            admin_brokers: stack.brokers(),
            admin: None,
            replication_factor: 1,
            partitions: 3,
        },
        postgres: PostgresConfig {
            host: "localhost".to_owned(),
            port: access.port,
            database: access.database.clone(),
            user: access.user.clone(),
            password_file: stack.layout().password(),
            ca: identity.ca,
        },
        lake: LakeConfig {
            path: folder.join("lake").display().to_string(),
            flush_seconds: 1,
            upkeep_minutes: 60,
            credentials_file: None,
            options: BTreeMap::new(),
        },
        judge: JudgeConfig { oldest_business_day: None, unknown_stores: UnknownStores::Refuse },
        reconcile: ReconcileConfig { every_minutes: 60, full_every_rounds: 24 },
        http: HttpConfig { listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)) },
    }
}

fn shifted(ranges: &Ranges, by: u64) -> Ranges {
    let mut later = Ranges::new();
    ranges.iter().for_each(|(first, last)| later.insert_range(first + by, last + by));
    later
}
