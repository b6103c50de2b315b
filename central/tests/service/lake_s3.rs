//! A lake in an object store: what proves it, what refuses it, and what a test needs of one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use central::config::Config;
use central::lake::schema::LakeTable;
use central::lake::storage::Storage;
use central::lake::upkeep;
use central::lake::writer::LakeWriter;
use central::reconcile::{Kind, Order, reconcile};
use fakes::authority::Credentials;
use fakes::s3::client::{Client, Mirror};
use fakes::s3::proxy::{Failure, Plan, Proxy};
use fakes::s3::{CREDENTIALS, REGION};
use fakes::stack::{Server, Stack};
use fakes::wait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shared::log::Chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use crate::faults::Place;
use crate::faults::scenarios;
use crate::ingest_world::{SOON, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_gives_a_name_once_is_proved_and_every_wrong_one_is_told_apart() {
    let mut world = World::new("s3_proof").await;
    let lake = S3Lake::new(Stack::shared()).await;
    lake.take_in(&mut world);
    let mut config = world.config.lake.clone();

    Storage::of(&config).unwrap().prove().await.unwrap();
    assert!(lake.client.names(&lake.bucket).await.unwrap().is_empty(), "the probe is gone");

    let place = std::mem::replace(&mut config.path, "s3://no-such-bucket/lake".to_owned());
    let refused = Storage::of(&config).unwrap().prove().await.unwrap_err();
    assert!(refused.to_string().contains("no bucket for s3://no-such-bucket/lake"), "{refused}");
    assert!(!refused.is_transient());

    config.path = place;
    config.options.insert("endpoint".to_owned(), "http://127.0.0.1:1".to_owned());
    let refused = Storage::of(&config).unwrap().prove().await.unwrap_err();
    assert!(refused.to_string().contains("the store at http://127.0.0.1:1"), "{refused}");
    assert!(refused.is_transient());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_tls_is_trusted_by_the_authority_that_is_named() {
    let mut world = World::new("s3_tls").await;
    let lake = S3Lake::new(Stack::shared()).await;
    lake.take_in(&mut world);
    let identity = world.stack.layout().credentials("postgres");
    let port = serve_tls(&identity, lake.port).await;
    let mut config = world.config.lake.clone();
    config.options.insert("endpoint".to_owned(), format!("https://localhost:{port}"));
    config.options.remove("allow_http");

    let refused = Storage::of(&config).unwrap().prove().await.unwrap_err();
    assert!(Chain(&refused).to_string().contains("certificate"), "{}", Chain(&refused));
    let ca = identity.ca.display().to_string();
    config.options.insert("certificate_path".to_owned(), ca);
    Storage::of(&config).unwrap().prove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_wrong_bucket_ends_and_says_why_and_check_says_so_before() {
    let mut world = World::new("s3_start").await;
    let lake = S3Lake::new(Stack::shared()).await;
    lake.take_in(&mut world);
    let (good, _) = central(&world, &["check"]).await;
    assert!(good.contains(&format!("ok      lake: s3://{}/lake", lake.bucket)), "{good}");

    let text = std::fs::read_to_string(&world.config_file).unwrap();
    std::fs::write(&world.config_file, text.replace(&lake.bucket, "no-such-bucket")).unwrap();
    let (wrong, status) = central(&world, &["check"]).await;
    assert_eq!(status, 1, "{wrong}");
    assert!(wrong.contains("FAILED  lake: there is no bucket"), "{wrong}");
    let lines = text.lines().filter(|line| !line.starts_with("credentials_file"));
    std::fs::write(&world.config_file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (unknown, status) = central(&world, &["check"]).await;
    assert_eq!(status, 1, "{unknown}");
    assert!(unknown.contains("there are no credentials"), "{unknown}");
    assert!(unknown.contains("AWS_ACCESS_KEY_ID"), "{unknown}");
    std::fs::write(&world.config_file, text.replace(&lake.bucket, "no-such-bucket")).unwrap();
    let (said, status) = central(&world, &["run", "--roles", "ingest,lake"]).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("no bucket for s3://no-such-bucket/lake"), "{said}");
    assert!(said.contains("make it, or correct lake.path"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_once_although_nothing_that_is_put_is_confirmed_at_first() {
    let mut world = World::new("s3_made").await;
    for unconfirmed in [1, 2, 3, 5, 8] {
        let lake = S3Lake::new(Stack::shared()).await;
        lake.take_in(&mut world);
        let storage = Storage::of(&world.config.lake).unwrap();
        lake.proxy.fail(Plan::times(Failure::DoneButError, unconfirmed));
        let made = wait::until("the tables are made", SOON, async || {
            let proved = storage.prove().await;
            proved.map_err(|error| Chain(&error).to_string())?;
            let opened = LakeWriter::open(&storage).await;
            opened.map(drop).map_err(|error| Chain(&error).to_string())
        });
        made.await.unwrap();
        assert_eq!(lake.proxy.failed(Failure::DoneButError), u64::from(unconfirmed));
        let names = lake.client.names(&lake.bucket).await.unwrap();
        let commits = names.keys().filter(|name| name.ends_with(".json")).count();
        assert_eq!(commits, LakeTable::ALL.len(), "one commit a table: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_centre_writes_into_an_object_store_and_looks_after_it() {
    let (mut run, parts) = scenarios::begin("s3_whole", Place::S3).await;
    run.send(&parts[0][..8]).await;
    run.until_followed().await;
    run.send(&parts[0][8..]).await;
    run.until_followed().await;
    let storage = Storage::of(&run.world.config.lake).unwrap();
    let proxy = &run.s3.as_ref().unwrap().proxy;
    for table in LakeTable::ALL {
        // Its first commit, the compaction, goes through and is not confirmed.
        proxy.fail(Plan::times(Failure::DoneButError, 1).of_commits());
        if let Err(error) = upkeep::look_after(&storage, table).await {
            println!("{}: {}", table.name(), Chain(&error));
        }
        upkeep::look_after(&storage, table).await.unwrap();
    }
    assert_eq!(proxy.failed(Failure::DoneButError), 3, "each compaction was unconfirmed once");
    run.send(&parts[1]).await;
    run.until_exact().await;
    let order = Order { wait: SOON, ..Order::default() };
    let report = reconcile(&run.world.config, &order).await.unwrap();
    assert_eq!((report.found(Kind::Places), &report.faults), (0, &Vec::new()), "{report:?}");
    run.centre.kill().await;
}

/// A bucket of one test's own, and a proxy that may fail between it and the centre.
pub(crate) struct S3Lake {
    pub(crate) proxy: Proxy,
    client: Client,
    bucket: String,
    /// The healthy store, for those who read.
    port: u16,
    mirror: Mutex<(Mirror, Option<u64>)>,
    folder: tempfile::TempDir,
}

impl S3Lake {
    pub(crate) async fn new(stack: &Stack) -> Self {
        stack.start(Server::S3).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        let port = stack.s3_port();
        let client = Client::of(port);
        let bucket = format!("lake-{}", uuid::Uuid::now_v7());
        client.make_bucket(&bucket).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            proxy: Proxy::start(port).await.unwrap(),
            mirror: Mutex::new((Mirror::of(client, &bucket, folder.path()), None)),
            client,
            bucket,
            port,
            folder,
        }
    }

    /// Puts the lake of a world into this store, through the proxy.
    pub(crate) fn take_in(&self, world: &mut World) {
        let keys = world.folder.path().join("lake.keys");
        write_private(&keys, CREDENTIALS);
        let text = std::fs::read_to_string(&world.config_file).unwrap();
        let lake = format!(
            "path = {:?}\ncredentials_file = {keys:?}\noptions = {{ endpoint = \
             \"http://127.0.0.1:{}\", region = {REGION:?}, allow_http = \"true\", timeout = \"1s\", \
             max_retries = \"1\", init_backoff = \"50ms\", max_backoff = \"200ms\" }}\n",
            self.address(),
            self.proxy.port()
        );
        let (before, rest) = text.split_once("[lake]\n").unwrap();
        let (_, behind) = rest.split_once("flush_seconds").unwrap();
        let text = format!("{before}[lake]\n{lake}flush_seconds{behind}");
        std::fs::write(&world.config_file, text).unwrap();
        world.config = Config::load(&world.config_file).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Returns a folder that holds what the store holds now.
    pub(crate) async fn folder(&self) -> Result<PathBuf, String> {
        // All writes come through the proxy: where none came, nothing is new.
        let (mut mirror, writes) = (self.mirror.lock().await, Some(self.proxy.writes()));
        if mirror.1 != writes {
            mirror.0.refresh().await.map_err(|error| error.chain())?;
            mirror.1 = writes;
        }
        Ok(self.folder.path().join("lake"))
    }

    /// Returns the lake's address.
    pub(crate) fn address(&self) -> String {
        format!("s3://{}/lake", self.bucket)
    }

    /// Returns host and port of the healthy store.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Speaks TLS on a free port and passes on to another; it ends with the test.
async fn serve_tls(identity: &Credentials, target: u16) -> u16 {
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap();
    let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), listen().await);
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust us leaves in the midst of the greeting.
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

async fn listen() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
}

/// Runs the program to its end, without keys of the environment, and returns what it says, with its
/// status.
async fn central(world: &World, words: &[&str]) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_central"));
    command.arg("--config").arg(&world.config_file).args(words).kill_on_drop(true);
    let keys = std::env::vars_os().map(|(name, _)| name);
    keys.filter(|name| name.to_string_lossy().starts_with("AWS_")).for_each(|name| {
        command.env_remove(name);
    });
    let done = tokio::time::timeout(SOON, command.output());
    let done = done.await.expect("it ends").unwrap();
    let said = [done.stdout, done.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), done.status.code().unwrap())
}
