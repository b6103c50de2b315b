//! The kinds of sources and a till for each, for the promises that all of them make.

use std::net::TcpListener as HeldPort;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_agent::config::{
    Answer, CursorKind, FakeConfig, Flow, Hold, HttpConfig, LineConfig, SerialConfig,
    SerialFraming, TcpConfig, TcpMode,
};
use edge_agent::format::Format;
use edge_agent::source::fake::Fake;
use edge_agent::source::http::Http;
use edge_agent::source::serial::Serial;
use edge_agent::source::tcp::Tcp;
use shared::time::Clock;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Mutex as AsyncMutex;

use crate::calls::free_port;
use crate::contract::{Kind, Marks, Memory, line};
use crate::reading::find;
use crate::shop::{self, Books, Order, look};
use crate::world::SOON;

mod folders;
mod speech;

pub(crate) use folders::{Drops, Grows};
use speech::{AbortOnDrop, Cable, Plug, Till, Way, Wish};

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
