//! How a store hands over what its tills write: files, files that grow, a printer's port, a serial
//! line, a middleware's journal. Decides nothing about what is handed over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::line::Line;
use crate::error::StackError;
use crate::journal::{Journal, JournalFaults};
use crate::till::{self, Content, Dialect};

/// Whoever listens is waited for this long; then the play ends with what it could not hand over.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a printer that does not answer is called again.
const AGAIN: Duration = Duration::from_millis(200);

/// How tills hand over what they write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Files that appear whole; a stream grows in one file a till.
    Files,
    /// A connection a till to a printer's port, such as `127.0.0.1:9100`.
    Port(String),
    /// One serial line of all tills, found under this path.
    Line(PathBuf),
    /// Files as well, and a middleware's journal of them on this port.
    Journal(u16, JournalFaults),
}

impl Way {
    /// Returns true where a dialect can be handed over in this way.
    pub fn suits(&self, dialect: Dialect) -> bool {
        match self {
            Self::Files => true,
            Self::Port(_) | Self::Line(_) => dialect.is_stream(),
            Self::Journal(..) => dialect == Dialect::Fiskaltrust,
        }
    }
}

/// A delivery of one till.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) till: &'a str,
    pub(super) name: &'a str,
    pub(super) content: &'a Content,
}

/// The open way of a store's tills.
#[derive(Debug)]
pub(super) struct Outlet {
    folder: PathBuf,
    dialect: Dialect,
    open: Open,
}

#[derive(Debug)]
enum Open {
    Files,
    Port { address: String, tills: BTreeMap<String, TcpStream> },
    Line(Line),
    Journal(Journal),
}

impl Outlet {
    pub(super) async fn open(
        way: &Way,
        folder: PathBuf,
        dialect: Dialect,
    ) -> Result<Self, StackError> {
        if !way.suits(dialect) {
            return Err(StackError::wrong(format!("{dialect:?} cannot be handed over by {way:?}")));
        }
        let open = match way {
            Way::Files => Open::Files,
            Way::Port(address) => Open::Port { address: address.clone(), tills: BTreeMap::new() },
            Way::Line(path) => Open::Line(Line::open(path)?),
            Way::Journal(port, faults) => {
                let journal = Journal::open(*port, *faults).await?;
                fill(&journal, &folder)?;
                Open::Journal(journal)
            }
        };
        Ok(Self { folder, dialect, open })
    }

    /// Returns true where what was handed over must stay until the play is stopped.
    pub(super) fn stays(&self) -> bool {
        match self.open {
            Open::Files | Open::Port { .. } => false,
            Open::Line(_) | Open::Journal(_) => true,
        }
    }

    /// Hands a delivery over, and returns once it is.
    pub(super) async fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), StackError> {
        let bytes = match delivery.content {
            Content::File(bytes) => bytes,
            Content::Folder(files) => {
                return till::put_folder(&self.folder, delivery.name, files)
                    .map_err(StackError::path("put a folder into", &self.folder));
            }
        };
        let put = |folder: &Path| match self.dialect.is_stream() {
            true => {
                let name = format!("till{}.{}", delivery.till, self.dialect.ending());
                till::append(folder, &name, bytes)
            }
            false => till::put(folder, delivery.name, bytes),
        };
        let failed = || StackError::path("put a file into", &self.folder);
        match &mut self.open {
            Open::Files => put(&self.folder).map_err(failed()),
            Open::Port { address, tills } => print(address, (tills, delivery.till), bytes).await,
            Open::Line(line) => line.send(bytes, PATIENCE).await,
            Open::Journal(journal) => {
                put(&self.folder).map_err(failed())?;
                journal.add(bytes)
            }
        }
    }
}

/// A journal that is opened again still holds what was issued before.
fn fill(journal: &Journal, folder: &Path) -> Result<(), StackError> {
    let failed = || StackError::path("read the pages in", folder);
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed()(error)),
    };
    for file in files {
        let path = file.map_err(failed())?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            journal.add(&std::fs::read(&path).map_err(failed())?)?;
        }
    }
    Ok(())
}

/// Prints a job; after a break it is printed again from its beginning, as tills do.
async fn print(
    address: &str,
    (tills, till): (&mut BTreeMap<String, TcpStream>, &str),
    bytes: &[u8],
) -> Result<(), StackError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match printed(address, (tills, till), bytes).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        tills.remove(till);
        if Instant::now() >= until {
            return Err(StackError::System {
                what: format!("no printer takes a job at {address}"),
                source: error,
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn printed(
    address: &str,
    (tills, till): (&mut BTreeMap<String, TcpStream>, &str),
    bytes: &[u8],
) -> io::Result<()> {
    if !tills.contains_key(till) {
        tills.insert(till.to_owned(), TcpStream::connect(address).await?);
    }
    match tills.get_mut(till) {
        Some(printer) => {
            printer.write_all(bytes).await?;
            printer.flush().await
        }
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}
