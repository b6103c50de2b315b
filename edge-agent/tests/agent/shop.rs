//! A service that keeps orders, as Square does, and gives them in each of the ways in which services
//! say where to go on: two orders a page, rising.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use shared::time::Timestamp;

use crate::service::{self, Asked, Reply, bare, page};

/// Orders that an answer holds at most.
const PAGE: usize = 2;

/// An order of one line.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) version: u64,
    /// When it was changed last, in seconds of its hour.
    pub(crate) second: u32,
    pub(crate) cents: i64,
}

/// What the service keeps, and what it was asked.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) orders: Vec<Order>,
    /// Each question, as target and body.
    pub(crate) asked: Vec<(String, String)>,
    /// Questions that are answered before one is not; nothing where all are.
    pub(crate) patience: Option<usize>,
    /// Whether a question waits for an answer in vain.
    pub(crate) is_silent: bool,
    /// What the header must be.
    pub(crate) secret: String,
}

impl Books {
    /// Keeps an order, in place of an earlier version of it.
    pub(crate) fn keep(&mut self, order: Order) {
        self.orders.retain(|other| other.id != order.id);
        self.orders.push(order);
    }

    /// Returns how many orders there are, and their total.
    pub(crate) fn sums(&self) -> (u64, i64) {
        (self.orders.len() as u64, self.orders.iter().map(|order| order.cents).sum())
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        if asked.header("authorization") != Some(&self.secret) {
            return bare("401 Unauthorized", "");
        }
        self.asked.push((asked.target.clone(), asked.body.clone()));
        if let Some(patience) = &mut self.patience {
            if *patience == 0 {
                self.is_silent = true;
                return Reply::Silence;
            }
            *patience -= 1;
        }
        let path = asked.target.split('?').next().unwrap();
        let found = match path {
            "/after" => self.after(asked),
            "/since" => self.since(asked),
            "/v2/orders/search" => return self.search(&asked.body),
            other => panic!("nothing is at {other}"),
        };
        let orders: Vec<Value> = found.iter().take(PAGE).map(Order::json).collect();
        page("", &json!({ "orders": orders }).to_string())
    }

    fn after(&self, asked: &Asked) -> Vec<Order> {
        let version: u64 = asked.parameter("v").parse().unwrap();
        let newer = self.orders.iter().filter(|order| order.version > version);
        let mut found: Vec<Order> = newer.cloned().collect();
        found.sort_by_key(|order| order.version);
        found
    }

    fn since(&self, asked: &Asked) -> Vec<Order> {
        let place = (asked.parameter("at"), asked.parameter("id"));
        let key = |order: &Order| (at(order.second), order.id.clone());
        let mut found = self.orders.clone();
        found.retain(|order| key(order) > place);
        found.sort_by_key(key);
        found
    }

    /// Answers as `POST /v2/orders/search` does: what a word goes on with must be asked unchanged.
    fn search(&self, body: &str) -> Reply {
        let mut body: Value = serde_json::from_str(body).unwrap();
        let word = body.as_object_mut().unwrap().remove("cursor");
        assert_eq!(body["query"]["sort"]["sort_field"], "UPDATED_AT");
        let start = body["query"]["filter"]["date_time_filter"]["updated_at"]["start_at"].clone();
        let start = start.as_str().unwrap().to_owned();
        // The word names the query and the last order that was given.
        let (query, last) = match word.as_ref().map(|word| word.as_str().unwrap()) {
            Some(word) => word.split_once('|').unwrap(),
            None => (start.as_str(), ""),
        };
        if query != start {
            return bare("400 Bad Request", "");
        }
        let key = |order: &Order| format!("{}/{}", at(order.second), order.id);
        let mut found = self.orders.clone();
        found.retain(|order| at(order.second) >= start && key(order).as_str() > last);
        found.sort_by_key(key);
        let orders: Vec<Value> = found.iter().take(PAGE).map(Order::json).collect();
        let mut answer = serde_json::Map::new();
        if !orders.is_empty() {
            answer.insert("orders".to_owned(), orders.into());
        }
        if found.len() > PAGE {
            let word = format!("{query}|{}", key(&found[PAGE - 1]));
            answer.insert("cursor".to_owned(), word.into());
        }
        page("", &Value::from(answer).to_string())
    }
}

impl Order {
    /// Returns when it was paid, which no change moves.
    fn closed_at(&self) -> String {
        at(u32::from(self.id.bytes().next().unwrap() % 7) * 60)
    }

    fn json(&self) -> Value {
        let money = json!({"amount": self.cents, "currency": "EUR"});
        json!({
            "id": self.id, "location_id": "10", "state": "COMPLETED", "version": self.version,
            "created_at": at(0), "updated_at": at(self.second), "closed_at": self.closed_at(),
            "customer_id": "SECRET", "net_amounts": {"total_money": money}, "total_money": money,
            "line_items": [{"uid": "u", "name": "Brot", "quantity": "1", "item_type": "ITEM",
                "gross_sales_money": money, "total_money": money}],
            "tenders": [{"type": "CASH", "amount_money": money}],
        })
    }
}

/// Opens the shop and returns its port and its books.
pub(crate) fn open(secret: &str) -> (u16, Arc<Mutex<Books>>) {
    let books = Books { secret: secret.to_owned(), ..Books::default() };
    let books = Arc::new(Mutex::new(books));
    let kept = Arc::clone(&books);
    (service::serve(move |asked| look(&kept).answer(asked)), books)
}

/// Opens the books.
pub(crate) fn look(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns a second of the shop's hour, as services write it.
pub(crate) fn at(second: u32) -> String {
    let hour: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
    hour.plus(std::time::Duration::from_secs(second.into())).to_string()
}
