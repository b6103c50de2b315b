//! A reader of lakes that is not ours: DuckDB in a process that lives as long as the test's, since
//! its start takes longer than what it is asked.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::json;
use shared::minute::StoreMinute;
use tokio_postgres::Client;

/// What a lake sums up to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Sums {
    pub(crate) batches: i64,
    receipts: i64,
    cents: i64,
    lines: i64,
    line_cents: i64,
    movements: i64,
    movement_milli: i64,
}

impl Sums {
    /// Sums up what counts in Postgres.
    pub(crate) async fn in_postgres(sql: &Client) -> Self {
        let row = sql.query_one(IN_POSTGRES, &[]).await.unwrap();
        Self {
            batches: row.get(0),
            receipts: row.get(1),
            cents: row.get(2),
            lines: row.get(3),
            line_cents: row.get(4),
            movements: row.get(5),
            movement_milli: row.get(6),
        }
    }

    /// Adds what a batch brings.
    pub(crate) fn add(&mut self, batch: &StoreMinute) {
        self.batches += 1;
        for till in &batch.tills {
            self.receipts += i64::try_from(till.receipt_count).unwrap();
            self.cents += till.total_cents.0;
        }
        for sale in &batch.sales {
            self.lines += i64::try_from(sale.lines).unwrap();
            self.line_cents += sale.amount_cents.0;
        }
        for movement in &batch.stock {
            self.movements += 1;
            self.movement_milli += movement.quantity_milli.0;
        }
    }
}

/// The same sums in Postgres.
const IN_POSTGRES: &str = "
    SELECT (SELECT count(DISTINCT (store_id, stream_id, sequence)) FROM store_minute),
           (SELECT coalesce(sum(receipt_count), 0)::bigint FROM store_minute),
           (SELECT coalesce(sum(total_cents), 0)::bigint FROM store_minute),
           (SELECT coalesce(sum(lines), 0)::bigint FROM sale),
           (SELECT coalesce(sum(amount_cents), 0)::bigint FROM sale),
           (SELECT count(*) FROM stock_movement),
           (SELECT coalesce(sum(quantity_milli), 0)::bigint FROM stock_movement)";

/// Sums up a lake: a folder, or an address in the store at an endpoint.
pub(crate) fn sums(lake: &str, endpoint: Option<&str>) -> Sums {
    static READER: OnceLock<Mutex<Reader>> = OnceLock::new();
    let reader = READER.get_or_init(|| Mutex::new(Reader::start()));
    let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = reader.ask(&json!({ "lake": lake, "endpoint": endpoint }).to_string());
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("DuckDB on {lake} says: {answer}"))
}

/// It ends when its standard input does, which the system closes with the test's process.
struct Reader {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start() -> Self {
        let python = fakes::s3::python().unwrap_or_else(|error| panic!("{}", error.chain()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/independent/reader.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, asks, answers: BufReader::new(answers) }
    }

    fn ask(&mut self, question: &str) -> String {
        let mut answer = String::new();
        let asked = writeln!(self.asks, "{question}").and_then(|()| self.asks.flush());
        match asked.and_then(|()| self.answers.read_line(&mut answer)) {
            Ok(bytes) if bytes > 0 => answer,
            broken => panic!("the reader is gone: {broken:?}, {:?}", self.child.try_wait()),
        }
    }
}
