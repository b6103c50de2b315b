//! JSON Lines: a line is a canonical receipt, or a stock movement as `{"movement": ..}`. A line that
//! is longer than a unit may be is refused in pieces; blank lines are nothing.

use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::receipt::{Receipt, StockMovement};

use super::held::Held;
use super::settle::{SettleFault, settle, settle_movement};
use super::{Context, Decoder, Framed, Framer, Item, Refusal, StoreFault, UNIT_BYTES_MAX, Unit};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const TOO_LONG: &str = "a line of more than 4 MiB";
const NO_END: &str = "a line without its end";

/// The framer of JSON Lines.
#[derive(Debug)]
pub struct JsonlFramer {
    held: Held,
    /// The line that is being read was too long: its rest is refused too.
    too_long: bool,
    position: u64,
}

impl JsonlFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of a line.
    pub fn new(start: u64) -> Self {
        Self { held: Held::new(start), too_long: false, position: start }
    }

    fn line(&mut self) -> Option<Framed> {
        if !self.too_long && self.held.bytes().trim_ascii().is_empty() {
            self.held.skip();
            return None;
        }
        let framed = if self.too_long {
            self.held.refuse(self.held.len(), TOO_LONG)
        } else {
            Framed::Unit(self.held.take(self.held.len()))
        };
        self.too_long = false;
        self.position = self.held.start();
        Some(framed)
    }

    fn piece(&mut self) -> Framed {
        self.too_long = true;
        let piece = self.held.refuse(UNIT_BYTES_MAX, TOO_LONG);
        self.position = self.held.start();
        piece
    }
}

impl Framer for JsonlFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.held.extend(part);
            while self.held.len() > UNIT_BYTES_MAX {
                found.push(self.piece());
            }
            if part.ends_with(b"\n") {
                found.extend(self.line());
            }
        }
        found
    }

    fn finish(&mut self) -> Option<Framed> {
        let blank = !self.too_long && self.held.bytes().trim_ascii().is_empty();
        let reason = if self.too_long { TOO_LONG } else { NO_END };
        self.too_long = false;
        if blank || self.held.len() == 0 {
            self.held.skip();
            return None;
        }
        let rest = self.held.refuse(self.held.len(), reason);
        self.position = self.held.start();
        Some(rest)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        self.held.len() == 0 && !self.too_long
    }
}

/// Why a line is set aside.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("it is no JSON object")]
    Object,
    #[error("it is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("it is no canonical receipt")]
    Receipt(#[source] serde_json::Error),
    #[error("it is no stock movement")]
    Movement(#[source] serde_json::Error),
    #[error("it is of another store")]
    Store(#[source] StoreFault),
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

#[derive(Deserialize)]
struct Kind {
    movement: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct MovementLine {
    movement: StockMovement,
}

/// The decoder of JSON Lines.
#[derive(Debug)]
pub struct JsonlDecoder {
    context: Context,
}

impl JsonlDecoder {
    /// Makes a decoder for a store.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    fn item(&self, line: &[u8]) -> Result<Item, LineError> {
        // An array would be read field by field, in whatever order it has.
        if line.first() != Some(&b'{') {
            return Err(LineError::Object);
        }
        let kind: Kind = serde_json::from_slice(line).map_err(LineError::Json)?;
        if kind.movement.is_some() {
            let line: MovementLine = serde_json::from_slice(line).map_err(LineError::Movement)?;
            settle_movement(&line.movement).map_err(LineError::Settle)?;
            return Ok(Item::Movement(Box::new(line.movement)));
        }
        let mut receipt: Receipt = serde_json::from_slice(line).map_err(LineError::Receipt)?;
        let store = self.context.store_of(receipt.store.as_str());
        receipt.store = store.map_err(LineError::Store)?;
        // A till knows numbers of customers, never the pseudonym that may stand here.
        receipt.customer = None;
        settle(&mut receipt).map_err(LineError::Settle)?;
        Ok(Item::Receipt(Box::new(receipt)))
    }
}

impl Decoder for JsonlDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        let line = match unit.bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if unit.start == 0 => rest,
            Some(_) | None => &unit.bytes,
        };
        match self.item(line.trim_ascii()) {
            Ok(item) => Ok(vec![item]),
            Err(error) => Err(Refusal::because(&error)),
        }
    }
}
