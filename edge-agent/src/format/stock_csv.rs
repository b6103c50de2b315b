//! Stock movements as rows of a table, as a merchandise management writes them out. Every row is one
//! movement with an identity of its own: document and line, or the columns that the settings name.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use shared::ids::{Article, IdError, Label, MovementId};
use shared::money::{DecimalError, Milli};
use shared::receipt::StockMovement;
use shared::time::{BusinessDay, Timestamp};

use super::article::own;
use super::decimal::plain;
use super::settle::{MILLI_MAX, SettleFault, settle_movement};
use super::stamp::{Stamp, StampError};
use super::units::Measure;
use super::{Context, Decoder, Item, Refusal, Unit};

pub mod frame;
mod row;
mod settings;

use row::{Row, RowError, Splitter};
pub use settings::StockCsvSettings;
use settings::{Field, Sign, Word};

/// Why a row is set aside.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the row is not readable")]
    Row(#[source] RowError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not usable")]
    Id(&'static str, #[source] IdError),
    #[error("the word {0:?} stands for no kind in the settings")]
    Kind(String),
    #[error("the quantity {0:?} is not written as the settings say")]
    Form(String),
    #[error("the quantity is not usable")]
    Quantity(#[source] DecimalError),
    #[error("the quantity is finer than a thousandth, or larger than any document's")]
    Fine,
    #[error("the quantity is negative, the settings say that its kind tells the direction")]
    Negative,
    #[error("{0} {1:?} is not written as the settings say")]
    Date(&'static str, String),
    #[error("the time is not usable")]
    Time(#[source] StampError),
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of rows.
#[derive(Debug)]
pub struct StockCsvDecoder {
    settings: Arc<StockCsvSettings>,
    splitter: Splitter,
    context: Context,
}

impl StockCsvDecoder {
    /// Makes a decoder for a store.
    pub fn new(settings: Arc<StockCsvSettings>, context: Context) -> Self {
        let splitter = Splitter::new(&settings);
        Self { settings, splitter, context }
    }

    fn movement(&self, row: &Row) -> Result<StockMovement, Fault> {
        let settings = &self.settings;
        let text = |field| row.text(field, settings);
        let label = |what, field| {
            // A text over several lines is one of several words.
            let folded = text(field).split_whitespace().collect::<Vec<_>>().join(" ");
            let text = Some(folded).filter(|text| !text.is_empty());
            text.map(|text| Label::new(&text)).transpose().map_err(|error| Fault::Id(what, error))
        };
        let identity = row.identity(settings).ok_or(Fault::Missing("what names the movement"))?;
        let id = MovementId::new(&format!("{}/{identity}", settings.name));
        let word = self.word(text(Field::Kind))?;
        let written = self.quantity(text(Field::Quantity))?;
        let measure = Measure::of(text(Field::Unit)).map_err(|error| Fault::Id("the unit", error));
        let (unit, quantity) = measure?.apply(signed(written, word)?).ok_or(Fault::Fine)?;
        let movement = StockMovement {
            id: id.map_err(|error| Fault::Id("what names the movement", error))?,
            article: self.article(row)?,
            kind: word.kind.clone(),
            unit,
            quantity_milli: quantity,
            occurred_at: self.instant(text(Field::Date), text(Field::Time))?,
            order: label("the order", Field::Order)?,
            counterparty: label("the counterparty", Field::Counterparty)?,
            reason: label("the reason", Field::Reason)?,
            best_before: self.best_before(text(Field::BestBefore))?,
            lot: label("the lot", Field::Lot)?,
        };
        settle_movement(&movement).map_err(Fault::Settle)?;
        Ok(movement)
    }

    fn word(&self, text: &str) -> Result<&Word, Fault> {
        let found = self.settings.kind.as_ref().or_else(|| self.settings.kinds.get(text));
        found.ok_or_else(|| Fault::Kind(text.chars().take(40).collect()))
    }

    fn quantity(&self, text: &str) -> Result<Milli, Fault> {
        if text.is_empty() {
            return Err(Fault::Missing("the quantity"));
        }
        let written = plain(text, self.settings.decimal, self.settings.grouping);
        let written = written.ok_or_else(|| Fault::Form(text.chars().take(40).collect()))?;
        let quantity = Milli::parse(&written).map_err(Fault::Quantity)?;
        let fits = (-MILLI_MAX..=MILLI_MAX).contains(&quantity.0);
        if fits { Ok(quantity) } else { Err(Fault::Fine) }
    }

    fn article(&self, row: &Row) -> Result<Article, Fault> {
        let articles = &self.context.articles;
        let gtin = row.text(Field::Gtin, &self.settings);
        if !gtin.is_empty() {
            let scanned = articles.scanned(gtin, articles.chain());
            return scanned.map(|scanned| scanned.article).map_err(|e| Fault::Id("the GTIN", e));
        }
        match row.text(Field::Article, &self.settings) {
            "" => Err(Fault::Missing("the article")),
            number => own(articles.chain(), number).map_err(|e| Fault::Id("the article", e)),
        }
    }

    fn instant(&self, date: &str, time: &str) -> Result<Timestamp, Fault> {
        let settings = &self.settings;
        let shown = |text: &str| text.chars().take(40).collect();
        let local = match &settings.time {
            Some(pattern) => {
                let day = NaiveDate::parse_from_str(date, &settings.date);
                let day = day.map_err(|_| Fault::Date("the date", shown(date)))?;
                let fault = |_| Fault::Date("the time", shown(time));
                day.and_time(NaiveTime::parse_from_str(time, pattern).map_err(fault)?)
            }
            // A pattern without a time of day names a day, which begins at midnight.
            None => NaiveDateTime::parse_from_str(date, &settings.date)
                .or_else(|_| {
                    let day = NaiveDate::parse_from_str(date, &settings.date);
                    day.map(|day| day.and_time(NaiveTime::MIN))
                })
                .map_err(|_| Fault::Date("the date", shown(date)))?,
        };
        let zone = settings.zone.unwrap_or(self.context.zone);
        Stamp::Local(local).alone(zone).map_err(Fault::Time)
    }

    fn best_before(&self, text: &str) -> Result<Option<BusinessDay>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        let pattern = self.settings.best_before.as_ref().unwrap_or(&self.settings.date);
        let day = NaiveDate::parse_from_str(text, pattern).ok();
        // The bounds of a day are those of its text.
        let day = day.and_then(|day| BusinessDay::new(day).to_string().parse().ok());
        let fault = || Fault::Date("the best-before day", text.chars().take(40).collect());
        day.map(Some).ok_or_else(fault)
    }
}

impl Decoder for StockCsvDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        let row = Row::read(&unit.bytes, unit.start, &self.settings, &mut self.splitter);
        let row = row.map_err(Fault::Row);
        let read = row.and_then(|row| {
            if self.settings.header && row.is_header(&self.settings) {
                return Ok(None);
            }
            self.movement(&row).map(Some)
        });
        match read {
            Ok(movement) => Ok(movement.into_iter().map(Box::new).map(Item::Movement).collect()),
            Err(fault) => Err(Refusal::because(&fault)),
        }
    }
}

fn signed(written: Milli, word: &Word) -> Result<Milli, Fault> {
    match word.sign {
        Sign::AsWritten => Ok(written),
        Sign::Reversed => Ok(-written),
        Sign::Absolute if written.0 < 0 => Err(Fault::Negative),
        Sign::Absolute if word.kind.sign() < 0 => Ok(-written),
        Sign::Absolute => Ok(written),
    }
}
