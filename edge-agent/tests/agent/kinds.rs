//! The kinds of sources and a till for each, for the promises that all of them make.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener as HeldPort;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_agent::config::{
    Answer, CursorKind, FakeConfig, Flow, Hold, HttpConfig, LineConfig, Names, SerialConfig,
    SerialFraming, TcpConfig, TcpMode,
};
use edge_agent::format::Format;
use edge_agent::source::directory::{Directory, Marks as FileMarks, Settings, Watch};
use edge_agent::source::fake::Fake;
use edge_agent::source::http::Http;
use edge_agent::source::serial::Serial;
use edge_agent::source::tcp::Tcp;
use shared::time::Clock;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::calls::free_port;
use crate::contract::{Kind, Marks, Memory, line, soon};
use crate::reading::find;
use crate::serial::Till as Adapter;
use crate::shop::{self, Books, Order, look};
use crate::world::SOON;

/// How often a till looks whether it is heard.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What a till may be told while it waits for somebody to listen.
const WISHES_MAX: usize = 64;

/// One file that a till writes all day.
pub(crate) struct Grows {
    folder: TempDir,
    file: Option<File>,
}

/// A file for each receipt.
pub(crate) struct Drops {
    folder: TempDir,
    seen: Vec<(u64, i64, i64)>,
}

impl Grows {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("tills")).unwrap();
        Self { folder, file: None }
    }
}

impl Kind for Grows {
    type Source = Directory;
    const MEMORY: Memory = Memory::GivesAgain;

    async fn open(&mut self, marks: Marks) -> Directory {
        directory(&self.folder, &marks)
    }

    async fn say(&mut self, number: u32) {
        let path = self.folder.path().join("tills/day.jsonl");
        let open = || File::options().create(true).append(true).open(path).unwrap();
        let file = self.file.get_or_insert_with(open);
        let text = line(number);
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        file.write_all(first).unwrap();
        tokio::task::yield_now().await;
        file.write_all(second).unwrap();
    }

    async fn part(&mut self) -> bool {
        part(&self.folder)
    }

    async fn join(&mut self) {
        join(&self.folder);
    }

    async fn written(&mut self) -> Vec<u8> {
        let names = std::fs::read_dir(self.folder.path().join("tills")).unwrap();
        assert_eq!(names.count(), 1, "nothing is added to the folder");
        Vec::new()
    }
}

impl Drops {
    pub(crate) fn new() -> Self {
        Self { folder: Grows::new().folder, seen: Vec::new() }
    }

    fn state(&self, number: usize) -> (u64, i64, i64) {
        let path = self.folder.path().join(format!("tills/{number:03}.jsonl"));
        let meta = std::fs::metadata(path).unwrap();
        (meta.ino(), meta.ctime(), meta.ctime_nsec())
    }
}

impl Kind for Drops {
    type Source = Directory;
    const MEMORY: Memory = Memory::GivesAgain;

    async fn open(&mut self, marks: Marks) -> Directory {
        directory(&self.folder, &marks)
    }

    async fn say(&mut self, number: u32) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, line(number)).unwrap();
        let name = format!("tills/{number:03}.jsonl");
        std::fs::rename(&new, self.folder.path().join(name)).unwrap();
        self.seen.push(self.state(number as usize));
    }

    async fn part(&mut self) -> bool {
        part(&self.folder)
    }

    async fn join(&mut self) {
        join(&self.folder);
    }

    async fn written(&mut self) -> Vec<u8> {
        let now: Vec<_> = (1..=self.seen.len()).map(|number| self.state(number)).collect();
        assert_eq!(now, self.seen, "the files are as they were");
        Vec::new()
    }
}

fn directory(folder: &TempDir, marks: &Marks) -> Directory {
    let settings = Settings {
        path: folder.path().join("tills"),
        depth: 1,
        names: Names::new(&["*".to_owned()], &[]).unwrap(),
        bundle: None,
        processed_folder: None,
        may_empty: false,
        disk: None,
        poll: Duration::from_millis(10),
        tail: Duration::from_secs(86_400),
        gather: Duration::from_millis(1),
        clock: Clock::real(),
    };
    let written: BTreeMap<String, String> = marks.iter().cloned().collect();
    let mut known = FileMarks::new(Box::new(move |name| {
        let mark = written.get(&name).cloned();
        Box::pin(async move { mark })
    }));
    known.add(marks);
    Directory::new(settings, known, Watch::default())
}

fn part(folder: &TempDir) -> bool {
    std::fs::rename(folder.path().join("tills"), folder.path().join("away")).unwrap();
    true
}

fn join(folder: &TempDir) {
    std::fs::rename(folder.path().join("away"), folder.path().join("tills")).unwrap();
}

/// A till that we call.
pub(crate) struct Caller(Socket, Arc<AsyncMutex<Option<TcpListener>>>);

/// A till that calls us.
pub(crate) struct Listener(Socket);

/// A switch that sends us what a printer gets.
pub(crate) struct Mirror(Socket);

/// A till, its printer, and we between them.
pub(crate) struct Proxied {
    socket: Socket,
    printer: String,
    printed: Arc<Mutex<Vec<u8>>>,
    _printing: AbortOnDrop,
}

/// What a till on a socket is made of.
struct Socket {
    till: Till,
    port: u16,
    held: Option<HeldPort>,
}

impl Caller {
    pub(crate) async fn new() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let listener = Arc::new(AsyncMutex::new(Some(listener)));
        let till = Till::start(Plug { way: Way::Accepts(Arc::clone(&listener)), line: None });
        Self(Socket { till, port, held: None }, listener)
    }
}

impl Kind for Caller {
    type Source = Tcp;
    const MEMORY: Memory = Memory::HearsOnce;

    async fn open(&mut self, marks: Marks) -> Tcp {
        self.0.open(TcpMode::Client(None), marks).await
    }

    async fn say(&mut self, number: u32) {
        self.0.till.tell(Wish::Say(number));
    }

    async fn part(&mut self) -> bool {
        self.1.lock().await.take().is_some()
    }

    async fn join(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.0.port)).await.unwrap();
        *self.1.lock().await = Some(listener);
    }

    async fn written(&mut self) -> Vec<u8> {
        self.0.till.heard().await
    }
}

impl Socket {
    fn calling() -> Self {
        let port = free_port();
        Self { till: Till::start(Plug { way: Way::Calls(port), line: None }), port, held: None }
    }

    async fn open(&self, mode: TcpMode, marks: Marks) -> Tcp {
        self.till.anew().await;
        let address = format!("127.0.0.1:{}", self.port);
        let read_timeout = Duration::from_secs(3600);
        let config = TcpConfig { mode, address, line: passive(), read_timeout };
        Tcp::new(config, marks, Clock::real())
    }

    /// Takes the port, as another program does.
    fn part(&mut self) -> bool {
        self.held = Some(HeldPort::bind(("127.0.0.1", self.port)).unwrap());
        true
    }
}

impl Listener {
    pub(crate) fn new() -> Self {
        Self(Socket::calling())
    }
}

impl Kind for Listener {
    type Source = Tcp;
    const MEMORY: Memory = Memory::HearsOnce;

    async fn open(&mut self, marks: Marks) -> Tcp {
        self.0.open(TcpMode::Server(None), marks).await
    }

    async fn say(&mut self, number: u32) {
        self.0.till.tell(Wish::Say(number));
    }

    async fn part(&mut self) -> bool {
        self.0.part()
    }

    async fn join(&mut self) {
        self.0.held = None;
    }

    async fn written(&mut self) -> Vec<u8> {
        self.0.till.heard().await
    }
}

impl Mirror {
    pub(crate) fn new() -> Self {
        Self(Socket::calling())
    }
}

impl Kind for Mirror {
    type Source = Tcp;
    const MEMORY: Memory = Memory::HearsOnce;

    async fn open(&mut self, marks: Marks) -> Tcp {
        self.0.open(TcpMode::Mirror, marks).await
    }

    async fn say(&mut self, number: u32) {
        self.0.till.tell(Wish::Say(number));
    }

    async fn part(&mut self) -> bool {
        self.0.part()
    }

    async fn join(&mut self) {
        self.0.held = None;
    }

    async fn written(&mut self) -> Vec<u8> {
        self.0.till.heard().await
    }
}

impl Proxied {
    pub(crate) async fn new() -> Self {
        let printer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = printer.local_addr().unwrap().to_string();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let paper = Arc::clone(&printed);
        let printing = tokio::spawn(async move {
            loop {
                let (mut line, _) = printer.accept().await.unwrap();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = line.read(&mut buffer).await {
                    paper.lock().unwrap().extend_from_slice(&buffer[..count]);
                }
            }
        });
        let _printing = AbortOnDrop(printing);
        Self { socket: Socket::calling(), printer: address, printed, _printing }
    }
}

impl Kind for Proxied {
    type Source = Tcp;
    const MEMORY: Memory = Memory::HearsOnce;

    async fn open(&mut self, marks: Marks) -> Tcp {
        self.socket.open(TcpMode::Proxy { printer: self.printer.clone() }, marks).await
    }

    async fn say(&mut self, number: u32) {
        self.socket.till.tell(Wish::Say(number));
    }

    async fn part(&mut self) -> bool {
        self.socket.part()
    }

    async fn join(&mut self) {
        self.socket.held = None;
    }

    async fn written(&mut self) -> Vec<u8> {
        let printed = String::from_utf8(self.printed.lock().unwrap().clone()).unwrap();
        let said = printed.lines().count();
        let whole: String = (1..).take(said).map(line).collect();
        assert!(said > 0 && printed == whole, "the printer got what the till said");
        self.socket.till.heard().await
    }
}

/// A serial port.
pub(crate) struct Port {
    folder: TempDir,
    till: Till,
}

impl Port {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let name = folder.path().join("port");
        let cable = Cable { name, adapter: None, is_heard: false };
        Self { folder, till: Till::start(cable) }
    }
}

impl Kind for Port {
    type Source = Serial;
    const MEMORY: Memory = Memory::HearsOnce;

    async fn open(&mut self, marks: Marks) -> Serial {
        self.till.anew().await;
        let config = SerialConfig {
            device: self.folder.path().join("port"),
            baud: 9600,
            framing: SerialFraming::Bits8None,
            flow: Flow::None,
            line: passive(),
        };
        Serial::new(config, marks, Clock::real())
    }

    async fn say(&mut self, number: u32) {
        self.till.tell(Wish::Say(number));
    }

    /// Nothing is plugged in before the first receipt is said.
    async fn part(&mut self) -> bool {
        true
    }

    async fn join(&mut self) {}

    async fn written(&mut self) -> Vec<u8> {
        self.till.heard().await
    }
}

/// A service with a version for every order.
pub(crate) struct Pages {
    folder: TempDir,
    port: u16,
    books: Arc<Mutex<Books>>,
}

impl Pages {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("token"), "us").unwrap();
        let (port, books) = shop::open("us");
        Self { folder, port, books }
    }
}

impl Kind for Pages {
    type Source = Http;
    const MEMORY: Memory = Memory::GivesAgain;

    fn format(&self) -> Format {
        find("square", None).unwrap()
    }

    async fn open(&mut self, marks: Marks) -> Http {
        let config = HttpConfig {
            url: format!("http://127.0.0.1:{}/after?v={{version}}", self.port),
            post: false,
            body: None,
            cursor: CursorKind::Version,
            list: Some("orders".to_owned()),
            time_field: "version".to_owned(),
            id_field: "version".to_owned(),
            start: 0,
            overlap: Duration::ZERO,
            poll: Duration::from_millis(10),
            timeout: SOON,
            page_bytes_max: 1 << 20,
            header: Some(("Authorization".to_owned(), self.folder.path().join("token"))),
            ca: None,
        };
        Http::new(config, Clock::real(), marks)
    }

    async fn say(&mut self, number: u32) {
        let (version, cents) = (number.into(), number.into());
        look(&self.books).keep(Order { id: number.to_string(), version, second: number, cents });
    }

    async fn part(&mut self) -> bool {
        look(&self.books).secret = "another".to_owned();
        true
    }

    async fn join(&mut self) {
        look(&self.books).secret = "us".to_owned();
    }

    async fn written(&mut self) -> Vec<u8> {
        let books = look(&self.books);
        assert!(books.asked.iter().all(|(target, _)| target.starts_with("/after")));
        books.asked.iter().flat_map(|(_, body)| body.bytes()).collect()
    }
}

/// A shop that is not there, on a clock that runs fast.
pub(crate) struct Invents(Clock);

impl Invents {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("clock.json");
        let now = Clock::real().now();
        let clock =
            format!(r#"{{"sim_start":"2026-03-02T08:00:00Z","real_start":"{now}","speed":120}}"#);
        std::fs::write(&file, clock).unwrap();
        Self(Clock::from_file(&file).unwrap())
    }
}

impl Kind for Invents {
    type Source = Fake;
    const MEMORY: Memory = Memory::GivesAgain;

    async fn open(&mut self, marks: Marks) -> Fake {
        let config = FakeConfig { seed: 1, tills: 2, receipts_per_minute: 3 };
        Fake::new(config, "10".parse().unwrap(), self.0, &marks)
    }

    /// It rings up by itself.
    async fn say(&mut self, _: u32) {}

    async fn part(&mut self) -> bool {
        false
    }

    async fn join(&mut self) {}

    async fn written(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

fn passive() -> LineConfig {
    let quiet = Duration::from_millis(100);
    LineConfig { answer: Answer::None, hold: Hold::Silent, quiet }
}

/// What a till on a line is told to do.
enum Wish {
    Say(u32),
    /// The agent has ended, and its line with it.
    Anew(oneshot::Sender<()>),
    /// Tell what was heard.
    Tell(oneshot::Sender<Vec<u8>>),
}

/// A till on a line, at work beside the source.
struct Till {
    orders: mpsc::Sender<Wish>,
    _task: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a till speaks.
trait Wire: Send + 'static {
    /// Says something to whoever listens, once somebody does.
    fn say(&mut self, text: String) -> impl Future<Output = ()> + Send;
    /// Ends the line of an agent that has ended, and returns what it wrote.
    fn end(&mut self) -> impl Future<Output = Vec<u8>> + Send;
}

impl Till {
    fn start(mut wire: impl Wire) -> Self {
        let (orders, mut rx) = mpsc::channel(WISHES_MAX);
        let work = async move {
            let mut heard = Vec::new();
            while let Some(order) = rx.recv().await {
                match order {
                    Wish::Say(number) => wire.say(line(number)).await,
                    Wish::Anew(done) => {
                        heard.extend(wire.end().await);
                        done.send(()).unwrap();
                    }
                    Wish::Tell(to) => {
                        heard.extend(wire.end().await);
                        to.send(std::mem::take(&mut heard)).unwrap();
                    }
                }
            }
        };
        Self { orders, _task: AbortOnDrop(tokio::spawn(work)) }
    }

    fn tell(&self, order: Wish) {
        assert!(self.orders.try_send(order).is_ok(), "the till is at work");
    }

    async fn anew(&self) {
        let (done, is_done) = oneshot::channel();
        self.tell(Wish::Anew(done));
        soon(is_done).await.unwrap();
    }

    async fn heard(&self) -> Vec<u8> {
        let (to, told) = oneshot::channel();
        self.tell(Wish::Tell(to));
        soon(told).await.unwrap()
    }
}

/// How a till comes to its socket.
enum Way {
    Calls(u16),
    Accepts(Arc<AsyncMutex<Option<TcpListener>>>),
}

struct Plug {
    way: Way,
    line: Option<TcpStream>,
}

impl Plug {
    async fn connect(&self) -> TcpStream {
        loop {
            let line = match &self.way {
                Way::Calls(port) => TcpStream::connect(("127.0.0.1", *port)).await.ok(),
                Way::Accepts(listener) => match &*listener.lock().await {
                    Some(listener) => Some(listener.accept().await.unwrap().0),
                    None => None,
                },
            };
            match line {
                Some(line) => return line,
                None => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }
}

impl Wire for Plug {
    async fn say(&mut self, text: String) {
        if self.line.is_none() {
            self.line = Some(self.connect().await);
        }
        let line = self.line.as_mut().unwrap();
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        line.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        line.write_all(second).await.unwrap();
    }

    async fn end(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        if let Some(mut line) = self.line.take() {
            // Its end may be a reset: what was heard before counts.
            drop(line.read_to_end(&mut heard).await);
        }
        heard
    }
}

/// A serial line: the adapter is plugged in when there is something to say.
struct Cable {
    name: PathBuf,
    adapter: Option<Adapter>,
    is_heard: bool,
}

impl Wire for Cable {
    async fn say(&mut self, text: String) {
        let mut adapter = self.adapter.take().unwrap_or_else(|| Adapter::plug_in_as(&self.name));
        while !self.is_heard {
            self.is_heard = adapter.is_open();
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        adapter.say(first);
        tokio::task::yield_now().await;
        adapter.say(second);
        self.adapter = Some(adapter);
    }

    async fn end(&mut self) -> Vec<u8> {
        // Another adapter has the same name next time.
        let adapter = self.adapter.take();
        self.is_heard = false;
        drop(std::fs::remove_file(&self.name));
        adapter.map_or_else(Vec::new, |mut it| std::iter::from_fn(|| it.heard()).collect())
    }
}
