//! Agent, broker, centre, database and lake together, as processes: the one place where agent and
//! centre meet. What the tills rang up must be in Postgres and in the lake, to the cent.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fakes::oracle::{Places, Report, verify};
use fakes::postgres::client::Access;
use fakes::stack::Stack;
use fakes::stack::own::{TestDatabase, TestTopics};
use fakes::wait;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long everything may take to arrive once nothing is broken any more, on a loaded machine.
const ARRIVES_WITHIN: Duration = Duration::from_secs(600);

/// How a till of the test's store writes.
#[derive(Clone, Copy)]
struct Till {
    format: &'static str,
    dialect: Option<&'static str>,
    zone: &'static str,
    /// The id inside its files, where it is not the store's.
    pos_store: Option<&'static str>,
}

const JSONL: Till = Till { format: "jsonl", dialect: None, zone: "Europe/Berlin", pos_store: None };
const ACS: Till = Till {
    format: "poslog",
    dialect: Some("ncr-acs"),
    zone: "America/New_York",
    pos_store: Some("9"),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_of_agent_and_centre_lose_nothing_and_double_nothing() {
    let seed: u64 =
        std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let kills: u32 = std::env::var("KILLS").map_or(50, |text| text.parse().unwrap());
    println!("SEED={seed} KILLS={kills}");
    let chain = Chain::new("kills", "t1", JSONL).await;
    chain.simulate(60);
    let minutes = (kills * 2).max(20).to_string();
    let shop_seed = (seed % 1_000_000).to_string();
    let shop = ["store", "--dir", chain.dir(), "--store", "t1", "--format", "jsonl"];
    let rest = ["--minutes", &minutes, "--seed", &shop_seed, "--receipts-per-minute", "8"];
    let mut shop = chain.spawn("fakes", &[shop.as_slice(), rest.as_slice()].concat());
    let mut agents = ChaCha8Rng::seed_from_u64(seed);
    let mut centres = ChaCha8Rng::seed_from_u64(seed.wrapping_add(1));
    tokio::join!(
        kill_again_and_again(kills, || chain.agent(), || agents.random_range(20..1500)),
        kill_again_and_again(kills, || chain.centre(), || centres.random_range(50..2500)),
    );
    let (_agent, _centre) = (chain.agent(), chain.centre());
    assert!(shop.wait().await.unwrap().success(), "the shop failed: {}", chain.logs());
    let report = chain.until_exact().await;
    let (_, issued) = report.totals[0];
    assert!(issued.receipts > 100, "the shop was empty: {issued:?}");
}

async fn kill_again_and_again(
    kills: u32,
    start: impl Fn() -> Child,
    mut millis: impl FnMut() -> u64,
) {
    for _ in 0..kills {
        let mut program = start();
        let lives = Duration::from_millis(millis());
        if let Ok(ended) = tokio::time::timeout(lives, program.wait()).await {
            panic!("a program ended by itself with {:?}", ended);
        }
        program.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_file_arrives_to_the_cent() {
    let Some(folder) = shared_data("pos/poslog/ncr-acs-grocery") else { return };
    let chain = Chain::new("acs", "t2", ACS).await;
    let (_agent, _centre) = (chain.agent(), chain.centre());
    chain.drop_file("tills", &folder.join("POSLog.redacted.xml"));
    let sums = "select count(*), sum(receipt_count), sum(total_cents) from v1.tills";
    wait::until("42 receipts are in Postgres", ARRIVES_WITHIN, async || {
        let seen = chain.query(sums).await;
        if seen.ends_with(",42,264372") { Ok(()) } else { Err(seen) }
    })
    .await
    .unwrap();
    let sales = "select sum(lines), sum(quantity_milli) from v1.sales";
    assert_eq!(chain.query(sales).await, "552,650150");
    let golden = golden_buckets(&folder.join("golden_lines.csv"));
    assert_eq!(chain.query_rows(BUCKETS).await, golden, "Postgres per till, minute and article");
    let reconcile = ["--config", &chain.text("central.toml"), "reconcile", "--wait-seconds", "60"];
    chain.run("central", &reconcile).await;
    let minutes = golden.iter().map(|row| row.split(',').nth(1).unwrap().to_owned());
    assert_eq!(minutes.collect::<std::collections::BTreeSet<_>>().len(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seventy_five_thousand_real_lines_arrive_once_however_often_they_are_replayed() {
    let Some(folder) = shared_data("retail/completejourney_sample") else { return };
    let stack = Stack::shared();
    let chain = Chain::of_the_stack(stack).await;
    let _centre = chain.centre();
    let lines = folder.join("lines.csv.gz");
    let dir = stack.layout().dir().to_string_lossy().into_owned();
    let replay = ["replay", "--dir", &dir, "--lines", lines.to_str().unwrap()];
    chain.run("fakes", &replay).await;
    chain.until_exact().await;
    chain.run("fakes", &replay).await;
    let judged =
        "select verdict, count(*) from batch where verdict <> 'refused' group by 1 order by 1";
    wait::until("the second replay is judged", ARRIVES_WITHIN, async || {
        let seen = chain.query(judged).await;
        if seen == "accepted,47167;duplicate,47167" { Ok(()) } else { Err(seen) }
    })
    .await
    .unwrap();
    let report = chain.until_exact().await;
    let (_, issued) = report.totals[0];
    assert_eq!((issued.receipts, issued.lines, issued.total_cents), (47_243, 75_000, 23_393_524));
    assert_eq!(chain.query("select count(distinct store) from v1.sales").await, "293");
    for (file, columns, query) in GOLDEN {
        let golden = golden_rows(&folder.join(file), columns);
        assert_eq!(chain.query_rows(query).await, golden, "{file}");
    }
}

/// The golden files, the columns of each that are compared, and the same sums from Postgres.
const GOLDEN: [(&str, &[&str], &str); 3] = [
    (
        "golden_daily.csv",
        &["day", "lines", "qty", "amount_cents"],
        "select business_day, sum(lines), trim_scale(sum(quantity_milli) / 1000), sum(amount_cents) from v1.sales group by 1",
    ),
    (
        "golden_by_store.csv",
        &["store", "lines", "amount_cents"],
        "select store, sum(lines), sum(amount_cents) from v1.sales group by 1",
    ),
    (
        "golden_by_product.csv",
        &["product", "lines", "qty", "amount_cents"],
        "select replace(article, 'own:replay:', ''), sum(lines), trim_scale(sum(quantity_milli) / 1000), sum(amount_cents) \
         from v1.sales group by 1",
    ),
];

/// Returns the named columns of a golden file, sorted.
fn golden_rows(path: &Path, wanted: &[&str]) -> Vec<String> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns = reader.headers().unwrap().clone();
    let at = |name: &&str| columns.iter().position(|column| column == *name).unwrap();
    let positions: Vec<usize> = wanted.iter().map(at).collect();
    let row =
        |row: csv::StringRecord| positions.iter().map(|&at| row[at].to_owned()).collect::<Vec<_>>();
    let mut rows: Vec<String> =
        reader.records().map(|record| row(record.unwrap()).join(",")).collect();
    rows.sort();
    rows
}

/// Rows per till, minute and article, as the golden file has them: weights and voids netted.
const BUCKETS: &str = "select till, to_char(minute at time zone 'America/New_York', 'YYYY-MM-DD\"T\"HH24:MI'), \
     article, sum(amount_cents), sum(quantity_milli), sum(lines) from v1.sales \
     group by 1, 2, 3 order by 1, 2, 3";

/// Sums the golden lines; the one bottle refund stands there with a positive quantity.
fn golden_buckets(path: &Path) -> Vec<String> {
    let mut sums = std::collections::BTreeMap::<(String, String, String), [i64; 3]>::new();
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns = reader.headers().unwrap().clone();
    for row in reader.records() {
        let row = row.unwrap();
        let field =
            |name: &str| row[columns.iter().position(|column| column == name).unwrap()].to_owned();
        let cents: i64 = field("extended_cents").parse().unwrap();
        let milli: i64 = field("quantity_milli").parse().unwrap();
        let milli = if field("item_type") == "acs:NegativeItem" { -milli } else { milli };
        let key = (field("till"), field("ended_local")[..16].to_owned(), field("article"));
        let sum = sums.entry(key).or_default();
        *sum = [sum[0] + cents, sum[1] + milli, sum[2] + 1];
    }
    let mut rows: Vec<String> = sums
        .into_iter()
        .map(|((till, minute, article), [cents, milli, lines])| {
            format!("{till},{minute},{article},{cents},{milli},{lines}")
        })
        .collect();
    rows.sort();
    rows
}

/// Returns a folder of the third-party samples, or says plainly that the test is skipped.
fn shared_data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FRISCHMARKT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: {} is absent", folder.display());
    None
}

/// One store, its agent and a centre, with topics, database, lake and folders of their own.
struct Chain {
    dir: PathBuf,
    access: Access,
    url: String,
    store: &'static str,
    till: Till,
    own: Option<Own>,
}

/// What goes when the test ends.
struct Own {
    topics: TestTopics<'static>,
    _folder: TempDir,
    _database: TestDatabase,
}

impl Chain {
    async fn new(test: &str, store: &'static str, till: Till) -> Self {
        let stack = Stack::shared();
        let folder = TempDir::new().unwrap();
        let database = stack.database_for(test).await.unwrap();
        let topics = stack.topics_for(test).await.unwrap();
        let chain = Self {
            dir: folder.path().to_owned(),
            access: database.access().clone(),
            url: database.url().to_owned(),
            store,
            till,
            own: Some(Own { topics, _folder: folder, _database: database }),
        };
        for name in ["tills", "stock", "edge", "lake"] {
            std::fs::create_dir_all(chain.path(name).join(store)).unwrap();
        }
        std::fs::write(chain.path("buffer.key"), "5a".repeat(32)).unwrap();
        set_private(&chain.path("buffer.key"));
        std::fs::write(chain.path("password"), &chain.access.password).unwrap();
        set_private(&chain.path("password"));
        chain.write_configs("");
        chain.run("central", &["--config", &chain.text("central.toml"), "migrate"]).await;
        chain
    }

    /// The stack's own topics, database and lake, for what publishes there.
    async fn of_the_stack(stack: &'static Stack) -> Self {
        let chain = Self {
            dir: stack.layout().dir().to_owned(),
            access: stack.database(),
            url: stack.env().unwrap().database_url,
            store: "t1",
            till: JSONL,
            own: None,
        };
        chain.run("central", &["--config", &chain.text("central.toml"), "migrate"]).await;
        chain
    }

    fn prefix(&self) -> &str {
        self.own.as_ref().map_or("frischmarkt.", |own| own.topics.prefix())
    }

    /// Lets time run faster, from some hours ago on.
    fn simulate(&self, speed: u32) {
        let now = shared::time::Clock::real().now();
        let clock = shared::time::Simulation {
            sim_start: now.minus(Duration::from_secs(48 * 3600)).minute().start(),
            real_start: now,
            speed,
        };
        std::fs::write(self.path("clock.json"), serde_json::to_vec(&clock).unwrap()).unwrap();
        self.write_configs(&format!("clock_file = {:?}\n", self.path("clock.json")));
    }

    fn write_configs(&self, clock: &str) {
        std::fs::write(self.path("edge.toml"), self.edge_toml(clock)).unwrap();
        std::fs::write(self.path("central.toml"), self.central_toml(clock)).unwrap();
    }

    fn edge_toml(&self, clock: &str) -> String {
        let stack = Stack::shared();
        let store = shared::ids::StoreId::new(self.store).unwrap();
        let own = stack.layout().store_credentials(&store);
        let Till { format, dialect, zone, pos_store } = self.till;
        let dialect = dialect.map_or(String::new(), |dialect| format!("dialect = {dialect:?}\n"));
        let pos_store = pos_store.map_or(String::new(), |id| format!("pos_store = {id:?}\n"));
        format!(
            "store = {store:?}\nzone = {zone:?}\n{pos_store}state_folder = {state:?}\n{clock}\
             oldest_business_day = \"2017-01-01\"\nfirst_box = true\n\
             [buffer]\npath = {buffer:?}\nkey_file = {key_file:?}\n\
             [kafka]\nbrokers = {brokers:?}\ntopic_prefix = {prefix:?}\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
             [[sources]]\nname = \"tills\"\nkind = \"directory\"\npath = {tills:?}\nformat = {format:?}\n{dialect}\
             [[sources]]\nname = \"stock\"\nkind = \"directory\"\npath = {stock:?}\nformat = \"jsonl\"\n",
            store = self.store,
            state = self.path("edge").join(self.store),
            buffer = self.path("edge").join(self.store).join("buffer.db"),
            key_file = self.path("buffer.key"),
            brokers = stack.brokers(),
            prefix = self.prefix(),
            ca = own.ca,
            certificate = own.certificate,
            key = own.key,
            tills = self.path("tills").join(self.store),
            stock = self.path("stock").join(self.store),
        )
    }

    fn central_toml(&self, clock: &str) -> String {
        let stack = Stack::shared();
        let (own, admin) =
            (stack.layout().credentials("central"), stack.layout().credentials("admin"));
        let access = &self.access;
        format!(
            "{clock}[kafka]\nbrokers = {brokers:?}\ntopic_prefix = {prefix:?}\ngroup_prefix = {group:?}\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
             admin_brokers = {brokers:?}\nadmin_certificate = {admin_certificate:?}\nadmin_key = {admin_key:?}\nreplication_factor = 1\n\
             [postgres]\nhost = \"localhost\"\nport = {port}\ndatabase = {database:?}\nuser = {user:?}\npassword_file = {password:?}\nca = {database_ca:?}\n\
             [lake]\npath = {lake:?}\nflush_seconds = 1\n[judge]\noldest_business_day = \"2017-01-01\"\nunknown_stores = \"add\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
            brokers = stack.brokers(),
            prefix = self.prefix(),
            group = format!("{}central", self.prefix()),
            ca = own.ca,
            certificate = own.certificate,
            key = own.key,
            admin_certificate = admin.certificate,
            admin_key = admin.key,
            port = access.port,
            database = access.database,
            user = access.user,
            password = self.path("password"),
            database_ca = access.ca,
            lake = self.path("lake"),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    fn agent(&self) -> Child {
        self.spawn("edge-agent", &["--config", &self.text("edge.toml"), "run"])
    }

    fn centre(&self) -> Child {
        self.spawn(
            "central",
            &["--config", &self.text("central.toml"), "run", "--roles", "ingest,lake"],
        )
    }

    /// Starts a program; it is killed when the handle is dropped.
    fn spawn(&self, program: &str, arguments: &[&str]) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{program}.log")))
            .unwrap();
        Command::new(beside_this_test(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.spawn(program, arguments).wait().await.unwrap();
        assert!(status.success(), "{program} {arguments:?} ended with {status}: {}", self.logs());
    }

    /// The last lines of each program's log.
    fn logs(&self) -> String {
        let tail = |program: &str| {
            let text =
                std::fs::read_to_string(self.path(&format!("{program}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("\n--- {program}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        ["fakes", "edge-agent", "central"].map(tail).concat()
    }

    /// Renames a copy of a file into the store's folder, as a till does.
    fn drop_file(&self, folder: &str, file: &Path) {
        let into = self.path(folder).join(self.store);
        std::fs::copy(file, into.join(".incoming")).unwrap();
        std::fs::rename(into.join(".incoming"), into.join(file.file_name().unwrap())).unwrap();
    }

    /// Returns the rows of a query as comma separated values.
    async fn query_rows(&self, query: &str) -> Vec<String> {
        let out = Command::new("psql")
            .args([&self.url, "--csv", "--tuples-only", "--no-psqlrc", "-c", query])
            .output()
            .await
            .unwrap();
        assert!(out.status.success(), "{query}: {}", String::from_utf8_lossy(&out.stderr));
        let mut rows: Vec<String> =
            String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    async fn query(&self, query: &str) -> String {
        self.query_rows(query).await.join(";")
    }

    /// Waits until truth, Postgres and lake agree; fails with the first differences.
    async fn until_exact(&self) -> Report {
        let places = Places {
            dir: self.dir.clone(),
            database: Some(self.access.clone()),
            lake: Some(self.path("lake")),
        };
        let exact =
            wait::until("all is exact", ARRIVES_WITHIN, async || match verify(&places).await {
                Ok(report) if report.is_exact() => Ok(report),
                Ok(report) => Err(format!("{report:#?}")),
                Err(error) => Err(error.chain()),
            });
        exact.await.unwrap_or_else(|late| panic!("{late}{}", self.logs()))
    }
}

pub(crate) fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Programs lie beside the folder of the test's own executable.
pub(crate) fn beside_this_test(program: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own.parent().and_then(Path::parent).unwrap().join(program);
    assert!(found.exists(), "{} is not built: cargo build --workspace", found.display());
    found
}
