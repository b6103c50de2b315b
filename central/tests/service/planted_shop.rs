//! A small shop by the agent's own parts: till files in JSON Lines, its decoder, its buffer, closings of
//! its tills; and errors that are planted in a file, in the buffer, on the way to the topic and in a
//! closing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_agent::aggregate::open::Slot;
use edge_agent::buffer::{
    Binding, Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Outgoing, Quota, Settings,
    Sharing, Supply, Taken, Writer,
};
use edge_agent::format::jsonl::{JsonlDecoder, JsonlFramer};
use edge_agent::format::{Context, Decoder, Framed, Framer, Item};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use shared::delivered::Delivered;
use shared::ids::Sequence;
use shared::minute::{Closing, StoreMinute};
use shared::time::{BusinessDay, Minute, Timestamp};
use shared::wire;
use tempfile::TempDir;

use crate::ingest_world::World;

/// The tills of a shop.
pub(crate) const TILLS: [&str; 2] = ["1", "2"];
/// Receipts of a till and day.
pub(crate) const RECEIPTS: u32 = 5;
/// The receipt that is altered, deleted or doubled, of the first till.
pub(crate) const PLANTED: u32 = 3;

/// Where an error is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    TillFile,
    Buffer,
    Topic,
    Rows,
    KeptSums,
    Lake,
    Closing,
}

/// What is done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Altered,
    Deleted,
    Doubled,
}

impl Place {
    pub(crate) const ALL: [Self; 7] = [
        Self::TillFile,
        Self::Buffer,
        Self::Topic,
        Self::Rows,
        Self::KeptSums,
        Self::Lake,
        Self::Closing,
    ];
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::Altered, Self::Deleted, Self::Doubled];
}

/// A shop with its buffer.
pub(crate) struct Shop {
    pub(crate) store: String,
    pub(crate) plant: Option<(Place, Fault)>,
    /// The day on which it is planted.
    pub(crate) planted_on: u32,
    base: Timestamp,
    buffer: Buffer,
    shipped: Option<Sequence>,
    path: PathBuf,
    _writer: Writer,
    _folder: TempDir,
}

impl Shop {
    pub(crate) fn open(
        store: &str,
        plant: Option<(Place, Fault)>,
        (base, planted_on): (Timestamp, u32),
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("buffer.key");
        std::fs::write(&key, "5a".repeat(32)).unwrap();
        let path = folder.path().join("buffer.db");
        let settings = Settings {
            path: path.clone(),
            key: Key::from_file(&key).unwrap(),
            machine_id: None,
            quota: Quota::UNBOUNDED,
            now: base,
        };
        let counter = folder.path().join("counter");
        let binding = Binding { store: store.parse().unwrap(), counter };
        let (buffer, writer) = Buffer::open_bound(settings, &binding).unwrap();
        Self {
            store: store.to_owned(),
            plant,
            planted_on,
            base,
            buffer,
            shipped: None,
            path,
            _writer: writer,
            _folder: folder,
        }
    }

    pub(crate) fn business_day(&self, day: u32) -> BusinessDay {
        BusinessDay::new(self.base.plus(DAY * day).utc().date_naive())
    }

    /// The minute of the receipt that is meddled with.
    pub(crate) fn planted_minute(&self) -> Minute {
        self.at(self.planted_on, 0, PLANTED).minute()
    }

    fn at(&self, day: u32, till: usize, number: u32) -> Timestamp {
        let minute = number * 10 + u32::try_from(till).unwrap();
        self.base.plus(DAY * day).plus(Duration::from_secs(u64::from(minute) * 60 + 7))
    }

    fn plants(&self, day: u32, place: Place) -> Option<Fault> {
        let plant = self.plant.filter(|(planted, _)| *planted == place && day == self.planted_on);
        plant.map(|(_, fault)| fault)
    }

    /// Lives through a day: files are read, minutes closed, tills closed. Nothing is shipped.
    pub(crate) async fn live(&self, day: u32) {
        self.take(self.read(&self.file(day))).await;
        match self.plants(day, Place::Buffer) {
            Some(Fault::Altered) => self.alter_open(),
            Some(Fault::Deleted) => self.delete_open(),
            Some(Fault::Doubled) | None => {}
        }
        self.close_minutes().await;
        if self.plants(day, Place::Buffer) == Some(Fault::Doubled) {
            self.double_batch();
        }
        self.take(self.closings(day)).await;
        self.close_minutes().await;
    }

    /// What the first till's file says, line by line, and the second one's behind it.
    fn file(&self, day: u32) -> String {
        let mut file = String::new();
        for till in 0..TILLS.len() {
            for number in 1..=RECEIPTS {
                let fault = self.plants(day, Place::TillFile);
                let fault = fault.filter(|_| till == 0 && number == PLANTED);
                let more = i64::from(fault == Some(Fault::Altered));
                let line = format!("{}\n", self.receipt(day, (till, number), more));
                match fault {
                    Some(Fault::Deleted) => {}
                    Some(Fault::Doubled) => file.push_str(&(line.clone() + &line)),
                    Some(Fault::Altered) | None => file.push_str(&line),
                }
            }
        }
        file
    }

    fn receipt(&self, day: u32, (till, number): (usize, u32), more: i64) -> Value {
        let cents = cents(day, number) + more;
        let business_day = self.business_day(day);
        json!({"store": self.store, "till": TILLS[till], "series": business_day,
            "receipt": number.to_string(), "business_day": business_day,
            "ended_at": self.at(day, till, number), "counts": true,
            "lines": [{"position": 1, "article": format!("own:x:{number}"), "kind": "sale",
                "unit": "pcs", "quantity_milli": 1000, "amount_cents": cents}],
            "total_cents": cents, "payments": [{"kind": "cash", "cents": cents}]})
    }

    /// Reads a file as the agent does.
    fn read(&self, file: &str) -> Vec<Entry> {
        let context = Context {
            store: Some(self.store.parse().unwrap()),
            pos_store: None,
            zone: chrono_tz::Tz::UTC,
            business_day_cut: chrono::NaiveTime::MIN,
            articles: Arc::default(),
            pseudonyms: None,
        };
        let (mut framer, mut decoder) = (JsonlFramer::new(0), JsonlDecoder::new(context));
        let mut entries = Vec::new();
        for framed in framer.push(file.as_bytes()) {
            let Framed::Unit(unit) = framed else { panic!("{framed:?}") };
            for item in decoder.decode(&unit).unwrap() {
                let Item::Receipt(receipt) = item else { panic!("{item:?}") };
                let slot = (receipt.ended_at.minute(), receipt.business_day);
                entries.push(Entry::Receipt(slot, Sharing::Shared, receipt));
            }
        }
        entries
    }

    /// What the tills say at their closing.
    fn closings(&self, day: u32) -> Vec<Entry> {
        let fault = self.plants(day, Place::Closing);
        let closed_at = self.at(day, 0, 60);
        let mut entries = Vec::new();
        for (till, name) in TILLS.iter().enumerate() {
            let fault = fault.filter(|_| till == 0);
            let sum: i64 = (1..=RECEIPTS).map(|number| cents(day, number)).sum();
            let total = sum + i64::from(fault == Some(Fault::Altered));
            let closing = |number: u32| -> Entry {
                let closing: Closing = serde_json::from_value(json!({"tills": [name],
                    "closing": number.to_string(), "source": "tills", "closed_at": closed_at,
                    "receipts": [[1, RECEIPTS]], "total_cents": total}))
                .unwrap();
                Entry::Closing((closed_at.minute(), self.business_day(day)), Box::new(closing))
            };
            if fault != Some(Fault::Deleted) {
                entries.push(closing(day + 1));
            }
            if fault == Some(Fault::Doubled) {
                entries.push(closing(9_001));
            }
        }
        entries
    }

    /// Reads the day's file, whatever was read before.
    pub(crate) async fn read_again(&self, day: u32) -> Taken {
        self.take(self.read(&self.file(day))).await
    }

    /// Learns what the centre has.
    pub(crate) async fn remember(&self, delivered: Delivered) -> u64 {
        let delivered = Arc::new(delivered);
        self.buffer.remember_delivered(delivered, self.base).await.unwrap().receipts
    }

    async fn take(&self, entries: Vec<Entry>) -> Taken {
        let unit = IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries };
        let intake = Intake {
            supply: Supply::Waits,
            claim: Claim::Counts,
            source: "tills".to_owned(),
            feed: "file".to_owned(),
            mark: None,
            at: self.base,
            units: vec![unit],
        };
        let taken = self.buffer.take(Arc::new(intake)).await.unwrap();
        assert_eq!(taken.quarantined, 0);
        taken
    }

    async fn close_minutes(&self) {
        for slot in self.buffer.open_slots().await.unwrap() {
            let slot: Slot = slot;
            let store = self.store.parse().unwrap();
            let at = slot.0.start().plus(Duration::from_secs(65));
            let cut = Cut { store, at, complete_through: Some(slot.0) };
            self.buffer.close(slot, cut).await.unwrap();
        }
    }

    /// Sends what waits, but for the last `held` batches; returns how many records were sent.
    pub(crate) async fn ship(&mut self, world: &World, held: usize) -> i64 {
        let waiting = self.buffer.waiting(self.shipped, 1 << 30).await.unwrap();
        let mut sent = 0;
        for outgoing in &waiting[..waiting.len() - held] {
            let batch: StoreMinute = serde_json::from_slice(&outgoing.body).unwrap();
            let fault = self.plant.filter(|(place, _)| *place == Place::Topic);
            let fault = fault.filter(|_| self.is_planted(&batch)).map(|(_, fault)| fault);
            let copies = match fault {
                None | Some(Fault::Altered) => 1,
                Some(Fault::Deleted) => 0,
                Some(Fault::Doubled) => 2,
            };
            for _ in 0..copies {
                send(world, &self.store, outgoing, fault).await;
                sent += 1;
            }
            self.shipped = Some(outgoing.sequence);
        }
        sent
    }

    /// Every batch of its life.
    pub(crate) async fn batches(&self) -> Vec<StoreMinute> {
        let waiting = self.buffer.waiting(None, 1 << 30).await.unwrap();
        waiting.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect()
    }

    /// The batch that holds the receipt that is meddled with.
    pub(crate) fn is_planted(&self, batch: &StoreMinute) -> bool {
        batch.minute == self.planted_minute()
            && batch.tills.iter().any(|till| till.receipts.contains(PLANTED.into()))
    }

    fn alter_open(&self) {
        let (id, mut body) = self.open_row();
        add_a_cent(&mut body["lines"][0]["amount_cents"]);
        add_a_cent(&mut body["total_cents"]);
        add_a_cent(&mut body["payments"][0]["cents"]);
        let sql = "UPDATE open_minute SET body = ?2 WHERE id = ?1";
        assert_eq!(self.connect().execute(sql, params![id, body.to_string()]).unwrap(), 1);
    }

    fn delete_open(&self) {
        let sql = "DELETE FROM open_minute WHERE id = ?1";
        assert_eq!(self.connect().execute(sql, [self.open_row().0]).unwrap(), 1);
    }

    fn open_row(&self) -> (i64, Value) {
        let connection = self.connect();
        let sql = "SELECT id, body FROM open_minute WHERE minute = ?1";
        let minute = self.planted_minute().to_string();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let (id, body) = connection.query_row(sql, [minute], read).unwrap();
        (id, serde_json::from_str(&body).unwrap())
    }

    /// Copies a batch under the next sequence.
    fn double_batch(&self) {
        let connection = self.connect();
        let sql = "SELECT body FROM outbox WHERE minute = ?1";
        let minute = self.planted_minute().to_string();
        let body: Vec<u8> = connection.query_row(sql, [&minute], |row| row.get(0)).unwrap();
        let mut batch: StoreMinute = serde_json::from_slice(&body).unwrap();
        let sql =
            "UPDATE meta SET value = value + 1 WHERE name = 'next_sequence' RETURNING value - 1";
        let next: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        batch.sequence = Sequence::new(next.unsigned_abs()).unwrap();
        let headers = wire::store_minute_headers(&batch, self.base);
        let headers = serde_json::to_string(&headers).unwrap();
        let sql = "INSERT INTO outbox SELECT ?2, minute, business_day, kind, ?3, ?4, receipts, lines, \
                   total_cents, cut_at FROM outbox WHERE minute = ?1";
        let values = params![minute, next, headers, wire::encode(&batch)];
        assert_eq!(connection.execute(sql, values).unwrap(), 1);
        connection.execute("INSERT INTO waiting (sequence) VALUES (?1)", [next]).unwrap();
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.pragma_update(None, "key", format!("x'{}'", "5a".repeat(32))).unwrap();
        connection
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn cents(day: u32, number: u32) -> i64 {
    i64::from(100 * number + day)
}

fn add_a_cent(value: &mut Value) {
    *value = json!(value.as_i64().unwrap() + 1);
}

async fn send(world: &World, store: &str, outgoing: &Outgoing, fault: Option<Fault>) {
    let mut body = outgoing.body.clone();
    if fault == Some(Fault::Altered) {
        let mut batch: StoreMinute = serde_json::from_slice(&body).unwrap();
        alter(&mut batch);
        body = wire::encode(&batch);
    }
    world.send_raw(store.as_bytes(), &outgoing.headers, &body).await;
}

/// Adds a cent wherever a batch says it, so that the batch agrees with itself.
pub(crate) fn alter(batch: &mut StoreMinute) {
    batch.sales[0].amount_cents.0 += 1;
    let till = &mut batch.tills[0];
    till.lines_cents.0 += 1;
    till.total_cents.0 += 1;
    till.payments[0].cents.0 += 1;
}
