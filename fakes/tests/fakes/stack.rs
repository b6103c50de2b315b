//! `fakes stack`: comes up, resumes after the worst, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use fakes::postgres::client;
use fakes::stack::Stack;
use fakes::wait;

use crate::OWN_STACK;

/// Long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// A stack put up through the command line; taken down when dropped, also by a failed assertion.
struct CliStack {
    above: tempfile::TempDir,
}

impl CliStack {
    fn new() -> Self {
        let above = tempfile::Builder::new().prefix("fakes-test-").tempdir().unwrap();
        open_to_postgres(above.path());
        Self { above }
    }

    fn dir(&self) -> PathBuf {
        self.above.path().join("stack")
    }

    fn stack(&self, words: &[&str]) -> Output {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        output
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fakes"));
        let (first, rest) = words.split_first().unwrap();
        command.args(["stack", first, "--dir"]).arg(self.dir()).args(rest).stdin(Stdio::null());
        command
    }

    /// Starts `up --foreground` and returns its process once the stack is up.
    async fn foreground(&self) -> Child {
        let mut command = self.command(&["up", "--for-tests", "--foreground"]);
        let mut parent = command.stdout(Stdio::null()).spawn().unwrap();
        let up = wait::until("the stack is up", SOON, async || {
            match (self.dir().join("stack.env").exists(), parent.try_wait().unwrap()) {
                (true, _) => Ok(()),
                (false, ended) => Err(format!("no stack.env; ended: {ended:?}")),
            }
        });
        if let Err(timed_out) = up.await {
            parent.kill().unwrap();
            panic!("{timed_out}");
        }
        parent
    }

    /// Returns the id of the shared memory that Postgres has noted.
    fn memory_of_postgres(&self) -> String {
        let noted = self.dir().join("postgres/data/postmaster.pid");
        let noted = std::fs::read_to_string(noted).unwrap();
        noted.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }

    fn pid(&self, server: &str) -> i32 {
        let text = std::fs::read_to_string(self.dir().join(format!("run/{server}.pid"))).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for CliStack {
    fn drop(&mut self) {
        let down = self.command(&["down"]).output().unwrap();
        if !down.status.success() && !std::thread::panicking() {
            panic!("the stack was not taken down: {}", said(&down));
        }
    }
}

#[test]
fn a_stack_comes_up_resumes_after_kills_and_leaves_nothing() {
    let _one_at_a_time = OWN_STACK.blocking_lock();
    let one = CliStack::new();
    let up = one.stack(&["up", "--for-tests", "--stores", "9:poslog/ncr-acs:America/New_York"]);
    assert!(said(&up).contains("started kafka, postgres, links"), "{}", said(&up));
    assert_sh_and_psql_get_in(&one.dir());

    let again = one.stack(&["up", "--stores", "9:poslog/ncr-acs:America/New_York,10"]);
    assert!(said(&again).contains("everything was alive; added store 10"), "{}", said(&again));

    for server in ["kafka", "postgres", "links"] {
        kill(one.pid(server));
    }
    let resumed = one.stack(&["up"]);
    assert!(said(&resumed).contains("started kafka, postgres, links"), "{}", said(&resumed));
    assert_sh_and_psql_get_in(&one.dir());

    one.stack(&["restart", "kafka", "--kill"]);
    one.stack(&["stop", "postgres"]);
    assert_a_taken_port_is_named(&one);
    one.stack(&["start", "postgres"]);
    one.stack(&["link", "edge-kafka", "delay", "5"]);
    one.stack(&["link", "edge-kafka", "heal"]);

    let pids = ["kafka", "postgres", "links"].map(|server| one.pid(server));
    one.stack(&["stop", "postgres", "--kill"]);
    let memory = one.memory_of_postgres();
    assert!(is_held(&memory), "a killed Postgres leaves its memory");
    one.stack(&["down"]);
    assert!(!is_held(&memory), "`down` left shared memory {memory}");
    assert!(!one.dir().exists());
    for pid in pids {
        assert!(!is_alive(pid), "process {pid} outlived `down`");
    }
    assert_nobody_names(&one.dir());
    assert!(said(&one.stack(&["down"])).contains("there is no stack"));
}

#[tokio::test]
async fn servers_survive_the_death_of_their_parent_and_go_when_the_next_one_is_asked() {
    let _one_at_a_time = OWN_STACK.lock().await;
    let one = CliStack::new();
    let mut parent = one.foreground().await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    let kafka = one.pid("kafka");
    std::fs::remove_file(one.dir().join("stack.env")).unwrap();

    let mut next = one.foreground().await;
    assert_eq!(one.pid("kafka"), kafka, "the broker was started anew");
    let asked = Command::new("kill").args(["-TERM", &next.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert!(next.wait().unwrap().success());
    assert!(!one.dir().exists());
    assert!(!is_alive(kafka));
    assert_nobody_names(&one.dir());
}

#[tokio::test]
async fn an_up_that_is_killed_on_its_way_is_finished_by_the_next_one() {
    let _one_at_a_time = OWN_STACK.lock().await;
    let one = CliStack::new();
    let mut parent = one.command(&["up", "--for-tests"]).stdout(Stdio::null()).spawn().unwrap();
    let on_its_way = wait::until("a server is started", SOON, async || {
        let recorded = ["kafka", "postgres"]
            .iter()
            .any(|server| one.dir().join(format!("run/{server}.pid")).exists());
        if recorded { Ok(()) } else { Err("no pid file".to_owned()) }
    });
    let on_its_way = on_its_way.await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    on_its_way.unwrap();
    one.stack(&["up"]);
    assert_sh_and_psql_get_in(&one.dir());
}

#[test]
fn a_folder_that_is_no_stack_is_left_alone() {
    let one = CliStack::new();
    std::fs::create_dir(one.dir()).unwrap();
    std::fs::write(one.dir().join("thesis.txt"), "years of work").unwrap();
    for words in [["up"], ["down"]] {
        let refused = one.command(&words).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("no stack's folder"), "{}", said(&refused));
    }
    assert_eq!(std::fs::read_to_string(one.dir().join("thesis.txt")).unwrap(), "years of work");
    std::fs::remove_dir_all(one.dir()).unwrap();
}

#[tokio::test]
async fn a_test_gets_a_database_and_topics_of_its_own() {
    let stack = Stack::shared();
    let one = stack.database_for("it's mine").await.unwrap();
    let other = stack.database_for("it's mine").await.unwrap();
    assert_ne!(one.url(), other.url());
    let inside = client::connect(one.access()).await.unwrap();
    inside.batch_execute("CREATE TABLE till (id int)").await.unwrap();
    let name = one.access().database.clone();
    drop(one);
    let outside = client::connect(&stack.database()).await.unwrap();
    let question = "SELECT 1 FROM pg_database WHERE datname = $1";
    assert!(outside.query(question, &[&name]).await.unwrap().is_empty());
    let topics = stack.topics_for("it's mine").await.unwrap();
    assert!(topics.prefix().starts_with("test.it-s-mine-"), "{}", topics.prefix());
    assert!(topics.prefix().ends_with('.'));
}

fn assert_a_taken_port_is_named(one: &CliStack) {
    let port = Stack::open(&one.dir()).unwrap().state().ports.postgres;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = one.command(&["up"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("port taken by another program"), "{}", said(&refused));
}

/// What a shell script does with the stack's file: psql checks the server's name and authority.
fn assert_sh_and_psql_get_in(dir: &Path) {
    let script = r#"set -eu; . "$1"; test -d "$LAKE"; test -f "$ADMIN_KEY"
        psql "$DATABASE_URL" -Atc 'SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'"#;
    let output =
        Command::new("sh").args(["-c", script, "sh"]).arg(dir.join("stack.env")).output().unwrap();
    assert_eq!(said(&output).trim(), "central|t");
}

pub(super) fn assert_nobody_names(dir: &Path) {
    let name = dir.to_str().unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        assert!(!command.contains(name), "still there: {command}");
    }
}

/// As root, the server's user has to pass through a temporary folder that is private by default.
fn open_to_postgres(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
}

fn is_held(memory: &str) -> bool {
    let held = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    held.lines().any(|line| line.split_whitespace().nth(1) == Some(memory))
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

pub(super) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn said(output: &Output) -> String {
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{error}")
}
