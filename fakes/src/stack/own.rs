//! Stacks for tests: the one that the test run shares, or one of a process' own, which is gone when
//! the process ends, whatever ends it. Topics and databases are made per test.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tokio::sync::oneshot;

use super::state::{Purpose, random_text};
use super::{Plan, Stack, configs, serve_links, topics, up};
use crate::broker::rights::TEST_PREFIX;
use crate::error::StackError;
use crate::postgres::client::{self, Access};
use crate::postgres::standby::Standby;

/// The environment variable that names the folder of the stack that a test run shares.
const SHARED: &str = "FRISCHMARKT_STACK";
/// Partitions of a test's own topics: enough that keys spread, few enough to be made quickly.
const TEST_PARTITIONS: i32 = 3;
/// Ends servers and folder of a stack when its standard input closes.
const GUARDIAN: &str = include_str!("guardian.sh");

/// A stack that belongs to this process, in a folder of its own.
#[derive(Debug)]
pub struct OwnStack {
    stack: Stack,
    links: Option<oneshot::Sender<()>>,
    guardian: Child,
}

/// Topics of one test; deleted when dropped.
#[derive(Debug)]
pub struct TestTopics<'a> {
    stack: &'a Stack,
    prefix: String,
}

/// A database of one test; dropped with everyone in it when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    owner: Access,
    access: Access,
    url: String,
}

/// A standby of a stack's database; ended and removed when dropped.
#[derive(Debug)]
pub struct TestStandby(Standby);

impl Deref for TestStandby {
    type Target = Standby;
    fn deref(&self) -> &Standby {
        &self.0
    }
}

impl Drop for TestStandby {
    fn drop(&mut self) {
        if let Err(error) = apart(|| self.0.remove()) {
            tracing::warn!(error = error.chain(), "a standby stays behind");
        }
    }
}

impl Stack {
    /// Makes a standby of the database that follows it over a port of the loopback address.
    pub async fn standby_over(&self, upstream: u16) -> Result<TestStandby, StackError> {
        let [port] = crate::ports::free()?;
        let folder = self.layout().at(&format!("standby-{}", random_text(8)));
        Standby::follow(&self.postgres(), (upstream, port), folder).await.map(TestStandby)
    }

    /// Returns the stack that the test run shares, or one that this process shares.
    ///
    /// # Panics
    /// Where there is none and none can be put up: without it no test that asks for it can pass.
    pub fn shared() -> &'static Self {
        static STACK: OnceLock<Shared> = OnceLock::new();
        match STACK.get_or_init(find) {
            Shared::Given(stack) => stack,
            Shared::Own(own) => own,
        }
    }

    /// Makes all topics under a prefix of this test's own, which names the test.
    pub async fn topics_for(&self, test: &str) -> Result<TestTopics<'_>, StackError> {
        let prefix = format!("{TEST_PREFIX}{}-{}.", plain(test, '-'), random_text(8));
        self.admin().await?.create_topics(&topics(&prefix, TEST_PARTITIONS)).await?;
        Ok(TestTopics { stack: self, prefix })
    }

    /// Makes an empty database of this test's own, which names the test.
    pub async fn database_for(&self, test: &str) -> Result<TestDatabase, StackError> {
        let mut name = plain(test, '_');
        // Postgres cuts names off at 63 bytes, and the random part must stay.
        name.truncate(40);
        let name = format!("test_{name}_{}", random_text(8).to_lowercase());
        let owner = self.database();
        client::create_database(&owner, &name).await?;
        let url = configs::database_url(self.layout(), self.state(), &name);
        Ok(TestDatabase { access: Access { database: name, ..owner.clone() }, owner, url })
    }
}

impl TestTopics<'_> {
    /// Returns the prefix, which ends with a dot.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Deletes all of them with their records and makes them anew.
    pub async fn recreate(&self) -> Result<(), StackError> {
        let all = topics(&self.prefix, TEST_PARTITIONS);
        let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
        let mut admin = self.stack.admin().await?;
        admin.delete_topics(&names).await?;
        admin.create_topics(&all).await
    }
}

impl Drop for TestTopics<'_> {
    fn drop(&mut self) {
        let names: Vec<String> = topics(&self.prefix, 1).into_iter().map(|one| one.name).collect();
        let deleted = apart(async || self.stack.admin().await?.delete_topics(&names).await);
        if let Err(error) = deleted {
            tracing::warn!(prefix = self.prefix, error = error.chain(), "test topics stay behind");
        }
    }
}

impl TestDatabase {
    /// Returns what a client needs to get in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the URL as psql takes it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = &self.access.database;
        if let Err(error) = apart(|| client::drop_database(&self.owner, name)) {
            tracing::warn!(name, error = error.chain(), "a test database stays behind");
        }
    }
}

impl OwnStack {
    /// Puts up a stack for tests in a new folder of the system's folder for temporary files.
    pub fn start() -> Result<Self, StackError> {
        let name = format!("frischmarkt-stack-{}", random_text(10));
        let dir = std::env::temp_dir().join(name);
        let mut guardian = guard(&dir)?;
        let plan = Plan {
            dir,
            stores: Vec::new(),
            simulation: None,
            purpose: Purpose::Tests,
            links_by: None,
        };
        match apart(|| up(&plan)) {
            Ok(raised) => {
                let links = Some(serve_links_apart(raised.stack.layout().dir().to_owned())?);
                apart(|| raised.stack.wait_for_links())?;
                Ok(Self { stack: raised.stack, links, guardian })
            }
            Err(error) => {
                dismiss(&mut guardian)?;
                Err(error)
            }
        }
    }
}

impl Deref for OwnStack {
    type Target = Stack;
    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        drop(self.links.take());
        if let Err(error) = dismiss(&mut self.guardian) {
            tracing::warn!(error = error.chain(), "the guardian of the stack did not end");
        }
    }
}

#[derive(Debug)]
enum Shared {
    Given(Stack),
    Own(OwnStack),
}

fn find() -> Shared {
    let found = match std::env::var_os(SHARED) {
        Some(dir) => given(&PathBuf::from(dir)).map(Shared::Given),
        None => OwnStack::start().map(Shared::Own),
    };
    found.unwrap_or_else(|error| panic!("no stack for the tests: {}", error.chain()))
}

fn given(dir: &Path) -> Result<Stack, StackError> {
    let stack = Stack::open(dir)?;
    match stack.dead().as_slice() {
        [] => Ok(stack),
        dead => Err(StackError::wrong(format!(
            "{SHARED} names {}, where these are dead: {}",
            dir.display(),
            dead.join(", ")
        ))),
    }
}

fn guard(dir: &Path) -> Result<Child, StackError> {
    let spawned = Command::new("setsid")
        .args(["sh", "-c", GUARDIAN, "guardian"])
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.map_err(|source| StackError::System {
        what: "cannot start the guardian of the stack".to_owned(),
        source,
    })
}

/// Closes the guardian's standard input and returns once it has cleared everything away.
fn dismiss(guardian: &mut Child) -> Result<(), StackError> {
    drop(guardian.stdin.take());
    let failed = |source| StackError::System { what: "no end of the guardian".to_owned(), source };
    let status = guardian.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(StackError::wrong("the stack could not be removed")) }
}

/// Serves the links on a thread of its own until the sender is dropped.
fn serve_links_apart(dir: PathBuf) -> Result<oneshot::Sender<()>, StackError> {
    let (sender, ended) = oneshot::channel::<()>();
    let runtime = runtime()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                served = serve_links(&dir) => if let Err(error) = served {
                    tracing::error!(error = error.chain(), "the links ended");
                },
                _ = ended => {}
            }
        });
    });
    Ok(sender)
}

/// Runs work to its end on a thread of its own: a caller may or may not be inside a runtime.
fn apart<T: Send, W: Future<Output = Result<T, StackError>>>(
    work: impl FnOnce() -> W + Send,
) -> Result<T, StackError> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| runtime()?.block_on(work()));
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, StackError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|source: io::Error| StackError::System {
        what: "cannot start a runtime".to_owned(),
        source,
    })
}

/// Returns a test's name in lower-case letters, digits and a separator.
fn plain(test: &str, separator: char) -> String {
    let letter = |found: char| if found.is_ascii_alphanumeric() { found } else { separator };
    test.chars().map(|found| letter(found.to_ascii_lowercase())).collect()
}
