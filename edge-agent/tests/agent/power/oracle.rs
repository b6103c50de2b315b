//! What must hold after a power cut, whatever it took.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Outgoing, Sharing, Supply,
};
use fakes::disk::Image;
use shared::minute::StoreMinute;
use shared::time::Clock;
use tempfile::TempDir;

use super::recording::{Id, Issued, Promise, Recording, Way, settings};
use super::trial::Verdict;
use crate::tcp::{call, free_port};
use crate::till::{ACK, ask};
use crate::world::World;

/// Opens what a power cut has left, and holds it against all that was promised; then everything is
/// sent that a till would send again, and all must be there once, to the cent.
pub(super) async fn check(
    recording: &Recording,
    image: &Image,
    promise: &Promise,
    folder: &Path,
) -> Verdict<()> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: edge_agent::buffer::BufferError| {
            format!("{what}: {}", shared::log::Chain(&error))
        }
    };
    let settings = settings(folder);
    let key = settings.key.clone();
    let (buffer, writer) = Buffer::open(settings).map_err(failed("it does not open"))?;
    let whole = async {
        is_whole(folder, &key)?;
        let before = buffer.waiting(None, usize::MAX).await.map_err(failed("no batches"))?;
        kept_bytes(recording, promise, &before)?;
        close_all(&buffer).await.map_err(failed("a minute does not close"))?;
        let batches = buffer.waiting(None, usize::MAX).await.map_err(failed("no batches"))?;
        let there = receipts_in(recording, &batches)?;
        let places = places(&buffer, image).await.map_err(failed("no marks"))?;
        for (id, issued) in &recording.issued {
            if !there.contains(id) && is_answered(id, issued, promise, &places) {
                return Err(format!("receipt {id:?} is lost"));
            }
        }
        let again =
            recording.issued.iter().filter(|(id, it)| !is_answered(id, it, promise, &places));
        offer(&buffer, again.map(|(_, it)| it)).await.map_err(failed("it takes nothing in"))?;
        close_all(&buffer).await.map_err(failed("a minute does not close"))?;
        let batches = buffer.waiting(None, usize::MAX).await.map_err(failed("no batches"))?;
        all_is_there(recording, &batches)
    };
    let outcome = whole.await;
    drop(buffer);
    writer.join();
    outcome
}

/// Makes sure that a buffer is whole, as `buffer verify` sees it.
pub(super) fn is_whole(folder: &Path, key: &Key) -> Verdict<()> {
    let verdict = Inspector::open(&folder.join("buffer.db"), key).and_then(|it| it.verify());
    let verdict = verdict.map_err(|error| shared::log::Chain(&error).to_string())?;
    match verdict.faults.is_empty() {
        true => Ok(()),
        false => Err(format!("it is not whole: {:?}", verdict.faults)),
    }
}

/// Starts the agent itself on what a power cut has left, and its tills go on.
pub(super) async fn check_agent(
    recording: &Recording,
    image: &Image,
    promise: &Promise,
) -> Verdict<()> {
    let folder = TempDir::new().unwrap();
    image.write(folder.path()).unwrap();
    let world = World::over(folder);
    let port = free_port();
    world.reconfigure(|config| {
        let address = |line: &str| match line.starts_with("address = ") {
            true => format!("address = \"127.0.0.1:{port}\""),
            false => line.to_owned(),
        };
        config.lines().map(address).collect::<Vec<_>>().join("\n")
    });
    let agent = world.agent().await;
    for (path, bytes) in &recording.files {
        let was_moved = image.parts.contains_key(&path.replace("emptied/", "done/"));
        if !path.starts_with("emptied/") || !was_moved {
            std::fs::write(world.path("arriving"), bytes).unwrap();
            std::fs::rename(world.path("arriving"), world.path(path)).unwrap();
        }
    }
    let mut line = None;
    for (id, issued) in &recording.issued {
        if let Way::Line(telegram) = &issued.way
            && !promise.answered.contains(id)
        {
            let line = match &mut line {
                Some(line) => line,
                None => line.insert(call(port).await),
            };
            assert_eq!(ask(line, telegram).await, ACK, "{id:?}");
        }
    }
    let cents = recording.issued.values().map(|issued| issued.receipt.total_cents.0).sum();
    world.until_cut(recording.issued.len() as u64, cents).await;
    if !agent.stop().await.success() {
        return Err("the agent did not end well".to_owned());
    }
    let (buffer, writer) = Buffer::open(settings(&world.path(""))).unwrap();
    let batches = buffer.waiting(None, usize::MAX).await.unwrap();
    drop(buffer);
    writer.join();
    kept_bytes(recording, promise, &batches)?;
    all_is_there(recording, &batches)
}

/// What may have been handed over keeps its bytes.
fn kept_bytes(recording: &Recording, promise: &Promise, there: &[Outgoing]) -> Verdict<()> {
    for sequence in 1..=promise.visible {
        let told = &recording.batches[&sequence];
        match there.iter().find(|batch| batch.sequence.get() == sequence) {
            None => return Err(format!("batch {sequence} is gone")),
            Some(found) if found != told => return Err(format!("batch {sequence} is otherwise")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where each file's next unread byte stands, and which were moved away.
struct Places {
    offsets: BTreeMap<String, u64>,
    moved: BTreeSet<String>,
}

async fn places(buffer: &Buffer, image: &Image) -> Result<Places, edge_agent::buffer::BufferError> {
    let mut offsets = BTreeMap::new();
    for folder in ["tills", "emptied"] {
        for (feed, mark) in buffer.marks(folder.to_owned()).await? {
            let mark: serde_json::Value = serde_json::from_str(&mark).expect("a mark is JSON");
            offsets.insert(format!("{folder}/{feed}"), mark["offset"].as_u64().unwrap());
        }
    }
    let moved = image.parts.keys().filter_map(|path| path.strip_prefix("done/"));
    Ok(Places { offsets, moved: moved.map(|name| format!("emptied/{name}")).collect() })
}

/// Tells whether a receipt will not come again.
fn is_answered(id: &Id, issued: &Issued, promise: &Promise, places: &Places) -> bool {
    match &issued.way {
        Way::Line(_) => promise.answered.contains(id),
        Way::File { path, end } => {
            let is_read = places.offsets.get(path).is_some_and(|offset| end <= offset);
            is_read || places.moved.contains(path)
        }
    }
}

/// Returns the receipts that batches hold; none is in two of them, and their sums are theirs.
fn receipts_in(recording: &Recording, batches: &[Outgoing]) -> Verdict<BTreeSet<Id>> {
    let (mut there, mut cents) = (BTreeSet::new(), 0);
    for (batch, expected) in batches.iter().zip(1..) {
        if batch.sequence.get() != expected {
            return Err(format!("batch {} stands where {expected} is due", batch.sequence));
        }
        let minute: StoreMinute =
            serde_json::from_slice(&batch.body).map_err(|error| error.to_string())?;
        for till in &minute.tills {
            cents += till.total_cents.0;
            for number in till.receipts.iter().flat_map(|(first, last)| first..=last) {
                let id = (till.till.to_string(), number.to_string());
                if !there.insert(id.clone()) {
                    return Err(format!("receipt {id:?} counts twice"));
                }
            }
        }
    }
    let mut due = 0;
    for id in &there {
        let issued = recording.issued.get(id);
        let issued = issued.ok_or_else(|| format!("receipt {id:?} was never issued"))?;
        due += issued.receipt.total_cents.0;
    }
    if cents != due {
        return Err(format!("{cents} cents are there, {due} are due"));
    }
    Ok(there)
}

fn all_is_there(recording: &Recording, batches: &[Outgoing]) -> Verdict<()> {
    let there = receipts_in(recording, batches)?;
    match recording.issued.keys().find(|id| !there.contains(*id)) {
        Some(id) => Err(format!("receipt {id:?} is missing in the end")),
        None => Ok(()),
    }
}

async fn close_all(buffer: &Buffer) -> Result<(), edge_agent::buffer::BufferError> {
    for slot in buffer.open_slots().await? {
        let store = "10".parse().unwrap();
        let cut = Cut { store, at: Clock::real().now(), complete_through: None };
        buffer.close(slot, cut).await?;
    }
    Ok(())
}

/// Takes receipts in as their sources would.
async fn offer(
    buffer: &Buffer,
    receipts: impl Iterator<Item = &Issued>,
) -> Result<(), edge_agent::buffer::BufferError> {
    let mut intakes: BTreeMap<&str, Vec<IntakeUnit>> = BTreeMap::new();
    for issued in receipts {
        let receipt = issued.receipt.clone();
        let slot = (receipt.ended_at.minute(), receipt.business_day);
        let source = match &issued.way {
            Way::Line(_) => "lines",
            Way::File { path, .. } => path.split_once('/').expect("it lies in a folder").0,
        };
        let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt))];
        let unit = IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries };
        intakes.entry(source).or_default().push(unit);
    }
    for (source, units) in intakes {
        let (source, feed) = (source.to_owned(), "again".to_owned());
        let (claim, at) = (Claim::Counts, Clock::real().now());
        let (mark, supply) = (None, Supply::Waits);
        let intake = Intake { source, feed, claim, supply, mark, at, units };
        buffer.take(Arc::new(intake)).await?;
    }
    Ok(())
}
