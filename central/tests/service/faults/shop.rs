//! A shop whose till leaves files, and boxes that read them: the real agent with its real buffer, which
//! can be copied, put back, cloned and thrown away. What the till rang up is the truth, whatever box
//! has read it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use edge_agent::buffer::Key;
use edge_agent::buffer::inspect::Inspector;
use fakes::truth::{Entry, Ledger};
use fakes::wait;
use serde_json::json;
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::time::{BusinessDay, Timestamp};
use tempfile::TempDir;

use crate::ingest_world::{SOON, World};
use crate::pipeline::{beside_this_test, set_private};

/// The files of a buffer, but for the mark beside it.
const BUFFER: [&str; 3] = ["buffer.db", "buffer.db-wal", "buffer.db-shm"];
/// The mark beside a buffer.
const MARK: &str = "buffer.db.counter";

/// A till, its folder of files, and the truth of what it rang up.
pub(super) struct Shop {
    pub(super) store: StoreId,
    folder: TempDir,
    truth: Ledger,
    base: Timestamp,
    /// The number of the next receipt; each ended in a minute of its own.
    next: u64,
}

/// A box in the shop.
pub(super) struct ShopBox {
    folder: TempDir,
    agent: Option<Child>,
}

impl Shop {
    /// Opens it for a store of the stack.
    pub(super) fn open(world: &World, store: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let truth = Ledger::open(world.folder.path(), "shop").unwrap();
        let store = StoreId::new(store).unwrap();
        Self { store, folder, truth, base: world.base, next: 1 }
    }

    /// Rings up so many receipts and leaves them as one file; returns the file's name.
    pub(super) fn sell(&mut self, receipts: u64) -> String {
        let numbers = self.next..self.next + receipts;
        self.next = numbers.end;
        let sold: Vec<Receipt> = numbers.map(|number| self.receipt(number)).collect();
        let truth: Vec<Entry> = sold.iter().map(Entry::of_receipt).collect();
        self.truth.note(&truth).unwrap();
        let line = |receipt| serde_json::to_string(receipt).unwrap() + "\n";
        let text: String = sold.iter().map(line).collect();
        // Names in the order of time, as tills give them.
        let name = format!("{:06}.jsonl", self.next);
        let arriving = self.folder.path().join(".arriving");
        std::fs::write(&arriving, text).unwrap();
        std::fs::rename(arriving, self.folder.path().join(&name)).unwrap();
        name
    }

    /// Carries a file away, as a shop's housekeeping does.
    pub(super) fn carry_away(&self, file: &str) {
        std::fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    fn receipt(&self, number: u64) -> Receipt {
        let ended_at = self.base.plus(Duration::from_secs(60 * number + 7));
        let (day, cents) = (BusinessDay::new(self.base.utc().date_naive()), 100 + number);
        serde_json::from_value(json!({"store": self.store, "till": "3", "series": day,
            "receipt": number.to_string(), "business_day": day, "ended_at": ended_at, "counts": true,
            "lines": [{"position": 1, "article": format!("own:x:{}", number % 7), "kind": "sale",
                "unit": "pcs", "quantity_milli": 1000, "amount_cents": cents}],
            "total_cents": cents, "payments": [{"kind": "cash", "cents": cents}]}))
        .unwrap()
    }
}

impl ShopBox {
    /// Installs one that reads the shop's files, on a machine of this name.
    pub(super) fn install(world: &World, shop: &Shop, machine: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("buffer.key"), "5a".repeat(32)).unwrap();
        set_private(&folder.path().join("buffer.key"));
        std::fs::write(folder.path().join("machine"), machine).unwrap();
        let own = world.stack.layout().store_credentials(&shop.store);
        let centre = world.stack.layout().credentials("central");
        let config = format!(
            "store = {store:?}\nstate_folder = {state:?}\nholding_seconds = 1\nfirst_box = true\n\
             machine_id_file = {machine:?}\ncentre_certificate = {centre:?}\n\
             [buffer]\npath = {buffer:?}\nkey_file = {key_file:?}\n\
             [kafka]\nbrokers = {brokers:?}\ntopic_prefix = {prefix:?}\nca = {ca:?}\n\
             certificate = {certificate:?}\nkey = {key:?}\n\
             [[sources]]\nname = \"tills\"\nkind = \"directory\"\npath = {tills:?}\n\
             format = \"jsonl\"\npoll_millis = 100\nmay_empty = true\n",
            store = shop.store.as_str(),
            state = folder.path(),
            machine = folder.path().join("machine"),
            centre = centre.certificate,
            buffer = folder.path().join("buffer.db"),
            key_file = folder.path().join("buffer.key"),
            brokers = world.stack.brokers(),
            prefix = world.config.kafka.topic_prefix,
            ca = own.ca,
            certificate = own.certificate,
            key = own.key,
            tills = shop.folder.path(),
        );
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        Self { folder, agent: None }
    }

    /// Makes another machine of this one's image; its agent does not run.
    pub(super) fn clone_to(&self, world: &World, shop: &Shop, machine: &str) -> Self {
        let copy = Self::install(world, shop, machine);
        self.copy_files(copy.folder.path(), &[&BUFFER[..], &[MARK]].concat());
        copy
    }

    /// Starts the agent.
    pub(super) fn start(&mut self) {
        assert!(self.agent.is_none(), "it runs already");
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"));
        let mut command = self.command(&["run"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.unwrap());
        self.agent = Some(command.spawn().unwrap());
    }

    /// Ends the agent as the end of a service does.
    pub(super) async fn stop(&mut self) {
        let mut agent = self.agent.take().expect("it runs");
        let pid = agent.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let look = async || agent.try_wait().unwrap().ok_or_else(|| "it runs".to_owned());
        let ended = wait::until("the agent has ended", SOON, look).await.unwrap();
        assert!(ended.success(), "{}", self.log());
    }

    /// Ends the agent as a power cut does.
    pub(super) fn kill(&mut self) {
        let mut agent = self.agent.take().expect("it runs");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Runs a command of the agent and returns what it says.
    pub(super) fn run(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&stderr));
        said
    }

    /// Keeps the buffer as it is now, without its mark or with it.
    pub(super) fn keep(&self, under: &str, with: Mark) {
        std::fs::create_dir(self.path(under)).unwrap();
        self.copy_files(&self.path(under), with.files().as_slice());
    }

    /// Puts back what was kept.
    pub(super) fn put_back(&self, under: &str, with: Mark) {
        for file in with.files() {
            if self.path(file).exists() {
                std::fs::remove_file(self.path(file)).unwrap();
            }
            let kept = self.path(under).join(file);
            if kept.exists() {
                std::fs::copy(kept, self.path(file)).unwrap();
            }
        }
    }

    /// Throws the buffer away; the mark beside it stays.
    pub(super) fn wipe(&self) {
        for file in BUFFER.iter().filter(|file| self.path(file).exists()) {
            std::fs::remove_file(self.path(file)).unwrap();
        }
    }

    /// Sends what it has to nowhere, or to the broker again.
    pub(super) fn reach(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.path("edge.toml")).unwrap();
        let [from, to] = [from, to].map(|broker| format!("brokers = {broker:?}"));
        assert!(config.contains(&from), "{config}");
        std::fs::write(self.path("edge.toml"), config.replace(&from, &to)).unwrap();
    }

    /// Waits until its batches hold so many receipts, delivered or not.
    pub(super) async fn until_cut(&self, receipts: u64) {
        self.until_held(receipts, |_| true).await;
    }

    /// Waits until its batches hold so many receipts, and the broker has confirmed all of them.
    pub(super) async fn until_delivered(&self, receipts: u64) {
        self.until_held(receipts, |waiting| waiting == 0).await;
    }

    async fn until_held(&self, receipts: u64, fits: impl Fn(u64) -> bool) {
        let key = Key::from_file(&self.path("buffer.key")).unwrap();
        let look = async || {
            let inspector = Inspector::open(&self.path("buffer.db"), &key);
            let held = inspector.and_then(|it| Ok((it.batch_sums()?, it.figures()?)));
            let (sums, figures) = held.map_err(|error| error.to_string())?;
            let (seen, waiting) = (sums.receipts.unsigned_abs(), figures.backlog);
            if seen == receipts && fits(waiting) {
                return Ok(());
            }
            Err(format!("{seen} receipts are cut, {waiting} batches wait"))
        };
        let held = wait::until("the buffer holds them", SOON, look).await;
        held.unwrap_or_else(|late| panic!("{late}: {}", self.log()));
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(beside_this_test("edge-agent"));
        command.arg("--config").arg(self.path("edge.toml")).args(words);
        command
    }

    fn copy_files(&self, to: &Path, files: &[&str]) {
        for file in files.iter().filter(|file| self.path(file).exists()) {
            std::fs::copy(self.path(file), to.join(file)).unwrap();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for ShopBox {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // It may have ended already; either way none is left behind.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// Whether the mark beside the buffer goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Stays,
    GoesAlong,
}

impl Mark {
    fn files(self) -> Vec<&'static str> {
        let mark = match self {
            Self::Stays => &[][..],
            Self::GoesAlong => &[MARK],
        };
        [&BUFFER[..], mark].concat()
    }
}
