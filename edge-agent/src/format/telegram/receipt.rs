//! A unit of telegrams becomes a receipt. A record that came again, because its acknowledgement was
//! lost, is the same record; one that has the place of another but says something else is a refusal.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use shared::ids::{IdError, Label, Series, StoreId};
use shared::money::{Cents, DecimalError, Milli};
use shared::receipt::{Adjustment, Line, Payment, Receipt};
use shared::words::{AdjustmentKind, Channel, LineKind, PaymentKind, Unit as Measure};

use super::record::{Key, Record, RecordError};
use super::scan::{Kind, Scan};
use super::settings::{ArticleField, Field, KindCode, Numbers, Role, Settings, Sign, Span};
use crate::format::article::{Embedded, own, plu};
use crate::format::settle::{SettleFault, settle};
use crate::format::stamp::{Place, Stamp, StampError, Stamps};
use crate::format::{Context, Decoder, Item, Refusal, StoreFault, Unit};

/// Flag of a receipt among whose telegrams damaged ones lay.
const GARBLED: &str = "telegram_garbled";

/// Why a receipt is set aside.
#[derive(Debug, thiserror::Error)]
enum TelegramError {
    #[error("a record is not readable")]
    Record(#[source] RecordError),
    #[error("records of several receipts are mixed")]
    Mixed,
    #[error("two records have the same place and say different things")]
    Differs,
    #[error("a line takes goods back, and its amount is positive")]
    Direction,
    #[error("there is no total")]
    NoTotal,
    #[error("the code {code:?} of {field:?} is not in the settings")]
    Code { field: Field, code: String },
    #[error("{0:?} is not readable")]
    Id(Field, #[source] IdError),
    #[error("{0:?} is no number as the settings have it")]
    Number(Field),
    #[error("{0:?} is not readable")]
    Decimal(Field, #[source] DecimalError),
    #[error("there is no date and time as the settings have them")]
    NoTime,
    #[error("its time is not readable")]
    Time(#[source] StampError),
    #[error("its store is named neither by the telegram nor by the configuration")]
    NoStore,
    #[error("it is of another store")]
    Store(#[source] StoreFault),
    #[error("it does not settle")]
    Settle(#[source] SettleFault),
}

/// The decoder of telegrams.
#[derive(Debug)]
pub struct TelegramDecoder {
    settings: Arc<Settings>,
    context: Context,
    stamps: Stamps,
}

impl TelegramDecoder {
    /// Makes a decoder for a store.
    pub fn new(settings: Arc<Settings>, context: Context) -> Self {
        let stamps = Stamps::new(context.zone);
        Self { settings, context, stamps }
    }

    fn receipt(&mut self, unit: &Unit) -> Result<Option<Receipt>, TelegramError> {
        let (records, garbled) = self.records(&unit.bytes)?;
        let Some(first) = records.first() else { return Ok(None) };
        let key = first_key(&self.settings, &records).map_err(TelegramError::Record)?;
        self.check_keys(&key, &records)?;
        let store = self.store(first)?;
        let mut receipt = self.begin(store, key, &records)?;
        if garbled {
            receipt.flags.push(Label::new(GARBLED).expect("the flag is a label"));
        }
        let mut totals = 0;
        for record in &records {
            match record.role {
                Role::Header | Role::Ignored => {}
                Role::Line => {
                    let line = self.line(record, receipt.lines.len())?;
                    receipt.lines.push(line);
                }
                Role::Payment => receipt.payments.push(self.payment(record)?),
                Role::Adjustment => receipt.adjustments.push(self.adjustment(record)?),
                Role::Total => {
                    receipt.total_cents = self.money(record, false)?;
                    totals += 1;
                }
            }
            self.note_kind(record, &mut receipt)?;
        }
        if totals != 1 {
            return Err(TelegramError::NoTotal);
        }
        let adjustments = receipt.adjustments.iter().map(|part| part.cents);
        receipt.adjustment_cents =
            Cents::checked_sum(adjustments).ok_or(TelegramError::Number(Field::Amount))?;
        settle(&mut receipt).map_err(TelegramError::Settle)?;
        Ok(Some(receipt))
    }

    /// Reads all records of a unit, each once; tells whether damaged telegrams lay among them.
    fn records(&self, bytes: &[u8]) -> Result<(Vec<Record>, bool), TelegramError> {
        let mut scan = Scan::new(self.settings.framing, self.settings.bcc);
        let mut records: Vec<Record> = Vec::new();
        let mut garbled = false;
        for piece in bytes.iter().flat_map(|&byte| scan.step(byte)) {
            let content = match piece.kind {
                Kind::Sound(content) => content,
                Kind::Garbled(_) | Kind::Cut | Kind::Junk => {
                    garbled = true;
                    continue;
                }
                Kind::Nothing => continue,
            };
            let read = Record::read(&self.settings, &content).map_err(TelegramError::Record)?;
            for record in read {
                if self.settings.receipt == Span::Telegram || is_new(&records, &record)? {
                    records.push(record);
                }
            }
        }
        Ok((records, garbled))
    }

    fn check_keys(&self, key: &Key, records: &[Record]) -> Result<(), TelegramError> {
        for record in records.iter().filter(|record| record.get(Field::Receipt).is_some()) {
            // A till that only the header names is the till of all records.
            let named = record.get(Field::Till).is_some() || self.settings.till.is_some();
            let found = record.key(&self.settings);
            match found {
                Ok(found) if found == *key => {}
                Err(RecordError::Missing(Field::Till)) if !named => {}
                Ok(_) => return Err(TelegramError::Mixed),
                Err(error) => return Err(TelegramError::Record(error)),
            }
        }
        Ok(())
    }

    fn store(&self, record: &Record) -> Result<StoreId, TelegramError> {
        match (record.get(Field::Store), &self.context.store) {
            (Some(found), _) => self.context.store_of(found).map_err(TelegramError::Store),
            (None, Some(store)) => Ok(store.clone()),
            (None, None) => Err(TelegramError::NoStore),
        }
    }

    /// Makes a receipt without lines. Its time is the last that a record names.
    fn begin(
        &mut self,
        store: StoreId,
        (till, number): Key,
        records: &[Record],
    ) -> Result<Receipt, TelegramError> {
        let stamp = self.stamp(records)?;
        let business_day = stamp.business_day(self.context.zone, self.context.business_day_cut);
        let named = records.iter().find_map(|record| record.get(Field::Series));
        let day = business_day.to_string();
        let series = Series::new(named.unwrap_or(&day))
            .map_err(|error| TelegramError::Id(Field::Series, error))?;
        let place = Place { till: till.clone(), business_day, number: number.clone() };
        let (ended_at, flag) = self.stamps.resolve(stamp, &place).map_err(TelegramError::Time)?;
        let flag = flag.map(|flag| Label::new(flag).expect("flags are labels"));
        Ok(Receipt {
            store,
            till,
            series,
            receipt: number,
            business_day,
            ended_at,
            counts: true,
            reason: None,
            channel: Channel::Till,
            fiscal: None,
            refers_to: None,
            customer: None,
            flags: flag.into_iter().collect(),
            lines: Vec::new(),
            vat: Vec::new(),
            adjustments: Vec::new(),
            tax_added_cents: Cents::ZERO,
            adjustment_cents: Cents::ZERO,
            total_cents: Cents::ZERO,
            payments: Vec::new(),
            cash_moves: Vec::new(),
            version: None,
        })
    }

    fn stamp(&self, records: &[Record]) -> Result<Stamp, TelegramError> {
        let last = |field| records.iter().rev().find_map(|record| record.get(field));
        let (Some(date), Some(time)) = (last(Field::Date), last(Field::Time)) else {
            return Err(TelegramError::NoTime);
        };
        let date = NaiveDate::parse_from_str(date, &self.settings.date);
        let time = NaiveTime::parse_from_str(time, &self.settings.time);
        let (Ok(date), Ok(time)) = (date, time) else { return Err(TelegramError::NoTime) };
        let text = date.and_time(time).format("%Y-%m-%dT%H:%M:%S").to_string();
        Stamp::parse(&text).map_err(TelegramError::Time)
    }

    fn line(&self, record: &Record, before: usize) -> Result<Line, TelegramError> {
        let code = self.kind_of_line(record)?;
        let takes_back = code.as_ref().is_some_and(|code| {
            code.void || matches!(code.kind, LineKind::Return | LineKind::DepositRefund)
        });
        let amount = self.money(record, takes_back)?;
        let (kind, void) = match code {
            Some(code) => (code.kind, code.void),
            None if amount < Cents::ZERO => (LineKind::Return, false),
            None => (LineKind::Sale, false),
        };
        let comes_back = matches!(kind, LineKind::Return | LineKind::DepositRefund);
        if comes_back && !void && amount > Cents::ZERO {
            return Err(TelegramError::Direction);
        }
        let text = record.need(Field::Article).map_err(TelegramError::Record)?;
        let id = |error| TelegramError::Id(Field::Article, error);
        let (article, embedded) = match self.settings.article {
            ArticleField::Scanned => {
                let scanned = self.context.articles.scanned(text, &self.settings.vendor);
                scanned.map(|scanned| (scanned.article, scanned.embedded)).map_err(id)?
            }
            ArticleField::Own => (own(&self.settings.vendor, text).map_err(id)?, None),
            ArticleField::Plu => (plu(text).map_err(id)?, None),
            ArticleField::Text => (self.context.articles.text(text).map_err(id)?, None),
        };
        let is_text = self.settings.article == ArticleField::Text;
        let (quantity, unit) = self.quantity(record, embedded)?;
        // A till counts what it takes back forwards; the amount tells the direction.
        let quantity = if amount < Cents::ZERO { -quantity.abs() } else { quantity };
        let vat = self.code(record, Field::Vat, &self.settings.vat)?;
        Ok(Line {
            position: position(record, before)?,
            article,
            text: if is_text { Some(Label::new(text).map_err(id)?) } else { None },
            kind,
            void,
            unit,
            quantity_milli: quantity,
            amount_cents: amount,
            discount_cents: Cents::ZERO,
            adjustment_share_cents: Cents::ZERO,
            vat_key: vat.map(|vat| vat.key.clone()),
            vat_bp: vat.and_then(|vat| vat.bp),
            reductions: Vec::new(),
            seller: None,
            restock: None,
        })
    }

    fn kind_of_line(&self, record: &Record) -> Result<Option<KindCode>, TelegramError> {
        self.code(record, Field::Kind, &self.settings.kinds).map(Option::<&KindCode>::cloned)
    }

    fn quantity(
        &self,
        record: &Record,
        embedded: Option<Embedded>,
    ) -> Result<(Milli, Measure), TelegramError> {
        let unit = self.code(record, Field::Unit, &self.settings.units)?;
        let Some(text) = record.get(Field::Quantity) else {
            return Ok(match embedded {
                Some(Embedded::Weight(weight)) => (weight, Measure::Kilograms),
                Some(Embedded::Pieces(pieces)) => (pieces, Measure::Pieces),
                Some(Embedded::Price(_)) | None => {
                    (Milli(1000), unit.cloned().unwrap_or(Measure::Pieces))
                }
            });
        };
        let decimal = decimal(&self.settings, text, self.settings.quantity_decimals)
            .ok_or(TelegramError::Number(Field::Quantity))?;
        let quantity = Milli::parse(&decimal)
            .map_err(|error| TelegramError::Decimal(Field::Quantity, error))?;
        if quantity == Milli(i64::MIN) {
            return Err(TelegramError::Number(Field::Quantity));
        }
        Ok((quantity, unit.cloned().unwrap_or(Measure::Pieces)))
    }

    fn payment(&self, record: &Record) -> Result<Payment, TelegramError> {
        let known = record.get(Field::Kind).and_then(|code| self.settings.payments.get(code));
        let kind = known.cloned().unwrap_or(PaymentKind::Other);
        let goes_back = matches!(kind, PaymentKind::Change | PaymentKind::Cashback);
        Ok(Payment { kind, cents: self.money(record, goes_back)?, currency: None })
    }

    fn adjustment(&self, record: &Record) -> Result<Adjustment, TelegramError> {
        let known = record.get(Field::Kind).and_then(|code| self.settings.adjustments.get(code));
        let kind = known.cloned().unwrap_or(AdjustmentKind::Other);
        let vat = self.code(record, Field::Vat, &self.settings.vat)?;
        let vat_key = vat.map(|vat| vat.key.clone());
        Ok(Adjustment { kind, id: None, vat_key, cents: self.money(record, true)? })
    }

    /// Notes that a receipt is no sale, where its header or total says so.
    fn note_kind(&self, record: &Record, receipt: &mut Receipt) -> Result<(), TelegramError> {
        if !matches!(record.role, Role::Header | Role::Total) {
            return Ok(());
        }
        let Some(code) = record.get(Field::Kind) else { return Ok(()) };
        // A code that names no kind of line either is one that nobody has thought of.
        match (self.settings.not_counted.get(code), self.settings.kinds.contains_key(code)) {
            (Some(reason), _) => (receipt.counts, receipt.reason) = (false, Some(reason.clone())),
            (None, true) => {}
            (None, false) => {
                return Err(TelegramError::Code { field: Field::Kind, code: shown(code) });
            }
        }
        Ok(())
    }

    /// Reads an amount; `takes_back` makes it negative where amounts have no sign of their own.
    fn money(&self, record: &Record, takes_back: bool) -> Result<Cents, TelegramError> {
        let text = record.need(Field::Amount).map_err(TelegramError::Record)?;
        let text = decimal(&self.settings, text, self.settings.amount_decimals)
            .ok_or(TelegramError::Number(Field::Amount))?;
        let cents =
            Cents::parse(&text).map_err(|error| TelegramError::Decimal(Field::Amount, error))?;
        if cents == Cents(i64::MIN) {
            return Err(TelegramError::Number(Field::Amount));
        }
        let reversed = takes_back && self.settings.sign == Sign::Kind;
        Ok(if reversed { -cents } else { cents })
    }

    fn code<'a, T>(
        &self,
        record: &Record,
        field: Field,
        known: &'a std::collections::BTreeMap<String, T>,
    ) -> Result<Option<&'a T>, TelegramError> {
        let Some(code) = record.get(field) else { return Ok(None) };
        match known.get(code) {
            Some(meaning) => Ok(Some(meaning)),
            None => Err(TelegramError::Code { field, code: shown(code) }),
        }
    }
}

impl Decoder for TelegramDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        match self.receipt(unit) {
            Ok(receipt) => Ok(receipt.map(|it| Item::Receipt(Box::new(it))).into_iter().collect()),
            Err(error) => Err(Refusal::because(&error)),
        }
    }
}

/// Returns the key of the first record that names a receipt.
fn first_key(settings: &Settings, records: &[Record]) -> Result<Key, RecordError> {
    let mut keys = records.iter().map(|record| record.key(settings));
    let named = keys.find(|key| !matches!(key, Err(RecordError::Missing(_))));
    named.unwrap_or(Err(RecordError::Missing(Field::Receipt)))
}

/// Tells whether a record is none that has come before.
fn is_new(records: &[Record], record: &Record) -> Result<bool, TelegramError> {
    let place = |record: &Record| (record.role, record.get(Field::Position).map(str::to_owned));
    match records.iter().find(|known| place(known) == place(record)) {
        Some(known) if known == record => Ok(false),
        Some(_) => Err(TelegramError::Differs),
        None => Ok(true),
    }
}

fn position(record: &Record, before: usize) -> Result<u32, TelegramError> {
    let counted = || u32::try_from(before).ok().and_then(|before| before.checked_add(1));
    let position = match record.get(Field::Position) {
        Some(text) => text.parse().ok(),
        None => counted(),
    };
    position.ok_or(TelegramError::Number(Field::Position))
}

/// Shortens a code to what a reason may show of it.
fn shown(code: &str) -> String {
    code.chars().take(8).collect()
}

/// Rewrites a number of the till as a decimal with a point; nothing where it is none.
fn decimal(settings: &Settings, text: &str, decimals: usize) -> Option<String> {
    let (sign, body) = match settings.sign {
        Sign::Kind => ("", text),
        Sign::Leading => match text.strip_prefix('-') {
            Some(body) => ("-", body),
            None => ("", text.strip_prefix('+').unwrap_or(text)),
        },
        Sign::Trailing => match text.strip_suffix('-') {
            Some(body) => ("-", body),
            None => ("", text.strip_suffix('+').unwrap_or(text)),
        },
    };
    let body = body.trim();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = match settings.numbers {
        Numbers::Implied => {
            if !digits(body) {
                return None;
            }
            let padded = format!("{body:0>width$}", width = decimals + 1);
            let (whole, rest) = padded.split_at(padded.len() - decimals);
            format!("{whole}.{rest}")
        }
        Numbers::Point => body.to_owned(),
        Numbers::Comma => {
            let (whole, rest) = body.split_once(',').unwrap_or((body, ""));
            format!("{}.{rest}", ungrouped(whole)?)
        }
    };
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let fine = rest.is_empty() || digits(rest);
    (digits(whole) && fine).then(|| format!("{sign}{plain}"))
}

/// Takes the points out of `1.234`; nothing where they do not part thousands.
fn ungrouped(whole: &str) -> Option<String> {
    let mut groups = whole.split('.');
    let first = groups.next()?;
    let mut joined = first.to_owned();
    for group in groups {
        if group.len() != 3 || !(1..=3).contains(&first.len()) {
            return None;
        }
        joined.push_str(group);
    }
    Some(joined)
}
