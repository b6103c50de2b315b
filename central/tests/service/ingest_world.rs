//! A topic, a database and a configuration file of one test's own, and a service that can be killed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use central::Role;
use central::config::Config;
use central::store::Store;
use fakes::postgres::client;
use fakes::stack::Stack;
use fakes::stack::own::{TestDatabase, TestTopics};
use fakes::wait;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared::ids::{Sequence, StoreId, StreamId};
use shared::minute::StoreMinute;
use shared::ranges::Ranges;
use shared::time::{BusinessDay, Clock, Timestamp};
use shared::topics::Topic;
use shared::wire::{encode, store_minute_headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take before the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Everything one test needs; it is gone when this is dropped.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) config_file: PathBuf,
    pub(crate) sql: tokio_postgres::Client,
    pub(crate) store: Store,
    pub(crate) topic: String,
    pub(crate) stack: &'static Stack,
    pub(crate) stream: StreamId,
    /// Three days ago: nothing lies ahead of the broker's clock, whenever the test runs.
    pub(crate) base: Timestamp,
    producer: FutureProducer,
    pub(crate) database: TestDatabase,
    pub(crate) topics: TestTopics<'static>,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(test: &str) -> Self {
        Self::on(Stack::shared(), test).await
    }

    /// Makes one on a stack that a test may disturb.
    pub(crate) async fn on(stack: &'static Stack, test: &str) -> Self {
        let topics = stack.topics_for(test).await.unwrap();
        let database = stack.database_for(test).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config_file = folder.path().join("central.toml");
        let text = config_text(stack, topics.prefix(), &database);
        std::fs::write(&config_file, text).unwrap();
        let config = Config::load(&config_file).unwrap_or_else(|error| panic!("{error}"));
        let store = Store::new(&config.postgres).unwrap();
        store.migrate().await.unwrap();
        Self {
            sql: client::connect(database.access()).await.unwrap(),
            producer: producer(stack),
            stream: StreamId::new(now()),
            base: now().minus(Duration::from_secs(3 * 86_400)).minute().start(),
            topic: Topic::StoreMinutes.name(topics.prefix()),
            config,
            config_file,
            store,
            stack,
            database,
            topics,
            folder,
        }
    }

    /// Sends by a new producer: one that was there when a broker ended may have lost every address.
    pub(crate) fn connect_anew(&mut self) {
        self.producer = producer(self.stack);
    }

    /// Makes a batch of a store; each sequence is a minute of its own.
    pub(crate) fn batch(&self, store: &str, sequence: u64) -> StoreMinute {
        let mut batch: StoreMinute = serde_json::from_str(include_str!(
            "../../../shared/tests/shared/golden/store-minute.full.json"
        ))
        .unwrap();
        batch.store = StoreId::new(store).unwrap();
        batch.stream = self.stream;
        batch.sequence = Sequence::new(sequence).unwrap();
        batch.minute = self.base.plus(Duration::from_secs(60 * sequence)).minute();
        batch.business_day = BusinessDay::new(self.base.utc().date_naive());
        for (line, movement) in batch.stock.iter_mut().enumerate() {
            movement.id = format!("D-{store}-{sequence}/{line}").parse().unwrap();
            movement.occurred_at = batch.minute.start().plus(Duration::from_secs(12));
        }
        // Ten numbers a sequence: no receipt of a till comes twice.
        for till in &mut batch.tills {
            till.receipts = moved(&till.receipts, 10 * sequence);
            till.numbers_without_sale = moved(&till.numbers_without_sale, 10 * sequence);
            till.receipt_ids = vec![format!("A-{sequence}").parse().unwrap()];
        }
        for (line, loss) in batch.losses.iter_mut().enumerate() {
            loss.id = format!("L-{store}-{sequence}/{line}").parse().unwrap();
        }
        batch
    }

    pub(crate) async fn send(&self, batch: &StoreMinute) -> (i32, i64) {
        let headers: Vec<(String, String)> = store_minute_headers(batch, now())
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        self.send_raw(batch.store.as_str().as_bytes(), &headers, &encode(batch)).await
    }

    pub(crate) async fn send_all(&self, store: &str, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            self.send(&self.batch(store, sequence)).await;
        }
    }

    pub(crate) async fn send_raw(
        &self,
        key: &[u8],
        headers: &[(String, String)],
        body: &[u8],
    ) -> (i32, i64) {
        let mut all = OwnedHeaders::new();
        for (key, value) in headers {
            all = all.insert(Header { key, value: Some(value) });
        }
        let record = FutureRecord::to(&self.topic).key(key).payload(body).headers(all);
        let sent = self.producer.send(record, SOON).await.unwrap();
        (sent.partition, sent.offset)
    }

    /// Returns the first column of the first row as a number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }

    /// Waits until this many records are judged.
    pub(crate) async fn until_judged(&self, records: i64) {
        let what = format!("{records} records are judged");
        let found = wait::until(&what, SOON, async || {
            match self.number("SELECT count(*) FROM batch").await {
                judged if judged == records => Ok(()),
                judged => Err(format!("{judged} judged")),
            }
        });
        found.await.unwrap();
    }

    pub(crate) async fn verdicts(&self) -> String {
        let sql = "SELECT coalesce(string_agg(verdict || ' ' || n, ', ' ORDER BY verdict), '')
                   FROM (SELECT verdict, count(*) AS n FROM batch GROUP BY verdict) v";
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Holds the rows against what was sent: everything once, and both ways of summing agree.
    pub(crate) async fn assert_exactly(&self, accepted: &[StoreMinute]) {
        let cents = accepted.iter().flat_map(|batch| &batch.sales).map(|sale| sale.amount_cents.0);
        let milli =
            accepted.iter().flat_map(|batch| &batch.sales).map(|sale| sale.quantity_milli.0);
        let totals = accepted.iter().flat_map(|batch| &batch.tills).map(|till| till.total_cents.0);
        let (cents, milli): (i64, i64) = (cents.sum(), milli.sum());
        let rows = accepted.iter().map(|batch| batch.sales.len()).sum::<usize>();
        for (sql, wanted) in [
            ("SELECT count(*) FROM batch WHERE verdict = 'accepted'", accepted.len() as i64),
            ("SELECT count(*) FROM v1.sales", rows as i64),
            ("SELECT coalesce(sum(amount_cents), 0)::bigint FROM v1.sales", cents),
            ("SELECT coalesce(sum(quantity_milli), 0)::bigint FROM v1.sales", milli),
            ("SELECT coalesce(sum(amount_cents), 0)::bigint FROM article_day", cents),
            ("SELECT coalesce(sum(total_cents), 0)::bigint FROM v1.tills", totals.sum()),
            ("SELECT coalesce(sum(accepted), 0)::bigint FROM v1.streams", accepted.len() as i64),
            (
                "SELECT count(*) FROM v1.stock_movements",
                accepted.iter().map(|batch| batch.stock.len()).sum::<usize>() as i64,
            ),
        ] {
            assert_eq!(self.number(sql).await, wanted, "{sql}");
        }
    }
}

fn moved(numbers: &Ranges, by: u64) -> Ranges {
    numbers.iter().flat_map(|(first, last)| first..=last).map(|number| number + by).collect()
}

/// A service in this process.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) fn start(config: &Config) -> Self {
        Self::start_roles(config, BTreeSet::from([Role::Ingest]))
    }

    pub(crate) fn start_roles(config: &Config, roles: BTreeSet<Role>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let end = async move {
            let _ = stopped.await;
        };
        Self { stop, task: tokio::spawn(central::run(config.clone(), roles, end)) }
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Lets it live this long; it must not end by itself.
    pub(crate) async fn lives(&mut self, span: Duration) {
        if let Ok(ended) = tokio::time::timeout(span, &mut self.task).await {
            panic!("it ended by itself: {ended:?}");
        }
    }

    /// Ends it wherever it stands.
    pub(crate) async fn die(self) {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_cancelled() => {}
            ended => panic!("it ended by itself: {ended:?}"),
        }
    }
}

/// Asks the service's own port and returns status line and body.
pub(crate) async fn ask(config: &Config, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(config.http.listen).await?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until `/readyz` answers with a text.
pub(crate) async fn until_ready_says(config: &Config, text: &str) -> String {
    let what = format!("/readyz says {text}");
    let found = wait::until(&what, SOON, async || match ask(config, "/readyz").await {
        Ok(answer) if answer.contains(text) => Ok(answer),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    });
    found.await.unwrap()
}

pub(crate) fn now() -> Timestamp {
    Clock::real().now()
}

pub(crate) fn producer_settings(stack: &Stack, name: &str) -> ClientConfig {
    let identity = stack.layout().credentials(name);
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", identity.ca.display().to_string())
        .set("ssl.certificate.location", identity.certificate.display().to_string())
        .set("ssl.key.location", identity.key.display().to_string())
        .set("partitioner", "murmur2_random")
        .set("acks", "all");
    settings
}

fn producer(stack: &Stack) -> FutureProducer {
    // A broker that restarts must not make the producer's own repeats look like the sender's.
    producer_settings(stack, "fakes").set("enable.idempotence", "true").create().unwrap()
}

fn config_text(stack: &Stack, prefix: &str, database: &TestDatabase) -> String {
    let (own, admin) = (stack.layout().credentials("central"), stack.layout().credentials("admin"));
    let access = database.access();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "[kafka]\nbrokers = \"{brokers}\"\ntopic_prefix = \"{prefix}\"\n\
         group_prefix = \"{prefix}central\"\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
         admin_certificate = {admin_certificate:?}\nadmin_key = {admin_key:?}\n\
         replication_factor = 1\npartitions = 3\n\
         [postgres]\nhost = \"localhost\"\nport = {pg}\ndatabase = \"{database}\"\nuser = \"{user}\"\n\
         password_file = {password:?}\nca = {ca:?}\n\
         [lake]\npath = \"lake\"\nflush_seconds = 1\n[judge]\nunknown_stores = \"add\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n",
        brokers = stack.brokers(),
        ca = own.ca,
        certificate = own.certificate,
        key = own.key,
        admin_certificate = admin.certificate,
        admin_key = admin.key,
        pg = access.port,
        database = access.database,
        user = access.user,
        password = stack.layout().password(),
    )
}
