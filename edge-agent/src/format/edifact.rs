//! UN/EDIFACT messages of trade as stock movements: DESADV announces goods, RECADV receives them,
//! INVRPT counts them. EANCOM 1997 and 2002 (D.96A and D.01B) differ in nothing that is read here.
//! Other messages move no stock and are refused as such.

use shared::ids::{Article, IdError, Label, MovementId};
use shared::money::Milli;
use shared::receipt::StockMovement;
use shared::time::{BusinessDay, TimeError, Timestamp};
use shared::words::StockKind;

use super::article::{is_gtin, own};
use super::settle::{SettleFault, settle_movement};
use super::stamp::{Stamp, StampError};
use super::units::Measure;
use super::{Context, Decoder, Item, Refusal, StoreFault, Unit};

pub mod frame;
mod message;

pub use message::{Message, MessageLine};

/// Numbers of an article that a GTIN may stand under (UNCL 7143; `EN` until D.96A, `SRV` since).
const GTIN_KINDS: [&str; 4] = ["EN", "SRV", "UP", "GTIN"];

/// Quantity qualifier: consumer units in the traded unit (UNCL 6063).
const CONSUMER_UNITS: &str = "59";

/// Why a message is set aside.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("message {0} moves no stock")]
    Kind(String),
    #[error("it is no original: its BGM says {0:?}")]
    Function(String),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("line {line}, segment {segment} (LIN): {what}")]
    Line { line: String, segment: usize, what: &'static str },
    #[error("line {line}, segment {segment} (LIN): it is not usable")]
    Id {
        line: String,
        segment: usize,
        #[source]
        source: IdError,
    },
    #[error("line {line}, segment {segment} (LIN): it does not settle")]
    Settle {
        line: String,
        segment: usize,
        #[source]
        source: SettleFault,
    },
    #[error("the date {0:?} is not usable")]
    Format(String),
    #[error("a date is not usable")]
    Time(#[source] StampError),
    #[error("a best-before day is not usable")]
    Day(#[source] TimeError),
    #[error("it is for another store")]
    Store(#[source] StoreFault),
    #[error("a number of the document is not usable")]
    Label(#[source] IdError),
}

/// What a kind of message says of stock.
struct Meaning {
    kind: StockKind,
    /// Qualifiers of the quantity, the best first.
    quantities: &'static [&'static str],
    /// Qualifiers of the time, the best first.
    dates: &'static [&'static str],
}

fn meaning(kind: &str) -> Option<Meaning> {
    Some(match kind {
        "DESADV" => Meaning { kind: StockKind::Announced, quantities: &["12"], dates: &["137"] },
        "RECADV" => Meaning {
            kind: StockKind::Delivery,
            quantities: &["194", "48"],
            dates: &["50", "35", "137"],
        },
        "INVRPT" => {
            Meaning { kind: StockKind::Count, quantities: &["145", "17"], dates: &["366", "137"] }
        }
        _ => return None,
    })
}

/// The decoder of interchanges.
#[derive(Debug)]
pub struct EdifactDecoder {
    context: Context,
}

impl EdifactDecoder {
    /// Makes a decoder for a store.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    fn movements(&self, message: &Message) -> Result<Vec<StockMovement>, Fault> {
        let kind = || message.kind.chars().take(6).collect();
        let meaning = meaning(&message.kind).ok_or_else(|| Fault::Kind(kind()))?;
        // A copy (7, 31) counts once by its identity; what changes a document is for a person.
        if !matches!(message.function.as_str(), "" | "9" | "7" | "31") {
            return Err(Fault::Function(message.function.chars().take(8).collect()));
        }
        if message.document.is_empty() {
            return Err(Fault::Missing("the document's number (BGM)"));
        }
        if self.context.pos_store.is_some()
            && let Some(place) = message.parties.get("DP")
        {
            self.context.store_of(place).map_err(Fault::Store)?;
        }
        message.lines.iter().map(|line| self.movement(message, line, &meaning)).collect()
    }

    fn movement(
        &self,
        message: &Message,
        line: &MessageLine,
        meaning: &Meaning,
    ) -> Result<StockMovement, Fault> {
        let (number, segment) = (|| line.number.chars().take(40).collect(), line.segment);
        let fault = |what| Fault::Line { line: number(), segment, what };
        let id = |source| Fault::Id { line: number(), segment, source };
        let (quantity, word) = quantity(line, meaning).map_err(fault)?;
        if line.article.0.is_empty() && line.others.iter().all(|(other, _)| other.is_empty()) {
            return Err(fault("it names no article"));
        }
        let (article, quantity) = self.article(line, quantity).map_err(id)?;
        let quantity =
            quantity.ok_or_else(|| fault("its quantity is larger than any document's"))?;
        let measure = Measure::of(word).map_err(id)?.apply(quantity);
        let (unit, quantity_milli) = measure.ok_or_else(|| fault("its quantity is too fine"))?;
        let Message { kind, sender, document, .. } = message;
        let name = format!("{kind}/{sender}/{document}/{}", line.number);
        let dates = [&line.dates, &message.dates];
        let date = meaning.dates.iter().find_map(|key| dates.iter().find_map(|d| d.get(*key)));
        let date = date.ok_or(Fault::Missing("the date of what it tells (DTM)"))?;
        let label = |text: Option<&String>| {
            let text = text.filter(|text| !text.is_empty());
            text.map(|text| Label::new(text)).transpose().map_err(Fault::Label)
        };
        let order = line.references.get("ON").or_else(|| message.references.get("ON"));
        let best_before = line.dates.get("361").map(day).transpose()?;
        let movement = StockMovement {
            id: MovementId::new(&name).map_err(id)?,
            article,
            kind: meaning.kind.clone(),
            unit,
            quantity_milli,
            occurred_at: self.instant(date)?,
            order: label(order)?,
            counterparty: label(message.parties.get("SU"))?,
            reason: None,
            best_before,
            lot: label(line.lot.as_ref())?,
        };
        settle_movement(&movement).map_err(|source| Fault::Settle {
            line: number(),
            segment,
            source,
        })?;
        Ok(movement)
    }

    /// Returns article and quantity: of the consumer unit where the line names its number and how
    /// many of them the traded unit holds, else of the unit that the line names.
    fn article(
        &self,
        line: &MessageLine,
        quantity: Milli,
    ) -> Result<(Article, Option<Milli>), IdError> {
        let (code, kind) = &line.article;
        let articles = &self.context.articles;
        let is_global = |code: &str, kind: &str| GTIN_KINDS.contains(&kind) && is_gtin(code);
        let inner = line.quantities.iter().find(|(qualifier, ..)| qualifier == CONSUMER_UNITS);
        let consumer =
            line.others.iter().find(|(other, kind)| is_global(other, kind) && other != code);
        if let (Some((_, inner, _)), Some((consumer, _))) = (inner, consumer) {
            let pieces = i128::from(quantity.0) * i128::from(inner.0);
            let pieces = (pieces % 1000 == 0).then(|| i64::try_from(pieces / 1000).ok()).flatten();
            let article = articles.scanned(consumer, articles.chain())?.article;
            return Ok((article, pieces.map(Milli)));
        }
        let article = if is_global(code, kind) {
            articles.scanned(code, articles.chain())?.article
        } else if !code.is_empty() {
            own(articles.chain(), code)?
        } else {
            match line.others.iter().find(|(other, kind)| is_global(other, kind)) {
                Some((other, _)) => articles.scanned(other, articles.chain())?.article,
                None => own(articles.chain(), line.others.first().map_or("", |(other, _)| other))?,
            }
        };
        Ok((article, Some(quantity)))
    }

    fn instant(&self, date: &(String, String)) -> Result<Timestamp, Fault> {
        let stamp = Stamp::parse(&spelled(date)?).map_err(Fault::Time)?;
        stamp.alone(self.context.zone).map_err(Fault::Time)
    }
}

impl Decoder for EdifactDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        let messages = inspect(&unit.bytes)?;
        let (mut items, mut faults) = (Vec::new(), Vec::new());
        for message in &messages {
            match self.movements(message) {
                Ok(found) => items.extend(found.into_iter().map(Box::new).map(Item::Movement)),
                Err(fault) => {
                    let document: String = message.document.chars().take(40).collect();
                    let fault = Refusal::because(&fault);
                    faults.push(format!("{} {document:?}: {fault}", message.kind));
                }
            }
        }
        // The bytes are kept once, however many messages are at fault.
        if let Some(first) = faults.first() {
            let more = match faults.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            items.push(Item::Refused(Refusal::new(format!("{first}{more}"))));
        }
        Ok(items)
    }
}

/// Reads the messages of an interchange, also those that move no stock.
pub fn inspect(bytes: &[u8]) -> Result<Vec<Message>, Refusal> {
    message::read(bytes).map_err(|error| Refusal::because(&error))
}

fn quantity<'a>(
    line: &'a MessageLine,
    meaning: &Meaning,
) -> Result<(Milli, &'a str), &'static str> {
    for wanted in meaning.quantities {
        let mut found = line.quantities.iter().filter(|(qualifier, ..)| qualifier == wanted);
        match (found.next(), found.next()) {
            (Some((_, quantity, unit)), None) => return Ok((*quantity, unit)),
            (Some(_), Some(_)) => return Err("it has a quantity (QTY) twice"),
            (None, _) => {}
        }
    }
    Err("it has no quantity (QTY) that tells what moved")
}

/// Brings a date into the form that times are read in; a day without a time begins at midnight.
fn spelled((text, format): &(String, String)) -> Result<String, Fault> {
    let fault = || Fault::Format(text.chars().take(20).collect());
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault());
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("00");
    let digits = match format.as_str() {
        "102" => 8,
        "203" => 12,
        "204" => 14,
        _ => return Err(fault()),
    };
    if text.len() != digits {
        return Err(fault());
    }
    let (hour, minute, second) = (part(8, 10), part(10, 12), part(12, 14));
    Ok(format!("{}-{}-{}T{hour}:{minute}:{second}", part(0, 4), part(4, 6), part(6, 8)))
}

fn day(date: &(String, String)) -> Result<BusinessDay, Fault> {
    spelled(date)?[..10].parse().map_err(Fault::Day)
}
